// Comparing simulated memory. Not memcmp: in a fuzzing build that goes through the hooks of the sanitizer and of the fuzzer,
// which costs more than the comparison and feeds the fuzzer what it cannot use.
#pragma once
#include <cstdint>
#include <cstring>

namespace dmaudit {

__attribute__((no_sanitize("address")))
inline bool same_bytes(const uint8_t* a, const uint8_t* b, uint64_t n)
{
    using Vector = uint64_t __attribute__((vector_size(16)));
    const auto difference = [a, b](uint64_t at) {
        Vector x, y;
        __builtin_memcpy(&x, a + at, sizeof x);
        __builtin_memcpy(&y, b + at, sizeof y);
        return x ^ y;
    };
    uint64_t i = 0;
    for (; i + 64 <= n; i += 64) {
        const Vector d = (difference(i) | difference(i + 16)) | (difference(i + 32) | difference(i + 48));
        if (d[0] | d[1])
            return false;
    }
    for (; i + 16 <= n; i += 16) {
        const Vector d = difference(i);
        if (d[0] | d[1])
            return false;
    }
    for (; i < n; i++)
        if (a[i] != b[i])
            return false;
    return true;
}

} // namespace dmaudit
