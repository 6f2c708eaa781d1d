/* SPDX-License-Identifier: MIT */
#ifndef DMAUDIT_SHIM_BITSPERLONG_H
#define DMAUDIT_SHIM_BITSPERLONG_H

#define __BITS_PER_LONG (__SIZEOF_LONG__ * 8)
#if __SIZEOF_LONG__ == 8
#define BITS_PER_LONG 64
#else
#define BITS_PER_LONG 32
#endif
#define BITS_PER_LONG_LONG 64
#define small_const_nbits(nbits) (__builtin_constant_p(nbits) && (nbits) <= BITS_PER_LONG && (nbits) > 0)

#endif
