#include "harness/room.hpp"

#include <algorithm>
#include <bit>
#include <vector>

namespace dmaudit {
namespace {

// Pages that lie side by side in device addresses.
struct Area {
    uint64_t at; // offset into RAM
    uint64_t bus, bytes;
};
// `base`: the device address from which runs are counted; `lead`: bytes of the run before those that are asked for.
struct Wish {
    uint64_t bytes, align, limit, boundary, base = 0, lead = 0;
};

bool crosses(uint64_t first, uint64_t last, uint64_t boundary)
{
    return boundary != 0 && ((first ^ last) & ~(boundary - 1)) != 0;
}

uint64_t run_of(const World& w, uint64_t bytes)
{
    return std::bit_ceil((bytes - 1) / w.page + 1) * w.page;
}

// What a live bounce buffer takes at most: the aligned run of pages that holds it, or two if it need not be aligned.
Range taken(const Session& s, const MappingRecord& m)
{
    const uint64_t page = s.world().page, offset = s.world().devices[m.device].offset;
    const uint64_t first = m.target.at / page * page, last = (m.target.end() - 1) / page * page + page;
    const uint64_t run = std::bit_ceil((last - first) / page) * page;
    const uint64_t bus = s.machine().phys_of(first) + offset, lead = std::min(bus % run, first);
    const uint64_t tail = (run - (bus + (last - first)) % run) % run;
    return {first - lead, lead + (last - first) + tail};
}

// `but`: a block that does not count.
bool is_free(const Session& s, Range run, Tag but)
{
    const Auditor& a = s.auditor();
    for (uint32_t i = 0; i < a.blocks().live_count(); i++)
        if (const Tag block = a.blocks().live(i); block != but && a.blocks()[block].granted.overlaps(run))
            return false;
    for (uint32_t i = 0; i < a.mappings().live_count(); i++)
        if (const MappingRecord& m = a.mappings()[a.mappings().live(i)]; m.bounced && taken(s, m).overlaps(run))
            return false;
    return true;
}

// A free run of 2^order pages, aligned to its size, at whose start the wish is met.
std::optional<Range> find(const Session& s, const Area& area, const Wish& w, Tag but = 0)
{
    const uint64_t page = s.world().page, run = run_of(s.world(), w.bytes);
    if (area.bytes < run || area.bus % page || area.bus + (area.bytes - 1) < area.bus)
        return {};
    for (uint64_t k = 0; k <= area.bytes - run; k += page) {
        const uint64_t bus = area.bus + k, last = bus + (w.bytes - 1);
        const bool fits = (bus - w.base) % run == 0 && bus % std::max<uint64_t>(w.align, 1) == 0 && last <= w.limit &&
                          !crosses(bus + w.lead, last, w.boundary);
        if (const Range candidate{area.at + k, run}; fits && is_free(s, candidate, but))
            return candidate;
    }
    return {};
}

std::optional<Range> find_in_arenas(const Session& s, uint32_t device, const Wish& wish)
{
    uint64_t at = 0;
    for (unsigned b = 0; b < s.world().n_banks; at += s.world().banks[b++].size)
        if (const auto found = find(
                s, {at, s.world().banks[b].phys + s.world().devices[device].offset, divide(s.world(), b).arena}, wish))
            return found;
    return {};
}

// Is it known what is free? A fault may have been the reason; importers' bounce buffers are not looked at.
bool judges(const Session& s, uint32_t device, uint64_t promise)
{
    const Auditor& a = s.auditor();
    if (s.violation() || s.machine().fault_fired() || device >= s.world().n_devices || a.bufs().live_count())
        return false;
    return a.promises(s.world().devices[device].iommu ? DMAUDIT_PROMISES_COMPLETE_IOVA : promise);
}

// Behind an IOMMU: free I/O virtual pages side by side, the first of them aligned. As many as twice the RAM are looked
// at; page 0 is left to who wants to keep a null address a mistake.
bool has_addresses(const Session& s, uint32_t device, uint64_t bytes, uint64_t align, uint64_t limit)
{
    const uint64_t page = s.world().page, pages = (bytes - 1) / page + 1;
    const uint64_t end = std::min(2 * s.machine().ram_size(), limit + (limit != UINT64_MAX)) / page;
    std::vector<bool> taken(end);
    s.machine().iommu(device).each([&](const Iommu::Page& p, bool) {
        if (p.iova / page < end)
            taken[p.iova / page] = true;
    });
    const uint64_t step = std::max<uint64_t>(align / page, 1);
    for (uint64_t at = step; at + pages <= end; at += step)
        if (std::find(taken.begin() + static_cast<ptrdiff_t>(at), taken.begin() + static_cast<ptrdiff_t>(at + pages),
                      true) == taken.begin() + static_cast<ptrdiff_t>(at + pages))
            return true;
    return false;
}

uint64_t narrowest(uint64_t a, uint64_t b, uint64_t request)
{
    return std::min({a, b, request ? request : UINT64_MAX});
}

// The lowest run of a pool that serves a request.
std::optional<Range> find_in_pool(const Session& s, Tag pool, const dmaudit_request& req, Tag but = 0)
{
    const Range at = s.auditor().pools()[pool].at;
    const DeviceSpec& d = s.world().devices[req.device];
    const uint64_t bus = s.machine().phys_of(at.at) + d.offset;
    return find(s, {at.at, bus, at.len},
                {req.size, req.align, narrowest(d.limit, UINT64_MAX, req.limit), req.boundary, bus}, but);
}

void spurious(Session& s, Range run, Tag object, const char* what)
{
    s.fail({RuleId::spurious_failure, 0, run, object, what});
}

// A request was refused, with whichever code.
bool turned_down(const dmaudit_request& req, int rc)
{
    return rc > DMAUDIT_OK && power_of_two(req.align) && power_of_two(req.boundary);
}

// EMASK and EALIGN speak of addresses: of a request that any address meets they are untrue. `limit`: the last one it
// may have; `addresses`: there are some within it, behind an IOMMU, as it wants them; `keeps`: it asks for bits of
// them.
void untrue(Session& s, const dmaudit_request& req, int rc, uint64_t limit, bool addresses, bool keeps)
{
    const World& w = s.world();
    const DeviceSpec& d = w.devices[req.device];
    uint64_t end = 2 * s.machine().ram_size() - 1; // of what a device behind an IOMMU can be given
    for (unsigned b = 0; b < w.n_banks && !d.iommu; b++)
        if (const uint64_t last = w.banks[b].phys + d.offset + (w.banks[b].size - 1); b == 0 || last > end)
            end = last;
    if (req.size > s.machine().ram_size() ||
        (rc == DMAUDIT_EMASK ? limit < end || !addresses : rc != DMAUDIT_EALIGN || keeps))
        return;
    s.fail({RuleId::wrong_return,
            0,
            {},
            0,
            "any address would have done for this request",
            DMAUDIT_ENOMEM,
            static_cast<uint64_t>(rc),
            Numbers::codes});
}

} // namespace

void check_pool(Session& s, Tag pool, const dmaudit_request& req)
{
    const Auditor& a = s.auditor();
    // First fit speaks of sizes; a pool that leaves what is asked beyond that to others keeps its promise.
    const bool plain = req.align <= s.world().page && !req.limit && !req.boundary;
    if (!judges(s, req.device, plain ? DMAUDIT_PROMISES_FIRST_FIT : DMAUDIT_PROMISES_COMPLETE) || req.size == 0 ||
        !a.pools().alive(pool) || req.size > s.machine().ram_size())
        return;
    if (const auto run = find_in_pool(s, pool, req))
        spurious(s, *run, pool, "the pool has a free aligned run of pages");
}

void check_place(Session& s, Tag block, const dmaudit_request& req)
{
    const BlockRecord& b = s.auditor().blocks()[block];
    if (!judges(s, req.device, DMAUDIT_PROMISES_LOWEST_RUN))
        return;
    const Range pool = s.auditor().pools()[b.pool].at;
    const uint64_t offset = s.world().devices[req.device].offset;
    const auto bus = [&](uint64_t at) { return s.machine().phys_of(at) + offset; };
    if (bus(pool.at) % s.world().page || bus(pool.at) + (pool.len - 1) < bus(pool.at))
        return; // find() knows no runs there
    const auto run = find_in_pool(s, b.pool, req, block);
    if (!run)
        s.fail(
            {RuleId::wrong_return, 0, b.at, block, "a block of a pool, which has no free run that meets the request"});
    else if (run->at != b.at.at)
        s.fail({RuleId::wrong_return, 0, b.at, block, "a block of a pool against its lowest free run", bus(run->at),
                bus(b.at.at), Numbers::values});
}

void check_memory(Session& s, const dmaudit_request& req, int rc, bool pools)
{
    if (!turned_down(req, rc) || req.device >= s.world().n_devices)
        return;
    if (const Tag pool = pools ? s.auditor().pool_of(req.device) : 0) {
        check_pool(s, pool, req);
        if (s.auditor().pools()[pool].exclusive)
            return;
    }
    if (!judges(s, req.device, DMAUDIT_PROMISES_COMPLETE) || req.size == 0 || req.size > s.machine().ram_size())
        return;
    const DeviceSpec& d = s.world().devices[req.device];
    const uint64_t limit = narrowest(d.limit, s.auditor().driver(req.device).coherent_mask, req.limit);
    const uint64_t pages = run_of(s.world(), req.size);
    const bool addresses =
        !d.iommu || (!req.boundary && has_addresses(s, req.device, pages, std::max(req.align, pages), limit));
    const Wish wish = d.iommu ? Wish{req.size, std::min(req.align, s.world().page), UINT64_MAX, 0}
                              : Wish{req.size, req.align, limit, req.boundary};
    if (const auto run = addresses ? find_in_arenas(s, req.device, wish) : std::nullopt)
        return spurious(s, *run, 0, "an arena has a free aligned run of pages that meets the request");
    const uint64_t aligned = d.iommu || d.offset % s.world().page == 0 ? s.world().page : 1; // as any page is
    untrue(s, req, rc, limit, addresses, req.align > aligned || req.boundary || (d.iommu && pages > s.world().page));
}

// A bounce buffer keeps the buffer's place in its line, and the address bits that the driver asked for.
void check_slot(Session& s, const dmaudit_request& req, int rc, Range original)
{
    const Auditor& a = s.auditor();
    const uint64_t page = s.world().page;
    if (!turned_down(req, rc) || !judges(s, req.device, DMAUDIT_PROMISES_COMPLETE) || original.empty() ||
        req.align > page || (req.boundary && req.align > 1) || original.len > s.machine().ram_size())
        return;
    const Auditor::Driver& driver = a.driver(req.device);
    const DeviceSpec& d = s.world().devices[req.device];
    const uint64_t at = s.machine().phys_of(original.at),
                   kept = std::min((s.world().line - 1) | driver.min_align_mask, req.align - 1);
    if (driver.min_align_mask >= page || (req.align > 1 && ((at + d.offset) & kept)))
        return; // no place has both
    const uint64_t lead = at & ((s.world().line - 1) | driver.min_align_mask);
    const uint64_t limit = narrowest(d.limit, driver.mask, req.limit);
    // Behind an IOMMU in place or bounced: there are addresses for both.
    const bool addresses =
        !d.iommu || ((req.align <= 1 || at % req.align == 0) &&
                     (!req.boundary || (req.boundary < page && a.promises(DMAUDIT_PROMISES_BOUNCE))) &&
                     !crosses(lead, lead + original.len - 1, req.boundary) &&
                     has_addresses(s, req.device, at % page + original.len, 1, limit) &&
                     has_addresses(s, req.device, lead + original.len, 1, limit));
    const Wish wish = d.iommu ? Wish{lead + original.len, 1, UINT64_MAX, 0}
                              : Wish{lead + original.len, 1, limit, req.boundary, 0, lead};
    if (const auto run = addresses ? find_in_arenas(s, req.device, wish) : std::nullopt)
        return spurious(s, *run, 0, "an arena has room for a bounce buffer that the device can reach");
    untrue(s, req, rc, limit, addresses, req.align > 1 || driver.min_align_mask || req.boundary);
}

void check_mask(Session& s, uint32_t device, uint64_t mask)
{
    if (!judges(s, device, DMAUDIT_PROMISES_COMPLETE))
        return;
    const uint64_t page = s.world().page;
    const DeviceSpec& d = s.world().devices[device];
    const uint64_t reach = std::min(d.limit, mask);
    bool serves = d.iommu && reach >= 2 * page - 1; // page 0 may be nobody's
    for (unsigned b = 0; b < s.world().n_banks && !d.iommu; b++) {
        const uint64_t first = s.world().banks[b].phys + d.offset;
        serves |= first % page == 0 && first + (page - 1) >= first && first + (page - 1) <= reach;
    }
    if (serves)
        s.fail({RuleId::spurious_failure, 0, {}, 0, "a mask that leaves the device a page was refused"});
}

} // namespace dmaudit
