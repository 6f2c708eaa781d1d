// Comparing and copying simulated memory. Not memcmp and memcpy: in a fuzzing build those go through the hooks of the
// sanitizer and of the fuzzer, which costs more than the work and feeds the fuzzer what it cannot use.
#pragma once
#include <cstdint>
#include <cstring>

namespace dmaudit {

__attribute__((no_sanitize("address"))) inline bool same_bytes(const uint8_t* a, const uint8_t* b, uint64_t n)
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

// Whole pages of 4 KiB, whichever vectors the processor has: a reset compares all of RAM.
bool same_page(const uint8_t* a, const uint8_t* b);

#ifdef __x86_64__
inline const bool has_avx2 = __builtin_cpu_supports("avx2");

// How many bytes of a long range it copied.
__attribute__((target("avx2"), no_sanitize("address"), noinline)) inline uint64_t
copy_avx2(uint8_t* to, const uint8_t* from, uint64_t n)
{
    using Vector = uint64_t __attribute__((vector_size(32)));
    uint64_t i = 0;
    for (; i + 4 * sizeof(Vector) <= n; i += 4 * sizeof(Vector)) {
        Vector v[4];
        for (unsigned k = 0; k < 4; k++)
            __builtin_memcpy(&v[k], from + i + k * sizeof(Vector), sizeof(Vector));
        for (unsigned k = 0; k < 4; k++)
            __builtin_memcpy(to + i + k * sizeof(Vector), &v[k], sizeof(Vector));
        __asm__("" : : : "memory"); // else the compiler makes a call of memcpy of the loop
    }
    return i;
}
#endif

// The ranges do not overlap.
__attribute__((no_sanitize("address"))) inline void copy_bytes(uint8_t* to, const uint8_t* from, uint64_t n)
{
    using Vector = uint64_t __attribute__((vector_size(16)));
    uint64_t i = 0;
#ifdef __x86_64__
    if (n >= 512 && has_avx2)
        i = copy_avx2(to, from, n);
#endif
    for (; i + sizeof(Vector) <= n; i += sizeof(Vector)) {
        Vector v;
        __builtin_memcpy(&v, from + i, sizeof v);
        __builtin_memcpy(to + i, &v, sizeof v);
        __asm__("" : : : "memory"); // else the compiler makes a call of memcpy of the loop
    }
    for (; i < n; i++) {
        to[i] = from[i];
        __asm__("" : : : "memory");
    }
}

} // namespace dmaudit
