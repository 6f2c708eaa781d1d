/* SPDX-License-Identifier: MIT
 * Kernel memory is the platform's metadata memory. */
#ifndef DMAUDIT_SHIM_SLAB_H
#define DMAUDIT_SHIM_SLAB_H

#include "../host.h"
#include <linux/types.h>

#define GFP_KERNEL ((gfp_t)0)
#define __GFP_ZERO ((gfp_t)1)

/* What the kernel answers to a request for nothing: not null, and not to be touched. */
#define ZERO_SIZE_PTR ((void *)16)
#define ZERO_OR_NULL_PTR(p) ((unsigned long)(p) <= (unsigned long)ZERO_SIZE_PTR)

static inline void *kmalloc(size_t size, gfp_t flags)
{
    return size ? dmaudit_linux_kmalloc(size, (flags & __GFP_ZERO) != 0) : ZERO_SIZE_PTR;
}

static inline void *kzalloc(size_t size, gfp_t flags)
{
    return kmalloc(size, flags | __GFP_ZERO);
}

static inline void *kmalloc_array(size_t n, size_t size, gfp_t flags)
{
    size_t bytes;
    return __builtin_mul_overflow(n, size, &bytes) ? (void *)0 : kmalloc(bytes, flags);
}

static inline void *kmalloc_array_node(size_t n, size_t size, gfp_t flags, int node)
{
    return kmalloc_array(n, size, flags);
}

static inline void kfree(const void *p)
{
    if (!ZERO_OR_NULL_PTR(p))
        dmaudit_linux_kfree((void *)p);
}

#endif
