// The streaming facet: map, unmap, sync, cache maintenance.
#include "machine/bytes.hpp"
#include "shadow/auditor.hpp"

#include <algorithm>

namespace dmaudit {
namespace {

Event map_event(Direction d, bool skip, bool keeps)
{
    switch (d) {
    case Direction::to:
        return skip ? Event::map_skip_to : Event::map_to;
    case Direction::from:
        return skip ? Event::map_skip_from : keeps ? Event::map_from_keeps : Event::map_from;
    default:
        return skip ? Event::map_skip_bi : Event::map_bi;
    }
}

constexpr auto stale = [] {
    struct Set {
        uint8_t in[256];
    } set{};
    set.in[code_of(C_s)] = set.in[code_of(C_s) | initialised] = 1;
    return set;
}();

} // namespace

int Auditor::map_single(const dmaudit_request& req, void* cpu, uint32_t direction, dmaudit_mapping* out)
{
    // ---- the client ----
    const auto* pointer = static_cast<const uint8_t*>(cpu);
    const bool in_ram = pointer >= around_.client_view && pointer < around_.client_view + around_.ram;
    const uint64_t at = in_ram ? static_cast<uint64_t>(pointer - around_.client_view) : around_.ram;
    if (req.device >= around_.n_devices)
        return fail(RuleId::wrong_device, {}, 0, "no such device"), withheld;
    if (!in_ram && cpu != nullptr)
        return fail(RuleId::out_of_bounds, {}, 0, "the buffer is not in RAM"), withheld;
    const Tag object = in_ram && audits_ ? identity_.at(at) : 0;
    if (in_ram && req.size > around_.ram - at)
        return fail(req.size + at < at ? RuleId::bad_length : RuleId::out_of_bounds, {at, 1}, object,
                    "the buffer ends beyond RAM"),
               withheld;
    const Range r{at, in_ram ? req.size : 0};
    const bool refuse = req.size == 0 || cpu == nullptr ||
                        (promises(DMAUDIT_PROMISES_ALIGNMENT) && !power_of_two(req.align)) ||
                        (promises(DMAUDIT_PROMISES_BOUNDARY) && !power_of_two(req.boundary));
    if (object && !refuse)
        if (const auto other = identity_.first_other(r, object))
            return fail(RuleId::out_of_bounds, {*other, 1}, object, "the range runs beyond the allocation"), withheld;
    if (direction > DMAUDIT_FROM_DEVICE)
        return fail(RuleId::wrong_direction, r, object, "no direction in which anything can be transferred"), withheld;
    const Planned p = plan(r, object, direction, req.attrs);
    if (!refuse && !may_map(p, req.device))
        return withheld;

    // ---- the call ----
    before_map(p);
    const uint64_t uncached_before = evidence_->uncached_pages();
    dmaudit_mapping m{};
    m.struct_size = sizeof m;
    current_ = r;
    const int rc = inner_->streaming->map_single(ctx_, &req, cpu ? door(at) : nullptr, direction, &m);
    current_ = {};
    if (violation_)
        return rc;
    if (rc != DMAUDIT_OK && !refuse && blamed_caller(rc, req, req.size, r, object))
        return rc;
    if (rc != DMAUDIT_OK)
        return refused(refuse, uncached_before, object), rc;
    if (refuse)
        return fail(RuleId::wrong_return, r, object,
                    "a mapping without bytes, or with an impossible alignment or boundary, must be refused"),
               rc;

    const Tag tag = accept_mapping(req, p, m, 0);
    if (!tag)
        return rc;
    *out = m;
    out->struct_size = sizeof *out;
    out->device = req.device;
    out->cpu = cpu;
    out->size = req.size;
    out->direction = direction;
    out->cookie[0] = tag;
    out->cookie[1] = 0;
    return rc;
}

Auditor::Planned Auditor::plan(Range r, Tag object, uint32_t direction, uint32_t attrs) const
{
    const Direction d = direction_from(direction);
    const bool skip = (attrs & DMAUDIT_ATTR_SKIP_CPU_SYNC) || !promises(DMAUDIT_PROMISES_MAP_SYNC);
    return {r, object, d, map_event(d, skip, promises(DMAUDIT_PROMISES_KEEP_UNWRITTEN)), skip};
}

bool Auditor::may_map(const Planned& p, uint32_t device)
{
    if (buffers_.alive(p.object) && !buffers_[p.object].mappable)
        return fail(RuleId::unmappable_memory, p.at, p.object, "the buffer is not memory that devices can be given"),
               false;
    if (blocks_.alive(p.object) && blocks_[p.object].noncoherent())
        return fail(RuleId::overlapping_mapping, p.at, p.object, "the block is a mapping by itself"), false;
    if (p.event == Event::map_from && !coherent(device))
        own_up_to_dirt(p.at);
    return judge(p.event, p.at, p.object) && lines_at_map(p.at, p.direction, device, p.object);
}

// A provider that copies into a line which still holds a device's unseen data may happen to write the very values that
// the cache has, and dirtiness by value would miss it: such lines are reloaded first, as hardware may do.
void Auditor::before_map(const Planned& p)
{
    if (audits_ && map_.first_in(p.at, stale.in))
        evidence_->reload(p.at);
}

// What the provider made of a legal map: judged, and remembered. 0 and a violation, if it is wrong.
Tag Auditor::accept_mapping(const dmaudit_request& req, const Planned& p, const dmaudit_mapping& m, Tag sg)
{
    const Range r = p.at;
    const Tag object = p.object;
    const Direction d = p.direction;
    const uint64_t last = m.bus + (r.len - 1), reach = reach_of(req.device, false),
                   limit = std::min(req.limit ? req.limit : every_byte, reach);
    MappingRecord rec{r, {}, m, req.device, d, object, true, false, false, {}, false, sg};
    if (m.bus == DMAUDIT_NO_ADDRESS || last < m.bus)
        return fail(RuleId::wrong_translation, r, object, "not a device address", Bus{m.bus}), 0;
    if (last > limit) {
        if (promises(DMAUDIT_PROMISES_LIMIT))
            return fail(RuleId::beyond_limit, r, object, "last device address of the mapping against the limit", limit,
                        last),
                   0;
        rec.reachable = false;
    }
    if (promises(DMAUDIT_PROMISES_ALIGNMENT) && req.align > 1 && m.bus % req.align)
        return fail(RuleId::misaligned, r, object, "device address against the alignment asked for", req.align, m.bus),
               0;
    if (promises(DMAUDIT_PROMISES_BOUNDARY) && req.boundary && (m.bus ^ last) & ~(req.boundary - 1))
        return fail(RuleId::crosses_boundary, r, object, "the device range crosses the boundary", req.boundary, m.bus),
               0;
    const auto target = evidence_->translate(req.device, m.bus, r.len);
    if (!target)
        return fail(RuleId::wrong_translation, r, object, "the device address does not lead to one range of RAM",
                    Bus{m.bus}),
               0;
    if (iommu(req.device) && rec.reachable &&
        !evidence_->reaches(req.device, m.bus, r.len, d != Direction::from, d != Direction::to))
        return fail(RuleId::wrong_translation, r, object,
                    "the IOMMU denies the device what its direction needs, or an old translation, not flushed, is in "
                    "the way",
                    Bus{m.bus}),
               0;
    rec.target = {*target, r.len};
    rec.bounced = *target != r.at;
    if (rec.bounced && audits_) {
        const Event taken = Event::alloc_plain; // a bounce slot must lie in the provider's free memory
        if (const auto hit = map_.check(transition(taken), rec.target))
            return fail(sg                         ? RuleId::wrong_translation // entries merged that do not adjoin
                        : hit->state == code_of(N) ? RuleId::outside_arena
                                                   : RuleId::overlap,
                        {hit->at, 1}, identity_.at(hit->at), "the bounce buffer is not the provider's own memory"),
                   0;
        // Partial syncs go by the lines of the original; only an alignment that the original lacks excuses from keeping
        // them.
        const bool can_keep =
            req.align <= 1 ||
            (evidence_->phys_of(r.at) + bus_offset(req.device)) % std::min(req.align, around_.line) == 0;
        if (can_keep && !coherent(req.device) && (*target ^ r.at) & (around_.line - 1))
            return fail(RuleId::misaligned, r, object,
                        "the bounce buffer does not keep the buffer's place in its cache line",
                        r.at & (around_.line - 1), *target & (around_.line - 1)),
                   0;
        if (const uint64_t keep = drivers_[req.device].min_align_mask;
            keep && promises(DMAUDIT_PROMISES_MIN_ALIGN_MASK)) {
            const uint64_t was = evidence_->phys_of(r.at) & keep, is = evidence_->phys_of(*target) & keep;
            if (was != is)
                return fail(RuleId::misaligned, r, object,
                            "the bounce buffer does not keep the address bits of the device's min_align_mask", was, is),
                       0;
            marks.hit(Mark::kept_bits);
        }
        for (uint32_t i = 0; i < mappings_.live_count(); i++) {
            const MappingRecord& o = mappings_[mappings_.live(i)];
            if (!o.bounced)
                continue;
            if (o.target.overlaps(rec.target))
                return fail(RuleId::overlap, {rec.target.intersect(o.target).at, 1}, mappings_.live(i),
                            "two live mappings share a bounce buffer"),
                       0;
            if (sg && o.sg == sg)
                continue; // they come and go together
            const bool writes =
                (d != Direction::to && !coherent(req.device)) || (o.direction != Direction::to && !coherent(o.device));
            if (writes && o.target.lines(around_.line).overlaps(rec.target.lines(around_.line)))
                return fail(RuleId::misaligned, {rec.target.at, 1}, mappings_.live(i),
                            "two live bounce buffers share a cache line"),
                       0;
        }
    } else if (!rec.bounced && promises(DMAUDIT_PROMISES_EDGE_BOUNCE) && d != Direction::to && !coherent(req.device) &&
               r.lines(around_.line) != r && !p.edges_of_list)
        return fail(RuleId::wrong_translation, r, object,
                    "a buffer that shares an edge line was promised a bounce buffer"),
               0;

    if (rec.reachable && !check_rights(req.device, m.bus, r, d, object))
        return 0;
    if (rec.reachable && !check_isolated(rec, object))
        return 0;

    const bool shared = shared_with_others(0, r);
    rec.blind = shared && p.skip;
    const Tag tag = mappings_.add(rec);
    if (!tag)
        return fail(RuleId::auditor_exhausted, r, object, "too many mappings in one session"), 0;
    if (shared && !remember_holders(tag, r, p.skip))
        return 0;
    apply(p.event, r);
    if (p.skip && audits_ && !coherent(req.device))
        keep_dirty_lines(r, d, rec.bounced);
    mirror_by_state(r);
    marks.hit(Mark::overlapping_to_device, shared);
    marks.hit(Mark::translated, iommu(req.device));
    marks.hit(Mark::narrowed, reach < around_.devices[req.device].limit);
    marks.hit(rec.bounced ? Mark::bounced : Mark::direct);
    marks.hit(Mark::skipped_sync, (req.attrs & DMAUDIT_ATTR_SKIP_CPU_SYNC) != 0);
    marks.hit(Mark::split_line, !coherent(req.device) && r.lines(around_.line) != r);
    if (!p.skip && !check_handed_to_device(rec, 0, r.len))
        return 0;
    return tag;
}

// What the device would read is what the client handed over, and nothing dirty lies under what the device may write.
bool Auditor::check_handed_to_device(const MappingRecord& m, uint64_t offset, uint64_t length)
{
    if (!m.reachable || length == 0 || !audits_)
        return true;
    const Range target{m.target.at + offset, length};
    const uint64_t original = m.original.at + offset;
    const bool nc = !coherent(m.device);
    if (m.direction != Direction::from) {
        const bool bounce_differs = m.bounced && !same_bytes(door(original), door(target.at), length);
        const auto seen = nc ? evidence_->first_difference(target) : std::nullopt;
        if (bounce_differs || seen) { // rare: look byte by byte, only at what is defined
            for (uint64_t i = 0; i < length; i++) {
                if (!is_initialised(map_.at(original + i)))
                    continue;
                if (m.bounced && *door(original + i) != *door(target.at + i))
                    return fail(RuleId::stale_bounce, {original + i, 1}, m.object,
                                "the bounce buffer does not hold what was handed over"),
                           false;
                if (nc && evidence_->first_difference({target.at + i, 1}))
                    return fail(RuleId::missing_clean, {original + i, 1}, m.object,
                                "the device does not see what was handed over: the line was not written back"),
                           false;
            }
        }
    }
    if (m.direction != Direction::to && nc)
        if (const auto dirty = evidence_->first_dirty(target))
            return fail(RuleId::missing_invalidate,
                        {m.original.lines(around_.line).contains(original + (*dirty - target.at))
                             ? original + (*dirty - target.at)
                             : original,
                         1},
                        m.object,
                        "a dirty line lies under bytes that the device will write: its eviction would destroy them"),
                   false;
    return true;
}

// Entries of a scatterlist are tested by the count that map returned.
bool Auditor::check_tested(Tag tag)
{
    const MappingRecord& rec = mappings_[tag];
    if (!strict_.check_errors || rec.tested || rec.sg)
        return true;
    return fail(RuleId::unchecked_mapping_error, rec.original, tag, "the mapping was never tested for its error"),
           false;
}

bool Auditor::check_mapping(const dmaudit_mapping& m, RuleId dead, RuleId mismatch)
{
    const auto tag = static_cast<Tag>(m.cookie[0]);
    if (!check_alive(tag, Kind::mapping, dead))
        return false;
    const MappingRecord& rec = mappings_[tag];
    if (rec.sg) {
        fail(RuleId::wrong_kind, rec.original, tag, "the mapping is an entry of a scatterlist");
        return false;
    }
    if (!check_tested(tag))
        return false;
    if (m.device != rec.device) {
        fail(RuleId::wrong_device, rec.original, tag, "the mapping was made for another device", rec.device, m.device);
        return false;
    }
    if (m.bus != rec.inner.bus) {
        fail(mismatch, rec.original, tag, "device address against the mapping's", rec.inner.bus, m.bus);
        return false;
    }
    return true;
}

int Auditor::unmap_single(const dmaudit_mapping& m, uint64_t used, uint32_t attrs)
{
    const auto tag = static_cast<Tag>(m.cookie[0]);
    if (!check_mapping(m, RuleId::double_free, RuleId::free_mismatch))
        return illegal_unmap(m, used, attrs);
    const MappingRecord& rec = mappings_[tag]; // stays where it is, dead or alive
    if (m.size != rec.original.len)
        return fail(RuleId::free_mismatch, rec.original, tag, "size against the mapping's", rec.original.len, m.size),
               illegal_unmap(m, used, attrs);
    if (used != every_byte && used > rec.original.len)
        return fail(RuleId::bad_length, rec.original, tag, "more bytes used than mapped", rec.original.len, used),
               illegal_unmap(m, used, attrs);
    if (m.direction > DMAUDIT_FROM_DEVICE || direction_from(m.direction) != rec.direction)
        return fail(RuleId::wrong_direction, rec.original, tag, "direction against the mapping's", rec.inner.direction,
                    m.direction),
               illegal_unmap(m, used, attrs);
    const bool skip = (attrs & DMAUDIT_ATTR_SKIP_CPU_SYNC) || !promises(DMAUDIT_PROMISES_MAP_SYNC);
    const uint64_t n = std::min(used, rec.original.len);
    const Range head{rec.original.at, n}, tail{rec.original.at + n, rec.original.len - n};
    const Event at_head = skip ? Event::unmap_skip : Event::unmap,
                at_tail = skip ? Event::unmap_skip : Event::unmap_tail;
    if (!judge(at_head, head, tag) || !judge(at_tail, tail, tag))
        return withheld;

    current_ = rec.original;
    const int rc = inner_->streaming->unmap_single(ctx_, &rec.inner, n, attrs);
    current_ = {};
    if (violation_)
        return rc;
    if (rc != DMAUDIT_OK) {
        fail(RuleId::wrong_return, rec.original, tag, "a legal unmap failed", Code{DMAUDIT_OK}, Code{rc});
        return rc;
    }
    unmapped(tag, at_head, n, at_tail);
    return rc;
}

// The provider has unmapped it; `used` bytes by `head`, the rest by `tail`.
void Auditor::unmapped(Tag tag, Event head, uint64_t used, Event tail)
{
    const MappingRecord& rec = mappings_[tag];
    if (rec.bounced && audits_ && !coherent(rec.device) && !promises(DMAUDIT_TRAIT_IN_BAND))
        evidence_->reload(rec.target); // for the slot's next user: see before_map
    mappings_.remove(tag);
    apply(head, {rec.original.at, used});
    apply(tail, {rec.original.at + used, rec.original.len - used});
    recompute(rec.original);
    mirror_by_state(rec.original);
    if (!rec.sg)
        check_unreachable(rec.device, rec.inner.bus, rec.original, tag);
}

bool Auditor::check_sync_direction(Direction of, uint32_t direction, bool for_cpu, Range r, Tag tag)
{
    if (direction > DMAUDIT_FROM_DEVICE)
        return fail(RuleId::wrong_direction, r, tag, "no direction in which anything can be transferred"), false;
    const Direction d = direction_from(direction);
    if (d == of)
        return true;
    if (of != Direction::bi)
        return fail(RuleId::wrong_direction, r, tag, "direction against the mapping's", linux_direction(of), direction),
               false;
    if (d == (for_cpu ? Direction::to : Direction::from))
        return fail(RuleId::sync_without_effect, r, tag, "a sync in this direction moves nothing to that side"), false;
    return true;
}

int Auditor::sync(const dmaudit_mapping& m, uint64_t offset, uint64_t length, uint32_t direction, uint32_t phase)
{
    const auto tag = static_cast<Tag>(m.cookie[0]);
    if (!check_mapping(m, RuleId::use_after_unmap, RuleId::sync_outside) ||
        !check_range(offset, length, bytes_of(tag).len, RuleId::sync_outside, tag))
        return illegal_sync(m, offset, length, direction, phase);
    const MappingRecord& rec = mappings_[tag];
    const Range r{rec.original.at + offset, length};
    const bool for_cpu = phase == DMAUDIT_FOR_CPU;
    if (!check_sync_direction(rec.direction, direction, for_cpu, r, tag))
        return illegal_sync(m, offset, length, direction, phase);
    const Event e = for_cpu ? Event::sync_for_cpu : Event::sync_for_device;
    if (!judge(e, r, tag) || (!for_cpu && !lines_at_sync_for_device(r, rec)))
        return withheld;

    current_ = r;
    const int rc = inner_->streaming->sync(ctx_, &rec.inner, offset, length, direction, phase);
    current_ = {};
    if (violation_)
        return rc;
    if (rc != DMAUDIT_OK) {
        fail(RuleId::wrong_return, r, tag, "a legal sync failed", Code{DMAUDIT_OK}, Code{rc});
        return rc;
    }
    apply(e, r);
    if (rec.direction == Direction::to && !hold(tag, r, for_cpu))
        return rc;
    mirror_by_state(r);
    marks.hit(Mark::partial_sync, length && length < rec.original.len);
    if (!for_cpu)
        check_handed_to_device(rec, offset, length);
    return rc;
}

int Auditor::cache(Tag buffer, uint64_t offset, uint64_t length, uint32_t op)
{
    if (!check_alive(buffer, Kind::buffer, RuleId::use_after_free) ||
        !check_range(offset, length, bytes_of(buffer).len, RuleId::out_of_bounds, buffer))
        return withheld;
    const Range whole = buffers_[buffer].at, r{whole.at + offset, length};
    const Event e = op == DMAUDIT_FLUSH        ? Event::flush
                    : op == DMAUDIT_INVALIDATE ? Event::invalidate
                                               : Event::flush_invalidate;
    if (!judge(e, r, buffer) || (e == Event::invalidate && !lines_at_invalidate(r, buffer)))
        return withheld;
    const Range affected =
        e == Event::invalidate ? r.lines(around_.line).intersect(whole) : r; // whole lines are dropped
    if (e == Event::invalidate)
        own_up_to_dirt(affected);
    current_ = affected;
    const int rc = inner_->streaming->cache(ctx_, door(r.at), length, op);
    current_ = {};
    if (violation_)
        return rc;
    if (rc != DMAUDIT_OK && length) {
        fail(RuleId::wrong_return, r, buffer, "legal cache maintenance failed", Code{DMAUDIT_OK}, Code{rc});
        return rc;
    }
    apply(e, affected);
    if (!audits_ || length == 0)
        return rc;
    if (const auto dirty = evidence_->first_dirty(r))
        fail(RuleId::missing_clean, {*dirty, 1}, buffer,
             "the line is dirty after it was to be written back or dropped");
    if (const auto unseen = e == Event::flush ? std::nullopt : evidence_->first_stale(r))
        fail(RuleId::missing_invalidate, {*unseen, 1}, buffer, "the CPU still does not see what a device wrote");
    return rc;
}

} // namespace dmaudit
