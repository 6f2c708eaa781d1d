#include "harness/binary.hpp"
#include "harness/generate.hpp"
#include "harness/generate_phases.hpp"
#include "harness/scope.hpp"
#include "harness/text.hpp"
#include <algorithm>
#include <bitset>
#include <gtest/gtest.h>
#include <set>

namespace dmaudit {
namespace {

class EveryProfile : public ::testing::TestWithParam<Profile> {};
INSTANTIATE_TEST_SUITE_P(Generate, EveryProfile, ::testing::ValuesIn(profiles().begin(), profiles().end()),
                         [](const auto& p) { return std::string(p.param.name); });

TEST_P(EveryProfile, generates_valid_cases_of_its_ops)
{
    std::set<uint8_t> seen;
    Case c;
    for (uint64_t seed = 0; seed < 1000; seed++) {
        generate(seed, GetParam(), c, 1 + seed % max_steps);
        ASSERT_EQ(case_error(c), "") << print(c);
        ASSERT_EQ(c.count, 1 + seed % max_steps);
        if (!GetParam().mixed) {
            ASSERT_EQ(c.world.mode, GetParam().mode);
        }
        for (const Step& s : c.all())
            seen.insert(s.op);
    }
    for (uint8_t op = 0; op < op_count; op++)
        EXPECT_EQ(seen.count(op) != 0, contains(GetParam(), op)) << specs()[op].name;
}

TEST_P(EveryProfile, is_a_function_of_the_seed)
{
    Case a, b;
    for (uint64_t seed = 0; seed < 50; seed++) {
        generate(seed, GetParam(), a);
        generate(seed + 1, GetParam(), b);
        EXPECT_FALSE(a == b);
        generate(seed, GetParam(), b);
        EXPECT_EQ(a, b);
    }
}

TEST_P(EveryProfile, mostly_generates_what_a_conforming_client_would_do)
{
    unsigned steps = 0, legal = 0;
    std::array<unsigned, op_count> ops{};
    Case c;
    size_t cells = 0;
    for (uint64_t seed = 0; seed < 1000; seed++) {
        generate(seed, GetParam(), c);
        cells += encode(c).size() / cell_bytes - 1;
        Scope scope(c.world);
        Phases phases(scope);
        for (const Step& s : c.all()) {
            const bool ok = phases.legal(s);
            steps++;
            legal += ok;
            ops[s.op] += ok;
            phases.append(s);
            scope.append(s);
        }
    }
    std::printf("[ measured ] %s: %u %% of the steps are legal by the generator's own notion, %.3f cells for each\n",
                std::string(GetParam().name).c_str(), legal * 100 / steps, static_cast<double>(cells) / steps);
    EXPECT_GE(legal * 100, steps * (GetParam().mode == Mode::conforming ? 90 : 50));
    EXPECT_LT(legal, steps) << "some mistakes are wanted: the executor must skip them";
    unsigned of_profile = 0;
    for (uint8_t op = 0; op < op_count; op++)
        of_profile += contains(GetParam(), op);
    const unsigned floor = std::max(100u, 10 * of_profile); // one percent, or a tenth of an even share
    for (uint8_t op = 0; op < op_count; op++) {
        if (contains(GetParam(), op)) {
            EXPECT_GE(ops[op] * floor, steps) << specs()[op].name << ": " << ops[op] << " of " << steps;
        }
    }
}

TEST(Generate, a_hostile_case_begins_with_a_legal_prefix_and_ends_with_mistakes)
{
    Case c;
    unsigned first_half = 0, second_half = 0;
    for (uint64_t seed = 0; seed < 500; seed++) {
        generate(seed, *profile_named("hostile"), c);
        Scope scope(c.world);
        Phases phases(scope);
        for (unsigned i = 0; i < c.count; i++) {
            const bool illegal = !phases.legal(c.steps[i]);
            (i < c.count / 2u ? first_half : second_half) += illegal;
            phases.append(c.steps[i]);
            scope.append(c.steps[i]);
        }
    }
    EXPECT_GT(second_half, 2 * first_half);
}

// What single steps hardly ever make, and every allocator has its bugs in.
TEST(Generate, situations_that_take_many_steps_are_reached)
{
    unsigned stale = 0, whole = 0, measured = 0, churned = 0, beside = 0, large = 0, full = 0;
    constexpr uint64_t cases = 6000;
    Case c;
    for (uint64_t seed = 0; seed < cases; seed++) {
        generate(seed, *profile_named("mixed"), c);
        Scope scope(c.world);
        Phases phases(scope);
        const uint64_t arena = divide(c.world, 0).arena;
        large += c.world.banks[0].size >= 1 << 20 && c.world.page == 4096;
        measured += c.steps[0].op == Ops::index_of<ops::AtEnd>();
        bool one_stale = false, one_whole = false, one_beside = false, one_full = false;
        unsigned longest = 0, row = 0;
        uint64_t allocated = 0;
        for (unsigned i = 0; i < c.count; i++) {
            const Step& s = c.steps[i];
            const Layout& l = layouts()[s.op];
            const Known* used = l.use == Layout::absent ? nullptr : scope.find(s.arg[l.use]);
            // A release of a dead block while its like lives.
            if (used && !used->alive && name_kind(used->name) == obj_block && specs()[s.op].ends == Ends::first_use)
                for (const Known& k : scope.objects())
                    one_stale |= k.alive && k.maker == used->maker && k.length == used->length;
            if (l.makes == obj_block && l.size != Layout::absent) {
                one_whole |= s.arg[l.size] == arena;
                one_full |= (allocated += s.arg[l.size]) >= arena;
            }
            row = i >= 2 && s.op == c.steps[i - 2].op && c.steps[i - 1].op != s.op && l.makes ? row + 1 : l.makes ? 0 : row;
            longest = std::max(longest, row);
            // A partial sync that ends in the line in which the CPU wrote.
            if (s.op == Ops::index_of<ops::SyncForCpu>() && used && !phases.wrote(*used).empty()) {
                const uint64_t end = s.arg[l.off] + s.arg[l.len];
                one_beside |= end <= phases.wrote(*used).from && phases.wrote(*used).from - end < c.world.line &&
                              s.arg[l.len] % c.world.line == 0;
            }
            phases.append(s);
            scope.append(s);
        }
        stale += one_stale, whole += one_whole, churned += longest >= 4, beside += one_beside, full += one_full;
    }
    std::printf("[ measured ] of %u cases: %u compare their capacity at the end, %u with a stale release, %u that take all of an arena, %u fill it, %u that take "
                "and give back over and over, %u with a sync beside what the CPU wrote, %u in large worlds\n",
                static_cast<unsigned>(cases), measured, stale, whole, full, churned, beside, large);
    EXPECT_GT(stale, cases / 200);
    EXPECT_GT(measured, cases / 6);
    EXPECT_GT(whole, cases / 40);
    EXPECT_GT(full, cases / 20);
    EXPECT_GT(churned, cases / 50);
    EXPECT_GT(beside, cases / 2000);
    EXPECT_GT(large, cases / 300);
}

// Swarm: most cases do without many ops, and stay with few families.
TEST(Generate, most_cases_are_about_a_few_families)
{
    Profile even = *profile_named("all");
    even.swarm = false;
    const auto ops_of = [](const Profile& p) { // different ones of clients, in cases of equal length
        uint64_t sum = 0;
        Case c;
        for (uint64_t seed = 0; seed < 1000; seed++) {
            generate(seed, p, c, 32);
            std::bitset<op_count> ops;
            for (const Step& s : c.all())
                if (specs()[s.op].actor == Actor::client)
                    ops.set(s.op);
            sum += ops.count();
        }
        return sum;
    };
    const uint64_t swarm = ops_of(*profile_named("all")), all = ops_of(even);
    std::printf("[ measured ] %llu different ops in a case, without swarm %llu\n",
                static_cast<unsigned long long>(swarm / 1000), static_cast<unsigned long long>(all / 1000));
    EXPECT_LT(swarm * 100, all * 80);
}

TEST(Generate, profiles_have_names)
{
    EXPECT_EQ(profile_named("pool")->facets, facet_pool);
    EXPECT_EQ(profile_named("nonsense"), nullptr);
}

} // namespace
} // namespace dmaudit
