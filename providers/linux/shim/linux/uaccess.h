/* SPDX-License-Identifier: MIT
 * What the parsing and printing half of bitmap.c asks for. None of it is ever called here. */
#ifndef DMAUDIT_SHIM_UACCESS_H
#define DMAUDIT_SHIM_UACCESS_H

#include <linux/err.h>
#include <linux/errno.h>
#include <linux/limits.h>
#include <linux/types.h>

static inline void *memdup_user_nul(const void *from, size_t size)
{
    return ERR_PTR(-EFAULT);
}

static inline char *kasprintf(gfp_t flags, const char *format, ...)
{
    return NULL;
}

static inline int scnprintf(char *to, size_t size, const char *format, ...)
{
    return 0;
}

static inline ssize_t memory_read_from_buffer(void *to, size_t count, loff_t *at, const void *from, size_t available)
{
    return -EINVAL;
}

static inline int hex_to_bin(unsigned char c)
{
    return -1;
}

#endif
