// Records of what is live, named by handles that go stale: a slot index and the generation of its tenant. A handle of a
// dead record never finds its successor (no ABA). Records never move. The first `Inline` slots are part of the object
// and are not initialised, so a registry costs nothing until it is used; later chunks double in size.
// Not thread safe. T is trivial.
#pragma once

#include <bit>
#include <cstdint>
#include <new>
#include <type_traits>

#include "allocator/platform.hpp"
#include "allocator/state_hash.hpp"

namespace dmaudit::alloc {

struct Handle {
    std::uint32_t index;
    std::uint32_t generation;
    friend constexpr bool operator==(Handle, Handle) = default;
};

template <class T, std::uint32_t Inline> class Registry {
    static_assert(std::has_single_bit(Inline) && std::is_trivial_v<T>);

  public:
    explicit Registry(const Platform& platform) noexcept : platform_(platform) {}
    ~Registry()
    {
        for (unsigned i = 0; i < chunks_used_; i++)
            platform_.meta_free(chunks_[i]);
    }
    Registry(const Registry&) = delete;
    Registry& operator=(const Registry&) = delete;

    // A new live record, or nothing (no metadata memory; nothing has changed).
    bool add(const T& value, Handle& out) noexcept
    {
        std::uint32_t index = free_;
        Slot* slot;
        if (index != kNoSlot) {
            slot = slot_at(index);
            free_ = slot->next_free;
        } else {
            if (used_ == capacity_ && !grow())
                return false;
            index = used_++;
            slot = slot_at(index);
            slot->generation = 0;
        }
        slot->generation++;
        slot->live = true;
        slot->value = value;
        out = {index, slot->generation};
        return true;
    }

    // The live record of `handle`, or null.
    T* find(Handle handle) noexcept
    {
        if (handle.index >= used_)
            return nullptr;
        Slot* slot = slot_at(handle.index);
        return slot->live && slot->generation == handle.generation ? &slot->value : nullptr;
    }

    // `handle` is live.
    void remove(Handle handle) noexcept
    {
        Slot* slot = slot_at(handle.index);
        slot->live = false;
        slot->next_free = free_;
        free_ = handle.index;
    }

    // Calls visit(Handle, T&) for each live record, in slot order, until it returns false. visit may remove the record
    // that it was called with.
    template <class F> void each(F&& visit)
    {
        for (std::uint32_t i = 0; i < used_; i++)
            if (Slot* slot = slot_at(i); slot->live && !visit(Handle{i, slot->generation}, slot->value))
                return;
    }

    // See state_hash.hpp. `of(StateHash&, const T&)` adds a record. As a set, or slot by slot where each() has to go in
    // the same order.
    template <class Of> void hash_set(StateHash& hash, Of&& of) const
    {
        SetHash set;
        for (std::uint32_t i = 0; i < used_; i++)
            if (const Slot* slot = slot_at(i); slot->live) {
                StateHash element;
                of(element, slot->value);
                set.add(element);
            }
        set.into(hash);
        hash.add(capacity_); // with the number of those that live: when metadata will be asked for
    }
    template <class Of> void hash_slots(StateHash& hash, Of&& of) const
    {
        for (std::uint32_t i = 0; i < used_; i++) {
            const Slot* slot = slot_at(i);
            hash.add(slot->live);
            if (slot->live)
                of(hash, slot->value);
        }
        for (std::uint32_t i = free_; i != kNoSlot; i = slot_at(i)->next_free)
            hash.add(i);
        hash.add(used_);
        hash.add(capacity_);
    }

  private:
    struct Slot {
        T value;
        std::uint32_t generation;
        std::uint32_t next_free;
        bool live;
    };
    static constexpr std::uint32_t kNoSlot = UINT32_MAX;
    static constexpr unsigned kMaxChunks = 20;

    Slot* slot_at(std::uint32_t index) noexcept
    {
        if (index < Inline)
            return &inline_[index];
        // Chunk 0 holds [Inline, 2 * Inline), chunk 1 [2 * Inline, 4 * Inline), ...
        const unsigned chunk = static_cast<unsigned>(std::bit_width(index / Inline)) - 1;
        return &chunks_[chunk][index - (Inline << chunk)];
    }

    const Slot* slot_at(std::uint32_t index) const noexcept { return const_cast<Registry*>(this)->slot_at(index); }

    bool grow() noexcept
    {
        if (chunks_used_ == kMaxChunks)
            return false;
        auto* chunk = static_cast<Slot*>(platform_.meta_alloc(std::size_t{capacity_} * sizeof(Slot)));
        if (chunk == nullptr)
            return false;
        chunks_[chunks_used_++] = chunk;
        capacity_ *= 2;
        return true;
    }

    Platform platform_;
    std::uint32_t used_ = 0; // slots that ever held a record
    std::uint32_t capacity_ = Inline;
    std::uint32_t free_ = kNoSlot;
    unsigned chunks_used_ = 0;
    Slot* chunks_[kMaxChunks];
    Slot inline_[Inline];
};

} // namespace dmaudit::alloc
