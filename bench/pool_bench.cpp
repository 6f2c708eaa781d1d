// What an allocation from a per-device coherent pool costs: one alloc and one release, in nanoseconds.
//
//   empty    the pool has nothing else in it
//   packed   16384 pages, the first 90 % live: the first free page lies behind all of them
//   random   16384 pages, 90 % live at random places
//   churn    the same, but every release is of a random live block: no two calls in one place
//
// Each for any provider through its table (which zeroes, as the kernel does), and for ours without the zeroing, and for
// the bitmap alone. The platform is the cheapest there can be, so that the allocator is what is measured.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "allocator/allocator.hpp"
#include "allocator/bitmap.hpp"
#include "providers/builtin/builtin.hpp"
#ifdef DMAUDIT_HAS_LINUX // the kernel's own pool code, measured in the same run
#include "providers/linux/linux.h"
#endif

namespace dmaudit::bench {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kBase = 0x8000'0000;

enum class Fill { Empty, Packed, Random, Churn };

// RAM of `pages` pages for a pool behind an arena of 16, one coherent device, locks and caches that do nothing.
struct Machine {
    explicit Machine(std::uint64_t pages)
        : memory(std::aligned_alloc(kPage, (pages + 16) * kPage)), bank{kBase, (pages + 16) * kPage, memory.get()},
          arena{kBase, 16 * kPage}, device{sizeof(dmaudit_device), 1, UINT64_MAX, 0}
    {
        raw.abi = DMAUDIT_ABI;
        raw.struct_size = sizeof raw;
        raw.page = kPage;
        raw.line = 64;
        raw.n_banks = raw.n_arenas = raw.n_devices = 1;
        raw.banks = &bank;
        raw.arenas = &arena;
        raw.devices = &device;
        raw.clean = raw.invalidate = [](void*, std::uint64_t, std::uint64_t) {};
        raw.set_uncached = [](void*, std::uint64_t, std::uint64_t, int) { return int{DMAUDIT_OK}; };
        raw.meta_alloc = [](void*, std::size_t n) { return std::malloc(n); };
        raw.meta_free = [](void*, void* p) { std::free(p); };
        raw.lock = raw.unlock = [](void*, std::uint64_t*) {};
        raw.log = [](void*, const char*) {};
    }
    struct Free {
        void operator()(void* p) const { std::free(p); }
    };
    std::unique_ptr<void, Free> memory;
    dmaudit_bank bank;
    dmaudit_range arena;
    dmaudit_device device;
    dmaudit_platform raw{};
};

std::uint64_t next_random(std::uint64_t& state)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return state >> 33;
}

// The fill, made through `take()` -> place and `give(place)`: everything is taken, then what is not to be live goes
// back. Then the loop that is measured.
template <class Take, class Give>
void measure(benchmark::State& state, Fill fill, std::uint64_t pages, Take&& take, Give&& give)
{
    using Place = decltype(take());
    std::vector<Place> live;
    std::uint64_t random = 1;
    if (fill != Fill::Empty) {
        for (std::uint64_t i = 0; i < pages; i++)
            live.push_back(take());
        for (std::uint64_t gone = 0; gone < pages / 10; gone++) {
            const std::uint64_t last = live.size() - 1;
            std::swap(live[fill == Fill::Packed ? last : next_random(random) % live.size()], live[last]);
            give(live[last]);
            live.pop_back();
        }
    }
    if (fill == Fill::Churn) {
        for (auto _ : state) {
            Place place = take();
            benchmark::DoNotOptimize(place);
            std::swap(place, live[next_random(random) % live.size()]);
            give(place);
        }
    } else {
        for (auto _ : state) {
            Place place = take();
            benchmark::DoNotOptimize(place);
            give(place);
        }
    }
}

struct PoolOf {
    PoolOf(const dmaudit_provider& from, std::uint64_t pages) : provider(from), machine(pages)
    {
        std::uint32_t exclusive = 1;
        ok = provider.open(&machine.raw, &ctx) == DMAUDIT_OK &&
             provider.pool->declare(ctx, 0, kBase + 16 * kPage, kBase + 16 * kPage, pages * kPage, &exclusive) ==
                 DMAUDIT_OK;
    }
    ~PoolOf()
    {
        if (ctx != nullptr)
            provider.close(ctx);
    }
    void* alloc(std::uint64_t size)
    {
        dmaudit_block block{sizeof block};
        int ours = 0;
        return provider.pool->alloc_from(ctx, 0, size, &block, &ours) == DMAUDIT_OK ? block.cpu : nullptr;
    }
    void release(void* cpu)
    {
        int ours = 0;
        benchmark::DoNotOptimize(provider.pool->release_from(ctx, 0, 0, cpu, &ours));
    }
    const dmaudit_provider& provider;
    Machine machine;
    void* ctx = nullptr;
    bool ok = false;
};

// Through the provider's table, with zeroing of `size` bytes (at least; ours zeroes the page).
void table(benchmark::State& state, const dmaudit_provider& provider, Fill fill, std::uint64_t pages,
           std::uint64_t size)
{
    PoolOf pool(provider, pages);
    if (!pool.ok) {
        state.SkipWithError("no pool");
        return;
    }
    measure(
        state, fill, pages, [&] { return pool.alloc(size); }, [&](void* p) { pool.release(p); });
}

// The same calls of our own class, without the zeroing.
void unzeroed(benchmark::State& state, Fill fill, std::uint64_t pages)
{
    using namespace alloc;
    Machine machine(pages);
    const Allocator::Owner owner = std::move(*Allocator::open(machine.raw));
    Allocator& a = *owner;
    if (!a.declare_coherent_memory(0, {kBase + 16 * kPage}, {kBase + 16 * kPage}, pages * kPage, true)) {
        state.SkipWithError("no pool");
        return;
    }
    const auto take = [&] { return a.alloc_from_dev_coherent(0, 1, Pools::Zeroing::No).result->block.cpu; };
    const auto give = [&](const std::byte* cpu) {
        benchmark::DoNotOptimize(a.release_from_dev_coherent(0, 0, cpu).ours);
    };
    measure(state, fill, pages, take, give);
}

void bitmap(benchmark::State& state, Fill fill, std::uint64_t pages, unsigned order)
{
    std::vector<std::uint64_t> storage(alloc::Bitmap::storage_bytes(pages) / 8 + 1);
    alloc::Bitmap map;
    map.attach(pages, storage.data());
    measure(
        state, fill, pages, [&] { return map.alloc(order); },
        [&](std::uint64_t page) { benchmark::DoNotOptimize(map.release(page, order)); });
}

void open_close(benchmark::State& state, const dmaudit_provider& provider)
{
    Machine machine(4);
    for (auto _ : state) {
        void* ctx = nullptr;
        benchmark::DoNotOptimize(provider.open(&machine.raw, &ctx));
        provider.close(ctx);
    }
}

struct Shape {
    const char* name;
    Fill fill;
    std::uint64_t pages;
};
constexpr std::array kShapes = {Shape{"empty/20", Fill::Empty, 20}, Shape{"empty/16384", Fill::Empty, 16384},
                                Shape{"packed90/16384", Fill::Packed, 16384},
                                Shape{"random90/16384", Fill::Random, 16384},
                                Shape{"churn90/16384", Fill::Churn, 16384}};

// Registers the benchmarks of one provider that has a pool facet, all through its table.
void bench_pool(const dmaudit_provider& provider)
{
    const std::string name = provider.name;
    for (const Shape& shape : kShapes)
        for (const std::uint64_t size : {std::uint64_t{1}, kPage})
            benchmark::RegisterBenchmark(
                (name + "/table/" + shape.name + "/bytes:" + std::to_string(size)).c_str(),
                [&provider, shape, size](benchmark::State& s) { table(s, provider, shape.fill, shape.pages, size); });
    benchmark::RegisterBenchmark((name + "/open_close").c_str(),
                                 [&provider](benchmark::State& s) { open_close(s, provider); });
}

// Registers those that only our own allocator can offer: without zeroing, and its bitmap alone.
void bench_own_pool()
{
    for (const Shape& shape : kShapes) {
        benchmark::RegisterBenchmark((std::string("bitmap/") + shape.name).c_str(),
                                     [shape](benchmark::State& s) { bitmap(s, shape.fill, shape.pages, 0); });
        benchmark::RegisterBenchmark((std::string("builtin/unzeroed/") + shape.name).c_str(),
                                     [shape](benchmark::State& s) { unzeroed(s, shape.fill, shape.pages); });
    }
    for (const unsigned order : {3u, 6u, 9u})
        benchmark::RegisterBenchmark(("bitmap/empty/16384/order:" + std::to_string(order)).c_str(),
                                     [order](benchmark::State& s) { bitmap(s, Fill::Empty, 16384, order); });
}

} // namespace
} // namespace dmaudit::bench

int main(int argc, char** argv)
{
    benchmark::Initialize(&argc, argv);
    dmaudit::bench::bench_own_pool();
    dmaudit::bench::bench_pool(dmaudit::builtin_provider());
#ifdef DMAUDIT_HAS_LINUX
    dmaudit::bench::bench_pool(*dmaudit_linux_provider());
#endif
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
}
