#include "harness/contents.hpp"

#include "machine/bytes.hpp"

#include <cstring>

namespace dmaudit {
namespace {

// 16 bytes at once, whatever the compiler's level: fills are most of what a fuzzing build executes.
using V = uint8_t __attribute__((vector_size(16)));

V load(const uint8_t* p)
{
    V v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

} // namespace

void Contents::fill(Range r, uint64_t seed, const uint8_t* cpu_view, const uint8_t* device_view, uint8_t* to)
{
    constexpr V step = {0, 37, 74, 111, 20, 57, 94, 3, 40, 77, 114, 23, 60, 97, 6, 43};
    const auto key = static_cast<uint8_t>(seed * 0x9e3779b97f4a7c15u >> 56);
    uint64_t i = 0;
    for (; i + 16 <= r.len; i += 16) {
        const auto base = static_cast<uint8_t>(key + (i >> 4) * 29);
        V v = ((step + base) & 0x7f) | 1;
        // Odd values; where one equals an old value take the next of three, so that no store is silent.
        const V c = load(cpu_view + i), d = load(device_view + i);
        v ^= (v == c) & 0x42;
        v ^= (v == d) & 0x24;
        v ^= (v == c) & 0x42;
        std::memcpy(to + i, &v, sizeof v);
    }
    for (; i < r.len; i++) {
        auto v = static_cast<uint8_t>(((i * 37 + key) & 0x7f) | 1);
        while (v == cpu_view[i] || v == device_view[i])
            v = static_cast<uint8_t>((v + 2) & 0x7f) | 1;
        to[i] = v;
    }
    copy_bytes(bytes_.get() + r.at, to, r.len);
}

void Contents::set(Range r, uint8_t value)
{
    std::memset(bytes_.get() + r.at, value, r.len);
}

} // namespace dmaudit
