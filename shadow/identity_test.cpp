// IdentityMap against a plain array of tags.
#include "shadow/identity.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <random>
#include <utility>
#include <vector>

namespace dmaudit {

static void PrintTo(const Range& range, std::ostream* out)
{
    *out << "[" << range.at << ", +" << range.len << ")";
}

namespace {

constexpr uint64_t page = 4096;
constexpr uint64_t group = 64 * page;

using Tags = std::vector<uint32_t>;
using Runs = std::vector<std::pair<Range, uint32_t>>;

Tags tags_of(const IdentityMap& map)
{
    Tags tags(map.size());
    for (uint64_t i = 0; i < map.size(); ++i)
        tags[i] = map.at(i);
    return tags;
}

Runs runs_of(const IdentityMap& map, Range range)
{
    Runs runs;
    map.for_each_run(range, [&](Range run, uint32_t tag) { runs.emplace_back(run, tag); });
    return runs;
}

Runs runs_of(const Tags& tags, Range range)
{
    Runs runs;
    for (uint64_t from = range.at; from < range.end();) {
        uint64_t to = from + 1;
        while (to < range.end() && tags[to] == tags[from])
            ++to;
        runs.emplace_back(Range{from, to - from}, tags[from]);
        from = to;
    }
    return runs;
}

std::optional<uint64_t> first_other(const Tags& tags, Range range, uint32_t tag)
{
    for (uint64_t i = range.at; i < range.end(); ++i)
        if (tags[i] != tag)
            return i;
    return std::nullopt;
}

IdentityMap::Expanded least_expanded(const Tags& tags)
{
    const auto uniform = [&](uint64_t at, uint64_t len) { return runs_of(tags, {at, len}).size() == 1; };
    IdentityMap::Expanded count{0, 0};
    for (uint64_t at = 0; at < tags.size(); at += page) {
        if (uniform(at, page))
            continue;
        ++count.pages;
        for (uint64_t line = at; line < at + page; line += 64)
            count.lines += !uniform(line, 64);
    }
    return count;
}

// mt19937_64 is specified to the bit; the standard distributions are not, so none is used.
class Random {
  public:
    explicit Random(uint64_t seed) : engine_(seed) {}
    uint64_t below(uint64_t limit) { return engine_() % limit; }

    // Edges on and one beside the borders of nodes; sometimes empty, sometimes everything.
    Range range(uint64_t size)
    {
        if (below(16) == 0)
            return {0, size};
        const uint64_t a = edge(size), b = below(2) == 0 ? edge(size) : std::min(size, a + below(200));
        return {std::min(a, b), std::max(a, b) - std::min(a, b)};
    }

    // Tags that differ in one byte only, so that a comparison of less than 32 bits is seen.
    uint32_t tag() { return static_cast<uint32_t>(below(3) << (8 * below(4))); }

  private:
    uint64_t edge(uint64_t size)
    {
        static constexpr uint64_t units[] = {1, 64, 64, page, group};
        const uint64_t unit = units[below(std::size(units))];
        const uint64_t at = below(size / unit + 1) * unit + below(3);
        return std::min(at > 0 ? at - 1 : at, size);
    }

    std::mt19937_64 engine_;
};

void step(Random& random, IdentityMap& map, Tags& tags)
{
    const Range range = random.range(tags.size());
    const uint32_t tag = random.tag();
    switch (random.below(4)) {
    case 0:
        ASSERT_EQ(map.first_other(range, tag), first_other(tags, range, tag)) << ::testing::PrintToString(range);
        break;
    case 1: {
        const uint32_t here = range.empty() ? tag : tags[range.at];
        ASSERT_EQ(map.first_other(range, here), first_other(tags, range, here)) << ::testing::PrintToString(range);
        break;
    }
    default:
        map.set(range, tag);
        std::fill_n(tags.begin() + static_cast<std::ptrdiff_t>(range.at), range.len, tag);
        break;
    }
}

TEST(Identity, random_calls_agree_with_an_array_of_tags)
{
    uint64_t seed = 1;
    for (const uint64_t size :
         {uint64_t{1}, uint64_t{64}, uint64_t{65}, page, 3 * page, 2 * page + 37, 2 * group + page + 1}) {
        Random random(seed++);
        IdentityMap map(size);
        Tags tags(size, IdentityMap::nobody);
        const int steps = size > group ? 2000 : 8000;
        for (int i = 0; i < steps; ++i) {
            ASSERT_NO_FATAL_FAILURE(step(random, map, tags)) << "size " << size << " step " << i;
            if (i % 50 != 0)
                continue;
            ASSERT_EQ(tags_of(map), tags) << "size " << size << " step " << i;
            ASSERT_EQ(runs_of(map, {0, size}), runs_of(tags, {0, size}));
            if (size % page == 0) {
                ASSERT_EQ(map.expanded(), least_expanded(tags)) << "size " << size << " step " << i;
            }
        }
    }
}

TEST(Identity, a_line_may_be_split_between_owners)
{
    IdentityMap map(page);
    map.set({64, 24}, 5);
    map.set({88, 40}, 6);
    EXPECT_EQ(runs_of(map, {60, 80}), (Runs{{{60, 4}, 0}, {{64, 24}, 5}, {{88, 40}, 6}, {{128, 12}, 0}}));
    EXPECT_EQ(map.first_other({64, 24}, 5), std::nullopt);
    EXPECT_EQ(map.first_other({64, 25}, 5), 88u);
}

TEST(Identity, reset_forgets_everybody_and_what_was_below_stays_forgotten)
{
    IdentityMap map(2 * page);
    for (uint64_t i = 0; i < page; ++i)
        map.set({i, 1}, static_cast<uint32_t>(i + 1));
    map.reset();
    EXPECT_EQ(map.expanded(), (IdentityMap::Expanded{0, 0}));
    EXPECT_EQ(map.first_other({0, 2 * page}, IdentityMap::nobody), std::nullopt);
    map.set({100, 1}, 7);
    EXPECT_EQ(runs_of(map, {0, page}), (Runs{{{0, 100}, 0}, {{100, 1}, 7}, {{101, page - 101}, 0}}));
}

TEST(Identity, resize_keeps_the_tags_and_gives_the_rest_to_nobody)
{
    Random random(9);
    IdentityMap map(100);
    Tags tags(100, IdentityMap::nobody);
    for (const uint64_t size : {uint64_t{5000}, uint64_t{4097}, 3 * page, 2 * page + 100, 2 * page + 900, group + 5,
                                page + 1, uint64_t{0}, page}) {
        for (int i = 0; i < 60 && !tags.empty(); ++i)
            ASSERT_NO_FATAL_FAILURE(step(random, map, tags));
        map.resize(size);
        tags.resize(size, IdentityMap::nobody);
        ASSERT_EQ(tags_of(map), tags) << "resized to " << size;
    }
}

TEST(Identity, a_broken_precondition_ends_the_process)
{
    IdentityMap map(page);
    EXPECT_DEATH(map.set({page, 1}, 2), "outside the identity map");
    EXPECT_DEATH(map.set({1, UINT64_MAX}, 2), "outside the identity map");
    EXPECT_DEATH(static_cast<void>(map.at(page)), "outside the identity map");
    EXPECT_DEATH(map.set({0, 1}, IdentityMap::mixed_tag), "reserved value");
    EXPECT_DEATH(IdentityMap(IdentityMap::max_bytes + 1), "too large");
    map.set({page, 0}, 2); // empty, at the edge
}

} // namespace
} // namespace dmaudit
