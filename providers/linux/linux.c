/* SPDX-License-Identifier: MIT
 *
 * The adapter: the pool facet of provider.h on one side, the entry points of coherent.c on the other. It translates and
 * hides nothing, with two exceptions that are marked below: what C leaves undefined for a size of zero, and the number
 * of pages in a window that no address space could hold. */
#include "linux.h"
#include "instance.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

/* ---- coherent.c, once for each page size ------------------------------------------------------------------------- */

struct linux_kernel {
    unsigned page_shift;
    int (*declare)(struct device *, unsigned long long phys, unsigned long long bus, size_t size);
    void (*release)(struct device *);
    int (*alloc)(struct device *, ptrdiff_t size, unsigned long long *bus, void **cpu);
    int (*free)(struct device *, int order, void *cpu);
    int (*mmap)(struct device *, struct vm_area_struct *, void *cpu, size_t size, int *result);
};

/* The names are the kernel's, with the page shift appended by the build; the types are too (u64 is unsigned long long). */
#define DECLARE_KERNEL(shift)                                                                                          \
    int dma_declare_coherent_memory_p##shift(struct device *, unsigned long long, unsigned long long, size_t);                             \
    void dma_release_coherent_memory_p##shift(struct device *);                                                        \
    int dma_alloc_from_dev_coherent_p##shift(struct device *, ptrdiff_t, unsigned long long *, void **);                         \
    int dma_release_from_dev_coherent_p##shift(struct device *, int, void *);                                          \
    int dma_mmap_from_dev_coherent_p##shift(struct device *, struct vm_area_struct *, void *, size_t, int *)
#define KERNEL(shift)                                                                                                  \
    {                                                                                                                  \
        shift, dma_declare_coherent_memory_p##shift, dma_release_coherent_memory_p##shift,                             \
            dma_alloc_from_dev_coherent_p##shift, dma_release_from_dev_coherent_p##shift,                              \
            dma_mmap_from_dev_coherent_p##shift                                                                        \
    }

DECLARE_KERNEL(12);
DECLARE_KERNEL(14);
DECLARE_KERNEL(16);
static const struct linux_kernel kernels[] = {KERNEL(12), KERNEL(14), KERNEL(16)};

/* ---- In and out of the kernel ------------------------------------------------------------------------------------ */

/* Begin a call; returns the kernel's device, null where the platform has no such device. */
static struct device *enter(struct linux_instance *instance, uint32_t device)
{
    uint32_t n = instance->platform->n_devices;
    linux_call = (struct linux_call){instance, device < n ? device : n};
    return device < n ? &instance->devices[device].device : NULL;
}

static void leave(void)
{
    linux_call = (struct linux_call){NULL, 0};
}

static int code(int negative_errno)
{
    switch (-negative_errno) {
    case 0:
        return DMAUDIT_OK;
    case EINVAL:
        return DMAUDIT_EINVAL;
    case ENOMEM:
        return DMAUDIT_ENOMEM;
    case EBUSY:
        return DMAUDIT_EBUSY;
    case ENXIO:
        return DMAUDIT_ENXIO;
    case ENODEV:
        return DMAUDIT_ENODEV;
    default:
        return DMAUDIT_EIO;
    }
}

/* ---- The facet --------------------------------------------------------------------------------------------------- */

static int pool_declare(void *ctx, uint32_t device, uint64_t phys, uint64_t bus, uint64_t size, uint32_t *exclusive)
{
    struct linux_instance *instance = ctx;
    int result = code(instance->kernel->declare(enter(instance, device), phys, bus, size));
    leave();
    if (result == DMAUDIT_OK && exclusive)
        *exclusive = 1; /* Linux 6.1 has no other pools */
    return result;
}

static int pool_alloc_from(void *ctx, uint32_t device, uint64_t size, struct dmaudit_block *out, int *ours)
{
    struct linux_instance *instance = ctx;
    const struct linux_kernel *kernel = instance->kernel;
    struct device *dev = enter(instance, device);

    /* get_order(0) is undefined: it makes coherent.c shift an int by more than its width. Where there is a pool the
     * kernel would get there. */
    if (size == 0 && dev && dev->dma_mem) {
        leave();
        *ours = 1;
        return DMAUDIT_EZERO;
    }

    unsigned long long bus = 0;
    void *cpu = NULL;
    *ours = kernel->alloc(dev, (ptrdiff_t)size, &bus, &cpu);
    leave();
    if (!*ours)
        return dev ? DMAUDIT_OK : DMAUDIT_ENODEV;
    if (!cpu)
        return DMAUDIT_ENOMEM;
    uint64_t granted = UINT64_C(1) << kernel->page_shift;
    while (granted < size)
        granted <<= 1;
    *out = (struct dmaudit_block){
        .struct_size = out->struct_size,
        .device = device,
        .cpu = cpu,
        .bus = bus,
        .size = size,
        .granted = granted,
    };
    return DMAUDIT_OK;
}

static int pool_release_from(void *ctx, uint32_t device, uint32_t order, void *cpu, int *ours)
{
    struct linux_instance *instance = ctx;
    struct device *dev = enter(instance, device);
    *ours = instance->kernel->free(dev, (int)order, cpu);
    leave();
    return dev ? DMAUDIT_OK : DMAUDIT_ENODEV;
}

static int pool_mmap_from(void *ctx, uint32_t device, void *cpu, uint64_t size, uint64_t pgoff, uint64_t pages,
                          struct dmaudit_window *out, int *ours)
{
    struct linux_instance *instance = ctx;
    const struct linux_kernel *kernel = instance->kernel;
    /* An address space ends somewhere. More pages than fit into it are refused just like as many as fit. */
    uint64_t most = ULONG_MAX >> kernel->page_shift;
    struct vm_area_struct vma = {
        .vm_start = 0,
        .vm_end = (unsigned long)(pages < most ? pages : most) << kernel->page_shift,
        .vm_pgoff = pgoff,
    };
    int result = 0;
    struct device *dev = enter(instance, device);
    *ours = kernel->mmap(dev, &vma, cpu, size, &result);
    leave();
    if (!*ours)
        return dev ? DMAUDIT_OK : DMAUDIT_ENODEV;
    if (result == 0) {
        out->phys = vma.window_phys;
        out->size = vma.window_size;
    }
    return code(result);
}

static int pool_release(void *ctx, uint32_t device)
{
    struct linux_instance *instance = ctx;
    struct device *dev = enter(instance, device);
    instance->kernel->release(dev);
    leave();
    return dev ? DMAUDIT_OK : DMAUDIT_ENODEV;
}

static const struct dmaudit_pool pool = {
    .struct_size = sizeof pool,
    .declare = pool_declare,
    .alloc_from = pool_alloc_from,
    .release_from = pool_release_from,
    .mmap_from = pool_mmap_from,
    .release = pool_release,
};

/* ---- The provider ------------------------------------------------------------------------------------------------ */

static int linux_open(const struct dmaudit_platform *platform, void **ctx)
{
    if (platform->abi != DMAUDIT_ABI)
        return DMAUDIT_EINVAL;
    const struct linux_kernel *kernel = NULL;
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++)
        if (platform->page == UINT64_C(1) << kernels[i].page_shift)
            kernel = &kernels[i];
    if (!kernel)
        return DMAUDIT_EINVAL;

    size_t bytes = sizeof(struct linux_instance) + (platform->n_devices + (size_t)1) * sizeof(struct linux_device);
    struct linux_instance *instance = platform->meta_alloc(platform->self, bytes);
    if (!instance)
        return DMAUDIT_ENOMEM;
    memset(instance, 0, bytes);
    instance->platform = platform;
    instance->kernel = kernel;
    for (uint32_t i = 0; i < platform->n_devices; i++)
        instance->devices[i].device.bus_offset = platform->devices[i].bus_offset;
    *ctx = instance;
    return DMAUDIT_OK;
}

static void linux_close(void *ctx)
{
    struct linux_instance *instance = ctx;
    const struct dmaudit_platform *platform = instance->platform;
    for (uint32_t i = 0; i < platform->n_devices; i++)
        pool_release(instance, i);
    platform->meta_free(platform->self, instance);
}

static const struct dmaudit_provider provider = {
    .abi = DMAUDIT_ABI,
    .struct_size = sizeof provider,
    .name = "linux",
    .summary = "per-device coherent pools of Linux 6.1 (kernel/dma/coherent.c, unmodified)",
    .promises = DMAUDIT_PROMISES_ZEROING | DMAUDIT_PROMISES_FIRST_FIT | DMAUDIT_PROMISES_LOWEST_RUN |
                DMAUDIT_PROMISES_THREAD_SAFETY | DMAUDIT_TRAIT_MAY_ABORT,
    .open = linux_open,
    .close = linux_close,
    .pool = &pool,
};

const struct dmaudit_provider *dmaudit_linux_provider(void)
{
    return &provider;
}
