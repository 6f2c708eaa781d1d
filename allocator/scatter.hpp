// Scatterlists: dma_map_sg and its kin, one streaming mapping for each entry.
//
// Each entry is mapped as a mapping of its own would be, in place or bounced. Neighbours whose device ranges adjoin
// then become one segment, as far as that is no longer than the longest segment and crosses no boundary. So the bytes
// of the entries, in order, lie in the segments, in order, and no entry is split.
//
// Unmap and sync take the entries and their original count, never the number of segments: that count has to be
// repeated, and another is IllegalCall. They go over all entries. All of a list is mapped or nothing is; when an entry
// fails, those before it are taken back without any effect on their buffers.
//
// Thread safe: the lock is held for bookkeeping only; calls on one list are the client's to order.
#pragma once

#include <span>

#include "allocator/streaming.hpp"

namespace dmaudit::alloc {

// What a client knows of a mapped list; the entries are its own, unchanged since the map. (Their array may have moved.)
struct ScatterMapping {
    std::uint32_t device;
    Direction direction;
    std::span<const dmaudit_sg_entry> entries;
    std::uint32_t n_segments;
    Handle handle;
};

class Scatter {
  public:
    using Entries = std::span<const dmaudit_sg_entry>;

    Scatter(const Platform& platform, Streaming& streaming) noexcept
        : platform_(platform), streaming_(streaming), live_(platform)
    {
    }
    ~Scatter();
    Scatter(const Scatter&) = delete;
    Scatter& operator=(const Scatter&) = delete;

    // dma_map_sg_attrs. There is at least one entry; `segments` has room for as many. `longest` is the longest segment
    // in bytes, 0: any. The layout has been checked. `segments` is written on success only.
    // NullPointer: an entry without memory. BadArgument: an entry that is empty, longer than a segment may be, larger
    // than the boundary, or not RAM. Else as Streaming::map.
    Result<ScatterMapping> map(const Device& device, Entries entries, std::span<dmaudit_sg_segment> segments,
                               Direction direction, const Constraints& constraints, std::uint64_t longest,
                               bool skip_cpu_sync) noexcept;

    // dma_unmap_sg_attrs. IllegalCall: not a live list, or another count than that of its entries.
    Status unmap(const ScatterMapping& list, std::uint64_t n_entries, bool skip_cpu_sync) noexcept;

    // dma_sync_sg_for_device, dma_sync_sg_for_cpu: all of every entry. Directions as in Streaming::sync.
    Status sync(const ScatterMapping& list, std::uint64_t n_entries, Direction direction, Phase phase) noexcept;

    // See state_hash.hpp.
    void hash_state(StateHash& hash) const noexcept;

  private:
    struct Live {
        std::uint32_t device;
        Direction direction;
        std::uint32_t n_entries;
        std::uint32_t n_segments;
        Mapping* mappings; // one for each entry, metadata memory
    };

    const Live* find(const ScatterMapping& list, std::uint64_t n_entries) noexcept;

    Platform platform_;
    Streaming& streaming_;
    std::uint64_t lock_ = 0;
    Registry<Live, 4> live_;
};

} // namespace dmaudit::alloc
