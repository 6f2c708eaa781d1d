// A range of bytes of the arena. Every place that speaks of "these bytes" uses this type; offsets and lengths are
// bytes. Arithmetic is checked in every build: a range that wraps around is a defect of the caller, not a value.
#ifndef DMAUDIT_SHADOW_RANGE_HPP
#define DMAUDIT_SHADOW_RANGE_HPP

#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace dmaudit {

// Ends the process: an argument broke a precondition, so nothing that the auditor says after this could be trusted.
[[noreturn]] inline void broken_precondition(const char* what)
{
    std::fprintf(stderr, "dmaudit: broken precondition: %s\n", what);
    std::abort();
}

struct Range {
    uint64_t at = 0;
    uint64_t len = 0;

    // One past the last byte.
    constexpr uint64_t end() const
    {
        if (len > UINT64_MAX - at)
            broken_precondition("a range wraps around");
        return at + len;
    }

    constexpr bool empty() const { return len == 0; }

    // An empty range is contained where its position lies within or at the edge.
    constexpr bool contains(Range other) const { return other.at >= at && other.end() <= end(); }
    constexpr bool contains(uint64_t byte) const { return byte >= at && byte - at < len; }

    // True if some byte is in both; an empty range overlaps nothing.
    constexpr bool overlaps(Range other) const
    {
        return !empty() && !other.empty() && at < other.end() && other.at < end();
    }

    // The bytes in both; empty if there are none.
    constexpr Range intersect(Range other) const
    {
        const uint64_t first = at > other.at ? at : other.at;
        const uint64_t last = end() < other.end() ? end() : other.end();
        return last > first ? Range{first, last - first} : Range{first, 0};
    }

    // Widened to whole lines; `line` is a power of two. An empty range stays empty.
    constexpr Range lines(uint64_t line) const
    {
        if (line == 0 || (line & (line - 1)) != 0)
            broken_precondition("a line size is not a power of two");
        if (empty())
            return {at & ~(line - 1), 0};
        const uint64_t first = at & ~(line - 1);
        const uint64_t last = (end() - 1) | (line - 1);
        if (last == UINT64_MAX)
            broken_precondition("a range widened to lines wraps around");
        return {first, last + 1 - first};
    }

    friend constexpr bool operator==(const Range&, const Range&) = default;
};

} // namespace dmaudit

#endif
