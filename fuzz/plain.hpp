// The case format and the mutator for use inside a fuzzer. The sources of harness/ are compiled once more for this,
// with neither sanitizers nor coverage: they are not what is fuzzed, and with them a call of the mutator costs more
// than running the case (README.md has the figures). Everything in that copy lives in the namespace dmaudit_plain, so
// that it shares no function with the instrumented one; cases cross over as plain memory.
#pragma once
#include "harness/case.hpp"

#include <array>
#include <span>

namespace dmaudit::fuzz {

// What a target makes of arbitrary bytes: the mode that it always runs in, and the ops that it keeps.
struct Intake {
    Mode mode;
    std::array<bool, op_count> keeps;
    bool any_mode = false; // the case's own
    bool swarm = true;     // of mutator and generator
    uint32_t facets = all_facets; // of fresh steps
};

// Bytes -> case. Steps with other ops are dropped, and the steps that depend on them.
void plain_decode(std::span<const uint8_t> bytes, const Intake&, Case& out);

// One changed case in `data` (room for `max` bytes, `size` of them are used). Returns its size, at most `max`.
size_t plain_mutate(uint8_t* data, size_t size, size_t max, const Intake&, uint64_t seed);
size_t plain_crossover(std::span<const uint8_t> a, std::span<const uint8_t> b, uint8_t* out, size_t max, const Intake&,
                       uint64_t seed);

} // namespace dmaudit::fuzz

// The door between the two copies: C names, no types of either.
extern "C" {
void dmaudit_plain_decode(const uint8_t* bytes, size_t size, const void* shape, void* out_case);
size_t dmaudit_plain_mutate(uint8_t* data, size_t size, size_t max, const void* shape, uint64_t seed);
size_t dmaudit_plain_crossover(const uint8_t* a, size_t a_size, const uint8_t* b, size_t b_size, uint8_t* out,
                               size_t max, const void* shape, uint64_t seed);
}

namespace dmaudit::fuzz {

inline void plain_decode(std::span<const uint8_t> bytes, const Intake& shape, Case& out)
{
    dmaudit_plain_decode(bytes.data(), bytes.size(), &shape, &out);
}
inline size_t plain_mutate(uint8_t* data, size_t size, size_t max, const Intake& shape, uint64_t seed)
{
    return dmaudit_plain_mutate(data, size, max, &shape, seed);
}
inline size_t plain_crossover(std::span<const uint8_t> a, std::span<const uint8_t> b, uint8_t* out, size_t max,
                              const Intake& shape, uint64_t seed)
{
    return dmaudit_plain_crossover(a.data(), a.size(), b.data(), b.size(), out, max, &shape, seed);
}

} // namespace dmaudit::fuzz
