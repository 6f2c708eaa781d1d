#include "harness/verify.hpp"

#include "harness/scope.hpp"
#include "harness/state_key.hpp"
#include "harness/text.hpp"
#include "providers/providers.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <set>

namespace dmaudit {
namespace {

using OneRun = Run; // a test has a member of that name

const dmaudit_provider& builtin()
{
    return *provider_named("builtin");
}

VerifyResult run(const std::string& provider, const char* facet, const char* scope, unsigned depth,
                 VerifyLimits limits = {})
{
    limits.depth = depth;
    const dmaudit_provider* p = provider_named(provider);
    EXPECT_TRUE(p) << provider;
    return verify(*verify_scope(scope, facet), *p, limits);
}

// ---- enumerating ----

TEST(Choices, GoEveryWayOnceInOrder)
{
    std::vector<std::vector<uint64_t>> seen;
    Choices c;
    do {
        std::vector<uint64_t> way{c.choose(3)};
        if (way[0] == 1)
            continue; // a way that ends early
        way.push_back(c.choose(2));
        if (way[1])
            way.push_back(c.choose(2));
        seen.push_back(way);
    } while (c.next());
    const std::vector<std::vector<uint64_t>> all{{0, 0}, {0, 1, 0}, {0, 1, 1}, {2, 0}, {2, 1, 0}, {2, 1, 1}};
    EXPECT_EQ(seen, all);
}

TEST(Choices, HaveACodeEach)
{
    const auto go = [](Choices& c) {
        std::vector<uint64_t> way{c.choose(3)};
        for (uint64_t n = way[0]; n--;)
            way.push_back(c.choose(2 + n));
        return way;
    };
    Choices c;
    std::set<uint64_t> codes;
    do {
        const auto way = go(c);
        EXPECT_TRUE(codes.insert(c.code()).second);
        Choices again = Choices::at(c.code() + 5 * c.ways());
        EXPECT_EQ(go(again), way);
        EXPECT_EQ(again.rest(), 5u);
    } while (c.next());
    EXPECT_EQ(codes.size(), 1u + 2 + 6);
}

TEST(Adversaries, HaveACodeEach)
{
    std::set<uint64_t> codes{Adversary{}.code()};
    for (const auto kind : {Adversary::fail, Adversary::evict, Adversary::prefetch})
        for (unsigned nth = 1; nth < 9; nth++)
            for (unsigned line = 0; line < 7; line++) {
                const Adversary a{kind, nth, line}, b = Adversary::at(a.code());
                EXPECT_TRUE(codes.insert(a.code()).second);
                EXPECT_TRUE(a.kind == b.kind && a.nth == b.nth && a.line == b.line);
            }
}

// ---- what a scope covers ----

// An op that is added is enumerated in the scopes of its facets, or this says that it is not. By the last op of cases.
TEST(Verify, EveryOpIsCarriedOut)
{
    std::array<uint64_t, op_count> by_op{};
    uint64_t faults = 0;
    for (const std::string_view facet : verify_facets()) {
        if (facet == "all")
            continue;
        VerifyScope scope = *verify_scope("deep", facet);
        VerifyLimits limits;
        limits.depth = 4;
        scope.adversary = false;
        const VerifyResult r = verify(scope, builtin(), limits);
        for (size_t op = 0; op < op_count; op++)
            by_op[op] += r.by_op[op];
        scope.adversary = true;
        limits.depth = 2;
        const VerifyResult with = verify(scope, builtin(), limits);
        by_op[Ops::index_of<ops::Evict>()] += with.total().evictions;
        faults += with.total().faults;
    }
    // Set by the adversary inside another op, where it would change something.
    by_op[Ops::index_of<ops::Fail>()] += faults;
    for (const uint8_t op : {Ops::index_of<ops::AtEnd>(), Ops::index_of<ops::FailOpen>()})
        by_op[op] = 1; // not: they speak of what comes after the case, and lead to no other state
    by_op[Ops::index_of<ops::Starve>()] = faults; // each call that it would make fail fails by itself
    by_op[Ops::index_of<ops::Prefetch>()] += run("builtin", "streaming", "small", 3).total().evictions;
    for (size_t op = 0; op < op_count; op++)
        EXPECT_GT(by_op[op], 0u) << specs()[op].name << " is in no scope: its values are in harness/moves.cpp";
}

TEST(Verify, ScopesAndFacetsHaveNames)
{
    for (const std::string_view scope : verify_scopes())
        for (const std::string_view facet : verify_facets()) {
            const auto s = verify_scope(scope, facet);
            ASSERT_TRUE(s) << scope << ' ' << facet;
            EXPECT_EQ(world_error(s->world), "") << scope << ' ' << facet;
            EXPECT_FALSE(Moves(*s).ops().empty());
        }
    EXPECT_FALSE(verify_scope("small", "nonsense"));
    EXPECT_FALSE(verify_scope("nonsense", "pool"));
}

// ---- the built-in provider ----

struct Depth {
    const char *facet, *scope;
    unsigned depth;
};
class Clean : public testing::TestWithParam<Depth> {};

TEST_P(Clean, TheBuiltInProviderIs)
{
    const auto [facet, scope, depth] = GetParam();
    const VerifyResult r = run("builtin", facet, scope, depth);
    EXPECT_EQ(r.end, VerifyResult::End::complete);
    EXPECT_EQ(r.complete, depth);
    EXPECT_GT(r.total().cases, 50u);
    EXPECT_GT(r.total().merged, 0u);
    EXPECT_EQ(r.strayed, 0u);
    for (const VerifyFinding& f : r.findings)
        ADD_FAILURE() << rule(f.key.rule).name << " at depth " << f.depth;
}
INSTANTIATE_TEST_SUITE_P(Small, Clean,
                         testing::Values(Depth{"streaming", "small", 2}, Depth{"coherent", "small", 2},
                                         Depth{"pool", "small", 4}, Depth{"handles", "small", 3},
                                         Depth{"noncoherent", "small", 2}, Depth{"scatter", "small", 2},
                                         Depth{"managed", "small", 3}, Depth{"dma_buf", "small", 2},
                                         Depth{"all", "small", 1}));
INSTANTIATE_TEST_SUITE_P(Deep, Clean,
                         testing::Values(Depth{"streaming", "deep", 4}, Depth{"coherent", "deep", 3},
                                         Depth{"dma_buf", "deep", 3}));
INSTANTIATE_TEST_SUITE_P(Iommu, Clean,
                         testing::Values(Depth{"streaming", "iommu", 2}, Depth{"coherent", "iommu", 2},
                                         Depth{"scatter", "iommu", 2}, Depth{"dma_buf", "iommu", 2}));
INSTANTIATE_TEST_SUITE_P(Bounce, Clean,
                         testing::Values(Depth{"streaming", "bounce", 3}, Depth{"scatter", "bounce", 2},
                                         Depth{"dma_buf", "bounce", 2}));

// ---- providers that are not ----

struct Broken {
    const char *provider, *facet, *scope;
    unsigned depth; // at which the first violation is found, and not before
    const char *rule, *op;
};
class Found : public testing::TestWithParam<Broken> {};

TEST_P(Found, AtItsDepth)
{
    const Broken b = GetParam();
    if (b.depth > 1) {
        EXPECT_TRUE(run(b.provider, b.facet, b.scope, b.depth - 1).findings.empty());
    }
    const VerifyResult r = run(b.provider, b.facet, b.scope, b.depth);
    ASSERT_FALSE(r.findings.empty());
    bool met = false;
    for (const VerifyFinding& f : r.findings) {
        const std::string_view op = f.key.op == op_count ? "end" : specs()[f.key.op].name;
        met |= rule(f.key.rule).name == b.rule && op == b.op;
        EXPECT_EQ(f.depth, b.depth);
        EXPECT_EQ(case_error(f.value), "");
        Session session; // the case says the same to everybody
        EXPECT_EQ(key_of(f.value, execute(f.value, *provider_named(b.provider), session)), f.key);
    }
    EXPECT_TRUE(met) << b.rule << ' ' << b.op;
    EXPECT_GT(r.total().violations, 0u);
}
INSTANTIATE_TEST_SUITE_P(
    Defects, Found,
    // The first case that shows a defect may be one that ends: `end` is when everything is given back.
    testing::Values(Broken{"broken-no-clean-at-map", "streaming", "small", 2, "missing-invalidate", "map_single"},
                    Broken{"broken-no-invalidate-at-unmap", "streaming", "small", 3, "missing-invalidate", "end"},
                    Broken{"broken-no-clean-at-sync", "streaming", "deep", 4, "missing-clean",
                           "sync_single_for_device"},
                    Broken{"broken-opaque-not-cleared", "handles", "small", 4, "leaks-old-data", "mmap_coherent"},
                    Broken{"broken-failure-leaves-pages-uncached", "coherent", "small", 1, "failure-has-effect",
                           "alloc_coherent"}, // a fault inside the call
                    Broken{"broken-keeps-translation", "streaming", "iommu", 2, "still-reachable", "end"},
                    Broken{"broken-bounce-no-copy-in", "streaming", "bounce", 3, "stale-bounce", "end"}));

// What only shows when something happens inside a call: a fault there, a dirty line that is evicted there.
struct OnlyInside {
    const char *what, *scope, *facet;
    unsigned depth;
    dmaudit_provider provider;
};

// Scribbles over what a device that does not snoop wrote, and drops it from the cache again before the call returns.
int unmap_scribbles(void* ctx, const dmaudit_mapping* m, uint64_t used, uint32_t attrs)
{
    if (m->device == 0 && m->direction == DMAUDIT_FROM_DEVICE && !(attrs & DMAUDIT_ATTR_SKIP_CPU_SYNC))
        std::memset(m->cpu, 0xee, m->size);
    return builtin().streaming->unmap_single(ctx, m, used, attrs);
}

TEST(Verify, WhatHappensInsideACallIsEnumerated)
{
    dmaudit_streaming streaming = *builtin().streaming;
    streaming.unmap_single = unmap_scribbles;
    dmaudit_provider scribbles = builtin();
    scribbles.streaming = &streaming;
    const OnlyInside defects[] = {
        {"a fault", "small", "coherent", 1, *provider_named("broken-ignores-uncache-failure")},
        {"an eviction", "deep", "streaming", 4, scribbles},
    };
    for (const OnlyInside& d : defects) {
        VerifyLimits limits;
        limits.depth = d.depth;
        VerifyScope scope = *verify_scope(d.scope, d.facet);
        const VerifyResult with = verify(scope, d.provider, limits);
        EXPECT_FALSE(with.findings.empty()) << d.what;
        for (const VerifyFinding& f : with.findings) {
            ASSERT_GE(f.value.count, 2) << d.what;
            const Step& before = f.value.steps[f.value.count - 2];
            EXPECT_EQ(specs()[before.op].actor, Actor::machine) << print(f.value);
        }
        scope.adversary = false;
        const VerifyResult without = verify(scope, d.provider, limits);
        EXPECT_TRUE(without.findings.empty()) << d.what << print(without.findings[0].value);
    }
}

// ---- states ----

// The hash of a state is as good as the state itself.
TEST(StateKeys, AreDifferentForDifferentWords)
{
    std::map<std::vector<uint64_t>, std::array<uint64_t, 2>> by_words;
    std::map<std::array<uint64_t, 2>, std::vector<uint64_t>> by_key;
    uint64_t looked = 0;
    VerifyLimits limits;
    limits.look = [&](const OneRun& r, const Session& s) {
        std::vector<uint64_t> words;
        const StateKey key = *state_key(r, s, &words);
        looked++;
        EXPECT_EQ(by_words.emplace(words, key.bits).first->second, key.bits);
        EXPECT_EQ(by_key.emplace(key.bits, words).first->second, words);
    };
    for (const char* facet : {"streaming", "coherent", "pool", "scatter", "managed", "noncoherent"})
        run("builtin", facet, "deep", 3, limits);
    EXPECT_EQ(by_words.size(), by_key.size());
    EXPECT_GT(looked, 2 * by_key.size());
}

// Two mappings, made in either order, with other numbers: the same state. And what differs is another one.
TEST(StateKeys, DoNotDependOnNames)
{
    std::map<std::string, std::array<uint64_t, 2>> keys;
    const auto key_after = [&](std::initializer_list<std::array<uint64_t, 3>> maps) {
        Case c;
        c.world = verify_scope("small", "streaming")->world;
        Session session;
        session.open(c.world, builtin());
        Tally tally;
        OneRun run(c, session, builtin(), tally);
        run.step({Ops::index_of<ops::Buffer>(), {name_of(obj_buffer, 0), 128, 0}});
        for (const auto& m : maps)
            run.step({Ops::index_of<ops::MapSingle>(),
                      {name_of(obj_mapping, static_cast<unsigned>(m[0])), name_of(obj_buffer, 0), m[1], 64, m[2], 0}});
        return state_key(run, session)->bits;
    };
    const auto both = key_after({{0, 0, 1}, {1, 64, 2}});
    EXPECT_EQ(both, key_after({{1, 0, 1}, {0, 64, 2}}));
    EXPECT_EQ(both, key_after({{0, 64, 2}, {1, 0, 1}})) << "in the other order";
    EXPECT_NE(both, key_after({{0, 0, 1}, {1, 64, 1}})) << "another direction";
    EXPECT_NE(both, key_after({{0, 0, 1}})) << "one mapping";
}

// Of a byte all three values count, and the flags of its line.
TEST(StateKeys, HoldAllOfTheCache)
{
    const VerifyScope scope = *verify_scope("small", "streaming");
    const auto key_after = [&](auto tamper) {
        Case c;
        c.world = scope.world;
        Session session;
        session.open(c.world, builtin());
        Tally tally;
        OneRun run(c, session, builtin(), tally);
        const uint64_t at = session.machine().ram_size() - 2048;
        const uint8_t value = 7;
        session.machine().cache().write(at, 1, &value); // a device's: D, and S is kept
        tamper(session.machine(), at);
        return state_key(run, session)->bits;
    };
    const auto plain = key_after([](Machine&, uint64_t) {});
    EXPECT_EQ(plain, key_after([](Machine&, uint64_t) {}));
    std::set<std::array<uint64_t, 2>> keys{plain};
    const auto differs = [&](auto tamper) { return keys.insert(key_after(tamper)).second; };
    EXPECT_TRUE(differs([](Machine& m, uint64_t at) { m.door()[at] = 9; })) << "C";
    EXPECT_TRUE(differs([](Machine& m, uint64_t at) {
        const uint8_t value = 9;
        m.cache().write(at, 1, &value);
    })) << "D";
    EXPECT_TRUE(differs([](Machine& m, uint64_t at) { // D as before, S another
        const uint8_t value = 7, other = 9;
        m.cache().invalidate(at, 1);
        m.cache().coherent_write(at, 1, &other);
        m.cache().write(at, 1, &value);
        m.door()[at] = Ram::initial_page()[at % 4096];
    })) << "S";
    EXPECT_TRUE(differs([](Machine& m, uint64_t at) { m.cache().wrote(at, 1); })) << "forced dirty";
    EXPECT_TRUE(differs([](Machine& m, uint64_t) { m.cache().set_uncached(0, 4096, true); })) << "uncached";
}

// A move that the client may not make leaves no trace, so that the next one can be tried in the same session.
TEST(Verify, RefusedMovesChangeNothing)
{
    VerifyLimits limits;
    limits.check_refused = true;
    for (const std::string_view facet : verify_facets()) {
        const VerifyResult r = run("builtin", std::string(facet).c_str(), "deep", facet == "all" ? 1 : 2, limits);
        EXPECT_EQ(r.refused_with_effect, 0u) << facet;
    }
    const VerifyResult r = run("builtin", "streaming", "small", 3, limits);
    EXPECT_GT(r.total().refused, 1000u);
    EXPECT_EQ(r.refused_with_effect, 0u);
}

// ---- the protocol, on the real auditor ----

// After every case, with several mappings, faults, evictions and all: each byte is in a declared state, and in one that
// fits the mappings that the registry has over it.
TEST(Verify, BytesAreInDeclaredStatesThatFitTheRegistry)
{
    std::set<uint8_t> seen;
    unsigned most_mappings = 0;
    VerifyLimits limits;
    limits.look = [&](const OneRun&, const Session& session) {
        const Auditor& a = session.auditor();
        a.map().for_each_run({0, a.map().size()}, [&](Range r, uint8_t s) {
            seen.insert(s);
            EXPECT_NE(state_bit(s), 0u) << int{s};
            for (uint64_t at = r.at; at < r.end(); at += r.len > 4096 ? 512 : 16) {
                unsigned n = 0;
                Direction d = Direction::none;
                for (uint32_t i = 0; i < a.mappings().live_count(); i++)
                    if (const MappingRecord& m = a.mappings()[a.mappings().live(i)]; m.original.contains(at))
                        n++, d = m.direction;
                most_mappings = std::max(most_mappings, n);
                const uint32_t bit = state_bit(s);
                const bool mapped = owner_of(s) == Owner::device || (owner_of(s) == Owner::cpu && (bit & C_any) == 0);
                bool noncoherent = false; // a mapping by itself
                for (uint32_t i = 0; i < a.blocks().live_count(); i++)
                    if (const BlockRecord& b = a.blocks()[a.blocks().live(i)]; b.noncoherent() && b.at.contains(at))
                        noncoherent = true;
                if (noncoherent)
                    continue;
                EXPECT_EQ(mapped, n > 0) << state_name(s) << " under " << n;
                EXPECT_EQ((bit & M_any) != 0, n > 1) << state_name(s) << " under " << n;
                if (n == 1) {
                    EXPECT_EQ(direction_of(s), d) << state_name(s);
                }
            }
        });
    };
    VerifyScope three = *verify_scope("deep", "streaming");
    three.most_alive = 3;
    limits.depth = 4;
    verify(three, builtin(), limits);
    for (const char* facet : {"streaming", "coherent", "noncoherent", "scatter", "handles", "dma_buf"})
        run("builtin", facet, "deep", 3, limits);
    EXPECT_GE(most_mappings, 3u);
    RecordProperty("states", static_cast<int>(seen.size()));
}

// ---- files and limits ----

TEST(Verify, RefusesAFileOfAnotherSearch)
{
    VerifyLimits limits;
    limits.depth = 2;
    const VerifyScope scope = *verify_scope("small", "streaming");
    Verifier search(scope, builtin(), limits);
    search.run();
    const std::string kept = search.save();
    EXPECT_EQ(search.load(kept), "");
    EXPECT_NE(Verifier(*verify_scope("small", "pool"), builtin(), limits).load(kept), "");
    EXPECT_NE(Verifier(*verify_scope("deep", "streaming"), builtin(), limits).load(kept), "");
    EXPECT_NE(Verifier(scope, *provider_named("broken-no-clean-at-map"), limits).load(kept), "");
    limits.merge = false;
    EXPECT_NE(Verifier(scope, builtin(), limits).load(kept), "");
    EXPECT_NE(search.load(""), "");
    EXPECT_NE(search.load("# dmaudit case 1\n"), "");
    for (size_t n = 0; n < kept.size(); n += kept.size() / 40)
        EXPECT_NE(search.load(std::string_view(kept).substr(0, n)), "") << n;
    for (size_t n = 0; n < kept.size(); n += kept.size() / 40 + 1) {
        std::string damaged = kept;
        damaged[n] = static_cast<char>(damaged[n] ^ 4);
        EXPECT_NE(search.load(damaged), "") << n;
    }
    EXPECT_EQ(search.load(kept), "") << "an error changes nothing";
}

// The provider under the same name behaves otherwise now: what was reached before is reached no more.
TEST(Verify, NoticesAnotherBuildOfTheProvider)
{
    VerifyLimits limits;
    limits.depth = 2;
    const VerifyScope scope = *verify_scope("small", "streaming");
    Verifier search(scope, builtin(), limits);
    search.run();
    dmaudit_provider other = builtin();
    other.state_hash = [](void* ctx, uint64_t hash[2]) {
        const int rc = builtin().state_hash(ctx, hash);
        dmaudit_hash_add(hash, 1);
        return rc;
    };
    EXPECT_NE(Verifier(scope, other, limits).load(search.save()), "");
}

TEST(Verify, StopsWhenItIsTold)
{
    VerifyLimits limits;
    limits.executions = 2000;
    const VerifyResult some = run("builtin", "streaming", "small", 4, limits);
    EXPECT_EQ(some.end, VerifyResult::End::executions);
    EXPECT_GE(some.executions, 2000u);
    EXPECT_LT(some.executions, 100000u);
    limits = {};
    limits.findings = 1;
    EXPECT_EQ(run("broken-no-clean-at-map", "streaming", "small", 4, limits).end, VerifyResult::End::findings);
    limits = {};
    limits.states = 500;
    EXPECT_EQ(run("builtin", "streaming", "small", 4, limits).end, VerifyResult::End::states);
    limits = {};
    limits.stop = [] { return true; };
    EXPECT_EQ(run("builtin", "streaming", "small", 4, limits).end, VerifyResult::End::stopped);
}

// A provider that remembers earlier cases is told so; nothing is made up about it.
TEST(Verify, NoticesAProviderThatIsNotDeterministic)
{
    static uint32_t opened;
    opened = 0;
    dmaudit_provider moody = builtin();
    static dmaudit_streaming streaming;
    streaming = *builtin().streaming;
    streaming.map_single = [](void* ctx, const dmaudit_request* r, void* cpu, uint32_t d, dmaudit_mapping* out) -> int {
        const bool fails = (++opened * 2654435761u) >> 30 == 0;
        return fails ? int{DMAUDIT_ENOMEM} : builtin().streaming->map_single(ctx, r, cpu, d, out);
    };
    moody.streaming = &streaming;
    VerifyLimits limits;
    limits.depth = 4;
    limits.executions = 20000;
    const VerifyResult r = verify(*verify_scope("deep", "streaming"), moody, limits);
    EXPECT_GT(r.strayed, 0u);
}

} // namespace
} // namespace dmaudit
