// A harness that stops exercising something says so: a fixed number of generated cases reaches every named situation,
// and most of their steps are executed.
#include "properties/support.hpp"

#include <algorithm>
#include <cstdio>
#include <gtest/gtest.h>
#include <map>

namespace dmaudit::properties {
namespace {

constexpr uint64_t n_cases = 3000; // seeds 0 to 2999: no luck in it

class Marks : public ::testing::TestWithParam<Profile> {
  protected:
    // One campaign for each profile, used by several tests.
    const Tally& tally()
    {
        static std::map<std::string, Tally> campaigns;
        const auto [at, fresh] = campaigns.try_emplace(std::string(GetParam().name));
        if (fresh)
            for (uint64_t seed = 0; seed < n_cases; seed++)
                execute(generated(seed, GetParam()), builtin_provider(), session_, &at->second);
        return at->second;
    }
    bool conforming() const { return GetParam().mode == Mode::conforming; }
    bool has(uint32_t facet) const { return (GetParam().facets & facet) != 0; }

    // Can cases of this profile reach the situation?
    bool reachable(Mark m) const
    {
        switch (m) {
        case Mark::bounced:
        case Mark::direct:
        case Mark::partial_sync:
        case Mark::overlapping_to_device:
        case Mark::skipped_sync:
        case Mark::held_write:
        case Mark::split_line:
            return has(facet_streaming);
        case Mark::pool_full:
        case Mark::fell_through:
            return has(facet_pool);
        case Mark::window:
            return has(facet_pool | facet_coherent | facet_opaque);
        case Mark::merged_segments:
            return has(facet_scatter);
        case Mark::attachment_mapped:
        case Mark::bracket:
            return has(facet_dma_buf);
        case Mark::translated:
            return has(facet_streaming | facet_scatter);
        case Mark::parameter_set:
            return has(facet_streaming | facet_scatter | facet_dma_buf | facet_coherent | facet_opaque |
                       facet_noncoherent);
        case Mark::narrowed:
            return has(facet_streaming | facet_scatter | facet_coherent | facet_opaque | facet_noncoherent);
        case Mark::kept_bits:
            return has(facet_streaming | facet_scatter);
        case Mark::refused: // no bytes, an impossible alignment: a client that conforms asks only for windows too wide
            return !conforming() || has(facet_pool);
        default:
            return true;
        }
    }

  private:
    Session session_;
};
INSTANTIATE_TEST_SUITE_P(Profiles, Marks, ::testing::ValuesIn(profiles().begin(), profiles().end()),
                         [](const auto& p) { return std::string(p.param.name); });

TEST_P(Marks, every_named_situation_is_reached)
{
    for (size_t i = 0; i < static_cast<size_t>(Mark::count_); i++) {
        const auto mark = static_cast<Mark>(i);
        if (reachable(mark)) {
            EXPECT_GT(tally().marks[mark], 0u) << mark_name(mark);
        }
        std::printf("[ measured ] %s: %llu\n", std::string(mark_name(mark)).c_str(),
                    static_cast<unsigned long long>(tally().marks[mark]));
    }
    if (has(facet_coherent | facet_pool)) { // the first few mappings need nothing that could fail
        EXPECT_GT(tally().faults, 0u) << "platform calls that were made to fail";
    }
    EXPECT_GT(tally().failures, 0u) << "calls that failed";
    EXPECT_GT(tally().evictions_inside, 0u) << "evictions and prefetches inside a call";
}

TEST_P(Marks, most_steps_are_executed)
{
    const Tally& t = tally();
    std::printf("[ measured ] %llu %% of %llu steps executed, %llu not made, %llu illegal, %llu impossible\n",
                static_cast<unsigned long long>(t.executed * 100 / t.steps), static_cast<unsigned long long>(t.steps),
                static_cast<unsigned long long>(t.not_made), static_cast<unsigned long long>(t.illegal),
                static_cast<unsigned long long>(t.impossible));
    EXPECT_GE(t.executed * 100, t.steps * 70);
}

// In thousandths of the executed steps: 5, and where there are many ops a tenth of an even share.
unsigned floor_of_an_op(const Profile& p)
{
    unsigned n = 0;
    for (uint8_t op = 0; op < op_count; op++)
        n += contains(p, op);
    return std::min(5u, 100 / n);
}

TEST_P(Marks, each_op_has_its_share)
{
    const Tally& t = tally();
    for (uint8_t op = 0; op < op_count; op++) {
        const auto thousandths = static_cast<unsigned>(t.by_op[op] * 1000 / t.executed);
        if (!contains(GetParam(), op)) {
            EXPECT_EQ(t.by_op[op], 0u) << specs()[op].name << " is not of this profile";
            continue;
        }
        std::printf("[ measured ] %s: %u.%u %%\n", std::string(specs()[op].name).c_str(), thousandths / 10,
                    thousandths % 10);
        EXPECT_GE(thousandths, floor_of_an_op(GetParam())) << specs()[op].name;
    }
}

TEST(MarksOfHostile, most_rules_of_the_client_are_broken_by_generated_cases)
{
    Session session;
    std::array<unsigned, rule_count> broken{};
    for (uint64_t seed = 0; seed < n_cases; seed++)
        if (const Result r = execute(generated(seed, "hostile"), builtin_provider(), session); r.violation)
            broken[static_cast<size_t>(r.violation->rule)]++;
    unsigned of_client = 0, reached = 0;
    for (const Rule& r : rules()) {
        if (r.id == RuleId::none || r.fault != Fault::client)
            continue;
        of_client++;
        reached += broken[static_cast<size_t>(r.id)] > 0;
        std::printf("[ measured ] %s: %u\n", std::string(r.name).c_str(), broken[static_cast<size_t>(r.id)]);
    }
    EXPECT_GE(reached * 10, of_client * 8);
}

} // namespace
} // namespace dmaudit::properties
