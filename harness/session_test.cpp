// One session object serves case after case: nothing of a case may be left for the next.
#include "harness/report.hpp"
#include "harness/session.hpp"
#include "harness/text.hpp"
#include "providers/builtin/builtin.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace dmaudit {
namespace {

Case case_of(std::string_view text)
{
    const Parsed p = parse(text);
    EXPECT_TRUE(p.ok) << p.error.line << ": " << p.error.message;
    return p.value;
}

// A provider that writes where it likes: on every page, through raw pointers, with and without cache work.
const dmaudit_platform& platform_of(void* ctx)
{
    return *static_cast<const dmaudit_platform*>(ctx);
}
void scribble(const dmaudit_platform& p)
{
    for (uint32_t b = 0; b < p.n_banks; b++) {
        auto* ram = static_cast<uint8_t*>(p.banks[b].cpu);
        for (uint64_t at = 0; at < p.banks[b].size; at += 509)
            ram[at] = static_cast<uint8_t>(at);
        ram[p.banks[b].size - 1] = 0;
        p.clean(p.self, p.banks[b].phys + p.page, p.page);
        p.set_uncached(p.self, p.banks[b].phys, p.page, 1);
        std::memset(ram + 2 * p.page, 0x5a, p.page);
    }
}
int open_scribbling(const dmaudit_platform* platform, void** ctx)
{
    *ctx = const_cast<dmaudit_platform*>(platform);
    scribble(*platform);
    return DMAUDIT_OK;
}
void close_scribbling(void* ctx)
{
    scribble(platform_of(ctx));
}
const dmaudit_coherent no_memory{sizeof no_memory, 0,
                                 [](void*, const dmaudit_request*, dmaudit_block*) -> int { return DMAUDIT_ENOMEM; },
                                 [](void*, const dmaudit_block*) -> int { return DMAUDIT_EFAULT; }};
const dmaudit_provider scribbler{DMAUDIT_ABI, sizeof scribbler, "scribbler",      "writes everywhere",
                                 0,           open_scribbling,  close_scribbling, &no_memory,
                                 nullptr,     nullptr};

World two_banks(uint64_t coherent)
{
    World w;
    w.n_banks = 2;
    w.banks[0] = {0x80000000, 64 << 10};
    w.banks[1] = {0x1000000, 32 << 10};
    w.devices[0].coherent = coherent;
    return w;
}

void expect_pristine(Session& s, uint64_t ram, bool simulated)
{
    for (uint64_t at = 0; at < ram; at += 4096) {
        ASSERT_EQ(std::memcmp(s.machine().door() + at, Ram::initial_page(), 4096), 0) << "page at " << at;
        if (simulated) {
            ASSERT_EQ(std::memcmp(s.machine().cache().device_bytes() + at, Ram::initial_page(), 4096), 0)
                << "the device's view of the page at " << at;
        }
    }
}

TEST(Session, ram_is_as_before_wherever_a_provider_wrote)
{
    Session s;
    for (const uint64_t coherent : {0u, 1u, 0u}) {
        const World w = two_banks(coherent);
        ASSERT_EQ(s.open(w, scribbler), DMAUDIT_OK);
        EXPECT_NE(std::memcmp(s.machine().door() + 2 * 4096, Ram::initial_page(), 4096), 0) << "it wrote nothing";
        s.close();
        expect_pristine(s, (64 + 32) << 10, !coherent);
    }
}

TEST(Session, ram_is_as_before_after_a_case)
{
    Session s;
    const Case c = case_of("b0 = buffer size=5000 at=7\ncpu_write b0 len=5000 seed=3\nm0 = map_single b0 off=100 "
                           "len=3000 dir=bidirectional\n"
                           "device_write m0 off=0 len=3000 seed=9\nk0 = alloc_coherent size=100 zero=yes\ndevice_write "
                           "k0 len=100\nevict b0 len=5000\n");
    const Result r = execute(c, builtin_provider(), s);
    EXPECT_FALSE(r.violation) << rule(r.violation->rule).name;
    expect_pristine(s, c.world.banks[0].size, true);
}

TEST(Session, a_case_gives_the_same_whatever_ran_before_it)
{
    const Case cases[] = {
        case_of("world line=32 banks=64K@0x80000000\nb0 = buffer size=300 at=16\ncpu_write b0 len=300\nm0 = map_single "
                "b0 off=0 len=300 dir=from_device\ndevice_write m0 off=0 len=300 seed=7\ncpu_read b0 off=0 len=8\n"),
        case_of(
            "world page=16384 line=128 banks=256K@0x40000000,128K@0 coherent=yes limit=0xffffffffffffffff\ndevice "
            "coherent=no\np0 = declare_pool size=16K at=0\nk0 = alloc_from_pool p0 size=100\ncpu_read k0 len=101\n"),
        case_of("world banks=128K@0x80000000\nk0 = alloc_coherent size=8K zero=yes\nb0 = buffer size=64\ncpu_write b0 "
                "len=64\nm0 = map_single b0 len=64 dir=to_device\nfree_buffer b0\n"),
    };
    std::string fresh[3];
    for (unsigned i = 0; i < 3; i++) {
        Session s;
        const Result r = execute(cases[i], builtin_provider(), s);
        ASSERT_TRUE(r.violation);
        fresh[i] = report(cases[i], r, builtin_provider(), s, {});
    }
    Session shared;
    for (const unsigned i : {0u, 1u, 0u, 2u, 2u, 1u, 0u, 2u}) {
        Tally tally;
        const Result r = execute(cases[i], builtin_provider(), shared, &tally);
        ASSERT_TRUE(r.violation);
        EXPECT_EQ(report(cases[i], r, builtin_provider(), shared, {}), fresh[i]) << i;
    }
}

TEST(Session, the_first_violation_counts_and_opening_anew_forgets_it)
{
    Session s;
    ASSERT_EQ(s.open(World{}, builtin_provider()), DMAUDIT_OK);
    EXPECT_FALSE(s.violation());
    s.fail({RuleId::lost_capacity, 0, {}, 0, "first"});
    s.fail({RuleId::no_progress, 0, {}, 0, "second"});
    ASSERT_TRUE(s.violation());
    EXPECT_EQ(s.violation()->rule, RuleId::lost_capacity);
    s.forgive();
    EXPECT_FALSE(s.violation()) << "whoever found it";
    s.fail({RuleId::no_progress, 0, {}, 0, "third"});
    s.close();
    EXPECT_TRUE(s.violation()) << "a session that is over still says what was found";
    ASSERT_EQ(s.open(World{}, builtin_provider()), DMAUDIT_OK);
    EXPECT_FALSE(s.violation());
    s.close();
    EXPECT_FALSE(s.violation());
}

TEST(Session, the_auditors_verdict_survives_the_close)
{
    Session s;
    ASSERT_EQ(s.open(World{}, builtin_provider()), DMAUDIT_OK);
    s.auditor().cpu_access(make_tag(Kind::buffer, 3), 0, 1, false);
    ASSERT_TRUE(s.violation());
    s.close();
    ASSERT_TRUE(s.violation());
    EXPECT_EQ(s.violation()->rule, RuleId::use_after_free);
}

TEST(Session, a_provider_that_does_not_open_leaves_it_closed_and_clean)
{
    static const dmaudit_provider refuses = [] {
        dmaudit_provider p = scribbler;
        p.open = [](const dmaudit_platform* platform, void**) -> int {
            scribble(*platform);
            platform->meta_alloc(platform->self, 100);
            return DMAUDIT_ENODEV;
        };
        return p;
    }();
    Session s;
    EXPECT_EQ(s.open(two_banks(0), refuses), DMAUDIT_ENODEV);
    EXPECT_FALSE(s.is_open());
    expect_pristine(s, (64 + 32) << 10, true);
    EXPECT_FALSE(s.machine().metadata_kept());
    EXPECT_EQ(s.open(World{}, builtin_provider()), DMAUDIT_OK);
    s.close();
    EXPECT_FALSE(s.violation());
}

// Opens and closes without a fault, but keeps something. `keep` is called at the end.
std::optional<Violation> after_close(void (*keep)(const dmaudit_platform&))
{
    static void (*what)(const dmaudit_platform&);
    what = keep;
    static const dmaudit_provider keeps = [] {
        dmaudit_provider p = scribbler;
        p.open = [](const dmaudit_platform* platform, void** ctx) -> int {
            *ctx = const_cast<dmaudit_platform*>(platform);
            return DMAUDIT_OK;
        };
        p.close = [](void* ctx) { what(platform_of(ctx)); };
        return p;
    }();
    Session s;
    EXPECT_EQ(s.open(two_banks(0), keeps), DMAUDIT_OK);
    s.close();
    return s.violation();
}

TEST(Session, what_close_leaves_behind_is_a_violation)
{
    EXPECT_FALSE(after_close([](const dmaudit_platform&) {}));
    EXPECT_FALSE(after_close([](const dmaudit_platform& p) { p.meta_free(p.self, p.meta_alloc(p.self, 100)); }));
#ifndef DMAUDIT_ASAN
    const auto past_it = after_close([](const dmaudit_platform& p) {
        auto* bytes = static_cast<uint8_t*>(p.meta_alloc(p.self, 100));
        bytes[100] = 0;
        p.meta_free(p.self, bytes);
    });
    ASSERT_TRUE(past_it);
    EXPECT_EQ(past_it->rule, RuleId::provider_crash);
#endif
    const auto metadata = after_close([](const dmaudit_platform& p) { p.meta_alloc(p.self, 100); });
    ASSERT_TRUE(metadata);
    EXPECT_EQ(metadata->rule, RuleId::lost_capacity);
    const auto pages =
        after_close([](const dmaudit_platform& p) { p.set_uncached(p.self, p.banks[0].phys, p.page, 1); });
    ASSERT_TRUE(pages);
    EXPECT_EQ(pages->rule, RuleId::lost_capacity);
    const auto lock = after_close([](const dmaudit_platform& p) {
        static uint64_t word;
        word = 0;
        p.lock(p.self, &word);
    });
    ASSERT_TRUE(lock);
    EXPECT_EQ(lock->rule, RuleId::no_progress);
}

TEST(Session, an_open_one_closes_itself_at_its_end)
{
    static int closed;
    closed = 0;
    static const dmaudit_provider counts = [] {
        dmaudit_provider p = scribbler;
        p.close = [](void*) { closed++; };
        return p;
    }();
    {
        Session s;
        ASSERT_EQ(s.open(World{}, counts), DMAUDIT_OK);
    }
    EXPECT_EQ(closed, 1);
}

} // namespace
} // namespace dmaudit
