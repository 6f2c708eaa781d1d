// Memory out of the arenas for one device: what dma_alloc_attrs, dma_mmap_attrs, dma_alloc_noncoherent and their kin do
// behind the per-device pools.
//
// A block owns 2^order whole pages, naturally aligned. Three kinds:
//
//   coherent       CPU and device share it. For a device that is not coherent its pages are uncached while the block
//   lives.
//                  With zeroing the whole block reads zero; without, only what lies behind the bytes asked for, so that
//                  no tail shows an earlier owner's bytes.
//   opaque         the same, but without a CPU address (DMAUDIT_ATTR_NO_KERNEL_MAPPING): the handle stands for it, and
//                  only a window shows it. All of it is cleared, always.
//   not coherent   cached, cleared, with one direction; the client hands it over by syncs, like a mapping in place.
//
// A freed page may be dirty or stale: its lines are written back and dropped first, then what is cleared is written
// back, and only then do translation and uncaching follow. So no device sees an earlier owner's bytes, and no line is
// dirty when its page becomes uncached. Behind an IOMMU the limit, the alignment and the boundary are those of the I/O
// virtual address; the block's pages may lie anywhere.
//
// Every call names a live block in full (device, CPU address, device address, size, attributes, the handle, and its
// kind) or is refused with IllegalCall and changes nothing. Thread safe: the lock is held for bookkeeping, not for
// cache work or memset.
#pragma once

#include "allocator/arenas.hpp"
#include "allocator/direction.hpp"
#include "allocator/iommu.hpp"
#include "allocator/registry.hpp"

namespace dmaudit::alloc {

struct CoherentBlock {
    std::uint32_t device;
    std::uint32_t attrs;
    std::byte* cpu; // null: opaque
    DmaAddr bus;
    std::uint64_t size;
    friend constexpr bool operator==(const CoherentBlock&, const CoherentBlock&) = default;
};

struct CoherentGrant {
    CoherentBlock block;
    std::uint64_t granted;
    Handle handle;
};

constexpr bool opaque(std::uint32_t attrs) noexcept
{
    return (attrs & DMAUDIT_ATTR_NO_KERNEL_MAPPING) != 0;
}

class Coherent {
  public:
    Coherent(const Platform& platform, Arenas& arenas, Iommu& iommu) noexcept
        : platform_(platform), arenas_(arenas), iommu_(iommu), live_(platform)
    {
    }
    ~Coherent(); // makes the pages of blocks that still live cached again

    // dma_alloc_attrs; opaque if `attrs` say so. `size` is not 0 and the layout has been checked.
    // NoMemory, DmaMaskNotMatch, AlignMismatch.
    Result<CoherentGrant> alloc(const Device& device, std::uint64_t size, const Constraints& constraints, bool zero,
                                std::uint32_t attrs) noexcept;

    // dma_free_attrs. If the pages cannot be made cached again the block stays alive (its memory must not be used
    // again), and the answer says why. If the platform cannot take a translation away the block is gone, but not its
    // memory.
    Status free(const CoherentBlock& block, Handle handle) noexcept;

    // dma_mmap_attrs: `pages` pages from page `pgoff` on, of those that `size` bytes need. OutOfWindow: no page, or
    // beyond.
    Result<Window> mmap(const CoherentBlock& block, Handle handle, std::uint64_t pgoff, std::uint64_t pages) noexcept;

    // dma_alloc_noncoherent: a block of the third kind. The CPU has it first.
    Result<CoherentGrant> alloc_noncoherent(const Device& device, std::uint64_t size, const Constraints& constraints,
                                            std::uint32_t attrs, Direction direction) noexcept;

    // dma_free_noncoherent. What is still dirty is dropped, so that it is not written back over a later owner's bytes.
    Status free_noncoherent(const CoherentBlock& block, Handle handle, Direction direction) noexcept;

    // dma_sync_single_range_for_device / _for_cpu on such a block, as Streaming::sync does it on a mapping in place.
    // BadArgument: a range beyond the block, or a direction that is neither the block's nor a part of it.
    Status sync_noncoherent(const CoherentBlock& block, Handle handle, std::uint64_t offset, std::uint64_t length,
                            Direction direction, Phase phase) noexcept;

    // Where the bytes of a live block lie, if it is named in full; `uncached` tells how the CPU sees them.
    std::optional<PhysRange> where(const CoherentBlock& block, Handle handle, bool& uncached) noexcept
    {
        const Guard guard(platform_, lock_);
        const Live* live = find(block, handle, false);
        if (live == nullptr)
            return std::nullopt;
        uncached = live->uncached;
        return PhysRange{live->run.phys, block.size};
    }

    // See state_hash.hpp.
    void hash_state(StateHash& hash) const noexcept;

  private:
    struct Live {
        CoherentBlock block;
        PageRun run;
        bool uncached;
        bool iommu;
        bool cached;         // not coherent: the kind that is synced
        bool snooped;        // by its device: no cache work
        Direction direction; // if cached
    };

    Result<CoherentGrant> make(const Device& device, const Constraints& constraints, std::uint64_t keep, Live live,
                               std::uint32_t rights) noexcept;
    const Live* find(const CoherentBlock& block, Handle handle, bool cached) noexcept;
    void forget(Handle handle, const Live& live) noexcept;
    Status give_back(const Live& gone) noexcept;

    Platform platform_;
    Arenas& arenas_;
    Iommu& iommu_;
    std::uint64_t lock_ = 0;
    Registry<Live, 8> live_;
};

} // namespace dmaudit::alloc
