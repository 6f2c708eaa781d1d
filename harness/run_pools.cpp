// Per-device pools and windows.
#include "harness/room.hpp"
#include "harness/run.hpp"

namespace dmaudit {

Skip Run::perform(const ops::DeclarePool& o)
{
    if (!DMAUDIT_HAS(provider_.pool, declare) || !DMAUDIT_HAS(provider_.pool, release))
        return Skip::impossible;
    return declare(o.out.v, o.dev.v, o.size.v, o.at.v, o.exclusive.v, false);
}

Skip Run::declare(uint64_t out, uint64_t dev, uint64_t size, uint64_t wanted, uint64_t exclusive, bool managed)
{
    const auto at = pool_offset(case_.world, wanted, size);
    if (!at || dev >= case_.world.n_devices ||
        auditor_.map().first_in({*at, size}, transition(Event::pool_declare).rule))
        return Skip::impossible;
    const auto& d = case_.world.devices[dev];
    if (d.iommu)
        return Skip::impossible; // no way leads from the device to it
    if (size && machine_.phys_of(*at) + d.offset + (size - 1) > d.limit)
        return Skip::impossible; // no client declares memory that its device cannot reach
    uint32_t flag = exclusive != 0;
    Tag t = 0;
    const int rc = call([&] { return auditor_.declare_pool(narrow(dev), {*at, size}, &flag, &t, managed); });
    if (rc == DMAUDIT_OK && t) {
        pools_[name_number(out)] = t;
        make(out);
    }
    return done(rc);
}

Skip Run::perform(const ops::AllocFromPool& o)
{
    if (!DMAUDIT_HAS(provider_.pool, alloc_from) || !DMAUDIT_HAS(provider_.pool, release_from))
        return Skip::impossible;
    if (!made(o.pool.v))
        return Skip::not_made;
    const Tag pool = tag(o.pool.v);
    dmaudit_block b{};
    int ours = 0;
    const int rc = call([&] { return auditor_.alloc_from_pool(pool, o.size.v, &b, &ours); });
    if (rc == Auditor::withheld || failed())
        return done(rc);
    const dmaudit_request req{sizeof req, auditor_.pools()[pool].device, o.size.v, 0, 0, 0, 0, 0};
    if (ours && rc == DMAUDIT_OK) {
        new_block(o.out.v, b, auditor_.promises(DMAUDIT_PROMISES_ZEROING));
        first_.from_pool(pool, o.size.v);
        check_place(session_, static_cast<Tag>(b.cookie[0]), req);
    } else
        check_pool(session_, pool, req);
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
