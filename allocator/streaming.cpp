#include "allocator/streaming.hpp"

#include <cstring>

namespace dmaudit::alloc {

bool Streaming::in_place(const Device& device, PhysAddr phys, std::uint64_t size, Direction direction,
                         const Constraints& constraints) const noexcept
{
    // Behind an IOMMU only the place in the page is given; the page may appear anywhere.
    const PhysAddr place = device.iommu ? PhysAddr{phys.value & (platform_.page() - 1)} : phys;
    if (!constraints.admits(place, size))
        return false;
    // Lines that the device writes must belong to the buffer as a whole: a neighbour's dirty byte could be written back
    // over the device's data, and dropping the line would lose it.
    return device.coherent || !device_writes(direction) || aligned(phys.value | size, platform_.line());
}

Result<Mapping> Streaming::map(const Device& device, std::byte* cpu, std::uint64_t size, Direction direction,
                               const Constraints& constraints, bool skip_cpu_sync) noexcept
{
    const std::optional<PhysAddr> phys = platform_.phys_of(cpu, size);
    if (!phys)
        return DmaError::BadArgument;
    Live live{cpu, *phys, kNoAddress, size, device.index, direction, device.coherent, device.iommu, false, {}};
    const Constraints memory = device.iommu ? iommu_.of_memory(constraints) : constraints;
    if (!in_place(device, *phys, size, direction, memory)) {
        const Result<BounceSlot> slot = bounce_.alloc(size, *phys, memory);
        if (!slot)
            return slot.error();
        live.slot = *slot;
        live.bounced = true;
    }
    if (!device.iommu)
        live.bus = device.bus_of(live.target());
    Handle handle;
    bool recorded;
    {
        const Guard guard(platform_, lock_);
        recorded = live_.add(live, handle);
    }
    if (!recorded) {
        if (live.bounced)
            bounce_.free(live.slot);
        return DmaError::NoMemory;
    }
    if (live.bounced || !skip_cpu_sync)
        to_device(live, 0, size);
    if (device.iommu) {
        const Result<DmaAddr> bus = iommu_.map(device, live.target(), size, rights_of(direction), constraints);
        if (!bus) {
            forget(handle, live);
            return bus.error();
        }
        live.bus = *bus;
        const Guard guard(platform_, lock_);
        live_.find(handle)->bus = *bus;
    }
    return Mapping{device.index, direction, cpu, live.bus, size, handle};
}

// A mapping that did not come about.
void Streaming::forget(Handle handle, const Live& live) noexcept
{
    {
        const Guard guard(platform_, lock_);
        live_.remove(handle);
    }
    if (live.bounced)
        bounce_.free(live.slot);
}

Status Streaming::unmap(const Mapping& mapping, std::uint64_t used, bool skip_cpu_sync) noexcept
{
    Live live;
    {
        const Guard guard(platform_, lock_);
        const Live* found = find(mapping);
        if (found == nullptr)
            return DmaError::IllegalCall;
        if (used > found->size)
            return DmaError::BadArgument;
        live = *found;
        live_.remove(mapping.handle);
    }
    if (!skip_cpu_sync && device_writes(live.direction)) {
        // In place all of it is dropped, used or not: what the device did write there must not hide under an old line.
        to_cpu(live, 0, live.bounced ? used : live.size);
    }
    if (live.iommu)
        if (const Status status = iommu_.unmap(live.device, live.bus, live.size); !status)
            return status;
    if (live.bounced)
        bounce_.free(live.slot);
    return {};
}

Status Streaming::sync(const Mapping& mapping, std::uint64_t offset, std::uint64_t length, Direction direction,
                       Phase phase) noexcept
{
    const Live* found;
    {
        const Guard guard(platform_, lock_);
        found = find(mapping);
    }
    if (found == nullptr)
        return DmaError::IllegalCall;
    const Live& live = *found; // records do not move, and nobody may unmap what is being synced
    if (offset > live.size || length > live.size - offset)
        return DmaError::BadArgument;
    if (direction != live.direction && live.direction != Direction::Bidirectional)
        return DmaError::BadArgument;
    if (length == 0)
        return {};
    if (phase == Phase::ForDevice) {
        // A FROM_DEVICE slot has nothing to fetch: only the device writes it. In place, what the CPU may have dirtied
        // is written back before the device's data arrives.
        if (device_reads(direction) || (!live.bounced && live.direction == Direction::FromDevice))
            to_device(live, offset, length);
    } else if (device_writes(direction)) {
        to_cpu(live, offset, length);
    }
    return {};
}

Status Streaming::cache(const void* cpu, std::uint64_t length, CacheOp op) noexcept
{
    if (length == 0)
        return {};
    const std::optional<PhysAddr> phys = platform_.phys_of(cpu, length);
    if (!phys)
        return DmaError::BadArgument;
    switch (op) {
    case CacheOp::Flush:
        platform_.clean(*phys, length);
        return {};
    case CacheOp::Invalidate:
        platform_.invalidate_keeping_neighbours(*phys, length);
        return {};
    case CacheOp::FlushInvalidate:
        platform_.clean(*phys, length);
        platform_.invalidate(*phys, length);
        return {};
    }
    return DmaError::BadArgument;
}

// The live record, if every field that the caller gave is right. The lock is held.
const Streaming::Live* Streaming::find(const Mapping& mapping) noexcept
{
    const Live* live = live_.find(mapping.handle);
    const bool matches = live != nullptr && live->device == mapping.device && live->direction == mapping.direction &&
                         live->cpu == mapping.cpu && live->bus == mapping.bus && live->size == mapping.size;
    return matches ? live : nullptr;
}

void Streaming::to_device(const Live& live, std::uint64_t offset, std::uint64_t length) const noexcept
{
    if (!live.bounced) {
        if (!live.coherent)
            platform_.clean(live.phys.at(offset), length);
        return;
    }
    const PhysAddr slot = live.slot.phys.at(offset);
    if (!live.coherent && live.direction == Direction::Bidirectional) {
        // Cells around the range may hold newer bytes of the device: fetch those lines before they are dirtied and
        // written back as a whole. The slot's own lines are never dirty between calls, so nothing is lost.
        const std::uint64_t line = platform_.line();
        if (!aligned(slot.value, line))
            platform_.invalidate(slot, 1);
        if (!aligned(slot.value + length, line))
            platform_.invalidate(slot.at(length - 1), 1);
    }
    std::memmove(live.slot.cpu + offset, live.cpu + offset, length);
    if (!live.coherent)
        platform_.clean(slot, length);
}

void Streaming::to_cpu(const Live& live, std::uint64_t offset, std::uint64_t length) const noexcept
{
    if (length == 0)
        return;
    if (!live.bounced) {
        if (!live.coherent)
            platform_.invalidate_keeping_neighbours(live.phys.at(offset), length);
        return;
    }
    // Nobody dirties a slot's lines but to_device, which cleans them: no edges to keep.
    if (!live.coherent)
        platform_.invalidate(live.slot.phys.at(offset), length);
    std::memmove(live.cpu + offset, live.slot.cpu + offset, length);
}

} // namespace dmaudit::alloc
