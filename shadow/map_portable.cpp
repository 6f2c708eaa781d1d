// The loops on 16-byte vectors of the compiler's own, for any processor: SSE2, NEON, or plain words.
#include "shadow/map_kernel.hpp"

#include <bit>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace dmaudit::shadow_tree {
namespace {

using Lanes16 = uint8_t __attribute__((vector_size(16)));

// One bit for each lane of 16, whose bytes are 0 or 0xFF.
uint64_t bits16(Lanes16 mask)
{
#if defined(__SSE2__)
    return static_cast<uint64_t>(static_cast<unsigned>(_mm_movemask_epi8(reinterpret_cast<__m128i>(mask))));
#else
    static_assert(std::endian::native == std::endian::little);
    uint64_t words[2];
    std::memcpy(words, &mask, sizeof words);
    // The multiplication moves bit 0 of byte i to bit 56 + i; no two terms meet, so there is no carry.
    constexpr uint64_t ones = 0x0101010101010101, gather = 0x0102040810204080;
    return (((words[0] & ones) * gather) >> 56) | ((((words[1] & ones) * gather) >> 56) << 8);
#endif
}

constexpr Lanes16 numbers[4] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31},
    {32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47},
    {48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63},
};

struct Portable {
    using Mask = Portable;

    static Portable load(const uint8_t* from)
    {
        Portable v;
        std::memcpy(v.part, from, 64);
        return v;
    }

    void store(uint8_t* to) const { std::memcpy(to, part, 64); }

    static Portable splat(uint8_t value)
    {
        const Lanes16 lanes = Lanes16{} + value;
        return {{lanes, lanes, lanes, lanes}};
    }

    uint8_t first() const { return part[0][0]; }

    static Mask equal(const Portable& a, const Portable& b)
    {
        return {{reinterpret_cast<Lanes16>(a.part[0] == b.part[0]), reinterpret_cast<Lanes16>(a.part[1] == b.part[1]),
                 reinterpret_cast<Lanes16>(a.part[2] == b.part[2]), reinterpret_cast<Lanes16>(a.part[3] == b.part[3])}};
    }

    static uint64_t bits(const Mask& mask)
    {
        return bits16(mask.part[0]) | (bits16(mask.part[1]) << 16) | (bits16(mask.part[2]) << 32) |
               (bits16(mask.part[3]) << 48);
    }

    static Mask span(unsigned lo, unsigned hi)
    {
        // Signed comparison, which SSE2 has and the unsigned one it has not; 64 fits.
        using Signed16 = int8_t __attribute__((vector_size(16)));
        const Signed16 begin = Signed16{} + static_cast<int8_t>(lo), end = Signed16{} + static_cast<int8_t>(hi);
        Mask mask;
        for (int i = 0; i < 4; ++i) {
            const Signed16 number = reinterpret_cast<Signed16>(numbers[i]);
            mask.part[i] = reinterpret_cast<Lanes16>((number >= begin) & (number < end));
        }
        return mask;
    }

    static Mask both(const Mask& a, const Mask& b)
    {
        return {{a.part[0] & b.part[0], a.part[1] & b.part[1], a.part[2] & b.part[2], a.part[3] & b.part[3]}};
    }

    static Portable select(const Mask& mask, const Portable& yes, const Portable& no)
    {
        Portable v;
        for (int i = 0; i < 4; ++i)
            v.part[i] = (yes.part[i] & mask.part[i]) | (no.part[i] & ~mask.part[i]);
        return v;
    }

    Lanes16 part[4];
};

} // namespace

const Ops* portable_ops()
{
    return &Kernel<Portable>::ops;
}

} // namespace dmaudit::shadow_tree
