/* SPDX-License-Identifier: MIT */
#ifndef DMAUDIT_SHIM_IO_H
#define DMAUDIT_SHIM_IO_H

#include "../host.h"
#include <linux/types.h>

#define MEMREMAP_WC (1 << 2)

static inline void *memremap(phys_addr_t phys, size_t size, unsigned long flags)
{
    return flags == MEMREMAP_WC ? dmaudit_linux_memremap(phys, size) : (void *)0;
}

static inline void memunmap(void *cpu)
{
    dmaudit_linux_memunmap(cpu);
}

#endif
