// File descriptors of dma-bufs: small numbers, the lowest free one first, each naming a live record by its handle. A
// number that was closed is given out again, as close(2) and open(2) do; so it is no proof of anything, the handle is.
// Not thread safe: the owner's lock is held.
#pragma once

#include <algorithm>

#include "allocator/registry.hpp"

namespace dmaudit::alloc {

class FdTable {
  public:
    static constexpr std::uint32_t kMost = 1u << 20; // beyond it: NoMemory (EMFILE)

    explicit FdTable(const Platform& platform) noexcept : platform_(platform) {}
    ~FdTable() { platform_.meta_free(more_); }
    FdTable(const FdTable&) = delete;
    FdTable& operator=(const FdTable&) = delete;

    // The lowest free number, which names `handle` from now on. NoMemory: no metadata, or too many.
    Result<int> install(Handle handle) noexcept
    {
        std::uint32_t fd = lowest_;
        while (fd < capacity_ && taken(slots()[fd]))
            fd++;
        if (fd == capacity_ && !grow())
            return DmaError::NoMemory;
        slots()[fd] = handle;
        lowest_ = fd + 1;
        return static_cast<int>(fd);
    }

    // What `fd` names, or nothing.
    std::optional<Handle> find(int fd) const noexcept
    {
        const bool known = fd >= 0 && static_cast<std::uint32_t>(fd) < capacity_ && taken(slots()[fd]);
        return known ? std::optional(slots()[fd]) : std::nullopt;
    }

    // `fd` is open.
    void close(int fd) noexcept
    {
        slots()[fd] = kFree;
        lowest_ = std::min(lowest_, static_cast<std::uint32_t>(fd));
    }

    std::uint32_t capacity() const noexcept { return capacity_; }

  private:
    static constexpr Handle kFree{0, 0}; // generations begin at 1
    static constexpr std::uint32_t kInline = 8;
    static bool taken(Handle handle) noexcept { return handle != kFree; }

    Handle* slots() noexcept { return more_ != nullptr ? more_ : few_; }
    const Handle* slots() const noexcept { return more_ != nullptr ? more_ : few_; }

    bool grow() noexcept
    {
        if (capacity_ == kMost)
            return false;
        auto* larger = static_cast<Handle*>(platform_.meta_alloc(std::size_t{capacity_} * 2 * sizeof(Handle)));
        if (larger == nullptr)
            return false;
        std::uninitialized_copy_n(slots(), capacity_, larger);
        std::uninitialized_fill_n(larger + capacity_, capacity_, kFree);
        platform_.meta_free(more_);
        more_ = larger;
        capacity_ *= 2;
        return true;
    }

    Platform platform_;
    std::uint32_t lowest_ = 0; // no number below it is free
    std::uint32_t capacity_ = kInline;
    Handle* more_ = nullptr;
    Handle few_[kInline] = {};
};

} // namespace dmaudit::alloc
