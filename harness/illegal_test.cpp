// Illegal calls, passed on to a provider that promises to detect them: it must refuse, and nothing may have changed.
#include "harness/execute_testing.hpp"

namespace dmaudit {
namespace {

// Every unmap, sync, detach and put of it claims to have succeeded, and did if it was legal.
struct Gullible : Table {
    dmaudit_scatter scatter = *builtin_provider().scatter;
    dmaudit_dma_buf dma_buf = *builtin_provider().dma_buf;
    Gullible()
    {
        provider.scatter = &scatter;
        provider.dma_buf = &dma_buf;
        streaming.unmap_single = [](void* ctx, const dmaudit_mapping* m, uint64_t used, uint32_t attrs) -> int {
            return builtin_provider().streaming->unmap_single(ctx, m, used, attrs), DMAUDIT_OK;
        };
        streaming.sync = [](void* ctx, const dmaudit_mapping* m, uint64_t offset, uint64_t length, uint32_t direction,
                            uint32_t phase) -> int {
            return builtin_provider().streaming->sync(ctx, m, offset, length, direction, phase), DMAUDIT_OK;
        };
        scatter.unmap_sg = [](void* ctx, const dmaudit_sg* sg, uint32_t n, uint32_t attrs) -> int {
            return builtin_provider().scatter->unmap_sg(ctx, sg, n, attrs), DMAUDIT_OK;
        };
        scatter.sync_sg = [](void* ctx, const dmaudit_sg* sg, uint32_t n, uint32_t direction, uint32_t phase) -> int {
            return builtin_provider().scatter->sync_sg(ctx, sg, n, direction, phase), DMAUDIT_OK;
        };
        scatter.unmap_sgtable = [](void* ctx, const dmaudit_sg* sg, uint32_t attrs) -> int {
            return builtin_provider().scatter->unmap_sgtable(ctx, sg, attrs), DMAUDIT_OK;
        };
        dma_buf.put = [](void* ctx, uint64_t id) -> int {
            return builtin_provider().dma_buf->put(ctx, id), DMAUDIT_OK;
        };
        dma_buf.detach = [](void* ctx, uint64_t id, uint64_t attachment) -> int {
            return builtin_provider().dma_buf->detach(ctx, id, attachment), DMAUDIT_OK;
        };
        dma_buf.unmap_attachment = [](void* ctx, uint64_t attachment, const dmaudit_sg* sg, uint32_t direction) -> int {
            return builtin_provider().dma_buf->unmap_attachment(ctx, attachment, sg, direction), DMAUDIT_OK;
        };
    }
};

struct Mistake {
    const char* text;
    const char* rule; // what it is when the provider detects it, or promises nothing
};
const std::string world = "world banks=64K@0x80000000 coherent=no\ndevice\n";
const std::string mapped = "b0 = buffer size=64\nm0 = map_single b0 dir=from_device\n",
                  list = "b0 = buffer size=4K\ncpu_write b0\ng0 = map_sg b0 n=2 dir=to_device\n",
                  attached = "x0 = export_pages\na0 = attach x0 dev=1\nmap_attachment a0 dir=to_device\n";

const std::pair<std::string, Mistake> mistakes[] = {
    {mapped, {"unmap_single m0\nunmap_single m0\n", "double-free"}},
    {mapped, {"unmap_single m0 lie=size+1\n", "free-mismatch"}},
    {mapped, {"unmap_single m0 lie=interior\n", "free-mismatch"}},
    {mapped, {"unmap_single m0 lie=other-dir\n", "wrong-direction"}},
    {mapped, {"unmap_single m0 lie=other-device\n", "wrong-device"}},
    {mapped, {"unmap_single m0 used=65\n", "bad-length"}},
    {mapped, {"unmap_single m0\nsync_single_for_cpu m0\n", "use-after-unmap"}},
    {mapped, {"sync_single_for_cpu m0 off=1 len=64\n", "sync-outside"}},
    {mapped, {"sync_single_for_cpu m0 dir=to_device\n", "wrong-direction"}},
    {mapped, {"sync_single_for_device m0 lie=other-device\n", "wrong-device"}},
    {list, {"unmap_sg g0\nunmap_sg g0\n", "double-free"}},
    {list, {"unmap_sg g0 lie=size-1\n", "wrong-count"}},
    {list, {"unmap_sg g0 lie=other-dir\n", "wrong-direction"}},
    {list, {"unmap_sg g0 lie=other-device\n", "wrong-device"}},
    {list, {"sync_sg_for_cpu g0 lie=size+1\n", "wrong-count"}},
    {attached, {"unmap_attachment a0\ndetach a0\ndetach a0\n", "double-free"}},
    {attached, {"unmap_attachment a0\nunmap_attachment a0\n", "double-free"}},
    {attached, {"unmap_attachment a0 lie=other-dir\n", "wrong-direction"}},
    {attached, {"unmap_attachment a0\ndetach a0\nunmap_attachment a0\n", "use-after-free"}},
    {"x0 = export_pages\n", {"dma_buf_put x0\ndma_buf_put x0\n", "double-free"}},
    {"x0 = export_pages\n", {"dma_buf_fd x0\ndma_buf_put x0\n", "double-free"}},
};

TEST(Illegal, calls_are_refused_and_have_no_effect)
{
    for (const auto& [before, mistake] : mistakes)
        EXPECT_EQ(run(world + before + mistake.text).found(), mistake.rule) << before << mistake.text;
}

TEST(Illegal, calls_that_succeed_break_a_promise)
{
    const Gullible t;
    for (const auto& [before, mistake] : mistakes)
        EXPECT_EQ(run(world + before + mistake.text, t.provider).found(), "wrong-return") << before << mistake.text;
}

TEST(Illegal, calls_are_kept_from_who_promises_nothing)
{
    Gullible t;
    t.provider.promises &= ~uint64_t{DMAUDIT_PROMISES_DETECTION_OF_MAPPINGS};
    for (const auto& [before, mistake] : mistakes)
        EXPECT_EQ(run(world + before + mistake.text, t.provider).found(), mistake.rule) << before << mistake.text;
}

// Refused, and gone all the same: the legal unmap at the end fails.
TEST(Illegal, calls_that_are_refused_and_have_an_effect)
{
    Table t;
    t.streaming.unmap_single = [](void* ctx, const dmaudit_mapping* m, uint64_t used, uint32_t attrs) -> int {
        if (used > m->size)
            return builtin_provider().streaming->unmap_single(ctx, m, m->size, attrs), DMAUDIT_EINVAL;
        return builtin_provider().streaming->unmap_single(ctx, m, used, attrs);
    };
    EXPECT_EQ(run(world + mapped + "unmap_single m0 used=65\n", t.provider).found(), "wrong-return");
    EXPECT_EQ(run(world + mapped + "unmap_single m0 used=64\n", t.provider).found(), "clean");
}

// Once a free was refused, each block lies where the first one does.
struct Forgets : Table {
    inline static dmaudit_block first;
    inline static bool lost;
};

// Refused, and forgotten all the same to be in use: the next block lies there. The client's mistake counts where
// nothing comes of it.
TEST(Illegal, calls_that_are_refused_and_have_an_effect_on_what_comes_later)
{
    Forgets t;
    Forgets::lost = false;
    t.coherent.alloc = [](void* ctx, const dmaudit_request* r, dmaudit_block* out) -> int {
        const int rc = builtin_provider().coherent->alloc(ctx, r, out);
        if (!Forgets::lost)
            Forgets::first = *out;
        else
            *out = Forgets::first;
        return rc;
    };
    t.coherent.free = [](void* ctx, const dmaudit_block* b) -> int {
        const int rc = builtin_provider().coherent->free(ctx, b);
        Forgets::lost |= rc != DMAUDIT_OK;
        return rc;
    };
    const std::string mistake = small + "k0 = alloc_coherent size=8K\nfree_coherent k0 lie=size-1\n";
    const Ran later = run(mistake + "k1 = alloc_coherent size=8K\n", t.provider);
    EXPECT_EQ(later.found(), "overlap");
    EXPECT_EQ(later.result.step, 2);
    const Ran nothing = run(mistake + "k1 = alloc_coherent size=8K\nfree_coherent k0 lie=size-1\nfree_coherent k0\n");
    EXPECT_EQ(nothing.found(), "free-mismatch");
    EXPECT_EQ(nothing.result.step, 1);
    EXPECT_EQ(nothing.tally.executed, 3u); // the second mistake is left out
}

// Gives everything the same cookies and numbers again: of each kind one lives at a time, and what is said of a dead one
// is true of its successor. It compares nothing else, and promises all the same.
struct Forgetful : Table {
    inline static dmaudit_mapping mapping;
    inline static uintptr_t list[2];
    inline static uint64_t buffer, attachment;
    dmaudit_scatter scatter = *builtin_provider().scatter;
    dmaudit_dma_buf dma_buf = *builtin_provider().dma_buf;
    static dmaudit_sg with_its_cookies(dmaudit_sg sg)
    {
        sg.cookie[0] = list[0], sg.cookie[1] = list[1];
        return sg;
    }
    Forgetful()
    {
        provider.scatter = &scatter;
        provider.dma_buf = &dma_buf;
        streaming.map_single = [](void* ctx, const dmaudit_request* r, void* cpu, uint32_t direction,
                                  dmaudit_mapping* out) -> int {
            const int rc = builtin_provider().streaming->map_single(ctx, r, cpu, direction, out);
            mapping = *out;
            out->cookie[0] = out->cookie[1] = 0;
            return rc;
        };
        streaming.unmap_single = [](void* ctx, const dmaudit_mapping*, uint64_t used, uint32_t attrs) -> int {
            return builtin_provider().streaming->unmap_single(ctx, &mapping, used, attrs);
        };
        streaming.sync = [](void* ctx, const dmaudit_mapping*, uint64_t offset, uint64_t length, uint32_t direction,
                            uint32_t phase) -> int {
            return builtin_provider().streaming->sync(ctx, &mapping, offset, length, direction, phase);
        };
        scatter.map_sg = [](void* ctx, const dmaudit_request* r, dmaudit_sg* sg) -> int {
            const int rc = builtin_provider().scatter->map_sg(ctx, r, sg);
            list[0] = sg->cookie[0], list[1] = sg->cookie[1];
            sg->cookie[0] = sg->cookie[1] = 0;
            return rc;
        };
        scatter.unmap_sg = [](void* ctx, const dmaudit_sg* sg, uint32_t n, uint32_t attrs) -> int {
            const dmaudit_sg real = with_its_cookies(*sg);
            return builtin_provider().scatter->unmap_sg(ctx, &real, n, attrs);
        };
        dma_buf.export_pages = [](void* ctx, void* cpu, uint64_t size, const char* name, uint64_t* out) -> int {
            const int rc = builtin_provider().dma_buf->export_pages(ctx, cpu, size, name, &buffer);
            *out = 1;
            return rc;
        };
        dma_buf.put = [](void* ctx, uint64_t) -> int { return builtin_provider().dma_buf->put(ctx, buffer); };
        dma_buf.attach = [](void* ctx, uint64_t, uint32_t device, uint64_t* out) -> int {
            const int rc = builtin_provider().dma_buf->attach(ctx, buffer, device, &attachment);
            *out = 1;
            return rc;
        };
        dma_buf.detach = [](void* ctx, uint64_t, uint64_t) -> int {
            return builtin_provider().dma_buf->detach(ctx, buffer, attachment);
        };
        dma_buf.map_attachment = [](void* ctx, uint64_t, uint32_t direction, dmaudit_sg* sg) -> int {
            return builtin_provider().dma_buf->map_attachment(ctx, attachment, direction, sg);
        };
        dma_buf.unmap_attachment = [](void* ctx, uint64_t, const dmaudit_sg* sg, uint32_t direction) -> int {
            return builtin_provider().dma_buf->unmap_attachment(ctx, attachment, sg, direction);
        };
    }
};

TEST(Illegal, calls_that_name_what_is_dead_and_lives_again)
{
    const Forgetful t;
    const std::pair<std::string, std::string> all[] = {
        {mapped + "unmap_single m0\nm1 = map_single b0 dir=from_device\nunmap_single m0\n", "double-free"},
        {mapped + "unmap_single m0\nm1 = map_single b0 dir=from_device\nsync_single_for_cpu m0\n", "use-after-unmap"},
        {list + "unmap_sg g0\ng1 = map_sg b0 n=2 dir=to_device\nunmap_sg g0\n", "double-free"},
        {"x0 = export_pages\ndma_buf_put x0\nx1 = export_pages\ndma_buf_put x0\n", "double-free"},
        {"x0 = export_pages\na0 = attach x0 dev=1\ndetach a0\na1 = attach x0 dev=1\ndetach a0\n", "double-free"},
        {attached + "unmap_attachment a0\ndetach a0\na1 = attach x0 dev=1\nmap_attachment a1 dir=to_device\n"
                    "unmap_attachment a0\n",
         "use-after-free"}};
    for (const auto& [text, rule] : all)
        EXPECT_EQ(run(world + text, t.provider).found(), rule) << text;
    // The builtin gives no number twice, and refuses all of them.
    for (const auto& [text, rule] : all)
        EXPECT_EQ(run(world + text).found(), rule) << text;
}

// What a provider cannot tell from a legal call is not passed on.
TEST(Illegal, calls_that_nobody_can_tell_from_legal_ones)
{
    // Another reference lives, and has the same name.
    EXPECT_EQ(
        run(world + "x0 = export_pages\ndma_buf_fd x0\nx1 = dma_buf_get fd=0\ndma_buf_put x0\n", Gullible().provider)
            .found(),
        "double-free");
    // A client that tests no mapping for its error uses a good one all the same.
    EXPECT_EQ(run("world banks=64K@0x80000000 check_errors=yes\n" + mapped + "unmap_single m0\n", Gullible().provider)
                  .found(),
              "unchecked-mapping-error");
}

} // namespace
} // namespace dmaudit
