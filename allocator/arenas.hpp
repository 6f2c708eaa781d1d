// The provider's own memory: naturally aligned runs of 2^order pages out of the platform's arenas, under a device's
// constraints. Lowest address first, arena after arena. The coherent allocator and the bounce buffers live on it.
//
// A run is aligned to its size by device address if the device's bus offset is a multiple of a page, else by physical
// address. Thread safe: one lock, held for bookkeeping only.
#pragma once

#include "allocator/bitmap.hpp"
#include "allocator/platform.hpp"
#include "allocator/result.hpp"

namespace dmaudit::alloc {

// A live run of 2^order pages.
struct PageRun {
    PhysAddr phys;
    std::uint32_t arena;
    std::uint32_t order;
};

class Arenas {
  public:
    // `states` is storage for one State for each arena of the platform; it outlives this object.
    struct State {
        enum class Setup : std::uint8_t { Pending, Ready } setup;
        std::uint8_t contiguous; // the arena lies in one bank; else it is not used
        PhysAddr origin;         // physical address of bit 0: at or below the arena, aligned to its largest run
        PhysRange range;
        void* storage;
        Bitmap bitmap;
    };

    Arenas(const Platform& platform, State* states) noexcept;
    ~Arenas();
    Arenas(const Arenas&) = delete;
    Arenas& operator=(const Arenas&) = delete;

    // A run whose bytes [lead, lead + size) satisfy `constraints`; size is not 0, the sum does not wrap.
    // NoMemory: no free run is large enough, or no metadata. DmaMaskNotMatch, AlignMismatch: there are runs, but beyond
    // the limit, or on no such alignment.
    Result<PageRun> alloc(std::uint64_t size, const Constraints& constraints, std::uint64_t lead = 0) noexcept;

    // `run` is live.
    void free(const PageRun& run) noexcept;

    bool overlaps(PhysRange range) const noexcept;
    // See state_hash.hpp.
    void hash_state(StateHash& hash) const noexcept;
    std::uint64_t bytes(const PageRun& run) const noexcept { return platform_.page() << run.order; }

  private:
    Status set_up(std::uint32_t arena) noexcept;
    struct Wish {
        unsigned order;
        std::uint64_t lead;
        std::uint64_t size;
    };
    bool search(const Wish& wish, const Constraints& constraints, PageRun& out) noexcept;
    bool scan(std::uint32_t arena, const Wish& wish, const Constraints& constraints, PageRun& out) noexcept;

    Platform platform_;
    State* states_;
    std::uint64_t lock_ = 0;
};

// What a search with `constraints` failed for, where `possible(constraints)` tells whether a search would succeed.
template <class Possible> DmaError why_no_place(const Constraints& constraints, Possible&& possible)
{
    Constraints open = constraints;
    open.limit = UINT64_MAX;
    open.align = 1;
    open.boundary = 0;
    if (!possible(open))
        return DmaError::NoMemory;
    open = constraints;
    open.limit = UINT64_MAX;
    if (possible(open))
        return DmaError::DmaMaskNotMatch;
    open = constraints;
    open.align = 1;
    if (possible(open))
        return DmaError::AlignMismatch;
    open.limit = UINT64_MAX;
    open.boundary = 0;
    open.align = constraints.align;
    return possible(open) ? DmaError::NoMemory : DmaError::AlignMismatch;
}

} // namespace dmaudit::alloc
