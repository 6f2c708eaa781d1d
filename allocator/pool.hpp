// Linux' per-device coherent pools: RAM that a client gives to one device, handed out in runs of 2^order pages.
//
// Routing. Every call but declare and release answers two things: `ours`, the 0 or 1 that the Linux call returns, and a
// result. ours == false means "no business of this pool, go on with the generic path"; the result is then meaningless.
// ours == true means that the result is final, success or error.
//
// Placement is Linux': lowest free run, aligned relative to the start of the pool. So a device address is naturally
// aligned only as far as the pool's own start is.
//
// Differences from Linux, each on purpose: a block reads zero over all of its 2^order pages, because a window shows
// whole pages; an illegal release is refused and changes nothing; a window is bounded by the block and not by the pool;
// pools are made of whole pages or refused, on addresses that the device's translation gives; no size is cut to an int;
// the device's limit is honoured; pools do not overlap the arenas or each other.
//
// On a device that is not coherent, pool pages are uncached from declare to release.
//
// Blocks that are alive when their pool is released are dangling, and a release of them later is no pool's business or
// refused. Thread safe: one lock, held for bookkeeping only; declare and release of one device's pool are the client's
// to order against the other calls on that device.
#pragma once

#include "allocator/arenas.hpp"
#include "allocator/bitmap.hpp"
#include "allocator/platform.hpp"
#include "allocator/result.hpp"

namespace dmaudit::alloc {

// Every handed out block of every pool has a serial number, so that an old block is never taken for a new one.
struct PoolBlock {
    std::byte* cpu;
    DmaAddr bus;
    std::uint64_t granted;
    std::uint64_t serial;
};

template <class T> struct Routed {
    bool ours;
    Result<T> result;
    static Routed not_ours() noexcept { return {false, DmaError::IllegalCall}; }
};

class Pools {
  public:
    enum class Zeroing : bool { No, Yes }; // No: to measure the allocator without the cost of memset

    Pools(const Platform& platform, const Arenas& arenas) noexcept : platform_(platform), arenas_(arenas) {}
    ~Pools(); // releases every pool
    Pools(const Pools&) = delete;
    Pools& operator=(const Pools&) = delete;

    // dma_declare_coherent_memory. BadArgument: size 0, anything not page aligned, not RAM of one bank, `bus` not the
    // device's address of `phys`, in the way of an arena. Busy: the device has a pool, or the pages are another's.
    // NoMemory, or what the platform says to uncaching. Behind an IOMMU every pool is BadArgument: nothing leads from
    // the device to the pool's memory.
    Status declare(const Device& device, PhysAddr phys, DmaAddr bus, std::uint64_t size, bool exclusive) noexcept;

    // dma_alloc_from_dev_coherent. ours is false without a pool, and when a pool that is not exclusive has no room.
    // ZeroSizedBuffer becomes BadArgument here, as it does in Linux.
    Routed<PoolBlock> alloc(const Device& device, std::uint64_t size, const Constraints& constraints,
                            Zeroing zeroing = Zeroing::Yes) noexcept;

    // dma_release_from_dev_coherent. ours is false when `cpu` lies in no pool of the device. IllegalCall: no live block
    // of 2^order pages begins at `cpu`.
    Routed<bool> release_block(const Device& device, unsigned order, const void* cpu) noexcept;

    // The same for a block that is known in full: size, device address and serial have to match too.
    Routed<bool> free(const Device& device, const void* cpu, DmaAddr bus, std::uint64_t size,
                      std::uint64_t serial) noexcept;

    // dma_mmap_attrs on such a block: `pages` pages from page `pgoff` on, of those that its bytes need. OutOfWindow: no
    // page, or beyond.
    Routed<Window> window(const Device& device, const void* cpu, DmaAddr bus, std::uint64_t size, std::uint64_t serial,
                          std::uint64_t pgoff, std::uint64_t pages) noexcept;

    // dma_mmap_from_dev_coherent: `pages` pages from page `pgoff` on of the `size` bytes at `cpu`. ours is false unless
    // [cpu, cpu + size) lies in the device's pool. OutOfWindow: no page, or beyond the bytes or beyond their block.
    // IllegalCall: `cpu` lies in no live block.
    Routed<Window> mmap(const Device& device, const void* cpu, std::uint64_t size, std::uint64_t pgoff,
                        std::uint64_t pages) noexcept;

    // dma_release_coherent_memory: nothing to do without a pool. If the platform cannot make the pages cached again,
    // the pool stays, and this says why.
    Status release(const Device& device) noexcept;

    bool has_pool(const Device& device) noexcept;

    // Where the bytes of a live block lie, if it is named in full; `uncached` tells how the CPU sees them.
    std::optional<PhysRange> where(const Device& device, const void* cpu, DmaAddr bus, std::uint64_t size,
                                   std::uint64_t serial, bool& uncached) noexcept;

    // See state_hash.hpp.
    void hash_state(StateHash& hash) const noexcept;

  private:
    struct Live {
        std::uint64_t size;
        std::uint64_t serial;
    };
    struct Pool {
        Pool* next;
        std::uint32_t device;
        bool exclusive;
        bool uncached;
        PhysRange range;
        DmaAddr bus;
        std::byte* cpu;
        Live* live; // one for each page, valid where a block begins
        Bitmap bitmap;
    };

    Pool* find(const Device& device) noexcept;
    std::uint64_t place(Pool& pool, std::uint64_t size, unsigned order, const Constraints& constraints) noexcept;
    DmaError why_not(Pool& pool, std::uint64_t size, unsigned order, const Constraints& constraints) noexcept;
    bool page_of(const Pool& pool, const void* cpu, std::uint64_t& offset) const noexcept;
    bool known(const Pool& pool, std::uint64_t offset, DmaAddr bus, std::uint64_t size,
               std::uint64_t serial) const noexcept;

    Platform platform_;
    const Arenas& arenas_;
    Pool* first_ = nullptr;
    std::uint64_t serial_ = 0;
    std::uint64_t lock_ = 0;
};

} // namespace dmaudit::alloc
