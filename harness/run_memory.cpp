// Coherent blocks and pools.
#include "harness/run.hpp"

namespace dmaudit {

// ---- coherent ----

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
    if (!DMAUDIT_HAS(provider_.coherent, alloc))
        return Skip::impossible;
    if (o.dev.v >= case_.world.n_devices && case_.world.mode == Mode::conforming)
        return Skip::impossible;
    dmaudit_request req{sizeof req, narrow(o.dev.v), o.size.v, o.align.v, o.limit.v, 0, o.zero.v ? DMAUDIT_ZERO : 0u,
                        0};
    dmaudit_block b{};
    b.struct_size = sizeof b;
    const int rc = call([&] { return auditor_.alloc_coherent(req, &b); });
    if (rc != DMAUDIT_OK || failed())
        return rc == DMAUDIT_ENOMEM && !failed()
               ? check_exhaustion(session_, auditor_.pool_of(req.device),
                                  o.align.v > case_.world.page || o.limit.v ? 0 : o.size.v),
               Skip::executed : done(rc);
    const Tag pool = auditor_.blocks()[static_cast<Tag>(b.cookie[0])].pool;
    new_block(o.out.v, b, auditor_.promises(DMAUDIT_PROMISES_ZEROING) && (pool || o.zero.v));
    first_.coherent(req, pool, auditor_);
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

// ---- pools ----

Skip Run::perform(const ops::DeclarePool& o)
{
    if (!DMAUDIT_HAS(provider_.pool, declare))
        return Skip::impossible;
    const auto at = pool_offset(case_.world, o.at.v, o.size.v);
    if (!at || o.dev.v >= case_.world.n_devices ||
        auditor_.map().first_in({*at, o.size.v}, transition(Event::pool_declare).rule))
        return Skip::impossible;
    const auto& d = case_.world.devices[o.dev.v];
    if (o.size.v && machine_.phys_of(*at) + d.offset + (o.size.v - 1) > d.limit)
        return Skip::impossible; // no client declares memory that its device cannot reach
    uint32_t exclusive = o.exclusive.v != 0;
    Tag t = 0;
    const int rc = call([&] { return auditor_.declare_pool(narrow(o.dev.v), {*at, o.size.v}, &exclusive, &t); });
    if (rc == DMAUDIT_OK && t) {
        pools_[name_number(o.out.v)] = t;
        make(o.out.v);
    }
    return done(rc);
}

Skip Run::perform(const ops::AllocFromPool& o)
{
    if (!DMAUDIT_HAS(provider_.pool, alloc_from))
        return Skip::impossible;
    if (!made(o.pool.v))
        return Skip::not_made;
    const Tag pool = tag(o.pool.v);
    dmaudit_block b{};
    int ours = 0;
    const int rc = call([&] { return auditor_.alloc_from_pool(pool, o.size.v, &b, &ours); });
    if (rc == Auditor::withheld || failed())
        return done(rc);
    if (ours && rc == DMAUDIT_OK) {
        new_block(o.out.v, b, auditor_.promises(DMAUDIT_PROMISES_ZEROING));
        first_.from_pool(pool, o.size.v);
    } else
        check_exhaustion(session_, pool, o.size.v);
    return Skip::executed;
}

Skip Run::perform(const ops::ReleaseFromPool& o)
{
    if (!DMAUDIT_HAS(provider_.pool, release_from))
        return Skip::impossible;
    if (!made(o.block.v))
        return Skip::not_made;
    const Tag t = tag(o.block.v);
    if (auditor_.alive(t))
        expect_contents(auditor_.bytes_of(t), false, false);
    if (failed())
        return Skip::executed;
    int ours = 0;
    return done(call([&] { return auditor_.release_from_pool(lied_block(o.block.v, o.lie.v), &ours); }));
}

Skip Run::perform(const ops::MmapFromPool& o)
{
    if (!DMAUDIT_HAS(provider_.pool, mmap_from))
        return Skip::impossible;
    if (!made(o.block.v))
        return Skip::not_made;
    Tag t = 0;
    int ours = 0;
    const int rc =
        call([&] { return auditor_.mmap_from_pool(lied_block(o.block.v, o.lie.v), o.pgoff.v, o.pages.v, &t, &ours); });
    if (t) {
        windows_[name_number(o.out.v)] = t;
        make(o.out.v);
    }
    return done(rc);
}

Skip Run::perform(const ops::Munmap& o)
{
    return made(o.window.v) ? done(auditor_.munmap(tag(o.window.v))) : Skip::not_made;
}

Skip Run::perform(const ops::ReleasePool& o)
{
    if (!DMAUDIT_HAS(provider_.pool, release))
        return Skip::impossible;
    if (!made(o.pool.v))
        return Skip::not_made;
    const int rc = call([&] { return auditor_.release_pool(tag(o.pool.v)); });
    return done(rc);
}

} // namespace dmaudit
