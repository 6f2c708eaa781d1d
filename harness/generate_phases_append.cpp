// What a step changes in the generator's idea of the case.
#include "harness/generate_phases.hpp"
#include <algorithm>

namespace dmaudit {
void Interval::add(Interval i)
{
    if (i.empty())
        return;
    if (empty())
        *this = i;
    else if (i.from <= to && from <= i.to)
        *this = {std::min(from, i.from), std::max(to, i.to)};
    else if (i.to - i.from > to - from)
        *this = i;
}

void Interval::remove(Interval i)
{
    if (!meets(i))
        return;
    const Interval left{from, i.from}, right{i.to, to};
    const auto length = [](Interval x) { return x.empty() ? 0 : x.to - x.from; };
    *this = length(left) > length(right) ? left : right;
    if (empty())
        *this = {};
}

void Phases::append(const Step& s)
{
    append_managed(s);
    const Layout& l = layouts()[s.op];
    const Known* used = l.use == Layout::absent ? nullptr : scope_.find(s.arg[l.use]);
    Interval r;
    if (used && l.off != Layout::absent && l.len != Layout::absent && s.arg[l.off] <= used->length)
        r = {s.arg[l.off], s.arg[l.off] + std::min(s.arg[l.len], used->length - s.arg[l.off])};
    Phase fresh;
    descriptors_ += s.op == is<ops::DmaBufFd> || s.op == is<ops::DupFd>;
    switch (s.op) {
    case is<ops::MapSingle>:
        fresh.dir = unpack<ops::MapSingle>(s).dir.v;
        fresh.device = unpack<ops::MapSingle>(s).dev.v;
        break;
    case is<ops::MapSingleWithin>:
        fresh.dir = unpack<ops::MapSingleWithin>(s).dir.v;
        fresh.device = unpack<ops::MapSingleWithin>(s).dev.v;
        break;
    case is<ops::SetCoherentMask>: {
        const auto o = unpack<ops::SetCoherentMask>(s);
        if (o.dev.v < max_devices && o.mask.v)
            coherent_mask_[o.dev.v] = o.mask.v;
        break;
    }
    case is<ops::AllocPages>:
        fresh.device = unpack<ops::AllocPages>(s).dev.v;
        fresh.dir = unpack<ops::AllocPages>(s).dir.v;
        fresh.cpu = {0, unpack<ops::AllocPages>(s).pages.v * scope_.world().page};
        fresh.dirty = true;
        break;
    case is<ops::MapSgtable>: // both have the same fields
    case is<ops::MapSg>:
        fresh.dir = unpack<ops::MapSg>(s).dir.v;
        fresh.device = unpack<ops::MapSg>(s).dev.v;
        break;
    case is<ops::MapSgWithin>:
        fresh.dir = unpack<ops::MapSgWithin>(s).dir.v;
        fresh.device = unpack<ops::MapSgWithin>(s).dev.v;
        break;
    case is<ops::ManagedAlloc>:
        fresh.device = unpack<ops::ManagedAlloc>(s).dev.v;
        if (unpack<ops::ManagedAlloc>(s).zero.v)
            fresh.ready = {0, s.arg[l.size]};
        break;
    case is<ops::AllocCoherent>:
        fresh.device = unpack<ops::AllocCoherent>(s).dev.v;
        if (unpack<ops::AllocCoherent>(s).zero.v)
            fresh.ready = {0, s.arg[l.size]};
        break;
    case is<ops::AllocOpaque>:
        fresh.device = unpack<ops::AllocOpaque>(s).dev.v;
        break;
    case is<ops::ManagedAllocNoncoherent>: // both have the same fields
    case is<ops::AllocNoncoherent>:
        fresh.device = unpack<ops::AllocNoncoherent>(s).dev.v;
        fresh.dir = unpack<ops::AllocNoncoherent>(s).dir.v;
        fresh.cpu = {0, s.arg[l.size]};
        fresh.dirty = true;
        break;
    case is<ops::Attach>:
        fresh.device = unpack<ops::Attach>(s).dev.v;
        break;
    case is<ops::AllocFromPool>:
        fresh.device = used ? of(*used).device : 0;
        fresh.ready = {0, s.arg[l.size]};
        break;
    case is<ops::MmapCoherent>:
    case is<ops::MmapFromPool>:
        if (used)
            fresh.ready = of(*used).ready;
        break;
    case is<ops::ManagedDeclare>: // both have the same fields
    case is<ops::DeclarePool>:
        fresh.device = unpack<ops::DeclarePool>(s).dev.v;
        break;
    default:
        break;
    }
    if (l.def != Layout::absent && scope_.objects().size() < max_steps)
        phases_[scope_.objects().size()] = fresh; // the index that the scope will give it
    if (!used)
        return;

    Phase& p = of(*used);
    const Known* up = parent(*used);
    const bool mapping = name_kind(used->name) == obj_mapping;
    switch (s.op) {
    case is<ops::CpuWrite>:
        if (noncoherent(*used)) {
            p.wrote_in(r);
            break;
        }
        p.ready.add(r);
        for (const Known& o : scope_.objects())
            if (o.alive && parent(o) == used && r.meets(Interval{0, o.length}.shifted(o.base))) {
                of(o).wrote_in(r.common(Interval{0, o.length}.shifted(o.base)).shifted(-o.base));
                if (of(o).dir == from_device)
                    of(o).ready.add(r.common(Interval{0, o.length}.shifted(o.base)).shifted(-o.base));
            }
        break;
    case is<ops::DeviceWrite>:
        p.ready.add(r);
        break;
    case is<ops::MappingError>:
        p.tested = true;
        break;
    case is<ops::BeginCpuAccess>:
        if (!p.cpu.empty() && p.n_outer < p.outer.size())
            p.outer[p.n_outer++] = {p.cpu, p.dir};
        p.cpu = r;
        p.dir = unpack<ops::BeginCpuAccess>(s).dir.v;
        break;
    case is<ops::EndCpuAccess>:
        p.cpu = {};
        if (p.n_outer) {
            p.cpu = p.outer[--p.n_outer].at;
            p.dir = p.outer[p.n_outer].dir;
        }
        break;
    case is<ops::MapAttachment>:
        if (p.dirty) // once more, or refused
            break;
        p.dirty = true;
        p.dir = unpack<ops::MapAttachment>(s).dir.v;
        break;
    case is<ops::UnmapAttachment>:
        p.dirty = false;
        break;
    case is<ops::SyncSgtableForCpu>:
    case is<ops::SyncSgForCpu>:
        p.cpu = {0, used->length};
        break;
    case is<ops::SyncSgtableForDevice>:
    case is<ops::SyncSgForDevice>:
        p.cpu = {};
        p.dirty = false;
        break;
    case is<ops::UnmapSgtable>: // both have the same fields
    case is<ops::UnmapSg>:
        if (up && unpack<ops::UnmapSg>(s).attrs.v)
            of(*up).ready.remove(Interval{0, used->length}.shifted(used->base));
        else if (up && p.dir != to_device) {
            if (p.dir == from_device)
                of(*up).ready.remove(Interval{0, used->length}.shifted(used->base));
            of(*up).ready.add(p.ready.shifted(used->base));
        }
        break;
    case is<ops::SyncForCpu>:
        p.cpu.add(r);
        break;
    case is<ops::SyncForDevice>:
        p.cpu.remove(r);
        p.dirty = p.dirty && !p.cpu.empty();
        if (!p.dirty)
            p.wrote = {};
        break;
    case is<ops::CacheMaintenance>:
        if (unpack<ops::CacheMaintenance>(s).op.v != 1) // drops what was never written back
            p.ready.remove(lines(r, *used));
        break;
    case is<ops::UnmapSingle>: {
        if (!mapping || !up)
            break;
        const auto u = unpack<ops::UnmapSingle>(s);
        Interval& ready = of(*up).ready;
        const Interval known = p.ready.common({0, std::min(u.used.v, used->length)});
        if (p.dir == from_device || u.attrs.v) // bytes that the device left alone have no value that anybody promises
            ready.remove(Interval{0, used->length}.shifted(used->base));
        if (!u.attrs.v && p.dir != to_device)
            ready.add(known.shifted(used->base));
        break;
    }
    default:
        break;
    }
}

} // namespace dmaudit
