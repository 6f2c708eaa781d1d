// dma_alloc_noncoherent: cached memory that is a mapping by itself, from allocation to free.
#include "shadow/auditor.hpp"

namespace dmaudit {
namespace {

Event alloc_event(uint32_t direction)
{
    return direction == DMAUDIT_TO_DEVICE     ? Event::alloc_noncoherent_to
           : direction == DMAUDIT_FROM_DEVICE ? Event::alloc_noncoherent_from
                                              : Event::alloc_noncoherent_bi;
}

} // namespace

MappingRecord BlockRecord::as_mapping() const
{
    MappingRecord m{};
    m.original = m.target = at;
    m.device = device;
    m.direction = direction;
    m.reachable = reachable;
    return m;
}

int Auditor::alloc_noncoherent(const dmaudit_request& req, uint32_t direction, dmaudit_block* out, Via via)
{
    if (req.device >= around_.n_devices)
        return fail(RuleId::wrong_device, {}, 0, "no such device"), withheld;
    if (direction > DMAUDIT_FROM_DEVICE)
        return fail(RuleId::wrong_direction, {}, 0, "no direction in which anything can be transferred"), withheld;
    const bool managed = via == Via::managed, pages = via == Via::pages;
    const bool refuse = req.size == 0 || (managed && !ledger_.bound(req.device)) || (pages && req.size % around_.page);
    const uint64_t uncached_before = evidence_->uncached_pages();
    dmaudit_block b{};
    b.struct_size = sizeof b;
    const int rc = (managed ? inner_->managed->alloc_noncoherent
                    : pages ? inner_->coherent->alloc_pages
                            : inner_->coherent->alloc_noncoherent)(ctx_, &req, direction, &b);
    if (violation_)
        return rc;
    if (rc != DMAUDIT_OK && !refuse && blamed_caller(rc, req, req.size, {}, 0))
        return rc;
    if (rc != DMAUDIT_OK)
        return refused(refuse, uncached_before, 0), rc;
    if (refuse)
        return fail(RuleId::wrong_return, {}, 0, "a block without bytes or without a driver must be refused"), rc;
    if (const auto* cpu = static_cast<const uint8_t*>(b.cpu);
        pages && cpu >= around_.provider_view && cpu < around_.provider_view + around_.ram)
        if (const uint64_t at = static_cast<uint64_t>(cpu - around_.provider_view); at % around_.page)
            return fail(RuleId::misaligned, {at, 1}, 0, "pages that do not begin on a page", 0, at % around_.page), rc;
    if (!accept_block(req, b, 0, alloc_event(direction), out))
        return rc;
    blocks_[static_cast<Tag>(out->cookie[0])].pages = pages;
    if (managed)
        manage(Resource::Kind::noncoherent, req.device, static_cast<Tag>(out->cookie[0]), uncached_before);
    return rc;
}

// The call that takes such a block back.
int Auditor::pass_noncoherent_free(const dmaudit_block& b, uint32_t direction, Via via)
{
    return (via == Via::managed ? inner_->managed->free_noncoherent
            : via == Via::pages ? inner_->coherent->free_pages
                                : inner_->coherent->free_noncoherent)(ctx_, &b, direction);
}

// Does the client name a live block of this kind, and every field of it?
bool Auditor::check_noncoherent_free(const dmaudit_block& b, uint32_t direction, Via via)
{
    const auto tag = static_cast<Tag>(b.cookie[0]);
    if (!check_alive(tag, Kind::block, RuleId::double_free))
        return false;
    const BlockRecord& rec = blocks_[tag];
    const bool managed = via == Via::managed, pages = via == Via::pages;
    if (rec.noncoherent() && rec.pages != pages)
        fail(RuleId::wrong_kind, rec.at, tag,
             pages ? "the block is not from dma_alloc_pages" : "pages are freed with dma_free_pages");
    else if (rec.managed != managed)
        fail(RuleId::wrong_kind, rec.at, tag,
             managed ? "the block is not managed" : "managed memory is freed with the call for managed memory");
    else if (b.device != rec.device)
        fail(RuleId::wrong_device, rec.at, tag, "the block was allocated for another device", rec.device, b.device);
    else if (b.size != rec.at.len || b.bus != rec.inner.bus)
        fail(RuleId::free_mismatch, rec.at, tag, "size or address against the block's", rec.at.len, b.size);
    else if (judge(Event::noncoherent_free, rec.at, tag) &&
             (direction > DMAUDIT_FROM_DEVICE || direction_from(direction) != rec.direction))
        fail(RuleId::wrong_direction, rec.at, tag, "direction against the block's");
    return !violation_;
}

// An illegal free: a provider that promises to detect it must refuse it.
int Auditor::illegal_noncoherent_free(const dmaudit_block& b, uint32_t direction, Via via)
{
    const auto tag = static_cast<Tag>(b.cookie[0]);
    if (!forward_illegal_ || !promises(DMAUDIT_PROMISES_DETECTION) || violation_->rule == RuleId::free_while_mapped ||
        b.device >= around_.n_devices || !blocks_.known(tag))
        return withheld;
    if (blocks_.alive(tag) && blocks_[tag].managed && via != Via::managed)
        return withheld; // what the driver will give back is nobody's to detect
    if (blocks_.alive(tag) && blocks_[tag].pages != (via == Via::pages))
        return withheld; // both calls may well lead to one
    dmaudit_block forwarded = b;
    forwarded.cookie[0] = blocks_[tag].inner.cookie[0];
    forwarded.cookie[1] = blocks_[tag].inner.cookie[1];
    forwarded.cpu =
        blocks_[tag].opaque ? nullptr : static_cast<uint8_t*>(b.cpu) - around_.client_view + around_.provider_view;
    if (violation_->rule != RuleId::wrong_kind && cannot_be_told(forwarded, direction))
        return withheld;
    return must_refuse(tag, pass_noncoherent_free(forwarded, direction, via));
}

int Auditor::free_noncoherent(const dmaudit_block& b, uint32_t direction, Via via)
{
    if (!check_noncoherent_free(b, direction, via))
        return illegal_noncoherent_free(b, direction, via);
    const auto tag = static_cast<Tag>(b.cookie[0]);
    const BlockRecord& rec = blocks_[tag];
    if (!check_tail(tag))
        return withheld;
    evidence_->reload(rec.at); // nobody waits any more for what the device wrote
    scribble_over(rec.at);
    current_ = rec.at;
    const int rc = pass_noncoherent_free(rec.inner, direction, via);
    current_ = {};
    if (violation_)
        return rc;
    if (rc != DMAUDIT_OK) {
        fail(RuleId::wrong_return, rec.at, tag, "a legal free failed", Code{DMAUDIT_OK}, Code{rc});
        return rc;
    }
    apply(Event::noncoherent_free, rec.granted);
    own(rec.granted, IdentityMap::nobody);
    blocks_.remove(tag);
    ledger_.forget(tag);
    mirror(rec.at, false);
    check_unreachable(rec.device, rec.inner.bus, rec.at, tag);
    return rc;
}

int Auditor::sync_noncoherent(const dmaudit_block& b, uint64_t offset, uint64_t length, uint32_t direction,
                              uint32_t phase)
{
    const auto tag = static_cast<Tag>(b.cookie[0]);
    if (!check_alive(tag, Kind::block, RuleId::use_after_free))
        return withheld;
    const BlockRecord& rec = blocks_[tag];
    if (!rec.noncoherent())
        return fail(RuleId::wrong_kind, rec.at, tag, "coherent memory is not synced"), withheld;
    if (b.device != rec.device)
        return fail(RuleId::wrong_device, rec.at, tag, "the block was allocated for another device", rec.device,
                    b.device),
               withheld;
    if (b.bus != rec.inner.bus)
        return fail(RuleId::sync_outside, rec.at, tag, "device address against the block's", rec.inner.bus, b.bus),
               withheld;
    if (!check_range(offset, length, rec.at.len, RuleId::sync_outside, tag))
        return withheld;
    const Range r{rec.at.at + offset, length};
    const bool for_cpu = phase == DMAUDIT_FOR_CPU;
    const Event e = for_cpu ? Event::sync_for_cpu : Event::sync_for_device;
    const MappingRecord as_mapping = rec.as_mapping();
    if (!check_sync_direction(rec.direction, direction, for_cpu, r, tag) || !judge(e, r, tag) ||
        (!for_cpu && !lines_at_sync_for_device(r, as_mapping)))
        return withheld;
    current_ = r;
    const int rc = inner_->coherent->sync_noncoherent(ctx_, &rec.inner, offset, length, direction, phase);
    current_ = {};
    if (violation_)
        return rc;
    if (rc != DMAUDIT_OK) {
        fail(RuleId::wrong_return, r, tag, "a legal sync failed", Code{DMAUDIT_OK}, Code{rc});
        return rc;
    }
    apply(e, r);
    mirror_by_state(r);
    marks.hit(Mark::partial_sync, length && length < rec.at.len);
    if (!for_cpu)
        check_handed_to_device(as_mapping, offset, length);
    return rc;
}

} // namespace dmaudit
