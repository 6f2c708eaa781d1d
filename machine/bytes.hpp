// Comparing simulated memory. Not memcmp: in a fuzzing build that goes through the hooks of the sanitizer and of the fuzzer,
// which costs more than the comparison and feeds the fuzzer what it cannot use.
#pragma once
#include <cstdint>
#include <cstring>

namespace dmaudit {

__attribute__((no_sanitize("address")))
inline bool same_bytes(const uint8_t* a, const uint8_t* b, uint64_t n)
{
    // No helper, not even a lambda: it would be instrumented again.
    using Vector = uint64_t __attribute__((vector_size(16)));
    struct Block {
        Vector v[4];
    };
    uint64_t i = 0;
    for (; i + sizeof(Block) <= n; i += sizeof(Block)) {
        Block x, y;
        __builtin_memcpy(&x, a + i, sizeof x);
        __builtin_memcpy(&y, b + i, sizeof y);
        const Vector d = ((x.v[0] ^ y.v[0]) | (x.v[1] ^ y.v[1])) | ((x.v[2] ^ y.v[2]) | (x.v[3] ^ y.v[3]));
        if (d[0] | d[1])
            return false;
    }
    for (; i + 8 <= n; i += 8) {
        uint64_t x, y;
        __builtin_memcpy(&x, a + i, sizeof x);
        __builtin_memcpy(&y, b + i, sizeof y);
        if (x != y)
            return false;
    }
    for (; i < n; i++)
        if (a[i] != b[i])
            return false;
    return true;
}

} // namespace dmaudit
