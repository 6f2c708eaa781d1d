/* SPDX-License-Identifier: MIT
 *
 * The seam between kernel code and the adapter: the few types that both sides see and the few calls that the shims make.
 * Kernel code is compiled without the C library's headers, the adapter without the kernel's; so nothing here needs either.
 *
 * All calls act on the instance whose call is under way on this thread (see linux.c).
 */
#ifndef DMAUDIT_LINUX_HOST_H
#define DMAUDIT_LINUX_HOST_H

typedef __UINT64_TYPE__ dmaudit_linux_u64;
typedef __SIZE_TYPE__ dmaudit_linux_size;

/* What coherent.c uses of the kernel's struct device. */
struct device {
    struct dma_coherent_mem *dma_mem;
    dmaudit_linux_u64 bus_offset; /* device address minus physical address, modulo 2^64 */
};

typedef struct {
    unsigned long pgprot;
} pgprot_t;

/* A virtual memory area, and what remap_pfn_range would have put there. */
struct vm_area_struct {
    unsigned long vm_start, vm_end, vm_pgoff;
    pgprot_t vm_page_prot;
    dmaudit_linux_u64 window_phys, window_size; /* bytes */
};

typedef struct spinlock {
    dmaudit_linux_u64 word;
} spinlock_t;

void *dmaudit_linux_memremap(dmaudit_linux_u64 phys, dmaudit_linux_size size);
void dmaudit_linux_memunmap(void *cpu);
void *dmaudit_linux_kmalloc(dmaudit_linux_size bytes, int zero); /* bytes > 0 */
void dmaudit_linux_kfree(void *p);
void dmaudit_linux_lock(dmaudit_linux_u64 *word);
void dmaudit_linux_unlock(dmaudit_linux_u64 *word);
void dmaudit_linux_printk(const char *format, ...);

#endif
