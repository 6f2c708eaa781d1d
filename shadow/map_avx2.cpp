// The loops on two 32-byte vectors. Compiled with -mavx2 -mbmi; without them, or for another processor, there are none.
#include "shadow/map_kernel.hpp"

#if defined(__AVX2__)
#include <immintrin.h>

namespace dmaudit::shadow_tree {
namespace {

struct Avx2 {
    using Mask = Avx2;

    static Avx2 load(const uint8_t* from)
    {
        const auto* at = reinterpret_cast<const __m256i*>(from);
        return {_mm256_load_si256(at), _mm256_load_si256(at + 1)};
    }

    void store(uint8_t* to) const
    {
        auto* at = reinterpret_cast<__m256i*>(to);
        _mm256_store_si256(at, low);
        _mm256_store_si256(at + 1, high);
    }

    static Avx2 splat(uint8_t value)
    {
        const __m256i lanes = _mm256_set1_epi8(static_cast<char>(value));
        return {lanes, lanes};
    }

    uint8_t first() const { return static_cast<uint8_t>(_mm256_extract_epi8(low, 0)); }

    static Mask equal(Avx2 a, Avx2 b) { return {_mm256_cmpeq_epi8(a.low, b.low), _mm256_cmpeq_epi8(a.high, b.high)}; }

    static uint64_t bits(Mask mask)
    {
        const auto low = static_cast<uint32_t>(_mm256_movemask_epi8(mask.low));
        const auto high = static_cast<uint32_t>(_mm256_movemask_epi8(mask.high));
        return (uint64_t{high} << 32) | low;
    }

    static Mask span(unsigned lo, unsigned hi)
    {
        const __m256i numbers = _mm256_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19,
                                                 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31);
        const __m256i upper = _mm256_or_si256(numbers, _mm256_set1_epi8(32));
        const __m256i before = _mm256_set1_epi8(static_cast<char>(static_cast<int>(lo) - 1));
        const __m256i end = _mm256_set1_epi8(static_cast<char>(hi));
        return {_mm256_and_si256(_mm256_cmpgt_epi8(numbers, before), _mm256_cmpgt_epi8(end, numbers)),
                _mm256_and_si256(_mm256_cmpgt_epi8(upper, before), _mm256_cmpgt_epi8(end, upper))};
    }

    static Mask both(Mask a, Mask b) { return {_mm256_and_si256(a.low, b.low), _mm256_and_si256(a.high, b.high)}; }

    static Avx2 select(Mask mask, Avx2 yes, Avx2 no)
    {
        return {_mm256_blendv_epi8(no.low, yes.low, mask.low), _mm256_blendv_epi8(no.high, yes.high, mask.high)};
    }

    __m256i low, high;
};

} // namespace

const Ops* avx2_ops()
{
    return &Kernel<Avx2>::ops;
}

} // namespace dmaudit::shadow_tree

#else

namespace dmaudit::shadow_tree {
const Ops* avx2_ops()
{
    return nullptr;
}
} // namespace dmaudit::shadow_tree

#endif
