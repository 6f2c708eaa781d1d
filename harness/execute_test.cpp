// What is skipped, what the adversary does, what is not given back, and what the data oracle sees.
#include "harness/execute_testing.hpp"

#include <functional>
#include <string>
#include <vector>

namespace dmaudit {
namespace {

// ---- what is skipped, and why ----

const std::string one_of_each = "b0 = buffer size=64\n"
                                "b1 = buffer size=64 at=32\n"                     // impossible: b0 lies there
                                "b2 = buffer size=0 at=1K\n"                      // impossible: no bytes
                                "b3 = buffer size=64 at=0xffffffff\n"             // impossible: no such place
                                "k0 = alloc_coherent size=1M\n"                   // executed, and refused
                                "cpu_write k0 len=1\n"                            // not made
                                "free_coherent k0\n"                              // not made
                                "cpu_write b1 len=1\n"                            // not made
                                "cpu_read b0 len=1\n"                             // illegal: never written
                                "m0 = map_single b0 len=64 dir=to_device dev=3\n" // impossible: no such device
                                "unmap_single m0\n";                              // not made

TEST(Skip, each_step_is_counted_under_its_reason)
{
    const Ran r = run(conforming + one_of_each);
    EXPECT_EQ(r.found(), "clean");
    EXPECT_EQ(r.tally.cases, 1u);
    EXPECT_EQ(r.tally.steps, 11u);
    EXPECT_EQ(r.tally.executed, 2u);
    EXPECT_EQ(r.tally.not_made, 4u);
    EXPECT_EQ(r.tally.illegal, 1u);
    EXPECT_EQ(r.tally.impossible, 4u);
    EXPECT_EQ(r.tally.failures, 1u);
    EXPECT_EQ(r.tally.skipped_by[static_cast<size_t>(RuleId::read_of_unwritten)], 1u);
    EXPECT_EQ(r.tally.by_op[Ops::index_of<ops::Buffer>()], 1u);
    EXPECT_EQ(r.tally.by_op[Ops::index_of<ops::AllocCoherent>()], 1u) << "a refused call was made";
}

TEST(Skip, what_a_conforming_case_skips_a_hostile_one_reports)
{
    const Ran r = run(small + one_of_each);
    EXPECT_EQ(r.found(), "read-of-unwritten");
    EXPECT_EQ(r.result.step, 8u);
    EXPECT_EQ(r.tally.steps, 9u) << "the case ends there";
}

TEST(Skip, a_device_that_does_not_exist_is_a_hostile_client_s_mistake)
{
    EXPECT_EQ(run(small + "b0 = buffer size=64\nm0 = map_single b0 len=64 dir=to_device dev=3\n").found(),
              "wrong-device");
    EXPECT_EQ(run(small + "k0 = alloc_coherent size=64 dev=1\n").found(), "wrong-device");
}

TEST(Skip, a_facet_or_call_that_the_provider_lacks)
{
    const std::string uses_all =
        conforming +
        "b0 = buffer size=64\ncpu_write b0 len=64\nm0 = map_single b0 len=64 dir=to_device\ndevice_read m0 len=64\n"
        "p0 = declare_pool size=8K\nk0 = alloc_from_pool p0 size=100\nk1 = alloc_coherent size=100\ncache b0 len=64 "
        "op=flush\n";
    Table t;
    EXPECT_EQ(run(uses_all, t.provider).tally.executed, 8u);
    t.provider.streaming = nullptr;
    Ran r = run(uses_all, t.provider);
    EXPECT_EQ(r.found(), "clean");
    EXPECT_EQ(r.tally.impossible, 2u) << "map_single, cache";
    EXPECT_EQ(r.tally.not_made, 1u) << "device_read";
    t.provider.pool = nullptr;
    r = run(uses_all, t.provider);
    EXPECT_EQ(r.tally.impossible, 4u);
    EXPECT_EQ(r.tally.not_made, 1u);
    Table u;
    u.streaming.cache = nullptr;
    EXPECT_EQ(run(uses_all, u.provider).tally.impossible, 1u) << "a single call";
    Table v;
    v.streaming.struct_size = offsetof(dmaudit_streaming, cache); // an older table, that ends before it
    EXPECT_EQ(run(uses_all, v.provider).tally.impossible, 1u);
}

TEST(Result, as_expected)
{
    Result clean, broken, closed;
    broken.violation = Violation{};
    broken.violation->rule = RuleId::overlap;
    closed.open_error = DMAUDIT_ENODEV;
    const Expect nothing{}, is_clean{Expect::clean, RuleId::none}, overlap{Expect::violation, RuleId::overlap},
        leak{Expect::violation, RuleId::leak};
    EXPECT_TRUE(clean.as_expected(nothing) && clean.as_expected(is_clean));
    EXPECT_FALSE(clean.as_expected(overlap));
    EXPECT_TRUE(broken.as_expected(overlap));
    EXPECT_FALSE(broken.as_expected(leak) || broken.as_expected(is_clean) || broken.as_expected(nothing));
    EXPECT_FALSE(closed.as_expected(nothing) || closed.as_expected(is_clean) || closed.as_expected(overlap));
}

TEST(Execute, a_provider_that_does_not_open_is_not_run)
{
    Table t;
    t.provider.open = [](const dmaudit_platform*, void**) -> int { return DMAUDIT_ENODEV; };
    t.provider.close = [](void*) { ADD_FAILURE() << "closed, though it never opened"; };
    const Ran r = run(small + "b0 = buffer size=64\ncpu_read b0 len=1\n", t.provider);
    EXPECT_EQ(r.result.open_error, DMAUDIT_ENODEV);
    EXPECT_FALSE(r.result.violation);
    EXPECT_EQ(r.tally.steps, 0u);
}

// ---- the adversary ----

TEST(Adversary, acts_at_the_named_platform_call_inside_the_next_call)
{
    const auto fired = [](const std::string& line) {
        return run(small + "b0 = buffer size=64\ncpu_write b0 len=64\n" + line +
                   "m0 = map_single b0 len=64 dir=to_device\nunmap_single m0\n")
            .tally.evictions_inside;
    };
    EXPECT_EQ(fired(""), 0u);
    EXPECT_EQ(fired("evict b0 len=64 callback=1\n"), 1u);
    EXPECT_EQ(fired("evict b0 len=64 callback=2\n"), 1u);
    EXPECT_EQ(fired("prefetch b0 len=64 callback=1\nevict b0 len=64 callback=2\n"), 2u);
    EXPECT_EQ(fired("evict b0 len=64 callback=1000\n"), 0u) << "the call makes fewer platform calls";
    EXPECT_EQ(fired("evict b0 len=64\n"), 0u) << "at once, not inside a call";
}

TEST(Adversary, what_did_not_fire_is_disarmed)
{
    // The call that frees makes more platform calls than the map: an act left armed would fire there.
    uint64_t calls_in_map = 0;
    for (uint64_t n = 1; n < 50; n++)
        if (run(small + "b0 = buffer size=64\nk0 = alloc_coherent size=64\nevict b0 len=64 callback=" +
                std::to_string(n) + "\nm0 = map_single b0 len=64 dir=to_device\n")
                .tally.evictions_inside)
            calls_in_map = n;
    ASSERT_GT(calls_in_map, 0u);
    const auto n = std::to_string(calls_in_map + 1);
    const std::string lines =
        small + "b0 = buffer size=64\nevict b0 len=64 callback=" + n + "\nm0 = map_single b0 len=64 dir=to_device\n";
    EXPECT_EQ(run(lines + "unmap_single m0\nm1 = map_single b0 len=64 dir=bidirectional\nk0 = alloc_coherent size=8K "
                          "zero=yes\nfree_coherent k0\n")
                  .tally.evictions_inside,
              0u);
}

TEST(Adversary, more_acts_than_there_is_room_for_are_skipped)
{
    std::string text = small + "b0 = buffer size=64\n";
    for (unsigned i = 0; i < Machine::most_armed + 2; i++)
        text += "evict b0 len=64 callback=1\n";
    const Ran r = run(text + "m0 = map_single b0 len=64 dir=to_device\n");
    EXPECT_EQ(r.tally.impossible, 2u);
    EXPECT_EQ(r.tally.evictions_inside, uint64_t{Machine::most_armed});
}

TEST(Adversary, needs_a_living_object_and_a_range_inside_it)
{
    const Ran r =
        run(conforming + "b0 = buffer size=64\nevict b0 len=65\nevict b0 off=1 len=0xffffffffffffffff\nprefetch b0 "
                         "off=64 len=0\nfree_buffer b0\nevict b0 len=1\n");
    EXPECT_EQ(r.tally.impossible, 3u);
    EXPECT_EQ(r.tally.executed, 3u);
    EXPECT_EQ(r.found(), "clean");
}

TEST(Faults, fire_in_the_next_call_and_a_provider_that_undoes_is_clean)
{
    const std::string text =
        conforming + "fail nth=1\nk0 = alloc_coherent size=8K\nk1 = alloc_coherent size=8K\ncpu_write k1 len=1\n";
    const Ran r = run(text);
    EXPECT_EQ(r.found(), "clean");
    EXPECT_GT(r.tally.faults, 0u);
    EXPECT_EQ(r.tally.failures, 1u);
    EXPECT_EQ(r.tally.executed, 4u) << "the next one succeeds";
    EXPECT_EQ(run(conforming +
                  "fail nth=1\np0 = declare_pool size=8K\np1 = declare_pool size=8K\nk0 = alloc_from_pool p1 size=1\n")
                  .found(),
              "clean");
    EXPECT_EQ(run(conforming + "fail nth=1000\nk0 = alloc_coherent size=8K\n").tally.faults, 0u);
}

TEST(Faults, are_counted_in_the_call_in_which_they_fire)
{
    const Ran r =
        run(conforming + "fail nth=1\nk0 = alloc_coherent size=8K\nk1 = alloc_coherent size=8K\nfree_coherent k1\n");
    EXPECT_EQ(r.tally.faults, 1u);
}

TEST(Faults, a_provider_that_does_not_undo_is_found)
{
    Table t;
    t.coherent.alloc = [](void* ctx, const dmaudit_request* r, dmaudit_block* out) -> int {
        const int rc = builtin_provider().coherent->alloc(ctx, r, out);
        return rc == DMAUDIT_OK ? DMAUDIT_EIO : rc; // keeps what it has got
    };
    EXPECT_EQ(run(small + "k0 = alloc_coherent size=8K\n", t.provider).found(), "failure-has-effect");
}

TEST(Faults, last_while_metadata_memory_is_short)
{
    // A pool is a piece of metadata of its own.
    const std::string text = conforming +
                             "starve\np0 = declare_pool size=8K\np1 = declare_pool size=8K\nstarve end=yes\n"
                             "p2 = declare_pool size=8K\nk0 = alloc_from_pool p2 size=1\n";
    const Ran r = run(text);
    EXPECT_EQ(r.found(), "clean");
    EXPECT_EQ(r.tally.faults, 2u);
    EXPECT_EQ(r.tally.failures, 2u);
    EXPECT_EQ(run(conforming + "starve\nk0 = alloc_coherent size=8K\ncpu_write k0 len=1\n").tally.faults, 0u)
        << "records have room as long as they are few";
    Table t;
    t.pool.declare = [](void* ctx, uint32_t dev, uint64_t phys, uint64_t bus, uint64_t size,
                        uint32_t* exclusive) -> int {
        const int rc = builtin_provider().pool->declare(ctx, dev, phys, bus, size, exclusive);
        return rc == DMAUDIT_ENOMEM ? DMAUDIT_OK : rc;
    };
    EXPECT_EQ(run(conforming + "starve\np0 = declare_pool size=8K\nstarve end=yes\nk0 = alloc_from_pool p0 size=1\n",
                  t.provider)
                  .found(),
              "spurious-failure");
}

// What was had in the case is asked for again at the end, and this one needs metadata for it.
TEST(Faults, end_with_the_case)
{
    static const dmaudit_platform* platform;
    Table t;
    t.provider.open = [](const dmaudit_platform* p, void** ctx) -> int {
        platform = p;
        return builtin_provider().open(p, ctx);
    };
    t.coherent.alloc = [](void* ctx, const dmaudit_request* r, dmaudit_block* out) -> int {
        void* scratch = platform->meta_alloc(platform->self, 8);
        if (!scratch)
            return DMAUDIT_ENOMEM;
        platform->meta_free(platform->self, scratch);
        return builtin_provider().coherent->alloc(ctx, r, out);
    };
    const Ran r = run(conforming + "k0 = alloc_coherent size=4K\nstarve\nk1 = alloc_coherent size=4K\n", t.provider);
    EXPECT_EQ(r.tally.faults, 1u);
    EXPECT_EQ(r.found(), "clean");
}

// ---- what is not given back ----

TEST(Conservation, a_page_that_is_kept_is_lost_capacity)
{
    const std::string text = small + "k0 = alloc_coherent size=32K\ncpu_write k0 len=1\n";
    EXPECT_EQ(run(text).found(), "clean");
    Table t;
    t.coherent.free = [](void*, const dmaudit_block*) -> int { return DMAUDIT_OK; };
    const Ran r = run(text, t.provider);
    EXPECT_EQ(r.found(), "lost-capacity");
    EXPECT_EQ(r.result.step, 2u) << "at the end";
}

TEST(Conservation, pool_pages_that_are_kept_are_lost_capacity)
{
    const std::string text = small + "p0 = declare_pool size=16K\nk0 = alloc_from_pool p0 size=16K\n";
    EXPECT_EQ(run(text).found(), "clean");
    Table t;
    t.pool.release_from = [](void*, uint32_t, uint32_t, void*, int* ours) -> int {
        *ours = 1;
        return DMAUDIT_OK;
    };
    EXPECT_EQ(run(text, t.provider).found(), "lost-capacity");
}

TEST(Conservation, what_close_keeps)
{
    Table t;
    t.provider.open = [](const dmaudit_platform* p, void** ctx) -> int {
        p->meta_alloc(p->self, 10);
        return builtin_provider().open(p, ctx);
    };
    EXPECT_EQ(run(small, t.provider).found(), "lost-capacity") << "metadata";
    t.provider.open = [](const dmaudit_platform* p, void** ctx) -> int {
        p->set_uncached(p->self, p->arenas[0].phys, p->page, 1);
        return builtin_provider().open(p, ctx);
    };
    EXPECT_EQ(run(small, t.provider).found(), "lost-capacity") << "uncached pages";
    EXPECT_EQ(run(small).found(), "clean");
}

// What a provider does to the cache while it is opened concerns nobody; the world before may have been smaller.
TEST(Open, may_make_its_arena_uncached)
{
    static dmaudit_platform platform;
    Table t;
    t.provider.open = [](const dmaudit_platform* p, void** ctx) -> int {
        platform = *p;
        const dmaudit_range& arena = p->arenas[0];
        // Its last byte is written, cleaned, written again and dropped.
        static_cast<uint8_t*>(p->banks[0].cpu)[arena.size - 1] = 1;
        p->clean(p->self, arena.phys, arena.size);
        static_cast<uint8_t*>(p->banks[0].cpu)[arena.size - 1] = 2;
        p->invalidate(p->self, arena.phys, arena.size);
        const int rc = p->set_uncached(p->self, arena.phys, arena.size, 1);
        return rc ? rc : builtin_provider().open(p, ctx);
    };
    t.provider.close = [](void* ctx) {
        builtin_provider().close(ctx);
        platform.set_uncached(platform.self, platform.arenas[0].phys, platform.arenas[0].size, 0);
    };
    Session session;
    for (const char* world : {"world banks=64K@0x80000000 coherent=no\n", "world banks=4M@0x80000000 coherent=no\n"}) {
        const Result r = execute(case_of(std::string(world) + "b0 = buffer size=64\ncpu_write b0 len=64\n"), t.provider, session);
        EXPECT_EQ(r.open_error, DMAUDIT_OK);
        EXPECT_FALSE(r.violation) << world;
    }
}

TEST(Metadata, that_is_none_is_not_freed_and_counts_as_a_crash)
{
    static int freed;
    Table t;
    t.provider.open = [](const dmaudit_platform* p, void** ctx) -> int {
        alignas(16) static uint8_t foreign[256];
        p->meta_free(p->self, freed ? foreign + 128 : nullptr);
        return builtin_provider().open(p, ctx);
    };
    freed = 0;
    EXPECT_EQ(run(small, t.provider).found(), "clean");
    freed = 1;
    EXPECT_EQ(run(small, t.provider).found(), "provider-crash");
}

TEST(Locks, one_that_is_kept_or_given_back_twice_or_taken_twice_is_no_progress)
{
    static uint64_t word;
    Table t;
    t.provider.open = [](const dmaudit_platform* p, void** ctx) -> int {
        word = 0;
        p->lock(p->self, &word);
        return builtin_provider().open(p, ctx);
    };
    EXPECT_EQ(run(small, t.provider).found(), "no-progress") << "kept";
    t.provider.open = [](const dmaudit_platform* p, void** ctx) -> int {
        word = 0;
        p->unlock(p->self, &word);
        return builtin_provider().open(p, ctx);
    };
    EXPECT_EQ(run(small, t.provider).found(), "no-progress") << "never taken";
    t.provider.open = [](const dmaudit_platform* p, void** ctx) -> int {
        word = 0;
        p->lock(p->self, &word);
        p->lock(p->self, &word);
        p->unlock(p->self, &word);
        return builtin_provider().open(p, ctx);
    };
    EXPECT_EQ(run(small, t.provider).found(), "no-progress") << "taken twice";
    t.provider.open = [](const dmaudit_platform* p, void** ctx) -> int {
        word = 0;
        p->lock(p->self, &word);
        p->unlock(p->self, &word);
        return builtin_provider().open(p, ctx);
    };
    EXPECT_EQ(run(small, t.provider).found(), "clean");
}

TEST(Teardown, gives_back_whatever_the_case_left)
{
    const Ran r = run(small + "p0 = declare_pool size=8K\nk0 = alloc_from_pool p0 size=100\nw0 = mmap_from_pool k0 "
                              "pages=1\nk1 = alloc_coherent size=100\n"
                              "b0 = buffer size=64\ncpu_write b0 len=64\nm0 = map_single b0 len=64 "
                              "dir=bidirectional\nsync_single_for_cpu m0 len=64\ncpu_write b0 len=64\n");
    EXPECT_EQ(r.found(), "clean") << "bytes that an unmap would discard are no mistake of a case that ended";
}

// ---- the data oracle ----

TEST(Data, a_byte_behind_the_mapping_that_changes_is_corrupts_neighbour)
{
    const std::string text =
        small + "b0 = buffer size=256\ncpu_write b0 len=256\nm0 = map_single b0 off=64 len=64 dir=to_device\n";
    EXPECT_EQ(run(text).found(), "clean");
    Table t;
    t.streaming.map_single = [](void* ctx, const dmaudit_request* r, void* cpu, uint32_t d, dmaudit_mapping* m) -> int {
        static_cast<uint8_t*>(cpu)[r->size] ^= 1;
        return builtin_provider().streaming->map_single(ctx, r, cpu, d, m);
    };
    const Ran r = run(text, t.provider);
    EXPECT_EQ(r.found(), "corrupts-neighbour");
    EXPECT_EQ(r.result.step, 2u);
}

TEST(Data, changed_client_bytes_are_found_at_the_latest_when_the_case_ends)
{
    Table t;
    t.coherent.alloc = [](void* ctx, const dmaudit_request* r, dmaudit_block* out) -> int {
        const int rc = builtin_provider().coherent->alloc(ctx, r, out);
        if (rc == DMAUDIT_OK) // the last byte of RAM: the client's
            static_cast<uint8_t*>(out->cpu)[(64 << 10) - 1 - (out->bus - 0x80000000)] ^= 1;
        return rc;
    };
    const std::string buffer = small + "b0 = buffer size=16K\n", alloc = "k0 = alloc_coherent size=100\n";
    EXPECT_EQ(run(buffer + "cpu_write b0 len=16K\n" + alloc, t.provider).found(), "corrupts-neighbour");
    EXPECT_EQ(run(buffer + "cpu_write b0 len=16K\n" + alloc + "free_buffer b0\n", t.provider).result.step, 3u);
    EXPECT_EQ(run(buffer + alloc, t.provider).found(), "clean") << "a byte without a value";
}

TEST(Data, a_device_s_bytes_that_the_cpu_does_not_get)
{
    Table t;
    t.streaming.sync = [](void*, const dmaudit_mapping*, uint64_t, uint64_t, uint32_t, uint32_t) -> int {
        return DMAUDIT_OK;
    };
    const std::string text = "b0 = buffer size=64\nm0 = map_single b0 len=64 dir=from_device\ndevice_write m0 "
                             "len=64\nsync_single_for_cpu m0 len=64\n";
    EXPECT_EQ(run(small + text, t.provider).found(), "missing-invalidate");
    EXPECT_EQ(run("world banks=64K@0x80000000 limit=0x8000bfff\n" + text, t.provider).found(), "stale-bounce");
    EXPECT_EQ(run("world banks=64K@0x80000000 coherent=yes\n" + text, t.provider).found(), "clean")
        << "nothing to do there";
    EXPECT_EQ(run(small + text).found(), "clean");
}

// ---- illegal calls ----

TEST(Illegal, a_free_that_ought_to_be_detected_is_forwarded_by_hostile_cases_only)
{
    Table t;
    t.coherent.free = [](void* ctx, const dmaudit_block* b) -> int {
        builtin_provider().coherent->free(ctx, b);
        return DMAUDIT_OK;
    };
    const std::string text = "k0 = alloc_coherent size=100\nfree_coherent k0\nfree_coherent k0\n";
    EXPECT_EQ(run(small + text).found(), "double-free");
    EXPECT_EQ(run(small + text, t.provider).found(), "wrong-return");
    EXPECT_EQ(run(conforming + text, t.provider).found(), "clean");
    t.provider.promises &= ~DMAUDIT_PROMISES_DETECTION;
    EXPECT_EQ(run(small + text, t.provider).found(), "double-free") << "never promised";
}

TEST(Illegal, each_lie_is_named)
{
    const std::string block = small + "device coherent=yes\nk0 = alloc_coherent size=100\nfree_coherent k0 lie=";
    EXPECT_EQ(run(block + "size-1\n").found(), "free-mismatch");
    EXPECT_EQ(run(block + "size+1\n").found(), "free-mismatch");
    EXPECT_EQ(run(block + "interior\n").found(), "free-mismatch");
    EXPECT_EQ(run(block + "foreign\n").found(), "free-mismatch");
    EXPECT_EQ(run(block + "other-device\n").found(), "wrong-device");
    EXPECT_EQ(run(block + "other-kind\n").found(), "wrong-kind");
    EXPECT_EQ(run(block + "none\n").found(), "clean");
    const std::string mapping =
        small +
        "device coherent=yes\nb0 = buffer size=64\nm0 = map_single b0 len=64 dir=to_device\nunmap_single m0 lie=";
    EXPECT_EQ(run(mapping + "size-1\n").found(), "free-mismatch");
    EXPECT_EQ(run(mapping + "size+1\n").found(), "free-mismatch");
    EXPECT_EQ(run(mapping + "interior\n").found(), "free-mismatch");
    EXPECT_EQ(run(mapping + "foreign\n").found(), "free-mismatch");
    EXPECT_EQ(run(mapping + "other-dir\n").found(), "wrong-direction");
    EXPECT_EQ(run(mapping + "other-device\n").found(), "wrong-device");
    EXPECT_EQ(run(mapping + "other-kind\n").found(), "wrong-kind");
}

// ---- traces and features ----

TEST(Trace, tells_each_step_before_its_events_and_stops_in_the_open_session)
{
    struct Notes final : StepTrace {
        std::string text;
        bool was_open = false;
        void step(unsigned i) override { text += std::to_string(i) + ": "; }
        void applied(Event e, Range) override { text += std::string(event_name(e)) + " "; }
        void stopped(Session& s) override { was_open = s.is_open(); }
    } notes;
    Session session;
    const Case c = case_of(small + "b0 = buffer size=64\ncpu_write b0 len=64\ncpu_read b0 len=65\n");
    execute(c, builtin_provider(), session, nullptr, nullptr, &notes);
    EXPECT_EQ(notes.text, "0: buffer_alloc 1: cpu_write 2: ");
    EXPECT_TRUE(notes.was_open);
    notes.text.clear();
    execute(case_of(small + "b0 = buffer size=64\n"), builtin_provider(), session, nullptr, nullptr, &notes);
    EXPECT_EQ(notes.text, "0: buffer_alloc 1: buffer_free ") << "a clean run ends with giving everything back";
}

TEST(Execute, twice_gives_the_same_counts_and_cells)
{
    Session session;
    const Case c = case_of(conforming + one_of_each);
    Tally first, second;
    std::vector<uint8_t> cells(Auditor::cell_count), again(Auditor::cell_count);
    execute(c, builtin_provider(), session, &first, cells.data());
    execute(c, builtin_provider(), session, &second, again.data());
    EXPECT_EQ(cells, again);
    EXPECT_EQ(first.by_op, second.by_op);
    EXPECT_EQ(first.skipped_by, second.skipped_by);
    Tally sum = first;
    sum.add(second);
    EXPECT_EQ(sum.steps, 22u);
    EXPECT_EQ(sum.illegal, 2u);
    EXPECT_EQ(sum.by_op[0], 2u);
}

// ---- opaque memory ----

TEST(Opaque, what_a_window_shows_is_compared)
{
    const std::string text = small + "k0 = alloc_opaque size=100\ndevice_write k0 len=100 seed=1\n"
                                     "w0 = mmap_coherent k0\ncpu_read w0 len=100\n";
    EXPECT_EQ(run(text).found(), "clean");
    Table t;
    static const dmaudit_platform* platform;
    t.provider.open = [](const dmaudit_platform* p, void** ctx) {
        platform = p;
        return builtin_provider().open(p, ctx);
    };
    t.coherent.mmap = [](void* ctx, const dmaudit_block* b, uint64_t pgoff, uint64_t pages, dmaudit_window* w) {
        const int rc = builtin_provider().coherent->mmap(ctx, b, pgoff, pages, w);
        static_cast<uint8_t*>(dmaudit_cpu_of(platform, w->phys))[99] ^= 1;
        return rc;
    };
    EXPECT_EQ(run(text, t.provider).found(), "corrupts-neighbour");
}

// ==== after an illegal free that was refused ====

// Refuses, and frees all the same.
struct FreesWhatItRefuses : Table {
    FreesWhatItRefuses()
    {
        coherent.free = [](void* ctx, const dmaudit_block* b) -> int {
            const int rc = builtin_provider().coherent->free(ctx, b);
            dmaudit_block right = *b;
            right.size = 4096;
            if (rc != DMAUDIT_OK)
                builtin_provider().coherent->free(ctx, &right);
            return rc;
        };
    }
};

TEST(RefusedFree, that_had_an_effect_shows_when_everything_is_given_back)
{
    const std::string text = small + "k0 = alloc_coherent size=4096\nfree_coherent k0 lie=size+1\n";
    FreesWhatItRefuses table;
    const Ran wrong = run(text, table.provider), right = run(text);
    EXPECT_EQ(wrong.found(), "wrong-return");
    EXPECT_EQ(wrong.result.step, 2u) << "the end";
    EXPECT_EQ(right.found(), "free-mismatch") << "the client's mistake";
    EXPECT_EQ(right.result.step, 1u);
}

TEST(RefusedFree, that_had_an_effect_shows_in_what_comes_later)
{
    FreesWhatItRefuses table;
    const Ran r =
        run(small + "k0 = alloc_coherent size=4096\nfree_coherent k0 lie=size+1\nk1 = alloc_coherent size=1\n",
            table.provider);
    EXPECT_EQ(r.tally.steps, 3u);
    EXPECT_EQ(r.found(), "overlap");
    EXPECT_EQ(r.result.step, 2u);
}

// Nothing was forwarded, so nothing is said of the provider.
TEST(RefusedFree, is_not_supposed_where_detection_is_not_promised)
{
    FreesWhatItRefuses table;
    table.provider.promises &= ~DMAUDIT_PROMISES_DETECTION;
    EXPECT_EQ(run(small + "k0 = alloc_coherent size=4096\nfree_coherent k0 lie=size+1\n", table.provider).found(),
              "free-mismatch");
}

} // namespace
} // namespace dmaudit
