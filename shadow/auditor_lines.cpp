// Cache lines whose bytes have different owners, and bytes under several mappings.
#include "shadow/auditor.hpp"

#include <algorithm>

namespace dmaudit {
namespace {

template <class Pred> constexpr auto states_where(Pred pred)
{
    struct Set {
        uint8_t in[256];
    } set{};
    for (unsigned s = 0; s < 256; s++)
        set.in[s] = pred(static_cast<uint8_t>(s));
    return set;
}
// Handed to a device that may write.
constexpr auto with_writing_device = states_where([](uint8_t s) {
    return s != mixed && owner_of(s) == Owner::device &&
           (direction_of(s) == Direction::from || direction_of(s) == Direction::bi);
});
// With the CPU under a mapping that the device may write, and written.
constexpr auto held_dirty = states_where([](uint8_t s) {
    return s != mixed && owner_of(s) == Owner::cpu && cache_of(s) == CacheState::cpu_wrote &&
           (direction_of(s) == Direction::from || direction_of(s) == Direction::bi);
});
constexpr auto cpu_dirty = states_where(
    [](uint8_t s) { return s != mixed && owner_of(s) == Owner::cpu && cache_of(s) == CacheState::cpu_wrote; });
constexpr auto several = states_where(
    [](uint8_t s) { return s != mixed && owner_of(s) == Owner::device && direction_of(s) == Direction::none; });

// What the edge lines of a range hold before and behind it.
std::array<Range, 2> edges(Range r, uint64_t line)
{
    const Range lines = r.lines(line);
    if (r.empty())
        return {};
    return {Range{lines.at, r.at - lines.at}, Range{r.end(), lines.end() - r.end()}};
}

} // namespace

// L2: a line that holds a byte of a mapping which a non-coherent device may write holds no byte of another live mapping
// and none of another live allocation. Unmapped bytes of the same object are tolerated.
bool Auditor::lines_at_map(Range r, Direction d, uint32_t device, Tag object)
{
    if (!audits_)
        return true;
    const bool writes = d != Direction::to && !coherent(device);
    const Range lines = r.lines(around_.line);
    for (uint32_t i = 0; i < mappings_.live_count(); i++) {
        const Tag other = mappings_.live(i);
        const MappingRecord& o = mappings_[other];
        const bool other_writes = o.direction != Direction::to && !coherent(o.device);
        if ((writes || other_writes) && o.original.lines(around_.line).overlaps(lines)) {
            fail(RuleId::shared_cache_line, {std::clamp(o.original.at, lines.at, lines.end() - 1), 1}, other,
                 "the mapping shares a cache line with another live mapping");
            return false;
        }
    }
    if (!writes)
        return true;
    for (const Range edge : edges(r, around_.line)) {
        uint64_t hit = edge.end();
        if (!edge.empty())
            identity_.for_each_run(edge, [&](Range run, uint32_t tag) {
                if (tag != IdentityMap::nobody && tag != object && run.at < hit)
                    hit = run.at;
            });
        if (hit != edge.end()) {
            fail(RuleId::shared_cache_line, {hit, 1}, identity_.at(hit),
                 "the mapping shares a cache line with another live allocation");
            return false;
        }
    }
    return true;
}

// L1: no line holds a byte that a non-coherent device may write together with a byte that the CPU dirtied.
bool Auditor::lines_at_cpu_write(Range r)
{
    if (!audits_)
        return true;
    const Range lines = r.lines(around_.line);
    for (uint32_t i = 0; i < mappings_.live_count(); i++) {
        const Tag other = mappings_.live(i);
        const MappingRecord& o = mappings_[other];
        if (o.direction == Direction::to || coherent(o.device) || !o.original.overlaps(lines))
            continue;
        if (const auto hit = map_.first_in(o.original.intersect(lines), with_writing_device.in)) {
            fail(RuleId::dirty_line_over_device_data, {hit->at, 1}, other,
                 "the CPU dirties a line that holds bytes of a device");
            return false;
        }
    }
    for (uint32_t i = 0; i < blocks_.live_count(); i++) {
        const Tag other = blocks_.live(i);
        const BlockRecord& b = blocks_[other];
        if (!b.noncoherent() || b.direction == Direction::to || coherent(b.device) || !b.at.overlaps(lines))
            continue;
        if (const auto hit = map_.first_in(b.at.intersect(lines), with_writing_device.in)) {
            fail(RuleId::dirty_line_over_device_data, {hit->at, 1}, other,
                 "the CPU dirties a line that holds bytes of a device");
            return false;
        }
    }
    return true;
}

bool Auditor::lines_at_sync_for_device(Range r, const MappingRecord& m)
{
    if (!audits_ || m.direction == Direction::to || coherent(m.device))
        return true;
    for (const Range edge : edges(r, around_.line)) {
        const Range within = edge.intersect(m.original);
        if (const auto hit = map_.first_in(within, held_dirty.in)) {
            fail(RuleId::dirty_line_over_device_data, {hit->at, 1}, identity_.at(hit->at),
                 "part of a line is handed to the device while the CPU's writes to the rest are not");
            return false;
        }
    }
    return true;
}

bool Auditor::lines_at_invalidate(Range r, Tag object)
{
    if (!audits_)
        return true;
    for (const Range edge : edges(r, around_.line)) {
        bool bad = false;
        if (!edge.empty())
            map_.for_each_run(edge, [&](Range run, uint8_t s) {
                if (bad || !cpu_dirty.in[s])
                    return;
                if (const auto at = identity_.first_other(run, object)) {
                    fail(RuleId::invalidate_destroys_neighbour, {*at, 1}, identity_.at(*at),
                         "the invalidated line holds bytes that the CPU wrote for somebody else");
                    bad = true;
                }
            });
        if (bad)
            return false;
    }
    return true;
}

// Bytes that were handed over once count as in step, but through a bounce buffer, or to a coherent device, they were
// never written back: where that matters they count as what they are, written by the CPU.
void Auditor::own_up_to_dirt(Range r)
{
    if (!audits_ || r.empty() || !evidence_->first_dirty(r))
        return;
    map_.for_each_run(r, [&](Range run, uint8_t s) {
        if (s != (code_of(C_c) | initialised))
            return;
        for (uint64_t at = run.at; at < run.end();) {
            uint64_t end = at;
            while (end < run.end() && evidence_->byte_dirty(end))
                end++;
            map_.set({at, end - at}, code_of(C_d) | initialised);
            at = end + 1;
        }
    });
}

// A mapping without cache work leaves lines with dirty bytes to the CPU as a whole. Dirty is what the CPU wrote and
// also what a provider copied back from a bounce buffer: the machine knows.
void Auditor::keep_dirty_lines(Range r, Direction d, bool bounced)
{
    for (uint64_t line = r.lines(around_.line).at; line < r.end(); line += around_.line) {
        const bool physically = !bounced && evidence_->first_dirty({line, 1}).has_value();
        if (!physically && (d == Direction::to || !map_.first_in({line, around_.line}, cpu_dirty.in)))
            continue;
        const uint8_t clean = code_of(d == Direction::to ? Hto_c : d == Direction::from ? Hfrom_c : Hbi_c);
        const uint8_t dirty = code_of(d == Direction::to ? Hto_d : d == Direction::from ? Hfrom_d : Hbi_d);
        map_.for_each_run(Range{line, around_.line}.intersect(r), [&](Range run, uint8_t s) {
            if (owner_of(s) != Owner::device || direction_of(s) == Direction::none)
                return;
            map_.set(run, static_cast<uint8_t>(clean | (s & initialised)));
            for (uint64_t at = run.at; physically && at < run.end(); at++)
                if (evidence_->byte_dirty(at))
                    map_.set({at, 1}, static_cast<uint8_t>(dirty | (s & initialised)));
        });
    }
}

// ---- several TO_DEVICE mappings over one byte: the state is M, and each mapping remembers what it handed to the CPU
// ----

bool Auditor::shared_with_others(Tag mapping, Range r) const
{
    for (uint32_t i = 0; i < mappings_.live_count(); i++) {
        const Tag other = mappings_.live(i);
        if (other != mapping && mappings_[other].original.overlaps(r))
            return true;
    }
    return false;
}

// `newcomer` is about to share bytes: whoever had handed them to the CPU remembers it. Without cache work (`skip`) what
// the CPU wrote stays with it, under the newcomer as well.
bool Auditor::remember_holders(Tag newcomer, Range r, bool skip)
{
    if (!audits_)
        return true;
    for (uint32_t i = 0; i < mappings_.live_count(); i++) {
        const Tag t = mappings_.live(i);
        if (t == newcomer ? !skip : !mappings_[t].original.overlaps(r))
            continue;
        bool room = true;
        map_.for_each_run(mappings_[t].original.intersect(r), [&](Range run, uint8_t s) {
            const bool wrote = cache_of(s) == CacheState::cpu_wrote;
            if (t == newcomer ? wrote && (several.in[s] || direction_of(s) == Direction::to)
                              : owner_of(s) == Owner::cpu && direction_of(s) == Direction::to)
                room &= mappings_[t].held.add(run);
        });
        if (!room)
            return fail(RuleId::auditor_exhausted, r, t, "too many separate ranges of one mapping are with the CPU"),
                   false;
    }
    return true;
}

bool Auditor::hold(Tag mapping, Range r, bool with_cpu)
{
    if (!audits_)
        return true;
    Held& held = mappings_[mapping].held;
    bool room = with_cpu || held.remove(r); // also what was shared once and is no more
    if (with_cpu)
        map_.for_each_run(r, [&](Range run, uint8_t s) {
            if (several.in[s])
                room &= held.add(run);
        });
    if (!room)
        fail(RuleId::auditor_exhausted, r, mapping, "too many separate ranges of one mapping are with the CPU");
    return room;
}

// The states of shared bytes, from the mappings that are left.
void Auditor::recompute(Range r)
{
    if (!audits_)
        return;
    for (uint64_t at = r.at; at < r.end();) {
        uint64_t end = r.end();
        unsigned covering = 0;
        bool held = false;
        for (uint32_t i = 0; i < mappings_.live_count(); i++) {
            const MappingRecord& m = mappings_[mappings_.live(i)];
            if (m.original.at > at)
                end = std::min(end, m.original.at);
            if (!m.original.contains(at))
                continue;
            end = std::min(end, m.original.end());
            end = m.held.next_edge(at, end);
            covering++;
            held = m.held.touches({at, 1});
        }
        map_.for_each_run({at, end - at}, [&](Range run, uint8_t s) {
            if (!several.in[s] || covering >= 2)
                return;
            const bool dirty = cache_of(s) == CacheState::cpu_wrote;
            const State next = covering == 0 ? (dirty ? C_d : C_c) : !held ? Dto : dirty ? Hto_d : Hto_c;
            map_.set(run, static_cast<uint8_t>(code_of(next) | (s & initialised)));
        });
        at = end;
    }
}

} // namespace dmaudit
