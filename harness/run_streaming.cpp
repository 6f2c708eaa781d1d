// Streaming mappings: map, unmap, sync, cache maintenance.
#include "harness/room.hpp"
#include "harness/run.hpp"
#include "harness/scope.hpp"

namespace dmaudit {

// ---- streaming ----

dmaudit_mapping Run::lied_mapping(uint64_t name, uint64_t lie) const
{
    dmaudit_mapping m{};
    if (name_kind(name) == obj_block) { // dma_sync_single on a coherent block
        const dmaudit_block& b = blocks_[name_number(name)];
        m = {sizeof m, b.device, b.cpu, b.bus, b.size, DMAUDIT_BIDIRECTIONAL, 0, {b.cookie[0], 0}};
    } else
        m = mappings_[name_number(name)];
    switch (lie) {
    case lie_size_less:
        m.size--;
        break;
    case lie_size_more:
        m.size++;
        break;
    case lie_interior:
        m.bus += 4;
        break;
    case lie_foreign:
        m.bus ^= case_.world.page;
        break;
    case lie_other_device:
        m.device = other_device(m.device);
        break;
    default:
        break;
    }
    return m;
}

Skip Run::perform(const ops::MapSingle& o)
{
    return map_single(o.out.v, o.buffer.v, o.off.v, o.dir.v,
                      {sizeof(dmaudit_request), narrow(o.dev.v), o.len.v, o.align.v, 0, 0, 0, attrs_of(o.attrs.v)});
}

Skip Run::perform(const ops::MapSingleWithin& o)
{
    return map_single(o.out.v, o.buffer.v, o.off.v, o.dir.v,
                      {sizeof(dmaudit_request), narrow(o.dev.v), o.len.v, 0, o.limit.v, o.boundary.v, 0, 0});
}

Skip Run::map_single(uint64_t out, uint64_t buffer, uint64_t off, uint64_t dir, const dmaudit_request& req)
{
    if (!DMAUDIT_HAS(provider_.streaming, map_single) || !DMAUDIT_HAS(provider_.streaming, unmap_single))
        return Skip::impossible;
    if (!made(buffer))
        return Skip::not_made;
    if (req.device >= case_.world.n_devices && case_.world.mode == Mode::conforming)
        return Skip::impossible;
    const Tag t = tag(buffer);
    const Range whole = auditor_.bytes_of(t);
    if (off > machine_.ram_size() - whole.at)
        return Skip::impossible; // no such pointer
    const bool lives = auditor_.alive(t);
    if (lives && (off + req.size < off || off + req.size > whole.len) && case_.world.mode == Mode::conforming)
        return Skip::illegal;
    const Range r{whole.at + off, req.size};
    dmaudit_mapping m{};
    m.struct_size = sizeof m;
    const int rc = call([&] { return auditor_.map_single(req, client(r), narrow(dir), &m); });
    if (rc == DMAUDIT_OK && !failed()) {
        mappings_[name_number(out)] = m;
        make(out);
        const bool bounced = auditor_.mappings()[static_cast<Tag>(m.cookie[0])].bounced;
        // A promise of isolation depends on what is mapped beside it, so alone it may be another mapping.
        if (bounced || (case_.world.devices[req.device].iommu && !auditor_.promises(DMAUDIT_PROMISES_ISOLATION)))
            first_.mapping(req, r.at, narrow(dir), bounced, auditor_.driver(req.device).min_align_mask);
    } else if (rc > 0)
        failed_maps_.set(name_number(out));
    if (lives && rc != Auditor::withheld)
        expect_contents(whole, false, false);
    if (dir < DMAUDIT_DIRECTION_NONE)
        check_slot(session_, req, rc, r);
    return done(rc);
}

Skip Run::perform(const ops::MappingError& o)
{
    const unsigned n = name_number(o.mapping.v);
    if (!made(o.mapping.v) && !failed_maps_[n])
        return Skip::not_made;
    failed_maps_.reset(n); // the client knows now, and does not use it
    if (made(o.mapping.v))
        auditor_.mapping_error(tag(o.mapping.v));
    return Skip::executed;
}

// A client that tests nothing goes on with what a failed map returned.
Skip Run::use_of_nothing(const Step& s)
{
    const Layout& l = layouts()[s.op];
    if (l.use == Layout::absent || specs()[s.op].actor == Actor::machine)
        return Skip::not_made;
    const uint64_t name = s.arg[l.use];
    if (name_kind(name) != obj_mapping || !failed_maps_[name_number(name)])
        return Skip::not_made;
    auditor_.found({RuleId::unchecked_mapping_error, 0, {}, 0, "the map failed, and what it returned is used"});
    return Skip::illegal;
}

Skip Run::perform(const ops::UnmapSingle& o)
{
    if (!DMAUDIT_HAS(provider_.streaming, unmap_single))
        return Skip::impossible;
    if (!made(o.mapping.v))
        return Skip::not_made;
    if (o.lie.v == lie_other_kind) {
        if (!DMAUDIT_HAS(provider_.coherent, free))
            return Skip::impossible;
        return done(call([&] { return auditor_.free_coherent(lied_block(o.mapping.v, lie_none)); }));
    }
    dmaudit_mapping m = lied_mapping(o.mapping.v, o.lie.v);
    if (o.lie.v == lie_other_dir)
        m.direction = another_direction(m.direction);
    const Tag t = tag(o.mapping.v);
    const bool bounced = auditor_.mappings()[t].bounced;
    const int rc = call([&] { return auditor_.unmap_single(m, o.used.v, attrs_of(o.attrs.v)); });
    if (rc == DMAUDIT_OK && !failed()) {
        expect_contents(auditor_.bytes_of(t), bounced, true);
        expect_contents(auditor_.bytes_of(auditor_.mappings()[t].object), false, false);
    }
    return done(rc);
}

Skip Run::sync(uint64_t mapping, uint64_t off, uint64_t len, uint64_t dir, uint64_t lie, uint32_t phase)
{
    if (!made(mapping))
        return Skip::not_made;
    if (noncoherent(mapping))
        return sync_block(mapping, off, len, dir, lie, phase);
    if (!DMAUDIT_HAS(provider_.streaming, sync))
        return Skip::impossible;
    const dmaudit_mapping m = lied_mapping(mapping, lie);
    uint32_t d = dir == same_direction ? m.direction : narrow(dir);
    if (lie == lie_other_dir)
        d = another_direction(d);
    if (lie == lie_size_more)
        len++;
    const int rc = call([&] { return auditor_.sync(m, off, len, d, phase); });
    if (rc == DMAUDIT_OK && !failed()) {
        const Tag t = tag(mapping);
        expect_contents({auditor_.bytes_of(t).at + off, len}, auditor_.mappings()[t].bounced, true);
        expect_contents(auditor_.bytes_of(auditor_.mappings()[t].object), false, false);
    }
    return done(rc);
}

// Mapped bytes that were never written back, because a bounce buffer or a coherent device has them: what an invalidate
// does to them differs between the copies, and no rule speaks of it.
bool Run::loses_mapped_bytes(Range r, Range buffer) const
{
    if (r.at + r.len < r.at || !buffer.contains(r) || r.empty())
        return false;
    bool loses = false;
    const Range lines = r.lines(case_.world.line).intersect(buffer);
    if (!machine_.cache().first_dirty(lines.at, lines.len))
        return false;
    auditor_.map().for_each_run(lines, [&](Range run, uint8_t s) {
        const bool mapped =
            owner_of(s) == Owner::device || (owner_of(s) == Owner::cpu && direction_of(s) != Direction::none);
        for (uint64_t at = run.at; mapped && !loses && at < run.end(); at++)
            loses = machine_.cache().byte_dirty(at);
    });
    return loses;
}

Skip Run::perform(const ops::CacheMaintenance& o)
{
    if (!DMAUDIT_HAS(provider_.streaming, cache))
        return Skip::impossible;
    if (!made(o.buffer.v))
        return Skip::not_made;
    const Tag t = tag(o.buffer.v);
    if (o.op.v < DMAUDIT_FLUSH || o.op.v > DMAUDIT_FLUSH_INVALIDATE)
        return Skip::impossible; // no such operation
    if (o.op.v == DMAUDIT_INVALIDATE &&
        loses_mapped_bytes({auditor_.bytes_of(t).at + o.off.v, o.len.v}, auditor_.bytes_of(t)))
        return Skip::impossible;
    const int rc = call([&] { return auditor_.cache(t, o.off.v, o.len.v, narrow(o.op.v)); });
    if (rc == DMAUDIT_OK && !failed())
        expect_contents(auditor_.bytes_of(t), false, false);
    return done(rc);
}

} // namespace dmaudit
