#include "allocator/bitmap.hpp"

#include <cstring>

namespace dmaudit::alloc {
namespace {

using Word = std::uint64_t;

constexpr Word kOnes = 0x0101010101010101;  // one in every byte
constexpr Word kHighs = 0x8080808080808080; // the top bit of every byte
constexpr unsigned kFullWord = 7;           // state of a leaf whose 64 pages are free

constexpr Word low_bits(unsigned n)
{
    return n >= 64 ? ~Word{0} : (Word{1} << n) - 1;
}

// Bit i is set where an aligned run of 2^order set bits begins. `order` <= 6.
Word runs_in_word(Word w, unsigned order)
{
    switch (order) {
    case 6:
        return w == ~Word{0};
    case 5:
        return (static_cast<std::uint32_t>(w) == UINT32_MAX) | (Word{(w >> 32) == UINT32_MAX} << 32);
    default:
        break;
    }
    if (order >= 1)
        w &= (w >> 1) & 0x5555555555555555;
    if (order >= 2)
        w &= (w >> 2) & 0x1111111111111111;
    if (order >= 3)
        w &= (w >> 4) & 0x0101010101010101;
    if (order >= 4)
        w &= (w >> 8) & 0x0001000100010001;
    return w;
}

// State of a leaf: 0, or 1 + the order of its largest aligned run.
unsigned state_of_word(Word w)
{
    if (w == 0)
        return 0;
    if (w == ~Word{0})
        return kFullWord;
    if (runs_in_word(w, 5) != 0)
        return 6;
    unsigned state = 1;
    constexpr Word kStarts[] = {0x5555555555555555, 0x1111111111111111, 0x0101010101010101, 0x0001000100010001};
    for (unsigned step = 0; step < 4; step++) {
        w &= (w >> (1u << step)) & kStarts[step];
        if (w == 0)
            break;
        state++;
    }
    return state;
}

// The top bit of every byte of `node` that is at least `state`. States are below 128.
Word at_least(Word node, unsigned state)
{
    return ((node | kHighs) - kOnes * state) & kHighs;
}

// The top bit of every byte of `node` that is a wholly free child of 2^child_order pages, then of every byte where an
// aligned group of 2^extra such children begins. `extra` <= 3.
Word full_groups(Word node, unsigned child_order, unsigned extra)
{
    Word full = at_least(node, child_order + 1);
    if (extra >= 1)
        full &= (full >> 8) & 0x0080008000800080;
    if (extra >= 2)
        full &= (full >> 16) & 0x0000008000000080;
    if (extra >= 3)
        full &= full >> 32;
    return full;
}

// The larger of each pair of bytes. Bytes are below 128.
Word byte_max(Word a, Word b)
{
    const Word wins = ((a | kHighs) - b) & kHighs; // top bit where a >= b
    const Word pick = (wins - (wins >> 7)) | wins; // all of the byte
    return (a & pick) | (b & ~pick);
}

// State of a node whose children hold 2^child_order pages.
unsigned state_of_node(Word node, unsigned child_order)
{
    if (Word full = at_least(node, child_order + 1); full != 0) {
        if (full == kHighs)
            return child_order + 4;
        full &= (full >> 8) & 0x0080008000800080;
        if (full == 0)
            return child_order + 1;
        full &= full >> 16;
        return (full & 0x0000008000000080) != 0 ? child_order + 3 : child_order + 2;
    }
    node = byte_max(node, node >> 32);
    node = byte_max(node, node >> 16);
    node = byte_max(node, node >> 8);
    return static_cast<unsigned>(node & 0x7f);
}

unsigned first_byte(Word flags)
{
    return static_cast<unsigned>(std::countr_zero(flags)) / 8;
}

void set_child(Word* level, std::uint64_t child, unsigned state)
{
    const unsigned shift = static_cast<unsigned>(child & 7) * 8;
    Word& node = level[child >> 3];
    node = (node & ~(Word{0xff} << shift)) | (Word{state} << shift);
}

std::uint64_t words_for(std::uint64_t pages)
{
    return (pages + 63) / 64;
}

} // namespace

std::size_t Bitmap::storage_bytes(std::uint64_t pages) noexcept
{
    if (pages <= kInlinePages)
        return 0;
    std::uint64_t total = words_for(pages);
    for (std::uint64_t n = total; n > 1;) {
        n = (n + 7) / 8;
        total += n;
    }
    return static_cast<std::size_t>(total * sizeof(Word) + pages);
}

void Bitmap::attach(std::uint64_t pages, void* storage) noexcept
{
    pages_ = pages;
    lowest_ = untold_ = 0;
    levels_ = 0;
    if (pages <= kInlinePages) {
        one_ = low_bits(static_cast<unsigned>(pages));
        std::memset(few_orders_, 0, sizeof few_orders_);
        return;
    }
    std::memset(storage, 0, storage_bytes(pages));
    words_ = static_cast<Word*>(storage);
    Word* next = words_ + words_for(pages);
    for (std::uint64_t n = words_for(pages); n > 1;) {
        n = (n + 7) / 8;
        level_[levels_++] = next;
        next += n;
    }
    orders_ = reinterpret_cast<std::uint8_t*>(next);
    mark_words(0, pages, true);
}

std::uint64_t Bitmap::find(unsigned order) noexcept
{
    if (order <= kWordOrder) {
        if (const Word runs = runs_in_word(word(lowest_), order); runs != 0)
            return lowest_ * 64 + static_cast<unsigned>(std::countr_zero(runs));
    }
    return levels_ == 0 ? kNone : search(order);
}

// Down the tree, from the root to the lowest run.
std::uint64_t Bitmap::search(unsigned order) noexcept
{
    if (order >= 64 || (pages_ >> order) == 0)
        return kNone;
    tell_tree();
    std::uint64_t at = 0; // index of the node, then of the word, below which the run lies
    for (unsigned level = levels_; level-- > 0;) {
        const unsigned child_order = kWordOrder + kFan * level;
        const Word node = level_[level][at];
        if (order > child_order) {
            const Word groups = order - child_order > kFan ? 0 : full_groups(node, child_order, order - child_order);
            return groups == 0 ? kNone : (at * 8 + first_byte(groups)) << child_order;
        }
        const Word fit = at_least(node, order + 1);
        if (fit == 0) // possible in the root only: a node says what its children have
            return kNone;
        at = at * 8 + first_byte(fit);
    }
    if (order == 0)
        lowest_ = at;
    return at * 64 + static_cast<unsigned>(std::countr_zero(runs_in_word(word(at), order)));
}

void Bitmap::take(std::uint64_t page, unsigned order) noexcept
{
    mark(page, std::uint64_t{1} << order, false);
    orders()[page] = static_cast<std::uint8_t>(order + 1);
}

bool Bitmap::release(std::uint64_t page, unsigned order) noexcept
{
    if (page >= pages_ || order >= 64 || orders()[page] != order + 1)
        return false;
    orders()[page] = 0;
    mark(page, std::uint64_t{1} << order, true);
    return true;
}

bool Bitmap::is_free(std::uint64_t first, std::uint64_t count) const noexcept
{
    if (first > pages_ || count > pages_ - first)
        return false;
    for (std::uint64_t at = first; at < first + count;) {
        const unsigned bit = static_cast<unsigned>(at & 63);
        const std::uint64_t left = first + count - at;
        const unsigned here = left < 64 - bit ? static_cast<unsigned>(left) : 64 - bit;
        const Word mask = low_bits(here) << bit;
        if ((word(at / 64) & mask) != mask)
            return false;
        at += here;
    }
    return true;
}

std::uint64_t Bitmap::block_of(std::uint64_t page) const noexcept
{
    for (unsigned order = 0; page < pages_ && order < 64 && (pages_ >> order) != 0; order++) {
        const std::uint64_t start = page >> order << order;
        if (order_at(start) == static_cast<int>(order))
            return start;
    }
    return kNone;
}

void Bitmap::mark(std::uint64_t first, std::uint64_t count, bool free) noexcept
{
    const std::uint64_t at = first / 64;
    const unsigned bit = static_cast<unsigned>(first & 63);
    if (free && at < lowest_)
        lowest_ = at;
    if (count > 64 - bit) {
        mark_words(first, count, free);
        return;
    }
    if (at != untold_) {
        tell_tree();
        untold_ = at;
    }
    const Word mask = low_bits(static_cast<unsigned>(count)) << bit;
    Word& w = word(at);
    w = free ? w | mask : w & ~mask;
}

// The untold word has, perhaps, a new state: tell the nodes above, as far up as that changes anything.
void Bitmap::tell_tree() noexcept
{
    std::uint64_t child = untold_;
    unsigned state = state_of_word(word(child));
    for (unsigned level = 0; level < levels_; level++) {
        Word& node = level_[level][child >> 3];
        const unsigned shift = static_cast<unsigned>(child & 7) * 8;
        const Word changed = ((node >> shift) & 0xff) ^ state;
        if (changed == 0)
            return;
        node ^= changed << shift;
        state = state_of_node(node, kWordOrder + kFan * level);
        child >>= 3;
    }
}

// The same for a range of any length: word by word, then level by level.
void Bitmap::mark_words(std::uint64_t first, std::uint64_t count, bool free) noexcept
{
    if (count == 0)
        return;
    std::uint64_t low = first / 64;
    std::uint64_t high = (first + count - 1) / 64;
    for (std::uint64_t i = low; i <= high; i++) {
        const unsigned from = i == low ? static_cast<unsigned>(first & 63) : 0;
        const unsigned to = i == high ? static_cast<unsigned>((first + count - 1) & 63) + 1 : 64;
        const Word mask = low_bits(to - from) << from;
        Word& w = word(i);
        w = free ? w | mask : w & ~mask;
        if (levels_ != 0)
            set_child(level_[0], i, state_of_word(w));
    }
    for (unsigned level = 0; level + 1 < levels_; level++) {
        low >>= 3;
        high >>= 3;
        for (std::uint64_t i = low; i <= high; i++)
            set_child(level_[level + 1], i, state_of_node(level_[level][i], kWordOrder + kFan * level));
    }
}

} // namespace dmaudit::alloc
