#include "harness/campaign.hpp"
#include "harness/scope.hpp"
#include "harness/text.hpp"
#include "providers/builtin/builtin.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace dmaudit {
namespace {

const Profile& profile(std::string_view name)
{
    return *profile_named(name);
}

// A provider with two bugs: it writes behind mappings, and says that a second free is fine.
struct Broken {
    dmaudit_streaming streaming = *builtin_provider().streaming;
    dmaudit_coherent coherent = *builtin_provider().coherent;
    dmaudit_provider provider = builtin_provider();
    Broken()
    {
        streaming.sync = [](void*, const dmaudit_mapping*, uint64_t, uint64_t, uint32_t, uint32_t) -> int {
            return DMAUDIT_OK;
        };
        coherent.alloc = [](void* ctx, const dmaudit_request* r, dmaudit_block* out) -> int {
            const int rc = builtin_provider().coherent->alloc(ctx, r, out);
            if (rc == DMAUDIT_OK && out->cpu)
                static_cast<uint8_t*>(out->cpu)[0] = 1;
            return rc;
        };
        provider.streaming = &streaming;
        provider.coherent = &coherent;
    }
    Broken(const Broken&) = delete;
};

void steps(Campaign& c, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        c.step();
}

TEST(Campaign, finds_nothing_in_the_built_in_provider)
{
    for (const Profile& p : profiles()) {
        Campaign c(builtin_provider(), p, 1);
        steps(c, 300);
        EXPECT_TRUE(c.findings().empty()) << p.name << "\n" << print(c.findings().front().value);
        EXPECT_EQ(c.tally().cases, 300u);
        EXPECT_EQ(c.next_seed(), 301u);
    }
}

TEST(Campaign, in_a_hostile_profile_a_client_s_mistake_is_counted_but_no_finding)
{
    Campaign c(builtin_provider(), profile("hostile"), 1);
    steps(c, 300);
    uint64_t client = 0, others = 0;
    for (size_t i = 0; i < rule_count; i++)
        (rules()[i].fault == Fault::client ? client : others) += c.violations()[i];
    EXPECT_GT(client, 150u) << "hostile cases that break nothing are wasted";
    EXPECT_EQ(others, 0u);
    EXPECT_TRUE(c.findings().empty());
}

TEST(Campaign, a_finding_is_a_valid_small_case_that_still_fails_in_the_same_way)
{
    const Broken broken;
    Campaign c(broken.provider, profile("all"), 1);
    steps(c, 1000);
    ASSERT_GE(c.findings().size(), 2u);
    Session fresh;
    for (const Finding& f : c.findings()) {
        EXPECT_EQ(case_error(f.value), "");
        EXPECT_EQ(f.value.expect, (Expect{Expect::violation, f.key.rule}));
        const Result r = execute(f.value, broken.provider, fresh);
        ASSERT_TRUE(r.violation) << print(f.value);
        EXPECT_EQ(key_of(f.value, r), f.key);
        EXPECT_TRUE(f.one_minimal);
        EXPECT_LE(f.value.count, 8u) << print(f.value);
        Case original;
        generate(f.seed, profile("all"), original);
        EXPECT_EQ(key_of(original, execute(original, broken.provider, fresh)), f.key) << "the seed it was found with";
        EXPECT_LE(f.value.count, original.count);
    }
}

TEST(Campaign, the_same_bug_is_one_finding_however_often_it_strikes)
{
    const Broken broken;
    Campaign c(broken.provider, profile("all"), 1);
    steps(c, 200);
    std::set<std::string> keys;
    uint64_t struck = 0;
    for (const Finding& f : c.findings())
        EXPECT_TRUE(keys.insert(key_lines(f.key)).second) << key_lines(f.key);
    for (const uint64_t n : c.violations())
        struck += n;
    EXPECT_GT(struck, c.findings().size());
}

TEST(Campaign, the_same_seeds_give_the_same_findings)
{
    const Broken broken;
    const auto texts = [&](unsigned split) {
        std::string all;
        Campaign c(broken.provider, profile("all"), 7);
        steps(c, split);
        steps(c, 100 - split);
        for (const Finding& f : c.findings())
            all += std::to_string(f.seed) + "\n" + print(f.value);
        return all;
    };
    const std::string once = texts(0);
    EXPECT_FALSE(once.empty());
    EXPECT_EQ(once, texts(50));
}

} // namespace
} // namespace dmaudit
