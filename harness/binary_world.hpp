// The header of the binary form: world, mode and expectation. A header byte of 'L' says that the world follows in full
// in cells of its own; else a few half bytes choose it from small tables, and choices that do not go together are
// repaired.
#pragma once
#include "harness/case.hpp"
#include <span>

namespace dmaudit::codes {

// Reads world and expectation; returns the number of bytes consumed. Bytes that are missing read as 0.
size_t read_header(std::span<const uint8_t> bytes, World& world, Expect& expect);
// Returns the number of bytes written; 0: no room.
size_t write_header(const World& world, const Expect& expect, std::span<uint8_t> out);

// Integers in bytes, lowest first; 0 beyond the end.
inline uint64_t read_u64(std::span<const uint8_t> bytes, size_t at)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < 8 && at + i < bytes.size(); i++)
        v |= static_cast<uint64_t>(bytes[at + i]) << 8 * i;
    return v;
}
inline void write_u64(std::span<uint8_t> bytes, size_t at, uint64_t v)
{
    for (unsigned i = 0; i < 8; i++)
        bytes[at + i] = static_cast<uint8_t>(v >> 8 * i);
}

} // namespace dmaudit::codes
