// What a provider may do to a process, it does to a child; the tool names it, makes it small and goes on.
#include "harness/campaign.hpp"
#include "harness/child.hpp"
#include "harness/minimise.hpp"
#include "harness/text.hpp"
#include "providers/builtin/builtin.hpp"
#include "providers/providers.hpp"

#include <gtest/gtest.h>

#include <csignal>
#include <cstring>
#include <ctime>
#include <unistd.h>

namespace dmaudit {
namespace {

Case case_of(std::string_view text)
{
    const Parsed p = parse(text);
    EXPECT_TRUE(p.ok) << p.error.message;
    return p.value;
}

const Case& one_block()
{
    static const Case c = case_of("k0 = alloc_coherent size=4096\ncpu_write k0 len=8\nfree_coherent k0\n");
    return c;
}

// The built-in provider with another `alloc` or `open`.
struct Bad {
    dmaudit_coherent coherent = *builtin_provider().coherent;
    dmaudit_provider provider = builtin_provider();
    explicit Bad(decltype(coherent.alloc) alloc)
    {
        coherent.alloc = alloc;
        provider.coherent = &coherent;
    }
    Bad(const Bad&) = delete;
};

uint8_t* of_the_parent = nullptr;
// What compilers cannot know.
volatile uintptr_t nowhere = 64; // an address of no memory
volatile bool for_ever = true;

TEST(Child, says_what_execute_says)
{
    Session session;
    Child child(builtin_provider());
    Case c;
    unsigned violations = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        generate(seed, *profile_named(seed % 2 ? "hostile" : "all"), c);
        Tally here, there;
        const Result a = execute(c, builtin_provider(), session, &here), b = child.run(c, &there);
        ASSERT_EQ(a.violation.has_value(), b.violation.has_value());
        ASSERT_EQ(key_of(c, a), key_of(c, b));
        ASSERT_EQ(a.step, b.step);
        ASSERT_EQ(here.by_op, there.by_op);
        ASSERT_EQ(here.executed, there.executed);
        violations += a.violation.has_value();
    }
    EXPECT_GT(violations, 5u);
}

TEST(Child, reports_what_the_parent_would_report)
{
    const Case c = case_of("b0 = buffer size=64\nm0 = map_single b0 len=64 dir=from_device\ncpu_read b0 len=8\n");
    Session session;
    Child child(builtin_provider());
    const Result r = execute(c, builtin_provider(), session);
    ASSERT_TRUE(r.violation);
    EXPECT_EQ(child.report(c, r, {}), report(c, r, builtin_provider(), session, {}));
}

TEST(Child, cannot_change_the_parent)
{
    Session session;
    ASSERT_EQ(session.open(World{}, builtin_provider()), DMAUDIT_OK);
    of_the_parent = session.machine().door();
    std::memset(of_the_parent, 0x11, 64);
    static int changed = 0;
    Bad bad([](void* ctx, const dmaudit_request* r, dmaudit_block* out) {
        changed = 1;
        if (r->size == 4096)
            std::memset(of_the_parent, 0x22, 64); // simulated RAM is shared memory
        return builtin_provider().coherent->alloc(ctx, r, out);
    });
    Child child(bad.provider);
    child.run(one_block()); // the parent's RAM is not there: something else is hit, or nothing
    EXPECT_EQ(of_the_parent[0], 0x11);
    EXPECT_FALSE(child.run(case_of("k0 = alloc_coherent size=64\n")).violation);
    EXPECT_EQ(changed, 0);
    EXPECT_FALSE(session.violation());
    session.close();
}

struct Died {
    const char* how;
    int (*alloc)(void*, const dmaudit_request*, dmaudit_block*);
    RuleId rule;
};
class Deaths : public ::testing::TestWithParam<Died> {};
const Died deaths[] = {
    {"segfault",
     [](void*, const dmaudit_request*, dmaudit_block*) {
         *reinterpret_cast<volatile int*>(nowhere) = 1;
         return 0;
     },
     RuleId::provider_crash},
    {"abort", [](void*, const dmaudit_request*, dmaudit_block*) -> int { std::abort(); }, RuleId::provider_crash},
    {"exit", [](void*, const dmaudit_request*, dmaudit_block*) -> int { std::exit(0); }, RuleId::provider_crash},
    {"exit_at_once", [](void*, const dmaudit_request*, dmaudit_block*) -> int { _exit(0); }, RuleId::provider_crash},
    {"kill", [](void*, const dmaudit_request*, dmaudit_block*) { return raise(SIGKILL); }, RuleId::provider_crash},
    {"loop",
     [](void*, const dmaudit_request*, dmaudit_block*) -> int {
         while (for_ever)
             ;
         return 0;
     },
     RuleId::no_progress},
    {"sleep",
     [](void*, const dmaudit_request*, dmaudit_block*) -> int {
         for (;;)
             pause();
     },
     RuleId::no_progress},
};
INSTANTIATE_TEST_SUITE_P(Child, Deaths, ::testing::ValuesIn(deaths), [](const auto& p) { return p.param.how; });

TEST_P(Deaths, are_named_by_the_step_that_ran)
{
    Bad bad(GetParam().alloc);
    ChildLimits limits;
    limits.cpu_ms = 200;
    limits.wall_ms = 3000;
    Child child(bad.provider, limits);
    const Case c =
        case_of("b0 = buffer size=16\ncpu_write b0 len=16\nk0 = alloc_coherent size=8\ncpu_read b0 len=16\n");
    Tally tally;
    const Result r = child.run(c, &tally);
    ASSERT_TRUE(r.violation);
    EXPECT_EQ(r.violation->rule, GetParam().rule);
    EXPECT_EQ(r.step, 2);
    const std::string told = child.report(c, r, {});
    EXPECT_NE(told.find(rule(GetParam().rule).name), std::string::npos) << told;
    EXPECT_NE(told.find("  until then:\n    op 0   b0 = buffer size=16\n"), std::string::npos) << told;
    const Result before = child.run(case_of("b0 = buffer size=16\ncpu_write b0 len=16\n"));
    EXPECT_FALSE(before.violation);
}

// Uses so much processor time.
void be_slow(unsigned ms)
{
    const auto now = [] {
        timespec t;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
        return static_cast<uint64_t>(t.tv_sec) * 1000 + static_cast<uint64_t>(t.tv_nsec) / 1'000'000;
    };
    for (const uint64_t until = now() + ms; now() < until;)
        ;
}

TEST(Child, is_patient_with_who_is_slow_but_does_something)
{
    // Each allocation takes a third of the limit, or all of it twice with platform calls within.
    ChildLimits limits;
    limits.cpu_ms = 300;
    Bad steps([](void* ctx, const dmaudit_request* r, dmaudit_block* out) {
        be_slow(100);
        return builtin_provider().coherent->alloc(ctx, r, out);
    });
    const Case six = case_of("k0 = alloc_coherent size=1\nk1 = alloc_coherent size=1\nk2 = alloc_coherent size=1\n"
                             "k3 = alloc_coherent size=1\nk4 = alloc_coherent size=1\nk5 = alloc_coherent size=1\n");
    const Result by_steps = Child(steps.provider, limits).run(six);
    EXPECT_FALSE(by_steps.violation) << rule(by_steps.violation->rule).name;
    static const dmaudit_platform* platform;
    Bad calls([](void* ctx, const dmaudit_request* r, dmaudit_block* out) {
        for (unsigned i = 0; i < 6; i++) {
            be_slow(100);
            platform->meta_free(platform->self, platform->meta_alloc(platform->self, 8));
        }
        return builtin_provider().coherent->alloc(ctx, r, out);
    });
    calls.provider.open = [](const dmaudit_platform* p, void** ctx) {
        platform = p;
        return builtin_provider().open(p, ctx);
    };
    const Result by_calls = Child(calls.provider, limits).run(one_block());
    EXPECT_FALSE(by_calls.violation) << rule(by_calls.violation->rule).name;
    // And not with who does nothing for longer.
    Bad nothing([](void* ctx, const dmaudit_request* r, dmaudit_block* out) {
        be_slow(900);
        return builtin_provider().coherent->alloc(ctx, r, out);
    });
    const Result told = Child(nothing.provider, limits).run(one_block());
    ASSERT_TRUE(told.violation);
    EXPECT_EQ(told.violation->rule, RuleId::no_progress);
}

TEST(Child, names_a_provider_that_dies_when_it_is_opened)
{
    dmaudit_provider p = builtin_provider();
    p.open = [](const dmaudit_platform*, void**) -> int { std::abort(); };
    Child child(p);
    const Result r = child.run(one_block());
    ASSERT_TRUE(r.violation);
    EXPECT_EQ(r.violation->rule, RuleId::provider_crash);
    EXPECT_EQ(r.step, one_block().count);
}

TEST(Child, a_violation_counts_though_the_provider_dies_when_it_is_closed)
{
    Bad bad([](void* ctx, const dmaudit_request* r, dmaudit_block* out) {
        const int rc = builtin_provider().coherent->alloc(ctx, r, out);
        out->granted = 1;
        return rc;
    });
    bad.provider.close = [](void*) { std::abort(); };
    const Result r = Child(bad.provider).run(one_block());
    ASSERT_TRUE(r.violation);
    EXPECT_EQ(r.violation->rule, RuleId::short_block);
    EXPECT_EQ(r.step, 0);
}

TEST(Child, goes_on_after_every_kind_of_death)
{
    // Named, made small and replayed: the providers that take their process down.
    const struct {
        const char *name, *small;
        RuleId rule;
    } known[] = {{"broken-segfault-in-free", "k0 = alloc_coherent size=1\nfree_coherent k0\n", RuleId::provider_crash},
                 {"broken-abort-in-unmap", nullptr, RuleId::provider_crash},
                 {"broken-loop-in-alloc", "k0 = alloc_coherent size=4097\n", RuleId::no_progress},
                 {"broken-cleans-for-ever",
                  "b0 = buffer size=1\nm0 = map_single b0 len=1 dir=bidirectional\nsync_single_for_device m0 len=1\n",
                  RuleId::no_progress},
                 {"broken-exit-in-close", "k0 = alloc_coherent size=0\n", RuleId::provider_crash}};
    const Case c = case_of("b0 = buffer size=4096\ncpu_write b0 len=100\nk0 = alloc_coherent size=8192\n"
                           "m0 = map_single b0 len=128 dir=bidirectional\ndevice_read m0 len=100\n"
                           "sync_single_for_device m0 off=64 len=64\nunmap_single m0\n"
                           "m1 = map_single b0 len=64 dir=to_device\nunmap_single m1\nfree_coherent k0\n");
    for (const auto& k : known) {
        const dmaudit_provider* p = provider_named(k.name);
        ASSERT_NE(p, nullptr);
        ASSERT_TRUE(Child::needed(*p));
        Session session;
        ChildLimits limits;
        limits.cpu_ms = 150;
        limits.platform_calls = 20'000;
        Runner runner(*p, session, false, limits);
        ASSERT_TRUE(runner.isolated());
        const Result r = runner.run_times(c, 2);
        ASSERT_TRUE(r.violation) << k.name;
        EXPECT_EQ(r.violation->rule, k.rule) << k.name;
        const BugKey key = key_of(c, r);
        const Minimised small = minimise(c, [&](const Case& t) { return key_of(t, runner.run(t)) == key; });
        EXPECT_TRUE(small.deterministic && small.one_minimal) << k.name;
        EXPECT_LE(small.value.count, 6) << print(small.value);
        EXPECT_EQ(key_of(small.value, runner.run(small.value)), key);
        if (k.small) {
            std::string text;
            for (const Step& s : small.value.all())
                text += print(s) + "\n";
            EXPECT_EQ(text, k.small) << k.name;
        }
    }
}

TEST(Child, a_campaign_survives_its_provider)
{
    Campaign c(*provider_named("broken-segfault-in-free"), *profile_named("coherent"), 1);
    while (c.next_seed() <= 100)
        c.step(101 - c.next_seed());
    EXPECT_EQ(c.next_seed(), 101u);
    ASSERT_FALSE(c.findings().empty());
    for (const Finding& f : c.findings()) {
        EXPECT_EQ(f.key.rule, RuleId::provider_crash);
        EXPECT_TRUE(f.one_minimal);
        EXPECT_LE(f.value.count, 3) << print(f.value);
    }
    // In one process and in children: the same cases, the same counts.
    Campaign in(builtin_provider(), *profile_named("hostile"), 1),
        out(builtin_provider(), *profile_named("hostile"), 1, true);
    while (in.next_seed() <= 200)
        in.step();
    while (out.next_seed() <= 200)
        out.step(201 - out.next_seed());
    EXPECT_EQ(in.tally().by_op, out.tally().by_op);
    EXPECT_EQ(in.violations(), out.violations());
    EXPECT_TRUE(out.findings().empty());
}

TEST(Child, a_provider_that_remembers_earlier_instances_is_told_so)
{
    const dmaudit_provider* p = provider_named("broken-counts-instances");
    Session session;
    Runner in(*p, session), out(*p, session, true);
    const Result r = in.run_times(one_block(), 2);
    ASSERT_TRUE(r.violation);
    EXPECT_EQ(r.violation->rule, RuleId::not_deterministic);
    EXPECT_FALSE(out.run_times(one_block(), 3).violation &&
                 out.run_times(one_block(), 3).violation->rule == RuleId::not_deterministic);
    Campaign c(*p, *profile_named("coherent"), 1);
    while (c.next_seed() <= 70 && c.findings().empty())
        c.step();
    ASSERT_EQ(c.findings().size(), 1u);
    EXPECT_EQ(c.findings()[0].key.rule, RuleId::not_deterministic);
    EXPECT_TRUE(c.findings()[0].one_minimal);
    EXPECT_LE(c.findings()[0].value.count, 2) << print(c.findings()[0].value);
    for (const Profile& profile : profiles()) { // and the built-in one is not
        Campaign fine(builtin_provider(), profile, 64);
        fine.step();
        EXPECT_EQ(fine.violations()[static_cast<size_t>(RuleId::not_deterministic)], 0u);
    }
}

} // namespace
} // namespace dmaudit
