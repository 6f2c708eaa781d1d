// A client that conforms never sees a violation, whatever the machine is like: no false alarm, no defect of the
// provider.
#include "harness/mutate.hpp"
#include "properties/support.hpp"

#include <cstdio>
#include <gtest/gtest.h>

namespace dmaudit::properties {
namespace {

class Conforming : public ::testing::TestWithParam<const Profile*> {
  protected:
    void TearDown() override
    {
        const uint64_t percent = tally.executed * 100 / std::max<uint64_t>(1, tally.steps);
        std::printf("[ measured ] %llu cases, %llu %% of the steps executed\n",
                    static_cast<unsigned long long>(tally.cases), static_cast<unsigned long long>(percent));
        if (!HasFailure()) {
            EXPECT_GE(percent, least_executed) << "what is skipped shows nothing";
        }
    }

    Checker checker;
    Tally tally;
    unsigned least_executed = 70;
};
INSTANTIATE_TEST_SUITE_P(Profiles, Conforming,
                         ::testing::ValuesIn(conforming_profiles().begin(), conforming_profiles().end()),
                         [](const auto& p) { return std::string(p.param->name); });

TEST_P(Conforming, generated_cases_never_violate)
{
    for_all_seeds(generated_cases,
                  [&](uint64_t seed) { checker.expect_no_violation(generated(seed, *GetParam()), &tally); });
}

TEST_P(Conforming, long_cases_never_violate)
{
    least_executed = 50; // small pools and small worlds fill up
    for_all_seeds(long_cases,
                  [&](uint64_t seed) { checker.expect_no_violation(generated(seed, *GetParam(), max_steps), &tally); });
}

TEST_P(Conforming, every_shape_of_world_is_free_of_violations)
{
    least_executed = 30; // the cases were made for other worlds, and where a device does not reach a pool there is none
    unsigned tried = 0;
    const int rounds = tries(1);
    for_all_seeds(1, [&](uint64_t seed) {
        Rng rng(seed);
        for (int round = 0; round < rounds; round++)
            for (const uint64_t page : shapes::pages)
                for (const uint64_t line : shapes::lines)
                    for (const auto coherence : shapes::coherences)
                        for (const auto layout : shapes::banks)
                            for (const auto reach : shapes::reaches)
                                for (const auto offset : shapes::offsets) {
                                    const World w = shapes::make(page, line, coherence, layout, reach, offset);
                                    RC_ASSERT(world_error(w) == "");
                                    const Case c = in_world(generated(rng.next(), *GetParam()), w);
                                    RC_ASSERT(c.world == w);
                                    checker.expect_no_violation(c, &tally);
                                    tried++;
                                }
    });
    EXPECT_EQ(tried % shapes::count, 0u);
}

TEST_P(Conforming, mutants_never_violate)
{
    least_executed = 45;
    for_all_seeds(mutant_chains, [&](uint64_t seed) {
        Rng rng(seed);
        Case c = generated(rng.next(), *GetParam());
        for (unsigned i = 0; i < mutants_in_a_chain; i++) {
            mutate(c, rng);
            c.world.mode = Mode::conforming;
            checker.expect_no_violation(c, &tally);
        }
    });
}

TEST_P(Conforming, random_bytes_never_violate)
{
    least_executed = 40; // no generator: most of it is refused
    for_all_seeds(random_bytes_cases,
                  [&](uint64_t seed) { checker.expect_no_violation(of_random_bytes(seed), &tally); });
}

} // namespace
} // namespace dmaudit::properties
