#include "allocator/coherent.hpp"

#include <cstring>

namespace dmaudit::alloc {

Coherent::~Coherent()
{
    live_.each([&](Handle, Live& live) {
        if (live.uncached)
            static_cast<void>(platform_.set_uncached(live.run.phys, arenas_.bytes(live.run), false));
        return true;
    });
}

Result<CoherentGrant> Coherent::alloc(const Device& device, std::uint64_t size, const Constraints& constraints,
                                      bool zero, std::uint32_t attrs) noexcept
{
    const Result<PageRun> run = arenas_.alloc(size, constraints);
    if (!run)
        return run.error();
    const std::uint64_t granted = arenas_.bytes(*run);
    std::byte* cpu = platform_.cpu_of({run->phys, granted});
    const CoherentBlock block{device.index, attrs, cpu, device.bus_of(run->phys), size};

    Handle handle;
    bool recorded;
    {
        const Guard guard(platform_, lock_);
        recorded = live_.add({block, *run, !device.coherent}, handle);
    }
    if (!recorded) {
        arenas_.free(*run);
        return DmaError::NoMemory;
    }
    if (!device.coherent) {
        platform_.clean(run->phys, granted);
        platform_.invalidate(run->phys, granted);
        if (const Status status = platform_.set_uncached(run->phys, granted, true); !status) {
            {
                const Guard guard(platform_, lock_);
                live_.remove(handle);
            }
            arenas_.free(*run);
            return status.error();
        }
    }
    // After uncaching: zeros written before it would have to be cleaned once more.
    const std::uint64_t keep = zero ? 0 : size;
    std::memset(cpu + keep, 0, granted - keep);
    return CoherentGrant{block, granted, handle};
}

Status Coherent::free(const CoherentBlock& block, Handle handle) noexcept
{
    Live gone;
    {
        const Guard guard(platform_, lock_);
        const Live* live = live_.find(handle);
        if (live == nullptr || live->block != block)
            return DmaError::IllegalCall;
        gone = *live;
        if (gone.uncached)
            if (Status status = platform_.set_uncached(gone.run.phys, arenas_.bytes(gone.run), false); !status)
                return status;
        live_.remove(handle);
    }
    arenas_.free(gone.run);
    return {};
}

} // namespace dmaudit::alloc
