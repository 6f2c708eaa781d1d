// Coherent, opaque and non-coherent blocks.
#include "harness/room.hpp"
#include "harness/run.hpp"

namespace dmaudit {

dmaudit_block Run::lied_block(uint64_t name, uint64_t lie) const
{
    dmaudit_block b{};
    if (name_kind(name) == obj_mapping) { // freed with the wrong function
        const dmaudit_mapping& m = mappings_[name_number(name)];
        b = {sizeof b, m.device, m.cpu, m.bus, m.size, m.size, 0, 0, {m.cookie[0], 0}};
    } else
        b = blocks_[name_number(name)];
    const uint64_t page = case_.world.page;
    switch (lie) {
    case lie_size_less:
        b.size = b.size > page ? b.size / 2 : b.size - 1;
        break;
    case lie_size_more:
        b.size = b.size + (b.size + page - 1) / page * page;
        break;
    case lie_interior:
        b.cpu = static_cast<uint8_t*>(b.cpu) + case_.world.line, b.bus += case_.world.line;
        break;
    case lie_foreign:
        b.cpu = machine_.client() + (machine_.ram_size() - page), b.bus ^= page;
        break;
    case lie_cpu_address:
        b.cpu = static_cast<uint8_t*>(b.cpu) + page;
        break;
    case lie_other_device:
        b.device = other_device(b.device);
        break;
    default:
        break;
    }
    return b;
}

Skip Run::perform(const ops::AllocCoherent& o)
{
    if (!DMAUDIT_HAS(provider_.coherent, alloc) || !DMAUDIT_HAS(provider_.coherent, free))
        return Skip::impossible;
    if (o.dev.v >= case_.world.n_devices && case_.world.mode == Mode::conforming)
        return Skip::impossible;
    dmaudit_request req{sizeof req, narrow(o.dev.v), o.size.v, o.align.v, o.limit.v, o.boundary.v,
                        o.zero.v ? DMAUDIT_ZERO : 0u, 0};
    dmaudit_block b{};
    b.struct_size = sizeof b;
    const int rc = call([&] { return auditor_.alloc_coherent(req, &b); });
    if (rc != DMAUDIT_OK || failed())
        return check_memory(session_, req, rc), done(rc);
    const auto block = static_cast<Tag>(b.cookie[0]);
    const Tag pool = auditor_.blocks()[block].pool;
    new_block(o.out.v, b, auditor_.promises(DMAUDIT_PROMISES_ZEROING) && (pool || o.zero.v));
    first_.coherent(req, pool, auditor_);
    if (pool)
        check_place(session_, block, req);
    else if (!failed()) // its pool, if it has one, passed the request on
        check_pool(session_, auditor_.pool_of(req.device), req);
    return Skip::executed;
}

Skip Run::perform(const ops::FreeCoherent& o)
{
    if (!DMAUDIT_HAS(provider_.coherent, free))
        return Skip::impossible;
    if (!made(o.block.v))
        return Skip::not_made;
    if (o.lie.v == lie_other_kind) // the handle goes to dma_unmap_single
        return done(call([&] {
            const dmaudit_block& b = blocks_[name_number(o.block.v)];
            return auditor_.unmap_single(
                {sizeof(dmaudit_mapping), b.device, b.cpu, b.bus, b.size, DMAUDIT_BIDIRECTIONAL, 0, {b.cookie[0], 0}},
                every_byte, 0);
        }));
    const Tag t = tag(o.block.v);
    if (auditor_.alive(t))
        expect_contents(auditor_.bytes_of(t), false, false);
    return failed() ? Skip::executed
                    : done(call([&] { return auditor_.free_coherent(lied_block(o.block.v, o.lie.v)); }));
}

Skip Run::perform(const ops::AllocOpaque& o)
{
    if (!DMAUDIT_HAS(provider_.coherent, alloc) || !DMAUDIT_HAS(provider_.coherent, free) ||
        !auditor_.promises(DMAUDIT_PROMISES_NO_KERNEL_MAPPING))
        return Skip::impossible;
    if (o.dev.v >= case_.world.n_devices && case_.world.mode == Mode::conforming)
        return Skip::impossible;
    const dmaudit_request req{
        sizeof req, narrow(o.dev.v), o.size.v, 0, 0, 0, 0, DMAUDIT_ATTR_NO_KERNEL_MAPPING | hints_of(o.attrs.v)};
    dmaudit_block b{};
    b.struct_size = sizeof b;
    const int rc = call([&] { return auditor_.alloc_coherent(req, &b); });
    if (rc == DMAUDIT_OK && !failed()) {
        new_block(o.out.v, b, false);
        first_.coherent(req, auditor_.blocks()[static_cast<Tag>(b.cookie[0])].pool, auditor_);
    }
    check_memory(session_, req, rc, false);
    return done(rc);
}

Skip Run::perform(const ops::MmapCoherent& o)
{
    if (!DMAUDIT_HAS(provider_.coherent, mmap))
        return Skip::impossible;
    if (!made(o.block.v))
        return Skip::not_made;
    Tag t = 0;
    const int rc =
        call([&] { return auditor_.mmap_coherent(lied_block(o.block.v, o.lie.v), o.pgoff.v, o.pages.v, &t); });
    if (t) {
        windows_[name_number(o.out.v)] = t;
        make(o.out.v);
    }
    return done(rc);
}

Skip Run::alloc_noncoherent(uint64_t out, uint64_t dev, uint64_t size, uint64_t dir, Auditor::Via via)
{
    const dmaudit_request req{sizeof req, narrow(dev), size, 0, 0, 0, 0, 0};
    dmaudit_block b{};
    b.struct_size = sizeof b;
    const int rc = call([&] { return auditor_.alloc_noncoherent(req, narrow(dir), &b, via); });
    if (rc == DMAUDIT_OK && !failed()) {
        new_block(out, b, true);
        if (via != Auditor::Via::managed)
            first_.noncoherent(req, narrow(dir), via);
    }
    if (dir < DMAUDIT_DIRECTION_NONE && (via != Auditor::Via::managed || auditor_.managed().bound(req.device)))
        check_memory(session_, req, rc, false);
    return done(rc);
}

Skip Run::perform(const ops::AllocNoncoherent& o)
{
    if (!DMAUDIT_HAS(provider_.coherent, alloc_noncoherent) || !DMAUDIT_HAS(provider_.coherent, free_noncoherent) ||
        !names_device(o.dev.v))
        return Skip::impossible;
    return alloc_noncoherent(o.out.v, o.dev.v, o.size.v, o.dir.v, Auditor::Via::plain);
}

Skip Run::perform(const ops::AllocPages& o)
{
    if (!DMAUDIT_HAS(provider_.coherent, alloc_pages) || !DMAUDIT_HAS(provider_.coherent, free_pages) ||
        !names_device(o.dev.v) || o.pages.v > every_byte / case_.world.page)
        return Skip::impossible;
    return alloc_noncoherent(o.out.v, o.dev.v, o.pages.v * case_.world.page, o.dir.v, Auditor::Via::pages);
}

Skip Run::perform(const ops::FreeNoncoherent& o)
{
    if (!DMAUDIT_HAS(provider_.coherent, free_noncoherent))
        return Skip::impossible;
    return free_noncoherent(o.block.v, o.lie.v, Auditor::Via::plain);
}

Skip Run::perform(const ops::FreePages& o)
{
    if (!DMAUDIT_HAS(provider_.coherent, free_pages))
        return Skip::impossible;
    return free_noncoherent(o.block.v, o.lie.v, Auditor::Via::pages);
}

Skip Run::free_noncoherent(uint64_t block, uint64_t lie, Auditor::Via via)
{
    if (!made(block))
        return Skip::not_made;
    const Tag t = tag(block);
    if (auditor_.alive(t))
        expect_contents(auditor_.bytes_of(t), false, false);
    if (failed())
        return Skip::executed;
    if (lie == lie_other_kind) // to dma_free_coherent
        return done(call([&] { return auditor_.free_coherent(lied_block(block, lie_none)); }));
    const uint32_t direction = linux_direction(auditor_.blocks()[t].direction);
    return done(call([&] {
        return auditor_.free_noncoherent(lied_block(block, lie),
                                         lie == lie_other_dir ? another_direction(direction) : direction, via);
    }));
}

Skip Run::sync_block(uint64_t block, uint64_t off, uint64_t len, uint64_t dir, uint64_t lie, uint32_t phase)
{
    if (!DMAUDIT_HAS(provider_.coherent, sync_noncoherent))
        return Skip::impossible;
    const Tag t = tag(block);
    const uint32_t own = linux_direction(auditor_.blocks()[t].direction);
    const uint32_t d = lie == lie_other_dir     ? another_direction(own)
                       : dir == same_direction ? own
                                               : narrow(dir);
    const dmaudit_block b = lied_block(block, lie);
    len += lie == lie_size_more;
    const int rc = call([&] { return auditor_.sync_noncoherent(b, off, len, d, phase); });
    if (rc == DMAUDIT_OK && !failed()) {
        expect_contents({auditor_.bytes_of(t).at + off, len}, false, true);
        expect_contents(auditor_.bytes_of(t), false, false);
    }
    return done(rc);
}

} // namespace dmaudit
