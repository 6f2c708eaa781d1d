// Managed DMA.
#include "harness/room.hpp"
#include "harness/run.hpp"

namespace dmaudit {

#define DMAUDIT_MANAGED_HAS(member) (DMAUDIT_HAS(&provider_, managed) && DMAUDIT_HAS(provider_.managed, member))

// A client that conforms names devices that exist.
bool Run::names_device(uint64_t device) const
{
    return device < case_.world.n_devices || case_.world.mode != Mode::conforming;
}

Skip Run::perform(const ops::Bind& o)
{
    if (!DMAUDIT_MANAGED_HAS(bind) || !DMAUDIT_MANAGED_HAS(unbind) || !names_device(o.dev.v))
        return Skip::impossible;
    return done(call([&] { return auditor_.bind(narrow(o.dev.v)); }));
}

// Around a call that releases much: what goes holds what it must, and what stays is not touched.
template <class F> Skip Run::release_managed(uint64_t device, F f)
{
    for (uint32_t i = 0; i < auditor_.managed().count() && !failed(); i++)
        if (const Resource& r = auditor_.managed()[i]; r.device == device && auditor_.blocks().known(r.tag))
            expect_contents(auditor_.bytes_of(r.tag), false, false);
    if (failed())
        return Skip::executed;
    const int rc = call(f);
    for (uint32_t i = 0; rc == DMAUDIT_OK && i < auditor_.blocks().live_count() && !failed(); i++)
        expect_contents(auditor_.blocks()[auditor_.blocks().live(i)].at, false, false);
    return done(rc);
}

Skip Run::perform(const ops::Unbind& o)
{
    if (!DMAUDIT_MANAGED_HAS(unbind) || !names_device(o.dev.v))
        return Skip::impossible;
    return release_managed(o.dev.v, [&] { return auditor_.unbind(narrow(o.dev.v)); });
}

Skip Run::perform(const ops::ManagedAlloc& o)
{
    if (!DMAUDIT_MANAGED_HAS(alloc) || !names_device(o.dev.v))
        return Skip::impossible;
    const dmaudit_request req{sizeof req,         narrow(o.dev.v), o.size.v, 0, 0, 0, o.zero.v ? DMAUDIT_ZERO : 0u,
                              hints_of(o.attrs.v)};
    dmaudit_block b{};
    b.struct_size = sizeof b;
    const int rc = call([&] { return auditor_.alloc_coherent(req, &b, true); });
    if (auditor_.managed().bound(req.device))
        check_memory(session_, req, rc);
    if (rc != DMAUDIT_OK || failed())
        return done(rc);
    const Tag pool = auditor_.blocks()[static_cast<Tag>(b.cookie[0])].pool;
    new_block(o.out.v, b, auditor_.promises(DMAUDIT_PROMISES_ZEROING) && (pool || o.zero.v));
    return Skip::executed;
}

Skip Run::perform(const ops::ManagedFree& o)
{
    if (!DMAUDIT_MANAGED_HAS(free))
        return Skip::impossible;
    if (!made(o.block.v))
        return Skip::not_made;
    const Tag t = tag(o.block.v);
    if (auditor_.alive(t))
        expect_contents(auditor_.bytes_of(t), false, false);
    return failed() ? Skip::executed : done(call([&] { // of the other kind: to dma_free_coherent
        return auditor_.free_coherent(lied_block(o.block.v, o.lie.v), o.lie.v != lie_other_kind);
    }));
}

Skip Run::perform(const ops::ManagedAllocNoncoherent& o)
{
    if (!DMAUDIT_MANAGED_HAS(alloc_noncoherent) || !names_device(o.dev.v))
        return Skip::impossible;
    return alloc_noncoherent(o.out.v, o.dev.v, o.size.v, o.dir.v, Auditor::Via::managed);
}

Skip Run::perform(const ops::ManagedFreeNoncoherent& o)
{
    if (!DMAUDIT_MANAGED_HAS(free_noncoherent))
        return Skip::impossible;
    return free_noncoherent(o.block.v, o.lie.v, Auditor::Via::managed);
}

Skip Run::perform(const ops::ManagedDeclare& o)
{
    if (!DMAUDIT_MANAGED_HAS(declare))
        return Skip::impossible;
    return declare(o.out.v, o.dev.v, o.size.v, o.at.v, o.exclusive.v, true);
}

Skip Run::perform(const ops::ManagedRelease& o)
{
    if (!DMAUDIT_MANAGED_HAS(release_declared))
        return Skip::impossible;
    return made(o.pool.v) ? done(call([&] { return auditor_.release_pool(tag(o.pool.v), true); })) : Skip::not_made;
}

Skip Run::perform(const ops::AddAction& o)
{
    if (!DMAUDIT_MANAGED_HAS(add_action) || !names_device(o.dev.v))
        return Skip::impossible;
    return done(call([&] { return auditor_.add_action(narrow(o.dev.v)); }));
}

Skip Run::perform(const ops::OpenGroup& o)
{
    if (!DMAUDIT_MANAGED_HAS(open_group) || !names_device(o.dev.v))
        return Skip::impossible;
    return done(call([&] { return auditor_.open_group(narrow(o.dev.v)); }));
}

Skip Run::perform(const ops::ReleaseGroup& o)
{
    if (!DMAUDIT_MANAGED_HAS(release_group) || !names_device(o.dev.v))
        return Skip::impossible;
    return release_managed(o.dev.v, [&] { return auditor_.release_group(narrow(o.dev.v), o.nth.v); });
}

// At the end of a case: the drivers go, after what is not managed and lives in their pools.
void Run::unbind_everything()
{
    for (uint32_t i = 0; i < auditor_.blocks().live_count() && !failed();) {
        const Tag t = auditor_.blocks().live(i);
        const BlockRecord& rec = auditor_.blocks()[t];
        if (rec.managed || !rec.pool || !auditor_.pools()[rec.pool].managed) {
            i++;
            continue;
        }
        const dmaudit_block b = auditor_.as_client_sees(t);
        int ours = 0;
        if (DMAUDIT_HAS(provider_.pool, release_from))
            call([&] { return auditor_.release_from_pool(b, &ours); });
        else
            call([&] { return auditor_.free_coherent(b); });
    }
    for (uint32_t device = 0; device < case_.world.n_devices && !failed(); device++)
        if (auditor_.managed().bound(device))
            call([&] { return auditor_.unbind(device); });
}

#undef DMAUDIT_MANAGED_HAS

} // namespace dmaudit
