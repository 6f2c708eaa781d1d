// Linux' per-device coherent pools.
#include "shadow/auditor.hpp"

#include <bit>

namespace dmaudit {

int Auditor::declare_pool(uint32_t device, Range at, uint32_t* exclusive, Tag* out, bool managed)
{
    if (device >= around_.n_devices)
        return fail(RuleId::wrong_device, at, 0, "no such device"), withheld;
    const bool refuse = at.empty() || pool_of(device) != 0 || (managed && !ledger_.bound(device));
    if (!judge(Event::pool_declare, at, 0))
        return withheld;
    const uint64_t uncached_before = evidence_->uncached_pages();
    const uint64_t phys = evidence_->phys_of(at.at);
    uint32_t exclusive_now = *exclusive;
    const int rc = (managed ? inner_->managed->declare : inner_->pool->declare)(
        ctx_, device, phys, phys + bus_offset(device), at.len, &exclusive_now);
    if (violation_)
        return rc;
    if (rc != DMAUDIT_OK) {
        for (uint64_t page = at.at; page < at.end() && evidence_->uncached_pages() > uncached_before;
             page += around_.page)
            if (evidence_->uncached({page, 1})) // they are the client's, promise or not
                return fail(RuleId::failure_has_effect, {page, 1}, 0, "a pool was refused, and its pages are uncached"),
                       rc;
        const uint64_t bus = phys + bus_offset(device);
        if (!refuse && blamed_caller(rc, at.lines(around_.page) == at && bus % around_.page == 0, at, 0))
            return rc;
        return refused(refuse, uncached_before, 0), rc;
    }
    if (refuse)
        return fail(RuleId::wrong_return, at, 0,
                    "a pool without bytes or driver, or a second pool of one device, must be refused"),
               rc;
    *exclusive = exclusive_now;
    *out = pools_.add({at, device, exclusive_now != 0});
    if (!*out)
        return fail(RuleId::auditor_exhausted, at, 0, "too many pools in one session"), rc;
    apply(Event::pool_declare, at);
    if (managed)
        manage(Resource::Kind::pool, device, *out, uncached_before);
    return rc;
}

int Auditor::alloc_from_pool(Tag pool, uint64_t size, dmaudit_block* out, int* ours)
{
    if (!check_alive(pool, Kind::pool, RuleId::use_after_release))
        return withheld;
    const PoolRecord rec = pools_[pool];
    dmaudit_request req{};
    req.struct_size = sizeof req;
    req.device = rec.device;
    req.size = size;
    dmaudit_block b{};
    b.struct_size = sizeof b;
    const uint64_t uncached_before = evidence_->uncached_pages();
    *ours = 0;
    const int rc = inner_->pool->alloc_from(ctx_, rec.device, size, &b, ours);
    if (violation_)
        return rc;
    if (!*ours || rc != DMAUDIT_OK) {
        const bool full = size && rc == DMAUDIT_ENOMEM;
        if (size && rec.exclusive && !*ours)
            return fail(RuleId::wrong_return, rec.at, pool,
                        "an exclusive pool must answer for itself, also when it is full", 1, 0),
                   rc;
        if (full && !rec.exclusive && *ours && !evidence_->fault_injected())
            return fail(RuleId::wrong_return, rec.at, pool,
                        "a full pool that is not exclusive must leave the request to the generic allocator", 0, 1),
                   rc;
        marks.hit(Mark::pool_full, *ours && full);
        marks.hit(Mark::fell_through, !*ours);
        return refused(size == 0, uncached_before, pool), rc;
    }
    if (size == 0)
        return fail(RuleId::wrong_return, rec.at, pool, "a block without bytes must be refused"), rc;
    accept_block(req, b, pool, promises(DMAUDIT_PROMISES_ZEROING) ? Event::alloc_zeroed : Event::alloc_plain, out);
    return rc;
}

int Auditor::release_from_pool(const dmaudit_block& b, int* ours)
{
    *ours = 0;
    if (!check_block(b, true))
        return illegal_free(b, true, ours);
    const auto tag = static_cast<Tag>(b.cookie[0]);
    if (!check_tail(tag))
        return withheld;
    const BlockRecord rec = blocks_[tag];
    if (rec.pool)
        scribble_over(rec.at);
    const auto order = static_cast<uint32_t>(std::bit_width((rec.at.len + around_.page - 1) / around_.page - 1));
    const int rc = inner_->pool->release_from(ctx_, rec.device, order, door(rec.at.at), ours);
    if (violation_)
        return rc;
    if ((rec.pool != 0) != (*ours != 0)) {
        fail(RuleId::wrong_return, rec.at, tag, "is the block the pool's?", rec.pool != 0,
             static_cast<uint64_t>(*ours));
        return rc;
    }
    if (!rec.pool)
        return rc; // not the pool's: the client goes on with the generic free
    if (rc != DMAUDIT_OK) {
        fail(RuleId::wrong_return, rec.at, tag, "a legal release failed", Code{DMAUDIT_OK}, Code{rc});
        return rc;
    }
    apply(Event::block_free, rec.granted);
    own(rec.granted, IdentityMap::nobody);
    blocks_.remove(tag);
    mirror(rec.at, false);
    return rc;
}

int Auditor::mmap_from_pool(const dmaudit_block& b, uint64_t pgoff, uint64_t pages, Tag* out, int* ours)
{
    *ours = 0;
    const auto tag = static_cast<Tag>(b.cookie[0]);
    if (!check_alive(tag, Kind::block, RuleId::use_after_free))
        return withheld;
    BlockRecord& rec = blocks_[tag];
    if (b.device != rec.device)
        return fail(RuleId::wrong_device, rec.at, tag, "the block was allocated for another device", rec.device,
                    b.device),
               withheld;
    if (b.size != rec.at.len)
        return fail(RuleId::bad_length, rec.at, tag, "size against the block's", rec.at.len, b.size), withheld;
    if (b.cpu != client(rec.at.at))
        return fail(RuleId::out_of_bounds, rec.at, tag, "the address is not the block's"), withheld;
    const uint64_t count = (rec.at.len + around_.page - 1) / around_.page;
    const bool refuse = pages == 0 || pgoff >= count || pages > count - pgoff;
    dmaudit_window w{};
    w.struct_size = sizeof w;
    const int rc = inner_->pool->mmap_from(ctx_, rec.device, door(rec.at.at), rec.at.len, pgoff, pages, &w, ours);
    if (violation_)
        return rc;
    if ((rec.pool != 0) != (*ours != 0) && pages) {
        fail(RuleId::wrong_return, rec.at, tag, "is the block the pool's?", rec.pool != 0,
             static_cast<uint64_t>(*ours));
        return rc;
    }
    if (!*ours)
        return rc;
    if (refuse) {
        marks.hit(Mark::refused);
        if (rc == DMAUDIT_OK)
            fail(RuleId::mmap_window, rec.at, tag,
                 "a window of no pages, or past the block's last one, was not refused: pages of the block, end of the "
                 "window",
                 count, pgoff + pages);
        else if (rc != DMAUDIT_ENXIO && pages)
            fail(RuleId::wrong_return, rec.at, tag, "a window that the block does not have", Code{DMAUDIT_ENXIO},
                 Code{rc});
        return rc;
    }
    if (rc != DMAUDIT_OK) {
        fail(RuleId::wrong_return, rec.at, tag, "a legal window was refused", Code{DMAUDIT_OK}, Code{rc});
        return rc;
    }
    check_window(tag, pgoff, pages, w, out);
    return rc;
}

int Auditor::release_pool(Tag pool, bool managed)
{
    if (!check_alive(pool, Kind::pool, RuleId::double_free))
        return withheld;
    const PoolRecord rec = pools_[pool];
    if (rec.managed != managed)
        return fail(RuleId::wrong_kind, rec.at, pool,
                    managed ? "the pool is not managed" : "a managed pool is released with the call for managed memory"),
               withheld;
    if (!judge(Event::pool_release, rec.at, pool))
        return withheld;
    const int rc = (managed ? inner_->managed->release_declared : inner_->pool->release)(ctx_, rec.device);
    if (violation_)
        return rc;
    if (rc != DMAUDIT_OK) {
        fail(RuleId::wrong_return, rec.at, pool, "a legal release of a pool failed", Code{DMAUDIT_OK}, Code{rc});
        return rc;
    }
    apply(Event::pool_release, rec.at);
    pools_.remove(pool);
    ledger_.forget(pool);
    return rc;
}

} // namespace dmaudit
