// The binary form of a case: a header and fixed 16-byte cells. Every byte string decodes to a valid case, and a few
// changed or missing bytes leave most of its meaning alone: that is what fuzzers need. docs/case-format.md describes
// it. No heap except in the overload that returns a vector: it runs inside the fuzzer.
#pragma once
#include "harness/case.hpp"
#include <vector>

namespace dmaudit {

constexpr size_t cell_bytes = 16;
// header, literal world, steps with every argument as a literal
constexpr size_t max_encoded = cell_bytes * (1 + max_banks + 2 * max_devices + max_steps * (1 + (max_args + 1) / 2));

void decode(std::span<const uint8_t> bytes, Case& out);

// The number of bytes written; 0: it does not fit. decode(encode(c)) gives c for every valid case (case_error()).
size_t encode(const Case&, std::span<uint8_t> out);
// The same for as many steps as there is room for: the others go. 0: not even the world fits.
size_t encode_what_fits(Case&, std::span<uint8_t> out);
std::vector<uint8_t> encode(const Case&);

} // namespace dmaudit
