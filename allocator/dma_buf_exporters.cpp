#include "allocator/dma_buf_exporters.hpp"

#include <algorithm>

namespace dmaudit::alloc {

// ---- what is exported

Result<DmaBufId> DmaBufExporters::add(DmaBufs& bufs, const Exported& what, const DmaBufOps& ops,
                                      const char* name) noexcept
{
    MetaMemory memory = meta_memory(platform_, sizeof(Exported));
    if (memory == nullptr)
        return DmaError::NoMemory;
    auto* exported = ::new (memory.get()) Exported(what);
    exported->owner = this;
    {
        const Guard guard(platform_, lock_);
        exported->next = first_;
        first_ = exported;
    }
    const Result<DmaBufId> id = bufs.export_named(ops, exported, what.place.range.size, name);
    if (id)
        static_cast<void>(memory.release());
    else
        release(static_cast<Exported*>(memory.release()));
    return id;
}

Result<DmaBufId> DmaBufExporters::export_block(DmaBufs& bufs, const BlockKey& key, const BlockPlace& place,
                                               const char* name) noexcept
{
    return add(bufs, {nullptr, nullptr, nullptr, 0, true, key, place}, place.cpu == nullptr ? kOpaqueOps : kOps, name);
}

Result<DmaBufId> DmaBufExporters::export_pages(DmaBufs& bufs, void* cpu, std::uint64_t size, const char* name) noexcept
{
    if (cpu == nullptr)
        return DmaError::NullPointer;
    const std::optional<PhysAddr> phys = platform_.phys_of(cpu, size);
    if (size == 0 || !phys || !aligned(phys->value | size, platform_.page()) || arenas_.overlaps({*phys, size}))
        return DmaError::BadArgument;
    const BlockPlace place{{*phys, size}, static_cast<std::byte*>(cpu), false};
    return add(bufs, {nullptr, nullptr, nullptr, 0, false, {}, place}, kOps, name);
}

void DmaBufExporters::release(Exported* of) noexcept
{
    {
        const Guard guard(platform_, lock_);
        Exported** link = &first_;
        while (*link != of)
            link = &(*link)->next;
        *link = of->next;
    }
    platform_.meta_free(of);
}

template <class F> bool DmaBufExporters::any_block(F&& matches) noexcept
{
    const Guard guard(platform_, lock_);
    for (const Exported* e = first_; e != nullptr; e = e->next)
        if (e->is_block && matches(*e))
            return true;
    return false;
}

bool DmaBufExporters::exported(const BlockKey& key) noexcept
{
    return any_block([&](const Exported& e) { return e.key == key; });
}

bool DmaBufExporters::exported_from_pool(std::uint32_t device) noexcept
{
    return any_block([&](const Exported& e) { return e.key.pooled && e.key.device == device; });
}

bool DmaBufExporters::exported_from_pool(std::uint32_t device, PhysAddr start, unsigned order) noexcept
{
    return any_block([&](const Exported& e) {
        return e.key.pooled && e.key.device == device && e.place.range.start == start &&
               order_of(e.place.range.size, platform_.page_shift()) == order;
    });
}

// ---- attachments

Status DmaBufExporters::attach(Exported& of, const Device& device, void** cookie) noexcept
{
    const PhysRange& range = of.place.range;
    if (of.is_block && !device.iommu && !reach_of(device).within_limit(range.start, range.size))
        return DmaError::DmaMaskNotMatch;
    void* memory = platform_.meta_alloc(sizeof(Importer));
    if (memory == nullptr)
        return DmaError::NoMemory;
    auto* importer = ::new (memory) Importer{};
    importer->device = device;
    *cookie = importer;
    const Guard guard(platform_, lock_);
    importer->next = of.importers;
    of.importers = importer;
    return {};
}

void DmaBufExporters::detach(Exported& of, Importer* importer) noexcept
{
    {
        const Guard guard(platform_, lock_);
        Importer** link = &of.importers;
        while (*link != importer)
            link = &(*link)->next;
        *link = importer->next;
    }
    platform_.meta_free(importer);
}

// ---- the pages and the devices

template <class F> bool DmaBufExporters::any_importer(const Exported& of, F&& matches) noexcept
{
    const Guard guard(platform_, lock_);
    for (const Importer* i = of.importers; i != nullptr; i = i->next)
        if (i->state == Importer::State::Live && matches(*i))
            return true;
    return false;
}

// One phase of sync for every live mapping of pages, in the order in which they were mapped.
void DmaBufExporters::sync_all(Exported& of, std::uint64_t start, std::uint64_t length, Phase phase) noexcept
{
    for (std::uint64_t after = 0;;) {
        Importer* pinned = nullptr;
        {
            const Guard guard(platform_, lock_);
            for (Importer* i = of.importers; i != nullptr; i = i->next)
                if (i->state == Importer::State::Live && i->serial > after &&
                    (pinned == nullptr || i->serial < pinned->serial))
                    pinned = i;
            if (pinned == nullptr)
                return;
            pinned->pins++;
            after = pinned->serial;
        }
        static_cast<void>(streaming_.sync(pinned->mapping, start, length, pinned->mapping.direction, phase));
        const Guard guard(platform_, lock_);
        pinned->pins--;
    }
}

// All but what the CPU may be writing.
void DmaBufExporters::gather(Exported& of, std::uint64_t start, std::uint64_t length, const CpuHeld& held) noexcept
{
    if (of.is_block && of.place.uncached)
        return;
    const std::uint64_t end = start + length;
    for (std::uint64_t n = 0; start < end && held.next_free(start, n) && start < end; start += n)
        gather_run(of, start, std::min(n, end - start));
}

void DmaBufExporters::gather_run(Exported& of, std::uint64_t start, std::uint64_t length) noexcept
{
    const PhysAddr at = of.place.range.start.at(start);
    const bool lines = any_importer(of, [](const Importer& i) { return i.may_write() && i.lines(); });
    // Lines are going to be dropped. In a block anybody coherent may have dirtied them, in pages only such an importer.
    if (lines &&
        (of.is_block || any_importer(of, [](const Importer& i) { return i.may_write() && i.device.coherent; })))
        platform_.clean(at, length);
    if (!of.is_block)
        sync_all(of, start, length, Phase::ForCpu);
    else if (lines)
        platform_.invalidate(at, length);
}

void DmaBufExporters::scatter(Exported& of, std::uint64_t start, std::uint64_t length) noexcept
{
    if (length == 0 || (of.is_block && of.place.uncached))
        return;
    if (!of.is_block)
        sync_all(of, start, length, Phase::ForDevice);
    else if (any_importer(of, [](const Importer& i) { return i.lines(); }))
        platform_.clean(of.place.range.start.at(start), length);
}

// Announces the mapping, if it may stand beside the others.
Status DmaBufExporters::claim(Exported& of, Importer& importer, Direction direction) noexcept
{
    // Behind an IOMMU whole pages are never bounced: some address will do.
    const bool bounced = !of.is_block && !importer.device.iommu &&
                         !reach_of(importer.device).within_limit(of.place.range.start, of.place.range.size);
    const Guard guard(platform_, lock_);
    for (const Importer* i = of.importers; device_writes(direction) && i != nullptr; i = i->next)
        if (i != &importer && i->may_write() && (bounced || i->bounced))
            return DmaError::Busy;
    importer.state = Importer::State::Changing;
    importer.direction = direction;
    importer.bounced = bounced;
    return {};
}

// The pages as they are, for the device: fills segment and mapping.
Status DmaBufExporters::give(Exported& of, Importer& importer) noexcept
{
    const auto& [range, cpu, uncached] = of.place;
    if (of.is_block && !importer.device.iommu && !reach_of(importer.device).within_limit(range.start, range.size))
        return DmaError::DmaMaskNotMatch;
    if (of.is_block) {
        if (!uncached && !importer.device.coherent)
            platform_.clean(range.start, range.size);
        DmaAddr bus = importer.device.bus_of(range.start);
        if (importer.device.iommu) {
            const Result<DmaAddr> mapped = iommu_.map(importer.device, range.start, range.size,
                                                      rights_of(importer.direction), reach_of(importer.device));
            if (!mapped)
                return mapped.error();
            bus = *mapped;
        }
        importer.segment = {bus, range.size};
        return {};
    }
    const bool both = importer.bounced && importer.direction == Direction::FromDevice;
    const Result<Mapping> mapping =
        streaming_.map(importer.device, cpu, range.size, both ? Direction::Bidirectional : importer.direction,
                       reach_of(importer.device), false);
    if (!mapping)
        return mapping.error();
    importer.mapping = *mapping;
    importer.segment = {mapping->bus, range.size};
    return {};
}

Result<DmaBufTable> DmaBufExporters::map(Exported& of, Importer& importer, Direction direction,
                                         const CpuHeld& held) noexcept
{
    if (Status status = claim(of, importer, direction); !status)
        return status.error();
    // What others wrote is what this device is to find.
    gather(of, 0, of.place.range.size, held);
    const Status given = give(of, importer);
    const Guard guard(platform_, lock_);
    importer.state = given ? Importer::State::Live : Importer::State::Idle;
    if (!given)
        return given.error();
    importer.serial = ++of.serial;
    return DmaBufTable{&importer.segment, 1};
}

Status DmaBufExporters::unmap(Exported& of, Importer& importer, const CpuHeld& held) noexcept
{
    {
        const Guard guard(platform_, lock_);
        if (importer.pins != 0)
            return DmaError::Busy;
    }
    // Everybody's bytes first, this device's among them: where lines are dropped later, nothing is dirty in them.
    const std::uint64_t size = of.place.range.size;
    const bool writes = device_writes(importer.direction);
    if (writes)
        gather(of, 0, size, held);
    {
        const Guard guard(platform_, lock_);
        if (importer.pins != 0)
            return DmaError::Busy;
        importer.state = Importer::State::Changing;
    }
    Status taken;
    if (!of.is_block)
        taken = streaming_.unmap(importer.mapping, size, true);
    else if (importer.device.iommu)
        taken = iommu_.unmap(importer.device.index, importer.segment.bus, size);
    if (!taken) {
        const Guard guard(platform_, lock_);
        importer.state = Importer::State::Live;
        return taken;
    }
    {
        const Guard guard(platform_, lock_);
        importer.state = Importer::State::Idle;
    }
    if (writes)
        scatter(of, 0, size);
    return {};
}

// ---- the table

DmaBufOps DmaBufExporters::table(bool opaque) noexcept
{
    DmaBufOps ops{};
    ops.attach = [](void* priv, const Device& device, void** cookie) noexcept -> Status {
        auto& of = *static_cast<Exported*>(priv);
        return of.owner->attach(of, device, cookie);
    };
    ops.detach = [](void* priv, const Device&, void* cookie) noexcept {
        auto& of = *static_cast<Exported*>(priv);
        of.owner->detach(of, static_cast<Importer*>(cookie));
    };
    ops.map = [](void* priv, const Device& device, void* cookie, Direction direction,
                 const CpuHeld& held) noexcept -> Result<DmaBufTable> {
        auto& of = *static_cast<Exported*>(priv);
        auto& importer = *static_cast<Importer*>(cookie);
        importer.device = device; // as far as it reaches now
        return of.owner->map(of, importer, direction, held);
    };
    ops.unmap = [](void* priv, const Device&, void* cookie, Direction, const CpuHeld& held) noexcept -> Status {
        auto& of = *static_cast<Exported*>(priv);
        return of.owner->unmap(of, *static_cast<Importer*>(cookie), held);
    };
    ops.release = [](void* priv) noexcept {
        auto* of = static_cast<Exported*>(priv);
        of->owner->release(of);
    };
    // Whatever the CPU is going to do: what it does not overwrite goes back to the devices with the rest.
    ops.begin_cpu_access = [](void* priv, std::uint64_t start, std::uint64_t length, Direction,
                              const CpuHeld& held) noexcept -> Status {
        auto& of = *static_cast<Exported*>(priv);
        of.owner->gather(of, start, length, held);
        return {};
    };
    ops.end_cpu_access = [](void* priv, std::uint64_t start, std::uint64_t length,
                            Direction direction) noexcept -> Status {
        auto& of = *static_cast<Exported*>(priv);
        if (direction != Direction::FromDevice)
            of.owner->scatter(of, start, length);
        return {};
    };
    ops.mmap = [](void* priv, std::uint64_t pgoff, std::uint64_t pages) noexcept -> Result<Window> {
        auto& of = *static_cast<Exported*>(priv);
        const unsigned shift = of.owner->platform_.page_shift();
        return Window{of.place.range.start.at(pgoff << shift), pages << shift};
    };
    if (opaque)
        return ops;
    ops.kmap = [](void* priv, std::uint64_t page) noexcept -> Result<std::byte*> {
        auto& of = *static_cast<Exported*>(priv);
        return of.place.cpu + (page << of.owner->platform_.page_shift());
    };
    ops.vmap = [](void* priv) noexcept -> Result<std::byte*> { return static_cast<Exported*>(priv)->place.cpu; };
    return ops;
}

const DmaBufOps DmaBufExporters::kOps = table(false);
const DmaBufOps DmaBufExporters::kOpaqueOps = table(true);

} // namespace dmaudit::alloc
