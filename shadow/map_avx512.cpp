// The loops on one 64-byte vector, with the processor's own lane masks. Compiled with -mavx2 -mbmi -mavx512f
// -mavx512bw; without them, or for another processor, there are none.
#include "shadow/map_kernel.hpp"

#if defined(__AVX512F__) && defined(__AVX512BW__)
#include <immintrin.h>

namespace dmaudit::shadow_tree {
namespace {

struct Avx512 {
    using Mask = uint64_t;

    static Avx512 load(const uint8_t* from) { return {_mm512_load_si512(from)}; }
    void store(uint8_t* to) const { _mm512_store_si512(to, lanes); }
    static Avx512 splat(uint8_t value) { return {_mm512_set1_epi8(static_cast<char>(value))}; }

    uint8_t first() const
    {
        // By subscript: gcc 12 takes its own cast intrinsic for a read of an uninitialised value.
        using Bytes = uint8_t __attribute__((vector_size(64)));
        return reinterpret_cast<Bytes>(lanes)[0];
    }

    static Mask equal(Avx512 a, Avx512 b) { return _mm512_cmpeq_epi8_mask(a.lanes, b.lanes); }
    static uint64_t bits(Mask mask) { return mask; }

    static Mask span(unsigned lo, unsigned hi)
    {
        const auto below = [](unsigned n) { return n < 64 ? (uint64_t{1} << n) - 1 : ~uint64_t{0}; };
        return below(hi) & ~below(lo);
    }

    static Mask both(Mask a, Mask b) { return a & b; }

    static Avx512 select(Mask mask, Avx512 yes, Avx512 no)
    {
        return {_mm512_mask_blend_epi8(mask, no.lanes, yes.lanes)};
    }

    __m512i lanes;
};

} // namespace

const Ops* avx512_ops()
{
    return &Kernel<Avx512>::ops;
}

} // namespace dmaudit::shadow_tree

#else

namespace dmaudit::shadow_tree {
const Ops* avx512_ops()
{
    return nullptr;
}
} // namespace dmaudit::shadow_tree

#endif
