// Coherent memory out of the arenas: what dma_alloc_attrs and dma_free_attrs do behind the per-device pools.
//
// A block owns 2^order whole pages, naturally aligned. For a device that is not coherent its pages are uncached while
// the block lives: written back and dropped first (a freed page may be dirty), cached again on free. With zeroing the
// whole block reads zero; without, only what lies behind the bytes asked for, so that no tail shows an earlier owner's
// bytes.
//
// A free names a live block in full (device, CPU address, device address, size, attributes, the handle) or is refused
// with IllegalCall and changes nothing. Thread safe: the lock is held for bookkeeping, not for cache work or memset.
#pragma once

#include "allocator/arenas.hpp"
#include "allocator/registry.hpp"

namespace dmaudit::alloc {

struct CoherentBlock {
    std::uint32_t device;
    std::uint32_t attrs;
    std::byte* cpu;
    DmaAddr bus;
    std::uint64_t size;
    friend constexpr bool operator==(const CoherentBlock&, const CoherentBlock&) = default;
};

struct CoherentGrant {
    CoherentBlock block;
    std::uint64_t granted;
    Handle handle;
};

class Coherent {
  public:
    Coherent(const Platform& platform, Arenas& arenas) noexcept : platform_(platform), arenas_(arenas), live_(platform)
    {
    }
    ~Coherent(); // makes the pages of blocks that still live cached again

    // `size` is not 0 and the layout has been checked.
    Result<CoherentGrant> alloc(const Device& device, std::uint64_t size, const Constraints& constraints, bool zero,
                                std::uint32_t attrs) noexcept;

    // If the pages cannot be made cached again the block stays alive (its memory must not be used again), and the
    // answer says why.
    Status free(const CoherentBlock& block, Handle handle) noexcept;

    // Where the bytes of a live block lie, if it is named in full; `uncached` tells how the CPU sees them.
    std::optional<PhysRange> where(const CoherentBlock& block, Handle handle, bool& uncached) noexcept
    {
        const Guard guard(platform_, lock_);
        const Live* live = live_.find(handle);
        if (live == nullptr || live->block != block)
            return std::nullopt;
        uncached = live->uncached;
        return PhysRange{live->run.phys, block.size};
    }

  private:
    struct Live {
        CoherentBlock block;
        PageRun run;
        bool uncached;
    };

    Platform platform_;
    Arenas& arenas_;
    std::uint64_t lock_ = 0;
    Registry<Live, 8> live_;
};

} // namespace dmaudit::alloc
