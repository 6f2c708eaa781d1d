// The figures of a score, on trials whose figures are known.
#include "score/figures.hpp"

#include "score/output.hpp"

#include <gtest/gtest.h>

namespace dmaudit::score {
namespace {

std::vector<Lasted> seen(std::initializer_list<double> times)
{
    std::vector<Lasted> v;
    for (const double t : times)
        v.push_back({t, true});
    return v;
}

TEST(Waiting, the_median_is_the_middle_one_in_any_order)
{
    EXPECT_EQ(waiting(seen({30, 10, 20})).median, 20);
    EXPECT_EQ(waiting(seen({40, 10, 20, 30})).median, 25);
}

TEST(Waiting, who_did_not_see_it_took_longer_than_all_who_did)
{
    EXPECT_EQ(waiting({{5, false}, {10, true}, {20, true}}).median, 20);
    EXPECT_FALSE(waiting({{5, false}, {5, false}, {1, true}}).median);
    EXPECT_FALSE(waiting({{5, false}, {5, false}, {1, true}, {2, true}}).median) << "half is not enough";
}

// The tables of binomial intervals: with 5 trials the extremes hold the median with 1 - 2/32, with 6 with 1 - 2/64;
// with 9 the second from each side does, with 1 - 2 (1 + 9) / 512.
TEST(Waiting, the_interval_is_the_narrowest_that_holds_95_percent)
{
    const Waiting five = waiting(seen({1, 2, 3, 4, 5}));
    EXPECT_EQ(five.low, 1);
    EXPECT_EQ(five.high, 5);
    EXPECT_DOUBLE_EQ(five.confidence, 0.9375);
    const Waiting six = waiting(seen({1, 2, 3, 4, 5, 6}));
    EXPECT_EQ(six.low, 1);
    EXPECT_DOUBLE_EQ(six.confidence, 1 - 2.0 / 64);
    const Waiting nine = waiting(seen({1, 2, 3, 4, 5, 6, 7, 8, 9}));
    EXPECT_EQ(nine.low, 2);
    EXPECT_EQ(nine.high, 8);
    EXPECT_DOUBLE_EQ(nine.confidence, 1 - 20.0 / 512);
}

TEST(Waiting, one_trial_has_no_interval)
{
    const Waiting w = waiting({{7, true}});
    EXPECT_EQ(w.median, 7);
    EXPECT_FALSE(w.low);
    EXPECT_FALSE(w.high);
}

TEST(Waiting, an_interval_may_be_open)
{
    const Waiting w = waiting({{1, true}, {2, true}, {3, true}, {9, false}, {9, false}, {9, false}});
    EXPECT_EQ(w.low, 1);
    EXPECT_FALSE(w.high);
}

TEST(Survival, without_censoring_it_is_the_share_that_is_left)
{
    const Survival s = survival(seen({10, 20, 20, 40}));
    EXPECT_DOUBLE_EQ(s.at(9), 1);
    EXPECT_DOUBLE_EQ(s.at(10), 0.75);
    EXPECT_DOUBLE_EQ(s.at(39), 0.25);
    EXPECT_DOUBLE_EQ(s.at(40), 0);
}

// The example that every text book has: one who leaves at 15 counts among those at risk until then and no longer.
TEST(Survival, who_was_not_watched_longer_leaves_the_risk_set)
{
    const Survival s = survival({{10, true}, {15, false}, {20, true}, {30, false}});
    EXPECT_DOUBLE_EQ(s.at(10), 0.75);
    EXPECT_DOUBLE_EQ(s.at(20), 0.75 * 0.5);
    EXPECT_DOUBLE_EQ(s.at(100), 0.75 * 0.5);
}

Trial trial(Trial::Outcome outcome, uint64_t executions, RuleId rule = RuleId::none)
{
    Trial t;
    t.outcome = outcome;
    t.executions = executions;
    t.rule = rule;
    return t;
}

Campaign two_bugs()
{
    Campaign c;
    c.subjects = {{"first", "", "", "", {RuleId::overlap}, 1, ""}, {"second", "", "", "", {RuleId::overlap}, 1, ""}};
    c.engines = {&engines()[0]};
    c.seeds = 2;
    c.budget = 1000;
    c.trials = {trial(Trial::violation, 5, RuleId::overlap), trial(Trial::violation, 7, RuleId::misaligned),
                trial(Trial::missed, 1000), trial(Trial::crashed, 100)};
    c.trials[2].first_reached = 3;
    return c;
}

TEST(Result, a_rule_is_right_only_if_it_was_expected)
{
    const Result r = result(two_bugs(), 0, 0);
    EXPECT_EQ(r.detected, 2u);
    EXPECT_EQ(r.right, 1u);
    EXPECT_EQ(r.other_rules, std::vector<RuleId>{RuleId::misaligned});
}

TEST(Result, a_crash_counts_as_detected_and_triggered_but_names_no_rule)
{
    const Result r = result(two_bugs(), 1, 0);
    EXPECT_EQ(r.reached, 2u);
    EXPECT_EQ(r.triggered, 1u);
    EXPECT_EQ(r.detected, 1u);
    EXPECT_EQ(r.crashed, 1u);
    EXPECT_EQ(r.right, 0u);
}

TEST(Total, what_did_not_run_is_no_miss)
{
    Campaign c = two_bugs();
    EXPECT_EQ(total(c, 0).subjects, 2u);
    EXPECT_EQ(total(c, 0).by_all_seeds, 1u);
    EXPECT_EQ(total(c, 0).by_some, 1u);
    c.trials[2] = c.trials[3] = trial(Trial::unusable, 0);
    EXPECT_EQ(total(c, 0).subjects, 1u);
    EXPECT_EQ(total(c, 0).unusable, 1u);
    EXPECT_EQ(total(c, 0).by_none, 0u);
}

TEST(Text, an_engine_for_comparison_has_a_budget_of_its_own_and_says_nothing_of_what_is_beyond)
{
    Campaign c = two_bugs();
    EXPECT_EQ(budget_text(c), "1000 executions");
    c.engines = {&engines()[0], engine_named("bytes")};
    ASSERT_TRUE(c.engines[1] && c.engines[1]->for_comparison);
    c.trials.resize(8, trial(Trial::missed, 100));
    c.comparison_budget = 2000;
    EXPECT_EQ(c.budget_of(*c.engines[1]), 1000u) << "never more than the others";
    c.comparison_budget = 100;
    EXPECT_EQ(c.budget_of(*c.engines[0]), 1000u);
    EXPECT_EQ(budget_text(c), "1000 executions (bytes: 100)");
    const std::string text = as_text(c, {});
    const size_t row = text.rfind("\nbytes");
    ASSERT_NE(row, text.npos);
    EXPECT_TRUE(text.substr(row, text.find('\n', row + 1) - row).ends_with("-")) << text;
}

// A trial that was cut short says nothing of what would have come.
TEST(Text, says_nothing_of_what_no_trial_lasted_for)
{
    Campaign c = two_bugs();
    EXPECT_TRUE(total(c, 0).alive.known_at(1000)) << "who missed it had all of its budget";
    c.trials[0] = c.trials[1] = c.trials[2] = c.trials[3] = trial(Trial::cut_short, 100);
    EXPECT_TRUE(total(c, 0).alive.known_at(100));
    EXPECT_FALSE(total(c, 0).alive.known_at(101));
    const std::string text = as_text(c, {});
    EXPECT_NE(text.find("4 of 4 trials were cut short by --time-limit"), text.npos) << text;
    EXPECT_NE(text.find("2 cut short"), text.npos) << text;
    const size_t row = text.find('\n', text.find("alive after")) + 1;
    EXPECT_TRUE(text.substr(row, text.find('\n', row) - row).ends_with("-")) << text;
    c.trials[0] = trial(Trial::unusable, 0);
    c.trials[0].problem = Trial::interrupted;
    EXPECT_NE(as_text(c, {}).find("interrupted: 1 trials"), text.npos);
}

TEST(Header, tells_line_and_key_of_what_it_cannot_read)
{
    const std::string head = "Id: a\nFamily: A reuse\nReal: own\nDoc: what it does\n";
    Subject s;
    EXPECT_EQ(take_header("a.patch", head + "Expect: overlap, lost-capacity\nDepth: 3\n\n--- diff", s), "");
    EXPECT_EQ(s.expected, (std::vector<RuleId>{RuleId::overlap, RuleId::lost_capacity}));
    EXPECT_EQ(s.depth, 3u);
    const auto error = [](const std::string& text) {
        Subject unused;
        return take_header("a.patch", text, unused);
    };
    EXPECT_EQ(error(head + "Expect: overlapp\nDepth: 3\n\n"), "a.patch: Expect: there is no rule `overlapp`");
    EXPECT_EQ(error("Id a\n"), "a.patch:1: expected `Id: ...`, found `Id a`");
    EXPECT_EQ(error("Id: a\n\nExpect: overlap\n"), "a.patch:2: expected `Family: ...`, found ``");
    EXPECT_EQ(error(head + "Expect: overlap\nDepth: many\n\n"), "a.patch:6: expected a number of steps, found `many`");
    EXPECT_EQ(error(head + "Expect: overlap\nDepth: 3\n--- diff"), "a.patch:7: expected an empty line after the header");
}

TEST(Brief, three_digits_or_so)
{
    EXPECT_EQ(brief(0), "0");
    EXPECT_EQ(brief(999), "999");
    EXPECT_EQ(brief(1000), "1k");
    EXPECT_EQ(brief(1234), "1.2k");
    EXPECT_EQ(brief(99'950), "100k");
    EXPECT_EQ(brief(1'000'000), "1M");
}

TEST(Page, ids_are_escaped)
{
    Campaign c = two_bugs();
    c.subjects[0].id = "<script>";
    const std::string page = as_page(c, {});
    EXPECT_EQ(page.find("<script>"), std::string::npos);
    EXPECT_NE(page.find("&lt;script&gt;"), std::string::npos);
}

} // namespace
} // namespace dmaudit::score
