// What has room must not be refused; what is given back can be had again; and who says it never promised is believed.
#include "harness/execute_testing.hpp"

namespace dmaudit {
namespace {

// Refuses one call with a code; the others are the built-in provider's.
struct Refuses : Table {
    inline static int code, left;
    dmaudit_scatter scatter = *builtin_provider().scatter;
    dmaudit_parameters parameters = *builtin_provider().parameters;
    static bool now() { return left-- == 0; }
    explicit Refuses(int rc, int which = 0)
    {
        code = rc, left = which;
        coherent.alloc = [](void* ctx, const dmaudit_request* r, dmaudit_block* out) -> int {
            return now() ? code : builtin_provider().coherent->alloc(ctx, r, out);
        };
        coherent.alloc_noncoherent = [](void* ctx, const dmaudit_request* r, uint32_t direction,
                                        dmaudit_block* out) -> int {
            return now() ? code : builtin_provider().coherent->alloc_noncoherent(ctx, r, direction, out);
        };
        streaming.map_single = [](void* ctx, const dmaudit_request* r, void* cpu, uint32_t direction,
                                  dmaudit_mapping* out) -> int {
            return now() ? code : builtin_provider().streaming->map_single(ctx, r, cpu, direction, out);
        };
        scatter.map_sg = [](void* ctx, const dmaudit_request* r, dmaudit_sg* sg) -> int {
            return now() ? code : builtin_provider().scatter->map_sg(ctx, r, sg);
        };
        pool.alloc_from = [](void* ctx, uint32_t device, uint64_t size, dmaudit_block* out, int* ours) -> int {
            const bool refused = now();
            *ours = refused;
            return refused ? code : builtin_provider().pool->alloc_from(ctx, device, size, out, ours);
        };
        parameters.set_mask = [](void* ctx, uint32_t device, uint64_t mask) -> int {
            return now() ? code : builtin_provider().parameters->set_mask(ctx, device, mask);
        };
        provider.scatter = &scatter;
        provider.parameters = &parameters;
    }
    Refuses& promising_no(uint64_t bits)
    {
        provider.promises &= ~bits;
        return *this;
    }
};
constexpr uint64_t room = DMAUDIT_PROMISES_COMPLETE | DMAUDIT_PROMISES_COMPLETE_IOVA | DMAUDIT_PROMISES_FIRST_FIT;

const std::string two_banks = "world banks=32K@0x80000000,64K@0x90000000 mode=conforming\n";

TEST(Room, of_an_arena)
{
    for (const std::string one :
         {"k0 = alloc_coherent size=16K\n", "k0 = alloc_coherent size=1 align=8K\n", "k0 = alloc_coherent size=32K\n",
          "k0 = alloc_coherent size=1 limit=0x80000fff\n", "k0 = alloc_coherent size=8K boundary=8K\n",
          "k0 = alloc_opaque size=4K\n", "k0 = alloc_noncoherent size=4K dir=to_device\n"}) {
        for (const int code :
             {DMAUDIT_ENOMEM, DMAUDIT_EMASK, DMAUDIT_EALIGN, DMAUDIT_EIO, DMAUDIT_ENXIO, DMAUDIT_ENOSYS}) {
            EXPECT_EQ(run(two_banks + one, Refuses(code).provider).found(), "spurious-failure") << one << code;
            EXPECT_EQ(run(two_banks + one, Refuses(code).promising_no(room).provider).found(), "clean") << one << code;
        }
        // Numbers that not everybody knows may be called malformed, but not by who promises to serve them.
        const std::string odd = "k0 = alloc_coherent size=1 align=8K\n";
        EXPECT_EQ(run(two_banks + odd, Refuses(DMAUDIT_EINVAL).provider).found(), "spurious-failure");
        EXPECT_EQ(run(two_banks + odd, Refuses(DMAUDIT_EINVAL).promising_no(room).provider).found(), "clean");
        EXPECT_EQ(run(two_banks + "k0 = alloc_coherent size=1 align=3\n", Refuses(DMAUDIT_EINVAL).provider).found(),
                  "clean");
        EXPECT_EQ(run(two_banks + one).found(), "clean") << one;
    }
}

TEST(Room, that_there_is_not_is_no_fault)
{
    for (const std::string text :
         {"k0 = alloc_coherent size=16K\nk1 = alloc_coherent size=32K\nk2 = alloc_coherent size=1\n", // all taken
          "k0 = alloc_coherent size=64K\n", "k0 = alloc_coherent size=4K limit=0x80000ffe\n"}) {
        const Ran builtin = run(two_banks + text);
        EXPECT_EQ(builtin.found(), "clean") << text;
        EXPECT_EQ(builtin.tally.failures, 1u) << text;
    }
    // One page of the first arena is taken: no aligned run of 16K is left there, and the second has but 32K.
    EXPECT_EQ(
        run(two_banks + "k0 = alloc_coherent size=32K\nk1 = alloc_coherent size=1\nk2 = alloc_coherent size=16K\n",
            Refuses(DMAUDIT_ENOMEM, 2).provider)
            .found(),
        "clean");
    EXPECT_EQ(run(two_banks + "k0 = alloc_coherent size=32K\nk1 = alloc_coherent size=1\nk2 = alloc_coherent size=8K\n",
                  Refuses(DMAUDIT_ENOMEM, 2).provider)
                  .found(),
              "spurious-failure");
    // A bounce buffer takes its page.
    const std::string bounced =
        "world banks=16K@0x80000000,32K@0x90000000 limit=0x80000fff mode=conforming\n"
        "b0 = buffer size=64 at=4K\ncpu_write b0 len=64\nm0 = map_single b0 len=64 dir=to_device\n";
    EXPECT_EQ(run(bounced + "k0 = alloc_coherent size=1\n", Refuses(DMAUDIT_ENOMEM, 1).provider).found(), "clean");
    EXPECT_EQ(
        run(bounced + "unmap_single m0\nk0 = alloc_coherent size=1\n", Refuses(DMAUDIT_ENOMEM, 1).provider).found(),
        "spurious-failure");
    // A fault is a reason.
    EXPECT_EQ(run(two_banks + "fail nth=1\nk0 = alloc_coherent size=16K\n").found(), "clean");
}

TEST(Room, for_a_bounce_buffer)
{
    const std::string world = "world banks=16K@0x80000000,32K@0x90000000 limit=0x80001fff mode=conforming\n",
                      map = "b0 = buffer size=4K at=4K\ncpu_write b0 len=4K\nm0 = map_single b0 len=4K dir=to_device\n";
    EXPECT_EQ(run(world + map).found(), "clean");
    for (const int code : {DMAUDIT_ENOMEM, DMAUDIT_EMASK, DMAUDIT_EALIGN}) {
        EXPECT_EQ(run(world + map, Refuses(code).provider).found(), "spurious-failure") << code;
        EXPECT_EQ(run(world + map, Refuses(code).promising_no(room).provider).found(), "clean") << code;
    }
    const Ran full = run(world + "k0 = alloc_coherent size=8K\n" + map);
    EXPECT_EQ(full.found(), "clean");
    EXPECT_EQ(full.tally.failures, 1u);
}

TEST(Room, below_a_mask)
{
    const std::string mask = "set_mask mask=0x80000fff\n";
    EXPECT_EQ(run(two_banks + mask).tally.failures, 0u);
    for (const int code : {DMAUDIT_EIO, DMAUDIT_EINVAL, DMAUDIT_EMASK})
        EXPECT_EQ(run(two_banks + mask, Refuses(code).provider).found(), "spurious-failure") << code;
    EXPECT_EQ(run(two_banks + mask, Refuses(DMAUDIT_EIO).promising_no(room).provider).found(), "clean");
    EXPECT_EQ(run(two_banks + "set_mask mask=0x80000ffe\n", Refuses(DMAUDIT_EIO).provider).found(), "clean")
        << "not a page";
}

TEST(Room, behind_an_iommu)
{
    const std::string world = "world banks=32K@0x80000000,64K@0x90000000 iommu=yes mode=conforming\n",
                      map = "b0 = buffer size=64 at=4K\ncpu_write b0 len=64\nm0 = map_single b0 len=64 dir=to_device\n";
    for (const std::string& one : {std::string("k0 = alloc_coherent size=16K\n"),
                                   std::string("k0 = alloc_coherent size=1 align=8K limit=0x7fff\n"), map}) {
        EXPECT_EQ(run(world + one).found(), "clean") << one;
        EXPECT_EQ(run(world + one, Refuses(DMAUDIT_EMASK).provider).found(), "spurious-failure") << one;
        EXPECT_EQ(run(world + one, Refuses(DMAUDIT_EMASK).promising_no(room).provider).found(), "clean") << one;
    }
    // Page 0 may be nobody's, and what is mapped, or unmapped and not flushed, is taken.
    EXPECT_EQ(run(world + "k0 = alloc_coherent size=1 limit=0xfff\n", Refuses(DMAUDIT_EMASK).provider).found(),
              "clean");
    EXPECT_EQ(run(world + "k0 = alloc_coherent size=8K limit=0x3fff\n", Refuses(DMAUDIT_EMASK).provider).found(),
              "spurious-failure");
    EXPECT_EQ(run(world + "k0 = alloc_coherent size=8K limit=0x3ffe\n", Refuses(DMAUDIT_EMASK).provider).found(),
              "clean");
    const std::string narrow = "world banks=32K@0x80000000,64K@0x90000000 iommu=yes limit=0x1fff mode=conforming\n";
    EXPECT_EQ(run(narrow + map + "k0 = alloc_coherent size=1\n", Refuses(DMAUDIT_EMASK, 1).provider).found(), "clean");
    EXPECT_EQ(run(narrow + map + "k0 = alloc_coherent size=1\n").tally.failures, 1u);
    EXPECT_EQ(
        run(narrow + map + "unmap_single m0\nk0 = alloc_coherent size=1\n", Refuses(DMAUDIT_EMASK, 1).provider).found(),
        "spurious-failure");
    // Addresses without memory.
    EXPECT_EQ(run(world + "k0 = alloc_coherent size=64K\n", Refuses(DMAUDIT_ENOMEM).provider).found(), "clean");

    EXPECT_EQ(run(world + "set_mask mask=0x1fff\n").tally.failures, 0u);
    EXPECT_EQ(run(world + "set_mask mask=0x1fff\n", Refuses(DMAUDIT_EIO).provider).found(), "spurious-failure");
    EXPECT_EQ(run(world + "set_mask mask=0x1fff\n", Refuses(DMAUDIT_EIO).promising_no(room).provider).found(), "clean");
    EXPECT_EQ(run(world + "set_mask mask=0x1ffe\n", Refuses(DMAUDIT_EIO).provider).found(), "clean");
}

TEST(Room, of_a_pool)
{
    const std::string pool = two_banks + "p0 = declare_pool size=16K at=8K exclusive=yes\n";
    for (const std::string one : {"k0 = alloc_from_pool p0 size=16K\n", "k0 = alloc_coherent size=1 align=8K\n",
                                  "k0 = alloc_coherent size=4K boundary=4K\n"}) {
        EXPECT_EQ(run(pool + one).found(), "clean") << one;
        EXPECT_EQ(run(pool + one, Refuses(DMAUDIT_ENOMEM).provider).found(), "spurious-failure") << one;
        EXPECT_EQ(run(pool + one, Refuses(DMAUDIT_ENOMEM).promising_no(room).provider).found(), "clean") << one;
    }
    // Who promises first fit only need not look at an alignment.
    EXPECT_EQ(run(pool + "k0 = alloc_coherent size=1 align=8K\n",
                  Refuses(DMAUDIT_EALIGN).promising_no(DMAUDIT_PROMISES_COMPLETE).provider)
                  .found(),
              "clean");
    EXPECT_EQ(run(pool + "k0 = alloc_coherent size=1\n",
                  Refuses(DMAUDIT_ENOMEM).promising_no(DMAUDIT_PROMISES_COMPLETE).provider)
                  .found(),
              "spurious-failure");
    // The last run counts, and one that is taken does not.
    const std::string half = pool + "k0 = alloc_from_pool p0 size=8K\n";
    EXPECT_EQ(run(half + "k1 = alloc_from_pool p0 size=8K\n", Refuses(DMAUDIT_ENOMEM, 1).provider).found(),
              "spurious-failure");
    EXPECT_EQ(run(half + "k1 = alloc_from_pool p0 size=16K\n", Refuses(DMAUDIT_ENOMEM, 1).provider).found(), "clean");
}

// Takes the first run for itself while it serves a request.
struct Passes : Table {
    inline static int held;
    Passes()
    {
        held = 0;
        pool.alloc_from = [](void* ctx, uint32_t device, uint64_t size, dmaudit_block* out, int* ours) -> int {
            const dmaudit_pool& builtin = *builtin_provider().pool;
            dmaudit_block first{};
            first.struct_size = sizeof first;
            int mine = 0;
            if (held++ == 0)
                builtin.alloc_from(ctx, device, 1, &first, &mine);
            const int rc = builtin.alloc_from(ctx, device, size, out, ours);
            if (mine)
                builtin.release_from(ctx, device, 0, first.cpu, &mine);
            return rc;
        };
    }
};

TEST(Room, of_a_pool_is_used_from_below)
{
    const std::string pool = two_banks + "p0 = declare_pool size=16K at=8K\n";
    Passes promises_nothing;
    promises_nothing.provider.promises &= ~DMAUDIT_PROMISES_LOWEST_RUN;
    for (const std::string one : {"k0 = alloc_from_pool p0 size=1\n", "k0 = alloc_coherent size=8K\n"}) {
        EXPECT_EQ(run(pool + one, promises_nothing.provider).found(), "clean") << one;
        EXPECT_EQ(run(pool + one).found(), "clean") << one;
    }
    EXPECT_EQ(run(pool + "k0 = alloc_from_pool p0 size=1\n", Passes().provider).found(), "wrong-return");
    // No run of two pages begins at an even device address.
    Passes at_any_page;
    at_any_page.coherent.alloc = [](void* ctx, const dmaudit_request* r, dmaudit_block* out) -> int {
        dmaudit_request two_runs = *r;
        two_runs.size *= 2, two_runs.align = 0;
        const int rc = builtin_provider().coherent->alloc(ctx, &two_runs, out);
        out->cpu = static_cast<uint8_t*>(out->cpu) + 4096, out->bus += 4096, out->granted = r->size;
        return rc;
    };
    const std::string odd =
        "world banks=32K@0x80001000,64K@0x90001000 mode=conforming\np0 = declare_pool size=16K at=8K\n";
    EXPECT_EQ(run(odd + "k0 = alloc_coherent size=8K align=8K\n", at_any_page.provider).found(), "wrong-return");
    // The lowest that meets the request: runs are counted from the pool's start, alignments in device addresses.
    EXPECT_EQ(run(pool + "k0 = alloc_from_pool p0 size=1\nk1 = alloc_coherent size=8K\nk2 = alloc_from_pool p0 size=1\n"
                         "free_coherent k1\nk3 = alloc_coherent size=4K align=16K\nk4 = alloc_from_pool p0 size=1\n")
                  .found(),
              "clean");
}

// A pool that is not exclusive passes a request on when it is full, and not else.
TEST(Room, of_a_pool_that_was_passed_over)
{
    Table passes;
    passes.coherent.alloc = [](void* ctx, const dmaudit_request* r, dmaudit_block* out) -> int {
        dmaudit_request other = *r;
        other.limit = 0x80003fff; // where the pool is not
        return builtin_provider().coherent->alloc(ctx, &other, out);
    };
    const std::string shared = two_banks + "p0 = declare_pool size=8K at=0\n";
    EXPECT_EQ(run(shared + "k0 = alloc_coherent size=8K\nk1 = alloc_coherent size=8K\n").found(), "clean");
    EXPECT_EQ(run(shared + "k0 = alloc_coherent size=8K\n", passes.provider).found(), "spurious-failure");
    EXPECT_EQ(run(shared + "k0 = alloc_from_pool p0 size=1\nk1 = alloc_coherent size=8K\n", passes.provider).found(),
              "clean");
}

TEST(Codes, that_blame_the_caller_are_wrong_where_the_request_is_legal)
{
    const std::string b = "b0 = buffer size=64\ncpu_write b0 len=64\n";
    for (const std::string& one : std::initializer_list<std::string>{
             "k0 = alloc_coherent size=1\n", "k0 = alloc_noncoherent size=1 dir=to_device\n",
             b + "m0 = map_single b0 len=64 dir=to_device\n", b + "g0 = map_sg b0 len=64 n=2 dir=to_device\n",
             b + "g0 = map_sg b0 len=64 n=2 dir=to_device shape=page_segments\n"}) {
        for (const int code : {DMAUDIT_EINVAL, DMAUDIT_EFAULT, DMAUDIT_ENULL, DMAUDIT_EZERO})
            EXPECT_EQ(run(two_banks + one, Refuses(code).promising_no(room).provider).found(), "wrong-return")
                << one << code;
        for (const int code : {DMAUDIT_ENOMEM, DMAUDIT_EMASK, DMAUDIT_EALIGN, DMAUDIT_EIO})
            EXPECT_EQ(run(two_banks + one, Refuses(code).promising_no(room).provider).found(), "clean") << one << code;
    }
    // For these there is no place anywhere.
    for (const std::string one : {"k0 = alloc_coherent size=8K boundary=4K\n", "k0 = alloc_coherent size=8M\n"})
        EXPECT_EQ(run(two_banks + one, Refuses(DMAUDIT_EINVAL).provider).found(), "clean") << one;
    // These an allocator of pages need not know.
    for (const std::string one : {"k0 = alloc_coherent size=1 align=8K\n", "k0 = alloc_coherent size=1 boundary=64\n"})
        EXPECT_EQ(run(two_banks + one, Refuses(DMAUDIT_EINVAL).promising_no(room).provider).found(), "clean") << one;
}

TEST(AtEnd, what_was_lost_on_the_way_shows_against_a_fresh_instance)
{
    Table loses;
    static int kept;
    loses.coherent.alloc = [](void* ctx, const dmaudit_request* r, dmaudit_block* out) -> int {
        const int rc = builtin_provider().coherent->alloc(ctx, r, out);
        if (r->size != 1 || rc != DMAUDIT_OK || kept++)
            return rc;
        return builtin_provider().coherent->alloc(ctx, r, out); // and the first one stays
    };
    const std::string text = "k0 = alloc_coherent size=1\nfree_coherent k0\n";
    kept = 0;
    EXPECT_EQ(run(two_banks + text, loses.provider).found(), "clean") << "there is room enough for what was asked";
    kept = 0;
    EXPECT_EQ(run(two_banks + text + "at_end\n", loses.provider).found(), "lost-capacity");
    kept = 0;
    loses.provider.promises |= DMAUDIT_TRAIT_LAZY_FLUSH;
    EXPECT_EQ(run(two_banks + text + "at_end\n", loses.provider).found(), "clean") << "it may come back later";
    EXPECT_EQ(run(two_banks + text + "at_end\n").found(), "clean");
}

// A provider of mappings only: what counts is how many there can be.
TEST(AtEnd, mappings_that_were_lost_on_the_way_show_too)
{
    Table loses;
    static int kept;
    loses.provider.coherent = nullptr;
    loses.streaming.map_single = [](void* ctx, const dmaudit_request* r, void* cpu, uint32_t direction,
                                    dmaudit_mapping* out) -> int {
        const int rc = builtin_provider().streaming->map_single(ctx, r, cpu, direction, out);
        if (r->size != 1 || rc != DMAUDIT_OK || kept++)
            return rc;
        return builtin_provider().streaming->map_single(ctx, r, cpu, direction, out); // and the first one stays
    };
    const std::string map = "b0 = buffer size=64 at=4K\nm0 = map_single b0 len=1 dir=from_device\n";
    for (const std::string world :
         {"world banks=32K@0x80000000,64K@0x90000000 iommu=yes limit=0x7fff mode=conforming\n",
          "world line=256 banks=16K@0x80000000,32K@0x90000000 limit=0x80000fff mode=conforming\n"}) {
        kept = 0;
        EXPECT_EQ(run(world + map, loses.provider).found(), "clean")
            << world << "there is room enough for what was asked";
        kept = 0;
        EXPECT_EQ(run(world + map + "at_end\n", loses.provider).found(), "lost-capacity") << world;
        EXPECT_EQ(run(world + map + "at_end\n").found(), "clean") << world;
    }
    // In place nothing is taken.
    kept = 0;
    EXPECT_EQ(run(two_banks + map + "at_end\n", loses.provider).found(), "clean");
}

// A mask that a mapping was made under is not left behind when its buffer is gone.
TEST(AtEnd, mappings_are_counted_under_no_mask)
{
    EXPECT_EQ(run("world page=65536 line=64 banks=512K@0x10000 coherent=no limit=0x6ffff mode=conforming\n"
                  "at_end\nset_min_align_mask mask=1023\nb0 = buffer size=1\nm0 = map_single b0 dir=bidirectional\n"
                  "unmap_single m0\nfree_buffer b0\n")
                  .found(),
              "clean");
}

// Every other instance has a page less: nothing is lost.
TEST(AtEnd, instances_may_differ)
{
    static unsigned opened;
    Table t;
    t.provider.open = [](const dmaudit_platform* p, void** ctx) -> int {
        const int rc = builtin_provider().open(p, ctx);
        dmaudit_block b{sizeof b};
        const dmaudit_request req{sizeof req, 0, 1, 0, 0, 0, 0, 0};
        return rc == DMAUDIT_OK && opened++ % 2 == 0 ? builtin_provider().coherent->alloc(*ctx, &req, &b) : rc;
    };
    for (opened = 0; opened < 8;) {
        const Ran r = run(two_banks + "at_end\n", t.provider);
        EXPECT_EQ(r.result.open_error, DMAUDIT_OK);
        EXPECT_EQ(r.found(), "clean") << opened;
    }
}

// It may drop the lines of what it gives back, as any free does, and nobody else's.
TEST(AtEnd, close_may_drop_the_lines_of_what_lives)
{
    static const dmaudit_platform* platform;
    static uint64_t dropped;
    Table t;
    t.provider.open = [](const dmaudit_platform* p, void** ctx) -> int {
        platform = p;
        return builtin_provider().open(p, ctx);
    };
    t.provider.close = [](void* ctx) {
        platform->invalidate(platform->self, dropped, 1);
        builtin_provider().close(ctx);
    };
    const std::string text =
        "world coherent=no banks=16K@0x80000000 mode=conforming\nk0 = alloc_pages dir=from_device\ncpu_write k0 len=1\n"
        "b0 = buffer size=1\ncpu_write b0 len=1\nb1 = buffer size=64 at=64\ncpu_write b1 len=64\n"
        "m1 = map_single b1 len=64 dir=bidirectional attrs=skip\nat_end abrupt=yes\n";
    const uint64_t client = 0x80000000 + client_offset(case_of(text).world, 0, 1).value();
    dropped = 0x80000000; // the block's
    EXPECT_EQ(run(text, t.provider).found(), "clean");
    dropped = client + 64; // a mapped buffer's
    EXPECT_EQ(run(text, t.provider).found(), "clean");
    dropped = client; // a buffer's that nobody gave it
    EXPECT_EQ(run(text, t.provider).found(), "corrupts-neighbour");
}

TEST(AtEnd, close_gives_back_what_lives)
{
    static const dmaudit_platform* platform;
    Table t;
    t.provider.open = [](const dmaudit_platform* p, void** ctx) -> int {
        platform = p;
        return builtin_provider().open(p, ctx);
    };
    t.coherent.alloc = [](void* ctx, const dmaudit_request* r, dmaudit_block* out) -> int {
        platform->meta_alloc(platform->self, 8);
        return builtin_provider().coherent->alloc(ctx, r, out);
    };
    const std::string text = "world coherent=no mode=conforming\nk0 = alloc_coherent size=1\nb0 = buffer size=64\n"
                             "cpu_write b0 len=64\nm0 = map_single b0 len=64 dir=bidirectional\nat_end abrupt=yes\n";
    EXPECT_EQ(run(text).found(), "clean");
    EXPECT_EQ(run(text, t.provider).found(), "lost-capacity");
    t.provider.promises &= ~uint64_t{DMAUDIT_PROMISES_TEARDOWN};
    EXPECT_EQ(run(text, t.provider).tally.impossible, 1u) << "its clients give everything back first";
}

} // namespace
} // namespace dmaudit
