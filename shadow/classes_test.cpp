#include "shadow/classes.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <set>
#include <string>

namespace dmaudit {
namespace {

// Which classes may be answered by documentation, in whole or, of 36 and 39, in part.
const std::set<unsigned> documented{24, 33, 36, 37, 38, 39};

TEST(Classes, are_numbered_1_to_42_and_1_to_20)
{
    ASSERT_EQ(error_classes().size(), 42u);
    ASSERT_EQ(invariants().size(), 20u);
    for (unsigned i = 0; i < 42; i++)
        EXPECT_EQ(error_classes()[i].number, i + 1);
    for (unsigned i = 0; i < 20; i++)
        EXPECT_EQ(invariants()[i].number, i + 1);
}

TEST(Classes, each_has_a_rule_or_says_why_not)
{
    for (const ErrorClass& c : error_classes()) {
        EXPECT_FALSE(c.title.empty());
        EXPECT_TRUE(!c.rules.empty() || !c.answer.empty()) << c.number;
        if (!c.answer.empty()) {
            EXPECT_TRUE(documented.count(c.number)) << c.number << " must have rules";
        }
        EXPECT_EQ(c.cases.empty(), c.rules.empty()) << c.number;
    }
    EXPECT_FALSE(error_classes()[36 - 1].rules.empty());
    for (const Invariant& i : invariants())
        EXPECT_FALSE(i.rules.empty() || i.cases.empty()) << i.number;
}

TEST(Classes, name_rules_that_exist_each_once)
{
    const auto check = [](std::string_view list, unsigned number) {
        std::set<std::string_view> seen;
        for_each_name(list, [&](std::string_view name) {
            EXPECT_TRUE(rule_named(name)) << number << ": " << name;
            EXPECT_TRUE(seen.insert(name).second) << number << ": " << name << " is there twice";
        });
    };
    for (const ErrorClass& c : error_classes())
        check(c.rules, c.number);
    for (const Invariant& i : invariants())
        check(i.rules, i.number);
}

TEST(Classes, every_rule_answers_to_a_class_or_an_invariant)
{
    for (const Rule& r : rules()) {
        if (r.id == RuleId::none)
            continue;
        EXPECT_NE(classes_of(r.id) | invariants_of(r.id), 0u) << r.name;
    }
    EXPECT_EQ(classes_of(RuleId::sync_outside), uint64_t{1} << 14);
    EXPECT_EQ(invariants_of(RuleId::misaligned), 1u << 3);
    EXPECT_EQ(std::popcount(classes_of(RuleId::provider_crash)), 0);
}

} // namespace
} // namespace dmaudit
