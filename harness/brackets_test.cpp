// Brackets of the CPU on a dma-buf: what the exporter owes when one begins, and what it does not.
#include "harness/execute_testing.hpp"

#include <cstring>

namespace dmaudit {
namespace {

struct Exports : Table {
    dmaudit_dma_buf dma_buf = *builtin_provider().dma_buf;
    Exports() { provider.dma_buf = &dma_buf; }
};

// When a bracket begins in which the CPU only writes it does nothing, and when it ends it writes all lines back.
struct KeepsOldLines : Exports {
    inline static const dmaudit_platform* platform;
    KeepsOldLines()
    {
        provider.open = [](const dmaudit_platform* p, void** ctx) -> int {
            platform = p;
            return builtin_provider().open(p, ctx);
        };
        dma_buf.begin_cpu_access = [](void* ctx, uint64_t buf, uint64_t at, uint64_t n, uint32_t direction) -> int {
            return direction == DMAUDIT_TO_DEVICE
                       ? int{DMAUDIT_OK}
                       : builtin_provider().dma_buf->begin_cpu_access(ctx, buf, at, n, direction);
        };
        dma_buf.end_cpu_access = [](void* ctx, uint64_t buf, uint64_t at, uint64_t n, uint32_t direction) -> int {
            if (direction != DMAUDIT_TO_DEVICE)
                return builtin_provider().dma_buf->end_cpu_access(ctx, buf, at, n, direction);
            platform->clean(platform->self, platform->banks[0].phys, platform->banks[0].size);
            return DMAUDIT_OK;
        };
    }
};

// A line of the buffer is in the cache, and then the device writes all of it.
const std::string old_line =
    "world line=64 banks=64K@0x80000000 coherent=no mode=conforming\nx0 = export_pages pages=1\n"
    "a0 = attach x0\nmap_attachment a0 dir=bidirectional\nw0 = vmap x0\n"
    "device_write a0 len=64 seed=4\nbegin_cpu_access x0 len=64 dir=from_device\n"
    "cpu_read w0 len=64\nend_cpu_access x0 len=64 dir=from_device\ndevice_write a0 len=64 seed=5\n";

TEST(Bracket, for_writing_begins_without_lines_that_are_older_than_what_a_device_wrote)
{
    const std::string part = old_line + "begin_cpu_access x0 len=64 dir=to_device\ncpu_write w0 len=8 seed=6\n"
                                        "end_cpu_access x0 len=64 dir=to_device\ndevice_read a0 len=64\n";
    const Ran sound = run(part);
    EXPECT_EQ(sound.found(), "clean");
    EXPECT_EQ(sound.tally.executed, sound.tally.steps);
    EXPECT_EQ(run(part, KeepsOldLines().provider).found(), "missing-invalidate");
    // All of the line is written: nothing of it is lost.
    const Ran whole = run(old_line + "begin_cpu_access x0 len=64 dir=to_device\ncpu_write w0 len=64 seed=6\n"
                                     "end_cpu_access x0 len=64 dir=to_device\ndevice_read a0 len=64\n",
                          KeepsOldLines().provider);
    EXPECT_EQ(whole.found(), "clean");
    EXPECT_EQ(whole.tally.executed, whole.tally.steps);
}

// Bytes beside the bracket are nobody's business when it begins: a client that dirties their line has erred.
TEST(Bracket, does_not_speak_of_the_rest_of_its_lines)
{
    std::string text = old_line + "begin_cpu_access x0 len=8 dir=to_device\ncpu_write w0 len=8 seed=6\n";
    EXPECT_EQ(run(text, KeepsOldLines().provider).tally.illegal, 1u);
    text.replace(text.find("conforming"), 10, "hostile");
    EXPECT_EQ(run(text, KeepsOldLines().provider).found(), "dirty-line-over-device-data");
}

// What a device writes while the bracket is open is nobody's promise, so no exporter is to blame for its line.
TEST(Bracket, does_not_speak_of_what_a_device_writes_while_it_is_open)
{
    const Ran r = run("world line=64 banks=16K@0x80000000 coherent=no mode=conforming\nx0 = export_pages\n"
                      "begin_cpu_access x0 len=2 dir=bidirectional\na0 = attach x0\n"
                      "map_attachment a0 dir=bidirectional\ndevice_write a0 len=1\nw0 = kmap x0\n"
                      "cpu_write w0 off=1 len=1\n");
    EXPECT_EQ(r.found(), "clean");
    EXPECT_EQ(r.tally.illegal, 1u) << "the client ought to have waited";
}

// Gives an importer a copy of the block; only an end after writing brings it up to date.
struct Copies : Exports {
    inline static bool hands_over;
    inline static const void* original;
    inline static dmaudit_block copy;
    explicit Copies(bool hands)
    {
        hands_over = hands;
        dma_buf.export_block = [](void* ctx, const dmaudit_block* b, const char* name, uint64_t* buf) -> int {
            original = b->cpu;
            return builtin_provider().dma_buf->export_block(ctx, b, name, buf);
        };
        dma_buf.map_attachment = [](void* ctx, uint64_t, uint32_t direction, dmaudit_sg* sg) -> int {
            const dmaudit_request req{sizeof req, 0, 64, 0, 0, 0, 0, 0};
            copy = dmaudit_block{sizeof copy};
            if (const int rc = builtin_provider().coherent->alloc(ctx, &req, &copy); rc != DMAUDIT_OK)
                return rc;
            std::memcpy(copy.cpu, original, 64);
            sg->segments[0] = {copy.bus, 64};
            sg->n_segments = 1;
            sg->direction = direction;
            return DMAUDIT_OK;
        };
        dma_buf.unmap_attachment = [](void* ctx, uint64_t, const dmaudit_sg*, uint32_t) -> int {
            return builtin_provider().coherent->free(ctx, &copy);
        };
        dma_buf.end_cpu_access = [](void* ctx, uint64_t buf, uint64_t at, uint64_t n, uint32_t direction) -> int {
            if (hands_over && direction != DMAUDIT_FROM_DEVICE)
                std::memcpy(copy.cpu, original, 64);
            return builtin_provider().dma_buf->end_cpu_access(ctx, buf, at, n, direction);
        };
    }
};

// The block's own device writes, and the CPU looks: the importer's copy is as old as before.
TEST(Bracket, hands_nothing_to_importers_when_it_begins)
{
    const std::string text = "world line=64 banks=64K@0x80000000 coherent=no mode=conforming\n"
                             "k0 = alloc_coherent size=64 zero=yes\nx0 = export_block k0\na0 = attach x0\n"
                             "map_attachment a0 dir=to_device\ndevice_write k0 len=64\n"
                             "begin_cpu_access x0 len=64 dir=from_device\nend_cpu_access x0 len=64 dir=from_device\n"
                             "device_read a0 len=64\n";
    const std::string handed = "begin_cpu_access x0 len=64 dir=bidirectional\n"
                               "end_cpu_access x0 len=64 dir=bidirectional\ndevice_read a0 len=64\n";
    for (const std::string& one : {text, text + handed}) {
        const Ran r = run(one, Copies(true).provider);
        EXPECT_EQ(r.found(), "clean") << one;
        EXPECT_EQ(r.tally.executed, r.tally.steps) << one;
    }
    // What the CPU has handed over it must see.
    EXPECT_EQ(run(text + handed, Copies(false).provider).found(), "stale-bounce");
}

} // namespace
} // namespace dmaudit
