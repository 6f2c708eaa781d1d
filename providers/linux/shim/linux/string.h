/* SPDX-License-Identifier: MIT
 * From the C library, by their standard types. */
#ifndef DMAUDIT_SHIM_STRING_H
#define DMAUDIT_SHIM_STRING_H

#include <linux/types.h>

void *memset(void *, int, size_t);
void *memcpy(void *, const void *, size_t);
void *memmove(void *, const void *, size_t);
int memcmp(const void *, const void *, size_t);
size_t strlen(const char *);
int strncasecmp(const char *, const char *, size_t);

static inline char *strnchrnul(const char *s, size_t n, int c)
{
    for (; n && *s && *s != (char)c; s++, n--)
        ;
    return (char *)s;
}

#endif
