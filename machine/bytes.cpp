#include "machine/bytes.hpp"

namespace dmaudit {
namespace {

#ifdef __x86_64__
__attribute__((target("avx2"), no_sanitize("address"))) bool same_page_avx2(const uint8_t* a, const uint8_t* b)
{
    using Vector = uint64_t __attribute__((vector_size(32)));
    Vector d[4] = {};
    for (unsigned i = 0; i < 4096; i += sizeof d)
        for (unsigned k = 0; k < 4; k++) {
            Vector x, y;
            __builtin_memcpy(&x, a + i + k * sizeof x, sizeof x);
            __builtin_memcpy(&y, b + i + k * sizeof y, sizeof y);
            d[k] |= x ^ y;
        }
    const Vector all = (d[0] | d[1]) | (d[2] | d[3]);
    return (all[0] | all[1] | all[2] | all[3]) == 0;
}
#endif

} // namespace

bool same_page(const uint8_t* a, const uint8_t* b)
{
#ifdef __x86_64__
    if (has_avx2)
        return same_page_avx2(a, b);
#endif
    return same_bytes(a, b, 4096);
}

} // namespace dmaudit
