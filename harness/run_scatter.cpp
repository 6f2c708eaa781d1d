// Scatterlists.
#include "harness/run.hpp"

#include <bit>

namespace dmaudit {
namespace {

uint32_t lied_count(uint32_t n, uint64_t lie)
{
    return lie == lie_size_less ? n - 1 : lie == lie_size_more ? n + 1 : n;
}

} // namespace

bool Run::has_sgtable() const
{
    return DMAUDIT_HAS(&provider_, scatter) && DMAUDIT_HAS(provider_.scatter, map_sgtable) &&
           DMAUDIT_HAS(provider_.scatter, unmap_sgtable) && DMAUDIT_HAS(provider_.scatter, sync_sgtable);
}

bool Run::has_sg() const
{
    return DMAUDIT_HAS(&provider_, scatter) && DMAUDIT_HAS(provider_.scatter, map_sg) &&
           DMAUDIT_HAS(provider_.scatter, unmap_sg);
}

Skip Run::perform(const ops::MapSgtable& o)
{
    return map_sg(std::bit_cast<ops::MapSg>(o), true); // both have the same fields
}

Skip Run::perform(const ops::MapSgWithin& o)
{
    ops::MapSg list{};
    list.out.v = o.out.v, list.buffer.v = o.buffer.v, list.off.v = o.off.v, list.len.v = o.len.v, list.dir.v = o.dir.v,
    list.dev.v = o.dev.v, list.n.v = std::min(o.len.v, ops::MapSgWithin::parts);
    return map_sg(list, false, o.limit.v, attrs_of(o.attrs.v));
}

Skip Run::map_sg(const ops::MapSg& o, bool table, uint64_t limit, uint32_t attrs)
{
    if (table ? !has_sgtable() : !has_sg())
        return Skip::impossible;
    if (!made(o.buffer.v))
        return Skip::not_made;
    if ((o.dev.v >= case_.world.n_devices && case_.world.mode == Mode::conforming) || o.n.v > SgRecord::most)
        return Skip::impossible;
    const Tag t = tag(o.buffer.v);
    const Range whole = auditor_.bytes_of(t);
    if (o.off.v > machine_.ram_size() - whole.at || o.len.v > machine_.ram_size() - whole.at - o.off.v)
        return Skip::impossible; // no such pointer
    if (auditor_.alive(t) && o.off.v + o.len.v > whole.len && case_.world.mode == Mode::conforming)
        return Skip::illegal;

    std::array<dmaudit_sg_entry, SgRecord::most> entries{};
    const uint64_t part = o.n.v ? o.len.v / o.n.v : 0;
    const uint64_t wanted = o.shape.v == sg_line_gaps   ? case_.world.line
                            : o.shape.v == sg_page_gaps ? case_.world.page
                                                        : 0;
    const uint64_t gap = part > wanted ? wanted : 0;
    for (uint64_t i = 0; i < o.n.v; i++) {
        const uint64_t k = o.shape.v == sg_descending ? o.n.v - 1 - i : o.shape.v == sg_repeated ? i & ~uint64_t{1} : i;
        const bool last = k + 1 == o.n.v;
        entries[i] = {client({whole.at + o.off.v + k * part, 0}), last ? o.len.v - k * part : part - gap};
    }
    dmaudit_request req{sizeof req, narrow(o.dev.v), 0, 0, limit, 0, 0, attrs};
    if (o.shape.v == sg_page_segments)
        req.size = case_.world.page;
    if (o.shape.v == sg_page_boundary)
        req.boundary = case_.world.page;
    if (o.shape.v == sg_two_parts)
        req.size = part <= every_byte / 2 ? 2 * part : 0;
    if (o.shape.v == sg_near_boundary && part && part <= every_byte / 8)
        req.boundary = 2 * std::bit_ceil(part);
    Tag sg = 0;
    const int rc = call([&] { return auditor_.map_sg(req, {entries.data(), o.n.v}, narrow(o.dir.v), &sg, table); });
    if (sg) {
        sgs_[name_number(o.out.v)] = sg;
        make(o.out.v);
    }
    if (auditor_.alive(t) && rc != Auditor::withheld && !failed())
        expect_contents(whole, false, false);
    return done(rc);
}

void Run::expect_sg(Tag t, bool handed_over)
{
    const SgRecord& rec = auditor_.sgs()[t];
    for (uint32_t i = 0; i < rec.n && !failed(); i++) {
        const MappingRecord& m = auditor_.mappings()[rec.entries[i]];
        expect_contents(m.original, m.bounced, handed_over);
    }
    if (!failed()) // only now: before, other entries would count as neighbours
        expect_contents(auditor_.bytes_of(auditor_.mappings()[rec.entries[0]].object), false, false);
}

Skip Run::unmap_sg(uint64_t sg, uint64_t attrs, uint64_t lie, bool table)
{
    if (!made(sg))
        return Skip::not_made;
    if (table ? !has_sgtable() : !has_sg())
        return Skip::impossible;
    const Tag t = tag(sg);
    const SgRecord& rec = auditor_.sgs()[t];
    const uint32_t own = linux_direction(rec.direction);
    const int rc = call([&] {
        return auditor_.unmap_sg(t, lie == lie_other_device ? other_device(rec.device) : rec.device,
                                 lied_count(rec.n, lie), lie == lie_other_dir ? another_direction(own) : own,
                                 attrs_of(attrs), table);
    });
    if (rc == DMAUDIT_OK && !failed())
        expect_sg(t, true);
    return done(rc);
}

Skip Run::sync_sg(uint64_t sg, uint64_t dir, uint64_t lie, uint32_t phase, bool table)
{
    if (!made(sg))
        return Skip::not_made;
    if (table ? !has_sgtable() : !DMAUDIT_HAS(provider_.scatter, sync_sg))
        return Skip::impossible;
    const Tag t = tag(sg);
    const SgRecord& rec = auditor_.sgs()[t];
    const uint32_t own = linux_direction(rec.direction);
    const uint32_t d = lie == lie_other_dir    ? another_direction(own)
                       : dir == same_direction ? own
                                               : narrow(dir);
    const int rc = call([&] {
        return auditor_.sync_sg(t, lie == lie_other_device ? other_device(rec.device) : rec.device,
                                lied_count(rec.n, lie), d, phase, table);
    });
    if (rc == DMAUDIT_OK && !failed())
        expect_sg(t, true);
    return done(rc);
}

// The device walks the segments: bytes are counted over the entries, gaps are not.
Skip Run::access_sg(Tag t, uint32_t device, uint64_t off, uint64_t len, bool write, uint64_t seed)
{
    const SgRecord& rec = auditor_.sgs()[t];
    if (off > rec.bytes || len > rec.bytes - off) // one entry stands for them all: it is beyond each
        return access(rec.entries[0], device, auditor_.mappings()[rec.entries[0]].inner.bus, off, len, write, seed);
    uint64_t begin = 0;
    for (uint32_t i = 0; i < rec.n && !failed(); i++) {
        const MappingRecord& m = auditor_.mappings()[rec.entries[i]];
        const Range mine = Range{begin, m.original.len}.intersect({off, len});
        if (!mine.empty() || (len == 0 && i == 0))
            if (const Skip s = access(rec.entries[i], device, m.inner.bus, len ? mine.at - begin : 0, mine.len, write,
                                      seed + i);
                s != Skip::executed)
                return s;
        begin += m.original.len;
    }
    return Skip::executed;
}

} // namespace dmaudit
