#include "shadow/rules.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace dmaudit {
namespace {

TEST(Rules, StandInTheOrderOfTheirIds)
{
    for (size_t i = 0; i < rule_count; i++)
        EXPECT_EQ(rules()[i].id, static_cast<RuleId>(i));
    EXPECT_EQ(&rule(RuleId::leak), &rules()[static_cast<size_t>(RuleId::leak)]);
}

TEST(Rules, AreKebabCaseAndFoundByName)
{
    std::set<std::string_view> seen;
    for (const Rule& r : rules()) {
        EXPECT_FALSE(r.name.empty());
        EXPECT_EQ(r.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz-"), r.name.npos) << r.name;
        EXPECT_NE(r.name.front(), '-') << r.name;
        EXPECT_NE(r.name.back(), '-') << r.name;
        EXPECT_TRUE(seen.insert(r.name).second) << r.name << " is there twice";
        EXPECT_EQ(rule_named(r.name), r.id);
    }
    for (const std::string_view unknown : {"", "Overlap", "overlap ", "over", "missing_clean", "clean"})
        EXPECT_EQ(rule_named(unknown), std::nullopt) << unknown;
}

// Cases and bug keys carry the names: none may ever change or move.
TEST(Rules, NamesAndNumbersAreStable)
{
    const std::string_view names[] = {"none",
                                      "overlap",
                                      "outside-arena",
                                      "misaligned",
                                      "beyond-limit",
                                      "crosses-boundary",
                                      "wrong-translation",
                                      "short-block",
                                      "not-zeroed",
                                      "leaks-old-data",
                                      "corrupts-neighbour",
                                      "lost-capacity",
                                      "spurious-failure",
                                      "failure-has-effect",
                                      "wrong-return",
                                      "missing-clean",
                                      "missing-invalidate",
                                      "stale-bounce",
                                      "dirty-eviction",
                                      "mmap-window",
                                      "not-coherent",
                                      "no-progress",
                                      "double-free",
                                      "free-mismatch",
                                      "wrong-kind",
                                      "wrong-device",
                                      "wrong-direction",
                                      "leak",
                                      "overlapping-mapping",
                                      "shared-cache-line",
                                      "bad-length",
                                      "sync-outside",
                                      "sync-without-effect",
                                      "stale-cpu-read",
                                      "dirty-device-read",
                                      "cpu-read-of-device-bytes",
                                      "cpu-write-of-device-bytes",
                                      "device-access-denied",
                                      "device-wrong-direction",
                                      "dirty-line-over-device-data",
                                      "invalidate-destroys-neighbour",
                                      "sync-discards-write",
                                      "free-while-mapped",
                                      "uninitialised-to-device",
                                      "read-of-unwritten",
                                      "use-after-free",
                                      "use-after-unmap",
                                      "out-of-bounds",
                                      "use-after-release",
                                      "wrong-identity",
                                      "auditor-exhausted"};
    ASSERT_GE(rule_count, std::size(names)); // new ones are appended
    for (size_t i = 0; i < std::size(names); i++)
        EXPECT_EQ(rules()[i].name, names[i]);
}

TEST(Rules, SayWhoIsAtFault)
{
    for (const Rule& r : rules()) {
        if (r.id > RuleId::auditor_exhausted)
            break; // appended later: in no order
        const Fault expected = r.id == RuleId::none || r.id == RuleId::auditor_exhausted ? Fault::tool
                               : r.id < RuleId::double_free                              ? Fault::provider
                                                                                         : Fault::client;
        EXPECT_EQ(r.fault, expected) << r.name;
    }
}

TEST(Rules, AreExplainedInOneLineAndHaveAdviceAndAWeakness)
{
    for (const Rule& r : rules()) {
        for (const std::string_view text : {r.meaning, r.advice}) {
            EXPECT_GE(text.size(), 10u) << r.name;
            EXPECT_LE(text.size(), 140u) << r.name;
            EXPECT_EQ(text.find('\n'), text.npos) << r.name;
            EXPECT_NE(text.back(), ' ') << r.name;
        }
        EXPECT_NE(r.meaning.back(), '.') << r.name; // a phrase; advice is sentences
        EXPECT_EQ(r.advice.back(), '.') << r.name;
        EXPECT_EQ(r.cwe != 0, r.id != RuleId::none) << r.name;
    }
}

} // namespace
} // namespace dmaudit
