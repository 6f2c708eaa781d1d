/* SPDX-License-Identifier: MIT
 *
 * dmaudit provider interface, ABI version 1.
 *
 * A *provider* is a DMA allocator and mapping layer under audit. It fills one `struct dmaudit_provider` with function
 * pointers; a shared object exports it as
 *
 *     const struct dmaudit_provider *dmaudit_provider(void);
 *
 * Only `open`, `close` and one facet are required. A facet is a family of calls (coherent, streaming, pool, ...); a facet
 * that is not implemented is a null pointer, and so is any single call inside a facet.
 *
 * What a provider gets: one `struct dmaudit_platform`, valid from `open` until `close`. It describes the memory, the
 * devices and the cache of one simulated machine and offers the calls a kernel would offer: cache maintenance, uncached
 * pages, metadata memory, locks. All memory that a device may see comes from `platform->arenas`; the rest of RAM belongs
 * to the provider's clients.
 *
 * What a provider owes: every call returns a `DMAUDIT_*` code and never aborts, throws or longjmps across this boundary.
 * On failure nothing has changed, and a legal request is never refused as malformed (EINVAL, ENULL, EZERO, EFAULT). What
 * was given back can be had again: once everything is, as much as of a fresh instance.
 *
 * Sizes and lengths are bytes, `order` is the base-2 logarithm of pages, `pgoff` and `pages` are pages. A device address of
 * 0 is valid; only all ones is not an address.
 *
 * Promises (`DMAUDIT_PROMISES_*`) say what callers may rely on. They are held against every call, except BOUNCE (whether a
 * refusal was avoidable cannot be known from outside) and THREAD_SAFETY; what is not promised is never reported as missing.
 *
 * Threads: the auditor and the fuzzer call a provider from one thread. A provider that sets
 * DMAUDIT_PROMISES_THREAD_SAFETY may be called from several threads by others, with a platform that allows it.
 *
 * Growth: every struct begins with `struct_size`, set by the side that fills it; readers must not look beyond it. New
 * members are appended, bits and codes are never reused.
 */
#ifndef DMAUDIT_PROVIDER_H
#define DMAUDIT_PROVIDER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DMAUDIT_ABI 1u

/* Not an address; what Linux calls DMA_MAPPING_ERROR. Zero is a valid address. */
#define DMAUDIT_NO_ADDRESS UINT64_MAX

/* ---- Result codes ------------------------------------------------------------------------------------------------ */
enum dmaudit_result {
    DMAUDIT_OK = 0,
    DMAUDIT_EINVAL = 1, /* malformed argument: bad layout (alignment no power of two), bad direction, wrapping length */
    DMAUDIT_ENOMEM = 2, /* no memory, no pool room, no bounce slot (DmaError::NoMemory, -ENOMEM) */
    DMAUDIT_EMASK = 3,  /* the only addresses left are beyond the limit (DmaError::DmaMaskNotMatch) */
    DMAUDIT_EALIGN = 4, /* the alignment cannot be had (DmaError::AlignMismatch) */
    DMAUDIT_ENULL = 5,  /* null pointer (DmaError::NullPointer) */
    DMAUDIT_EZERO = 6,  /* zero bytes (DmaError::ZeroSizedBuffer) */
    DMAUDIT_EBUSY = 7,  /* the device has a pool already; the page is in use */
    DMAUDIT_ENXIO = 8,  /* window outside the block (dma_mmap_from_dev_coherent) */
    DMAUDIT_ENODEV = 9, /* no such device */
    DMAUDIT_ENOSYS = 10, /* call not implemented */
    DMAUDIT_EFAULT = 11, /* illegal call detected (double free, foreign handle, ...), nothing changed */
    DMAUDIT_EIO = 12,    /* anything else */
    DMAUDIT_EBADF = 13   /* no such file descriptor (dma_buf_get) */
};

/* Directions, with the numbers of Linux' enum dma_data_direction. */
enum dmaudit_direction {
    DMAUDIT_BIDIRECTIONAL = 0,
    DMAUDIT_TO_DEVICE = 1,
    DMAUDIT_FROM_DEVICE = 2,
    DMAUDIT_DIRECTION_NONE = 3 /* never legal in a call */
};

/* Phase of a sync. */
enum dmaudit_phase {
    DMAUDIT_FOR_DEVICE = 0, /* dma_sync_single_for_device, DmaOp::confirm_write */
    DMAUDIT_FOR_CPU = 1     /* dma_sync_single_for_cpu, DmaOp::prepare_read */
};

/* Cache operations of the streaming facet (DmaOp::flush, invalidate, flush_invalidate). */
enum dmaudit_cache_op { DMAUDIT_FLUSH = 1, DMAUDIT_INVALIDATE = 2, DMAUDIT_FLUSH_INVALIDATE = 3 };

/* Attributes, with the numbers of Linux' DMA_ATTR_*. What a provider has no use for it ignores. */
#define DMAUDIT_ATTR_WEAK_ORDERING (1u << 1)
#define DMAUDIT_ATTR_WRITE_COMBINE (1u << 2)
#define DMAUDIT_ATTR_NO_KERNEL_MAPPING (1u << 4) /* an opaque handle: see struct dmaudit_coherent */
#define DMAUDIT_ATTR_SKIP_CPU_SYNC (1u << 5)
#define DMAUDIT_ATTR_FORCE_CONTIGUOUS (1u << 6)
#define DMAUDIT_ATTR_ALLOC_SINGLE_PAGES (1u << 7)
#define DMAUDIT_ATTR_NO_WARN (1u << 8)
#define DMAUDIT_ATTR_PRIVILEGED (1u << 9)

/* Request flags. */
#define DMAUDIT_ZERO (1u << 0) /* the block must read zero, from the CPU and from the device (__GFP_ZERO) */

/* ---- What is asked for and what is given ------------------------------------------------------------------------- */

/* The constraints of an allocation or a mapping. */
struct dmaudit_request {
    uint32_t struct_size;
    uint32_t device;   /* index into platform->devices */
    uint64_t size;     /* bytes; 0 must be refused */
    uint64_t align;    /* of the device address, a power of two (else EINVAL); 0 or 1: none asked for */
    uint64_t limit;    /* last device address allowed (inclusive); 0: only the device's own limit counts */
    uint64_t boundary; /* a power of two (else EINVAL) that the device range must not cross; 0: none */
    uint32_t flags;    /* DMAUDIT_ZERO */
    uint32_t attrs;    /* DMAUDIT_ATTR_* */
};

/* An allocated block: one range of RAM, also behind an IOMMU and without a CPU address. The provider fills it; the same
 * values come back with free. */
struct dmaudit_block {
    uint32_t struct_size;
    uint32_t device;
    void *cpu;           /* address through platform->banks */
    uint64_t bus;        /* device address of the first byte */
    uint64_t size;       /* bytes asked for */
    uint64_t granted;    /* bytes really reserved, >= size */
    uint32_t flags;
    uint32_t attrs;
    uintptr_t cookie[2]; /* the provider's own; callers pass it back unread */
};

/* A streaming mapping of `size` bytes at `cpu`. `bus` may lead to a bounce buffer instead. */
struct dmaudit_mapping {
    uint32_t struct_size;
    uint32_t device;
    void *cpu;          /* the caller's buffer */
    uint64_t bus;       /* device address of the first byte */
    uint64_t size;      /* bytes */
    uint32_t direction; /* enum dmaudit_direction */
    uint32_t attrs;
    uintptr_t cookie[2];
};

/* A user-space window onto a block: what remap_pfn_range would have mapped. */
struct dmaudit_window {
    uint32_t struct_size;
    uint32_t reserved;
    uint64_t phys; /* physical address of the first byte, page aligned */
    uint64_t size; /* bytes, whole pages */
};

/* One entry of a scatterlist: memory of the client. */
struct dmaudit_sg_entry {
    void *cpu;
    uint64_t length; /* bytes, not 0 */
};

/* What a device sees of a mapped scatterlist: `n_entries` entries of the client behind `n_segments` <= n_entries device
 * ranges. The bytes of the entries, in order, lie in the segments, in order; no entry is split over two segments. */
struct dmaudit_sg_segment {
    uint64_t bus;
    uint64_t length;
};
struct dmaudit_sg {
    uint32_t struct_size;
    uint32_t device;
    const struct dmaudit_sg_entry *entries; /* the caller's list, the same in map and unmap */
    struct dmaudit_sg_segment *segments;    /* the caller's room for n_entries segments, filled by map */
    uint32_t n_entries;                     /* what Linux calls orig_nents */
    uint32_t n_segments;                    /* what dma_map_sg returned */
    uint32_t direction;
    uint32_t attrs;
    uintptr_t cookie[2];
};

/* ---- The machine, as a provider sees it -------------------------------------------------------------------------- */

/* A physical range. */
struct dmaudit_range {
    uint64_t phys;
    uint64_t size; /* bytes */
};

/* A bank of RAM and where the CPU sees it. */
struct dmaudit_bank {
    uint64_t phys;
    uint64_t size; /* bytes, whole pages */
    void *cpu;
};

/* A bus-mastering device. Without an IOMMU device address = physical address + bus_offset (modulo 2^64). */
struct dmaudit_device {
    uint32_t struct_size;
    uint32_t coherent; /* 1: its accesses snoop the CPU cache */
    uint64_t limit;    /* last device address it can drive (inclusive) */
    uint64_t bus_offset;
};

#define DMAUDIT_IOMMU_READ (1u << 0)
#define DMAUDIT_IOMMU_WRITE (1u << 1)

/* Everything a provider may ask of the machine. All calls are made with `self` as the first argument. */
struct dmaudit_platform {
    uint32_t abi;         /* DMAUDIT_ABI */
    uint32_t struct_size;
    void *self;
    uint64_t page;        /* bytes: 4096, 16384 or 65536 */
    uint64_t line;        /* cache line in bytes: a power of two, 16 to 256 */
    uint32_t n_banks, n_arenas, n_devices, reserved;
    const struct dmaudit_bank *banks;
    const struct dmaudit_range *arenas; /* the provider's own RAM, whole pages */
    const struct dmaudit_device *devices;

    /* Cache maintenance over physical ranges (bytes). Every cache line that the range touches is treated as a whole.
     * clean writes dirty lines back; invalidate drops lines, dirty or not. */
    void (*clean)(void *self, uint64_t phys, uint64_t len);
    void (*invalidate)(void *self, uint64_t phys, uint64_t len);

    /* Make whole pages uncached (on = 1) or cached again (on = 0): what memremap(MEMREMAP_WC), pgprot_dmacoherent or
     * set_memory_uc do. No line of the pages may be dirty when they become uncached. Returns DMAUDIT_OK, DMAUDIT_EINVAL
     * (not page aligned, not RAM), DMAUDIT_EBUSY (a client's cached bytes lie in the pages), DMAUDIT_ENOMEM; the last two
     * only for on = 1. */
    int (*set_uncached)(void *self, uint64_t phys, uint64_t len, int on);

    /* Memory for the provider's own records, aligned for any type, of no particular contents, never seen by a device. meta_alloc may fail (null),
     * and does beyond 16 MiB in all. */
    void *(*meta_alloc)(void *self, size_t bytes);
    void (*meta_free)(void *self, void *p);

    /* A mutex (spinlock) for each lock word; the word starts as zero and belongs to the platform. */
    void (*lock)(void *self, uint64_t *word);
    void (*unlock)(void *self, uint64_t *word);

    /* One line of text for the person who reads the report (no newline). */
    void (*log)(void *self, const char *text);

    /* The IOMMU. A device behind it (has_iommu = 1) reaches nothing but what is mapped for it, at the I/O virtual
     * addresses (IOVA) that the provider chooses, whole pages up to the device's limit; its bus_offset is 0.
     * `rights`: DMAUDIT_IOMMU_READ, DMAUDIT_IOMMU_WRITE, as the device sees it.
     * iommu_map: EINVAL (misaligned, not RAM, no rights, beyond the limit, the page of
     * DMAUDIT_NO_ADDRESS, something is mapped there), ENODEV (no IOMMU),
     * ENOMEM. iommu_unmap: EINVAL if any page of it is not mapped; the device may go on using what is unmapped until
     * iommu_flush, also in place of what is mapped there later. */
    int (*has_iommu)(void *self, uint32_t device);
    int (*iommu_map)(void *self, uint32_t device, uint64_t iova, uint64_t phys, uint64_t len, uint32_t rights);
    int (*iommu_unmap)(void *self, uint32_t device, uint64_t iova, uint64_t len);
    void (*iommu_flush)(void *self, uint32_t device);
};

/* Physical address of a CPU address in RAM, or DMAUDIT_NO_ADDRESS. */
static inline uint64_t dmaudit_phys_of(const struct dmaudit_platform *p, const void *cpu)
{
    for (uint32_t i = 0; i < p->n_banks; i++) {
        uintptr_t base = (uintptr_t)p->banks[i].cpu, at = (uintptr_t)cpu;
        if (at >= base && at - base < p->banks[i].size)
            return p->banks[i].phys + (at - base);
    }
    return DMAUDIT_NO_ADDRESS;
}

/* CPU address of a physical address in RAM, or a null pointer. */
static inline void *dmaudit_cpu_of(const struct dmaudit_platform *p, uint64_t phys)
{
    for (uint32_t i = 0; i < p->n_banks; i++)
        if (phys >= p->banks[i].phys && phys - p->banks[i].phys < p->banks[i].size)
            return (unsigned char *)p->banks[i].cpu + (phys - p->banks[i].phys);
    return NULL;
}

/* For state_hash: mixes one word into a hash, in order. Begin with any two constants. */
static inline void dmaudit_hash_add(uint64_t hash[2], uint64_t word)
{
    uint64_t a = (hash[0] ^ word) * 0x9e3779b97f4a7c15ull;
    uint64_t b = (hash[1] + ((word << 32) | (word >> 32))) * 0xd6e8feb86659fd93ull;
    a ^= a >> 32;
    b ^= b >> 29;
    hash[0] = a + ((b << 17) | (b >> 47));
    hash[1] = b ^ ((a << 41) | (a >> 23));
}

/* ---- Promises ---------------------------------------------------------------------------------------------------- */

#define DMAUDIT_PROMISES_ALIGNMENT (1ull << 0)   /* request.align is honoured or refused */
#define DMAUDIT_PROMISES_LIMIT (1ull << 1)       /* request.limit and the device's limit are honoured or refused */
#define DMAUDIT_PROMISES_BOUNDARY (1ull << 2)    /* request.boundary is honoured or refused */
#define DMAUDIT_PROMISES_ZEROING (1ull << 3)     /* DMAUDIT_ZERO is honoured; pool blocks always read zero */
#define DMAUDIT_PROMISES_NATURAL_ALIGNMENT (1ull << 4) /* blocks are aligned to the smallest page order >= size (not those of pools) */
#define DMAUDIT_PROMISES_FIRST_FIT (1ull << 5)   /* a pool allocation fails only if no free aligned 2^order run exists */
#define DMAUDIT_PROMISES_BOUNCE (1ull << 6)      /* out-of-reach or misaligned buffers are bounced, not refused */
#define DMAUDIT_PROMISES_EDGE_BOUNCE (1ull << 7) /* and so are buffers that a non-coherent device may write and that share an edge line */
#define DMAUDIT_PROMISES_MAP_SYNC (1ull << 8)    /* map and unmap do the cache work (Linux); else only sync does */
#define DMAUDIT_PROMISES_KEEP_UNWRITTEN (1ull << 9) /* CPU writes not handed over survive a FROM_DEVICE mapping */
#define DMAUDIT_PROMISES_DETECTION (1ull << 10)  /* illegal free and release calls fail, no effect. Not asked of one that
                                                  * is told from a legal one by nothing but bytes within the same pages,
                                                  * by one of the two addresses alone, or by nothing at all (so cookies should
                                                  * not come again at once), nor of managed memory freed with the plain call */
#define DMAUDIT_PROMISES_THREAD_SAFETY (1ull << 11)
#define DMAUDIT_PROMISES_NO_KERNEL_MAPPING (1ull << 12) /* NO_KERNEL_MAPPING is honoured: such blocks have no CPU address */
#define DMAUDIT_PROMISES_IOMMU (1ull << 13) /* serves devices behind an IOMMU; to others none is shown */
#define DMAUDIT_PROMISES_MIN_ALIGN_MASK (1ull << 14) /* bounce buffers keep the address bits of the device's min_align_mask */
#define DMAUDIT_PROMISES_RIGHTS (1ull << 15)    /* behind an IOMMU a device may do no more than the directions of its mappings say */
#define DMAUDIT_PROMISES_ISOLATION (1ull << 16) /* and reaches nobody's bytes beside the mapped ones in their pages (untrusted devices) */
/* Without an IOMMU nothing is refused, with whichever code, for which the arenas have a free run of 2^order pages, aligned
 * to its size in device addresses, that meets the request: a block, or the bounce buffer of a mapping, at the buffer's place
 * in its cache line; nor is a mask that leaves the device a page. And EMASK and EALIGN are said of no request for which any
 * address would do. */
#define DMAUDIT_PROMISES_COMPLETE (1ull << 17)
/* close gives back what lives, too; others are closed when nothing does. Whether actions of drivers run then is open. */
#define DMAUDIT_PROMISES_TEARDOWN (1ull << 18)
/* Unmaps, syncs and detaches fail, and change nothing, if what they name is dead, another device's or was mapped with other
 * numbers; so does a put when no caller has a reference. */
#define DMAUDIT_PROMISES_DETECTION_OF_MAPPINGS (1ull << 19)
/* Freed pages are cached again when the call that frees them returns, and a call that fails leaves no page with another
 * cacheability. Without it free pages are the provider's own affair until close. */
#define DMAUDIT_PROMISES_PROMPT (1ull << 20)
/* COMPLETE behind an IOMMU, too: the addresses are I/O virtual ones then, from the second page up to twice the RAM, and a
 * mapping's need no alignment. A mask that leaves such a page is not refused. */
#define DMAUDIT_PROMISES_COMPLETE_IOVA (1ull << 21)
/* A pool serves from the lowest free run of 2^order pages, aligned to its size from the pool's start, that meets the request
 * (Linux's bitmap_find_free_region). */
#define DMAUDIT_PROMISES_LOWEST_RUN (1ull << 22)

/* Traits: no promises, but things the auditor must know. */
#define DMAUDIT_TRAIT_IN_BAND (1ull << 32)       /* keeps metadata inside free memory */
#define DMAUDIT_TRAIT_PROCESS_WIDE (1ull << 33)  /* one instance per process: a case needs a child process */
#define DMAUDIT_TRAIT_MAY_ABORT (1ull << 34)     /* may abort on illegal calls */
#define DMAUDIT_TRAIT_COHERENT_NEEDS_SYNC (1ull << 35) /* coherent blocks on non-coherent devices are cached */
#define DMAUDIT_TRAIT_LAZY_FLUSH (1ull << 36) /* a device may reach memory for a while after it was unmapped (IOMMU), also by a call that fails half way */

/* ---- Facets ------------------------------------------------------------------------------------------------------ */

/* dma_alloc_attrs / dma_free_attrs, DmaOp::alloc_coherent / dealloc_coherent. A device that has a pool is served from
 * it first. */
struct dmaudit_coherent {
    uint32_t struct_size;
    uint32_t reserved;
    /* Fills *out (struct_size is set by the caller). Errors: EZERO or EINVAL (size 0), EINVAL (alignment no power of two),
     * ENOMEM, EMASK, EALIGN. */
    int (*alloc)(void *ctx, const struct dmaudit_request *request, struct dmaudit_block *out);
    /* Errors: EFAULT when it detects an illegal call. */
    int (*free)(void *ctx, const struct dmaudit_block *block);

    /* Opaque handles. With DMAUDIT_ATTR_NO_KERNEL_MAPPING a provider that promises so returns a block whose `cpu` is null;
     * its `cookie` stands for it in free and mmap. DMAUDIT_ZERO is not asked for together with it. What an earlier owner
     * left must not be seen through a window all the same. */

    /* dma_mmap_attrs: a window of `pages` pages onto a live block, from its page `pgoff` on. Error: ENXIO (of no
     * pages EINVAL will do). Leave it out where blocks share pages: a legal window is not refused. */
    int (*mmap)(void *ctx, const struct dmaudit_block *block, uint64_t pgoff, uint64_t pages, struct dmaudit_window *out);

    /* dma_alloc_noncoherent: cached memory that reads zero, mapped for a device in one direction and with the CPU until
     * it is synced for the device. No pool is asked. Errors as alloc. */
    int (*alloc_noncoherent)(void *ctx, const struct dmaudit_request *request, uint32_t direction,
                             struct dmaudit_block *out);
    int (*free_noncoherent)(void *ctx, const struct dmaudit_block *block, uint32_t direction);
    /* dma_sync_single_range_for_cpu / _for_device on such a block. */
    int (*sync_noncoherent)(void *ctx, const struct dmaudit_block *block, uint64_t offset, uint64_t length,
                            uint32_t direction, uint32_t phase);

    /* dma_alloc_pages, dma_free_pages: the same kind of memory in whole pages: `request->size` is a multiple of the page,
     * the block begins on a page, and all of it is the caller's. Synced by sync_noncoherent. Errors as alloc. */
    int (*alloc_pages)(void *ctx, const struct dmaudit_request *request, uint32_t direction, struct dmaudit_block *out);
    int (*free_pages)(void *ctx, const struct dmaudit_block *block, uint32_t direction);
};

/* dma_map_single and its kin, DmaOp::map_single, unmap_single, prepare_read, confirm_write, flush, invalidate. */
struct dmaudit_streaming {
    uint32_t struct_size;
    uint32_t reserved;
    /* Give `request->size` bytes at `cpu` to a device. With DMAUDIT_ATTR_SKIP_CPU_SYNC no cache work is asked for. A bounce
     * buffer lies in an arena, shares no cache line with anybody, begins at the buffer's place in its cache line, and is
     * copied into at every map, with SKIP too: what the device does not write comes back as it was.
     * Errors: EZERO or EINVAL (size 0), ENULL, EINVAL (direction, alignment), ENOMEM (no bounce slot), EMASK, EALIGN. */
    int (*map_single)(void *ctx, const struct dmaudit_request *request, void *cpu, uint32_t direction,
                      struct dmaudit_mapping *out);
    /* Take them back. `used` <= mapping->size: bytes that the device may have written; the rest is indeterminate after a
     * mapping that the device could write. `attrs`: DMAUDIT_ATTR_SKIP_CPU_SYNC. */
    int (*unmap_single)(void *ctx, const struct dmaudit_mapping *mapping, uint64_t used, uint32_t attrs);
    /* Hand bytes [offset, offset + length) over. `direction` is the mapping's, or on a bidirectional mapping the part
     * that matters. length 0 has no effect. For the device, a from_device mapping moves no bytes: what the device wrote
     * to a bounce buffer stays there. */
    int (*sync)(void *ctx, const struct dmaudit_mapping *mapping, uint64_t offset, uint64_t length, uint32_t direction,
                uint32_t phase);
    /* Cache maintenance on cached memory of a client, by CPU address. A line that the range covers only in part may hold
     * what the CPU wrote beside it: an invalidate cleans such a line first. */
    int (*cache)(void *ctx, void *cpu, uint64_t length, uint32_t op);
};

/* Linux' per-device coherent pools. `*ours` is the routing flag of the source: 1 = the pool has dealt with the call and
 * the returned code is final, 0 = go on with the generic path; the code is then meaningless. */
struct dmaudit_pool {
    uint32_t struct_size;
    uint32_t reserved;
    /* dma_declare_coherent_memory: the client gives RAM [phys, phys + size) to the device's pool. `exclusive`: a full
     * pool answers ours = 1 with DMAUDIT_ENOMEM, and coherent->alloc takes nothing from elsewhere (opaque handles
     * aside); else ours = 0, and the generic allocator is asked. A provider that
     * knows exclusive pools only treats each as exclusive and says so in `*exclusive` (in and out).
     * Not asked for devices behind an IOMMU. Errors: EINVAL (size 0), EBUSY (has one), ENOMEM, ENODEV. */
    int (*declare)(void *ctx, uint32_t device, uint64_t phys, uint64_t bus, uint64_t size, uint32_t *exclusive);
    /* dma_alloc_from_dev_coherent. Sizes are rounded up to 2^order pages, and runs are aligned to that from the start of the
     * pool; size 0 is refused. */
    int (*alloc_from)(void *ctx, uint32_t device, uint64_t size, struct dmaudit_block *out, int *ours);
    /* dma_release_from_dev_coherent. */
    int (*release_from)(void *ctx, uint32_t device, uint32_t order, void *cpu, int *ours);
    /* dma_mmap_from_dev_coherent: a window of `pages` pages onto the block of `size` bytes at `cpu`, from page `pgoff`
     * on. Error: ENXIO (of no pages EINVAL will do). */
    int (*mmap_from)(void *ctx, uint32_t device, void *cpu, uint64_t size, uint64_t pgoff, uint64_t pages,
                     struct dmaudit_window *out, int *ours);
    /* dma_release_coherent_memory: the client takes the RAM back. Blocks still alive are dangling afterwards. */
    int (*release)(void *ctx, uint32_t device);
};

/* dma_map_sg and its kin. */
struct dmaudit_scatter {
    uint32_t struct_size;
    uint32_t reserved;
    /* dma_map_sg: maps sg->entries for sg->device in sg->direction; fills segments, n_segments and cookie. From `request`:
     * device, limit, boundary (dma_set_seg_boundary) and attrs; `size` is the longest segment (dma_set_max_seg_size), 0:
     * any. Neighbouring entries may be merged into one segment. On failure nothing is mapped.
     * Errors: EINVAL (no entries, an empty entry, direction), ENULL, ENOMEM, EMASK, EALIGN. */
    int (*map_sg)(void *ctx, const struct dmaudit_request *request, struct dmaudit_sg *sg);
    /* dma_unmap_sg, dma_sync_sg_for_cpu, dma_sync_sg_for_device. `n_entries` is the original count. */
    int (*unmap_sg)(void *ctx, const struct dmaudit_sg *sg, uint32_t n_entries, uint32_t attrs);
    int (*sync_sg)(void *ctx, const struct dmaudit_sg *sg, uint32_t n_entries, uint32_t direction, uint32_t phase);

    /* dma_map_sgtable, dma_unmap_sgtable, dma_sync_sgtable_for_cpu and _for_device: the table knows its own counts.
     * n_entries (orig_nents) is never changed, n_segments (nents) by a map that succeeds only.
     * Errors: EINVAL (never try again), ENOMEM (try later), EIO (anything else), and no other. */
    int (*map_sgtable)(void *ctx, const struct dmaudit_request *request, struct dmaudit_sg *sg);
    int (*unmap_sgtable)(void *ctx, const struct dmaudit_sg *sg, uint32_t attrs);
    int (*sync_sgtable)(void *ctx, const struct dmaudit_sg *sg, uint32_t direction, uint32_t phase);
};

/* What a driver says of its device. A mask is the last device address allowed (inclusive) of what is allocated or mapped
 * from then on, beside the device's own limit; what lives already is not concerned. On failure the old one stays. */
struct dmaudit_parameters {
    uint32_t struct_size;
    uint32_t reserved;
    /* dma_set_mask: of streaming mappings, scatterlists and attachments. EIO: no address would be left (0 always is such a
     * mask). A mask that is not smaller than the device's limit is always accepted, also one that is not 2^n - 1. */
    int (*set_mask)(void *ctx, uint32_t device, uint64_t mask);
    /* dma_set_coherent_mask: the same of coherent, opaque and non-coherent memory. A pool's memory is placed by who
     * declares it, and is not concerned. */
    int (*set_coherent_mask)(void *ctx, uint32_t device, uint64_t mask);
    /* dma_set_min_align_mask: 2^n - 1. A bounce buffer keeps these bits of the buffer's (physical) address, or the mapping is
     * refused. EINVAL: no such mask. Masks below the page size are always accepted, larger ones may be refused. */
    int (*set_min_align_mask)(void *ctx, uint32_t device, uint64_t mask);
};

/* Linux' managed DMA (devres): what a driver takes while it is bound to a device is given back when it is unbound, last
 * taken first. Mappings, attachments and windows onto blocks of the device the client has ended before. */
struct dmaudit_managed {
    uint32_t struct_size;
    uint32_t reserved;
    int (*bind)(void *ctx, uint32_t device); /* EBUSY: bound */
    /* The driver goes, or its probe failed: everything managed is released in reverse order. ENODEV: not bound. */
    int (*unbind)(void *ctx, uint32_t device);
    /* dmam_alloc_attrs, dmam_alloc_coherent. Errors: ENODEV (not bound), and as dmaudit_coherent.alloc. */
    int (*alloc)(void *ctx, const struct dmaudit_request *request, struct dmaudit_block *out);
    /* dmam_free_coherent: before the driver goes. EFAULT: not a managed block. */
    int (*free)(void *ctx, const struct dmaudit_block *block);
    /* dmam_alloc_noncoherent, dmam_free_noncoherent; the sync is dmaudit_coherent.sync_noncoherent. */
    int (*alloc_noncoherent)(void *ctx, const struct dmaudit_request *request, uint32_t direction,
                             struct dmaudit_block *out);
    int (*free_noncoherent)(void *ctx, const struct dmaudit_block *block, uint32_t direction);
    /* dmam_declare_coherent_memory, dmam_release_declared_memory. ENODEV: not bound, or nothing declared so. */
    int (*declare)(void *ctx, uint32_t device, uint64_t phys, uint64_t bus, uint64_t size, uint32_t *exclusive);
    int (*release_declared)(void *ctx, uint32_t device);
    /* devm_add_action: `action(data)` is called when its turn comes at unbind. */
    int (*add_action)(void *ctx, uint32_t device, void (*action)(void *data), void *data);
    /* devres_open_group, devres_release_group: what was taken since the group was opened goes, last taken first. Groups
     * nest; `id` names one. EINVAL: no such group. */
    int (*open_group)(void *ctx, uint32_t device, uint64_t id);
    int (*release_group)(void *ctx, uint32_t device, uint64_t id);
};

/* Linux' dma-buf: one buffer for several devices. All of it is implemented or nothing, but for one of the exporters and
 * for kmap, mmap and vmap. A buffer and an attachment are named by numbers of the provider. */
struct dmaudit_dma_buf {
    uint32_t struct_size;
    uint32_t reserved;
    /* dma_buf_export_named. One reference, the caller's. The exporter is a live block of this provider (coherent, from a
     * pool, or opaque), or whole pages of a client at `cpu`; the memory must stay until the last reference is gone.
     * Errors: EINVAL (pages: size 0, not whole pages), ENULL, ENOMEM, EFAULT (no live block). */
    int (*export_block)(void *ctx, const struct dmaudit_block *block, const char *name, uint64_t *buf);
    int (*export_pages)(void *ctx, void *cpu, uint64_t size, const char *name, uint64_t *buf);
    /* dma_buf_fd: on success the caller's reference belongs to the descriptor. The lowest free number, from 0 on. */
    int (*fd)(void *ctx, uint64_t buf, int *fd);
    /* close(2) and dup(2). Error: EBADF. */
    int (*close_fd)(void *ctx, int fd);
    int (*dup_fd)(void *ctx, int fd, int *copy);
    /* dma_buf_get: one more reference. Error: EBADF. */
    int (*get)(void *ctx, int fd, uint64_t *buf);
    /* dma_buf_put. With the last reference the exporter's release is called, exactly once. */
    int (*put)(void *ctx, uint64_t buf);
    /* dma_buf_attach, dma_buf_detach. Errors: ENODEV, ENOMEM, EMASK (the device cannot reach it). */
    int (*attach)(void *ctx, uint64_t buf, uint32_t device, uint64_t *attachment);
    int (*detach)(void *ctx, uint64_t buf, uint64_t attachment);
    /* dma_buf_map_attachment: fills sg->device, segments (room for sg->n_entries), n_segments, direction, cookie. Once more:
     * the same segments, whatever the masks say by then. EBUSY: the direction of its mapping does not include this one. EBUSY
     * is allowed, too, while another attachment is mapped and one of the two may write; what they see of each other is not said.
     * When the last map is undone, what its device wrote is in the buffer's own bytes, whoever else is mapped. */
    int (*map_attachment)(void *ctx, uint64_t attachment, uint32_t direction, struct dmaudit_sg *sg);
    int (*unmap_attachment)(void *ctx, uint64_t attachment, const struct dmaudit_sg *sg, uint32_t direction);
    /* dma_buf_begin_cpu_access, dma_buf_end_cpu_access on bytes [start, start + length). Brackets nest. A begin hands nothing to
     * importers, and for to_device leaves alone what the CPU wrote in an open one (for reading it need not; nor need a map or
     * an unmap). In a bracket for to_device, bytes the CPU does not write keep what a device wrote: no older line of them stays
     * in the cache for the CPU to write to, and who gives an importer a copy fetches what the end is going to copy back. */
    int (*begin_cpu_access)(void *ctx, uint64_t buf, uint64_t start, uint64_t length, uint32_t direction);
    int (*end_cpu_access)(void *ctx, uint64_t buf, uint64_t start, uint64_t length, uint32_t direction);
    /* dma_buf_kmap(_atomic), dma_buf_kunmap(_atomic): CPU address of one page. EINVAL: no such page (a
     * last page in part may be none), or no CPU mapping, which a buffer has of all its pages or of none. */
    int (*kmap)(void *ctx, uint64_t buf, uint64_t page, int atomic, void **cpu);
    int (*kunmap)(void *ctx, uint64_t buf, uint64_t page, int atomic, void *cpu);
    /* dma_buf_mmap. EINVAL: beyond the buffer's whole pages (a last page in part is none), or of no pages. */
    int (*mmap)(void *ctx, uint64_t buf, uint64_t pgoff, uint64_t pages, struct dmaudit_window *out);
    /* dma_buf_vmap, dma_buf_vunmap: counted; every vmap gives the same address. */
    int (*vmap)(void *ctx, uint64_t buf, void **cpu);
    int (*vunmap)(void *ctx, uint64_t buf, void *cpu);
};

struct dmaudit_provider {
    uint32_t abi;         /* DMAUDIT_ABI */
    uint32_t struct_size; /* sizeof(struct dmaudit_provider) */
    const char *name;     /* [a-z0-9-]+ */
    const char *summary;  /* one line */
    uint64_t promises;    /* DMAUDIT_PROMISES_* | DMAUDIT_TRAIT_* */
    /* One instance on one platform; every other call gets *ctx. If it fails, nothing is left, and it can be tried again. */
    int (*open)(const struct dmaudit_platform *platform, void **ctx);
    /* Everything the instance took is given back: metadata memory, uncached pages, translations. Before, the client has
     * given back all that it had, unless TEARDOWN is promised. */
    void (*close)(void *ctx);
    const struct dmaudit_coherent *coherent;
    const struct dmaudit_streaming *streaming;
    const struct dmaudit_pool *pool;
    const struct dmaudit_scatter *scatter;
    const struct dmaudit_managed *managed;
    const struct dmaudit_dma_buf *dma_buf;
    const struct dmaudit_parameters *parameters;
    /* Optional, for exhaustive search (`dmaudit verify`): 128 bits that stand for the state of the instance, so that a
     * state which was reached before is not searched again. Whatever decides what later calls answer and do goes in:
     * which pages are free, what lives, in what order things will be taken or released. What lies in RAM does not, nor
     * does the state of cache and IOMMU: the machine knows that. Nor do the names of things (cookies, slots,
     * generations, addresses of metadata), as long as objects in which a client sees no difference (device, addresses,
     * size, direction, attributes) are interchangeable. When in doubt put more in: then less is merged, and what is
     * found stays right. Host addresses must not go in. It changes nothing and calls nothing of the platform but lock
     * and unlock. */
    int (*state_hash)(void *ctx, uint64_t hash[2]);
};

/* Does a struct that travels with `struct_size` hold `member`, and is it set? */
#define DMAUDIT_HAS(table, member)                                                                                     \
    ((table) != NULL &&                                                                                                \
     (table)->struct_size >= (size_t)((const char *)&(table)->member - (const char *)(table)) + sizeof (table)->member && \
     (table)->member != NULL)

/* The one symbol that a plugin exports. */
typedef const struct dmaudit_provider *(*dmaudit_provider_fn)(void);
#define DMAUDIT_PROVIDER_SYMBOL "dmaudit_provider"

#ifdef __cplusplus
}
#endif
#endif
