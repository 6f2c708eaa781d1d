// Buffers of clients, coherent blocks and pools.
#include "machine/bytes.hpp"
#include "shadow/auditor.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace dmaudit {
namespace {

// What is written over a block before its free: found again, it is an earlier owner's.
constexpr auto scribble = [] {
    std::array<uint8_t, 4096> page{};
    for (uint32_t i = 0; i < page.size(); i++)
        page[i] = static_cast<uint8_t>(0xc0u | (i * 0x9e3779b1u) >> 26);
    return page;
}();

void scribble_over(uint8_t* ram, Range r)
{
    for (uint64_t at = r.at; at < r.end();) {
        const uint64_t n = std::min(r.end() - at, 4096 - at % 4096);
        copy_bytes(ram + at, scribble.data() + at % 4096, n);
        at += n;
    }
}

// An aligned word of scribble: no coincidence.
std::optional<uint64_t> first_scribbled(const uint8_t* ram, Range r)
{
    for (uint64_t at = (r.at + 7) & ~uint64_t{7}; at + 8 <= r.end(); at += 8) {
        uint64_t found, wanted;
        std::memcpy(&found, ram + at, 8);
        std::memcpy(&wanted, scribble.data() + at % 4096, 8);
        if (found == wanted)
            return at;
    }
    return {};
}

bool power_of_two(uint64_t v)
{
    return (v & (v - 1)) == 0;
}

std::optional<uint64_t> first_non_zero(const uint8_t* p, uint64_t n)
{
    if (n == 0 || (p[0] == 0 && same_bytes(p, p + 1, n - 1)))
        return {};
    uint64_t i = 0;
    while (p[i] == 0)
        i++;
    return i;
}

} // namespace

Tag Auditor::add_buffer(Range at)
{
    if (!judge(Event::buffer_alloc, at, 0))
        return 0;
    const Tag tag = buffers_.add({at});
    if (!tag)
        return fail(RuleId::auditor_exhausted, at, 0, "too many buffers in one session"), 0;
    apply(Event::buffer_alloc, at);
    own(at, tag);
    mirror(at, true);
    return tag;
}

bool Auditor::remove_buffer(Tag tag)
{
    if (!check_alive(tag, Kind::buffer, RuleId::double_free))
        return false;
    const Range r = buffers_[tag].at;
    if (!judge(Event::buffer_free, r, tag))
        return false;
    apply(Event::buffer_free, r);
    own(r, IdentityMap::nobody);
    buffers_.remove(tag);
    mirror(r, false);
    return true;
}

// A new block: is it what was asked for, and the provider's to give? Fills what the client gets.
bool Auditor::accept_block(const dmaudit_request& req, const dmaudit_block& b, Tag pool, dmaudit_block* out)
{
    const auto* cpu = static_cast<const uint8_t*>(b.cpu);
    if (cpu < around_.provider_view || cpu >= around_.provider_view + around_.ram)
        return fail(RuleId::outside_arena, {}, pool, "the block's CPU address is not in RAM"), false;
    const auto at = static_cast<uint64_t>(cpu - around_.provider_view);
    if (b.granted < req.size)
        return fail(RuleId::short_block, {at, 1}, pool, "bytes granted against bytes asked for", req.size, b.granted),
               false;
    if (b.granted > around_.ram - at)
        return fail(RuleId::outside_arena, {at, 1}, pool, "the block ends beyond RAM", around_.ram - at, b.granted),
               false;
    const Range r{at, req.size}, granted{at, b.granted}, tail{r.end(), b.granted - req.size};
    if (pool && !pools_[pool].at.contains(granted))
        return fail(RuleId::outside_arena, granted, pool, "the block is not inside the device's pool"), false;
    const bool nc = !coherent(req.device);
    const bool zeroed = promises(DMAUDIT_PROMISES_ZEROING) && (pool || (req.flags & DMAUDIT_ZERO));
    const Event e = zeroed ? Event::alloc_zeroed : Event::alloc_plain;
    if (!judge(e, r, pool) || !judge(Event::alloc_tail, tail, pool))
        return false;
    for (uint32_t i = 0; i < mappings_.live_count(); i++)
        if (const MappingRecord& m = mappings_[mappings_.live(i)]; m.bounced && m.target.overlaps(granted))
            return fail(RuleId::overlap, {m.target.intersect(granted).at, 1}, mappings_.live(i),
                        "the block overlaps a live bounce buffer"),
                   false;
    const uint64_t last = b.bus + (req.size - 1),
                   limit = std::min(req.limit ? req.limit : every_byte, around_.devices[req.device].limit);
    bool reachable = true;
    if (b.bus == DMAUDIT_NO_ADDRESS || last < b.bus)
        return fail(RuleId::wrong_translation, r, pool, "not a device address", 0, b.bus), false;
    if (last > limit) {
        if (promises(DMAUDIT_PROMISES_LIMIT))
            return fail(RuleId::beyond_limit, r, pool, "last device address of the block against the limit", limit,
                        last),
                   false;
        reachable = last <= around_.devices[req.device].limit;
    }
    if (promises(DMAUDIT_PROMISES_ALIGNMENT) && req.align > 1 && b.bus % req.align)
        return fail(RuleId::misaligned, r, pool, "device address against the alignment asked for", req.align, b.bus),
               false;
    if (promises(DMAUDIT_PROMISES_NATURAL_ALIGNMENT) && b.bus % std::max(around_.page, std::bit_ceil(req.size)))
        return fail(RuleId::misaligned, r, pool, "device address against the block's own order",
                    std::max(around_.page, std::bit_ceil(req.size)), b.bus),
               false;
    if (promises(DMAUDIT_PROMISES_BOUNDARY) && req.boundary && (b.bus ^ last) & ~(req.boundary - 1))
        return fail(RuleId::crosses_boundary, r, pool, "the block crosses the boundary", req.boundary, b.bus), false;
    if (const auto target = evidence_->translate(req.device, b.bus, req.size); !target || *target != at)
        return fail(RuleId::wrong_translation, r, pool, "the device address does not lead to the block", at,
                    target.value_or(every_byte)),
               false;
    if (nc && !promises(DMAUDIT_TRAIT_COHERENT_NEEDS_SYNC) && !evidence_->uncached(r))
        return fail(RuleId::not_coherent, r, pool, "a block for a non-coherent device lies in cached pages"), false;
    if (nc && promises(DMAUDIT_TRAIT_COHERENT_NEEDS_SYNC) && (granted.at % around_.line || granted.len % around_.line))
        return fail(RuleId::misaligned, granted, pool,
                    "a cached block for a non-coherent device does not own whole lines"),
               false;
    if (zeroed && audits_) {
        if (const auto i = first_non_zero(door(at), req.size))
            return fail(RuleId::not_zeroed, {at + *i, 1}, pool, "the CPU reads something else than zero", 0,
                        *door(at + *i)),
                   false;
        if (const auto i =
                nc && !promises(DMAUDIT_TRAIT_COHERENT_NEEDS_SYNC) ? evidence_->first_difference(r) : std::nullopt)
            return fail(RuleId::missing_clean, {*i, 1}, pool, "the device does not see the zeroes"), false;
    }
    const Tag tag = blocks_.add({r, granted, b, req.device, pool, 0, reachable});
    if (!tag)
        return fail(RuleId::auditor_exhausted, r, pool, "too many blocks in one session"), false;
    apply(e, r);
    apply(Event::alloc_tail, tail);
    own(granted, tag);
    mirror(r, true);
    *out = b;
    out->struct_size = sizeof *out;
    out->device = req.device;
    out->cpu = client(at);
    out->cookie[0] = tag;
    out->cookie[1] = 0;
    return true;
}

int Auditor::alloc_coherent(const dmaudit_request& req, dmaudit_block* out)
{
    if (req.device >= around_.n_devices)
        return fail(RuleId::wrong_device, {}, 0, "no such device"), withheld;
    const bool refuse = req.size == 0 || (promises(DMAUDIT_PROMISES_ALIGNMENT) && !power_of_two(req.align));
    const uint64_t uncached_before = evidence_->uncached_pages();
    dmaudit_block b{};
    b.struct_size = sizeof b;
    const int rc = inner_->coherent->alloc(ctx_, &req, &b);
    if (violation_)
        return rc;
    if (rc != DMAUDIT_OK)
        return refused(refuse, uncached_before, 0), rc;
    if (refuse)
        return fail(RuleId::wrong_return, {}, 0,
                    "a block without bytes, or with an impossible alignment, must be refused"),
               rc;
    Tag pool = pool_of(req.device);
    if (const auto* cpu = static_cast<const uint8_t*>(b.cpu);
        pool && cpu >= around_.provider_view && cpu < around_.provider_view + around_.ram)
        if (!pools_[pool].at.contains(static_cast<uint64_t>(cpu - around_.provider_view)))
            pool = 0; // the pool was passed over or full
    if (accept_block(req, b, pool, out))
        out->size = req.size;
    return rc;
}

// Does the client name a live block, and every field of it? `by_cpu_only`: the call carries nothing but the CPU address
// and an order (pool release).
bool Auditor::check_block(const dmaudit_block& b, bool by_cpu_only)
{
    const auto tag = static_cast<Tag>(b.cookie[0]);
    if (!check_alive(tag, Kind::block, RuleId::double_free))
        return false;
    const BlockRecord& rec = blocks_[tag];
    if (b.device != rec.device) {
        fail(RuleId::wrong_device, rec.at, tag, "the block was allocated for another device", rec.device, b.device);
        return false;
    }
    const auto order = [this](uint64_t size) { return std::bit_width((size + around_.page - 1) / around_.page - 1); };
    if (by_cpu_only ? order(b.size) != order(rec.at.len) : b.size != rec.at.len) {
        fail(RuleId::free_mismatch, rec.at, tag, "size against the block's", rec.at.len, b.size);
        return false;
    }
    if (b.cpu != client(rec.at.at) || (!by_cpu_only && b.bus != rec.inner.bus)) {
        fail(RuleId::free_mismatch, rec.at, tag, "the address is not the block's");
        return false;
    }
    if (rec.windows) {
        fail(RuleId::free_while_mapped, rec.at, tag, "windows onto the block are still open", 0, rec.windows);
        return false;
    }
    return judge(Event::block_free, rec.at, tag);
}

// An illegal free: a provider that promises to detect it must refuse it.
int Auditor::illegal_free(const dmaudit_block& b, bool pool, int* ours)
{
    if (!forward_illegal_ || !promises(DMAUDIT_PROMISES_DETECTION) || violation_->rule == RuleId::free_while_mapped ||
        b.device >= around_.n_devices)
        return withheld;
    const auto tag = static_cast<Tag>(b.cookie[0]);
    // A release names the block by its address only: that of a dead block which has a new owner cannot be told from
    // his.
    if (pool && blocks_.known(tag) && !blocks_.alive(tag) && identity_.at(blocks_[tag].at.at) != IdentityMap::nobody)
        return withheld;
    dmaudit_block forwarded = b;
    if (blocks_.known(tag)) {
        forwarded.cookie[0] = blocks_[tag].inner.cookie[0];
        forwarded.cookie[1] = blocks_[tag].inner.cookie[1];
    }
    forwarded.cpu = static_cast<uint8_t*>(b.cpu) - around_.client_view + around_.provider_view;
    int mine = 0, rc;
    if (pool)
        rc = inner_->pool->release_from(
            ctx_, b.device, static_cast<uint32_t>(std::bit_width((b.size + around_.page - 1) / around_.page - 1)),
            forwarded.cpu, &mine);
    else
        rc = inner_->coherent->free(ctx_, &forwarded);
    if (ours)
        *ours = mine;
    if (rc != DMAUDIT_OK || (pool && !mine))
        return withheld;
    violation_.reset();
    fail(RuleId::wrong_return, bytes_of(tag), tag, "an illegal free was promised to be detected, and succeeded");
    return rc;
}

int Auditor::free_coherent(const dmaudit_block& b)
{
    if (!check_block(b, false))
        return illegal_free(b, false, nullptr);
    const auto tag = static_cast<Tag>(b.cookie[0]);
    const BlockRecord rec = blocks_[tag];
    if (audits_) {
        scribble_over(around_.provider_view, rec.at);
        evidence_->wrote(rec.at);
    }
    const int rc = inner_->coherent->free(ctx_, &rec.inner);
    if (violation_)
        return rc;
    if (rc != DMAUDIT_OK) {
        fail(RuleId::wrong_return, rec.at, tag, "a legal free failed", DMAUDIT_OK, static_cast<uint64_t>(rc));
        return rc;
    }
    apply(Event::block_free, rec.granted);
    own(rec.granted, IdentityMap::nobody);
    blocks_.remove(tag);
    mirror(rec.at, false);
    return rc;
}

int Auditor::declare_pool(uint32_t device, Range at, uint32_t* exclusive, Tag* out)
{
    if (device >= around_.n_devices)
        return fail(RuleId::wrong_device, at, 0, "no such device"), withheld;
    const bool refuse = at.empty() || pool_of(device) != 0;
    if (!judge(Event::pool_declare, at, 0))
        return withheld;
    const uint64_t uncached_before = evidence_->uncached_pages();
    const uint64_t phys = evidence_->phys_of(at.at);
    uint32_t exclusive_now = *exclusive;
    const int rc = inner_->pool->declare(ctx_, device, phys, phys + bus_offset(device), at.len, &exclusive_now);
    if (violation_)
        return rc;
    if (rc != DMAUDIT_OK)
        return refused(refuse, uncached_before, 0), rc;
    if (refuse)
        return fail(RuleId::wrong_return, at, 0,
                    "a pool without bytes, or a second pool of one device, must be refused"),
               rc;
    *exclusive = exclusive_now;
    *out = pools_.add({at, device, exclusive_now != 0});
    if (!*out)
        return fail(RuleId::auditor_exhausted, at, 0, "too many pools in one session"), rc;
    apply(Event::pool_declare, at);
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
    if (accept_block(req, b, pool, out))
        out->size = size;
    return rc;
}

int Auditor::release_from_pool(const dmaudit_block& b, int* ours)
{
    *ours = 0;
    if (!check_block(b, true))
        return illegal_free(b, true, ours);
    const auto tag = static_cast<Tag>(b.cookie[0]);
    const BlockRecord rec = blocks_[tag];
    if (rec.pool && audits_) {
        scribble_over(around_.provider_view, rec.at);
        evidence_->wrote(rec.at);
    }
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
        fail(RuleId::wrong_return, rec.at, tag, "a legal release failed", DMAUDIT_OK, static_cast<uint64_t>(rc));
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
            fail(RuleId::mmap_window, rec.at, tag, "pages of the block against the last page asked for", count,
                 pgoff + pages);
        return rc;
    }
    if (rc != DMAUDIT_OK) {
        fail(RuleId::wrong_return, rec.at, tag, "a legal window was refused", DMAUDIT_OK, static_cast<uint64_t>(rc));
        return rc;
    }
    const uint64_t phys = evidence_->phys_of(rec.at.at) + pgoff * around_.page;
    const auto at = evidence_->offset_of(w.phys, w.size);
    if (w.phys != phys || w.size != pages * around_.page || !at) {
        fail(RuleId::mmap_window, rec.at, tag, "first byte of the window", phys, w.phys);
        return rc;
    }
    // What lies between the end of the block and the end of its last page becomes visible.
    const Range window{*at, w.size}, block_end{rec.at.end(), rec.granted.end() - rec.at.end()};
    for (uint32_t i = 0; i < blocks_.live_count(); i++)
        if (const BlockRecord& o = blocks_[blocks_.live(i)]; blocks_.live(i) != tag && o.at.overlaps(window)) {
            fail(RuleId::mmap_window, {o.at.intersect(window).at, 1}, blocks_.live(i),
                 "the window shows another block");
            return rc;
        }
    if (const auto leak =
            audits_ ? first_scribbled(around_.provider_view, window.intersect(block_end)) : std::nullopt) {
        fail(RuleId::leaks_old_data, {*leak, 8}, tag,
             "the window shows what an earlier owner left behind the end of the block");
        return rc;
    }
    *out = windows_.add({window, tag});
    if (!*out)
        return fail(RuleId::auditor_exhausted, window, tag, "too many windows in one session"), rc;
    rec.windows++;
    marks.hit(Mark::window);
    return rc;
}

bool Auditor::munmap(Tag window)
{
    if (!check_alive(window, Kind::window, RuleId::double_free))
        return false;
    if (const Tag block = windows_[window].block; blocks_.alive(block))
        blocks_[block].windows--;
    windows_.remove(window);
    return true;
}

int Auditor::release_pool(Tag pool)
{
    if (!check_alive(pool, Kind::pool, RuleId::double_free))
        return withheld;
    const PoolRecord rec = pools_[pool];
    if (!judge(Event::pool_release, rec.at, pool))
        return withheld;
    const int rc = inner_->pool->release(ctx_, rec.device);
    if (violation_)
        return rc;
    if (rc != DMAUDIT_OK) {
        fail(RuleId::wrong_return, rec.at, pool, "a legal release of a pool failed", DMAUDIT_OK,
             static_cast<uint64_t>(rc));
        return rc;
    }
    apply(Event::pool_release, rec.at);
    pools_.remove(pool);
    return rc;
}

} // namespace dmaudit
