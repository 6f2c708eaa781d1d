// Findings in many providers that are wrong, as campaigns report them: what was made small still is the same bug, and
// no step of it can go.
#include "harness/campaign.hpp"
#include "harness/minimise.hpp"
#include "harness/smaller.hpp"
#include "harness/text.hpp"
#include "providers/broken/broken.hpp"
#include "shadow/asan.hpp"

#include <gtest/gtest.h>

#include <string>

namespace dmaudit {
namespace {

#ifdef DMAUDIT_ASAN // several times slower
constexpr unsigned cases = 60, least_findings = 100, least_providers = 50;
#else
constexpr unsigned cases = 250, least_findings = 250, least_providers = 70;
#endif
constexpr std::string_view tried[] = {"all",    "coherent",    "pool",    "streaming", "scatter",
                                      "opaque", "noncoherent", "managed", "dma_buf",   "hostile"};

TEST(Findings, are_minimal_and_replay_to_the_same_bug)
{
    unsigned findings = 0, providers = 0, steps = 0, most = 0;
    std::string without_any;
    for (const dmaudit_provider* p : broken_providers()) {
        if (Child::needed(*p))
            continue; // in child_test
        unsigned of_this = 0;
        for (const std::string_view name : tried) {
            Campaign campaign(*p, *profile_named(name), 1);
            for (unsigned i = 0; i < cases && campaign.findings().size() < 2; i++)
                campaign.step();
            for (const Finding& f : campaign.findings()) {
                SCOPED_TRACE(std::string(p->name) + "\n" + print(f.value));
                if (f.key.rule == RuleId::not_deterministic)
                    continue;
                of_this++, steps += f.value.count, most = std::max<unsigned>(most, f.value.count);
                Session session; // one that saw nothing before
                const auto key = [&](const Case& c) { return key_of(c, execute(c, *p, session)); };
                EXPECT_TRUE(f.one_minimal);
                EXPECT_EQ(key(f.value), f.key);
                EXPECT_EQ(parse(print(f.value)).value, f.value);
                for (unsigned i = 0; i < f.value.count; i++)
                    EXPECT_FALSE(key(without(f.value, i, 1)) == f.key) << "step " << i << " can go";
                Case original;
                generate(f.seed, *profile_named(name), original);
                EXPECT_EQ(key(original), f.key);
                EXPECT_LE(cost_of(f.value), cost_of(original));
            }
        }
        findings += of_this;
        providers += of_this != 0;
        if (!of_this)
            without_any += std::string(" ") + p->name;
    }
    std::printf("[ measured ] %u findings of %u providers, %.1f steps on average, at most %u; none of:%s\n", findings,
                providers, static_cast<double>(steps) / findings, most, without_any.c_str());
    EXPECT_GE(findings, least_findings);
    EXPECT_GE(providers, least_providers);
}

} // namespace
} // namespace dmaudit
