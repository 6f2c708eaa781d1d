// Managed DMA: what a driver takes while it is bound goes with it, last taken first. The auditor's own actions run in
// the middle of a release and see how far it has come.
#include "shadow/auditor.hpp"

namespace dmaudit {

using Entry = Resource::Kind;

namespace {
// All 64 bits of a name count: two that follow each other differ in a high one only.
constexpr uint64_t group_name(uint64_t nth)
{
    return nth / 2 + 1 + ((nth & 1) << 63);
}
} // namespace

// After a managed call: is what stays managed still there, as far as can be seen? What no longer is went too early.
bool Auditor::managed_stands()
{
    for (uint32_t i = 0; i < ledger_.count() && !violation_; i++)
        if (!stands(ledger_[i]))
            fail(RuleId::released_early, bytes_of(ledger_[i].tag), ledger_[i].tag,
                 "managed memory went without its driver");
    return !violation_;
}

// Does the provider keep its promise to a resource that is alive?
bool Auditor::stands(const Resource& r) const
{
    if (!audits_ || !r.tag)
        return true;
    if (r.uncached && !evidence_->uncached(bytes_of(r.tag)))
        return false;
    if (r.kind == Entry::pool || !iommu(r.device))
        return true;
    const BlockRecord& b = blocks_[r.tag];
    const auto target = evidence_->translate(b.device, b.inner.bus, b.at.len);
    return !b.reachable || (target && *target == b.at.at);
}

// Does a page hold other coherent memory than what goes from a device, from position `gone` on?
bool Auditor::page_is_shared(Range page, Tag but, uint32_t device, uint32_t gone) const
{
    for (uint32_t i = 0; i < blocks_.live_count(); i++) {
        const Tag t = blocks_.live(i);
        if (t == but || blocks_[t].noncoherent() || !blocks_[t].granted.overlaps(page))
            continue;
        bool goes = false;
        for (uint32_t k = gone; k < ledger_.count(); k++)
            goes |= ledger_[k].tag == t && ledger_[k].device == device;
        if (!goes)
            return true;
    }
    return false;
}

// A trace of a resource that should be gone, as all of its device from position `gone` on: a page that is still
// uncached or translated.
bool Auditor::remains(const Resource& r, uint32_t gone) const
{
    if (!audits_ || !r.tag)
        return false;
    const Range pages = bytes_of(r.tag).lines(around_.page);
    // Else free pages may be left as they are; a pool's are the client's.
    const bool prompt = promises(DMAUDIT_PROMISES_PROMPT) || r.kind == Entry::pool;
    for (uint64_t at = pages.at; prompt && r.uncached && at < pages.end(); at += around_.page)
        if (evidence_->uncached({at, 1}) && !page_is_shared({at, around_.page}, r.tag, r.device, gone))
            return true;
    return r.kind != Entry::pool &&
           first_translated(r.device, blocks_[r.tag].inner.bus, blocks_[r.tag].at, r.tag).has_value();
}

// The call that takes something managed succeeded.
void Auditor::manage(Resource::Kind kind, uint32_t device, Tag tag, uint64_t uncached_before)
{
    const uint64_t now = evidence_->uncached_pages();
    const bool uncached = tag && now > uncached_before && (now - uncached_before) * around_.page >= bytes_of(tag).len &&
                          evidence_->uncached(bytes_of(tag));
    if (blocks_.known(tag))
        blocks_[tag].managed = true;
    if (pools_.known(tag))
        pools_[tag].managed = true;
    if (!ledger_.add({kind, static_cast<uint8_t>(device), uncached, false, tag, 0, 0}))
        fail(RuleId::auditor_exhausted, bytes_of(tag), tag, "too much is managed in one session");
    managed_stands();
}

int Auditor::bind(uint32_t device)
{
    if (device >= around_.n_devices)
        return fail(RuleId::wrong_device, {}, 0, "no such device"), withheld;
    const bool refuse = ledger_.bound(device);
    const uint64_t uncached_before = evidence_->uncached_pages();
    const int rc = inner_->managed->bind(ctx_, device);
    if (violation_ || !managed_stands())
        return rc;
    if (rc != DMAUDIT_OK)
        return refuse ? (refused(true, uncached_before, 0), rc) : legal_failed(rc, uncached_before, {}, 0);
    if (refuse)
        return fail(RuleId::wrong_return, {}, 0, "a second driver of one device must be refused"), rc;
    ledger_.bind(device, true);
    return rc;
}

// What nothing but the client can end, and what has to end before the driver goes: mappings (those of scatterlists
// too), attachments to dma-bufs, windows onto blocks.
bool Auditor::outlives_driver(uint32_t device)
{
    for (uint32_t i = 0; i < mappings_.live_count(); i++)
        if (const Tag m = mappings_.live(i); mappings_[m].device == device)
            return fail(RuleId::leak, mappings_[m].original, m,
                        "the driver goes while a mapping of its device is alive: unmap first"),
                   true;
    for (uint32_t i = 0; i < attachments_.live_count(); i++)
        if (const Tag a = attachments_.live(i); attachments_[a].device == device)
            return fail(RuleId::leak, bytes_of(a), a,
                        "the driver goes while its device is attached to a dma-buf: unmap and detach first"),
                   true;
    for (uint32_t i = 0; i < windows_.live_count(); i++)
        if (const WindowRecord& w = windows_[windows_.live(i)];
            w.block && blocks_[w.block].device == device && !blocks_[w.block].managed) // those go with the driver
            return fail(RuleId::leak, w.at, windows_.live(i),
                        "the driver goes while a window onto a block of its device is open: munmap first"),
                   true;
    return false;
}

int Auditor::unbind(uint32_t device)
{
    if (device >= around_.n_devices)
        return fail(RuleId::wrong_device, {}, 0, "no such device"), withheld;
    if (!ledger_.bound(device)) {
        const uint64_t uncached_before = evidence_->uncached_pages();
        const int rc = inner_->managed->unbind(ctx_, device);
        if (violation_ || !managed_stands())
            return rc;
        if (rc == DMAUDIT_OK)
            return fail(RuleId::wrong_return, {}, 0, "a device without a driver must be refused"), rc;
        return refused(true, uncached_before, 0), rc;
    }
    if (outlives_driver(device))
        return withheld;
    return release_since(
        device, 0, [&] { return inner_->managed->unbind(ctx_, device); }, [&] { ledger_.bind(device, false); });
}

int Auditor::release_group(uint32_t device, uint64_t nth)
{
    if (device >= around_.n_devices)
        return fail(RuleId::wrong_device, {}, 0, "no such device"), withheld;
    const uint32_t first = ledger_.group(device, nth);
    if (first == ledger_.count()) {
        // The youngest that is not open on this device: released, refused, or another device's.
        uint64_t id = ledger_.next_id;
        while (id != 0 && ledger_.open(device, id - 1))
            id--;
        id = id != 0 ? id - 1 : ledger_.next_id;
        const uint64_t uncached_before = evidence_->uncached_pages();
        const int rc = inner_->managed->release_group(ctx_, device, group_name(id));
        if (violation_ || !managed_stands())
            return rc;
        if (rc == DMAUDIT_OK)
            return fail(RuleId::wrong_return, {}, 0, "a group that is not open must be refused"), rc;
        return refused(true, uncached_before, 0), rc;
    }
    const uint64_t id = ledger_[first].id;
    return release_since(
        device, first, [&] { return inner_->managed->release_group(ctx_, device, group_name(id)); }, [] {});
}

// May the client let everything managed on the device from position `first` on go?
bool Auditor::may_release(uint32_t device, uint32_t first)
{
    for (uint32_t i = first; i < ledger_.count(); i++) {
        const Resource& r = ledger_[i];
        if (r.device != device)
            continue;
        if (r.kind == Entry::pool) {
            for (uint32_t k = 0; k < blocks_.live_count(); k++)
                if (const Tag b = blocks_.live(k); blocks_[b].pool == r.tag && !blocks_[b].managed) {
                    fail(RuleId::leak, blocks_[b].at, b, "a block is alive when the managed pool under it goes");
                    return false;
                }
        } else if (r.tag) {
            const BlockRecord& b = blocks_[r.tag];
            if (b.windows) {
                fail(RuleId::free_while_mapped, b.at, r.tag, "windows onto a managed block are still open", 0,
                     b.windows);
                return false;
            }
            if (!judge(b.noncoherent() ? Event::noncoherent_free : Event::block_free, b.at, r.tag))
                return false;
        }
    }
    return true;
}

template <class Call, class Done> int Auditor::release_since(uint32_t device, uint32_t first, Call call, Done done)
{
    if (!managed_stands() || !may_release(device, first))
        return withheld;
    // Bytes are the provider's from here on: it may drop their lines and make pages cached in any order of its work.
    for (uint32_t i = ledger_.count(); i-- > first;) {
        const Resource& r = ledger_[i];
        if (r.device != device || !r.tag)
            continue;
        if (r.kind == Entry::pool) {
            apply(Event::pool_release, pools_[r.tag].at);
            continue;
        }
        const BlockRecord& b = blocks_[r.tag];
        if (b.noncoherent())
            evidence_->reload(b.at); // nobody waits any more for what the device wrote
        scribble_over(b.at);
        apply(b.noncoherent() ? Event::noncoherent_free : Event::block_free, b.granted);
    }
    teardown_ = {true, device, first};
    const int rc = call();
    teardown_.active = false;
    if (violation_)
        return rc;
    if (rc != DMAUDIT_OK) {
        fail(RuleId::wrong_return, {}, 0, "a legal release of everything managed failed", Code{DMAUDIT_OK}, Code{rc});
        return rc;
    }
    const auto released = [device](const Resource& r) { return r.device == device; };
    for (uint32_t i = ledger_.count(); i-- > first && !violation_;) {
        const Resource& r = ledger_[i];
        if (!released(r))
            continue;
        if (r.kind == Entry::action && ledger_.action(r.which).runs == 0)
            fail(RuleId::never_released, {}, 0, "an action was not run");
        else if (remains(r, first))
            fail(RuleId::never_released, bytes_of(r.tag), r.tag,
                 "a page of managed memory is still uncached, or mapped in the IOMMU");
        else if (r.late)
            fail(RuleId::teardown_order, bytes_of(r.tag), r.tag,
                 "an action ran before what was taken after it had been released");
    }
    for (uint32_t i = ledger_.count(); i-- > first;) {
        const Tag tag = ledger_[i].tag;
        if (!released(ledger_[i]) || !tag)
            continue;
        if (ledger_[i].kind == Entry::pool) {
            pools_.remove(tag);
            continue;
        }
        own(blocks_[tag].granted, IdentityMap::nobody);
        mirror(blocks_[tag].at, false);
        blocks_.remove(tag);
    }
    ledger_.remove_if(first, released);
    done();
    managed_stands();
    return rc;
}

// ---- actions and groups ----

int Auditor::add_action(uint32_t device)
{
    if (device >= around_.n_devices)
        return fail(RuleId::wrong_device, {}, 0, "no such device"), withheld;
    ActionRecord* action = ledger_.new_action(*this);
    if (!action)
        return fail(RuleId::auditor_exhausted, {}, 0, "too many actions in one session"), withheld;
    const bool refuse = !ledger_.bound(device);
    const uint64_t uncached_before = evidence_->uncached_pages();
    const int rc = inner_->managed->add_action(
        ctx_, device,
        [](void* data) {
            auto& a = *static_cast<ActionRecord*>(data);
            a.auditor->action_runs(a);
        },
        action);
    if (violation_ || !managed_stands())
        return rc;
    if (rc != DMAUDIT_OK)
        return refuse ? (refused(true, uncached_before, 0), rc) : legal_failed(rc, uncached_before, {}, 0);
    if (refuse)
        return fail(RuleId::wrong_return, {}, 0, "nothing is managed for a device without a driver"), rc;
    action->managed = true;
    if (!ledger_.add({Entry::action, static_cast<uint8_t>(device), false, false, 0, ledger_.number(*action), 0}))
        fail(RuleId::auditor_exhausted, {}, 0, "too much is managed in one session");
    return rc;
}

// The provider calls an action.
void Auditor::action_runs(ActionRecord& a)
{
    const bool again = a.runs++ != 0;
    if (!audits_ || violation_)
        return;
    if (again) {
        fail(RuleId::released_twice, {}, 0, "an action ran for the second time");
        return;
    }
    if (closing_) // whether a provider that is closed first makes the drivers go is its own affair
        return;
    const uint32_t number = ledger_.number(a);
    uint32_t mine = 0;
    while (mine < ledger_.count() && !(ledger_[mine].kind == Entry::action && ledger_[mine].which == number))
        mine++;
    if (!a.managed || !teardown_.active || mine == ledger_.count() || mine < teardown_.first ||
        ledger_[mine].device != teardown_.device) {
        fail(RuleId::released_early, {}, 0, "an action ran, and its driver is still there");
        return;
    }
    for (uint32_t i = 0; i < ledger_.count() && !violation_; i++) {
        Resource& r = ledger_[i];
        const bool going = r.device == teardown_.device && i >= teardown_.first;
        if (!going) {
            if (!stands(r))
                fail(RuleId::released_early, bytes_of(r.tag), r.tag, "managed memory went without its driver");
        } else if (i > mine) {
            r.late |= remains(r, mine); // or it never goes: that is known at the end
        } else if (r.kind == Entry::action) {
            if (i < mine && ledger_.action(r.which).runs)
                fail(RuleId::teardown_order, {}, 0, "an action ran after one that had been added before it");
        } else if (!stands(r)) {
            fail(RuleId::teardown_order, bytes_of(r.tag), r.tag,
                 "an action ran, and what was taken before it was gone already");
        } else if (blocks_.known(r.tag)) {
            if (const auto at = first_not_scribbled(blocks_[r.tag].at))
                fail(RuleId::teardown_order, {*at, 1}, r.tag,
                     "an action ran, and what was taken before it had changed already");
        }
    }
}

int Auditor::open_group(uint32_t device)
{
    if (device >= around_.n_devices)
        return fail(RuleId::wrong_device, {}, 0, "no such device"), withheld;
    const bool refuse = !ledger_.bound(device);
    const uint64_t uncached_before = evidence_->uncached_pages(), id = ledger_.next_id++;
    const int rc = inner_->managed->open_group(ctx_, device, group_name(id));
    if (violation_ || !managed_stands())
        return rc;
    if (rc != DMAUDIT_OK)
        return refuse ? (refused(true, uncached_before, 0), rc) : legal_failed(rc, uncached_before, {}, 0);
    if (refuse)
        return fail(RuleId::wrong_return, {}, 0, "nothing is managed for a device without a driver"), rc;
    if (!ledger_.add({Entry::group, static_cast<uint8_t>(device), false, false, 0, 0, id}))
        fail(RuleId::auditor_exhausted, {}, 0, "too much is managed in one session");
    return rc;
}

} // namespace dmaudit
