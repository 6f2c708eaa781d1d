// What lives: buffers, blocks, mappings, pools and windows, in slots of fixed number. A slot is never used twice in a
// session, so a stale handle is always known for what it is.
#pragma once
#include "dmaudit/provider.h"
#include "shadow/range.hpp"
#include "shadow/state.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>

namespace dmaudit {

enum class Kind : uint8_t { none, buffer, mapping, block, pool, window, sg, dma_buf, attachment, exported };

// Names one object of a session: kind and slot. 0 is nobody.
using Tag = uint32_t;
constexpr Tag make_tag(Kind k, uint32_t slot)
{
    return static_cast<uint32_t>(k) << 16 | (slot + 1);
}
constexpr Kind tag_kind(Tag t)
{
    return static_cast<Kind>(t >> 16 & 0xff);
}
constexpr uint32_t tag_slot(Tag t)
{
    return (t & 0xffff) - 1;
}

// enum dmaudit_direction, without `none`.
constexpr Direction direction_from(uint32_t linux_direction)
{
    return linux_direction == DMAUDIT_TO_DEVICE     ? Direction::to
           : linux_direction == DMAUDIT_FROM_DEVICE ? Direction::from
                                                    : Direction::bi;
}
constexpr uint32_t linux_direction(Direction d)
{
    return d == Direction::to     ? DMAUDIT_TO_DEVICE
           : d == Direction::from ? DMAUDIT_FROM_DEVICE
                                  : DMAUDIT_BIDIRECTIONAL;
}

// A few disjoint ranges. Held: which bytes a mapping has handed to the CPU, filled only while other mappings share
// them. Pieces: what happened to memory since the last barrier.
template <unsigned most> class Ranges {
  public:
    Ranges() {} // not defaulted: that would clear all of it for each mapping
    Ranges(const Ranges& o) : n_(o.n_) { std::copy_n(o.ranges_.begin(), n_, ranges_.begin()); }
    Ranges& operator=(const Ranges& o)
    {
        n_ = o.n_;
        std::copy_n(o.ranges_.begin(), n_, ranges_.begin());
        return *this;
    }
    bool add(Range r);    // false: no room
    bool remove(Range r); // false: no room
    bool covers(Range r) const;
    bool touches(Range r) const;
    uint64_t next_edge(uint64_t from, uint64_t end) const; // the next begin or end of a range in (from, end), or end
    void clear() { n_ = 0; }

  private:
    std::array<Range, most> ranges_; // the first n_ mean something
    unsigned n_ = 0;
};
using Held = Ranges<32>;
using Pieces = Ranges<512>; // a step adds two at most

struct BufferRecord {
    Range at;
    bool mappable = true; // no stack, no constants, no vmalloc area
};
struct MappingRecord;
struct BlockRecord {
    Range at; // what the client asked for
    Range granted;
    dmaudit_block inner; // the provider's own, verbatim
    uint32_t device;
    Tag pool; // 0: from the generic allocator
    uint32_t windows;
    bool reachable;
    bool opaque = false; // the client holds a token instead of an address
    // dma_alloc_noncoherent: cached, and a mapping by itself. none: coherent.
    Direction direction = Direction::none;
    bool managed = false; // goes with its driver
    bool pages = false;   // dma_alloc_pages
    // Of the bytes behind `at`, while nobody but the provider can write them.
    uint64_t tail_sum = 0;
    bool tail_open = false; // a window or an export shows them, or their value is not settled
    bool noncoherent() const { return direction != Direction::none; }
    MappingRecord as_mapping() const; // of a non-coherent one
};
struct MappingRecord {
    Range original, target; // the client's bytes, and where the device's accesses go
    dmaudit_mapping inner;
    uint32_t device;
    Direction direction;
    Tag object; // the buffer or block that was mapped
    bool reachable, bounced;
    bool blind; // mapped without cache work over bytes of another mapping: what this device sees depends on how that
                // one was made
    Held held;
    bool tested = false; // with dma_mapping_error
    Tag sg = 0; // of an entry of a scatterlist: such a mapping is unmapped and synced with its list only
};
// A mapped scatterlist; each entry is a mapping of its own.
struct SgRecord {
    static constexpr uint32_t most = 16;
    Range hull;     // from the first entry to the end of the last
    uint64_t bytes; // of all entries
    uint32_t device, n;
    Direction direction;
    std::array<Tag, most> entries;
    std::array<dmaudit_sg_entry, most> inner_entries; // as the provider saw them
    std::array<dmaudit_sg_segment, most> segments;
    uint32_t n_segments;
    uintptr_t cookie[2];
};
struct PoolRecord {
    Range at;
    uint32_t device;
    bool exclusive;
    bool managed = false;
};
struct WindowRecord {
    enum Kind : uint8_t { mmapped, vmapped, kmapped, kmapped_atomic };
    Range at;
    Tag block;   // 0: of a dma-buf
    Tag buf = 0; // a BufRecord
    Kind kind = mmapped;
    uint64_t page = 0;
};
struct BracketRecord {
    Range at;
    Direction direction;
    friend bool operator==(const BracketRecord&, const BracketRecord&) = default;
};
// What is exported: whole pages of a buffer, or a block.
struct BufRecord {
    Range at;
    Tag of;      // buffer or block
    uint64_t id; // the provider's
    uint32_t refs, attachments, windows;
    std::array<BracketRecord, 128> brackets; // as many as a case has steps; the first n_brackets mean something
    uint32_t n_brackets;
};
struct BufRefRecord {
    Tag buf;
};
struct AttachmentRecord {
    Tag buf;
    uint64_t id; // the provider's
    uint32_t device, mapped;
    std::array<uint32_t, 3> maps; // of `mapped`, by enum dmaudit_direction
    Direction direction;          // of the mapping that they share
    bool bounced, alone; // alone: no other that was mapped beside it may write
    uint32_t n;
    std::array<dmaudit_sg_segment, SgRecord::most> segments;
    std::array<Range, SgRecord::most> targets;
    uintptr_t cookie[2];
};

template <class T, Kind K> class Slots {
  public:
    static constexpr uint32_t capacity = 1024;
    Slots() : items_(new Item[capacity]) {}
    // Tag of a new live object, 0: no slot left.
    Tag add(const T& value)
    {
        if (used_ == capacity)
            return 0;
        items_[used_].value = value;
        items_[used_].live = n_live_;
        live_[n_live_++] = used_;
        return make_tag(K, used_++);
    }
    bool known(Tag t) const { return tag_kind(t) == K && tag_slot(t) < used_; }
    bool alive(Tag t) const { return known(t) && items_[tag_slot(t)].live != dead; }
    T& operator[](Tag t) { return items_[tag_slot(t)].value; }
    const T& operator[](Tag t) const { return items_[tag_slot(t)].value; }
    void remove(Tag t)
    {
        Item& item = items_[tag_slot(t)];
        const uint32_t last = live_[--n_live_];
        live_[item.live] = last;
        items_[last].live = item.live;
        item.live = dead;
    }
    uint32_t live_count() const { return n_live_; }
    Tag live(uint32_t i) const { return make_tag(K, live_[i]); }
    void clear() { used_ = n_live_ = 0; }

  private:
    static constexpr uint32_t dead = ~0u;
    struct Item {
        T value;
        uint32_t live; // position in live_, or dead
    };
    std::unique_ptr<Item[]> items_;
    std::array<uint32_t, capacity> live_;
    uint32_t used_ = 0, n_live_ = 0;
};

} // namespace dmaudit
