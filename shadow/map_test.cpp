// ShadowMap against NaiveMap: the same calls, the same answers, in every build of the loops that this processor has.
#include "shadow/map.hpp"
#include "shadow/map_naive.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace dmaudit {

static void PrintTo(const Hit& hit, std::ostream* out)
{
    *out << "byte " << hit.at << " state " << int{hit.state} << " rule " << int{hit.rule};
}

static void PrintTo(const Range& range, std::ostream* out)
{
    *out << "[" << range.at << ", +" << range.len << ")";
}

namespace {

constexpr uint64_t page = 4096;
constexpr uint64_t group = 64 * page;

// splitmix64: the tests must not depend on a library's generator.
class Random {
  public:
    explicit Random(uint64_t seed) : state_(seed) {}

    uint64_t next()
    {
        uint64_t z = (state_ += 0x9E3779B97F4A7C15);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }

    uint64_t below(uint64_t limit) { return next() % limit; }
    uint8_t state(unsigned count)
    {
        return static_cast<uint8_t>(below(count) * 31);
    } // spread over the table, never 0xFF

  private:
    uint64_t state_;
};

// Ranges of all sizes, with edges on and one beside the borders of nodes, at both ends of the arena, empty and
// everything.
Range random_range(Random& random, uint64_t size)
{
    const auto edge = [&]() -> uint64_t {
        static constexpr uint64_t units[] = {1, 1, 64, 64, page, group};
        const uint64_t unit = units[random.below(std::size(units))];
        const uint64_t at = random.below(size / unit + 1) * unit;
        const uint64_t moved = at + random.below(3);
        return std::min(random.below(4) == 0 && moved > 0 ? moved - 1 : at, size);
    };
    const uint64_t at = edge();
    switch (random.below(12)) {
    case 0:
        return {at, 0};
    case 1:
        return {0, size};
    case 2:
        return {size - 1, 1};
    case 3:
        return {0, std::min<uint64_t>(size, 1 + random.below(200))};
    case 4:
    case 5: {
        const uint64_t other = edge();
        return {std::min(at, other), at < other ? other - at : at - other};
    }
    default: {
        static constexpr uint64_t spans[] = {2, 66, 130, 300, page + 70, 3 * page};
        return Range{at, random.below(spans[random.below(std::size(spans))])}.intersect({0, size});
    }
    }
}

// Tables over `count` states: some with refusals, some that leave states alone, some that make everything one state.
Transition random_transition(Random& random, unsigned count)
{
    Transition transition{};
    const uint64_t kind = random.below(4), refusals = random.below(2);
    const uint8_t target = random.state(count);
    for (unsigned s = 0; s < 256; ++s) {
        const auto self = static_cast<uint8_t>(s == mixed ? 0 : s);
        transition.next[s] = kind == 0 ? target : kind == 1 && random.below(2) == 0 ? self : random.state(count);
        transition.rule[s] = refusals == 0 && random.below(4) == 0 ? static_cast<uint8_t>(1 + random.below(200)) : 0;
    }
    // What the reserved value would do must not matter; these would be seen.
    transition.rule[mixed] = static_cast<uint8_t>(random.below(2) * 77);
    transition.next[mixed] = static_cast<uint8_t>(123);
    return transition;
}

using Runs = std::vector<std::pair<Range, uint8_t>>;

template <class Map> Runs runs_of(const Map& map, Range range)
{
    Runs runs;
    map.for_each_run(range, [&](Range run, uint8_t state) { runs.emplace_back(run, state); });
    return runs;
}

std::vector<uint8_t> bytes_of(const ShadowMap& map)
{
    std::vector<uint8_t> bytes(map.size());
    for (uint64_t i = 0; i < map.size(); ++i)
        bytes[i] = map.at(i);
    return bytes;
}

std::vector<uint8_t> bytes_of(const NaiveMap& map)
{
    std::vector<uint8_t> bytes(map.size());
    for (uint64_t i = 0; i < map.size(); ++i)
        bytes[i] = map.at(i);
    return bytes;
}

// The fewest nodes that can hold these bytes: a page or line is mixed only if it must be.
ShadowMap::Expanded least_expanded(const NaiveMap& map)
{
    const auto uniform = [&](Range range) { return runs_of(map, range).size() <= 1; };
    ShadowMap::Expanded count{0, 0};
    for (uint64_t at = 0; at < map.size(); at += page) {
        if (uniform({at, page}))
            continue;
        ++count.pages;
        for (uint64_t line = at; line < at + page; line += 64)
            count.lines += !uniform({line, 64});
    }
    return count;
}

struct Tally {
    uint64_t hits = 0, clean = 0, resets = 0;
};

// One random call on both maps; every answer must agree.
void step(Random& random, unsigned states, ShadowMap& fast, NaiveMap& naive, Tally& tally)
{
    const Range range = random_range(random, naive.size());
    const Transition transition = random_transition(random, states);
    switch (random.below(16)) {
    case 0: {
        const uint8_t state = random.state(states);
        fast.set(range, state);
        naive.set(range, state);
        break;
    }
    case 1:
        ASSERT_EQ(fast.all(range, transition.rule), naive.all(range, transition.rule));
        break;
    case 2:
        ASSERT_EQ(runs_of(fast, range), runs_of(naive, range));
        break;
    case 3:
        if (random.below(40) == 0) {
            const uint8_t state = random.state(states);
            fast.reset(state);
            naive.reset(state);
            ++tally.resets;
        }
        break;
    case 4:
    case 5:
    case 6:
    case 7:
    case 8: {
        const auto expected = naive.check_and_apply(transition, range);
        ASSERT_EQ(fast.check_and_apply(transition, range), expected) << ::testing::PrintToString(range);
        ++(expected ? tally.hits : tally.clean);
        break;
    }
    default: {
        const auto expected = naive.check(transition, range);
        ASSERT_EQ(fast.check(transition, range), expected) << ::testing::PrintToString(range);
        if (!expected) {
            fast.apply(transition, range);
            naive.apply(transition, range);
        }
        ++(expected ? tally.hits : tally.clean);
        break;
    }
    }
    // The bytes at the edges of the range, where mistakes show.
    for (const uint64_t around : {range.at, range.at - 1, range.end(), range.end() - 1}) {
        if (around < naive.size()) {
            ASSERT_EQ(fast.at(around), naive.at(around)) << "at " << around << " " << ::testing::PrintToString(range);
        }
    }
}

class Maps : public ::testing::TestWithParam<Isa> {
  protected:
    void SetUp() override
    {
        if (!ShadowMap::supported(GetParam()))
            GTEST_SKIP() << "not in this build or processor";
    }
};

struct Arena {
    uint64_t size;
    int steps;
    unsigned states;
};

TEST_P(Maps, random_calls_agree_with_the_naive_map)
{
    constexpr Arena arenas[] = {{1, 500, 3},          {63, 2000, 3},
                                {64, 2000, 3},        {65, 2000, 2},
                                {page, 8000, 2},      {3 * page, 12000, 3},
                                {3 * page, 12000, 8}, {2 * page + 37, 8000, 4},
                                {2 * group, 1500, 3}, {group + page + 1, 1500, 3}};
    Tally tally;
    uint64_t seed = 1;
    for (const Arena& arena : arenas) {
        SCOPED_TRACE("arena of " + std::to_string(arena.size) + " bytes");
        Random random(seed++);
        ShadowMap fast(arena.size, 0, GetParam());
        NaiveMap naive(arena.size, 0);
        const int look = arena.size > group ? 100 : 25;
        for (int i = 0; i < arena.steps; ++i) {
            SCOPED_TRACE("step " + std::to_string(i));
            ASSERT_NO_FATAL_FAILURE(step(random, arena.states, fast, naive, tally));
            if (i % look != 0)
                continue;
            ASSERT_EQ(bytes_of(fast), bytes_of(naive));
            ASSERT_EQ(runs_of(fast, {0, arena.size}), runs_of(naive, {0, arena.size}));
        }
    }
    // A test that never refuses, or never passes, would show nothing.
    EXPECT_GT(tally.hits, 5000u);
    EXPECT_GT(tally.clean, 5000u);
    EXPECT_GT(tally.resets, 20u);
}

TEST_P(Maps, after_updates_of_whole_pages_no_node_is_mixed_without_need)
{
    // Arenas of whole pages: what lies behind the end of a broken page is not anybody's.
    Random random(77);
    Tally tally;
    ShadowMap fast(4 * page, 0, GetParam());
    NaiveMap naive(4 * page, 0);
    for (int i = 0; i < 4000; ++i) {
        ASSERT_NO_FATAL_FAILURE(step(random, 2, fast, naive, tally));
        if (i % 10 == 0) {
            ASSERT_EQ(fast.expanded(), least_expanded(naive)) << "step " << i;
        }
    }
}

TEST_P(Maps, every_range_inside_two_lines_is_exact)
{
    Transition mark{};
    std::fill_n(mark.next, 256, uint8_t{9});
    mark.rule[9] = 5;
    ShadowMap fast(page + 128, 1, GetParam());
    for (uint64_t at = 0; at < 128; ++at) {
        for (uint64_t len = 0; at + len <= 128; ++len) {
            const Range range{page - 64 + at, len};
            fast.reset(1);
            ASSERT_EQ(fast.check_and_apply(mark, range), std::nullopt);
            const Runs runs = runs_of(fast, {0, fast.size()});
            ASSERT_EQ(runs.size(), len == 0 ? 1u : 3u);
            if (len != 0) {
                ASSERT_EQ(runs[1].first, range);
                ASSERT_EQ(fast.check(mark, {0, fast.size()}), (Hit{range.at, 9, 5}));
            }
        }
    }
}

TEST_P(Maps, a_fused_update_changes_exactly_what_lies_before_the_refused_byte)
{
    Transition mark{};
    std::fill_n(mark.next, 256, uint8_t{9});
    mark.rule[200] = 3;
    const uint64_t size = group + 3 * page;
    for (const uint64_t bad : {uint64_t{0}, uint64_t{1}, uint64_t{63}, uint64_t{64}, page - 1, page, page + 65,
                               2 * page + 64, group - 1, group, group + page + 130, size - 1}) {
        ShadowMap fast(size, 1, GetParam());
        fast.set({bad, std::min<uint64_t>(size - bad, 70)}, 200);
        fast.set({bad / 2, bad / 2 == bad ? 0u : 1u}, 4); // something mixed before it
        const auto before = bytes_of(fast);
        ASSERT_EQ(fast.check_and_apply(mark, {0, size}), (Hit{bad, 200, 3}));
        auto expected = before;
        std::fill_n(expected.begin(), bad, uint8_t{9});
        ASSERT_EQ(bytes_of(fast), expected) << "refused at " << bad;
    }
}

TEST_P(Maps, a_page_that_is_expanded_again_shows_nothing_of_its_first_life)
{
    ShadowMap fast(page, 1, GetParam());
    for (uint64_t i = 0; i < page; ++i)
        fast.set({i, 1}, static_cast<uint8_t>(2 + i % 5));
    fast.reset(1);
    fast.set({100, 1}, 7);
    EXPECT_EQ(runs_of(fast, {0, page}), (Runs{{{0, 100}, 1}, {{100, 1}, 7}, {{101, page - 101}, 1}}));
    fast.set({0, page}, 3);
    EXPECT_EQ(fast.expanded(), (ShadowMap::Expanded{0, 0}));
    fast.set({4000, 64}, 4);
    EXPECT_EQ(runs_of(fast, {0, page}), (Runs{{{0, 4000}, 3}, {{4000, 64}, 4}, {{4064, 32}, 3}}));
}

TEST_P(Maps, a_transition_that_changes_nothing_expands_nothing)
{
    Transition keep{};
    for (unsigned s = 0; s < 255; ++s)
        keep.next[s] = static_cast<uint8_t>(s);
    ShadowMap fast(4 * page, 1, GetParam());
    fast.apply(keep, {17, page});
    EXPECT_EQ(fast.check_and_apply(keep, {3, 5}), std::nullopt);
    EXPECT_EQ(fast.expanded(), (ShadowMap::Expanded{0, 0}));
}

TEST_P(Maps, resize_keeps_the_states_and_fills_the_rest)
{
    Random random(5);
    Tally tally;
    ShadowMap fast(100, 2, GetParam());
    NaiveMap naive(100, 2);
    for (const uint64_t size : {uint64_t{5000}, uint64_t{4097}, 3 * page, 2 * page + 100, 2 * page + 900, 2 * group + 5,
                                page + 1, group, uint64_t{0}, page}) {
        for (int i = 0; i < 60 && naive.size() != 0; ++i)
            ASSERT_NO_FATAL_FAILURE(step(random, 4, fast, naive, tally));
        fast.resize(size, 31);
        naive.resize(size, 31);
        ASSERT_EQ(fast.size(), size);
        ASSERT_EQ(bytes_of(fast), bytes_of(naive)) << "resized to " << size;
    }
}

TEST_P(Maps, the_largest_arena_works_at_both_ends)
{
    ShadowMap fast(ShadowMap::max_bytes, 1, GetParam());
    fast.set({ShadowMap::max_bytes - 1, 1}, 2);
    fast.set({0, 1}, 3);
    EXPECT_EQ(runs_of(fast, {0, ShadowMap::max_bytes}),
              (Runs{{{0, 1}, 3}, {{1, ShadowMap::max_bytes - 2}, 1}, {{ShadowMap::max_bytes - 1, 1}, 2}}));
}

TEST_P(Maps, a_range_outside_the_arena_ends_the_process)
{
    ShadowMap fast(page, 1, GetParam());
    EXPECT_DEATH(fast.set({page, 1}, 2), "outside the shadow map");
    EXPECT_DEATH(fast.set({1, UINT64_MAX}, 2), "outside the shadow map");
    EXPECT_DEATH(static_cast<void>(fast.at(page)), "outside the shadow map");
    EXPECT_DEATH(fast.set({0, 1}, mixed), "reserved value");
    EXPECT_DEATH(fast.reset(mixed), "reserved value");
    EXPECT_DEATH(ShadowMap(ShadowMap::max_bytes + 1, 0), "too large");
    fast.set({page, 0}, 2); // empty, at the edge
}

std::string isa_name(const ::testing::TestParamInfo<Isa>& info)
{
    static constexpr const char* names[] = {"best", "portable", "avx2", "avx512"};
    return names[static_cast<size_t>(info.param)];
}

INSTANTIATE_TEST_SUITE_P(Isa, Maps, ::testing::Values(Isa::portable, Isa::avx2, Isa::avx512, Isa::best), isa_name);

TEST(RangeTest, edges)
{
    constexpr Range range{100, 50};
    static_assert(range.end() == 150 && !range.empty());
    static_assert(range.contains(Range{100, 50}) && range.contains(Range{150, 0}) && !range.contains(Range{149, 2}));
    static_assert(range.contains(uint64_t{149}) && !range.contains(uint64_t{150}) && !range.contains(uint64_t{99}));
    static_assert(range.overlaps({149, 1}) && !range.overlaps({150, 1}) && !range.overlaps({120, 0}));
    static_assert(range.intersect({140, 100}) == Range{140, 10} && range.intersect({0, 20}).empty());
    static_assert(range.lines(64) == Range{64, 128} && Range{64, 64}.lines(64) == Range{64, 64});
    static_assert(Range{65, 0}.lines(64).empty() && Range{127, 2}.lines(64) == Range{64, 128});
    EXPECT_DEATH(static_cast<void>(Range{2, UINT64_MAX}.end()), "wraps around");
    EXPECT_DEATH(static_cast<void>(Range{UINT64_MAX - 3, 2}.lines(64)), "wraps around");
    EXPECT_DEATH(static_cast<void>(Range{0, 1}.lines(48)), "power of two");
}

} // namespace
} // namespace dmaudit
