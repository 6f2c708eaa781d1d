// The memory of a three-level 64-way tree over an arena, and the table of the loops that walk it. Internal to the maps.
#ifndef DMAUDIT_SHADOW_MAP_TREE_HPP
#define DMAUDIT_SHADOW_MAP_TREE_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace dmaudit::shadow_tree {

inline constexpr uint64_t line_bytes = 64;
inline constexpr uint64_t page_bytes = 4096;
// What one vector of page summaries covers; every level is allocated in whole groups, so a vector is always in bounds.
inline constexpr uint64_t group_bytes = 64 * page_bytes;

// Where the nodes are: node i of a level begins at element 64 * i. The values of a node below a uniform summary are
// stale (at first never written) and must not be read.
template <class T> struct Levels {
    T* pages;
    T* lines;
    T* bytes;
};

inline constexpr uint64_t nowhere = UINT64_MAX;

// The first byte that was searched for; `at` is `nowhere` if there is none.
struct Found {
    uint64_t at;
    uint8_t state;
};

// One build of the loops for one instruction set. All ranges are [from, to), not empty, inside the arena.
struct Ops {
    Found (*find)(const Levels<uint8_t>&, const uint8_t* wanted, uint64_t from, uint64_t to);
    Found (*find_not)(const Levels<uint8_t>&, const uint8_t* wanted, uint64_t from, uint64_t to);
    void (*apply)(const Levels<uint8_t>&, const uint8_t* next, uint64_t from, uint64_t to);
    Found (*check_and_apply)(const Levels<uint8_t>&, const uint8_t* next, const uint8_t* rule, uint64_t from,
                             uint64_t to);
    // The end of the run of equal states that begins at `from`.
    uint64_t (*run_end)(const Levels<uint8_t>&, uint64_t from, uint64_t to);
};

// Null where the build has none. Whether the processor has it is the caller's question.
const Ops* portable_ops();
const Ops* avx2_ops();
const Ops* avx512_ops();

// Owns the levels. The lower ones are left untouched until a node is expanded, so an arena costs address space, not
// memory, until it fragments.
template <class T> class Tree {
  public:
    explicit Tree(uint64_t bytes)
        : groups_((bytes + group_bytes - 1) / group_bytes), memory_(allocate(elements())), levels_{}
    {
        levels_.pages = memory_.get();
        levels_.lines = levels_.pages + pages();
        levels_.bytes = levels_.lines + pages() * 64;
    }

    const Levels<T>& levels() const { return levels_; }
    uint64_t pages() const { return groups_ * 64; }

    T at(uint64_t offset, T mixed_value) const
    {
        T value = levels_.pages[offset / page_bytes];
        if (value == mixed_value)
            value = levels_.lines[offset / line_bytes];
        if (value == mixed_value)
            value = levels_.bytes[offset];
        return value;
    }

    void reset(T fill) { std::fill_n(levels_.pages, pages(), fill); }

    // Takes over what both trees cover; only what is expanded is copied.
    void copy_from(const Tree& other, T mixed_value)
    {
        const Levels<T>& from = other.levels_;
        for (uint64_t page = 0; page < std::min(pages(), other.pages()); ++page) {
            levels_.pages[page] = from.pages[page];
            if (from.pages[page] != mixed_value)
                continue;
            for (uint64_t line = page * 64; line < page * 64 + 64; ++line) {
                levels_.lines[line] = from.lines[line];
                if (from.lines[line] == mixed_value)
                    std::copy_n(from.bytes + line * 64, 64, levels_.bytes + line * 64);
            }
        }
    }

  private:
    struct Free {
        void operator()(T* memory) const { ::operator delete (memory, std::align_val_t{64}); }
    };

    static std::unique_ptr<T[], Free> allocate(uint64_t elements)
    {
        void* memory = ::operator new (static_cast<size_t>(elements) * sizeof(T), std::align_val_t{64});
        return std::unique_ptr<T[], Free>(static_cast<T*>(memory));
    }

    // One element for each page, line and byte; never zero, so that the pointers are always valid.
    uint64_t elements() const { return std::max<uint64_t>(groups_, 1) * (64 + 64 * 64 + group_bytes); }

    uint64_t groups_;
    std::unique_ptr<T[], Free> memory_;
    Levels<T> levels_;
};

} // namespace dmaudit::shadow_tree

#endif
