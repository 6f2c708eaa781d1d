#include "allocator/coherent.hpp"

#include <algorithm>
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
    const CoherentBlock block{device.index, attrs, nullptr, kNoAddress, size};
    const Live live{block, {}, !device.coherent, device.iommu, false, device.coherent, Direction::Bidirectional};
    return make(device, constraints, zero || opaque(attrs) ? 0 : size, live, DMAUDIT_IOMMU_READ | DMAUDIT_IOMMU_WRITE);
}

Result<CoherentGrant> Coherent::alloc_noncoherent(const Device& device, std::uint64_t size,
                                                  const Constraints& constraints, std::uint32_t attrs,
                                                  Direction direction) noexcept
{
    const CoherentBlock block{device.index, attrs, nullptr, kNoAddress, size};
    return make(device, constraints, 0, {block, {}, false, device.iommu, true, device.coherent, direction},
                rights_of(direction));
}

// The first `keep` bytes are not cleared. `live` lacks run and addresses.
Result<CoherentGrant> Coherent::make(const Device& device, const Constraints& constraints, std::uint64_t keep,
                                     Live live, std::uint32_t rights) noexcept
{
    const std::uint64_t size = live.block.size;
    const Result<PageRun> run = arenas_.alloc(size, device.iommu ? iommu_.of_memory(constraints) : constraints);
    if (!run)
        return run.error();
    const std::uint64_t granted = arenas_.bytes(*run);
    std::byte* cpu = platform_.cpu_of({run->phys, granted});
    live.run = *run;
    live.block.cpu = live.cached || !opaque(live.block.attrs) ? cpu : nullptr;
    if (!device.iommu)
        live.block.bus = device.bus_of(run->phys);

    Handle handle;
    bool recorded;
    {
        const Guard guard(platform_, lock_);
        recorded = live_.add(live, handle);
    }
    if (!recorded) {
        arenas_.free(*run);
        return DmaError::NoMemory;
    }
    if (!device.coherent) {
        platform_.clean(run->phys, granted);
        platform_.invalidate(run->phys, granted);
    }
    std::memset(cpu + keep, 0, granted - keep);
    if (!device.coherent && granted != keep)
        platform_.clean(run->phys.at(keep), granted - keep);
    if (device.iommu) {
        Constraints natural = constraints;
        natural.align = std::max(natural.align, granted);
        const Result<DmaAddr> bus = iommu_.map(device, run->phys, size, rights, natural);
        if (!bus) {
            forget(handle, live);
            return bus.error();
        }
        live.block.bus = *bus;
        const Guard guard(platform_, lock_);
        live_.find(handle)->block.bus = *bus;
    }
    if (live.uncached)
        if (const Status status = platform_.set_uncached(run->phys, granted, true); !status) {
            if (!device.iommu || iommu_.unmap(device.index, live.block.bus, size))
                forget(handle, live);
            return status.error();
        }
    return CoherentGrant{live.block, granted, handle};
}

// A block that did not come about.
void Coherent::forget(Handle handle, const Live& live) noexcept
{
    {
        const Guard guard(platform_, lock_);
        live_.remove(handle);
    }
    arenas_.free(live.run);
}

Status Coherent::free(const CoherentBlock& block, Handle handle) noexcept
{
    Live gone;
    {
        const Guard guard(platform_, lock_);
        const Live* live = find(block, handle, false);
        if (live == nullptr)
            return DmaError::IllegalCall;
        gone = *live;
        if (gone.uncached)
            if (Status status = platform_.set_uncached(gone.run.phys, arenas_.bytes(gone.run), false); !status)
                return status;
        live_.remove(handle);
    }
    return give_back(gone);
}

Result<Window> Coherent::mmap(const CoherentBlock& block, Handle handle, std::uint64_t pgoff,
                              std::uint64_t pages) noexcept
{
    const Guard guard(platform_, lock_);
    const Live* live = find(block, handle, false);
    if (live == nullptr)
        return DmaError::IllegalCall;
    return window_of({live->run.phys, block.size}, platform_.page_shift(), pgoff, pages);
}

Status Coherent::free_noncoherent(const CoherentBlock& block, Handle handle, Direction direction) noexcept
{
    Live gone;
    {
        const Guard guard(platform_, lock_);
        const Live* live = find(block, handle, true);
        if (live == nullptr || live->direction != direction)
            return DmaError::IllegalCall;
        gone = *live;
        live_.remove(handle);
    }
    if (!gone.snooped)
        platform_.invalidate(gone.run.phys, arenas_.bytes(gone.run));
    return give_back(gone);
}

Status Coherent::sync_noncoherent(const CoherentBlock& block, Handle handle, std::uint64_t offset, std::uint64_t length,
                                  Direction direction, Phase phase) noexcept
{
    Live live;
    {
        const Guard guard(platform_, lock_);
        const Live* found = find(block, handle, true);
        if (found == nullptr)
            return DmaError::IllegalCall;
        live = *found;
    }
    if (offset > block.size || length > block.size - offset)
        return DmaError::BadArgument;
    if (direction != live.direction && live.direction != Direction::Bidirectional)
        return DmaError::BadArgument;
    if (length == 0 || live.snooped)
        return {};
    if (phase == Phase::ForDevice) {
        // Also what the CPU dirtied of a block that only the device writes: it must not hit the device's data later.
        if (device_reads(direction) || live.direction == Direction::FromDevice)
            platform_.clean(live.run.phys.at(offset), length);
    } else if (device_writes(direction)) {
        platform_.invalidate_keeping_neighbours(live.run.phys.at(offset), length);
    }
    return {};
}

// The live record, if every field that the caller gave is right. The lock is held.
const Coherent::Live* Coherent::find(const CoherentBlock& block, Handle handle, bool cached) noexcept
{
    const Live* live = live_.find(handle);
    return live != nullptr && live->cached == cached && live->block == block ? live : nullptr;
}

// The end of a block that is no longer recorded.
Status Coherent::give_back(const Live& gone) noexcept
{
    if (gone.iommu)
        if (const Status status = iommu_.unmap(gone.block.device, gone.block.bus, gone.block.size); !status)
            return status;
    arenas_.free(gone.run);
    return {};
}

} // namespace dmaudit::alloc
