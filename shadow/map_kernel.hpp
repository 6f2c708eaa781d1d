// The loops of ShadowMap, written once over a 64-byte vector type. Included only by the map_<isa>.cpp files, each
// compiled with its own instruction set.
//
// Everything here has internal linkage and uses builtins instead of the standard library: a weak symbol that was
// compiled with AVX2 and chosen by the linker for the portable build would crash on a processor without it.
//
// The vector type V offers: load, store, splat, first (lane 0), equal -> Mask, bits(Mask) -> one bit per lane,
// span(lo, hi) -> Mask of the lanes [lo, hi), both(Mask, Mask), select(Mask, yes, no).
#ifndef DMAUDIT_SHADOW_MAP_KERNEL_HPP
#define DMAUDIT_SHADOW_MAP_KERNEL_HPP

#include "shadow/map_tree.hpp"

#include <cstdint>

namespace dmaudit::shadow_tree {
namespace {

// Level 0: the bytes of a line. Level 1: the lines of a page. Level 2: the pages of a group. A lane of level L stands
// for 1 << (6 * L) bytes. Positions are offsets into the arena, so the lane number is also the number of the node
// below.
template <class V> struct Kernel {
    using Tree = Levels<uint8_t>;
    static constexpr uint8_t below = 0xFF; // dmaudit::mixed

    template <int L> static uint8_t* level(const Tree& tree)
    {
        return L == 0 ? tree.bytes : L == 1 ? tree.lines : tree.pages;
    }

    static uint64_t lower(uint64_t a, uint64_t b) { return a < b ? a : b; }
    static uint64_t upper(uint64_t a, uint64_t b) { return a > b ? a : b; }

    static unsigned lowest(uint64_t bits) { return static_cast<unsigned>(__builtin_ctzll(bits)); }

    // Bits [lo, hi]; both below 64.
    static uint64_t bits_between(uint64_t lo, uint64_t hi)
    {
        return (~uint64_t{0} << lo) & (~uint64_t{0} >> (63 - hi));
    }

    // What of [from, to) one node of level L touches.
    template <int L> struct Lanes {
        static constexpr unsigned shift = 6 * L;
        static constexpr uint64_t unit = uint64_t{1} << shift;

        Lanes(uint64_t from, uint64_t to)
            : base((from >> shift) & ~uint64_t{63}), first((from >> shift) & 63), last(((to - 1) >> shift) & 63),
              head((from & (unit - 1)) != 0), tail((to & (unit - 1)) != 0)
        {
        }

        uint64_t touched() const { return bits_between(first, last); }
        // The lanes that are covered only in part: at most the first and the last.
        uint64_t partial() const { return (uint64_t{head} << first) | (uint64_t{tail} << last); }
        uint64_t whole_begin() const { return first + head; }
        uint64_t whole_end() const { return last + 1 - tail; }
        typename V::Mask whole() const
        {
            // One lane covered from inside on both sides gives begin > end, which span() takes as no lane.
            return V::span(static_cast<unsigned>(whole_begin()), static_cast<unsigned>(whole_end()));
        }
        static uint64_t begin_of(uint64_t lane_number) { return lane_number << shift; }

        uint64_t base;
        uint64_t first, last;
        bool head, tail;
    };

    static V insert(V vector, unsigned lane, uint8_t value)
    {
        return V::select(V::span(lane, lane + 1), V::splat(value), vector);
    }

    // The value of a node in its parent.
    static uint8_t summary(V node)
    {
        const uint8_t value = node.first();
        return V::bits(V::equal(node, V::splat(value))) == ~uint64_t{0} ? value : below;
    }

    // The first byte whose (wanted[state] != 0) == Present.
    template <int L, bool Present>
    static Found find_in(const Tree& tree, const uint8_t* wanted, uint64_t from, uint64_t to)
    {
        const Lanes<L> lanes(from, to);
        const uint8_t* node = level<L>(tree) + lanes.base;
        uint64_t todo = lanes.touched();
        if ((todo & (todo - 1)) == 0) { // one lane: no vector needed
            const uint8_t state = node[lanes.first];
            if constexpr (L > 0)
                if (state == below)
                    return find_in<L - 1, Present>(tree, wanted, from, to);
            return (wanted[state] != 0) == Present ? Found{from, state} : Found{nowhere, 0};
        }
        const V vector = V::load(node);
        do {
            // Lowest lane first, and a value is struck off when it is seen: the first hit is the lowest.
            const unsigned lane = lowest(todo);
            const uint8_t state = node[lane];
            const uint64_t number = lanes.base + lane;
            if constexpr (L > 0) {
                if (state == below) {
                    const Found found = find_in<L - 1, Present>(tree, wanted, upper(from, lanes.begin_of(number)),
                                                                lower(to, lanes.begin_of(number + 1)));
                    if (found.at != nowhere)
                        return found;
                    todo &= todo - 1;
                    continue;
                }
            }
            if ((wanted[state] != 0) == Present)
                return {upper(from, lanes.begin_of(number)), state};
            todo &= ~V::bits(V::equal(vector, V::splat(state)));
        } while (todo != 0);
        return {nowhere, 0};
    }

    template <bool Present> static Found find(const Tree& tree, const uint8_t* wanted, uint64_t from, uint64_t to)
    {
        while (true) {
            const uint64_t stop = lower(to, (from | (group_bytes - 1)) + 1);
            const Found found = find_in<2, Present>(tree, wanted, from, stop);
            if (found.at != nowhere || stop == to)
                return found;
            from = stop;
        }
    }

    // A node that was uniformly `old` and whose values are stale: writes it so that [from, to), which is only a part of
    // it, has the state `fresh`. The states differ, so the node becomes mixed.
    template <int L> static void expand(const Tree& tree, uint8_t old, uint8_t fresh, uint64_t from, uint64_t to)
    {
        const Lanes<L> lanes(from, to);
        V out = V::select(lanes.whole(), V::splat(fresh), V::splat(old));
        if constexpr (L > 0) {
            if (lanes.head) {
                expand<L - 1>(tree, old, fresh, from, lower(to, lanes.begin_of(lanes.base + lanes.first + 1)));
                out = insert(out, static_cast<unsigned>(lanes.first), below);
            }
            if (lanes.tail && !(lanes.head && lanes.first == lanes.last)) {
                expand<L - 1>(tree, old, fresh, lanes.begin_of(lanes.base + lanes.last), to);
                out = insert(out, static_cast<unsigned>(lanes.last), below);
            }
        }
        out.store(level<L>(tree) + lanes.base);
    }

    struct Tables {
        const uint8_t* next;
        const uint8_t* rule; // not read unless checked
    };

    // What an update leaves behind: the first refused byte, or nowhere, and the new value of the node in its parent.
    struct Outcome {
        uint64_t at;
        uint8_t state;
        uint8_t summary;
    };

    // One summary that is not `below`, of which [from, to) is only a part.
    template <int L, bool Checked>
    static Outcome update_part(const Tree& tree, Tables tables, uint8_t state, uint64_t from, uint64_t to)
    {
        if constexpr (Checked)
            if (tables.rule[state] != 0)
                return {from, state, state};
        const uint8_t fresh = tables.next[state];
        if (fresh == state) // nothing to tell apart, so nothing to expand
            return {nowhere, 0, state};
        expand<L - 1>(tree, state, fresh, from, to);
        return {nowhere, 0, below};
    }

    // Applies the transition to [from, to), which lies in one node of level L and whose values are valid.
    template <int L, bool Checked> static Outcome update(const Tree& tree, Tables tables, uint64_t from, uint64_t to)
    {
        const Lanes<L> lanes(from, to);
        uint8_t* node = level<L>(tree) + lanes.base;
        const V before = V::load(node);
        const typename V::Mask whole = lanes.whole();
        const uint64_t partial = lanes.partial();
        uint64_t todo = lanes.touched();
        V after = before;
        Outcome outcome{nowhere, 0, below};
        do {
            const unsigned lane = lowest(todo);
            const uint8_t state = node[lane];
            const uint64_t number = lanes.base + lane;
            if constexpr (L > 0) {
                if (state == below || ((partial >> lane) & 1) != 0) {
                    const uint64_t begin = upper(from, lanes.begin_of(number));
                    const uint64_t end = lower(to, lanes.begin_of(number + 1));
                    const Outcome child = state == below ? update<L - 1, Checked>(tree, tables, begin, end)
                                                         : update_part<L, Checked>(tree, tables, state, begin, end);
                    if constexpr (Checked)
                        if (child.at != nowhere) { // undo the lanes behind it that share a value with one before it
                            after = V::select(V::span(0, lane), after, before);
                            outcome.at = child.at;
                            outcome.state = child.state;
                            todo = 1; // the last round
                        }
                    if (child.summary != state)
                        after = insert(after, lane, child.summary);
                    todo &= todo - 1;
                    continue;
                }
            }
            if constexpr (Checked)
                if (tables.rule[state] != 0) {
                    after = V::select(V::span(0, lane), after, before);
                    outcome.at = lanes.begin_of(number);
                    outcome.state = state;
                    break;
                }
            const typename V::Mask same = V::both(V::equal(before, V::splat(state)), whole);
            after = V::select(same, V::splat(tables.next[state]), after);
            todo &= ~V::bits(same);
        } while (todo != 0);
        after.store(node);
        if constexpr (L < 2)
            outcome.summary = summary(after);
        return outcome;
    }

    // One page of which [from, to) is a part or the whole: its summary is a scalar, no vector of pages is needed.
    template <bool Checked> static Outcome update_page(const Tree& tree, Tables tables, uint64_t from, uint64_t to)
    {
        uint8_t& page = tree.pages[from / page_bytes];
        const uint8_t state = page;
        Outcome outcome{nowhere, 0, state};
        if (state == below)
            outcome = update<1, Checked>(tree, tables, from, to);
        else if (to - from < page_bytes)
            outcome = update_part<2, Checked>(tree, tables, state, from, to);
        else if (Checked && tables.rule[state] != 0)
            return {from, state, state};
        else
            outcome.summary = tables.next[state];
        page = outcome.summary;
        return outcome;
    }

    template <bool Checked> static Found update_all(const Tree& tree, Tables tables, uint64_t from, uint64_t to)
    {
        // One page or two is the usual case.
        const uint64_t pages = (to - 1) / page_bytes - from / page_bytes;
        if (pages <= 1) {
            const uint64_t stop = lower(to, (from | (page_bytes - 1)) + 1);
            Outcome outcome = update_page<Checked>(tree, tables, from, stop);
            if (pages == 1 && !(Checked && outcome.at != nowhere))
                outcome = update_page<Checked>(tree, tables, stop, to);
            return {outcome.at, outcome.state};
        }
        while (true) {
            const uint64_t stop = lower(to, (from | (group_bytes - 1)) + 1);
            const Outcome outcome = update<2, Checked>(tree, tables, from, stop);
            if ((Checked && outcome.at != nowhere) || stop == to)
                return {outcome.at, outcome.state};
            from = stop;
        }
    }

    static void apply(const Tree& tree, const uint8_t* next, uint64_t from, uint64_t to)
    {
        update_all<false>(tree, {next, nullptr}, from, to);
    }

    static Found check_and_apply(const Tree& tree, const uint8_t* next, const uint8_t* rule, uint64_t from, uint64_t to)
    {
        return update_all<true>(tree, {next, rule}, from, to);
    }

    // The first byte of [from, to) with another state, or `to`; the range lies in one node of level L.
    template <int L> static uint64_t first_other(const Tree& tree, uint8_t state, uint64_t from, uint64_t to)
    {
        const Lanes<L> lanes(from, to);
        const uint8_t* node = level<L>(tree) + lanes.base;
        uint64_t other = lanes.touched() & ~V::bits(V::equal(V::load(node), V::splat(state)));
        while (other != 0) {
            const uint64_t number = lanes.base + lowest(other);
            const uint64_t begin = upper(from, lanes.begin_of(number));
            if constexpr (L == 0)
                return begin;
            else {
                if (level<L>(tree)[number] != below)
                    return begin;
                const uint64_t end = lower(to, lanes.begin_of(number + 1));
                const uint64_t at = first_other<L - 1>(tree, state, begin, end);
                if (at != end)
                    return at;
                other &= other - 1;
            }
        }
        return to;
    }

    static uint64_t run_end(const Tree& tree, uint64_t from, uint64_t to)
    {
        // Most runs are short: from the line upwards, each level only if the run reaches the end of the one below.
        const uint64_t page_end = (from | (page_bytes - 1)) + 1;
        uint8_t state = tree.pages[from / page_bytes];
        if (state == below) {
            state = tree.lines[from / line_bytes];
            if (state == below) {
                state = tree.bytes[from];
                const uint64_t stop = lower(to, (from | (line_bytes - 1)) + 1);
                const uint64_t at = first_other<0>(tree, state, from, stop);
                if (at != stop || stop == to)
                    return at;
                from = stop;
            }
            if (const uint64_t stop = lower(to, page_end); from < stop) {
                const uint64_t at = first_other<1>(tree, state, from, stop);
                if (at != stop || stop == to)
                    return at;
                from = stop;
            }
        }
        while (from < to) {
            const uint64_t stop = lower(to, (from | (group_bytes - 1)) + 1);
            const uint64_t at = first_other<2>(tree, state, from, stop);
            if (at != stop)
                return at;
            from = stop;
        }
        return to;
    }

    static constexpr Ops ops{find<true>, find<false>, apply, check_and_apply, run_end};
};

} // namespace
} // namespace dmaudit::shadow_tree

#endif
