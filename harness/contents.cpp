#include "harness/contents.hpp"

#include <cstring>

namespace dmaudit {
namespace {

// What byte i of a fill begins with: 37 * i, and 29 more for every 16 bytes.
constexpr uint8_t steps[32] = {0,  37, 74,  111, 20, 57, 94,  3,  40, 77,  114, 23, 60, 97,  6,  43,
                               29, 66, 103, 140, 49, 86, 123, 32, 69, 106, 143, 52, 89, 126, 35, 72};

// Odd values, and the writer's bit; where one equals an old value take the next of three, so that no store is silent.
// Whole vectors at once, whatever the compiler's level: fills are most of what a fuzzing build executes. Returns how
// many bytes are filled.
template <class V>
[[gnu::always_inline]] inline uint64_t fill_vectors(uint64_t len, uint8_t always, uint8_t key, const uint8_t* cpu_view,
                                                    const uint8_t* device_view, uint8_t* to, uint8_t* copy)
{
    constexpr uint64_t width = sizeof(V), parts = width / 16;
    V base;
    std::memcpy(&base, steps, width);
    base += key;
    uint64_t i = 0;
    for (; i + width <= len; i += width, base += static_cast<uint8_t>(parts * 29)) {
        V v = (base & 0x3f) | always, c, d;
        std::memcpy(&c, cpu_view + i, width);
        std::memcpy(&d, device_view + i, width);
        v ^= (v == c) & 0x22;
        v ^= (v == d) & 0x14;
        v ^= (v == c) & 0x22;
        std::memcpy(to + i, &v, width);
        std::memcpy(copy + i, &v, width);
    }
    return i;
}

using Vector16 = uint8_t __attribute__((vector_size(16)));
#ifdef __x86_64__
using Vector32 = uint8_t __attribute__((vector_size(32)));
__attribute__((target("avx2"))) uint64_t fill_avx2(uint64_t len, uint8_t always, uint8_t key, const uint8_t* cpu_view,
                                                   const uint8_t* device_view, uint8_t* to, uint8_t* copy)
{
    return fill_vectors<Vector32>(len, always, key, cpu_view, device_view, to, copy);
}
#endif

} // namespace

void Contents::fill(Range r, Writer who, uint64_t seed, const uint8_t* cpu_view, const uint8_t* device_view,
                    uint8_t* to)
{
    const auto always = static_cast<uint8_t>(1 | who);
    const auto key = static_cast<uint8_t>(seed * 0x9e3779b97f4a7c15u >> 56);
    uint8_t* copy = bytes_.get() + r.at;
    uint64_t i = 0;
#ifdef __x86_64__
    static const bool avx2 = __builtin_cpu_supports("avx2");
    if (avx2 && r.len >= 256)
        i = fill_avx2(r.len, always, key, cpu_view, device_view, to, copy);
#endif
    i += fill_vectors<Vector16>(r.len - i, always, static_cast<uint8_t>(key + i / 16 * 29), cpu_view + i,
                                device_view + i, to + i, copy + i);
    for (; i < r.len; i++) {
        auto v = static_cast<uint8_t>(((i * 37 + key) & 0x3f) | always);
        while (v == cpu_view[i] || v == device_view[i])
            v = static_cast<uint8_t>((v + 2) & 0x3f) | always;
        to[i] = copy[i] = v;
    }
}

void Contents::set(Range r, uint8_t value)
{
    std::memset(bytes_.get() + r.at, value, r.len);
}

} // namespace dmaudit
