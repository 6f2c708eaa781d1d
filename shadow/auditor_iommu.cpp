// What an IOMMU lets a device do: no longer than it may, no more than it may, and nothing beside.
#include "shadow/auditor.hpp"

#include <algorithm>

namespace dmaudit {
namespace {

// Bytes that belong to somebody.
constexpr auto owned = [] {
    struct Set {
        uint8_t in[256];
    } set{};
    for (unsigned s = 0; s < 256; s++) {
        const Owner o = owner_of(static_cast<uint8_t>(s));
        set.in[s] = o == Owner::cpu || o == Owner::device || o == Owner::shared || o == Owner::opaque;
    }
    return set;
}();

} // namespace

// What was unmapped or freed is out of the device's reach, but for pages that others of its mappings share.
bool Auditor::check_unreachable(uint32_t device, uint64_t bus, Range gone, Tag t)
{
    if (const auto at = first_translated(device, bus, gone, 0))
        return fail(RuleId::still_reachable, gone, t, "the IOMMU still translates an address of it", 0, *at), false;
    return true;
}

// The first page of a range that the IOMMU translates, for nobody but (if it is alive still) `self`.
std::optional<uint64_t> Auditor::first_translated(uint32_t device, uint64_t bus, Range gone, Tag self) const
{
    if (!iommu(device) || !audits_ || promises(DMAUDIT_TRAIT_LAZY_FLUSH) || gone.empty())
        return {};
    // By page numbers: the last page of all ends where no Range can.
    const auto shared = [&](uint32_t owner, uint64_t first, uint64_t len, uint64_t page) {
        return owner == device && first / around_.page <= page && page <= (first + (len - 1)) / around_.page;
    };
    for (uint64_t page = bus / around_.page; page <= (bus + (gone.len - 1)) / around_.page; page++) {
        if (!evidence_->translate(device, page * around_.page, 1))
            continue;
        bool used = false;
        for (uint32_t i = 0; i < mappings_.live_count() && !used; i++) {
            const MappingRecord& m = mappings_[mappings_.live(i)];
            used = shared(m.device, m.inner.bus, m.original.len, page);
        }
        for (uint32_t i = 0; i < attachments_.live_count() && !used; i++) {
            const AttachmentRecord& a = attachments_[attachments_.live(i)];
            for (uint32_t k = 0; k < a.n && a.mapped && !used; k++)
                used = shared(a.device, a.segments[k].bus, a.segments[k].length, page);
        }
        for (uint32_t i = 0; i < blocks_.live_count() && !used; i++) {
            const BlockRecord& b = blocks_[blocks_.live(i)];
            used = blocks_.live(i) != self && shared(b.device, b.inner.bus, b.at.len, page);
        }
        if (!used)
            return page * around_.page;
    }
    return {};
}

// A new mapping of `bytes` in a direction: may the device do what that direction does not say? A page that another of
// its mappings uses as well may be open for that one.
bool Auditor::check_rights(uint32_t device, uint64_t bus, Range bytes, Direction d, Tag t)
{
    if (!iommu(device) || !audits_ || !promises(DMAUDIT_PROMISES_RIGHTS) || d == Direction::bi || bytes.empty())
        return true;
    const bool write = d == Direction::to; // what it may not
    const uint64_t last = bus + (bytes.len - 1);
    for (uint64_t page = bus / around_.page; page <= last / around_.page; page++) {
        const uint64_t at = std::max(bus, page * around_.page);
        if (!evidence_->reaches(device, at, 1, !write, write))
            continue;
        const auto explains = [&](uint32_t owner, uint64_t first, uint64_t len, Direction other) {
            return owner == device && other != d && first / around_.page <= page &&
                   page <= (first + (len - 1)) / around_.page;
        };
        bool used = false;
        for (uint32_t i = 0; i < mappings_.live_count() && !used; i++) {
            const MappingRecord& m = mappings_[mappings_.live(i)];
            used = explains(m.device, m.inner.bus, m.original.len, m.direction);
        }
        for (uint32_t i = 0; i < attachments_.live_count() && !used; i++) {
            const AttachmentRecord& a = attachments_[attachments_.live(i)];
            for (uint32_t k = 0; k < a.n && a.mapped && !used; k++)
                used = explains(a.device, a.segments[k].bus, a.segments[k].length, a.direction);
        }
        for (uint32_t i = 0; i < blocks_.live_count() && !used; i++) {
            const BlockRecord& b = blocks_[blocks_.live(i)];
            used = explains(b.device, b.inner.bus, b.at.len, b.noncoherent() ? b.direction : Direction::bi);
        }
        if (!used)
            return fail(RuleId::excess_rights, {bytes.at + (at - bus), 1}, t,
                        write ? "the device may write what is mapped to_device"
                              : "the device may read what is mapped from_device",
                        0, at),
                   false;
    }
    return true;
}

// The rest of the first and the last page of a new mapping: is it somebody's, and no mapping of the same device?
bool Auditor::check_isolated(const MappingRecord& m, Tag t)
{
    if (!iommu(m.device) || !audits_ || !promises(DMAUDIT_PROMISES_ISOLATION))
        return true;
    const Range pages = m.target.lines(around_.page);
    const Range beside[] = {{pages.at, m.target.at - pages.at}, {m.target.end(), pages.end() - m.target.end()}};
    for (const Range& r : beside) {
        uint64_t seen = every_byte; // none
        map_.for_each_run(r, [&](Range run, uint8_t s) {
            for (uint64_t at = run.at; owned.in[s] && at < run.end() && seen == every_byte; at++) {
                seen = at;
                for (uint32_t i = 0; i < mappings_.live_count() && seen == at; i++)
                    if (const MappingRecord& o = mappings_[mappings_.live(i)];
                        o.device == m.device && o.target.contains(at))
                        seen = every_byte;
            }
        });
        for (uint32_t i = 0; i < mappings_.live_count() && seen == every_byte; i++)
            if (const MappingRecord& o = mappings_[mappings_.live(i)];
                o.bounced && o.device != m.device && o.target.overlaps(r))
                seen = o.target.intersect(r).at;
        if (seen != every_byte)
            return fail(RuleId::exposes_neighbour, {seen, 1}, t,
                        "a byte beside the mapping, in its page, is within the device's reach"),
                   false;
    }
    return true;
}

} // namespace dmaudit
