// Result codes: which of them no provider may give, and who says so. And what a call leaves behind beside its result.
#include "harness/execute_testing.hpp"

namespace dmaudit {
namespace {

// Answers the n-th of some calls with a code, and does nothing then; all others are the built-in provider's.
struct Answers : Table {
    inline static int code, left;
    dmaudit_dma_buf dma_buf = *builtin_provider().dma_buf;
    dmaudit_managed managed = *builtin_provider().managed;
    static bool now() { return left-- == 0; }
    explicit Answers(int rc, int which = 0)
    {
        code = rc, left = which;
        coherent.alloc = [](void* ctx, const dmaudit_request* r, dmaudit_block* out) -> int {
            return now() ? code : builtin_provider().coherent->alloc(ctx, r, out);
        };
        coherent.mmap = [](void*, const dmaudit_block*, uint64_t, uint64_t, dmaudit_window*) -> int { return code; };
        streaming.map_single = [](void* ctx, const dmaudit_request* r, void* cpu, uint32_t d,
                                  dmaudit_mapping* out) -> int {
            return now() ? code : builtin_provider().streaming->map_single(ctx, r, cpu, d, out);
        };
        pool.declare = [](void* ctx, uint32_t device, uint64_t phys, uint64_t bus, uint64_t size, uint32_t* ex) -> int {
            return now() ? code : builtin_provider().pool->declare(ctx, device, phys, bus, size, ex);
        };
        pool.mmap_from = [](void*, uint32_t, void*, uint64_t, uint64_t, uint64_t, dmaudit_window*, int* ours) -> int {
            *ours = 1;
            return code;
        };
        dma_buf.export_block = [](void* ctx, const dmaudit_block* b, const char* name, uint64_t* buf) -> int {
            return now() ? code : builtin_provider().dma_buf->export_block(ctx, b, name, buf);
        };
        dma_buf.export_pages = [](void* ctx, void* cpu, uint64_t size, const char* name, uint64_t* buf) -> int {
            return now() ? code : builtin_provider().dma_buf->export_pages(ctx, cpu, size, name, buf);
        };
        dma_buf.attach = [](void* ctx, uint64_t buf, uint32_t device, uint64_t* out) -> int {
            return now() ? code : builtin_provider().dma_buf->attach(ctx, buf, device, out);
        };
        dma_buf.map_attachment = [](void* ctx, uint64_t attachment, uint32_t direction, dmaudit_sg* sg) -> int {
            return now() ? code : builtin_provider().dma_buf->map_attachment(ctx, attachment, direction, sg);
        };
        dma_buf.fd = [](void* ctx, uint64_t buf, int* fd) -> int {
            return now() ? code : builtin_provider().dma_buf->fd(ctx, buf, fd);
        };
        dma_buf.dup_fd = [](void* ctx, int fd, int* copy) -> int {
            return now() ? code : builtin_provider().dma_buf->dup_fd(ctx, fd, copy);
        };
        dma_buf.begin_cpu_access = [](void* ctx, uint64_t buf, uint64_t at, uint64_t n, uint32_t dir) -> int {
            return now() ? code : builtin_provider().dma_buf->begin_cpu_access(ctx, buf, at, n, dir);
        };
        dma_buf.vmap = [](void* ctx, uint64_t buf, void** cpu) -> int {
            return now() ? code : builtin_provider().dma_buf->vmap(ctx, buf, cpu);
        };
        managed.bind = [](void* ctx, uint32_t device) -> int {
            return now() ? code : builtin_provider().managed->bind(ctx, device);
        };
        managed.add_action = [](void* ctx, uint32_t device, void (*f)(void*), void* data) -> int {
            return now() ? code : builtin_provider().managed->add_action(ctx, device, f, data);
        };
        managed.open_group = [](void* ctx, uint32_t device, uint64_t id) -> int {
            return now() ? code : builtin_provider().managed->open_group(ctx, device, id);
        };
        dma_buf.mmap = [](void*, uint64_t, uint64_t, uint64_t, dmaudit_window*) -> int { return code; };
        dma_buf.kmap = [](void* ctx, uint64_t buf, uint64_t page, int atomic, void** cpu) -> int {
            return page ? code : builtin_provider().dma_buf->kmap(ctx, buf, page, atomic, cpu);
        };
        provider.dma_buf = &dma_buf;
        provider.managed = &managed;
    }
};

const std::string world = "world banks=64K@0x80000000 mode=conforming\n";

std::string told(const std::string& text, int code, int which = 0, uint64_t promises = 0)
{
    Answers a(code, which);
    a.provider.promises &= ~uint64_t{DMAUDIT_PROMISES_COMPLETE} | promises;
    return run(world + text, a.provider).found();
}

TEST(Codes, that_blame_a_caller_who_did_nothing_wrong)
{
    for (const std::string one : {"p0 = declare_pool size=8K at=4K\n", "x0 = export_pages\n"})
        for (const int rc : {DMAUDIT_EINVAL, DMAUDIT_EFAULT, DMAUDIT_ENULL, DMAUDIT_EZERO}) {
            EXPECT_EQ(told(one, rc), "wrong-return") << one << rc;
            EXPECT_EQ(told(one, DMAUDIT_ENOMEM), "clean") << one;
        }
    const std::string attach = "x0 = export_pages\na0 = attach x0\n";
    for (const int rc : {DMAUDIT_EINVAL, DMAUDIT_EBUSY}) {
        EXPECT_EQ(told(attach, rc, 1), "wrong-return") << "attach " << rc;
        EXPECT_EQ(told(attach + "map_attachment a0 dir=to_device\n", rc, 2), "wrong-return") << "map " << rc;
    }
    for (const int rc : {DMAUDIT_ENODEV, DMAUDIT_ENOMEM})
        EXPECT_EQ(told(attach, rc, 1), "clean") << rc;
    EXPECT_EQ(told(attach, DMAUDIT_EMASK, 1), "wrong-return") << "the device has no mask";
    EXPECT_EQ(run("world banks=64K@0x80000000 limit=0x80003fff mode=conforming\n" + attach,
                  Answers(DMAUDIT_EMASK, 1).provider)
                  .found(),
              "clean");
    EXPECT_EQ(told("set_mask mask=0x80003fff\n" + attach, DMAUDIT_EMASK, 1), "clean");
    // A block need not be whole pages, and may be busy.
    const std::string block = "k0 = alloc_coherent size=100\nx0 = export_block k0\n";
    EXPECT_EQ(told(block, DMAUDIT_EINVAL, 1), "clean");
    EXPECT_EQ(told(block, DMAUDIT_EBUSY, 1), "clean");
    EXPECT_EQ(told("k0 = alloc_coherent size=4K\nx0 = export_block k0\n", DMAUDIT_EINVAL, 1), "wrong-return");
}

TEST(Codes, that_blame_the_caller_of_a_call_that_only_memory_can_fail)
{
    const std::string exported = "x0 = export_pages\n", bound = "bind\n";
    const struct {
        std::string text;
        int which;
        bool busy; // is an excuse
    } calls[] = {{exported + "dma_buf_fd x0\n", 1, false},
                 {exported + "dma_buf_fd x0\ndup_fd fd=0\n", 2, false},
                 {exported + "begin_cpu_access x0 dir=to_device\n", 1, true},
                 {bound, 0, false},
                 {bound + "add_action\n", 1, false},
                 {bound + "open_group\n", 1, false}};
    for (const auto& c : calls) {
        for (const int rc : {DMAUDIT_EINVAL, DMAUDIT_EFAULT, DMAUDIT_ENODEV, DMAUDIT_EBADF})
            EXPECT_EQ(told(c.text, rc, c.which), "wrong-return") << c.text << rc;
        EXPECT_EQ(told(c.text, DMAUDIT_EBUSY, c.which), c.busy ? "clean" : "wrong-return") << c.text;
        EXPECT_EQ(told(c.text, DMAUDIT_ENOMEM, c.which), "clean") << c.text;
    }
    EXPECT_EQ(told(exported + "w0 = vmap x0\n", DMAUDIT_EINVAL, 1), "clean") << "no CPU mapping of this buffer";
    EXPECT_EQ(told(bound + bound, DMAUDIT_EBUSY, 1), "clean") << "it is bound";
    EXPECT_EQ(told("add_action\n", DMAUDIT_ENODEV), "clean") << "there is no driver";
}

TEST(Codes, of_pages_that_have_no_cpu_mapping_beside_one_that_has)
{
    const std::string two = "x0 = export_pages pages=2\n", first = two + "w0 = kmap x0 page=0\n";
    EXPECT_EQ(told(first + "w1 = kmap x0 page=1\n", DMAUDIT_EINVAL, 1), "wrong-return");
    EXPECT_EQ(told(first + "w1 = vmap x0\n", DMAUDIT_EINVAL, 1), "wrong-return");
    EXPECT_EQ(told(first + "w1 = vmap x0\n", DMAUDIT_ENOMEM, 1), "clean");
    EXPECT_EQ(told(two + "w1 = kmap x0 page=1\n", DMAUDIT_EINVAL, 1), "clean") << "no CPU mapping of this buffer";
    EXPECT_EQ(told(two + "w1 = kmap x0 page=1\n", DMAUDIT_ENODEV, 1), "wrong-return");
    EXPECT_EQ(told("k0 = alloc_coherent size=5000\nx0 = export_block k0\nw0 = kmap x0 page=0\nw1 = kmap x0 page=1\n",
                   DMAUDIT_EINVAL, 9),
              "clean")
        << "a page in part";
}

TEST(Codes, an_importer_is_busy_with_others_only_if_somebody_writes)
{
    const std::string two = "x0 = export_pages\na0 = attach x0\na1 = attach x0\n";
    const auto second = [&](const std::string& a, const std::string& b) {
        return told(two + "map_attachment a0 dir=" + a + "\nmap_attachment a1 dir=" + b + "\n", DMAUDIT_EBUSY, 4);
    };
    EXPECT_EQ(second("to_device", "to_device"), "wrong-return");
    EXPECT_EQ(second("from_device", "to_device"), "clean");
    EXPECT_EQ(second("to_device", "bidirectional"), "clean");
}

TEST(Codes, of_windows_that_there_are_not)
{
    for (const std::string one : {"k0 = alloc_coherent size=4K\nw0 = mmap_coherent k0 pgoff=1 pages=1\n",
                                  "p0 = declare_pool size=8K at=4K\nk0 = alloc_from_pool p0 size=4K\nw0 = "
                                  "mmap_from_pool k0 pgoff=1 pages=1\n"}) {
        const std::string hostile = "world banks=64K@0x80000000\n" + one;
        EXPECT_EQ(run(hostile, Answers(DMAUDIT_ENXIO, 9).provider).found(), "clean") << one;
        EXPECT_EQ(run(hostile, Answers(DMAUDIT_EINVAL, 9).provider).found(), "wrong-return") << one;
    }
    for (const std::string one :
         {"x0 = export_pages\nw0 = kmap x0 page=1\n", "x0 = export_pages\nw0 = mmap_dma_buf x0 pgoff=1 pages=1\n"}) {
        const std::string hostile = "world banks=64K@0x80000000\n" + one;
        EXPECT_EQ(run(hostile, Answers(DMAUDIT_EINVAL, 9).provider).found(), "clean") << one;
        EXPECT_EQ(run(hostile, Answers(DMAUDIT_ENXIO, 9).provider).found(), "wrong-return") << one;
    }
}

TEST(Codes, that_speak_of_addresses_where_any_would_do)
{
    const std::string full = "k0 = alloc_coherent size=32K\nk1 = alloc_coherent size=32K\nk2 = alloc_coherent size=4K";
    constexpr uint64_t complete = DMAUDIT_PROMISES_COMPLETE;
    for (const int rc : {DMAUDIT_EMASK, DMAUDIT_EALIGN}) {
        EXPECT_EQ(told(full + "\n", rc, 2, complete), "wrong-return") << rc;
        EXPECT_EQ(told(full + "\n", rc, 2), "clean") << "not promised";
    }
    EXPECT_EQ(told(full + "\n", DMAUDIT_ENOMEM, 2, complete), "clean");
    EXPECT_EQ(told(full + " limit=0x8000ffff\n", DMAUDIT_EMASK, 2, complete), "wrong-return") << "all of it";
    EXPECT_EQ(told(full + " limit=0x80007fff\n", DMAUDIT_EMASK, 2, complete), "clean") << "half of it";
    EXPECT_EQ(told(full + " align=8K\n", DMAUDIT_EALIGN, 2, complete), "clean");
    EXPECT_EQ(told(full + " boundary=4K\n", DMAUDIT_EALIGN, 2, complete), "clean");
    Answers odd(DMAUDIT_EALIGN);
    EXPECT_EQ(
        run("world banks=64K@0x80000000 offset=0x1 mode=conforming\nk0 = alloc_coherent size=1 align=2\n", odd.provider)
            .found(),
        "clean")
        << "no page has an even device address";
}

TEST(Codes, that_speak_of_addresses_behind_an_iommu)
{
    const std::string behind = "world banks=16K@0x80000000 iommu=yes mode=conforming\n";
    const auto told_there = [&](const std::string& call, int rc) {
        Answers answers(rc);
        answers.provider.promises |= DMAUDIT_PROMISES_COMPLETE | DMAUDIT_PROMISES_COMPLETE_IOVA;
        return run(behind + call, answers.provider).found();
    };
    EXPECT_EQ(told_there("k0 = alloc_coherent size=2 align=64K limit=0xffff\n", DMAUDIT_EMASK), "clean")
        << "page 0 is the only aligned one within the limit";
    EXPECT_EQ(told_there("k0 = alloc_coherent size=2 boundary=1\n", DMAUDIT_EMASK), "clean") << "none would do";
    EXPECT_EQ(told_there("k0 = alloc_coherent size=2 align=8K limit=0xffff\n", DMAUDIT_EMASK), "spurious-failure");
    const std::string full = "k0 = alloc_coherent size=8K\nk1 = alloc_coherent size=2 align=4K limit=0xffff\n";
    Answers second(DMAUDIT_EMASK, 1);
    second.provider.promises |= DMAUDIT_PROMISES_COMPLETE | DMAUDIT_PROMISES_COMPLETE_IOVA;
    EXPECT_EQ(run(behind + full, second.provider).found(), "wrong-return") << "there are addresses, and no memory";
}

TEST(Returned, with_a_lock)
{
    static const dmaudit_platform* platform;
    static uint64_t word;
    Table t;
    t.provider.open = [](const dmaudit_platform* p, void** ctx) -> int {
        platform = p, word = 0;
        return builtin_provider().open(p, ctx);
    };
    t.coherent.alloc = [](void* ctx, const dmaudit_request* r, dmaudit_block* out) -> int {
        platform->lock(platform->self, &word);
        return builtin_provider().coherent->alloc(ctx, r, out);
    };
    t.coherent.free = [](void* ctx, const dmaudit_block* b) -> int {
        platform->unlock(platform->self, &word);
        return builtin_provider().coherent->free(ctx, b);
    };
    const Ran kept = run(world + "b0 = buffer size=1\nk0 = alloc_coherent size=1\nfree_coherent k0\n", t.provider);
    EXPECT_EQ(kept.found(), "no-progress");
    EXPECT_EQ(kept.result.step, 1u) << "the call that keeps it, not the end";
}

// Who flushes lazily may leave what it had mapped when it failed half way, as after any unmap.
TEST(Returned, with_translations)
{
    Table t;
    dmaudit_scatter half = *builtin_provider().scatter;
    half.map_sg = [](void* ctx, const dmaudit_request* r, dmaudit_sg* sg) -> int {
        return builtin_provider().scatter->map_sg(ctx, r, sg) == DMAUDIT_OK ? DMAUDIT_ENOMEM : DMAUDIT_EIO;
    };
    t.provider.scatter = &half;
    t.provider.promises &= ~uint64_t{DMAUDIT_PROMISES_COMPLETE | DMAUDIT_PROMISES_COMPLETE_IOVA};
    const std::string list =
        "world banks=64K@0x80000000 iommu=yes mode=conforming\nb0 = buffer size=64\ncpu_write b0 len=64\n"
        "g0 = map_sg b0 len=64 n=2 dir=to_device\n";
    EXPECT_EQ(run(list, t.provider).found(), "failure-has-effect");
    t.provider.promises |= DMAUDIT_TRAIT_LAZY_FLUSH;
    EXPECT_EQ(run(list, t.provider).found(), "clean");
}

TEST(Close, takes_translations_out_of_the_devices_cache_too)
{
    static dmaudit_platform platform;
    Table t;
    t.provider.open = [](const dmaudit_platform* p, void** ctx) -> int {
        platform = *p;
        platform.iommu_flush = [](void*, uint32_t) {};
        return builtin_provider().open(&platform, ctx);
    };
    const std::string behind =
        "world banks=64K@0x80000000 iommu=yes mode=conforming\nk0 = alloc_coherent size=1\nat_end abrupt=yes\n";
    EXPECT_EQ(run(behind).found(), "clean");
    EXPECT_EQ(run(behind, t.provider).found(), "still-reachable");
    t.provider.promises |= DMAUDIT_TRAIT_LAZY_FLUSH;
    EXPECT_EQ(run(behind, t.provider).found(), "clean");
}

// What one facet lacks is no reason not to use another.
// Where a device has an exclusive pool its memory comes from there, or from nowhere.
TEST(Pools, that_are_exclusive_have_the_last_word)
{
    Table passes_on;
    passes_on.coherent.alloc = [](void* ctx, const dmaudit_request* r, dmaudit_block* out) -> int {
        const int rc = builtin_provider().coherent->alloc(ctx, r, out);
        if (rc == DMAUDIT_OK || r->device != 0)
            return rc;
        dmaudit_request other = *r;
        other.device = 1; // it has no pool
        return builtin_provider().coherent->alloc(ctx, &other, out);
    };
    const std::string two = "world banks=64K@0x80000000 mode=conforming\ndevice\n",
                      full = "k0 = alloc_coherent size=64\nk1 = alloc_coherent size=64\n";
    EXPECT_EQ(run(two + "p0 = declare_pool size=4K exclusive=yes\n" + full).found(), "clean");
    EXPECT_EQ(run(two + "p0 = declare_pool size=4K exclusive=yes\n" + full, passes_on.provider).found(),
              "wrong-return");
    EXPECT_EQ(run(two + "p0 = declare_pool size=4K\n" + full).found(), "clean");
    EXPECT_EQ(run(two + "p0 = declare_pool size=4K exclusive=yes\nk0 = alloc_opaque size=4K\n").found(), "clean")
        << "no pool is asked for opaque memory";
}

// A table that is not mapped keeps the count of segments that it had, whatever that was.
TEST(Tables, keep_their_count_of_segments_when_a_map_fails)
{
    static uint32_t count;
    static int rc;
    Table counts;
    dmaudit_scatter scatter = *builtin_provider().scatter;
    scatter.map_sgtable = [](void* ctx, const dmaudit_request* r, dmaudit_sg* sg) -> int {
        if (rc == DMAUDIT_OK)
            return builtin_provider().scatter->map_sgtable(ctx, r, sg);
        sg->n_segments = count == 9 ? sg->n_segments : count;
        return rc;
    };
    counts.provider.scatter = &scatter;
    counts.provider.promises &= ~uint64_t{DMAUDIT_PROMISES_COMPLETE};
    const std::string text = world + "b0 = buffer size=256\ng0 = map_sgtable b0 len=256 n=2 dir=from_device\n";
    rc = DMAUDIT_ENOMEM;
    for (count = 0; count < 4; count++)
        EXPECT_EQ(run(text, counts.provider).found(), count == 3 ? "clean" : "failure-has-effect") << count;
    count = 9;
    EXPECT_EQ(run(text, counts.provider).found(), "clean");
    rc = DMAUDIT_OK;
    EXPECT_EQ(run(text, counts.provider).found(), "clean");
}

// A driver is bound when the provider is closed: its actions may run then, or not.
TEST(Close, may_run_the_actions_of_drivers)
{
    static void (*action)(void*);
    static void* data;
    static unsigned times;
    Table runs;
    dmaudit_managed managed = *builtin_provider().managed;
    managed.add_action = [](void*, uint32_t, void (*f)(void*), void* d) -> int {
        action = f, data = d;
        return DMAUDIT_OK;
    };
    runs.provider.managed = &managed;
    runs.provider.close = [](void* ctx) {
        for (unsigned i = 0; i < times; i++)
            action(data);
        builtin_provider().close(ctx);
    };
    const std::string text = world + "bind\nadd_action\nat_end abrupt=yes\n";
    for (times = 0; times < 2; times++)
        EXPECT_EQ(run(text, runs.provider).found(), "clean") << times;
    EXPECT_EQ(run(text, runs.provider).found(), "released-twice");
}

TEST(Facets, stand_alone)
{
    Table t;
    t.provider.streaming = nullptr;
    EXPECT_EQ(run(world + "k0 = alloc_noncoherent size=64 dir=bidirectional\ncpu_write k0 "
                          "len=64\nsync_single_for_device k0 len=64\n",
                  t.provider)
                  .tally.executed,
              3u);
    dmaudit_scatter tables = *builtin_provider().scatter;
    tables.map_sg = nullptr, tables.unmap_sg = nullptr, tables.sync_sg = nullptr;
    Table u;
    u.provider.scatter = &tables;
    const Ran ran =
        run(world + "b0 = buffer size=64\ncpu_write b0 len=64\ng0 = map_sgtable b0 len=64 n=2 dir=bidirectional\n"
                    "sync_sgtable_for_cpu g0\nsync_sgtable_for_device g0\nunmap_sg g0\nsync_sg_for_cpu g0\n",
            u.provider);
    EXPECT_EQ(ran.tally.executed, 5u);
    EXPECT_EQ(ran.tally.impossible, 2u) << "unmap_sg, sync_sg_for_cpu";
    EXPECT_EQ(ran.found(), "clean") << "and the table is unmapped at the end";
}

} // namespace
} // namespace dmaudit
