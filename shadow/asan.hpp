// The mirror in AddressSanitizer: bytes of the client alias that the CPU may neither read nor write are poisoned, so
// that client code faults at the very instruction. A net with meshes of 8 bytes, never an oracle. Does nothing without
// ASan (the build says DMAUDIT_ASAN).
#pragma once
#include <cstddef>
#include <cstdint>

#ifdef DMAUDIT_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace dmaudit {

inline void cpu_may_not_touch([[maybe_unused]] const uint8_t* p, [[maybe_unused]] size_t n)
{
#ifdef DMAUDIT_ASAN
    __asan_poison_memory_region(p, n);
#endif
}
inline void cpu_may_touch([[maybe_unused]] const uint8_t* p, [[maybe_unused]] size_t n)
{
#ifdef DMAUDIT_ASAN
    __asan_unpoison_memory_region(p, n);
#endif
}

} // namespace dmaudit
