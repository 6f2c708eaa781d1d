// What a mapping costs in the built-in allocator, by the way it is made: in place, through an IOMMU, as a scatterlist, and as
// the attachment of a dma-buf. One page of a coherent device each, one process: compare them with one another.
#include "machine/machine.hpp"
#include "providers/builtin/builtin.hpp"

#include <benchmark/benchmark.h>

namespace {

using namespace dmaudit;

enum Device : uint32_t { direct, translated };

struct World {
    Machine machine;
    const dmaudit_provider& provider = builtin_provider();
    void* ctx = nullptr;
    uint8_t* page = nullptr; // of a client

    World()
    {
        MachineSpec spec;
        spec.n_banks = 1;
        spec.banks[0] = {0x80000000, 256 << 10, 128 << 10};
        spec.n_devices = 2;
        spec.devices[direct] = {~uint64_t{0}, 0, true, false};
        spec.devices[translated] = {~uint64_t{0}, 0, true, true};
        machine.configure(spec, nullptr);
        provider.open(&machine.platform(), &ctx);
        page = machine.door() + (192 << 10);
    }
    ~World() { provider.close(ctx); }
};

void check(benchmark::State& state, int rc)
{
    if (rc != DMAUDIT_OK)
        state.SkipWithError("the provider refused");
}

void map_single(benchmark::State& state, uint32_t device)
{
    World w;
    const dmaudit_request request{sizeof request, device, 4096, 0, 0, 0, 0, 0};
    for (auto _ : state) {
        dmaudit_mapping m{};
        m.struct_size = sizeof m;
        check(state, w.provider.streaming->map_single(w.ctx, &request, w.page, DMAUDIT_BIDIRECTIONAL, &m));
        check(state, w.provider.streaming->unmap_single(w.ctx, &m, 4096, 0));
    }
}

void map_sg(benchmark::State& state, uint32_t device)
{
    World w;
    const dmaudit_request request{sizeof request, device, 0, 0, 0, 0, 0, 0};
    const dmaudit_sg_entry entry{w.page, 4096};
    for (auto _ : state) {
        dmaudit_sg_segment segment{};
        dmaudit_sg sg{sizeof sg, device, &entry, &segment, 1, 0, DMAUDIT_BIDIRECTIONAL, 0, {0, 0}};
        check(state, w.provider.scatter->map_sg(w.ctx, &request, &sg));
        check(state, w.provider.scatter->unmap_sg(w.ctx, &sg, 1, 0));
    }
}

void map_attachment(benchmark::State& state, uint32_t device)
{
    World w;
    const dmaudit_dma_buf& d = *w.provider.dma_buf;
    uint64_t buf = 0, attachment = 0;
    check(state, d.export_pages(w.ctx, w.page, 4096, "bench", &buf));
    check(state, d.attach(w.ctx, buf, device, &attachment));
    for (auto _ : state) {
        dmaudit_sg_segment segments[16];
        dmaudit_sg sg{sizeof sg, device, nullptr, segments, 16, 0, DMAUDIT_BIDIRECTIONAL, 0, {0, 0}};
        check(state, d.map_attachment(w.ctx, attachment, DMAUDIT_BIDIRECTIONAL, &sg));
        check(state, d.unmap_attachment(w.ctx, attachment, &sg, DMAUDIT_BIDIRECTIONAL));
    }
    d.detach(w.ctx, buf, attachment);
    d.put(w.ctx, buf);
}

BENCHMARK_CAPTURE(map_single, in_place, direct);
BENCHMARK_CAPTURE(map_single, iommu, translated);
BENCHMARK_CAPTURE(map_sg, in_place, direct);
BENCHMARK_CAPTURE(map_sg, iommu, translated);
BENCHMARK_CAPTURE(map_attachment, in_place, direct);
BENCHMARK_CAPTURE(map_attachment, iommu, translated);

} // namespace

BENCHMARK_MAIN();
