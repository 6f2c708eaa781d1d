// The public header of the folder: one DMA allocator and mapping layer on one platform.
//
// It stands on `struct dmaudit_platform` alone. Its own records come from meta_alloc, everything that a device may see
// from the platform's arenas (or from pools, which a client declares). No global state: instances are independent.
// Failed calls change nothing. Sizes are bytes, orders are powers of two of pages, `pgoff` and `pages` are pages,
// limits are inclusive device addresses.
//
// Threads: every call may be made from any thread at any time, except that calls on one and the same block, mapping or
// pool declaration are the client's to order, and close() comes after all others.
//
// RAII over these calls is in buffers.hpp, the DmaOp face in dma_op.hpp.
#pragma once

#include <memory>

#include "allocator/coherent.hpp"
#include "allocator/managed.hpp"
#include "allocator/dma_buf_exporters.hpp"
#include "allocator/parameters.hpp"
#include "allocator/pool.hpp"
#include "allocator/scatter.hpp"
#include "allocator/streaming.hpp"

namespace dmaudit::alloc {

// A block, from the device's pool or from the arenas.
struct Block {
    CoherentBlock block; // device, attributes, CPU address, device address, size
    std::uint64_t granted;
    bool pooled;
    Handle handle;        // if not pooled
    std::uint64_t serial; // if pooled
};

class Allocator {
  public:
    struct Closer {
        void operator()(Allocator* allocator) const noexcept { allocator->close(); }
    };
    using Owner = std::unique_ptr<Allocator, Closer>;

    // The platform outlives the instance. NoMemory; BadArgument for a platform of another ABI. A platform from before
    // the IOMMU calls will do.
    static Result<Owner> open(const dmaudit_platform& platform) noexcept;

    // Gives back all metadata, unmaps every translation and makes every uncached page cached again; what is still
    // allocated or mapped is void.
    void close() noexcept;

    const Platform& platform() const noexcept { return platform_; }

    // DmaOp::page_size
    std::uint64_t page_size() const noexcept { return platform_.page(); }

    // ---- coherent
    // ----------------------------------------------------------------------------------------------------

    // dma_alloc_attrs, DmaOp::alloc_coherent. The device's pool first; a pool that is exclusive has the last word.
    // Errors: NoSuchDevice, ZeroSizedBuffer, LayoutError, NoMemory, DmaMaskNotMatch, AlignMismatch.
    // With DMAUDIT_ATTR_NO_KERNEL_MAPPING, CoherentHandle::alloc: the block has no CPU address, reads zero, and comes
    // from no pool (a pool's memory has one). A size of 0 is BadArgument then, before anything else is looked at.
    Result<Block> alloc_coherent(const dmaudit_request& request) noexcept;

    // dma_free_attrs, DmaOp::dealloc_coherent. IllegalCall unless every field is that of a live block. Busy: exported.
    Status free_coherent(const Block& block) noexcept;

    // dma_mmap_attrs: a window of `pages` pages onto a live block of any of these origins, from its page `pgoff` on.
    // OutOfWindow: no page, or beyond the pages that the block's size needs. IllegalCall: no such block.
    Result<Window> mmap_coherent(const Block& block, std::uint64_t pgoff, std::uint64_t pages) noexcept;

    // dma_alloc_noncoherent: whole cached pages of the arenas that read zero, mapped for the device in one direction
    // and with the CPU first. No pool is asked, and attributes have no effect. Errors as alloc_coherent.
    Result<Block> alloc_noncoherent(const dmaudit_request& request, Direction direction) noexcept;

    // dma_alloc_pages: the same in whole pages, as struct page and page_address are one here. BadArgument: not whole pages.
    // They are synced with sync_noncoherent and given back with free_pages (dma_free_pages) or free_noncoherent, which
    // in Linux are one function.
    Result<Block> alloc_pages(const dmaudit_request& request, Direction direction) noexcept;
    Status free_pages(const Block& block, Direction direction) noexcept { return free_noncoherent(block, direction); }

    // dma_free_noncoherent. IllegalCall unless every field and the direction are those of a live block.
    Status free_noncoherent(const Block& block, Direction direction) noexcept;

    // dma_sync_single_range_for_device and _for_cpu on such a block.
    Status sync_noncoherent(const Block& block, std::uint64_t offset, std::uint64_t length, Direction direction,
                            Phase phase) noexcept;

    // ---- what a driver says of its device: see parameters.hpp

    // dma_set_mask, dma_set_coherent_mask, dma_set_min_align_mask
    Status set_mask(std::uint32_t device, std::uint64_t mask) noexcept { return parameters_.set_mask(device, mask); }
    Status set_coherent_mask(std::uint32_t device, std::uint64_t mask) noexcept
    {
        return parameters_.set_coherent_mask(device, mask);
    }
    Status set_min_align_mask(std::uint32_t device, std::uint64_t mask) noexcept
    {
        return parameters_.set_min_align_mask(device, mask);
    }

    // ---- streaming
    // ---------------------------------------------------------------------------------------------------

    // dma_map_single_attrs, DmaOp::map_single. Errors: NoSuchDevice, NullPointer, ZeroSizedBuffer, LayoutError,
    // BadArgument (not RAM), NoMemory, DmaMaskNotMatch, AlignMismatch (no bounce slot that would do).
    Result<Mapping> map_single(const dmaudit_request& request, void* cpu, Direction direction) noexcept;

    // dma_unmap_single_attrs, DmaOp::unmap_single, with the length that was really transferred.
    Status unmap_single(const Mapping& mapping, std::uint64_t used, std::uint32_t attrs = 0) noexcept
    {
        return streaming_.unmap(mapping, used, (attrs & DMAUDIT_ATTR_SKIP_CPU_SYNC) != 0);
    }

    // dma_sync_single_range_for_device and _for_cpu, DmaOp::confirm_write and prepare_read.
    Status sync(const Mapping& mapping, std::uint64_t offset, std::uint64_t length, Direction direction,
                Phase phase) noexcept
    {
        return streaming_.sync(mapping, offset, length, direction, phase);
    }

    // DmaOp::flush, invalidate, flush_invalidate.
    Status cache(const void* cpu, std::uint64_t length, CacheOp op) noexcept;

    // ---- per-device coherent pools: see pool.hpp for the routing conventions
    // ---------------------------------------------

    // dma_declare_coherent_memory
    Status declare_coherent_memory(std::uint32_t device, PhysAddr phys, DmaAddr bus, std::uint64_t size,
                                   bool exclusive) noexcept;
    // dma_alloc_from_dev_coherent
    Routed<Block> alloc_from_dev_coherent(std::uint32_t device, std::uint64_t size,
                                          Pools::Zeroing zeroing = Pools::Zeroing::Yes) noexcept;
    // dma_release_from_dev_coherent
    Routed<bool> release_from_dev_coherent(std::uint32_t device, unsigned order, const void* cpu) noexcept;
    // dma_mmap_from_dev_coherent
    Routed<Window> mmap_from_dev_coherent(std::uint32_t device, const void* cpu, std::uint64_t size,
                                          std::uint64_t pgoff, std::uint64_t pages) noexcept;
    // dma_release_coherent_memory. Busy: a block of it is exported.
    Status release_coherent_memory(std::uint32_t device) noexcept;

    // ---- scatter-gather: see scatter.hpp

    // dma_map_sg_attrs. Of `request` count the device, the limit, the boundary, the attributes, and the size: the
    // longest segment, 0: any. `segments` has room for as many as there are entries, and is written on success only.
    // Errors: NoSuchDevice, BadArgument (no entries; an entry that is empty, too long for a segment or not RAM),
    // NullPointer, LayoutError, NoMemory, DmaMaskNotMatch, AlignMismatch.
    Result<ScatterMapping> map_sg(const dmaudit_request& request, std::span<const dmaudit_sg_entry> entries,
                                  dmaudit_sg_segment* segments, Direction direction) noexcept;
    // dma_unmap_sg_attrs. `n_entries` is the original count here and below.
    Status unmap_sg(const ScatterMapping& list, std::uint64_t n_entries, std::uint32_t attrs = 0) noexcept
    {
        return scatter_.unmap(list, n_entries, (attrs & DMAUDIT_ATTR_SKIP_CPU_SYNC) != 0);
    }
    // dma_sync_sg_for_device, dma_sync_sg_for_cpu
    Status sync_sg(const ScatterMapping& list, std::uint64_t n_entries, Direction direction, Phase phase) noexcept
    {
        return scatter_.sync(list, n_entries, direction, phase);
    }

    // dma_map_sgtable, dma_unmap_sgtable, dma_sync_sgtable_for_device and _for_cpu: the same on a table that knows its
    // counts. `sgt.n_segments` is set by a map that succeeds, `sgt.n_entries` (orig_nents) is what all of them go by.
    // Of the errors of map_sg three are left, as in Linux: BadArgument (-EINVAL, never try again), NoMemory (-ENOMEM,
    // try later), PlatformError (-EIO).
    struct SgTable {
        const dmaudit_sg_entry* entries;
        std::uint32_t n_entries;
        dmaudit_sg_segment* segments; // room for n_entries
        std::uint32_t n_segments;
        Handle handle;
    };
    Status map_sgtable(const dmaudit_request& request, SgTable& sgt, Direction direction) noexcept;
    Status unmap_sgtable(std::uint32_t device, const SgTable& sgt, Direction direction, std::uint32_t attrs = 0) noexcept
    {
        return unmap_sg(list_of(device, sgt, direction), sgt.n_entries, attrs);
    }
    // `direction` is the table's; `part` that of the sync.
    Status sync_sgtable(std::uint32_t device, const SgTable& sgt, Direction direction, Direction part,
                        Phase phase) noexcept
    {
        return sync_sg(list_of(device, sgt, direction), sgt.n_entries, part, phase);
    }

    // ---- managed (devres): see managed.hpp. close() forgets what is managed and calls no action.
    Managed& managed() noexcept { return managed_; }

    // ---- dma-buf: see dma_buf.hpp, and dma_buf_exporters.hpp for the memory

    DmaBufs& dma_bufs() noexcept { return dma_bufs_; }
    // dma_buf_export_named of a live block. Until the last reference is gone it cannot be freed. IllegalCall: no live
    // block. NoMemory.
    Result<DmaBufId> export_block(const Block& block, const char* name) noexcept;
    // The same of whole pages of a client, which stay until then.
    Result<DmaBufId> export_pages(void* cpu, std::uint64_t size, const char* name) noexcept
    {
        return exporters_.export_pages(dma_bufs_, cpu, size, name);
    }

    // See state_hash.hpp. No other call may be under way.
    void hash_state(StateHash& hash) const noexcept;

  private:
    Allocator(const dmaudit_platform& platform, Arenas::State* arena_states, Parameters::State* device_states) noexcept;
    ~Allocator() = default;
    std::optional<BlockPlace> place_of(const Block& block) noexcept;
    static ScatterMapping list_of(std::uint32_t device, const SgTable& sgt, Direction direction) noexcept
    {
        return {device, direction, {sgt.entries, sgt.n_entries}, sgt.n_segments, sgt.handle};
    }

    Platform platform_;
    Parameters parameters_;
    Arenas arenas_;
    Iommu iommu_;
    Pools pools_;
    Coherent coherent_;
    Streaming streaming_;
    Scatter scatter_;
    Managed managed_;
    DmaBufExporters exporters_;
    DmaBufs dma_bufs_; // goes first: it calls the exporters
};

} // namespace dmaudit::alloc
