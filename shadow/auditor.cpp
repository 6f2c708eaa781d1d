#include "shadow/auditor.hpp"

#include "shadow/asan.hpp"

#include <algorithm>
#include <sys/mman.h>

namespace dmaudit {

std::string_view mark_name(Mark m)
{
    static constexpr std::array<std::string_view, static_cast<size_t>(Mark::count_)> names{
        "bounced mappings",
        "direct mappings",
        "partial syncs",
        "overlapping to_device maps",
        "maps with SKIP",
        "CPU writes while mapped",
        "pool full",
        "fell through to the generic allocator",
        "mappings that split a line",
        "windows",
        "refused by contract",
        "failed calls",
        "scatterlists with merged entries",
        "mappings through an IOMMU",
        "attachments mapped",
        "brackets of the CPU on a dma-buf",
        "masks set",
        "blocks and mappings under a narrowed mask",
        "bounced mappings that keep address bits"};
    return names[static_cast<size_t>(m)];
}

Auditor::Auditor() : map_(1 << 20, code_of(N)), identity_(1 << 20)
{
    void* p = mmap(nullptr, decltype(blocks_)::capacity * token_bytes, PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        broken_precondition("no address space for the tokens of opaque blocks");
    tokens_ = static_cast<uint8_t*>(p);
}

void Auditor::begin(const Surroundings& around, Evidence& evidence, const dmaudit_provider& inner, void* ctx,
                    std::span<const Range> arenas)
{
    around_ = around;
    evidence_ = &evidence;
    inner_ = &inner;
    ctx_ = ctx;
    violation_.reset();
    current_ = {};
    marks = {};
    if (map_.size() < around.ram) {
        map_.resize(around.ram, code_of(N));
        identity_.resize(around.ram);
    }
    for (const Range& arena : arenas)
        map_.apply(transition(Event::pool_declare), arena);
    if (!audits_)
        lift_mirror();
    else if (mirrored_view_ != around.client_view || mirrored_ < around.ram) {
        lift_mirror();
        mirrored_view_ = around.client_view;
        mirrored_ = around.ram;
        cpu_may_not_touch(mirrored_view_, mirrored_);
    }
}

Auditor::~Auditor()
{
    lift_mirror();
    ::munmap(tokens_, decltype(blocks_)::capacity * token_bytes);
}

// Between sessions the whole view stays poisoned; what a session allows is taken back at its end.
void Auditor::lift_mirror()
{
    if (mirrored_view_)
        cpu_may_touch(mirrored_view_, mirrored_);
    mirrored_view_ = nullptr;
}

void Auditor::end()
{
    if (!allowed_.empty())
        cpu_may_not_touch(client(allowed_.at), allowed_.len);
    allowed_ = {};
    map_.reset(code_of(N));
    identity_.reset();
    buffers_.clear();
    blocks_.clear();
    mappings_.clear();
    pools_.clear();
    windows_.clear();
    sgs_.clear();
    bufs_.clear();
    buf_refs_.clear();
    attachments_.clear();
    fds_.fill(0);
    ledger_.clear();
    drivers_.fill({});
    teardown_ = {};
    trace = nullptr;
    cells = nullptr;
    forward_illegal_ = refused_illegal_ = closing_ = false;
    be_strict({});
}

std::nullopt_t Auditor::fail(RuleId rule, Range bytes, Tag object, const char* what)
{
    if (!violation_) {
        const bool shown = !bytes.empty() && bytes.at < map_.size();
        violation_ = Violation{rule, shown ? map_.at(bytes.at) : code_of(N), bytes, object, what};
    }
    return std::nullopt;
}

void Auditor::fail(RuleId rule, Range bytes, Tag object, const char* what, uint64_t expected, uint64_t got)
{
    if (violation_)
        return;
    fail(rule, bytes, object, what);
    violation_->expected = expected;
    violation_->got = got;
    violation_->numbers = Numbers::values;
}

void Auditor::fail(RuleId rule, Range bytes, Tag object, const char* what, Code expected, Code got)
{
    if (violation_)
        return;
    const auto number = [](Code c) { return static_cast<uint64_t>(int64_t{c.rc}); };
    fail(rule, bytes, object, what, number(expected), number(got));
    violation_->numbers = Numbers::codes;
}

void Auditor::fail(RuleId rule, Range bytes, Tag object, const char* what, Bus bus)
{
    if (violation_)
        return;
    fail(rule, bytes, object, what, 0, bus.at);
    violation_->numbers = Numbers::address;
}

bool Auditor::judge(Event e, Range r, Tag object)
{
    if (!audits_)
        return true;
    if (cells && !r.empty())
        for (const uint8_t state : {map_.at(r.at), map_.at(r.end() - 1)}) // both ends: enough to tell situations apart
            cells[static_cast<size_t>(e) * (2 * state_count + 1) + state_number(state)] = 1;
    const auto hit = map_.check(transition(e), r);
    if (!hit)
        return true;
    fail(static_cast<RuleId>(hit->rule), {hit->at, 1}, object, "");
    return false;
}

void Auditor::apply(Event e, Range r)
{
    if (!audits_)
        return;
    map_.apply(transition(e), r);
    if (trace)
        trace->applied(e, r);
}

void Auditor::own(Range r, uint32_t tag)
{
    if (audits_)
        identity_.set(r, tag);
    for (Pieces* since : {&unordered_, &fetched_, &supplied_}) // of another owner, or of nobody
        if (!since->remove(r))
            since->clear();
}

void Auditor::mirror([[maybe_unused]] Range r, [[maybe_unused]] bool allowed)
{
#ifdef DMAUDIT_ASAN
    if (r.empty() || !audits_)
        return;
    if (allowed) {
        cpu_may_touch(client(r.at), r.len);
        const uint64_t from = allowed_.empty() ? r.at : std::min(allowed_.at, r.at);
        allowed_ = {from, std::max(allowed_.end(), r.end()) - from};
    } else
        cpu_may_not_touch(client(r.at), r.len);
#endif
}

void Auditor::mirror_by_state([[maybe_unused]] Range r)
{
#ifdef DMAUDIT_ASAN
    if (!audits_)
        return;
    map_.for_each_run(r, [&](Range run, uint8_t s) {
        // TO_DEVICE bytes may be read, stale ones may be written: only what allows neither is poisoned.
        mirror(run,
               transition(Event::cpu_read).rule[s | initialised] == 0 || transition(Event::cpu_write).rule[s] == 0);
    });
#endif
}

bool Auditor::alive(Tag t) const
{
    switch (tag_kind(t)) {
    case Kind::buffer:
        return buffers_.alive(t);
    case Kind::mapping:
        return mappings_.alive(t);
    case Kind::block:
        return blocks_.alive(t);
    case Kind::pool:
        return pools_.alive(t);
    case Kind::window:
        return windows_.alive(t);
    case Kind::sg:
        return sgs_.alive(t);
    case Kind::dma_buf:
        return buf_refs_.alive(t);
    case Kind::attachment:
        return attachments_.alive(t);
    case Kind::exported:
        return bufs_.alive(t);
    default:
        return false;
    }
}

Range Auditor::bytes_of(Tag t) const
{
    if (buffers_.known(t))
        return buffers_[t].at;
    if (mappings_.known(t))
        return mappings_[t].original;
    if (blocks_.known(t))
        return blocks_[t].at;
    if (pools_.known(t))
        return pools_[t].at;
    if (windows_.known(t))
        return windows_[t].at;
    if (sgs_.known(t))
        return sgs_[t].hull;
    if (buf_refs_.known(t))
        return bufs_[buf_refs_[t].buf].at;
    if (attachments_.known(t))
        return bufs_[attachments_[t].buf].at;
    if (bufs_.known(t))
        return bufs_[t].at;
    return {};
}

Tag Auditor::pool_of(uint32_t device) const
{
    for (uint32_t i = 0; i < pools_.live_count(); i++)
        if (pools_[pools_.live(i)].device == device)
            return pools_.live(i);
    return 0;
}

// Precedence: a dead reference, then the wrong kind.
bool Auditor::check_alive(Tag t, Kind wanted, RuleId dead)
{
    if (!alive(t))
        return fail(dead, bytes_of(t), t, "the reference is dead"), false;
    if (tag_kind(t) != wanted)
        return fail(RuleId::wrong_kind, bytes_of(t), t, "the call is for another kind of memory"), false;
    return true;
}

bool Auditor::check_range(uint64_t offset, uint64_t length, uint64_t size, RuleId outside, Tag t)
{
    const Range object = bytes_of(t);
    if (offset + length < offset) {
        fail(RuleId::bad_length, {object.at, object.len ? 1u : 0u}, t, "offset plus length wraps around", size, length);
        return false;
    }
    if (offset + length > size) {
        fail(outside, {object.at, object.len ? 1u : 0u}, t, "the range ends beyond the object", size, offset + length);
        return false;
    }
    return true;
}

// A legal call failed: nothing may have changed.
void Auditor::refused(bool by_contract, uint64_t uncached_before, Tag t)
{
    marks.hit(by_contract ? Mark::refused : Mark::failed_call);
    if (const uint64_t kept = evidence_->translations_added(); kept && !promises(DMAUDIT_TRAIT_LAZY_FLUSH))
        fail(RuleId::failure_has_effect, {}, t, "a failed call left pages mapped in an IOMMU", 0, kept);
    if (promises(DMAUDIT_PROMISES_PROMPT) && evidence_->uncached_pages() != uncached_before)
        fail(RuleId::failure_has_effect, {}, t, "a failed call left pages with another cacheability", uncached_before,
             evidence_->uncached_pages());
}

bool Auditor::blamed_caller(int rc, const dmaudit_request& req, uint64_t longest, Range at, Tag t)
{
    // Numbers for which there is no place anywhere, or that an allocator of pages need not know, may be taken for
    // malformed.
    const bool possible = longest <= around_.ram / 2 && req.align <= around_.page && power_of_two(req.align) &&
                          power_of_two(req.boundary) &&
                          (req.boundary == 0 || (longest <= req.boundary && around_.page <= req.boundary));
    return rc != DMAUDIT_EBUSY && blamed_caller(rc, possible, at, t);
}

bool Auditor::blamed_caller(int rc, bool whole, Range at, Tag t)
{
    const bool blamed = rc == DMAUDIT_EFAULT || rc == DMAUDIT_ENULL || rc == DMAUDIT_EZERO || rc == DMAUDIT_EBUSY ||
                        rc == DMAUDIT_ENODEV || rc == DMAUDIT_EBADF || (rc == DMAUDIT_EINVAL && whole);
    if (!blamed || evidence_->fault_injected())
        return false;
    fail(RuleId::wrong_return, at, t, "a legal request was refused as if its caller had erred", Code{DMAUDIT_ENOMEM},
         Code{rc});
    return true;
}

int Auditor::legal_failed(int rc, uint64_t uncached_before, Range at, Tag t)
{
    if (!blamed_caller(rc, true, at, t))
        refused(false, uncached_before, t);
    return rc;
}

// ---- from the machine ----

void Auditor::writeback_over_stale(uint64_t line_at)
{
    const Range line{line_at, around_.line};
    // Does anybody still wait for what the device wrote there?
    uint64_t lost = line.end();
    for (uint64_t at = line.at; at < line.end() && lost == line.end(); at++) {
        if (!evidence_->first_stale({at, 1}))
            continue;
        const auto awaited = [](uint8_t s) {
            return owner_of(s) == Owner::device && cache_of(s) == CacheState::device_wrote;
        };
        for (uint32_t i = 0; i < blocks_.live_count(); i++)
            if (const BlockRecord& b = blocks_[blocks_.live(i)]; b.noncoherent() && b.at.contains(at))
                lost = awaited(map_.at(at)) ? at : lost;
        for (uint32_t i = 0; i < mappings_.live_count(); i++) {
            // What is stale under the mapping of a device that snoops was left there by another one, and no sync of
            // this mapping would fetch it.
            const MappingRecord& m = mappings_[mappings_.live(i)];
            if (m.target.contains(at) && !coherent(m.device) && awaited(map_.at(m.original.at + (at - m.target.at))))
                lost = at;
        }
    }
    if (lost == line.end())
        return;
    for (uint64_t at = line.at; at < line.end(); at++) {
        const uint8_t s = map_.at(at);
        if (owner_of(s) == Owner::cpu && cache_of(s) == CacheState::cpu_wrote) {
            fail(RuleId::dirty_line_over_device_data, {at, 1}, identity_.at(at),
                 "a line that the CPU dirtied was written back over a device's data");
            return;
        }
    }
    fail(RuleId::dirty_eviction, {lost, 1}, identity_.at(lost),
         "a line that was left dirty was written back over a device's data");
}

// Bytes of what a close gives back while it lives.
bool Auditor::goes_with_close(uint64_t at) const
{
    const auto any = [&](const auto& slots, auto holds) {
        for (uint32_t i = 0; i < slots.live_count(); i++)
            if (holds(slots[slots.live(i)]))
                return true;
        return false;
    };
    const auto in = [at](const auto& r) { return r.at.contains(at); };
    return closing_ && (any(blocks_, in) || any(bufs_, in) ||
                        any(mappings_, [at](const MappingRecord& m) { return m.original.contains(at); }) ||
                        any(sgs_, [at](const SgRecord& g) { return g.hull.contains(at); }));
}

void Auditor::drops_dirty(uint64_t line_at)
{
    map_.for_each_run({line_at, around_.line}, [&](Range run, uint8_t s) {
        if (owner_of(s) != Owner::cpu || !is_initialised(s) || current_.contains(run))
            return;
        for (uint64_t at = run.at; at < run.end(); at++)
            if (!current_.contains(at) && evidence_->byte_dirty(at) && !goes_with_close(at)) {
                fail(RuleId::corrupts_neighbour, {at, 1}, identity_.at(at),
                     "bytes that the CPU wrote, outside the call's range, were dropped from the cache");
                return;
            }
    });
}

bool Auditor::may_uncache(Range r) const
{
    static constexpr auto cached = [] {
        struct Set {
            uint8_t in[256];
        } set{};
        for (unsigned s = 0; s < 256; s++)
            set.in[s] =
                owner_of(static_cast<uint8_t>(s)) == Owner::cpu || owner_of(static_cast<uint8_t>(s)) == Owner::device;
        return set;
    }();
    return !map_.first_in(r, cached.in);
}

} // namespace dmaudit
