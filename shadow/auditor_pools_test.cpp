// Pools and the windows onto their blocks.
#include "shadow/testing_auditor.hpp"

namespace dmaudit::fakes {
namespace {

TEST(Pool, wrong_return_of_the_routing_flag)
{
    const auto full = [](bool exclusive, int ours, bool fault) {
        Audited t;
        const Tag p = t.pool(nc, exclusive);
        t.machine.fault = fault;
        t.provider.alloc_from = [ours](uint32_t, uint64_t, dmaudit_block&, int& o) {
            o = ours;
            return DMAUDIT_ENOMEM;
        };
        t.from_pool(p, page);
        return t.found();
    };
    EXPECT_EQ(full(true, 1, false), "nothing");
    EXPECT_EQ(full(true, 0, false), "wrong-return") << "an exclusive pool answers for itself";
    EXPECT_EQ(full(false, 0, false), "nothing");
    EXPECT_EQ(full(false, 1, false), "wrong-return") << "a full pool leaves it to the generic allocator";
    EXPECT_EQ(full(false, 1, true), "nothing") << "it had room, but its records had none";
}

TEST(Pool, counts_what_was_full_and_what_fell_through)
{
    Audited t;
    const Tag p = t.pool(nc, true);
    t.from_pool(p, 5 * page);
    EXPECT_EQ(t.auditor.marks[Mark::pool_full], 1u);
    Audited u;
    u.from_pool(u.pool(), 5 * page);
    EXPECT_EQ(u.auditor.marks[Mark::fell_through], 1u);
    EXPECT_EQ(u.found(), "nothing");
}

TEST(Pool, wrong_return_if_what_must_be_refused_succeeds)
{
    {
        Audited t;
        t.provider.declare = [](uint32_t, uint64_t, uint64_t, uint32_t&) { return DMAUDIT_OK; };
        uint32_t e = 0;
        Tag p = 0;
        t.auditor.declare_pool(nc, {pool_memory.at, 0}, &e, &p);
        EXPECT_EQ(t.found(), "wrong-return") << "no bytes";
    }
    for (const int rc : {DMAUDIT_EBUSY, DMAUDIT_OK}) {
        Audited t;
        uint32_t e = 0;
        Tag p = 0;
        t.auditor.declare_pool(nc, {pool_memory.at, page}, &e, &p);
        EXPECT_EQ(t.found(), "nothing");
        t.provider.declare = [rc](uint32_t, uint64_t, uint64_t, uint32_t&) { return rc; };
        t.auditor.declare_pool(nc, {pool_memory.at + page, page}, &e, &p);
        EXPECT_EQ(t.found(), rc ? "nothing" : "wrong-return") << "a second pool";
        t.auditor.forgive();
        t.auditor.declare_pool(snooping, {pool_memory.at + 2 * page, page}, &e, &p);
        EXPECT_EQ(t.found(), rc ? "wrong-return" : "nothing") << "another device may have one, and has none";
    }
    Audited t;
    const Tag p = t.pool();
    t.provider.alloc_from = [](uint32_t, uint64_t, dmaudit_block&, int& ours) {
        ours = 1;
        return DMAUDIT_OK;
    };
    t.from_pool(p, 0);
    EXPECT_EQ(t.found(), "wrong-return") << "a block without bytes";
}

TEST(Pool, wrong_return_of_a_release)
{
    const auto releases = [](int rc, int ours) {
        Audited t;
        const auto b = t.from_pool(t.pool(), 100);
        t.provider.release_from = [=](uint32_t, uint32_t order, uint8_t*, int& o) {
            EXPECT_EQ(order, 0u);
            o = ours;
            return rc;
        };
        t.auditor.release_from_pool(b, &t.ours);
        return t.found();
    };
    EXPECT_EQ(releases(DMAUDIT_OK, 1), "nothing");
    EXPECT_EQ(releases(DMAUDIT_OK, 0), "wrong-return");
    EXPECT_EQ(releases(DMAUDIT_EFAULT, 1), "wrong-return");
}

TEST(Pool, wrong_return_if_a_generic_block_is_called_the_pools)
{
    for (const int ours : {0, 1}) {
        Audited t;
        t.pool();
        const auto b = t.block(one_page);
        t.provider.release_from = [ours](uint32_t, uint32_t, uint8_t*, int& o) {
            o = ours;
            return DMAUDIT_OK;
        };
        t.auditor.release_from_pool(b, &t.ours);
        EXPECT_EQ(t.found(), ours ? "wrong-return" : "nothing");
        EXPECT_TRUE(t.auditor.blocks().alive(Audited::tag(b))) << "the client goes on with the generic free";
    }
}

// The pages are the client's, whatever the provider promises of its own.
TEST(Pool, failure_has_effect_if_its_pages_stay_uncached)
{
    const auto refused = [](bool its_pages, bool others) {
        Audited t(usual & ~DMAUDIT_PROMISES_PROMPT);
        t.provider.declare = [&](uint32_t, uint64_t, uint64_t, uint32_t&) {
            if (its_pages)
                t.machine.uncached_at.insert(pool_memory.at + page);
            t.machine.more_uncached += others;
            return DMAUDIT_ENOMEM;
        };
        t.pool();
        return t.found();
    };
    EXPECT_EQ(refused(true, false), "failure-has-effect");
    EXPECT_EQ(refused(false, true), "nothing");
    EXPECT_EQ(refused(false, false), "nothing");
}

TEST(Pool, wrong_return_if_its_legal_end_fails)
{
    Audited t;
    const Tag p = t.pool();
    t.provider.release = [](uint32_t) { return DMAUDIT_ENODEV; };
    t.auditor.release_pool(p);
    EXPECT_EQ(t.found(), "wrong-return");
    Audited u;
    const Tag q = u.pool();
    u.auditor.release_pool(q);
    EXPECT_EQ(u.found(), "nothing");
    EXPECT_EQ(u.state(pool_memory.at), "N") << "the client's again";
}

TEST(Window, mmap_window_if_more_is_granted_than_the_block)
{
    const auto granted = [](uint64_t pgoff, uint64_t pages) {
        Audited t;
        const auto b = t.from_pool(t.pool(), page + 1); // two pages
        t.provider.mmap = [&](const uint8_t* cpu, uint64_t, uint64_t off, uint64_t n, dmaudit_window& w, int& ours) {
            ours = 1;
            w.phys = phys_base + static_cast<uint64_t>(cpu - t.machine.ram.data()) + off * page;
            w.size = n * page;
            return DMAUDIT_OK;
        };
        t.window(b, pgoff, pages);
        return t.found();
    };
    EXPECT_EQ(granted(0, 1), "nothing");
    EXPECT_EQ(granted(0, 2), "nothing");
    EXPECT_EQ(granted(1, 1), "nothing");
    EXPECT_EQ(granted(1, 2), "mmap-window");
    EXPECT_EQ(granted(2, 1), "mmap-window");
    EXPECT_EQ(granted(0, 3), "mmap-window");
    EXPECT_EQ(granted(1, ~uint64_t{0}), "mmap-window");
}

TEST(Window, enxio_for_what_must_be_refused_is_right)
{
    Audited t;
    const auto b = t.from_pool(t.pool(), page);
    t.window(b, 1, 1);
    EXPECT_EQ(t.rc, DMAUDIT_ENXIO);
    EXPECT_EQ(t.found(), "nothing");
}

TEST(Window, mmap_window_if_it_shows_other_pages)
{
    const auto shows = [](uint64_t phys_off, uint64_t size) {
        Audited t;
        const Tag p = t.pool();
        const auto b = t.from_pool(p, page);
        t.from_pool(p, page);
        t.provider.mmap = [&](uint8_t*, uint64_t, uint64_t, uint64_t, dmaudit_window& w, int& ours) {
            ours = 1;
            w.phys = phys_base + pool_memory.at + phys_off;
            w.size = size;
            return DMAUDIT_OK;
        };
        t.window(b, 0, 1);
        return t.found();
    };
    EXPECT_EQ(shows(0, page), "nothing");
    EXPECT_EQ(shows(page, page), "mmap-window");
    EXPECT_EQ(shows(0, 2 * page), "mmap-window");
    EXPECT_EQ(shows(0, 100), "mmap-window");
    EXPECT_EQ(shows(0x70000000, page), "mmap-window") << "no RAM";
}

TEST(Window, mmap_window_if_the_last_page_holds_another_block)
{
    for (const uint64_t second : {uint64_t{128}, page}) {
        Audited t;
        const Tag p = t.pool();
        uint64_t next = 0;
        t.provider.block_lies([&](dmaudit_block& b) {
            b.cpu = t.machine.ram.data() + pool_memory.at + next;
            b.bus = t.machine.bus(nc, pool_memory.at + next);
            b.granted = 128;
            std::memset(b.cpu, 0, 128);
        });
        const auto b = t.from_pool(p, 100);
        next = second;
        t.from_pool(p, 100);
        EXPECT_EQ(t.found(), "nothing");
        t.window(b, 0, 1);
        EXPECT_EQ(t.found(), second < page ? "mmap-window" : "nothing");
    }
}

TEST(Window, leaks_old_data_behind_the_end_of_the_block)
{
    const auto behind = [](unsigned bytes, bool zero) {
        Audited t;
        const Tag p = t.pool();
        const auto old = t.from_pool(p, page);
        t.auditor.release_from_pool(old, &t.ours); // scribbled over
        t.provider.next_in_pool = pool_memory.at;
        t.provider.block_lies([&](dmaudit_block& b) {
            if (zero)
                std::memset(static_cast<uint8_t*>(b.cpu) + 100, 0, page - 100);
            else if (bytes)
                std::memset(static_cast<uint8_t*>(b.cpu) + 100 + bytes, 0, page - 100 - bytes);
        });
        const auto b = t.from_pool(p, 100);
        t.window(b, 0, 1);
        return t.found();
    };
    EXPECT_EQ(behind(0, false), "leaks-old-data");
    EXPECT_EQ(behind(16, false), "leaks-old-data") << "sixteen bytes of it";
    EXPECT_EQ(behind(0, true), "nothing") << "the whole page was zeroed";
    EXPECT_EQ(behind(2, false), "nothing") << "two bytes may be a coincidence";
}

TEST(Window, wrong_return_if_a_legal_one_is_refused_or_misrouted)
{
    const auto answers = [](int rc, int ours) {
        Audited t;
        const auto b = t.from_pool(t.pool(), page);
        t.provider.mmap = [=](uint8_t*, uint64_t, uint64_t, uint64_t, dmaudit_window&, int& o) {
            o = ours;
            return rc;
        };
        t.window(b, 0, 1);
        return t.found();
    };
    EXPECT_EQ(answers(DMAUDIT_ENXIO, 1), "wrong-return");
    EXPECT_EQ(answers(DMAUDIT_OK, 0), "wrong-return");
}

TEST(Window, shows_whole_pages_and_keeps_its_block_alive)
{
    Audited t;
    const Tag p = t.pool();
    const auto b = t.from_pool(p, 100);
    const Tag w = t.window(b, 0, 1);
    EXPECT_TRUE(t.auditor.cpu_access(w, 4000, 96, false)) << "the tail is legal through a window";
    EXPECT_FALSE(t.auditor.cpu_access(Audited::tag(b), 4000, 96, false));
    EXPECT_EQ(t.take(), "out-of-bounds");
    EXPECT_FALSE(t.auditor.cpu_access(w, 4000, 97, false));
    EXPECT_EQ(t.take(), "out-of-bounds");
    EXPECT_EQ(t.calls_of([&] { t.auditor.release_from_pool(b, &t.ours); }), 0u);
    EXPECT_EQ(t.take(), "free-while-mapped");
    EXPECT_TRUE(t.auditor.munmap(w));
    EXPECT_FALSE(t.auditor.munmap(w));
    EXPECT_EQ(t.take(), "double-free");
    t.auditor.release_from_pool(b, &t.ours);
    EXPECT_EQ(t.found(), "nothing");
}

} // namespace
} // namespace dmaudit::fakes
