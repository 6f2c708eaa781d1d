// A trial ends however its subject behaves, and says how: found, missed, crashed, hung, too long.
#include "score/trial.hpp"

#include <chrono>
#include <csignal>
#include <gtest/gtest.h>
#include <thread>
#include <unistd.h>

namespace dmaudit::score {
namespace {

const Subject broken{"broken-no-clean-at-map", "broken-no-clean-at-map", "", "", {RuleId::missing_clean}, 4, ""};
const Subject builtin{"builtin", "builtin", "", "", {RuleId::missing_clean}, 4, ""};

Trial run(const Engine& engine, const Subject& subject, uint64_t budget = 1000, Switches switches = {},
          Limits limits = {30, 20})
{
    Trial out;
    run_trials(
        {{&subject, &engine, 1, budget, switches, "", ""}}, 1, limits, [&](size_t, const Trial& t) { out = t; },
        [] { return false; });
    return out;
}

TEST(Trial, finds_a_broken_provider_and_nothing_in_a_sound_one)
{
    const Engine& random = *engine_named("random");
    const Trial found = run(random, broken);
    EXPECT_EQ(found.outcome, Trial::violation);
    EXPECT_NE(found.key, "");
    EXPECT_LT(found.executions, 1000u);
    const Trial missed = run(random, builtin);
    EXPECT_EQ(missed.outcome, Trial::missed) << missed.key;
    EXPECT_EQ(missed.executions, 1000u);
}

TEST(Trial, the_same_seed_does_the_same)
{
    for (const char* name : {"random", "properties", "exhaustive"}) {
        const Trial a = run(*engine_named(name), broken, 5000), b = run(*engine_named(name), broken, 5000);
        EXPECT_EQ(a.executions, b.executions) << name;
        EXPECT_EQ(a.key, b.key) << name;
        EXPECT_TRUE(a.detected()) << name;
    }
}

TEST(Trial, a_crash_is_a_finding)
{
    const Engine crashes{"crashes", "", [](const Job&, Progress& p, int) {
                             p.state = Progress::running;
                             p.executions = 7;
                             signal(SIGABRT, SIG_DFL);
                             abort();
                         }};
    const Trial t = run(crashes, builtin);
    EXPECT_EQ(t.outcome, Trial::crashed);
    EXPECT_EQ(t.executions, 7u);
}

TEST(Trial, who_ends_before_the_first_execution_has_found_nothing)
{
    const Engine refuses{"refuses", "", [](const Job&, Progress& p, int) {
                             p.state = Progress::running;
                             std::fputs("no such seeds", stderr);
                             std::fflush(stderr);
                             _exit(1);
                         }};
    const Trial t = run(refuses, builtin);
    EXPECT_EQ(t.outcome, Trial::unusable);
    EXPECT_FALSE(t.detected());
    EXPECT_EQ(t.problem, "no such seeds");
}

TEST(Trial, a_hang_is_a_finding_and_a_slow_one_is_cut_short)
{
    const Engine hangs{"hangs", "", [](const Job&, Progress& p, int) {
                           p.state = Progress::running;
                           pause();
                       }};
    EXPECT_EQ(run(hangs, builtin, 10, {}, {30, 0.2}).outcome, Trial::hung);
    EXPECT_EQ(run(hangs, builtin, 10, {}, {0.2, 30}).outcome, Trial::cut_short);
    EXPECT_FALSE(run(hangs, builtin, 10, {}, {0.2, 30}).detected());
}

TEST(Trial, those_that_run_and_those_that_wait_end_when_it_is_stopped)
{
    const Engine hangs{"hangs", "", [](const Job&, Progress& p, int) {
                           p.state = Progress::running;
                           for (;;)
                               pause();
                       }};
    std::vector<Trial> ended;
    unsigned looks = 0;
    run_trials(
        {3, {&builtin, &hangs, 1, 10, {}, "", ""}}, 2, {30, 30}, [&](size_t, const Trial& t) { ended.push_back(t); },
        [&] { return ++looks == 2; });
    ASSERT_EQ(ended.size(), 3u);
    for (const Trial& t : ended) {
        EXPECT_EQ(t.outcome, Trial::unusable);
        EXPECT_EQ(t.problem, Trial::interrupted);
    }
}

TEST(Trial, what_cannot_run_says_why)
{
    const Subject none{"none", "no-such-provider", "", "", {RuleId::overlap}, 1, ""};
    const Trial t = run(*engine_named("random"), none);
    EXPECT_EQ(t.outcome, Trial::unusable);
    EXPECT_NE(t.problem.find("no-such-provider"), std::string::npos);
    EXPECT_NE(run(*engine_named("structured"), broken).problem.find("is not built"), std::string::npos);
}

TEST(Switches, a_sound_provider_stays_sound_with_anything_off)
{
    for (const Switch& s : switches()) {
        Switches off;
        off.*s.member = false;
        const Trial t = run(*engine_named("random"), builtin, 1500, off);
        EXPECT_EQ(t.outcome, Trial::missed) << s.name << " " << t.key << t.problem;
    }
}

// Each switch makes a difference where it should: these are found only with it on.
TEST(Switches, what_is_off_is_really_off)
{
    const auto off = [](bool Switches::*member) {
        Switches s;
        s.*member = false;
        return s;
    };
    const Engine& random = *engine_named("random");
    EXPECT_TRUE(run(random, broken).detected());
    EXPECT_FALSE(run(random, broken, 1000, off(&Switches::views)).detected()) << "one view has nothing to clean";
    EXPECT_FALSE(run(random, broken, 1000, off(&Switches::oracles)).detected()) << "nothing crashes";
    const Subject answers{"broken-accepts-zero", "broken-accepts-zero", "", "", {}, 1, ""};
    EXPECT_TRUE(run(random, answers, 3000).detected());
    EXPECT_FALSE(run(random, answers, 3000, off(&Switches::shadow)).detected()) << "no data is wrong";
    const Trial with = run(random, answers, 3000), without = run(random, answers, 3000, off(&Switches::swarm));
    EXPECT_NE(with.executions, without.executions) << "other cases are tried";
}

} // namespace
} // namespace dmaudit::score
