#include "shadow/identity.hpp"

#include <algorithm>
#include <utility>

namespace dmaudit {

namespace {

using Levels = shadow_tree::Levels<uint32_t>;
using shadow_tree::group_bytes;

constexpr uint32_t mixed_tag = IdentityMap::mixed_tag;

// Level 0: the bytes of a line. Level 1: the lines of a page. Level 2: the pages, all in one row. An entry of level L
// stands for 1 << (6 * L) bytes; its number is also the number of the node below it.
template <int L> uint32_t* level(const Levels& levels)
{
    return L == 0 ? levels.bytes : L == 1 ? levels.lines : levels.pages;
}

template <int L> constexpr uint64_t unit = uint64_t{1} << (6 * L);

// No branch in the loop, so that it becomes a few vector comparisons.
bool all_equal(const uint32_t* node, uint32_t tag)
{
    uint32_t difference = 0;
    for (unsigned i = 0; i < 64; ++i)
        difference |= node[i] ^ tag;
    return difference == 0;
}

template <int L> void set_in(const Levels& levels, uint64_t from, uint64_t to, uint32_t tag);

// [from, to) is a part of entry `number` of level L.
template <int L> void set_part(const Levels& levels, uint64_t number, uint64_t from, uint64_t to, uint32_t tag)
{
    uint32_t& entry = level<L>(levels)[number];
    if (entry == tag)
        return;
    uint32_t* node = level<L - 1>(levels) + number * 64;
    if (entry != mixed_tag) {         // the rest keeps the other tag
        std::fill_n(node, 64, entry); // what was there is stale
        entry = mixed_tag;
        set_in<L - 1>(levels, from, to, tag);
        return;
    }
    set_in<L - 1>(levels, from, to, tag);
    if (node[0] == tag && node[63] == tag && all_equal(node, tag))
        entry = tag;
}

template <int L> void set_in(const Levels& levels, uint64_t from, uint64_t to, uint32_t tag)
{
    const uint64_t first = (from + unit<L> - 1) / unit<L>, last = to / unit<L>;
    if (first < last)
        std::fill_n(level<L>(levels) + first, last - first, tag);
    if constexpr (L > 0) {
        const uint64_t head_end = std::min(to, first * unit<L>);
        if (from < head_end)
            set_part<L>(levels, from / unit<L>, from, head_end, tag);
        const uint64_t tail = std::max(head_end, last * unit<L>);
        if (tail < to)
            set_part<L>(levels, last, tail, to, tag);
    }
}

// The first byte of [from, to) with another tag, or `to`.
template <int L> uint64_t first_other_in(const Levels& levels, uint64_t from, uint64_t to, uint32_t tag)
{
    const uint32_t* entries = level<L>(levels);
    const uint64_t last = (to - 1) / unit<L>;
    for (uint64_t i = from / unit<L>; i <= last; ++i) {
        while (i % 64 == 0 && i + 63 <= last && all_equal(entries + i, tag)) // whole nodes at a time
            i += 64;
        if (i > last)
            break;
        if (entries[i] == tag)
            continue;
        const uint64_t begin = std::max(from, i * unit<L>);
        if constexpr (L == 0)
            return begin;
        else {
            if (entries[i] != mixed_tag)
                return begin;
            const uint64_t end = std::min(to, (i + 1) * unit<L>);
            const uint64_t at = first_other_in<L - 1>(levels, begin, end, tag);
            if (at != end)
                return at;
        }
    }
    return to;
}

uint64_t checked_size(uint64_t bytes)
{
    if (bytes > IdentityMap::max_bytes)
        broken_precondition("an identity map is too large");
    return bytes;
}

uint32_t checked_tag(uint32_t tag)
{
    if (tag == mixed_tag)
        broken_precondition("the reserved value used as a tag");
    return tag;
}

} // namespace

IdentityMap::IdentityMap(uint64_t bytes) : size_(checked_size(bytes)), tree_(bytes)
{
    reset();
}

void IdentityMap::set(Range range, uint32_t tag)
{
    require(range);
    checked_tag(tag);
    if (!range.empty())
        set_in<2>(tree_.levels(), range.at, range.end(), tag);
}

std::optional<uint64_t> IdentityMap::first_other(Range range, uint32_t tag) const
{
    require(range);
    checked_tag(tag);
    if (range.empty())
        return std::nullopt;
    const uint64_t at = first_other_in<2>(tree_.levels(), range.at, range.end(), tag);
    return at == range.end() ? std::nullopt : std::optional(at);
}

void IdentityMap::resize(uint64_t bytes)
{
    shadow_tree::Tree<uint32_t> grown(checked_size(bytes));
    grown.reset(nobody);
    grown.copy_from(tree_, mixed_tag);
    tree_ = std::move(grown);
    const uint64_t before = size_;
    size_ = bytes;
    // The last page may hold old tags behind the old end.
    if (bytes > before)
        set({before, bytes - before}, nobody);
}

IdentityMap::Expanded IdentityMap::expanded() const
{
    const Levels& levels = tree_.levels();
    Expanded count{0, 0};
    for (uint64_t page = 0; page < tree_.pages(); ++page) {
        if (levels.pages[page] != mixed_tag)
            continue;
        ++count.pages;
        const uint32_t* lines = levels.lines + page * 64;
        count.lines += static_cast<uint64_t>(std::count(lines, lines + 64, mixed_tag));
    }
    return count;
}

} // namespace dmaudit
