// Scatterlists: each entry is a mapping of its own, but the list is mapped, synced and unmapped as a whole.
#include "shadow/auditor.hpp"

#include <algorithm>

namespace dmaudit {

int Auditor::map_sg(const dmaudit_request& req, std::span<const dmaudit_sg_entry> entries, uint32_t direction, Tag* out,
                    bool table)
{
    // ---- the client ----
    if (req.device >= around_.n_devices)
        return fail(RuleId::wrong_device, {}, 0, "no such device"), withheld;
    if (entries.size() > SgRecord::most)
        return fail(RuleId::auditor_exhausted, {}, 0, "too many entries in one scatterlist", SgRecord::most,
                    entries.size()),
               withheld;
    if (direction > DMAUDIT_FROM_DEVICE)
        return fail(RuleId::wrong_direction, {}, 0, "no direction in which anything can be transferred"), withheld;
    bool refuse = entries.empty();
    std::array<Planned, SgRecord::most> plans{};
    SgRecord rec{};
    rec.device = req.device;
    rec.direction = direction_from(direction);
    rec.n = static_cast<uint32_t>(entries.size());
    for (uint32_t i = 0; i < rec.n; i++) {
        const auto* cpu = static_cast<const uint8_t*>(entries[i].cpu);
        if (cpu < around_.client_view || cpu >= around_.client_view + around_.ram ||
            entries[i].length > around_.ram - static_cast<uint64_t>(cpu - around_.client_view))
            return fail(RuleId::out_of_bounds, {}, 0, "an entry is not in RAM"), withheld;
        const Range r{static_cast<uint64_t>(cpu - around_.client_view), entries[i].length};
        const Tag object = audits_ ? identity_.at(r.at) : 0;
        if (const auto other = object ? identity_.first_other(r, object) : std::nullopt)
            return fail(RuleId::out_of_bounds, {*other, 1}, object, "an entry runs beyond the allocation"), withheld;
        refuse |= r.empty();
        plans[i] = plan(r, object, direction, req.attrs);
        rec.inner_entries[i] = {door(r.at), r.len};
        rec.bytes += r.len;
        const uint64_t end = std::max(r.end(), i ? rec.hull.end() : 0);
        rec.hull.at = i ? std::min(rec.hull.at, r.at) : r.at;
        rec.hull.len = end - rec.hull.at;
    }
    for (uint32_t i = 0; i < rec.n && !refuse; i++) {
        for (uint32_t k = 0; k < i; k++)
            if (plans[k].at.overlaps(plans[i].at) && rec.direction != Direction::to)
                return fail(RuleId::overlapping_mapping, {plans[i].at.at, 1}, plans[i].object,
                            "two entries of the list overlap"),
                       withheld;
        if (!may_map(plans[i], req.device))
            return withheld;
        const auto all_listed = [&](uint64_t at, uint64_t end) {
            const Planned* in = plans.data();
            while (at < end && in != plans.data() + rec.n) {
                in = std::find_if(plans.data(), plans.data() + rec.n,
                                  [at](const Planned& p) { return p.at.contains(at); });
                at = in != plans.data() + rec.n ? in->at.end() : at;
            }
            return at >= end;
        };
        const Range r = plans[i].at, lines = r.lines(around_.line);
        plans[i].edges_of_list = all_listed(lines.at, r.at) && all_listed(r.end(), lines.end());
    }

    // ---- the call ----
    for (uint32_t i = 0; i < rec.n; i++)
        before_map(plans[i]);
    const uint64_t uncached_before = evidence_->uncached_pages();
    const uint32_t before = rec.n + 1; // no count that a map can have
    dmaudit_sg sg{sizeof sg, req.device, rec.inner_entries.data(), rec.segments.data(), rec.n, before, direction,
                  req.attrs, {0, 0}};
    current_ = rec.hull;
    const int rc = (table ? inner_->scatter->map_sgtable : inner_->scatter->map_sg)(ctx_, &req, &sg);
    current_ = {};
    if (violation_)
        return rc;
    if (table && sg.n_entries != rec.n)
        return fail(RuleId::wrong_return, rec.hull, 0, "the map changed the table's orig_nents", rec.n, sg.n_entries), rc;
    if (table && rc != DMAUDIT_OK && sg.n_segments != before)
        return fail(RuleId::failure_has_effect, rec.hull, 0, "a map that failed changed the table's nents", before,
                    sg.n_segments),
               rc;
    if (table && rc != DMAUDIT_OK && rc != DMAUDIT_EINVAL && rc != DMAUDIT_ENOMEM && rc != DMAUDIT_EIO) {
        fail(RuleId::wrong_return, rec.hull, 0, "a table is refused with EINVAL, ENOMEM or EIO", Code{DMAUDIT_EIO},
             Code{rc});
        return rc;
    }
    uint64_t longest = 0;
    for (uint32_t i = 0; i < rec.n; i++)
        longest = std::max(longest, rec.inner_entries[i].length);
    const bool in_parts = req.size == 0 || longest <= req.size; // nothing has to be cut
    if (rc != DMAUDIT_OK && !refuse && in_parts && blamed_caller(rc, req, longest, rec.hull, 0))
        return rc;
    if (rc != DMAUDIT_OK)
        return refused(refuse, uncached_before, 0), rc;
    if (refuse)
        return fail(RuleId::wrong_return, rec.hull, 0, "a list without entries or bytes must be refused"), rc;

    // ---- the provider ----
    const auto wrong = [&](RuleId rule, const char* what, uint64_t expected, uint64_t got) {
        fail(rule, rec.hull, 0, what, expected, got);
        return rc;
    };
    rec.n_segments = sg.n_segments;
    if (rec.n_segments == 0 || rec.n_segments > rec.n)
        return wrong(RuleId::wrong_return, "segments against entries", rec.n, rec.n_segments);
    uint32_t at = 0;
    uint64_t done = 0; // bytes of segment `at` that belong to entries before
    dmaudit_request one = req;
    for (uint32_t i = 0; i < rec.n; i++) {
        const uint64_t len = plans[i].at.len;
        if (at < rec.n_segments && done == rec.segments[at].length)
            at++, done = 0;
        if (at == rec.n_segments || len > rec.segments[at].length - done)
            return wrong(RuleId::wrong_translation, "an entry does not lie in one segment", len,
                         at < rec.n_segments ? rec.segments[at].length - done : 0);
        dmaudit_mapping m{};
        m.struct_size = sizeof m;
        m.device = req.device;
        m.cpu = entries[i].cpu;
        m.bus = rec.segments[at].bus + done;
        m.size = len;
        m.direction = direction;
        done += len;
        one.size = len;
        one.align = 0;
        if (!(rec.entries[i] = accept_mapping(one, plans[i], m, make_tag(Kind::sg, decltype(sgs_)::capacity))))
            return rc;
    }
    if (at + 1 != rec.n_segments || done != rec.segments[at].length)
        return wrong(RuleId::wrong_return, "the segments hold more bytes than the entries", rec.bytes, 0);
    for (uint32_t i = 0; i < rec.n_segments; i++) {
        const auto& s = rec.segments[i];
        if (req.size && s.length > req.size)
            return wrong(RuleId::crosses_boundary, "a segment is longer than the device takes", req.size, s.length);
        if (promises(DMAUDIT_PROMISES_BOUNDARY) && req.boundary &&
            (s.bus ^ (s.bus + (s.length - 1))) & ~(req.boundary - 1))
            return wrong(RuleId::crosses_boundary, "a segment crosses the boundary", req.boundary, s.bus);
    }
    rec.cookie[0] = sg.cookie[0], rec.cookie[1] = sg.cookie[1];
    *out = sgs_.add(rec);
    if (!*out)
        return fail(RuleId::auditor_exhausted, rec.hull, 0, "too many scatterlists in one session"), rc;
    for (uint32_t i = 0; i < rec.n; i++)
        mappings_[rec.entries[i]].sg = *out;
    marks.hit(Mark::merged_segments, rec.n_segments < rec.n);
    return rc;
}

bool Auditor::check_sg(Tag t, uint32_t device, uint32_t n_entries, RuleId dead)
{
    if (!check_alive(t, Kind::sg, dead))
        return false;
    const SgRecord& rec = sgs_[t];
    if (device != rec.device) {
        fail(RuleId::wrong_device, rec.hull, t, "the list was mapped for another device", rec.device, device);
        return false;
    }
    if (n_entries != rec.n) {
        fail(RuleId::wrong_count, rec.hull, t, "entries against the original count", rec.n, n_entries);
        return false;
    }
    return true;
}

int Auditor::unmap_sg(Tag t, uint32_t device, uint32_t n_entries, uint32_t direction, uint32_t attrs, bool table)
{
    if (!check_sg(t, device, n_entries, RuleId::double_free))
        return illegal_unmap_sg(t, device, n_entries, direction, attrs, table);
    SgRecord& rec = sgs_[t];
    if (direction > DMAUDIT_FROM_DEVICE || direction_from(direction) != rec.direction)
        return fail(RuleId::wrong_direction, rec.hull, t, "direction against the list's",
                    linux_direction(rec.direction), direction),
               illegal_unmap_sg(t, device, n_entries, direction, attrs, table);
    const bool skip = (attrs & DMAUDIT_ATTR_SKIP_CPU_SYNC) || !promises(DMAUDIT_PROMISES_MAP_SYNC);
    const Event e = skip ? Event::unmap_skip : Event::unmap;
    for (uint32_t i = 0; i < rec.n; i++)
        if (!judge(e, mappings_[rec.entries[i]].original, t))
            return withheld;
    const dmaudit_sg sg{sizeof sg, rec.device, rec.inner_entries.data(), rec.segments.data(), rec.n, rec.n_segments,
                        direction, attrs, {rec.cookie[0], rec.cookie[1]}};
    current_ = rec.hull;
    const int rc = table ? inner_->scatter->unmap_sgtable(ctx_, &sg, attrs)
                         : inner_->scatter->unmap_sg(ctx_, &sg, n_entries, attrs);
    current_ = {};
    if (violation_)
        return rc;
    if (rc != DMAUDIT_OK) {
        fail(RuleId::wrong_return, rec.hull, t, "a legal unmap failed", Code{DMAUDIT_OK}, Code{rc});
        return rc;
    }
    sgs_.remove(t);
    // First all are gone, then what is still reachable is somebody's: entries may share pages of an IOMMU.
    for (uint32_t i = 0; i < rec.n; i++)
        unmapped(rec.entries[i], e, mappings_[rec.entries[i]].original.len, e);
    for (uint32_t i = 0; i < rec.n && !violation_; i++) {
        const MappingRecord& m = mappings_[rec.entries[i]];
        check_unreachable(m.device, m.inner.bus, m.original, t);
    }
    return rc;
}

int Auditor::sync_sg(Tag t, uint32_t device, uint32_t n_entries, uint32_t direction, uint32_t phase, bool table)
{
    if (!check_sg(t, device, n_entries, RuleId::use_after_unmap))
        return illegal_sync_sg(t, device, n_entries, direction, phase, table);
    SgRecord& rec = sgs_[t];
    const bool for_cpu = phase == DMAUDIT_FOR_CPU;
    if (!check_sync_direction(rec.direction, direction, for_cpu, rec.hull, t))
        return illegal_sync_sg(t, device, n_entries, direction, phase, table);
    const Event e = for_cpu ? Event::sync_for_cpu : Event::sync_for_device;
    for (uint32_t i = 0; i < rec.n; i++)
        if (!judge(e, mappings_[rec.entries[i]].original, t))
            return withheld;
    const dmaudit_sg sg{sizeof sg, rec.device, rec.inner_entries.data(), rec.segments.data(), rec.n, rec.n_segments,
                        linux_direction(rec.direction), 0, {rec.cookie[0], rec.cookie[1]}};
    current_ = rec.hull;
    const int rc = table ? inner_->scatter->sync_sgtable(ctx_, &sg, direction, phase)
                         : inner_->scatter->sync_sg(ctx_, &sg, n_entries, direction, phase);
    current_ = {};
    if (violation_)
        return rc;
    if (rc != DMAUDIT_OK) {
        fail(RuleId::wrong_return, rec.hull, t, "a legal sync failed", Code{DMAUDIT_OK}, Code{rc});
        return rc;
    }
    for (uint32_t i = 0; i < rec.n && !violation_; i++) {
        const MappingRecord& m = mappings_[rec.entries[i]];
        apply(e, m.original);
        if (m.direction == Direction::to && !hold(rec.entries[i], m.original, for_cpu))
            return rc;
        mirror_by_state(m.original);
        if (!for_cpu)
            check_handed_to_device(m, 0, m.original.len);
    }
    return rc;
}

} // namespace dmaudit
