#include "harness/model.hpp"

#include <algorithm>
#include <bit>

namespace dmaudit {

namespace {

// Lines of the client's, from the end of its memory on, mapped all at once; where the device gets at them in place
// nothing is scarce, and one is enough.
uint64_t mappings_at_once(Session& s, uint32_t device)
{
    Auditor& a = s.auditor();
    const World& w = s.world();
    if (!DMAUDIT_HAS(&a.provider(), streaming) || !DMAUDIT_HAS(a.provider().streaming, map_single) ||
        !DMAUDIT_HAS(a.provider().streaming, unmap_single))
        return 0;
    const uint64_t line = std::max<uint64_t>(w.line, 64), space = client_space(w);
    struct Mapped {
        Tag buffer;
        dmaudit_mapping mapping;
    };
    std::array<Mapped, 32> all{};
    uint64_t n = 0;
    for (bool scarce = true; scarce && n < all.size() && (n + 1) * line <= space && !s.violation();) {
        const auto at = client_offset(w, space - (n + 1) * line, line);
        all[n].buffer = at ? a.add_buffer({*at, line}) : 0;
        if (!all[n].buffer)
            break;
        const dmaudit_request req{sizeof req, device, line, 0, 0, 0, 0, 0};
        all[n].mapping.struct_size = sizeof all[n].mapping;
        s.machine().begin_call();
        const int rc = a.map_single(req, s.machine().client() + *at, DMAUDIT_FROM_DEVICE, &all[n].mapping);
        s.machine().end_call();
        if (s.violation())
            break;
        if (rc != DMAUDIT_OK) {
            a.remove_buffer(all[n].buffer);
            break;
        }
        const auto t = static_cast<Tag>(all[n].mapping.cookie[0]);
        a.mapping_error(t);
        scarce = a.mappings()[t].bounced || w.devices[device].iommu;
        n++;
    }
    for (uint64_t i = n; i-- > 0 && !s.violation();) {
        a.unmap_single(all[i].mapping, every_byte, 0);
        if (!s.violation())
            a.remove_buffer(all[i].buffer);
    }
    return n;
}

uint64_t bytes_at_once(Session& s, uint32_t device)
{
    Auditor& a = s.auditor();
    if (!DMAUDIT_HAS(&a.provider(), coherent) || !DMAUDIT_HAS(a.provider().coherent, alloc) ||
        !DMAUDIT_HAS(a.provider().coherent, free))
        return 0;
    uint64_t largest = 0, sum = 0;
    for (unsigned b = 0; b < s.world().n_banks; b++)
        largest = std::max(largest, std::bit_floor(divide(s.world(), b).arena / s.world().page) * s.world().page);
    std::array<dmaudit_block, 64> blocks{};
    unsigned n = 0;
    for (uint64_t size = largest; size >= s.world().page && n < blocks.size() && !s.violation();) {
        const dmaudit_request req{sizeof req, device, size, 0, 0, 0, 0, 0};
        s.machine().begin_call();
        const int rc = a.alloc_coherent(req, &blocks[n]);
        s.machine().end_call();
        if (rc == DMAUDIT_OK)
            n++, sum += size;
        else
            size /= 2;
    }
    while (n-- != 0 && !s.violation())
        a.free_coherent(blocks[n]);
    return sum;
}

} // namespace

Capacity capacity(Session& s, uint32_t device)
{
    const uint64_t bytes = bytes_at_once(s, device);
    return {bytes, bytes || s.violation() ? 0 : mappings_at_once(s, device)};
}

void FirstRequests::coherent(const dmaudit_request& req, Tag pool, const Auditor&)
{
    // One that no pool served rather than one of a pool, which may be gone by then.
    if (!coherent_.known || (coherent_.pool && !pool) || (coherent_.pool == pool && req.size > coherent_.req.size))
        coherent_ = {req, pool, true, step_};
}
void FirstRequests::from_pool(Tag pool, uint64_t size)
{
    if (!pool_.known || pool_.pool != pool || size > pool_.size)
        pool_ = {pool, size, true, step_};
}
void FirstRequests::mapping(const dmaudit_request& req, uint64_t at, uint32_t direction, bool bounced,
                            uint64_t min_align_mask)
{
    // Slots are scarcer than device addresses.
    if (!mapping_.known || (bounced && !mapping_.bounced) ||
        (bounced == mapping_.bounced && req.size > mapping_.req.size))
        mapping_ = {req, at, min_align_mask, direction, bounced, true, step_};
}

void FirstRequests::noncoherent(const dmaudit_request& req, uint32_t direction, Auditor::Via via)
{
    if (!noncoherent_.known || req.size > noncoherent_.req.size)
        noncoherent_ = {req, direction, via, true, step_};
}
void FirstRequests::repeat(Session& s) const
{
    Auditor& a = s.auditor();
    // Under the mask that it was had under: under another the slot may lie where a boundary is in its way.
    const auto under = [&](uint32_t device, uint64_t mask, auto&& f) {
        if (mask)
            a.set_min_align_mask(device, mask);
        const int rc = f();
        if (rc == Auditor::withheld)
            s.forgive(); // the buffer is gone
        if (mask && !s.violation())
            a.set_min_align_mask(device, 0);
        return rc;
    };
    const auto lost = [&s](const char* what, int step) {
        s.fail({RuleId::lost_capacity, 0, {}, 0, what, 0, 0, Numbers::none, step});
    };
    if (coherent_.known && a.pool_of(coherent_.req.device) == coherent_.pool) {
        dmaudit_block b{};
        const int rc = a.alloc_coherent(coherent_.req, &b);
        if (rc != DMAUDIT_OK)
            return lost("everything was given back, and the largest coherent allocation of the case fails now",
                        coherent_.step);
        if (!s.violation())
            a.free_coherent(b);
    }
    if (pool_.known && a.pools().alive(pool_.pool) && !s.violation()) {
        dmaudit_block b{};
        int ours = 0;
        const int rc = a.alloc_from_pool(pool_.pool, pool_.size, &b, &ours);
        if (rc != DMAUDIT_OK || !ours)
            return lost("everything was given back, and the largest allocation from the pool fails now", pool_.step);
        if (!s.violation())
            a.release_from_pool(b, &ours);
    }
    if (noncoherent_.known && !s.violation()) {
        dmaudit_block b{};
        const int rc = a.alloc_noncoherent(noncoherent_.req, noncoherent_.direction, &b, noncoherent_.via);
        if (rc != DMAUDIT_OK)
            return lost("everything was given back, and the largest non-coherent allocation of the case fails now",
                        noncoherent_.step);
        if (!s.violation())
            a.free_noncoherent(b, noncoherent_.direction, noncoherent_.via);
    }
    if (mapping_.known && !s.violation()) {
        dmaudit_mapping m{};
        const int rc = under(mapping_.req.device, mapping_.min_align_mask, [&] {
            return a.map_single(mapping_.req, s.machine().client() + mapping_.at, mapping_.direction, &m);
        });
        if (rc == Auditor::withheld)
            return;
        if (rc != DMAUDIT_OK)
            return lost("everything was given back, and the largest mapping of the case fails now", mapping_.step);
        if (!s.violation())
            a.unmap_single(m, every_byte, DMAUDIT_ATTR_SKIP_CPU_SYNC); // nothing of the buffer is read any more
    }
}

} // namespace dmaudit
