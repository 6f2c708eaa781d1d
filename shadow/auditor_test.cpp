// What the machine tells the auditor, frees that are forwarded, exhaustion, and what others see of it.
#include "shadow/testing_auditor.hpp"

namespace dmaudit::fakes {
namespace {

TEST(Eviction, dirty_eviction_only_where_somebody_waits_for_the_device_s_data)
{
    const auto evicted = [](uint32_t direction, bool written, bool stale, uint32_t device = nc) {
        Audited t;
        t.buffer(0, 64);
        const auto m = t.map(0, 64, direction, device);
        if (written)
            t.writes(m, 0, 1);
        if (stale)
            t.machine.stale = {client_at};
        t.auditor.writeback_over_stale(client_at);
        return t.found();
    };
    EXPECT_EQ(evicted(from, true, true), "dirty-eviction");
    EXPECT_EQ(evicted(bi, true, true), "dirty-eviction");
    EXPECT_EQ(evicted(from, false, true), "nothing") << "the device wrote nothing through a live mapping";
    EXPECT_EQ(evicted(from, true, false), "nothing") << "the CPU has seen it";
    EXPECT_EQ(evicted(from, true, true, snooping), "nothing") << "what is stale there was another device's";
}

TEST(Eviction, dirty_eviction_over_a_bounce_slot)
{
    for (const bool with_device : {true, false}) {
        Audited t;
        t.buffer(0, 64);
        t.provider.bounce_to(64);
        const auto m = t.map(0, 64, from);
        t.writes(m, 0, 64);
        if (!with_device)
            t.for_cpu(m, 0, 64);
        t.machine.stale = {64 + 5};
        t.auditor.writeback_over_stale(64);
        EXPECT_EQ(t.found(), with_device ? "dirty-eviction" : "nothing");
    }
}

TEST(Eviction, corrupts_neighbour_if_bytes_outside_the_call_are_dropped)
{
    // During a call on [64, 128): a provider that drops a line.
    const auto dropped = [](uint64_t dirty_at, uint64_t line_at, bool written) {
        Audited t;
        t.buffer(0, 256);
        t.buffer(256, 64);
        if (written)
            t.auditor.cpu_access(t.auditor.buffers().live(0), dirty_at, 1, true);
        t.machine.dirty = {client_at + dirty_at};
        t.provider.map = [&](const dmaudit_request& r, uint8_t* cpu, uint32_t d, dmaudit_mapping& m) {
            t.auditor.drops_dirty(client_at + line_at);
            t.machine.dirty.clear();
            return t.provider.good_map(r, cpu, d, m);
        };
        t.map(64, 64, from);
        return t.found();
    };
    EXPECT_EQ(dropped(63, 0, true), "corrupts-neighbour");
    EXPECT_EQ(dropped(128, 128, true), "corrupts-neighbour");
    EXPECT_EQ(dropped(64, 64, true), "nothing") << "the call's own bytes";
    EXPECT_EQ(dropped(63, 0, false), "nothing") << "bytes without a value";
    EXPECT_EQ(dropped(63, 128, true), "nothing") << "another line";
}

TEST(Eviction, outside_a_call_every_written_byte_is_protected)
{
    Audited t;
    t.written_buffer(0, 64);
    t.auditor.drops_dirty(client_at);
    EXPECT_EQ(t.found(), "nothing") << "a value that was written back";
    t.machine.dirty = {client_at + 3};
    t.auditor.drops_dirty(client_at);
    EXPECT_EQ(t.found(), "corrupts-neighbour");
    EXPECT_EQ(t.where(), client_at + 3);
}

TEST(Uncached, pages_with_clients_cached_bytes_are_refused)
{
    Audited t;
    EXPECT_TRUE(t.auditor.may_uncache({client_at, page}));
    t.written_buffer(page - 1, 1);
    EXPECT_FALSE(t.auditor.may_uncache({client_at, page}));
    EXPECT_TRUE(t.auditor.may_uncache({client_at + page, page}));
    EXPECT_TRUE(t.auditor.may_uncache({arena.at, arena.len}));
    t.map(page - 1, 1, to);
    EXPECT_FALSE(t.auditor.may_uncache({client_at, page})) << "mapped ones as well";
}

// ==== illegal frees that are forwarded ====

TEST(Forwarding, an_illegal_call_never_reaches_a_provider_without_the_promise)
{
    for (const uint64_t promises : {usual, uint64_t{usual | DMAUDIT_PROMISES_DETECTION}})
        for (const bool forward : {false, true}) {
            Audited t(promises);
            t.auditor.forward_illegal(forward);
            t.provider.free = [](const dmaudit_block&) { return DMAUDIT_OK; };
            const auto b = t.block(one_page);
            t.auditor.free_coherent(b);
            t.provider.free = [](const dmaudit_block&) { return DMAUDIT_EFAULT; };
            const unsigned calls = t.calls_of([&] { EXPECT_EQ(t.auditor.free_coherent(b), Auditor::withheld); });
            EXPECT_EQ(calls, forward && promises != usual ? 1u : 0u);
            EXPECT_EQ(t.found(), "double-free") << "detected or not, it is the client's mistake";
        }
}

TEST(Forwarding, wrong_return_if_an_illegal_free_succeeds)
{
    Audited t(usual | DMAUDIT_PROMISES_DETECTION);
    t.auditor.forward_illegal(true);
    auto b = t.block(zeroed());
    b.size += page;
    const unsigned calls = t.calls_of([&] { EXPECT_EQ(t.auditor.free_coherent(b), DMAUDIT_OK); });
    EXPECT_EQ(calls, 1u);
    EXPECT_EQ(t.found(), "wrong-return");
}

TEST(Forwarding, the_lie_reaches_the_provider_with_its_own_cookies_and_alias)
{
    Audited t(usual | DMAUDIT_PROMISES_DETECTION);
    t.auditor.forward_illegal(true);
    t.provider.block_lies([](dmaudit_block& b) { b.cookie[0] = 77; });
    auto b = t.block(zeroed());
    b.size += page;
    b.cpu = static_cast<uint8_t*>(b.cpu) + 64;
    t.provider.free = [&](const dmaudit_block& given) {
        EXPECT_EQ(given.cookie[0], 77u);
        EXPECT_EQ(given.cpu, t.machine.ram.data() + 64);
        EXPECT_EQ(given.size, 2 * page);
        return DMAUDIT_EFAULT;
    };
    EXPECT_EQ(t.calls_of([&] { t.auditor.free_coherent(b); }), 1u);
    EXPECT_EQ(t.found(), "free-mismatch");
}

TEST(Forwarding, what_a_provider_cannot_tell_is_not_forwarded)
{
    Audited t(usual | DMAUDIT_PROMISES_DETECTION);
    t.auditor.forward_illegal(true);
    t.provider.block_lies([](dmaudit_block& b) { b.cookie[0] = 77; });
    auto b = t.block(zeroed());
    const auto calls = [&](dmaudit_block c, const char* why) {
        const unsigned n = t.calls_of([&] { t.auditor.free_coherent(c); });
        EXPECT_EQ(t.take(), why);
        return n;
    };
    auto fewer_bytes = b, more_pages = b;
    fewer_bytes.size--;
    more_pages.size += page;
    EXPECT_EQ(calls(fewer_bytes, "free-mismatch"), 0u) << "as many pages";
    const auto frees = t.provider.free;
    t.provider.free = [](const dmaudit_block&) { return DMAUDIT_EFAULT; };
    EXPECT_EQ(calls(more_pages, "free-mismatch"), 1u);
    // A dead block, and one that lives at its place under its cookie.
    t.provider.free = frees;
    t.auditor.free_coherent(b);
    const auto dead = b;
    t.provider.next = arena.at;
    b = t.block(zeroed());
    EXPECT_EQ(calls(dead, "double-free"), 0u);
}

TEST(Forwarding, pool_releases_by_code_and_flag)
{
    const auto answer = [](int rc, int ours) {
        Audited t(usual | DMAUDIT_PROMISES_DETECTION);
        t.auditor.forward_illegal(true);
        const auto b = t.from_pool(t.pool(), page);
        t.auditor.release_from_pool(b, &t.ours);
        t.provider.release_from = [=](uint32_t, uint32_t, uint8_t*, int& o) {
            o = ours;
            return rc;
        };
        EXPECT_EQ(t.calls_of([&] { t.auditor.release_from_pool(b, &t.ours); }), 1u);
        return t.found();
    };
    EXPECT_EQ(answer(DMAUDIT_EFAULT, 1), "double-free");
    EXPECT_EQ(answer(DMAUDIT_OK, 0), "double-free") << "not the pool's: nothing was released";
    EXPECT_EQ(answer(DMAUDIT_OK, 1), "wrong-return");
}

TEST(Forwarding, a_release_that_names_a_new_owners_block_is_not_forwarded)
{
    Audited t(usual | DMAUDIT_PROMISES_DETECTION);
    t.auditor.forward_illegal(true);
    const Tag p = t.pool();
    const auto b = t.from_pool(p, page);
    t.auditor.release_from_pool(b, &t.ours);
    t.provider.next_in_pool = pool_memory.at;
    t.from_pool(p, page); // the same place
    EXPECT_EQ(t.calls_of([&] { t.auditor.release_from_pool(b, &t.ours); }), 0u) << "no provider can tell the two apart";
    EXPECT_EQ(t.found(), "double-free");
}

TEST(Forwarding, a_block_with_an_open_window_is_never_handed_back)
{
    Audited t(usual | DMAUDIT_PROMISES_DETECTION);
    t.auditor.forward_illegal(true);
    const auto b = t.from_pool(t.pool(), page);
    t.window(b, 0, 1);
    EXPECT_EQ(t.calls_of([&] { t.auditor.release_from_pool(b, &t.ours); }), 0u) << "no provider can see that";
    EXPECT_EQ(t.found(), "free-while-mapped");
}

// ==== never quiet ====

TEST(Exhausted, buffers_blocks_mappings_windows_and_pools)
{
    constexpr uint32_t most = Slots<BufferRecord, Kind::buffer>::capacity;
    const auto until_it_stops = [](Audited& t, const std::function<void()>& once) {
        uint32_t n = 0;
        for (; n < 2 * most && !t.auditor.violation(); n++)
            once();
        EXPECT_EQ(t.found(), "auditor-exhausted");
        return n - 1;
    };
    {
        Audited t;
        EXPECT_EQ(until_it_stops(t, [&] { t.auditor.remove_buffer(t.buffer(0, 1)); }), most);
    }
    {
        Audited t;
        EXPECT_EQ(until_it_stops(t,
                                 [&] {
                                     t.provider.next = 0;
                                     const auto b = t.block(one_page);
                                     if (!t.auditor.violation())
                                         t.auditor.free_coherent(b);
                                 }),
                  most);
    }
    {
        Audited t;
        t.written_buffer(0, 64);
        EXPECT_EQ(until_it_stops(t,
                                 [&] {
                                     const auto m = t.map(0, 64, to);
                                     if (!t.auditor.violation())
                                         t.unmap(m);
                                 }),
                  most);
    }
    {
        Audited t;
        const auto b = t.from_pool(t.pool(), page);
        EXPECT_EQ(until_it_stops(t,
                                 [&] {
                                     if (const Tag w = t.window(b, 0, 1))
                                         t.auditor.munmap(w);
                                 }),
                  most);
    }
    {
        Audited t;
        EXPECT_EQ(until_it_stops(t,
                                 [&] {
                                     const Tag p = t.pool();
                                     if (!t.auditor.violation())
                                         t.auditor.release_pool(p);
                                 }),
                  most);
    }
}

TEST(Exhausted, ranges_that_a_mapping_has_handed_over)
{
    Audited t;
    t.written_buffer(0, 128);
    const auto m0 = t.map(0, 128, to);
    t.map(0, 128, to, other_nc);
    unsigned n = 0;
    for (; n < 64 && !t.auditor.violation(); n++)
        t.for_cpu(m0, 2 * n, 1);
    EXPECT_EQ(t.found(), "auditor-exhausted");
    EXPECT_EQ(n, 33u);
}

TEST(Exhausted, ranges_handed_over_before_the_bytes_were_shared)
{
    Audited t;
    t.written_buffer(0, 128);
    const auto m0 = t.map(0, 128, to);
    for (unsigned n = 0; n < 33; n++)
        t.for_cpu(m0, 2 * n, 1);
    EXPECT_EQ(t.found(), "nothing") << "the states remember it";
    t.map(0, 128, to, other_nc);
    EXPECT_EQ(t.found(), "auditor-exhausted");
}

TEST(First, what_the_machine_tells_during_a_call_comes_before_the_call_s_own_result)
{
    Audited t;
    t.written_buffer(0, 64);
    t.written_buffer(128, 64);
    t.machine.dirty = {client_at + 128};
    t.provider.map = [&](const dmaudit_request&, uint8_t*, uint32_t, dmaudit_mapping& m) {
        t.auditor.drops_dirty(client_at + 128);
        m.bus = DMAUDIT_NO_ADDRESS;
        return DMAUDIT_OK;
    };
    t.map(0, 64, to);
    EXPECT_EQ(t.found(), "corrupts-neighbour");
    EXPECT_EQ(t.auditor.mappings().live_count(), 0u);
}

// ==== off ====

TEST(Off, calls_are_passed_on_and_remembered_but_nothing_is_judged)
{
    Audited t;
    t.auditor.end();
    t.auditor.audit(false);
    t.begin();
    const Tag b = t.buffer(0, 64);
    t.machine.differs = {client_at};
    const auto m = t.map(0, 64, from);
    EXPECT_TRUE(t.auditor.mappings().alive(Audited::tag(m)));
    EXPECT_TRUE(t.auditor.cpu_access(b, 0, 64, false)) << "a device's bytes";
    EXPECT_EQ(t.unmap(m), DMAUDIT_OK);
    const auto k = t.block(zeroed(100));
    EXPECT_EQ(t.auditor.free_coherent(k), DMAUDIT_OK);
    EXPECT_EQ(t.machine.ram[0], 0) << "no scribble";
    EXPECT_EQ(t.found(), "nothing");
    EXPECT_EQ(t.provider.calls, 4u);
    t.auditor.end();
    t.auditor.audit(true);
    t.begin();
    t.buffer(0, 64);
    t.auditor.cpu_access(t.auditor.buffers().live(0), 0, 1, false);
    EXPECT_EQ(t.found(), "read-of-unwritten");
}

// ==== what others see ====

TEST(Trace, tells_each_applied_event_and_no_refused_one)
{
    struct Notes final : Auditor::Trace {
        std::string text;
        void applied(Event e, Range r) override
        {
            text += std::string(event_name(e)) + ":" + std::to_string(r.len) + " ";
        }
    } notes;
    Audited t;
    t.auditor.trace = &notes;
    const Tag b = t.written_buffer(0, 64);
    const auto m = t.map(0, 64, from);
    t.auditor.cpu_access(b, 0, 1, false);
    t.take();
    t.writes(m, 0, 8);
    t.for_cpu(m, 0, 16);
    t.rc = t.auditor.unmap_single(m, 8, 0);
    EXPECT_EQ(notes.text,
              "buffer_alloc:64 cpu_write:64 map_from:64 device_write:8 sync_for_cpu:16 unmap:8 unmap_tail:56 ");
}

TEST(Cells, count_what_was_judged_legal_or_not)
{
    Audited t;
    std::vector<uint8_t> cells(Auditor::cell_count);
    t.auditor.cells = cells.data();
    const Tag b = t.buffer(0, 64);
    t.auditor.cpu_access(b, 0, 1, false);
    const size_t set = static_cast<size_t>(std::count_if(cells.begin(), cells.end(), [](uint8_t c) { return c != 0; }));
    EXPECT_EQ(set, 2u) << "buffer_alloc of N, cpu_read of C";
    EXPECT_NE(cells[static_cast<size_t>(Event::cpu_read) * (2 * state_count + 1) + state_number(code_of(C_c))], 0);
}

TEST(Session, a_new_one_knows_nothing_of_the_last)
{
    Audited t;
    const Tag b = t.written_buffer(0, 64);
    t.block(one_page);
    t.map(0, 64, from);
    t.pool();
    t.auditor.cpu_access(b, 0, 1, false);
    EXPECT_NE(t.found(), "nothing");
    t.auditor.end();
    t.begin();
    EXPECT_EQ(t.found(), "nothing");
    EXPECT_FALSE(t.auditor.alive(b));
    EXPECT_EQ(t.auditor.mappings().live_count() + t.auditor.blocks().live_count() + t.auditor.pools().live_count(), 0u);
    EXPECT_EQ(t.auditor.pool_of(nc), 0u);
    EXPECT_EQ(t.state(client_at), "N");
    EXPECT_EQ(t.state(0), "P");
    EXPECT_EQ(t.buffer(0, 64), b) << "the same calls give the same tags";
}

#ifdef DMAUDIT_ASAN
TEST(Mirror, client_bytes_that_the_cpu_may_not_touch_are_poisoned)
{
    Audited t;
    const auto poisoned = [&](uint64_t place) {
        return __asan_address_is_poisoned(t.machine.client.data() + client_at + place) != 0;
    };
    EXPECT_TRUE(poisoned(0));
    const Tag b = t.written_buffer(0, 64);
    EXPECT_FALSE(poisoned(0));
    EXPECT_TRUE(poisoned(64));
    const auto m = t.map(0, 64, from);
    EXPECT_TRUE(poisoned(0));
    t.for_cpu(m, 0, 32);
    EXPECT_FALSE(poisoned(0));
    EXPECT_TRUE(poisoned(32));
    t.unmap(m);
    EXPECT_FALSE(poisoned(32));
    const auto reader = t.map(0, 64, to);
    EXPECT_FALSE(poisoned(0)) << "to_device bytes may be read";
    t.unmap(reader);
    t.auditor.remove_buffer(b);
    EXPECT_TRUE(poisoned(0));
}

TEST(Mirror, stale_bytes_may_be_written_so_they_are_not_poisoned)
{
    Audited t;
    const Tag b = t.written_buffer(0, 64);
    const auto m = t.map(0, 64, from);
    t.writes(m, 0, 64);
    t.unmap(m, DMAUDIT_ATTR_SKIP_CPU_SYNC);
    EXPECT_EQ(t.state(client_at), "C.s");
    EXPECT_TRUE(t.auditor.cpu_access(b, 0, 64, true));
    EXPECT_FALSE(__asan_address_is_poisoned(t.machine.client.data() + client_at)) << "a legal write would fault";
}
#endif

} // namespace
} // namespace dmaudit::fakes
