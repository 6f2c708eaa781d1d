#include "allocator/scatter.hpp"

#include <new>

namespace dmaudit::alloc {
namespace {

Status check_entry(const dmaudit_sg_entry& entry, std::uint64_t boundary, std::uint64_t longest)
{
    if (entry.cpu == nullptr)
        return DmaError::NullPointer;
    if (entry.length == 0 || (longest != 0 && entry.length > longest) || (boundary != 0 && entry.length > boundary))
        return DmaError::BadArgument;
    return {};
}

// May `next` be the end of a segment?
bool joins(const dmaudit_sg_segment& segment, const Mapping& next, std::uint64_t boundary, std::uint64_t longest)
{
    // Adjoining over the end of the address space is not.
    if (segment.bus + segment.length != next.bus.value || next.bus.value <= segment.bus)
        return false;
    const std::uint64_t length = segment.length + next.size;
    const std::uint64_t last = segment.bus + length - 1;
    return (longest == 0 || length <= longest) && (boundary == 0 || ((segment.bus ^ last) & ~(boundary - 1)) == 0);
}

std::uint32_t make_segments(std::span<const Mapping> mappings, std::span<dmaudit_sg_segment> segments,
                            std::uint64_t boundary, std::uint64_t longest)
{
    std::uint32_t n = 0;
    for (const Mapping& mapping : mappings) {
        if (n != 0 && joins(segments[n - 1], mapping, boundary, longest))
            segments[n - 1].length += mapping.size;
        else
            segments[n++] = {mapping.bus.value, mapping.size};
    }
    return n;
}

} // namespace

Scatter::~Scatter()
{
    live_.each([&](Handle, Live& live) {
        platform_.meta_free(live.mappings);
        return true;
    });
}

Result<ScatterMapping> Scatter::map(const Device& device, Entries entries, std::span<dmaudit_sg_segment> segments,
                                    Direction direction, const Constraints& constraints, std::uint64_t longest,
                                    bool skip_cpu_sync) noexcept
{
    for (const dmaudit_sg_entry& entry : entries)
        if (const Status status = check_entry(entry, constraints.boundary, longest); !status)
            return status.error();
    MetaMemory memory = meta_memory(platform_, entries.size() * sizeof(Mapping));
    if (memory == nullptr)
        return DmaError::NoMemory;
    auto* mappings = static_cast<Mapping*>(memory.get());

    // Without effect on the buffers: nothing has been transferred.
    const auto take_back = [&](std::size_t n) {
        while (n-- != 0)
            static_cast<void>(streaming_.unmap(mappings[n], 0, true));
    };
    for (std::size_t i = 0; i < entries.size(); i++) {
        const Result<Mapping> mapping = streaming_.map(device, static_cast<std::byte*>(entries[i].cpu),
                                                       entries[i].length, direction, constraints, skip_cpu_sync);
        if (!mapping) {
            take_back(i);
            return mapping.error();
        }
        ::new (mappings + i) Mapping(*mapping);
    }

    const auto n_entries = static_cast<std::uint32_t>(entries.size());
    ScatterMapping list{device.index, direction, entries, 0, {}};
    bool recorded;
    {
        const Guard guard(platform_, lock_);
        recorded = live_.add({device.index, direction, n_entries, 0, mappings}, list.handle);
    }
    if (!recorded) {
        take_back(entries.size());
        return DmaError::NoMemory;
    }
    list.n_segments = make_segments({mappings, entries.size()}, segments, constraints.boundary, longest);
    {
        const Guard guard(platform_, lock_);
        live_.find(list.handle)->n_segments = list.n_segments;
    }
    static_cast<void>(memory.release());
    return list;
}

Status Scatter::unmap(const ScatterMapping& list, std::uint64_t n_entries, bool skip_cpu_sync) noexcept
{
    Live live;
    {
        const Guard guard(platform_, lock_);
        const Live* found = find(list, n_entries);
        if (found == nullptr)
            return DmaError::IllegalCall;
        live = *found;
        live_.remove(list.handle);
    }
    Status answer;
    for (std::uint32_t i = 0; i < live.n_entries; i++)
        if (const Status status = streaming_.unmap(live.mappings[i], live.mappings[i].size, skip_cpu_sync);
            !status && answer)
            answer = status;
    platform_.meta_free(live.mappings);
    return answer;
}

Status Scatter::sync(const ScatterMapping& list, std::uint64_t n_entries, Direction direction, Phase phase) noexcept
{
    Live live;
    {
        const Guard guard(platform_, lock_);
        const Live* found = find(list, n_entries);
        if (found == nullptr)
            return DmaError::IllegalCall;
        live = *found;
    }
    // The entries agree in direction: one that is wrong is refused at the first, before anything moves.
    for (std::uint32_t i = 0; i < live.n_entries; i++)
        if (const Status status = streaming_.sync(live.mappings[i], 0, live.mappings[i].size, direction, phase);
            !status)
            return status;
    return {};
}

// The live record, if all that the caller gave is right. The lock is held.
const Scatter::Live* Scatter::find(const ScatterMapping& list, std::uint64_t n_entries) noexcept
{
    const Live* live = live_.find(list.handle);
    if (live == nullptr || live->device != list.device || live->direction != list.direction ||
        live->n_entries != n_entries || live->n_entries != list.entries.size() || live->n_segments != list.n_segments ||
        list.entries.data() == nullptr)
        return nullptr;
    for (std::uint32_t i = 0; i < live->n_entries; i++)
        if (live->mappings[i].cpu != list.entries[i].cpu || live->mappings[i].size != list.entries[i].length)
            return nullptr;
    return live;
}

} // namespace dmaudit::alloc
