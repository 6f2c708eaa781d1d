/* SPDX-License-Identifier: MIT */
#ifndef DMAUDIT_SHIM_MM_H
#define DMAUDIT_SHIM_MM_H

#include "../host.h"
#include <asm/page.h>
#include <linux/align.h>
#include <linux/errno.h>
#include <linux/types.h>

#define PAGE_ALIGN(address) ALIGN(address, PAGE_SIZE)
#define offset_in_page(p) ((unsigned long)(p) & ~PAGE_MASK)
#define PFN_DOWN(x) ((x) >> PAGE_SHIFT)
#define PFN_PHYS(x) ((phys_addr_t)(x) << PAGE_SHIFT)

static inline unsigned long vma_pages(const struct vm_area_struct *vma)
{
    return (vma->vm_end - vma->vm_start) >> PAGE_SHIFT;
}

/* Records the window. Where nothing is to be mapped the kernel has a BUG_ON; here that is an error. */
static inline int remap_pfn_range(struct vm_area_struct *vma, unsigned long address, unsigned long pfn,
                                  unsigned long size, pgprot_t prot)
{
    if (!size)
        return -EINVAL;
    vma->window_phys = PFN_PHYS(pfn);
    vma->window_size = size;
    return 0;
}

#endif
