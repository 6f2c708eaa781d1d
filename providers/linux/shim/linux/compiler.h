/* SPDX-License-Identifier: MIT */
#ifndef DMAUDIT_SHIM_COMPILER_H
#define DMAUDIT_SHIM_COMPILER_H

#include <linux/compiler_types.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define DMAUDIT_PASTE2(a, b) a##b
#define DMAUDIT_PASTE(a, b) DMAUDIT_PASTE2(a, b)
#undef __UNIQUE_ID
#define __UNIQUE_ID(prefix) DMAUDIT_PASTE(prefix, __COUNTER__)
#define is_signed_type(type) (((type)(-1)) < (type)1)
#define statically_true(x) (__builtin_constant_p(x) && (x))
#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, value) (*(volatile __typeof__(x) *)&(x) = (value))

#endif
