/* SPDX-License-Identifier: MIT
 * The kernel's generic bit operations, and of the atomic ones only what is used. */
#ifndef DMAUDIT_SHIM_BITOPS_H
#define DMAUDIT_SHIM_BITOPS_H

#include <asm-generic/bitops/__ffs.h>
#include <asm-generic/bitops/__fls.h>
#include <asm-generic/bitops/ffs.h>
#include <asm-generic/bitops/ffz.h>
#include <asm-generic/bitops/fls.h>
#include <asm-generic/bitops/fls64.h>
#include <asm-generic/bitops/hweight.h>
#include <asm-generic/bitops/non-atomic.h>

static inline void set_bit(unsigned long nr, volatile unsigned long *bits)
{
    __atomic_fetch_or(bits + nr / BITS_PER_LONG, 1UL << nr % BITS_PER_LONG, __ATOMIC_SEQ_CST);
}

static inline void clear_bit(unsigned long nr, volatile unsigned long *bits)
{
    __atomic_fetch_and(bits + nr / BITS_PER_LONG, ~(1UL << nr % BITS_PER_LONG), __ATOMIC_SEQ_CST);
}

#endif
