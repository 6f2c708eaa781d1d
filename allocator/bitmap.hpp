// Which pages of a pool are free: complete first fit for runs of 2^order pages, in logarithmic time.
//
// A tree over the bitmap. Its leaves are words of 64 pages; every node above packs the state of eight children into one
// 64-bit word, a byte each: 0 if the child has no free page, else 1 + the order of its largest free aligned run. "The
// first child with a run of order k" is then one subtraction, and a search descends from the root to the lowest run,
// exactly the place that Linux' bitmap_find_free_region finds by walking. Pages that do not exist are never free.
//
// Two shortcuts keep the tree out of the common case. `lowest_` is a word with no free page below it: if it holds a
// run, that is the lowest of the whole pool. And a change of one word is told to the tree only when another word
// changes or the tree is asked, so allocating and releasing in one place touches nothing but that word.
//
// Beside the tree, one byte for each page holds 1 + the order of the live block that starts there, so that a release
// names exactly a live block or is refused. Not thread safe; no memory of its own beyond 64 pages.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "allocator/state_hash.hpp"

namespace dmaudit::alloc {

class Bitmap {
  public:
    static constexpr std::uint64_t kNone = UINT64_MAX;
    static constexpr std::uint64_t kInlinePages = 64;

    // Bytes of storage (aligned to 8) that attach() needs for `pages` pages: 0 up to kInlinePages.
    static std::size_t storage_bytes(std::uint64_t pages) noexcept;

    // Begin anew with all of `pages` pages (1 to 2^40) free.
    void attach(std::uint64_t pages, void* storage) noexcept;

    std::uint64_t pages() const noexcept { return pages_; }

    // First page of the lowest free, aligned run of 2^order pages, or kNone. Takes nothing.
    std::uint64_t find(unsigned order) noexcept;

    // Make the free run of 2^order pages at `page` a live block. The run need not be aligned.
    void take(std::uint64_t page, unsigned order) noexcept;

    // find + take: bitmap_find_free_region.
    std::uint64_t alloc(unsigned order) noexcept
    {
        const std::uint64_t page = find(order);
        if (page != kNone)
            take(page, order);
        return page;
    }

    // Give back the live block of exactly 2^order pages that starts at `page`; false, and nothing changed, if there is
    // no such block: double release, wrong order, interior page. bitmap_release_region, with a check.
    bool release(std::uint64_t page, unsigned order) noexcept;

    // Pages that do not exist or are not to be handed out; they must be free.
    void reserve(std::uint64_t first, std::uint64_t count) noexcept { mark(first, count, false); }

    bool is_free(std::uint64_t first, std::uint64_t count) const noexcept;

    // Order of the live block that starts at `page`, or -1.
    int order_at(std::uint64_t page) const noexcept
    {
        return page < pages_ ? static_cast<int>(orders()[page]) - 1 : -1;
    }

    // First page of the live, aligned block that `page` lies in, or kNone.
    std::uint64_t block_of(std::uint64_t page) const noexcept;

    // See state_hash.hpp.
    void hash_state(StateHash& hash) const noexcept;

  private:
    using Word = std::uint64_t;
    static constexpr unsigned kWordOrder = 6; // a leaf is 2^6 pages
    static constexpr unsigned kFan = 3;       // a node has 2^3 children
    static constexpr unsigned kMaxLevels = 12;

    void mark(std::uint64_t first, std::uint64_t count, bool free) noexcept;
    void mark_words(std::uint64_t first, std::uint64_t count, bool free) noexcept;
    std::uint64_t search(unsigned order) noexcept;
    void tell_tree() noexcept;
    Word& word(std::uint64_t i) noexcept { return levels_ == 0 ? one_ : words_[i]; }
    const Word& word(std::uint64_t i) const noexcept { return levels_ == 0 ? one_ : words_[i]; }
    const std::uint8_t* orders() const noexcept { return levels_ == 0 ? few_orders_ : orders_; }
    std::uint8_t* orders() noexcept { return levels_ == 0 ? few_orders_ : orders_; }

    std::uint64_t pages_ = 0;
    std::uint64_t lowest_ = 0; // a word below which no page is free
    std::uint64_t untold_ = 0; // the one word that the tree may not know the state of
    unsigned levels_ = 0;      // node levels above the words; 0: at most 64 pages, all of it in place
    Word one_ = 0;             // the only word, if levels_ == 0
    Word* words_ = nullptr;    // bit set: page is free
    std::uint8_t* orders_ = nullptr;
    Word* level_[kMaxLevels]; // [0] has the words as children; the last one is the root, a single node
    std::uint8_t few_orders_[kInlinePages];
};

} // namespace dmaudit::alloc
