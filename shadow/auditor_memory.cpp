// Buffers of clients and coherent blocks, with and without a CPU mapping.
#include "machine/bytes.hpp"
#include "shadow/auditor.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace dmaudit {
namespace {

// The direction in which a kind of allocation is mapped by itself.
Direction mapped_by(Event e)
{
    return e == Event::alloc_noncoherent_to     ? Direction::to
           : e == Event::alloc_noncoherent_from ? Direction::from
           : e == Event::alloc_noncoherent_bi   ? Direction::bi
                                                : Direction::none;
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

Tag Auditor::add_buffer(Range at, bool mappable)
{
    if (!judge(Event::buffer_alloc, at, 0))
        return 0;
    const Tag tag = buffers_.add({at, mappable});
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

// A new block: is it what was asked for, and the provider's to give? `e` says what becomes of its bytes. Fills what the
// client gets.
bool Auditor::accept_block(const dmaudit_request& req, const dmaudit_block& b, Tag pool, Event e, dmaudit_block* out)
{
    const bool opaque = e == Event::alloc_opaque;
    const auto* cpu = static_cast<const uint8_t*>(b.cpu);
    uint64_t at = 0;
    if (opaque) { // only the device's address says where it lies
        if (cpu != nullptr)
            return fail(RuleId::wrong_return, {}, 0, "a block without a CPU mapping has got a CPU address"), false;
        const auto target = evidence_->translate(req.device, b.bus, req.size);
        if (!target)
            return fail(RuleId::wrong_translation, {}, 0, "the device address does not lead to one range of RAM",
                        Bus{b.bus}),
                   false;
        at = *target;
    } else {
        if (cpu < around_.provider_view || cpu >= around_.provider_view + around_.ram)
            return fail(RuleId::outside_arena, {}, pool, "the block's CPU address is not in RAM"), false;
        at = static_cast<uint64_t>(cpu - around_.provider_view);
    }
    if (b.granted < req.size)
        return fail(RuleId::short_block, {at, 1}, pool, "bytes granted against bytes asked for", req.size, b.granted),
               false;
    if (b.granted > around_.ram - at)
        return fail(RuleId::outside_arena, {at, 1}, pool, "the block ends beyond RAM", around_.ram - at, b.granted),
               false;
    const Range r{at, req.size}, granted{at, b.granted}, tail{r.end(), b.granted - req.size};
    if (pool && !pools_[pool].at.contains(granted))
        return fail(RuleId::outside_arena, granted, pool, "the block is not inside the device's pool"), false;
    const bool nc = !coherent(req.device), noncoherent = mapped_by(e) != Direction::none;
    const bool zeroed = e == Event::alloc_zeroed || noncoherent;
    // Cached memory that its client syncs.
    const bool cached = noncoherent || promises(DMAUDIT_TRAIT_COHERENT_NEEDS_SYNC);
    if (!judge(e, r, pool) || !judge(Event::alloc_tail, tail, pool))
        return false;
    for (uint32_t i = 0; i < mappings_.live_count(); i++)
        if (const MappingRecord& m = mappings_[mappings_.live(i)]; m.bounced && m.target.overlaps(granted))
            return fail(RuleId::overlap, {m.target.intersect(granted).at, 1}, mappings_.live(i),
                        "the block overlaps a live bounce buffer"),
                   false;
    const uint64_t last = b.bus + (req.size - 1),
                   reach = pool ? around_.devices[req.device].limit : reach_of(req.device, true),
                   limit = std::min(req.limit ? req.limit : every_byte, reach);
    bool reachable = true;
    if (b.bus == DMAUDIT_NO_ADDRESS || last < b.bus)
        return fail(RuleId::wrong_translation, r, pool, "not a device address", Bus{b.bus}), false;
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
    // Where device addresses are off by a part of a page no page is aligned.
    const bool pages = iommu(req.device) || bus_offset(req.device) % around_.page == 0;
    if (const uint64_t order = std::max(around_.page, std::bit_ceil(req.size));
        promises(DMAUDIT_PROMISES_NATURAL_ALIGNMENT) && !pool && pages && b.bus % order)
        return fail(RuleId::misaligned, r, pool, "device address against the block's own order", order, b.bus), false;
    if (promises(DMAUDIT_PROMISES_BOUNDARY) && req.boundary && (b.bus ^ last) & ~(req.boundary - 1))
        return fail(RuleId::crosses_boundary, r, pool, "the block crosses the boundary", req.boundary, b.bus), false;
    if (const auto target = evidence_->translate(req.device, b.bus, req.size); !target || *target != at)
        return fail(RuleId::wrong_translation, r, pool, "the device address does not lead to the block", at,
                    target.value_or(every_byte)),
               false;
    if (const Direction d = mapped_by(e);
        iommu(req.device) && reachable &&
        !evidence_->reaches(req.device, b.bus, req.size, d != Direction::from, d != Direction::to))
        return fail(RuleId::wrong_translation, r, pool,
                    "the IOMMU denies the device a part of the block, or an old translation, not flushed, is in the "
                    "way"),
               false;
    if (reachable && noncoherent && !check_rights(req.device, b.bus, r, mapped_by(e), pool))
        return false;
    if (nc && !cached && !evidence_->uncached(r))
        return fail(RuleId::not_coherent, r, pool, "a block for a non-coherent device lies in cached pages"), false;
    if (nc && cached && (granted.at % around_.line || granted.len % around_.line))
        return fail(RuleId::misaligned, granted, pool,
                    "a cached block for a non-coherent device does not own whole lines"),
               false;
    if (zeroed && audits_) {
        if (const auto i = first_non_zero(door(at), req.size))
            return fail(RuleId::not_zeroed, {at + *i, 1}, pool, "the CPU reads something else than zero", 0,
                        *door(at + *i)),
                   false;
        if (const auto i =
                nc && !cached ? evidence_->first_difference(r) : std::nullopt)
            return fail(RuleId::missing_clean, {*i, 1}, pool, "the device does not see the zeroes"), false;
    }
    const Tag tag = blocks_.add({r, granted, b, req.device, pool, 0, reachable, opaque, mapped_by(e)});
    if (!tag)
        return fail(RuleId::auditor_exhausted, r, pool, "too many blocks in one session"), false;
    marks.hit(Mark::narrowed, reach < around_.devices[req.device].limit);
    apply(e, r);
    apply(Event::alloc_tail, tail);
    own(granted, tag);
    mirror(r, !opaque);
    note_tail(tag);
    *out = as_client_sees(tag);
    return true;
}

// ---- the tail ----

namespace {

// Where headers and footers lie: the first and the last line's worth of a tail.
constexpr uint64_t looked_at = 64;
std::array<Range, 2> ends_of_tail(const BlockRecord& b)
{
    const Range tail{b.at.end(), b.granted.end() - b.at.end()};
    const uint64_t first = std::min(tail.len, looked_at), last = std::min(tail.len - first, looked_at);
    return {Range{tail.at, first}, Range{tail.end() - last, last}};
}

uint64_t sum_of(const uint8_t* at, uint64_t len, uint64_t sum)
{
    for (; len >= sizeof(uint64_t); at += sizeof(uint64_t), len -= sizeof(uint64_t)) {
        uint64_t word;
        std::memcpy(&word, at, sizeof word);
        sum = (sum ^ word) * 0x9e3779b97f4a7c15;
        sum ^= sum >> 29;
    }
    for (; len; at++, len--)
        sum = (sum ^ *at) * 0x100000001b3;
    return sum;
}

} // namespace

// A device that overruns its block writes into the tail, and without an IOMMU nothing stops it: what a provider keeps
// there is exposed. That it keeps something there shows when it changes.
void Auditor::note_tail(Tag tag)
{
    BlockRecord& b = blocks_[tag];
    if (b.at.end() == b.granted.end() || !audits_)
        return;
    for (const Range r : ends_of_tail(b)) {
        if (!r.empty() && evidence_->first_difference(r)) // the cache may yet show another value
            b.tail_open = true;
        b.tail_sum = sum_of(door(r.at), r.len, b.tail_sum);
    }
}

bool Auditor::check_tail(Tag tag)
{
    const BlockRecord& b = blocks_[tag];
    if (b.tail_open || b.at.end() == b.granted.end() || !audits_)
        return true;
    uint64_t sum = 0;
    for (const Range r : ends_of_tail(b))
        sum = sum_of(door(r.at), r.len, sum);
    if (sum == b.tail_sum)
        return true;
    fail(RuleId::metadata_exposed, {b.at.end(), b.granted.end() - b.at.end()}, tag,
         "the tail of the block is not as it was when the block was allocated");
    return false;
}

int Auditor::alloc_coherent(const dmaudit_request& req, dmaudit_block* out, bool managed)
{
    if (req.device >= around_.n_devices)
        return fail(RuleId::wrong_device, {}, 0, "no such device"), withheld;
    const bool refuse = req.size == 0 || (promises(DMAUDIT_PROMISES_ALIGNMENT) && !power_of_two(req.align)) ||
                        (promises(DMAUDIT_PROMISES_BOUNDARY) && !power_of_two(req.boundary)) ||
                        (managed && !ledger_.bound(req.device));
    const uint64_t uncached_before = evidence_->uncached_pages();
    dmaudit_block b{};
    b.struct_size = sizeof b;
    const int rc = (managed ? inner_->managed->alloc : inner_->coherent->alloc)(ctx_, &req, &b);
    if (violation_)
        return rc;
    if (rc != DMAUDIT_OK && !refuse && blamed_caller(rc, req, req.size, {}, 0))
        return rc;
    if (rc != DMAUDIT_OK)
        return refused(refuse, uncached_before, 0), rc;
    if (refuse)
        return fail(RuleId::wrong_return, {}, 0,
                    "a block without bytes, with an impossible alignment or boundary, or without a driver must be refused"),
               rc;
    Tag pool = pool_of(req.device);
    if (const auto* cpu = static_cast<const uint8_t*>(b.cpu);
        pool && cpu >= around_.provider_view && cpu < around_.provider_view + around_.ram)
        if (!pools_[pool].at.contains(static_cast<uint64_t>(cpu - around_.provider_view)))
            pool = 0; // the pool was passed over or full
    const bool zeroed = promises(DMAUDIT_PROMISES_ZEROING) && (pool || (req.flags & DMAUDIT_ZERO));
    const bool opaque = (req.attrs & DMAUDIT_ATTR_NO_KERNEL_MAPPING) && promises(DMAUDIT_PROMISES_NO_KERNEL_MAPPING);
    const Event e = opaque ? Event::alloc_opaque : zeroed ? Event::alloc_zeroed : Event::alloc_plain;
    if (const Tag own = pool_of(req.device); own && !pool && !opaque && pools_[own].exclusive)
        return fail(RuleId::wrong_return, pools_[own].at, own,
                    "a block from elsewhere, and the device's pool is exclusive: its answer is final"),
               rc;
    if (accept_block(req, b, opaque ? 0 : pool, e, out) && managed)
        manage(Resource::Kind::block, req.device, static_cast<Tag>(out->cookie[0]), uncached_before);
    return rc;
}

dmaudit_block Auditor::as_client_sees(Tag block) const
{
    const BlockRecord& rec = blocks_[block];
    dmaudit_block b = rec.inner;
    b.struct_size = sizeof b;
    b.device = rec.device;
    b.cpu = rec.opaque ? token(block) : client(rec.at.at);
    b.size = rec.at.len;
    b.cookie[0] = block;
    b.cookie[1] = 0;
    return b;
}

// Does the client name a live block, and every field of it? `by_cpu_only`: the call carries nothing but the CPU address
// and an order (pool release).
bool Auditor::check_block(const dmaudit_block& b, bool by_cpu_only, bool managed)
{
    const auto tag = static_cast<Tag>(b.cookie[0]);
    if (!check_alive(tag, Kind::block, RuleId::double_free))
        return false;
    const BlockRecord& rec = blocks_[tag];
    if (rec.managed != managed) {
        fail(RuleId::wrong_kind, rec.at, tag,
             managed ? "the block is not managed" : "managed memory is freed with the call for managed memory");
        return false;
    }
    if (b.device != rec.device) {
        fail(RuleId::wrong_device, rec.at, tag, "the block was allocated for another device", rec.device, b.device);
        return false;
    }
    const auto order = [this](uint64_t size) { return std::bit_width((size + around_.page - 1) / around_.page - 1); };
    if (by_cpu_only ? order(b.size) != order(rec.at.len) : b.size != rec.at.len) {
        fail(RuleId::free_mismatch, rec.at, tag, "size against the block's", rec.at.len, b.size);
        return false;
    }
    if (b.cpu != (rec.opaque ? token(tag) : client(rec.at.at)) || (!by_cpu_only && b.bus != rec.inner.bus)) {
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
int Auditor::illegal_free(const dmaudit_block& b, bool pool, int* ours, bool managed)
{
    if (!forward_illegal_ || !promises(DMAUDIT_PROMISES_DETECTION) || violation_->rule == RuleId::free_while_mapped ||
        b.device >= around_.n_devices)
        return withheld;
    const auto tag = static_cast<Tag>(b.cookie[0]);
    if (blocks_.alive(tag) && blocks_[tag].managed && !managed)
        return withheld; // what the driver will give back is nobody's to detect
    // A release names the block by its address only: that of a dead block which has a new owner cannot be told from
    // his.
    if (pool && blocks_.known(tag) && !blocks_.alive(tag) && identity_.at(blocks_[tag].at.at) != IdentityMap::nobody)
        return withheld;
    dmaudit_block forwarded = b;
    if (blocks_.known(tag)) {
        forwarded.cookie[0] = blocks_[tag].inner.cookie[0];
        forwarded.cookie[1] = blocks_[tag].inner.cookie[1];
    }
    if (blocks_.known(tag) && blocks_[tag].opaque)
        forwarded.cpu = nullptr;
    else
        forwarded.cpu = static_cast<uint8_t*>(b.cpu) - around_.client_view + around_.provider_view;
    if (violation_->rule != RuleId::wrong_kind && cannot_be_told(forwarded)) // another kind of call is told by itself
        return withheld;
    int mine = 0, rc;
    if (pool)
        rc = inner_->pool->release_from(
            ctx_, b.device, static_cast<uint32_t>(std::bit_width((b.size + around_.page - 1) / around_.page - 1)),
            forwarded.cpu, &mine);
    else
        rc = (managed ? inner_->managed->free : inner_->coherent->free)(ctx_, &forwarded);
    if (ours)
        *ours = mine;
    return must_refuse(tag, pool && !mine ? DMAUDIT_EFAULT : rc);
}

int Auditor::free_coherent(const dmaudit_block& b, bool managed)
{
    if (!check_block(b, false, managed))
        return illegal_free(b, false, nullptr, managed);
    const auto tag = static_cast<Tag>(b.cookie[0]);
    if (!check_tail(tag))
        return withheld;
    const BlockRecord rec = blocks_[tag];
    scribble_over(rec.at);
    const int rc = (managed ? inner_->managed->free : inner_->coherent->free)(ctx_, &rec.inner);
    if (violation_)
        return rc;
    if (rc != DMAUDIT_OK) {
        fail(RuleId::wrong_return, rec.at, tag, "a legal free failed", Code{DMAUDIT_OK}, Code{rc});
        return rc;
    }
    apply(Event::block_free, rec.granted);
    own(rec.granted, IdentityMap::nobody);
    blocks_.remove(tag);
    ledger_.forget(tag);
    mirror(rec.at, false);
    check_unreachable(rec.device, rec.inner.bus, rec.at, tag);
    check_cached_again(rec, tag);
    return rc;
}

// Pages in which nobody has coherent memory any more are cached when a free returns. A pool's are its client's.
void Auditor::check_cached_again(const BlockRecord& freed, Tag tag)
{
    if (!audits_ || !promises(DMAUDIT_PROMISES_PROMPT) || freed.pool || evidence_->uncached_pages() == 0)
        return;
    const Range pages = freed.granted.lines(around_.page);
    for (uint64_t at = pages.at; at < pages.end(); at += around_.page)
        if (evidence_->uncached({at, 1}) && !page_is_shared({at, around_.page}, tag, freed.device, ledger_.count())) {
            fail(RuleId::lost_capacity, {at, 1}, tag, "a page of a block that was freed is still uncached");
            return;
        }
}

} // namespace dmaudit
