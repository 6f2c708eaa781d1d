// For tests of the auditor alone: a machine that answers as a test says, and a provider that does as a test says. Each
// rule that the auditor itself can raise has a test that breaks it, a near miss that does not, and, where it rests on a
// promise, the same call by a provider that never promised.
#pragma once
#include "shadow/auditor.hpp"

#include "shadow/asan.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <set>
#include <string>

namespace dmaudit::fakes {

// ---- a machine of plain memory, with scripted answers ----

constexpr uint64_t page = 4096, line = 64, ram_bytes = 16 * page;
constexpr uint64_t phys_base = 0x80000000;
constexpr Range arena{0, 8 * page}, pool_memory{8 * page, 4 * page}, client_memory{12 * page, 4 * page};
constexpr uint32_t nc = 0, snooping = 1, other_nc = 2; // devices
constexpr uint64_t device_limit = 0x8fffffff;

struct FakeMachine final : Evidence {
    std::vector<uint8_t> ram = std::vector<uint8_t>(ram_bytes, 0x81), client = std::vector<uint8_t>(ram_bytes);
    std::array<Surroundings::Device, 3> devices{
        {{device_limit, 0, false}, {device_limit, 0, true}, {~uint64_t{0}, 0x100000000, false}}};
    std::set<uint64_t> differs, dirty, stale; // bytes
    std::set<uint64_t> uncached_at;           // pages
    uint64_t more_uncached = 0;
    uint64_t kept_translations = 0;
    bool fault = false;
    std::vector<Range> written, reloaded;

    // Behind an IOMMU all of RAM has one place among the device's addresses, and pages of it are mapped or not.
    uint64_t iova_base = 0x100000;
    struct Translation {
        uint64_t at;
        bool reads, writes;
        unsigned users;
    };
    std::map<uint64_t, Translation> iommu; // of the one device that has an IOMMU, by address of the page

    uint64_t bus(uint32_t device, uint64_t at) const
    {
        return (devices[device].iommu ? iova_base : phys_base) + at + devices[device].offset;
    }
    void give(uint32_t device, uint64_t bus_at, uint64_t len, bool reads = true, bool writes = true)
    {
        if (devices[device].iommu)
            for (const uint64_t at : pages_of(bus_at, len)) {
                Translation& t = iommu.try_emplace(at, Translation{at - iova_base, false, false, 0}).first->second;
                t = {t.at, t.reads || reads, t.writes || writes, t.users + 1};
            }
    }
    void take(uint32_t device, uint64_t bus_at, uint64_t len)
    {
        if (devices[device].iommu)
            for (const uint64_t at : pages_of(bus_at, len))
                if (const auto it = iommu.find(at); it != iommu.end() && --it->second.users == 0)
                    iommu.erase(it);
    }
    // Addresses of the pages; the last page of all is one, too.
    static std::vector<uint64_t> pages_of(uint64_t bus_at, uint64_t len)
    {
        std::vector<uint64_t> all;
        for (uint64_t n = bus_at / page; n <= (bus_at + (len - 1)) / page; n++)
            all.push_back(n * page);
        return all;
    }
    std::optional<uint64_t> translate(unsigned device, uint64_t bus_at, uint64_t len) const override
    {
        if (!devices[device].iommu)
            return offset_of(bus_at - devices[device].offset, len);
        return in_iommu(bus_at, len, false, false);
    }
    bool reaches(unsigned device, uint64_t bus_at, uint64_t len, bool reads, bool writes) const override
    {
        return devices[device].iommu ? in_iommu(bus_at, len, reads, writes).has_value()
                                     : translate(device, bus_at, len).has_value();
    }
    std::optional<uint64_t> in_iommu(uint64_t bus_at, uint64_t len, bool reads, bool writes) const
    {
        std::optional<uint64_t> first;
        if (len > ram_bytes || bus_at + len - 1 < bus_at)
            return {};
        for (const uint64_t at : pages_of(bus_at, std::max<uint64_t>(len, 1))) {
            const auto it = iommu.find(at);
            if (it == iommu.end() || (reads && !it->second.reads) || (writes && !it->second.writes))
                return {};
            if (!first)
                first = it->second.at + bus_at % page;
            else if (it->second.at != (*first & ~(page - 1)) + (at - (bus_at & ~(page - 1))))
                return {};
        }
        return first;
    }
    std::optional<uint64_t> offset_of(uint64_t phys, uint64_t len) const override
    {
        const uint64_t at = phys - phys_base;
        return at < ram_bytes && len <= ram_bytes - at ? std::optional(at) : std::nullopt;
    }
    uint64_t phys_of(uint64_t at) const override { return phys_base + at; }
    static std::optional<uint64_t> first(const std::set<uint64_t>& bytes, Range r)
    {
        const auto it = bytes.lower_bound(r.at);
        return it != bytes.end() && *it < r.end() ? std::optional(*it) : std::nullopt;
    }
    std::optional<uint64_t> first_difference(Range r) const override { return first(differs, r); }
    std::optional<uint64_t> first_dirty(Range r) const override { return first(dirty, r.lines(line)); }
    bool byte_dirty(uint64_t at) const override { return dirty.contains(at); }
    std::optional<uint64_t> first_stale(Range r) const override
    {
        const auto at = stale.lower_bound(r.at);
        return at != stale.end() && *at < r.end() ? std::optional(*at) : std::nullopt;
    }
    bool uncached(Range r) const override
    {
        for (uint64_t at = r.at & ~(page - 1); at < r.end(); at += page)
            if (!uncached_at.contains(at))
                return false;
        return true;
    }
    uint64_t uncached_pages() const override { return uncached_at.size() + more_uncached; }
    uint64_t translations_added() const override { return kept_translations; }
    bool fault_injected() const override { return fault; }
    void reload(Range r) override { reloaded.push_back(r); }
    void wrote(Range r) override { written.push_back(r); }
};

// ---- a provider that is right until a test replaces a call ----

struct FakeProvider {
    FakeMachine& machine;
    unsigned calls = 0;
    uint64_t next = arena.at, next_in_pool = pool_memory.at;
    uint32_t exclusive = 0;
    dmaudit_coherent coherent{};
    dmaudit_streaming streaming{};
    dmaudit_pool pool{};
    dmaudit_scatter scatter{};
    dmaudit_provider table{};

    std::function<int(const dmaudit_request&, dmaudit_block&)> alloc =
        [this](const dmaudit_request& r, dmaudit_block& b) { return good_alloc(r, b); };
    std::function<int(const dmaudit_block&)> free = [this](const dmaudit_block& b) {
        machine.take(b.device, b.bus, b.size);
        return DMAUDIT_OK;
    };
    std::function<int(const dmaudit_block&, uint64_t, uint64_t, dmaudit_window&)> mmap_block =
        [this](const dmaudit_block& b, uint64_t pgoff, uint64_t pages, dmaudit_window& w) {
            const uint64_t count = (b.size + page - 1) / page;
            if (pages == 0 || pgoff >= count || pages > count - pgoff)
                return DMAUDIT_ENXIO;
            w.phys = phys_base + *machine.translate(b.device, b.bus, 1) + pgoff * page;
            w.size = pages * page;
            return DMAUDIT_OK;
        };
    std::function<int(const dmaudit_request&, uint32_t, dmaudit_block&)> alloc_cached =
        [this](const dmaudit_request& r, uint32_t d, dmaudit_block& b) { return good_alloc_cached(r, d, b); };
    std::function<int(const dmaudit_block&, uint32_t)> free_cached = [this](const dmaudit_block& b, uint32_t) {
        machine.take(b.device, b.bus, b.size);
        return DMAUDIT_OK;
    };
    std::function<int(const dmaudit_block&, uint64_t, uint64_t, uint32_t, uint32_t)> sync_cached =
        [](const dmaudit_block&, uint64_t, uint64_t, uint32_t, uint32_t) { return DMAUDIT_OK; };
    std::function<int(const dmaudit_request&, dmaudit_sg&)> map_sg = [this](const dmaudit_request& r, dmaudit_sg& sg) {
        return good_map_sg(r, sg);
    };
    std::function<int(const dmaudit_sg&, uint32_t, uint32_t)> unmap_sg = [this](const dmaudit_sg& sg, uint32_t,
                                                                                uint32_t) {
        for (uint32_t i = 0; i < sg.n_segments; i++)
            machine.take(sg.device, sg.segments[i].bus, sg.segments[i].length);
        return DMAUDIT_OK;
    };
    std::function<int(const dmaudit_sg&, uint32_t, uint32_t, uint32_t)> sync_sg =
        [](const dmaudit_sg&, uint32_t, uint32_t, uint32_t) { return DMAUDIT_OK; };
    std::function<int(const dmaudit_request&, uint8_t*, uint32_t, dmaudit_mapping&)> map =
        [this](const dmaudit_request& r, uint8_t* cpu, uint32_t d, dmaudit_mapping& m) {
            return good_map(r, cpu, d, m);
        };
    std::function<int(const dmaudit_mapping&, uint64_t, uint32_t)> unmap = [this](const dmaudit_mapping& m, uint64_t,
                                                                                  uint32_t) {
        machine.take(m.device, m.bus, m.size);
        return DMAUDIT_OK;
    };
    std::function<int(const dmaudit_mapping&, uint64_t, uint64_t, uint32_t, uint32_t)> sync =
        [](const dmaudit_mapping&, uint64_t, uint64_t, uint32_t, uint32_t) { return DMAUDIT_OK; };
    std::function<int(uint8_t*, uint64_t, uint32_t)> cache = [](uint8_t*, uint64_t, uint32_t) { return DMAUDIT_OK; };
    std::function<int(uint32_t, uint64_t, uint64_t, uint32_t&)> declare = [this](uint32_t, uint64_t, uint64_t size,
                                                                                 uint32_t& e) {
        return size ? (exclusive = e, DMAUDIT_OK) : DMAUDIT_EINVAL;
    };
    std::function<int(uint32_t, uint64_t, dmaudit_block&, int&)> alloc_from =
        [this](uint32_t d, uint64_t size, dmaudit_block& b, int& ours) { return good_alloc_from(d, size, b, ours); };
    std::function<int(uint32_t, uint32_t, uint8_t*, int&)> release_from = [this](uint32_t, uint32_t, const uint8_t* cpu,
                                                                                 int& ours) {
        ours = pool_memory.contains(static_cast<uint64_t>(cpu - machine.ram.data()));
        return DMAUDIT_OK;
    };
    std::function<int(uint8_t*, uint64_t, uint64_t, uint64_t, dmaudit_window&, int&)> mmap =
        [this](const uint8_t* cpu, uint64_t size, uint64_t pgoff, uint64_t pages, dmaudit_window& w, int& ours) {
            const auto at = static_cast<uint64_t>(cpu - machine.ram.data());
            ours = pool_memory.contains(at);
            if (!ours)
                return DMAUDIT_OK;
            const uint64_t count = (size + page - 1) / page;
            if (pages == 0 || pgoff >= count || pages > count - pgoff)
                return DMAUDIT_ENXIO;
            w.phys = phys_base + at + pgoff * page;
            w.size = pages * page;
            return DMAUDIT_OK;
        };
    std::function<int(uint32_t)> release = [](uint32_t) { return DMAUDIT_OK; };

    FakeProvider(FakeMachine& m, uint64_t promises) : machine(m)
    {
        coherent = {sizeof coherent,
                    0,
                    [](void* c, const dmaudit_request* r, dmaudit_block* b) { return of(c).alloc(*r, *b); },
                    [](void* c, const dmaudit_block* b) { return of(c).free_and_cache(*b); },
                    [](void* c, const dmaudit_block* b, uint64_t pgoff, uint64_t pages, dmaudit_window* w) {
                        return of(c).mmap_block(*b, pgoff, pages, *w);
                    },
                    [](void* c, const dmaudit_request* r, uint32_t d, dmaudit_block* b) {
                        return of(c).alloc_cached(*r, d, *b);
                    },
                    [](void* c, const dmaudit_block* b, uint32_t d) { return of(c).free_cached(*b, d); },
                    [](void* c, const dmaudit_block* b, uint64_t off, uint64_t len, uint32_t d, uint32_t phase) {
                        return of(c).sync_cached(*b, off, len, d, phase);
                    }};
        scatter = {
            sizeof scatter, 0, [](void* c, const dmaudit_request* r, dmaudit_sg* sg) { return of(c).map_sg(*r, *sg); },
            [](void* c, const dmaudit_sg* sg, uint32_t n, uint32_t attrs) { return of(c).unmap_sg(*sg, n, attrs); },
            [](void* c, const dmaudit_sg* sg, uint32_t n, uint32_t d, uint32_t phase) {
                return of(c).sync_sg(*sg, n, d, phase);
            }};
        streaming = {sizeof streaming,
                     0,
                     [](void* c, const dmaudit_request* r, void* cpu, uint32_t d, dmaudit_mapping* m_) {
                         return of(c).map(*r, static_cast<uint8_t*>(cpu), d, *m_);
                     },
                     [](void* c, const dmaudit_mapping* m_, uint64_t used, uint32_t attrs) {
                         return of(c).unmap(*m_, used, attrs);
                     },
                     [](void* c, const dmaudit_mapping* m_, uint64_t off, uint64_t len, uint32_t d, uint32_t phase) {
                         return of(c).sync(*m_, off, len, d, phase);
                     },
                     [](void* c, void* cpu, uint64_t len, uint32_t op) {
                         return of(c).cache(static_cast<uint8_t*>(cpu), len, op);
                     }};
        pool = {sizeof pool,
                0,
                [](void* c, uint32_t d, uint64_t phys, uint64_t bus, uint64_t size, uint32_t* e) {
                    return bus ? of(c).declare(d, phys, size, *e) : DMAUDIT_EIO;
                },
                [](void* c, uint32_t d, uint64_t size, dmaudit_block* b, int* ours) {
                    return of(c).alloc_from(d, size, *b, *ours);
                },
                [](void* c, uint32_t d, uint32_t order, void* cpu, int* ours) {
                    return of(c).release_from(d, order, static_cast<uint8_t*>(cpu), *ours);
                },
                [](void* c, uint32_t, void* cpu, uint64_t size, uint64_t pgoff, uint64_t pages, dmaudit_window* w,
                   int* ours) { return of(c).mmap(static_cast<uint8_t*>(cpu), size, pgoff, pages, *w, *ours); },
                [](void* c, uint32_t d) { return of(c).release(d); }};
        table = {DMAUDIT_ABI, sizeof table, "fake",     "for tests", promises, nullptr,
                 nullptr,     &coherent,    &streaming, &pool,       &scatter};
    }
    FakeProvider(const FakeProvider&) = delete;
    static FakeProvider& of(void* ctx)
    {
        auto& p = *static_cast<FakeProvider*>(ctx);
        p.calls++;
        return p;
    }

    void fill(dmaudit_block& b, uint32_t device, uint64_t at, uint64_t size) const
    {
        b.device = device;
        b.cpu = machine.ram.data() + at;
        b.bus = machine.bus(device, at);
        b.size = size;
        b.granted = (size + page - 1) / page * page;
        std::memset(b.cpu, 0, size);
        for (uint64_t p = at & ~(page - 1); p < at + b.granted; p += page)
            machine.uncached_at.insert(p);
    }
    int good_alloc(const dmaudit_request& r, dmaudit_block& b)
    {
        if (r.size == 0 || (r.align & (r.align - 1)))
            return DMAUDIT_EINVAL;
        const uint64_t align = std::max(page, r.align);
        const uint64_t at = (next + align - 1) / align * align;
        if (r.size > arena.end() - at)
            return DMAUDIT_ENOMEM;
        fill(b, r.device, at, r.size);
        machine.give(b.device, b.bus, b.size);
        if ((r.attrs & DMAUDIT_ATTR_NO_KERNEL_MAPPING) && (table.promises & DMAUDIT_PROMISES_NO_KERNEL_MAPPING))
            b.cpu = nullptr;
        next = at + b.granted;
        return DMAUDIT_OK;
    }
    int good_alloc_cached(const dmaudit_request& r, uint32_t direction, dmaudit_block& b)
    {
        if (r.size == 0)
            return DMAUDIT_EINVAL;
        if (r.size > arena.end() - next)
            return DMAUDIT_ENOMEM;
        fill(b, r.device, next, r.size);
        for (uint64_t p = next; p < next + b.granted; p += page)
            machine.uncached_at.erase(p);
        machine.give(b.device, b.bus, b.size, direction != DMAUDIT_FROM_DEVICE, direction != DMAUDIT_TO_DEVICE);
        next += b.granted;
        return DMAUDIT_OK;
    }
    bool caches_again = true;
    int free_and_cache(const dmaudit_block& b)
    {
        const int rc = free(b);
        if (rc == DMAUDIT_OK && caches_again) // one without a CPU address lies where the device sees it
            std::erase_if(machine.uncached_at, [&](uint64_t p) {
                return machine.bus(b.device, p) + page > b.bus && machine.bus(b.device, p) < b.bus + b.granted;
            });
        return rc;
    }
    // One segment for each entry, or one for neighbours that adjoin.
    int good_map_sg(const dmaudit_request& r, dmaudit_sg& sg, bool merges = false) const
    {
        if (sg.n_entries == 0)
            return DMAUDIT_EINVAL;
        for (uint32_t i = 0; i < sg.n_entries; i++)
            if (sg.entries[i].length == 0)
                return DMAUDIT_EINVAL;
        sg.n_segments = 0;
        for (uint32_t i = 0; i < sg.n_entries; i++) {
            const auto at = static_cast<uint64_t>(static_cast<const uint8_t*>(sg.entries[i].cpu) - machine.ram.data());
            const uint64_t bus = machine.bus(r.device, at);
            if (dmaudit_sg_segment* last = sg.n_segments ? &sg.segments[sg.n_segments - 1] : nullptr;
                merges && last && last->bus + last->length == bus)
                last->length += sg.entries[i].length;
            else
                sg.segments[sg.n_segments++] = {bus, sg.entries[i].length};
        }
        for (uint32_t i = 0; i < sg.n_segments; i++)
            machine.give(r.device, sg.segments[i].bus, sg.segments[i].length, sg.direction != DMAUDIT_FROM_DEVICE,
                         sg.direction != DMAUDIT_TO_DEVICE);
        return DMAUDIT_OK;
    }
    int good_alloc_from(uint32_t device, uint64_t size, dmaudit_block& b, int& ours)
    {
        ours = 1;
        if (size == 0)
            return DMAUDIT_EINVAL;
        if (size > pool_memory.end() - next_in_pool) {
            ours = exclusive != 0;
            return DMAUDIT_ENOMEM;
        }
        fill(b, device, next_in_pool, size);
        next_in_pool += b.granted;
        return DMAUDIT_OK;
    }
    int good_map(const dmaudit_request& r, const uint8_t* cpu, uint32_t direction, dmaudit_mapping& m) const
    {
        if (r.size == 0 || cpu == nullptr || (r.align & (r.align - 1)))
            return DMAUDIT_EINVAL;
        m.device = r.device;
        m.cpu = const_cast<uint8_t*>(cpu);
        m.bus = machine.bus(r.device, static_cast<uint64_t>(cpu - machine.ram.data()));
        m.size = r.size;
        m.direction = direction;
        machine.give(r.device, m.bus, m.size, direction != DMAUDIT_FROM_DEVICE, direction != DMAUDIT_TO_DEVICE);
        return DMAUDIT_OK;
    }
    // What the next blocks, mappings or windows look like, once the call has been made rightly.
    void block_lies(const std::function<void(dmaudit_block&)>& lie)
    {
        alloc = [this, lie](const dmaudit_request& r, dmaudit_block& b) {
            const int rc = good_alloc(r, b);
            lie(b);
            return rc;
        };
        alloc_from = [this, lie](uint32_t d, uint64_t size, dmaudit_block& b, int& ours) {
            const int rc = good_alloc_from(d, size, b, ours);
            lie(b);
            return rc;
        };
    }
    void list_lies(const std::function<void(dmaudit_sg&)>& lie)
    {
        map_sg = [this, lie](const dmaudit_request& r, dmaudit_sg& sg) {
            const int rc = good_map_sg(r, sg);
            lie(sg);
            return rc;
        };
    }
    void mapping_lies(const std::function<void(dmaudit_mapping&)>& lie)
    {
        map = [this, lie](const dmaudit_request& r, uint8_t* cpu, uint32_t d, dmaudit_mapping& m) {
            const int rc = good_map(r, cpu, d, m);
            lie(m);
            return rc;
        };
    }
    void bounce_to(uint64_t slot, bool copy = true)
    {
        mapping_lies([this, slot, copy](dmaudit_mapping& m) {
            m.bus = machine.bus(m.device, slot);
            if (copy)
                std::memcpy(machine.ram.data() + slot, m.cpu, m.size);
        });
    }
};

} // namespace dmaudit::fakes
