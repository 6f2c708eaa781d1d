// The byte states of an arena: one state byte for every byte of memory, kept in a tree so that an operation on a large
// range costs nanoseconds.
//
// Three levels, 64-way: a page (4 KiB) has one summary byte, which is the state of all its bytes or `mixed`; a mixed
// page has 64 line summaries, a mixed line (64 B) has 64 byte states. Every node is one 64-byte vector. The same
// Transition table serves all levels, because a summary is a state: it is applied once for each *distinct* value in a
// vector. A node that becomes uniform collapses into its parent, so fragmentation heals by itself.
//
// The map is a pure function of the calls: the instruction set that it runs on changes only its speed.
// Not thread-safe: one owner at a time. Nothing allocates but the constructor and resize().
#ifndef DMAUDIT_SHADOW_MAP_HPP
#define DMAUDIT_SHADOW_MAP_HPP

#include "shadow/map_tree.hpp"
#include "shadow/range.hpp"

#include <cstdint>
#include <optional>

namespace dmaudit {

// Reserved: in a summary it says "look below". Never a state.
inline constexpr uint8_t mixed = 0xFF;

// What an event does to a byte in state s. rule[s] == 0: legal, the byte becomes next[s]; else refused for that reason.
// next[s] must not be `mixed` where rule[s] == 0.
struct Transition {
    alignas(64) uint8_t next[256];
    uint8_t rule[256];
};

// The first refused byte, the state that it has, and the reason.
struct Hit {
    uint64_t at;
    uint8_t state;
    uint8_t rule;
    friend constexpr bool operator==(const Hit&, const Hit&) = default;
};

// Which build of the inner loops to use. `best` is the fastest that this processor has.
enum class Isa : uint8_t { best, portable, avx2, avx512 };

class ShadowMap {
  public:
    // At most this many bytes.
    static constexpr uint64_t max_bytes = uint64_t{64} << 20;

    explicit ShadowMap(uint64_t bytes, uint8_t fill, Isa isa = Isa::best);

    // True if this build and this processor have it.
    static bool supported(Isa isa);

    // All ranges must lie inside [0, size()); that is checked in every build. Empty ranges are legal and do nothing.

    // The lowest byte of the range that the transition refuses, if there is one. Changes nothing.
    std::optional<Hit> check(const Transition& transition, Range range) const
    {
        return first_in(range, transition.rule);
    }

    // Every byte s of the range becomes next[s]. Precondition: check() of the same range found nothing.
    void apply(const Transition& transition, Range range)
    {
        require(range);
        if (!range.empty())
            ops_->apply(tree_.levels(), transition.next, range.at, range.at + range.len);
    }

    // Both in one walk. Stops at the first refused byte; the bytes before it have been changed.
    std::optional<Hit> check_and_apply(const Transition& transition, Range range)
    {
        require(range);
        if (range.empty())
            return std::nullopt;
        return hit(
            ops_->check_and_apply(tree_.levels(), transition.next, transition.rule, range.at, range.at + range.len),
            transition.rule);
    }

    uint8_t at(uint64_t offset) const
    {
        require({offset, 1});
        return tree_.at(offset, mixed);
    }

    void set(Range range, uint8_t state);

    // f(Range run, uint8_t state) for each maximal run of equal state inside the range, ascending. f may change the
    // states of the run that it is given and of those before it.
    template <class F> void for_each_run(Range range, F&& f) const
    {
        require(range);
        const uint64_t end = range.end();
        for (uint64_t from = range.at; from < end;) {
            const uint8_t state = tree_.at(from, mixed);
            const uint64_t to = next_run(from, end);
            f(Range{from, to - from}, state);
            from = to;
        }
    }

    // True if set[state] != 0 for every byte of the range.
    bool all(Range range, const uint8_t (&set)[256]) const;

    // The first byte with set[state] != 0; Hit::rule is that entry.
    std::optional<Hit> first_in(Range range, const uint8_t (&set)[256]) const
    {
        require(range);
        if (range.empty())
            return std::nullopt;
        return hit(ops_->find(tree_.levels(), set, range.at, range.at + range.len), set);
    }

    // Everything becomes `fill`; costs one memset of size() / 4096 bytes.
    void reset(uint8_t fill);

    // Grows or shrinks; new bytes get `fill`, the others keep their state. Allocates.
    void resize(uint64_t bytes, uint8_t fill);

    uint64_t size() const { return size_; }

    // How many pages and lines are mixed: what the tree costs at the moment. Walks the tree, for tests and reports.
    struct Expanded {
        uint64_t pages;
        uint64_t lines;
        friend constexpr bool operator==(const Expanded&, const Expanded&) = default;
    };
    Expanded expanded() const;

  private:
    static std::optional<Hit> hit(shadow_tree::Found found, const uint8_t (&rule)[256])
    {
        if (found.at == shadow_tree::nowhere)
            return std::nullopt;
        return Hit{found.at, found.state, rule[found.state]};
    }

    void require(Range range) const
    {
        if (range.at > size_ || range.len > size_ - range.at) [[unlikely]]
            broken_precondition("a range is outside the shadow map");
    }

    uint64_t next_run(uint64_t from, uint64_t end) const;

    uint64_t size_;
    shadow_tree::Tree<uint8_t> tree_;
    const shadow_tree::Ops* ops_;
};

} // namespace dmaudit

#endif
