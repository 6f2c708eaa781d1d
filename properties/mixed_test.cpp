// All families in one world at a time: lives of things of each family, of random sizes and directions, whose steps are
// shuffled into one another. Every step is legal, so every step is executed, and nothing is violated.
#include "harness/text.hpp"
#include "properties/support.hpp"

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <vector>

namespace dmaudit::properties {
namespace {

using Life = std::vector<std::string>;

// Device 0 has a pool, device 1 is behind an IOMMU, device 2 gets a driver and loses it.
std::string some_machine(Rng& rng)
{
    // One after the other: compilers differ in the order of arguments.
    const uint64_t line = uint64_t{16} << rng.below(4);
    const auto yes_or_no = [&] { return rng.chance(1, 2) ? "yes" : "no"; };
    const char *first = yes_or_no(), *second = yes_or_no(), *third = yes_or_no();
    return fmt::format("world page=4096 line={} banks=1M@0x80000000 coherent={}\ndevice coherent={} iommu=yes\n"
                       "device coherent={}{}\n",
                       line, first, second, third, rng.chance(1, 2) ? "" : " limit=0x8003ffff"); // half of the arena
}

const char* some_direction(Rng& rng)
{
    constexpr const char* words[] = {"bidirectional", "to_device", "from_device"};
    return words[rng.below(3)];
}

// A dma-buf out of the pool of device 0, attached by the device behind the IOMMU.
Life pooled_dma_buf(Rng& rng)
{
    const uint64_t size = 1 + rng.below(8192), part = 1 + rng.below(size);
    return {fmt::format("p0 = declare_pool dev=0 size={} at=0", 16384 << rng.below(2)),
            fmt::format("k0 = alloc_from_pool p0 size={}", size),
            "x0 = export_block k0",
            "a0 = attach x0 dev=1",
            "w0 = vmap x0",
            fmt::format("begin_cpu_access x0 len={} dir=to_device", size),
            fmt::format("cpu_write w0 len={} seed=3", size),
            fmt::format("end_cpu_access x0 len={} dir=to_device", size),
            "map_attachment a0 dir=bidirectional",
            fmt::format("device_read a0 len={}", size),
            fmt::format("device_write a0 off={} len={} seed=5", size - part, part),
            "unmap_attachment a0",
            fmt::format("begin_cpu_access x0 len={} dir=from_device", size),
            fmt::format("cpu_read w0 len={}", size),
            fmt::format("end_cpu_access x0 len={} dir=from_device", size),
            "munmap w0",
            "detach a0",
            "dma_buf_fd x0",
            "x1 = dma_buf_get fd=0",
            "close_fd fd=0",
            "dma_buf_put x1",
            "release_from_pool k0",
            "release_pool p0"};
}

// A driver of device 2 comes, takes, and goes.
Life driver(Rng& rng)
{
    const uint64_t size = 1 + rng.below(8192);
    Life life = {"bind dev=2",
                 fmt::format("k1 = managed_alloc dev=2 size={} zero=yes", size),
                 "add_action dev=2",
                 "open_group dev=2",
                 fmt::format("k2 = managed_alloc_noncoherent dev=2 size={} dir={}", size, some_direction(rng)),
                 fmt::format("k3 = managed_alloc dev=2 size={} attrs=no_warn", size),
                 fmt::format("cpu_read k1 len={}", size),
                 fmt::format("device_write k1 len={} seed=9", size)};
    if (rng.chance(1, 2))
        life.push_back("release_group dev=2");
    if (rng.chance(1, 2))
        life.push_back("managed_free k1");
    life.push_back("unbind dev=2");
    return life;
}

Life streaming(Rng& rng, uint64_t device, unsigned name)
{
    const uint64_t size = 1 + rng.below(4095);
    Life life = {
        fmt::format("b{} = buffer size=4096 at={}", name, 8192 * name),
        fmt::format("cpu_write b{} len=4096 seed=7", name),
        fmt::format("m{0} = map_single b{0} len={1} dir={2} dev={3}", name, size, some_direction(rng), device)};
    if (rng.chance(1, 2))
        life.push_back(fmt::format("sync_single_for_cpu m{} len={}", name, 1 + rng.below(size)));
    life.push_back(fmt::format("unmap_single m{}", name));
    life.push_back(fmt::format("cpu_read b{} off={} len={}", name, size, 4096 - size));
    life.push_back(fmt::format("free_buffer b{}", name));
    return life;
}

Life list(Rng& rng)
{
    return {"b2 = buffer size=4096 at=65536", "cpu_write b2 len=4096 seed=11",
            fmt::format("g0 = map_sg b2 len=4096 dir={} dev=1", some_direction(rng)), "unmap_sg g0", "free_buffer b2"};
}

Life opaque(Rng& rng)
{
    const uint64_t size = 1 + rng.below(4096);
    return {fmt::format("k4 = alloc_opaque dev=1 size={} attrs=write_combine", size),
            "w1 = mmap_coherent k4",
            fmt::format("cpu_write w1 len={} seed=13", size),
            fmt::format("device_read k4 len={}", size),
            "munmap w1",
            "free_coherent k4",
            "k5 = alloc_pages pages=1 dir=bidirectional dev=0",
            "free_pages k5"};
}

std::string shuffled(Rng& rng, std::vector<Life> lives)
{
    std::string out;
    std::vector<size_t> at(lives.size());
    size_t left = 0;
    for (const Life& life : lives)
        left += life.size();
    while (left) {
        const auto i = static_cast<size_t>(rng.below(lives.size()));
        // A life goes on for a while, or just for a step.
        for (uint64_t n = rng.chance(1, 2) ? 1 : 1 + rng.below(6); n && at[i] < lives[i].size(); n--, left--)
            out += lives[i][at[i]++] + "\n";
    }
    return out;
}

TEST(Mixed, lives_of_all_families_in_one_world_do_not_disturb_each_other)
{
    Checker checker;
    unsigned torn_down_while_mapped = 0;
    for_all_seeds(3000, [&](uint64_t seed) {
        Rng rng(seed);
        std::string text = "# dmaudit case 1\n" + some_machine(rng);
        text += shuffled(rng, {pooled_dma_buf(rng), driver(rng), streaming(rng, 1, 0), streaming(rng, rng.below(2), 1),
                               list(rng), opaque(rng)});
        text += "at_end\nexpect clean\n";
        torn_down_while_mapped += text.find("map_attachment a0") < text.find("unbind") &&
                                  text.find("unbind") < text.find("unmap_attachment a0");
        const Parsed parsed = parse(text);
        if (!parsed.ok)
            RC_FAIL(text + "line " + std::to_string(parsed.error.line) + ": " + parsed.error.message);
        const Case& c = parsed.value;
        const Result r = checker.run(c);
        checker.expect_no_violation(c);
        if (r.executed.count() != c.count)
            RC_FAIL(text + "a step was not executed");
    });
    EXPECT_GT(torn_down_while_mapped, 20u);
}

} // namespace
} // namespace dmaudit::properties
