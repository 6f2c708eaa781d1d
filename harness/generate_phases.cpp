#include "harness/generate_phases.hpp"
#include <algorithm>
#include <bit>

namespace dmaudit {
bool Phases::has_living_child(const Known& k) const
{
    const auto all = scope_.objects();
    return std::any_of(all.begin(), all.end(), [&](const Known& o) { return o.alive && parent(o) == &k; });
}

bool Phases::coherent_world() const
{
    const World& w = scope_.world();
    return std::all_of(w.devices.begin(), w.devices.begin() + w.n_devices,
                       [](const DeviceSpec& d) { return d.coherent != 0; });
}

// Rounded to lines where devices see memory and not the cache.
Interval Phases::lines(Interval i, const Known& k) const
{
    if (coherent_world() || i.empty())
        return i;
    const uint64_t mask = scope_.world().line - 1, before = std::min((k.place + i.from) & mask, i.from);
    return {i.from - before, i.to + (-(k.place + i.to) & mask)};
}

// Pages as allocators of this kind count them: powers of two.
uint64_t Phases::pages(uint64_t size) const
{
    const uint64_t page = scope_.world().page, n = size / page + (size % page != 0);
    return n > max_ram ? max_ram : std::bit_ceil(n);
}

// A device's blocks come from its pool if it has one. What does not fit is refused, which is nobody's mistake, but
// every step that uses the block is lost.
bool Phases::has_room(const Known& pool, uint64_t size) const
{
    uint64_t taken = pages(size);
    for (const Known& o : scope_.objects())
        if (o.alive && name_kind(o.name) == obj_block &&
            (parent(o) == &pool || (parent(o) == nullptr && of(o).device == of(pool).device)))
            taken += pages(o.length);
    return size != 0 && taken <= pool.length / scope_.world().page;
}

bool Phases::has_room(uint64_t device, uint64_t size, uint64_t limit) const
{
    const World& w = scope_.world();
    if (size == 0 || device >= w.n_devices)
        return false;
    for (const Known& o : scope_.objects())
        if (o.alive && name_kind(o.name) == obj_pool && of(o).device == device)
            return has_room(o, size);
    const DeviceSpec& d = w.devices[device];
    // Behind an IOMMU the pages may lie anywhere.
    limit = d.iommu ? all_ones : std::min({limit ? limit : all_ones, d.limit, coherent_mask_[device]});
    uint64_t taken = pages(size), room = 0, largest = 0;
    for (const Known& o : scope_.objects())
        if (o.alive && name_kind(o.name) == obj_block && parent(o) == nullptr)
            taken += pages(o.length);
    for (unsigned b = 0; b < w.n_banks; b++)
        if (const uint64_t arena = divide(w, b).arena; w.banks[b].phys + d.offset + (arena - 1) <= limit) {
            room += arena / w.page;
            largest = std::max(largest, arena / w.page);
        }
    return taken <= room && pages(size) <= largest;
}

bool Phases::can_map(const Known& buffer, Interval r, uint64_t dir, uint64_t dev) const
{
    if (dir > from_device || r.empty() || dev >= scope_.world().n_devices || name_kind(buffer.name) != obj_buffer)
        return false;
    for (const Known& o : scope_.objects())
        if (o.alive && parent(o) == &buffer &&
            lines(r, buffer).meets(lines(Interval{0, o.length}.shifted(o.base), buffer)))
            if (dir != to_device || of(o).dir != to_device || !of(o).cpu.empty())
                return false;
    return true;
}

bool Phases::can_touch(const Known& buffer, Interval r, bool write) const
{
    const Interval wide = write ? lines(r, buffer) : r;
    for (const Known& o : scope_.objects()) {
        if (!o.alive || parent(o) != &buffer)
            continue;
        const Phase& p = of(o);
        const Interval whole = Interval{0, o.length}.shifted(o.base), with_cpu = p.cpu.shifted(o.base);
        const bool held = wide.meets(whole) && !with_cpu.contains(wide.common(whole));
        if (held && p.dir != to_device)
            return false;
        if (p.dir == from_device && r.meets(whole) && !write && !p.ready.shifted(o.base).contains(r.common(whole)))
            return false;
        // Writing below a TO_DEVICE mapping is legal, but the device may not look before the next hand-over.
    }
    return true;
}

bool Phases::legal_on_mapping(const Step& s, const Known& m, Interval r) const
{
    const Phase& p = of(m);
    const Known* buffer = parent(m);
    if (s.op == is<ops::MappingError>)
        return !p.tested;
    if (scope_.world().strict.check_errors && name_kind(m.name) == obj_mapping && !p.tested)
        return specs()[s.op].actor == Actor::machine;
    switch (s.op) {
    case is<ops::DeviceRead>:
        return p.dir != from_device && !p.dirty && !p.cpu.meets(r) && buffer &&
               of(*buffer).ready.contains(r.shifted(m.base));
    case is<ops::DeviceWrite>:
        return p.dir != to_device && !p.cpu.meets(r);
    case is<ops::SyncForCpu>:
    case is<ops::SyncForDevice>: {
        const bool for_cpu = s.op == is<ops::SyncForCpu>;
        const uint64_t dir = unpack<ops::SyncForCpu>(s).dir.v; // both have the same fields
        if (dir != same_direction && dir != p.dir &&
            (p.dir != bidirectional || dir != (for_cpu ? from_device : to_device)))
            return false;
        if (for_cpu) // would lose what the CPU wrote there; two intervals are more than is kept here
            return !(p.dirty && p.dir != to_device && (p.wrote.empty() || p.wrote.meets(r))) &&
                   (p.cpu.empty() || (r.from <= p.cpu.to && p.cpu.from <= r.to));
        if (p.dirty) // whole, so that no line stays half dirty
            return r.contains(p.cpu);
        return p.dir != bidirectional || p.cpu.contains(r) || p.ready.empty();
    }
    case is<ops::SyncSgForCpu>:
    case is<ops::SyncSgForDevice>:
    case is<ops::SyncSgtableForCpu>:
    case is<ops::SyncSgtableForDevice>: {
        const bool for_cpu = s.op == is<ops::SyncSgForCpu> || s.op == is<ops::SyncSgtableForCpu>;
        const uint64_t dir = unpack<ops::SyncSgForCpu>(s).dir.v; // all have the same fields
        if (dir != same_direction && dir != p.dir &&
            (p.dir != bidirectional || dir != (for_cpu ? from_device : to_device)))
            return false;
        return for_cpu ? !p.dirty || p.dir == to_device
                       : p.dirty || p.dir != bidirectional || !p.cpu.empty() || p.ready.empty();
    }
    case is<ops::UnmapSgtable>: // both have the same fields
    case is<ops::UnmapSg>:
        return !p.dirty || p.dir == to_device || unpack<ops::UnmapSg>(s).attrs.v;
    case is<ops::UnmapSingle>: {
        const auto u = unpack<ops::UnmapSingle>(s);
        return (u.used.v == all_ones || u.used.v <= m.length) && (!p.dirty || p.dir == to_device || u.attrs.v);
    }
    default:
        return true;
    }
}

bool Phases::noncoherent(const Known& k) const
{
    return k.maker == is<ops::AllocNoncoherent> || k.maker == is<ops::ManagedAllocNoncoherent> ||
           k.maker == is<ops::AllocPages>;
}

// Blocks and their dma-bufs: `dirty` says that an attachment is mapped, `cpu` and `dir` are a bracket.
bool Phases::is_exported(const Known& k) const
{
    const auto all = scope_.objects();
    return std::any_of(all.begin(), all.end(),
                       [&](const Known& o) { return o.alive && name_kind(o.name) == obj_dma_buf && parent(o) == &k; });
}

bool Phases::in_bracket(const Known& buf, bool write) const
{
    const Phase& p = of(buf);
    return !p.cpu.empty() && p.dir != (write ? from_device : to_device);
}

void Phases::complete(Step& s) const
{
    const Layout& l = layouts()[s.op];
    const Known* used = l.use == Layout::absent ? nullptr : scope_.find(s.arg[l.use]);
    if (s.op != is<ops::EndCpuAccess> || !used || of(*used).cpu.empty())
        return;
    s.arg[l.off] = of(*used).cpu.from;
    s.arg[l.len] = of(*used).cpu.to - of(*used).cpu.from;
    s.arg[3] = of(*used).dir; // dir
}

bool Phases::lacks_descriptor(uint8_t op) const
{
    return (op == is<ops::DmaBufGet> || op == is<ops::CloseFd> || op == is<ops::DupFd>)&&descriptors_ == 0;
}

bool Phases::legal_on_dma_buf(const Step& s, const Known& k, Interval r) const
{
    const Phase& p = of(k);
    switch (s.op) {
    case is<ops::DmaBufPut>:
        return !has_living_child(k) && p.cpu.empty();
    case is<ops::BeginCpuAccess>:
        return p.n_outer < p.outer.size() && unpack<ops::BeginCpuAccess>(s).dir.v <= from_device;
    case is<ops::EndCpuAccess>:
        return !p.cpu.empty() && r.from == p.cpu.from && r.to == p.cpu.to &&
               unpack<ops::EndCpuAccess>(s).dir.v == p.dir;
    case is<ops::Attach>:
        return unpack<ops::Attach>(s).dev.v < scope_.world().n_devices;
    case is<ops::Detach>:
        return !p.dirty;
    case is<ops::MapAttachment>:
        return unpack<ops::MapAttachment>(s).dir.v <= from_device;
    case is<ops::UnmapAttachment>:
        return p.dirty;
    case is<ops::DeviceRead>:
        return p.dirty && p.dir != from_device;
    case is<ops::DeviceWrite>:
        return p.dirty && p.dir != to_device;
    default:
        return true;
    }
}

bool Phases::legal_on_noncoherent(const Step& s, const Known& k, Interval r) const
{
    const Phase& p = of(k);
    switch (s.op) {
    case is<ops::CpuRead>:
        return p.dir == to_device || p.cpu.contains(r);
    case is<ops::CpuWrite>:
        return p.cpu.contains(lines(r, k));
    case is<ops::DeviceRead>:
        return p.dir != from_device && !p.dirty && !p.cpu.meets(r);
    case is<ops::DeviceWrite>:
        return p.dir != to_device && !p.cpu.meets(r);
    case is<ops::SyncForCpu>:
    case is<ops::SyncForDevice>:
        return legal_on_mapping(s, k, r);
    case is<ops::FreeNoncoherent>:
    case is<ops::FreePages>:
    case is<ops::ManagedFreeNoncoherent>:
        return fits(s.op, k);
    case is<ops::Evict>:
    case is<ops::Prefetch>:
        return true;
    default:
        return false;
    }
}

bool Phases::legal(const Step& s) const
{
    const Layout& l = layouts()[s.op];
    const auto fields = specs()[s.op].fields;
    for (size_t a = 0; a < fields.size(); a++)
        if (fields[a].shape == Shape::lie && s.arg[a])
            return false;
    const Known* used = l.use == Layout::absent ? nullptr : scope_.find(s.arg[l.use]);
    if (l.use != Layout::absent && (!used || !used->alive))
        return false;
    Interval r;
    if (used && l.off != Layout::absent && l.len != Layout::absent) {
        const uint64_t off = s.arg[l.off], len = s.arg[l.len];
        if (off > used->length || len == 0 || len > used->length - off)
            return false;
        r = {off, off + len};
    }
    if (l.place != Layout::absent && (s.arg[l.size] == 0 || s.arg[l.size] > scope_.space(l.makes).largest ||
                                      scope_.free_place(l.makes, s.arg[l.place], s.arg[l.size]) != s.arg[l.place]))
        return false;
    if (l.makes == obj_buffer && !coherent_world() &&
        !crowded_) { // a neighbour in the same line makes most of what follows illegal
        const Interval mine{s.arg[l.place] / scope_.world().line,
                            (s.arg[l.place] + s.arg[l.size] - 1) / scope_.world().line + 1};
        for (const Known& o : scope_.objects())
            if (o.alive && name_kind(o.name) == obj_buffer && o.length &&
                mine.meets({o.place / scope_.world().line, (o.place + o.length - 1) / scope_.world().line + 1}))
                return false;
    }
    if (used && (name_kind(used->name) & (obj_mapping | obj_sg)))
        return legal_on_mapping(s, *used, r);

    if (used && (name_kind(used->name) & (obj_dma_buf | obj_attachment)))
        return legal_on_dma_buf(s, *used, r);
    if (used && name_kind(used->name) == obj_window && parent(*used) && name_kind(parent(*used)->name) == obj_dma_buf)
        return s.op != is<ops::CpuRead> && s.op != is<ops::CpuWrite>
                   ? true
                   : in_bracket(*parent(*used), s.op == is<ops::CpuWrite>);
    if (used && noncoherent(*used))
        return legal_on_noncoherent(s, *used, r);
    const bool opaque = used && used->maker == is<ops::AllocOpaque>;
    if (const auto decided = legal_managed(s, used))
        return *decided;

    switch (s.op) {
    case is<ops::FreeBuffer>:
        return !has_living_child(*used);
    case is<ops::MapSingle>:
        return can_map(*used, r, unpack<ops::MapSingle>(s).dir.v, unpack<ops::MapSingle>(s).dev.v);
    case is<ops::MapSingleWithin>: {
        const auto o = unpack<ops::MapSingleWithin>(s);
        return (!o.boundary.v || o.len.v <= o.boundary.v) && can_map(*used, r, o.dir.v, o.dev.v);
    }
    case is<ops::SetMask>:
    case is<ops::SetCoherentMask>:
    case is<ops::SetMinAlignMask>: // all begin with the same field; what cannot be had is refused, and nobody's mistake
        return unpack<ops::SetMask>(s).dev.v < scope_.world().n_devices;
    case is<ops::MapSgtable>: // both have the same fields
    case is<ops::MapSg>: {
        const auto o = unpack<ops::MapSg>(s);
        return o.n.v && o.n.v <= 16 && o.len.v >= o.n.v && can_map(*used, r, o.dir.v, o.dev.v) &&
               (o.shape.v != sg_repeated || o.dir.v == to_device);
    }
    case is<ops::MapSgWithin>: {
        const auto o = unpack<ops::MapSgWithin>(s);
        return o.len.v && can_map(*used, r, o.dir.v, o.dev.v);
    }
    case is<ops::ExportBlock>:
        return !has_living_child(*used);
    case is<ops::DmaBufGet>:
        return unpack<ops::DmaBufGet>(s).fd.v < descriptors_;
    case is<ops::CloseFd>:
    case is<ops::DupFd>:
        return unpack<ops::CloseFd>(s).fd.v < descriptors_;
    case is<ops::ExportPages>:
        return unpack<ops::ExportPages>(s).pages.v > 0 && unpack<ops::ExportPages>(s).pages.v <= 8;
    case is<ops::CpuRead>:
        return !opaque && !is_exported(*used) && of(*used).ready.contains(r) &&
               (name_kind(used->name) != obj_buffer || can_touch(*used, r, false));
    case is<ops::CpuWrite>:
        return !opaque && !is_exported(*used) && (name_kind(used->name) != obj_buffer || can_touch(*used, r, true));
    case is<ops::DeviceRead>:
        return of(*used).ready.contains(r);
    case is<ops::SyncForCpu>:
    case is<ops::SyncForDevice>:
        return false; // of a coherent block: wrong kind
    case is<ops::CacheMaintenance>:
        return !has_living_child(*used);
    case is<ops::AllocCoherent>: {
        const auto o = unpack<ops::AllocCoherent>(s);
        return (!o.boundary.v || o.size.v <= o.boundary.v) && has_room(o.dev.v, o.size.v, o.limit.v);
    }
    case is<ops::AllocOpaque>: // no pool is asked
    case is<ops::AllocNoncoherent>: {
        const auto o = unpack<ops::AllocOpaque>(s); // both begin with the same fields
        return o.size.v && has_room(o.dev.v, o.size.v, 0) &&
               (s.op == is<ops::AllocOpaque> || unpack<ops::AllocNoncoherent>(s).dir.v <= from_device);
    }
    case is<ops::AllocPages>: {
        const auto o = unpack<ops::AllocPages>(s);
        return o.pages.v && o.pages.v <= max_ram && o.dir.v <= from_device &&
               has_room(o.dev.v, o.pages.v * scope_.world().page, 0);
    }
    case is<ops::FreeNoncoherent>:
    case is<ops::FreePages>:
        return false;
    case is<ops::FreeCoherent>:
        return (opaque || used->maker == is<ops::AllocCoherent>)&&!has_living_child(*used);
    case is<ops::AllocFromPool>:
        return has_room(*used, s.arg[l.size]);
    case is<ops::ReleaseFromPool>:
        return used->maker == is<ops::AllocFromPool> && !has_living_child(*used);
    case is<ops::ReleasePool>:
        return !used->managed && !has_living_child(*used);
    case is<ops::MmapCoherent>:
    case is<ops::MmapFromPool>: { // both have the same fields
        const auto m = unpack<ops::MmapFromPool>(s);
        const uint64_t pages = (used->length + scope_.world().page - 1) / scope_.world().page;
        return (s.op == is<ops::MmapCoherent> || used->maker == is<ops::AllocFromPool>)&&m.pages.v &&
               m.pgoff.v < pages && m.pages.v <= pages - m.pgoff.v;
    }
    case is<ops::ManagedDeclare>:
    case is<ops::DeclarePool>: { // a device has one pool
        const uint64_t dev = unpack<ops::DeclarePool>(s).dev.v;
        for (const Known& o : scope_.objects())
            if (o.alive && name_kind(o.name) == obj_pool && of(o).device == dev)
                return false;
        const World& w = scope_.world();
        const auto at = pool_offset(w, s.arg[l.place], s.arg[l.size]);
        if (!at || dev >= w.n_devices || w.devices[dev].iommu)
            return false;
        uint64_t phys = *at; // offset in RAM, where the banks lie one behind the other
        unsigned bank = 0;
        while (phys >= w.banks[bank].size)
            phys -= w.banks[bank++].size;
        phys += w.banks[bank].phys;
        return s.arg[l.size] % w.page == 0 &&
               phys + w.devices[dev].offset + (s.arg[l.size] - 1) <= w.devices[dev].limit;
    }
    default:
        return true;
    }
}

} // namespace dmaudit
