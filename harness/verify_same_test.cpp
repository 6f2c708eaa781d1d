// A search finds the same however it is run: merged or not, on one thread or two, at once or in parts.
#include "harness/verify_testing.hpp"

#include "harness/walker.hpp"
#include "providers/providers.hpp"

#include <gtest/gtest.h>

#include <map>
#include <set>

namespace dmaudit {
namespace {

VerifyResult run(const std::string& provider, const char* facet, const char* scope, unsigned depth,
                 VerifyLimits limits = {})
{
    limits.depth = depth;
    const dmaudit_provider* p = provider_named(provider);
    EXPECT_TRUE(p) << provider;
    return verify(*verify_scope(scope, facet), *p, limits);
}

struct Depth {
    const char *facet, *scope;
    unsigned depth;
};

// ---- merging ----

using RuleAndOp = std::set<std::pair<std::string_view, unsigned>>;
RuleAndOp found(const VerifyResult& r)
{
    RuleAndOp set;
    for (const VerifyFinding& f : r.findings)
        set.insert({rule(f.key.rule).name, f.key.op});
    return set;
}

class Merging : public testing::TestWithParam<Depth> {};

// With and without merging the same rules are broken by the same ops, on every provider.
TEST_P(Merging, LosesNothing)
{
    const auto [facet, scope, depth] = GetParam();
    unsigned with_findings = 0;
    for (const dmaudit_provider* p : all_providers()) {
        if (!DMAUDIT_HAS(p, state_hash) || (p->promises & DMAUDIT_TRAIT_MAY_ABORT))
            continue;
        if (p->name == std::string_view("broken-counts-instances")) // it remembers earlier cases
            continue;
        VerifyLimits plain;
        plain.merge = false;
        const VerifyResult merged = run(p->name, facet, scope, depth), all = run(p->name, facet, scope, depth, plain);
        EXPECT_TRUE(merged.merging);
        EXPECT_FALSE(all.merging);
        EXPECT_EQ(found(merged), found(all)) << p->name;
        EXPECT_LE(merged.total().states, all.total().states);
        with_findings += !all.findings.empty();
        for (const VerifyFinding& f : merged.findings)
            for (const VerifyFinding& g : all.findings)
                if (f.key == g.key) {
                    EXPECT_EQ(f.depth, g.depth) << p->name;
                }
    }
    EXPECT_GE(with_findings, 2u);
}
INSTANTIATE_TEST_SUITE_P(Scopes, Merging,
                         testing::Values(Depth{"streaming", "deep", 3}, Depth{"coherent", "deep", 3},
                                         Depth{"pool", "deep", 3}, Depth{"scatter", "deep", 3},
                                         Depth{"streaming", "bounce", 2}, Depth{"managed", "deep", 3}));

// ---- the same, however it is run ----

// Cases that end in the same state (by its key) have the same future: whatever comes next ends in the same states, and
// breaks the same rules. On the built-in provider and on some that are broken.
TEST(StateKeys, WithTheSameKeyTheFutureIsTheSame)
{
    struct Nothing final : KnownStates {
        bool known(const StateKey&) const override { return false; }
    } nothing;
    const auto compare = [&](const char* provider, const char* facet, const char* name, unsigned depth, unsigned most) {
        const VerifyScope scope = *verify_scope(name, facet);
        const VerifyLimits limits;
        const Moves moves(scope);
        AtWork at;
        const std::vector<Deadly> none;
        Walker walker(scope, limits, moves, *provider_named(provider), at, none);
        using Path = std::vector<uint64_t>;
        std::map<std::array<uint64_t, 2>, std::vector<Path>> groups; // by key; of all lengths
        std::vector<Path> paths{{}};
        for (unsigned d = 0; d < depth; d++) {
            std::vector<Path> longer;
            for (const Path& path : paths) {
                Reached out;
                walker.expand(path, 0, {}, nullptr, out);
                for (const Reached::State& s : out.states)
                    if (!s.fails) {
                        longer.push_back(path);
                        longer.back().push_back(s.code);
                        groups[walker.key_at(longer.back()).bits].push_back(longer.back());
                    }
            }
            paths = std::move(longer);
        }
        using Future = std::pair<std::set<std::array<uint64_t, 2>>, std::set<std::array<unsigned, 3>>>;
        const auto future = [&](const Path& path, const StateKey& key) {
            Reached out;
            walker.begin_chunk();
            walker.expand(path, 0, key, &nothing, out);
            Future f;
            for (const Reached::State& s : out.states)
                f.first.insert(s.key.bits);
            for (const Reached::Failure& x : out.failures)
                if (x.key.op != op_count) // at the end the order of giving back counts
                    f.second.insert({static_cast<unsigned>(x.key.rule), x.key.state, x.key.op});
            return f;
        };
        unsigned compared = 0; // groups come in the order of hashes: any order
        for (const auto& [key, members] : groups) {
            if (members.size() < 2)
                continue;
            const Future first = future(members[0], {key});
            EXPECT_EQ(first, future(members[members.size() / 2], {key})) << provider << ' ' << facet;
            EXPECT_EQ(first, future(members.back(), {key})) << provider << ' ' << facet;
            if (++compared == most)
                break;
        }
        EXPECT_GT(compared, 5u) << facet;
    };
    for (const char* provider : {"builtin", "broken-no-clean-at-sync", "broken-put-keeps-one"}) {
        compare(provider, "streaming", "deep", 3, 400);
        compare(provider, "coherent", "deep", 3, 100);
        compare(provider, "pool", "deep", 3, 100);
        compare(provider, "handles", "deep", 3, 100);
        compare(provider, "noncoherent", "deep", 2, 100);
        compare(provider, "scatter", "deep", 3, 100);
        compare(provider, "managed", "deep", 2, 100);
        compare(provider, "dma_buf", "deep", 2, 100);
        compare(provider, "streaming", "bounce", 2, 100);
        compare(provider, "coherent", "iommu", 2, 100);
    }
}

TEST(Verify, TwoThreadsFindWhatOneFinds)
{
    VerifyLimits two;
    two.threads = 2;
    for (const char* provider : {"builtin", "broken-no-invalidate-at-unmap", "broken-bounce-short-copy-back"})
        for (const bool merge : {true, false}) {
            VerifyLimits one;
            one.merge = two.merge = merge;
            expect_same(run(provider, "streaming", "small", 3, one), run(provider, "streaming", "small", 3, two));
        }
    two.merge = true;
    expect_same(run("builtin", "managed", "small", 3), run("builtin", "managed", "small", 3, two));
    expect_same(run("broken-put-keeps-one", "dma_buf", "deep", 3), run("broken-put-keeps-one", "dma_buf", "deep", 3, two));
}

TEST(Verify, GoesOnWhereItWasInterrupted)
{
    for (const char* provider : {"builtin", "broken-no-invalidate-at-unmap"})
        for (const bool merge : {true, false}) {
            const VerifyScope scope = *verify_scope("small", "streaming");
            VerifyLimits limits;
            limits.depth = 3;
            limits.merge = merge;
            const VerifyResult whole = verify(scope, *provider_named(provider), limits);
            std::string kept;
            unsigned parts = 0;
            for (limits.executions = 1;; limits.executions += 20000) {
                Verifier part(scope, *provider_named(provider), limits);
                if (!kept.empty()) {
                    EXPECT_EQ(part.load(kept), "");
                }
                const VerifyResult& r = part.run();
                parts++;
                kept = part.save();
                limits.threads = 3 - limits.threads;
                if (r.end == VerifyResult::End::complete) {
                    expect_same(whole, r);
                    break;
                }
            }
            EXPECT_GE(parts, 3u);
            limits.executions = 0; // and deeper, if one likes
            limits.depth = 2;
            Verifier shallow(scope, *provider_named(provider), limits), deeper(scope, *provider_named(provider), limits);
            shallow.run();
            EXPECT_EQ(deeper.load(shallow.save()), "");
            deeper.limits().depth = 3;
            expect_same(whole, deeper.run());
        }
}

} // namespace
} // namespace dmaudit
