// Per-device pools and windows.
#include "harness/run.hpp"

namespace dmaudit {

Skip Run::perform(const ops::DeclarePool& o)
{
    if (!DMAUDIT_HAS(provider_.pool, declare))
        return Skip::impossible;
    const auto at = pool_offset(case_.world, o.at.v, o.size.v);
    if (!at || o.dev.v >= case_.world.n_devices ||
        auditor_.map().first_in({*at, o.size.v}, transition(Event::pool_declare).rule))
        return Skip::impossible;
    const auto& d = case_.world.devices[o.dev.v];
    if (d.iommu)
        return Skip::impossible; // no way leads from the device to it
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
