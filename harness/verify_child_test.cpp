// An exhaustive search of a provider that crashes or hangs: what it does not survive is found, and the rest as well.
#include "harness/verify_testing.hpp"
#include "providers/builtin/builtin.hpp"
#include "providers/providers.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <unistd.h>

namespace dmaudit {
namespace {

// The built-in provider with another way to unmap, or to open.
struct Bad {
    dmaudit_streaming streaming = *builtin_provider().streaming;
    dmaudit_provider provider = builtin_provider();
    explicit Bad(decltype(streaming.unmap_single) unmap)
    {
        streaming.unmap_single = unmap;
        provider.streaming = &streaming;
    }
    Bad(const Bad&) = delete;
};

int abort_at_a_short_unmap(void* ctx, const dmaudit_mapping* m, uint64_t used, uint32_t attrs)
{
    if (m->size == 32 && m->device == 1 && m->direction == DMAUDIT_TO_DEVICE)
        std::abort();
    return builtin_provider().streaming->unmap_single(ctx, m, used, attrs);
}

VerifyResult search(const dmaudit_provider& p, unsigned depth, unsigned threads, bool isolate, VerifyLimits limits = {})
{
    limits.depth = depth;
    limits.threads = threads;
    limits.isolate = isolate;
    return verify(*verify_scope("small", "streaming"), p, limits);
}

TEST(VerifyInChildren, SaysWhatASearchInProcessSays)
{
    for (const char* name : {"builtin", "broken-no-clean-at-map"}) {
        const dmaudit_provider& p = *provider_named(name);
        const unsigned depth = p.name == builtin_provider().name ? 3 : 2;
        const VerifyResult here = search(p, depth, 1, false);
        EXPECT_EQ(here.end, VerifyResult::End::complete);
        EXPECT_EQ(here.findings.empty(), p.name == builtin_provider().name);
        for (const unsigned threads : {1u, 3u})
            expect_same(here, search(p, depth, threads, true));
    }
}

TEST(VerifyInChildren, AMoveThatKillsIsFoundAndTheRestIsSearched)
{
    const Bad bad(abort_at_a_short_unmap);
    VerifyLimits limits;
    limits.deaths = 0;
    const VerifyResult sound = search(builtin_provider(), 2, 1, false);
    const VerifyResult one = search(bad.provider, 2, 1, true, limits);
    EXPECT_EQ(one.end, VerifyResult::End::complete);
    EXPECT_EQ(one.complete, 2u);
    EXPECT_GT(one.deaths, 0u);
    EXPECT_EQ(one.total().violations, one.deaths);
    EXPECT_EQ(one.total().cases, sound.total().cases) << "all of depth 2 is there, and no case is tried twice";
    ASSERT_EQ(one.findings.size(), 1u);
    EXPECT_EQ(one.findings[0].key.rule, RuleId::provider_crash);
    EXPECT_EQ(one.findings[0].cases, one.deaths);
    EXPECT_EQ(one.findings[0].depth, 2u);
    expect_same(one, search(bad.provider, 2, 3, true, limits));
}

TEST(VerifyInChildren, TooManyDeathsEndTheSearch)
{
    const Bad bad([](void*, const dmaudit_mapping*, uint64_t, uint32_t) -> int { _exit(0); });
    VerifyLimits limits;
    limits.deaths = 7;
    const VerifyResult r = search(bad.provider, 3, 1, true, limits);
    EXPECT_EQ(r.end, VerifyResult::End::deaths);
    EXPECT_EQ(r.deaths, 7u);
    EXPECT_EQ(r.complete, 1u);
    ASSERT_EQ(r.findings.size(), 1u);
    EXPECT_EQ(r.findings[0].key.rule, RuleId::provider_crash);
    EXPECT_EQ(r.findings[0].cases, 7u);
    expect_same(r, search(bad.provider, 3, 2, true, limits));
}

// Ended by deaths, saved, and taken up with more patience: as if it had never been interrupted.
TEST(VerifyInChildren, ASearchThatDiedTooOftenGoesOn)
{
    const Bad bad(abort_at_a_short_unmap);
    const VerifyScope scope = *verify_scope("small", "streaming");
    VerifyLimits limits;
    limits.depth = 2;
    limits.isolate = true;
    limits.deaths = 0;
    const VerifyResult at_once = verify(scope, bad.provider, limits);
    ASSERT_GT(at_once.deaths, 1u);
    limits.deaths = at_once.deaths - 1;
    Verifier first(scope, bad.provider, limits);
    EXPECT_EQ(first.run().end, VerifyResult::End::deaths);
    limits.deaths = 0;
    Verifier second(scope, bad.provider, limits);
    ASSERT_EQ(second.load(first.save()), "");
    EXPECT_LT(second.result().deaths, at_once.deaths);
    expect_same(at_once, second.run());
}

TEST(VerifyInChildren, AMoveThatDoesNotEndIsFound)
{
    static volatile bool for_ever = true;
    const Bad bad([](void* ctx, const dmaudit_mapping* m, uint64_t used, uint32_t attrs) -> int {
        while (m->size == 32 && for_ever) {
        }
        return builtin_provider().streaming->unmap_single(ctx, m, used, attrs);
    });
    VerifyLimits limits;
    limits.patience_ms = 400;
    limits.deaths = 20;
    const VerifyResult r = search(bad.provider, 2, 2, true, limits);
    EXPECT_EQ(r.end, VerifyResult::End::deaths);
    EXPECT_EQ(r.deaths, 20u);
    ASSERT_EQ(r.findings.size(), 1u);
    EXPECT_EQ(r.findings[0].key.rule, RuleId::no_progress);
    EXPECT_EQ(r.findings[0].cases, 2u);
}

TEST(VerifyInChildren, AProviderThatDiesWhenOpenedIsFound)
{
    dmaudit_provider dies = builtin_provider();
    dies.open = [](const dmaudit_platform*, void**) -> int { std::abort(); };
    const VerifyResult r = search(dies, 2, 1, true);
    ASSERT_EQ(r.findings.size(), 1u);
    EXPECT_EQ(r.findings[0].key.rule, RuleId::provider_crash);
    EXPECT_EQ(r.findings[0].value.count, 0);
    EXPECT_EQ(r.total().cases, 0u);
}

// What takes more than one case: no case alone shows it, and the search comes to an end all the same.
TEST(VerifyInChildren, ADeathThatNoCaseAloneCausesIsSaid)
{
    static unsigned unmaps;
    unmaps = 0;
    const Bad bad([](void* ctx, const dmaudit_mapping* m, uint64_t used, uint32_t attrs) -> int {
        if (++unmaps == 400)
            std::abort();
        return builtin_provider().streaming->unmap_single(ctx, m, used, attrs);
    });
    VerifyLimits limits;
    limits.deaths = 50;
    const VerifyResult r = search(bad.provider, 3, 1, true, limits);
    EXPECT_GT(r.deaths, 0u);
    ASSERT_FALSE(r.findings.empty());
    EXPECT_EQ(r.findings[0].key.rule, RuleId::provider_crash);
}

} // namespace
} // namespace dmaudit
