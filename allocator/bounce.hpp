// Bounce slots: memory that a device can reach in place of a buffer that it cannot, like swiotlb.
//
// Small slots come out of chunks of one page, cut into at most 64 cells of at least one cache line; larger ones are
// page runs of their own. A slot owns whole cells, so no two slots share a cache line. A chunk is taken from the arenas
// when no other has room and given back when its last slot is. The device address of a slot has the original's offset
// in its cache line, as long as the requested alignment allows that, and always those bits of its physical address that
// `keep` names (less than a page). What a slot occupies is recorded at alloc, so a
// release never depends on what a caller says about its size. Thread safe: one lock, taken before the arenas' lock.
#pragma once

#include "allocator/arenas.hpp"
#include "allocator/registry.hpp"

namespace dmaudit::alloc {

struct BounceSlot {
    PhysAddr phys;  // of the first byte for the device
    std::byte* cpu; // the same byte
    PageRun run;    // the pages, if the slot has pages of its own
    Handle chunk;   // else the chunk, and there
    std::uint32_t first_cell;
    std::uint32_t cells; // 0: pages of its own
};

class Bounce {
  public:
    Bounce(const Platform& platform, Arenas& arenas) noexcept;

    // `size` bytes (not 0) for the bytes at `original`, under `constraints`. Errors as Arenas::alloc; AlignMismatch also
    // where alignment and kept bits contradict each other.
    Result<BounceSlot> alloc(std::uint64_t size, PhysAddr original, const Constraints& constraints) noexcept;

    // `slot` is live.
    void free(const BounceSlot& slot) noexcept;

    // See state_hash.hpp.
    void hash_state(StateHash& hash) const noexcept;

  private:
    struct Chunk {
        PageRun run;
        std::uint64_t free; // bit set: cell is free
    };

    bool keeps_offset(PhysAddr original, const Constraints& constraints) const noexcept;
    bool place(PhysAddr cell, std::uint64_t size, PhysAddr original, const Constraints& constraints,
               std::uint64_t& offset) const noexcept;
    bool carve(Handle handle, Chunk& chunk, std::uint64_t size, PhysAddr original, const Constraints& constraints,
               BounceSlot& out) noexcept;
    Result<BounceSlot> take_pages(std::uint64_t size, PhysAddr original, const Constraints& constraints) noexcept;

    Platform platform_;
    Arenas& arenas_;
    unsigned cell_shift_;
    std::uint64_t lock_ = 0;
    Registry<Chunk, 4> chunks_;
};

} // namespace dmaudit::alloc
