/* SPDX-License-Identifier: MIT
 * In place of the kernel's lib/kstrtox.h, for the parser in bitmap.c, which is never called here. */
#ifndef DMAUDIT_SHIM_KSTRTOX_H
#define DMAUDIT_SHIM_KSTRTOX_H

#define KSTRTOX_OVERFLOW (1U << 31)

static inline unsigned int _parse_integer(const char *s, unsigned int base, unsigned long long *result)
{
    return 0;
}

#endif
