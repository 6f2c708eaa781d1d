// What an allocator owes of IOMMUs, opaque memory and scatterlists, one property each, checked against the provider's
// own table: nothing here asks the auditor.
#include "properties/bare.hpp"
#include "properties/support.hpp"

#include <algorithm>
#include <gtest/gtest.h>

namespace dmaudit::properties {
namespace {

// As generated cases have them, but every device is behind an IOMMU.
World behind_iommus(Rng& rng)
{
    World w = some_world(rng);
    for (unsigned d = 0; d < w.n_devices; d++) {
        w.devices[d].iommu = 1;
        w.devices[d].offset = 0;
        if (rng.chance(1, 2))
            w.devices[d].limit = all_ones;
    }
    RC_ASSERT(world_error(w) == "");
    return w;
}

dmaudit_request asks(Rng& rng, const World& w, uint64_t size)
{
    return {sizeof(dmaudit_request), static_cast<uint32_t>(rng.below(w.n_devices)), size, 0, 0, 0, 0, 0};
}

uint32_t some_direction(Rng& rng)
{
    constexpr uint32_t all[] = {DMAUDIT_TO_DEVICE, DMAUDIT_FROM_DEVICE, DMAUDIT_BIDIRECTIONAL};
    return all[rng.below(3)];
}

// A scatterlist over parts of the clients' memory that do not overlap, in any order; some adjoin.
class List {
  public:
    List(Bare& bare, Rng& rng, uint32_t direction)
    {
        const uint64_t room = std::min<uint64_t>(client_space(bare.world()), 6 * bare.world().page);
        const auto n = static_cast<uint32_t>(1 + rng.below(8));
        uint64_t at = rng.below(bare.world().page);
        for (uint32_t i = 0; i < n; i++) {
            const uint64_t longest = rng.chance(1, 2) ? 200 : 2 * bare.world().page, len = 1 + rng.below(longest);
            at += rng.chance(1, 2) ? 0 : rng.below(300);
            uint8_t* cpu = at + len <= room ? bare.client(at, len) : nullptr;
            if (!cpu)
                break;
            entries.push_back({cpu, len});
            at += len;
        }
        for (size_t i = entries.size(); i > 1 && rng.chance(1, 2); i--)
            std::swap(entries[i - 1], entries[rng.below(i)]);
        segments.resize(entries.size());
        sg.struct_size = sizeof sg;
        sg.device = static_cast<uint32_t>(rng.below(bare.world().n_devices));
        sg.entries = entries.data();
        sg.segments = segments.data();
        sg.n_entries = static_cast<uint32_t>(entries.size());
        sg.direction = direction;
        request = {sizeof request, sg.device, 0, 0, 0, 0, 0, 0};
        if (rng.chance(1, 3))
            request.boundary = bare.world().page;
        if (rng.chance(1, 3))
            request.size = 2 * bare.world().page;
    }
    List(const List&) = delete;

    uint64_t bytes() const
    {
        uint64_t n = 0;
        for (const dmaudit_sg_entry& e : entries)
            n += e.length;
        return n;
    }
    void write(Bare& bare, const Bytes& all) const
    {
        uint64_t done = 0;
        for (const dmaudit_sg_entry& e : entries) {
            const auto from = all.begin() + static_cast<long>(done);
            bare.cpu_write(static_cast<uint8_t*>(e.cpu), {from, from + static_cast<long>(e.length)});
            done += e.length;
        }
    }
    Bytes read(const Bare& bare) const
    {
        Bytes all;
        for (const dmaudit_sg_entry& e : entries) {
            const Bytes part = bare.cpu_read(static_cast<const uint8_t*>(e.cpu), e.length);
            all.insert(all.end(), part.begin(), part.end());
        }
        return all;
    }
    Bytes device_reads(const Bare& bare) const
    {
        Bytes all;
        for (uint32_t i = 0; i < sg.n_segments; i++) {
            const Bytes part = bare.device_read(sg.device, segments[i].bus, segments[i].length);
            all.insert(all.end(), part.begin(), part.end());
        }
        return all;
    }
    void device_writes(Bare& bare, const Bytes& all) const
    {
        uint64_t done = 0;
        for (uint32_t i = 0; i < sg.n_segments; i++) {
            const auto from = all.begin() + static_cast<long>(done);
            bare.device_write(sg.device, segments[i].bus, {from, from + static_cast<long>(segments[i].length)});
            done += segments[i].length;
        }
    }

    std::vector<dmaudit_sg_entry> entries;
    std::vector<dmaudit_sg_segment> segments;
    dmaudit_sg sg{};
    dmaudit_request request{};
};

class Facets : public ::testing::Test {
  protected:
    Machine machine;
};

// ---- I13 ----

// Something that is mapped for a device, and how it ends.
struct Reached {
    uint32_t device;
    std::vector<std::pair<uint64_t, uint64_t>> ranges; // device addresses and bytes
    std::function<void()> end;

    bool shares(uint32_t other, uint64_t page_at, uint64_t page) const
    {
        return other == device && std::any_of(ranges.begin(), ranges.end(), [&](const auto& r) {
                   return r.first / page <= page_at / page && page_at / page <= (r.first + r.second - 1) / page;
               });
    }
};

TEST_F(Facets, no_translation_outlives_its_mapping)
{
    uint64_t ended = 0;
    for_all_seeds(800, [&](uint64_t seed) {
        Rng rng(seed);
        const World w = behind_iommus(rng);
        Bare bare(machine, w);
        RC_ASSERT(bare.opened == DMAUDIT_OK);
        std::vector<Reached> live;
        std::vector<std::unique_ptr<List>> lists;
        const auto begin = [&] {
            const uint32_t direction = some_direction(rng);
            const uint64_t size = 1 + rng.below(3 * w.page);
            const dmaudit_request r = asks(rng, w, size);
            dmaudit_block b;
            switch (rng.below(4)) {
            case 0: {
                dmaudit_request any = r;
                any.attrs = rng.chance(1, 2) ? DMAUDIT_ATTR_NO_KERNEL_MAPPING : 0;
                if (bare.alloc(any, b) == DMAUDIT_OK)
                    live.push_back({r.device, {{b.bus, size}}, [&bare, b] { RC_ASSERT(bare.free(b) == DMAUDIT_OK); }});
                break;
            }
            case 1:
                if (bare.alloc_noncoherent(r, direction, b) == DMAUDIT_OK)
                    live.push_back({r.device, {{b.bus, size}}, [&bare, b, direction] {
                                        RC_ASSERT(bare.free_noncoherent(b, direction) == DMAUDIT_OK);
                                    }});
                break;
            case 2: {
                dmaudit_mapping m;
                uint8_t* cpu = bare.client(rng.below(w.page), size);
                if (cpu && bare.map(r, cpu, direction, m) == DMAUDIT_OK)
                    live.push_back(
                        {r.device, {{m.bus, size}}, [&bare, m] { RC_ASSERT(bare.unmap(m, m.size) == DMAUDIT_OK); }});
                break;
            }
            default: {
                auto list = std::make_unique<List>(bare, rng, direction);
                if (list->entries.empty() || bare.map_sg(list->request, list->sg) != DMAUDIT_OK)
                    break;
                Reached reached{
                    list->sg.device, {}, [&bare, l = list.get()] { RC_ASSERT(bare.unmap_sg(l->sg) == DMAUDIT_OK); }};
                for (uint32_t i = 0; i < list->sg.n_segments; i++)
                    reached.ranges.emplace_back(list->segments[i].bus, list->segments[i].length);
                live.push_back(reached);
                lists.push_back(std::move(list));
            }
            }
        };
        const auto end = [&](size_t i) {
            const Reached gone = live[i];
            live.erase(live.begin() + static_cast<long>(i));
            gone.end();
            ended++;
            for (const auto& [bus, bytes] : gone.ranges)
                for (uint64_t n = bus / w.page; n <= (bus + bytes - 1) / w.page; n++) {
                    const bool shared = std::any_of(live.begin(), live.end(), [&](const Reached& o) {
                        return o.shares(gone.device, n * w.page, w.page);
                    });
                    RC_ASSERT(machine.translate(gone.device, n * w.page, 1).has_value() <= shared);
                }
        };
        for (unsigned i = 0; i < 40; i++)
            if (live.empty() || rng.chance(1, 2))
                begin();
            else
                end(rng.below(live.size()));
        // Page by page: a merged segment need not be in one piece in memory, as when one of its entries is bounced.
        for (const Reached& r : live)
            for (const auto& [bus, bytes] : r.ranges)
                for (uint64_t at = bus; at < bus + bytes; at = (at / w.page + 1) * w.page)
                    RC_ASSERT(machine.reach(r.device, at, 1).has_value());
        while (!live.empty())
            end(rng.below(live.size()));
        RC_ASSERT(machine.translations() == 0u);
        bare.close();
    });
    EXPECT_GT(ended, static_cast<uint64_t>(tries(800)) * 8);
}

// ---- I12 ----

TEST_F(Facets, opaque_memory_never_shows_an_earlier_owners_bytes)
{
    constexpr uint8_t secret = 0xee;
    uint64_t windows = 0;
    for_all_seeds(800, [&](uint64_t seed) {
        Rng rng(seed);
        const World w = rng.chance(1, 2) ? some_world(rng) : behind_iommus(rng);
        Bare bare(machine, w);
        RC_ASSERT(bare.opened == DMAUDIT_OK);
        struct Kept {
            dmaudit_block block;
            bool cached;
        };
        std::vector<Kept> live;
        for (unsigned i = 0; i < 30; i++) {
            if (!live.empty() && rng.chance(1, 2)) {
                const size_t k = rng.below(live.size());
                const Kept gone = live[k];
                live.erase(live.begin() + static_cast<long>(k));
                RC_ASSERT((gone.cached ? bare.free_noncoherent(gone.block, DMAUDIT_BIDIRECTIONAL)
                                       : bare.free(gone.block)) == DMAUDIT_OK);
                continue;
            }
            dmaudit_request r = asks(rng, w, 1 + rng.below(3 * w.page));
            dmaudit_block b;
            const uint64_t kind = rng.below(3);
            if (kind == 0) {
                if (bare.alloc_noncoherent(r, DMAUDIT_BIDIRECTIONAL, b) != DMAUDIT_OK)
                    continue;
                bare.cpu_write(static_cast<uint8_t*>(b.cpu), Bytes(r.size, secret));
                live.push_back({b, true});
                continue;
            }
            r.attrs = kind == 1 ? DMAUDIT_ATTR_NO_KERNEL_MAPPING : 0;
            if (bare.alloc(r, b) != DMAUDIT_OK)
                continue;
            live.push_back({b, false});
            if (kind == 1) {
                RC_ASSERT((b.cpu == nullptr));
                dmaudit_window v;
                RC_ASSERT(bare.mmap(b, 0, (r.size + w.page - 1) / w.page, v) == DMAUDIT_OK);
                const auto at = machine.offset_of(v.phys, v.size);
                RC_ASSERT(at.has_value());
                const uint8_t* shown = machine.door() + *at;
                RC_ASSERT(std::count(shown, shown + v.size, secret) == 0);
                windows++;
            }
            bare.device_write(r.device, b.bus, Bytes(r.size, secret));
        }
        for (const Kept& k : live)
            RC_ASSERT((k.cached ? bare.free_noncoherent(k.block, DMAUDIT_BIDIRECTIONAL) : bare.free(k.block)) ==
                      DMAUDIT_OK);
        bare.close();
    });
    EXPECT_GT(windows, static_cast<uint64_t>(tries(800)));
}

// ---- I11 ----

TEST_F(Facets, a_scatterlist_has_no_more_segments_than_entries_and_carries_every_byte)
{
    uint64_t mapped = 0, merged = 0;
    for_all_seeds(1500, [&](uint64_t seed) {
        Rng rng(seed);
        const World w = rng.chance(1, 2) ? some_world(rng) : behind_iommus(rng);
        Bare bare(machine, w);
        RC_ASSERT(bare.opened == DMAUDIT_OK);
        const uint32_t direction = some_direction(rng);
        List list(bare, rng, direction);
        if (list.entries.empty())
            return;
        const Bytes before = random_bytes(rng, list.bytes()), news = random_bytes(rng, list.bytes());
        list.write(bare, before);
        if (bare.map_sg(list.request, list.sg) != DMAUDIT_OK) {
            RC_ASSERT((list.read(bare) == before));
            return;
        }
        mapped++;
        merged += list.sg.n_segments < list.sg.n_entries;
        RC_ASSERT(list.sg.n_segments >= 1u);
        RC_ASSERT(list.sg.n_segments <= list.sg.n_entries);
        uint64_t bytes = 0;
        for (uint32_t i = 0; i < list.sg.n_segments; i++) {
            const dmaudit_sg_segment& s = list.segments[i];
            bytes += s.length;
            RC_ASSERT((list.request.size == 0 || s.length <= list.request.size));
            RC_ASSERT((list.request.boundary == 0 ||
                       s.bus / list.request.boundary == (s.bus + s.length - 1) / list.request.boundary));
        }
        RC_ASSERT(bytes == list.bytes());
        bare.disturb(rng);
        if (direction != DMAUDIT_FROM_DEVICE)
            RC_ASSERT((list.device_reads(bare) == before));
        const bool writes = direction != DMAUDIT_TO_DEVICE && rng.chance(2, 3);
        if (writes)
            list.device_writes(bare, news);
        bare.disturb(rng);
        RC_ASSERT(bare.unmap_sg(list.sg) == DMAUDIT_OK);
        bare.disturb(rng);
        RC_ASSERT((list.read(bare) == (writes ? news : before)));
        bare.close();
    });
    EXPECT_GT(mapped * 2, static_cast<uint64_t>(tries(1500)));
    EXPECT_GT(merged, 0u);
}

// ---- I14 ----

TEST_F(Facets, a_failed_map_sg_changes_nothing_wherever_it_fails)
{
    uint64_t failures = 0;
    for_all_seeds(600, [&](uint64_t seed) {
        Rng rng(seed);
        const World w = rng.chance(1, 2) ? some_world(rng) : behind_iommus(rng);
        Bare bare(machine, w);
        RC_ASSERT(bare.opened == DMAUDIT_OK);
        List list(bare, rng, some_direction(rng));
        if (list.entries.empty())
            return;
        const Bytes before = random_bytes(rng, list.bytes());
        list.write(bare, before);
        bool again = true;
        for (uint64_t nth = 1; again; nth++) {
            bare.fail_inside(nth);
            const int rc = bare.map_sg(list.request, list.sg);
            again = bare.failed_inside();
            if (rc == DMAUDIT_OK) {
                RC_ASSERT(bare.unmap_sg(list.sg) == DMAUDIT_OK);
            } else {
                failures += again;
                // A lack that an earlier entry got over by taking more room than it had to may end as another refusal.
                RC_ASSERT((!again || rc == DMAUDIT_ENOMEM || list.entries.size() > 1));
            }
            RC_ASSERT((list.read(bare) == before));
            RC_ASSERT(machine.translations() == 0u);
            RC_ASSERT(machine.cache().uncached_pages() == 0u);
            RC_ASSERT(nth < 200u);
        }
        bare.close(); // no metadata is left
    });
    EXPECT_GT(failures, static_cast<uint64_t>(tries(600)) / 2);
}

} // namespace
} // namespace dmaudit::properties
