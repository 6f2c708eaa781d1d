// What an allocator owes of masks, of address bits that a device wants kept, of whole pages and of scatter tables, one
// property each, checked against the provider's own table: nothing here asks the auditor.
#include "properties/bare.hpp"
#include "properties/support.hpp"

#include <algorithm>
#include <array>
#include <gtest/gtest.h>

namespace dmaudit::properties {
namespace {

class Parameters : public ::testing::Test {
  protected:
    static World world(Rng& rng)
    {
        World w = some_world(rng);
        if (rng.chance(1, 3))
            for (unsigned d = 0; d < w.n_devices; d++)
                w.devices[d].iommu = 1, w.devices[d].offset = 0;
        RC_ASSERT(world_error(w) == "");
        return w;
    }
    static uint64_t some_mask(Rng& rng, const World& w, uint32_t device)
    {
        const DeviceSpec& d = w.devices[device];
        const uint64_t first = d.iommu ? 0 : w.banks[0].phys + d.offset, size = w.banks[0].size;
        const uint64_t some = first + rng.below(size);
        const uint64_t all[] = {all_ones, 0xffffffff, first + size / 2 - 1, some, d.limit, 0};
        return all[rng.below(std::size(all))];
    }
    static int set_mask(Bare& bare, uint32_t device, uint64_t mask)
    {
        return bare.make([&](auto& p, void* ctx) { return p.parameters->set_mask(ctx, device, mask); });
    }
    static int set_coherent_mask(Bare& bare, uint32_t device, uint64_t mask)
    {
        return bare.make([&](auto& p, void* ctx) { return p.parameters->set_coherent_mask(ctx, device, mask); });
    }
    static int set_min_align_mask(Bare& bare, uint32_t device, uint64_t mask)
    {
        return bare.make([&](auto& p, void* ctx) { return p.parameters->set_min_align_mask(ctx, device, mask); });
    }
    static int alloc_pages(Bare& bare, const dmaudit_request& r, uint32_t direction, dmaudit_block& b)
    {
        b = {};
        b.struct_size = sizeof b;
        return bare.make([&](auto& p, void* ctx) { return p.coherent->alloc_pages(ctx, &r, direction, &b); });
    }
    static int free_pages(Bare& bare, const dmaudit_block& b, uint32_t direction)
    {
        return bare.make([&](auto& p, void* ctx) { return p.coherent->free_pages(ctx, &b, direction); });
    }
    static dmaudit_request asks(uint32_t device, uint64_t size)
    {
        return {sizeof(dmaudit_request), device, size, 0, 0, 0, 0, 0};
    }
    // Everything that can be had of one device, once: the last address of each.
    static std::vector<uint64_t> last_addresses(Bare& bare, Rng rng, uint32_t device, bool memory)
    {
        std::vector<uint64_t> all;
        const uint64_t page = bare.world().page, size = 1 + rng.below(2 * page), place = rng.below(page);
        const auto direction = static_cast<uint32_t>(rng.below(3));
        const auto took = [&](uint64_t bus, uint64_t n) { all.push_back(bus + (n - 1)); };
        dmaudit_block b;
        dmaudit_mapping m;
        if (memory) {
            if (bare.alloc(asks(device, size), b) == DMAUDIT_OK) {
                took(b.bus, size);
                RC_ASSERT(bare.free(b) == DMAUDIT_OK);
            }
            if (bare.alloc_noncoherent(asks(device, size), direction, b) == DMAUDIT_OK) {
                took(b.bus, size);
                RC_ASSERT(bare.free_noncoherent(b, direction) == DMAUDIT_OK);
            }
            if (alloc_pages(bare, asks(device, 2 * page), direction, b) == DMAUDIT_OK) {
                took(b.bus, 2 * page);
                RC_ASSERT(free_pages(bare, b, direction) == DMAUDIT_OK);
            }
            return all;
        }
        uint8_t* cpu = bare.client(place, size);
        if (!cpu)
            return all;
        if (bare.map(asks(device, size), cpu, direction, m) == DMAUDIT_OK) {
            took(m.bus, size);
            RC_ASSERT(bare.unmap(m, size) == DMAUDIT_OK);
        }
        const dmaudit_sg_entry entry{cpu, size};
        dmaudit_sg_segment segment{};
        dmaudit_sg sg{sizeof sg, device, &entry, &segment, 1, 0, direction, 0, {0, 0}};
        if (bare.map_sg(asks(device, 0), sg) == DMAUDIT_OK) {
            took(segment.bus, size);
            RC_ASSERT(bare.unmap_sg(sg) == DMAUDIT_OK);
        }
        return all;
    }
    Machine machine;
};

TEST_F(Parameters, what_is_had_after_a_mask_lies_below_it_and_the_other_mask_does_not_matter)
{
    uint64_t had = 0;
    for_all_seeds(1500, [&](uint64_t seed) {
        Rng rng(seed);
        const World w = world(rng);
        Bare bare(machine, w);
        RC_ASSERT(bare.opened == DMAUDIT_OK);
        std::array<std::array<uint64_t, 2>, max_devices> masks;
        for (auto& m : masks)
            m = {all_ones, all_ones};
        for (unsigned i = 0; i < 12; i++) {
            const auto device = static_cast<uint32_t>(rng.below(w.n_devices));
            const bool memory = rng.chance(1, 2);
            if (rng.chance(1, 2)) {
                const uint64_t mask = some_mask(rng, w, device);
                const int rc = memory ? set_coherent_mask(bare, device, mask) : set_mask(bare, device, mask);
                RC_ASSERT((rc == DMAUDIT_OK || rc == DMAUDIT_EIO));
                RC_ASSERT((mask != 0 || rc == DMAUDIT_EIO));
                RC_ASSERT((mask == 0 || mask < w.devices[device].limit || rc == DMAUDIT_OK));
                if (rc == DMAUDIT_OK)
                    masks[device][memory] = mask;
            }
            for (const uint64_t last : last_addresses(bare, rng, device, memory)) {
                RC_ASSERT(last <= masks[device][memory]);
                RC_ASSERT(last <= w.devices[device].limit);
                had++;
            }
        }
        bare.close();
    });
    EXPECT_GT(had, static_cast<uint64_t>(tries(1500)) * 4);
}

TEST_F(Parameters, a_mask_that_is_refused_changes_nothing_and_a_wide_one_opens_the_device_again)
{
    for_all_seeds(600, [&](uint64_t seed) {
        Rng rng(seed);
        const World w = world(rng);
        Bare bare(machine, w);
        RC_ASSERT(bare.opened == DMAUDIT_OK);
        const Rng look = rng; // the same requests each time
        const auto device = static_cast<uint32_t>(rng.below(w.n_devices));
        const auto all = bare.capacity(device);
        const auto reach = last_addresses(bare, look, device, false);
        const uint64_t narrow = some_mask(rng, w, device);
        if (set_coherent_mask(bare, device, narrow) == DMAUDIT_OK && set_mask(bare, device, narrow) == DMAUDIT_OK) {
            const auto less = bare.capacity(device);
            const auto nearer = last_addresses(bare, look, device, false);
            RC_ASSERT(set_mask(bare, device, 0) == DMAUDIT_EIO);
            RC_ASSERT(set_coherent_mask(bare, device, 0) == DMAUDIT_EIO);
            RC_ASSERT(set_min_align_mask(bare, device, 2) == DMAUDIT_EINVAL);
            RC_ASSERT(bare.capacity(device) == less);
            RC_ASSERT((last_addresses(bare, look, device, false) == nearer));
        }
        RC_ASSERT(set_coherent_mask(bare, device, all_ones) == DMAUDIT_OK);
        RC_ASSERT(set_mask(bare, device, all_ones) == DMAUDIT_OK);
        RC_ASSERT(bare.capacity(device) == all);
        RC_ASSERT((last_addresses(bare, look, device, false) == reach));
        RC_ASSERT(set_mask(bare, w.n_devices, all_ones) == DMAUDIT_ENODEV);
        bare.close();
    });
}

TEST_F(Parameters, a_bounce_buffer_keeps_the_bits_of_min_align_mask)
{
    uint64_t bounced = 0;
    for_all_seeds(1500, [&](uint64_t seed) {
        Rng rng(seed);
        const World w = world(rng);
        Bare bare(machine, w);
        RC_ASSERT(bare.opened == DMAUDIT_OK);
        const auto device = static_cast<uint32_t>(rng.below(w.n_devices));
        uint64_t keep = 0;
        for (unsigned i = 0; i < 10; i++) {
            if (rng.chance(1, 2)) {
                keep = (uint64_t{1} << rng.below(13)) - 1;
                RC_ASSERT(set_min_align_mask(bare, device, keep) == (keep < w.page ? DMAUDIT_OK : DMAUDIT_EINVAL));
            }
            const uint64_t size = 1 + rng.below(rng.chance(1, 2) ? 300 : 2 * w.page), place = rng.below(2 * w.page);
            uint8_t* cpu = bare.client(place, size);
            dmaudit_request r = asks(device, size);
            if (rng.chance(2, 3)) // within the arena: a client's buffer is not
                r.limit = w.banks[0].phys + w.devices[device].offset + divide(w, 0).arena - 1;
            if (rng.chance(1, 3))
                r.align = uint64_t{1} << rng.below(13);
            dmaudit_mapping m;
            if (!cpu || bare.map(r, cpu, DMAUDIT_TO_DEVICE, m) != DMAUDIT_OK)
                continue;
            const auto target = machine.translate(device, m.bus, size);
            RC_ASSERT(target.has_value());
            bounced += *target != bare.offset(cpu);
            RC_ASSERT(((machine.phys_of(*target) ^ bare.phys(cpu)) & keep) == 0u);
            RC_ASSERT((r.align <= 1 || m.bus % r.align == 0));
            RC_ASSERT(bare.unmap(m, size) == DMAUDIT_OK);
        }
        bare.close();
    });
    EXPECT_GT(bounced, static_cast<uint64_t>(tries(1500)));
}

TEST_F(Parameters, no_single_call_goes_beyond_its_limit_or_across_its_boundary)
{
    uint64_t had = 0;
    for_all_seeds(1500, [&](uint64_t seed) {
        Rng rng(seed);
        const World w = world(rng);
        Bare bare(machine, w);
        RC_ASSERT(bare.opened == DMAUDIT_OK);
        for (unsigned i = 0; i < 8; i++) {
            const auto device = static_cast<uint32_t>(rng.below(w.n_devices));
            dmaudit_request r = asks(device, 1 + rng.below(3 * w.page));
            r.boundary = uint64_t{1} << rng.below(20);
            r.limit = rng.chance(1, 2) ? some_mask(rng, w, device) : 0;
            const auto fine = [&](uint64_t bus) {
                had++;
                const uint64_t last = bus + (r.size - 1);
                return (r.limit == 0 || last <= r.limit) && bus / r.boundary == last / r.boundary;
            };
            dmaudit_block b;
            if (bare.alloc(r, b) == DMAUDIT_OK) {
                RC_ASSERT(fine(b.bus));
                RC_ASSERT(bare.free(b) == DMAUDIT_OK);
            }
            dmaudit_mapping m;
            if (uint8_t* cpu = bare.client(rng.below(w.page), r.size);
                cpu && bare.map(r, cpu, DMAUDIT_BIDIRECTIONAL, m) == DMAUDIT_OK) {
                RC_ASSERT(fine(m.bus));
                RC_ASSERT(bare.unmap(m, r.size) == DMAUDIT_OK);
            }
        }
        bare.close();
    });
    EXPECT_GT(had, static_cast<uint64_t>(tries(1500)) * 2);
}

TEST_F(Parameters, pages_begin_on_a_page_and_all_of_them_read_zero)
{
    uint64_t had = 0;
    for_all_seeds(500, [&](uint64_t seed) {
        Rng rng(seed);
        const World w = world(rng);
        Bare bare(machine, w);
        RC_ASSERT(bare.opened == DMAUDIT_OK);
        for (unsigned i = 0; i < 10; i++) {
            const uint64_t size = (1 + rng.below(4)) * w.page;
            const auto device = static_cast<uint32_t>(rng.below(w.n_devices));
            dmaudit_block b;
            RC_ASSERT(alloc_pages(bare, asks(device, size - 1), DMAUDIT_TO_DEVICE, b) == DMAUDIT_EINVAL);
            if (alloc_pages(bare, asks(device, size), DMAUDIT_BIDIRECTIONAL, b) != DMAUDIT_OK)
                continue;
            had++;
            const auto* cpu = static_cast<uint8_t*>(b.cpu);
            RC_ASSERT(bare.phys(cpu) % w.page == 0u);
            RC_ASSERT(static_cast<uint64_t>(std::count(cpu, cpu + size, 0)) == size);
            bare.cpu_write(static_cast<uint8_t*>(b.cpu), Bytes(size, 0xee));
            bare.disturb(rng);
            RC_ASSERT(free_pages(bare, b, DMAUDIT_BIDIRECTIONAL) == DMAUDIT_OK);
        }
        bare.close();
    });
    EXPECT_GT(had, static_cast<uint64_t>(tries(500)));
}

TEST_F(Parameters, a_table_keeps_its_counts_carries_its_bytes_and_knows_three_errors)
{
    uint64_t mapped = 0, refused = 0;
    for_all_seeds(1000, [&](uint64_t seed) {
        Rng rng(seed);
        const World w = world(rng);
        Bare bare(machine, w);
        RC_ASSERT(bare.opened == DMAUDIT_OK);
        const auto device = static_cast<uint32_t>(rng.below(w.n_devices));
        const auto n = static_cast<uint32_t>(1 + rng.below(6));
        const uint64_t part = 1 + rng.below(500), at = rng.below(w.page);
        uint8_t* cpu = bare.client(at, n * part);
        if (!cpu)
            return;
        std::vector<dmaudit_sg_entry> entries;
        for (uint32_t i = 0; i < n; i++)
            entries.push_back({cpu + i * part, part});
        std::vector<dmaudit_sg_segment> segments(n);
        const Bytes before = random_bytes(rng, n * part), news = random_bytes(rng, n * part);
        bare.cpu_write(cpu, before);
        dmaudit_request r = asks(device, 0);
        if (rng.chance(1, 3))
            r.limit = rng.chance(1, 2) ? 0xfff : w.banks[0].phys + w.devices[device].offset + divide(w, 0).arena - 1;
        dmaudit_sg sg{sizeof sg, device, entries.data(), segments.data(), n, 0, DMAUDIT_BIDIRECTIONAL, 0, {0, 0}};
        const int rc = bare.make([&](auto& p, void* ctx) { return p.scatter->map_sgtable(ctx, &r, &sg); });
        RC_ASSERT(sg.n_entries == n);
        if (rc != DMAUDIT_OK) {
            RC_ASSERT((rc == DMAUDIT_EINVAL || rc == DMAUDIT_ENOMEM || rc == DMAUDIT_EIO));
            RC_ASSERT(sg.n_segments == 0u);
            refused++;
            return;
        }
        mapped++;
        RC_ASSERT((sg.n_segments >= 1u && sg.n_segments <= n));
        uint64_t done = 0;
        for (uint32_t i = 0; i < sg.n_segments; i++) {
            const Bytes seen = bare.device_read(device, segments[i].bus, segments[i].length);
            RC_ASSERT((std::equal(seen.begin(), seen.end(), before.begin() + static_cast<long>(done))));
            bare.device_write(device, segments[i].bus,
                              {news.begin() + static_cast<long>(done),
                               news.begin() + static_cast<long>(done + segments[i].length)});
            done += segments[i].length;
        }
        RC_ASSERT(done == n * part);
        bare.disturb(rng);
        const auto sync = [&](uint32_t phase) {
            return bare.make([&](auto& p, void* ctx) {
                return p.scatter->sync_sgtable(ctx, &sg, DMAUDIT_BIDIRECTIONAL, phase);
            });
        };
        RC_ASSERT(sync(DMAUDIT_FOR_CPU) == DMAUDIT_OK);
        RC_ASSERT((bare.cpu_read(cpu, n * part) == news));
        RC_ASSERT(sync(DMAUDIT_FOR_DEVICE) == DMAUDIT_OK);
        RC_ASSERT(bare.make([&](auto& p, void* ctx) { return p.scatter->unmap_sgtable(ctx, &sg, 0); }) == DMAUDIT_OK);
        RC_ASSERT((bare.cpu_read(cpu, n * part) == news));
        RC_ASSERT(bare.make([&](auto& p, void* ctx) { return p.scatter->unmap_sgtable(ctx, &sg, 0); }) ==
                  DMAUDIT_EFAULT);
        RC_ASSERT(machine.translations() == 0u);
        bare.close();
    });
    EXPECT_GT(mapped * 2, static_cast<uint64_t>(tries(1000)));
    EXPECT_GT(refused, 0u);
}

// The n-th platform call inside the call fails, for each n until there is none: nothing has changed.
TEST_F(Parameters, a_failed_call_changes_nothing_wherever_it_fails)
{
    uint64_t failures = 0;
    for_all_seeds(300, [&](uint64_t seed) {
        Rng rng(seed);
        const World w = world(rng);
        Bare bare(machine, w);
        RC_ASSERT(bare.opened == DMAUDIT_OK);
        const auto device = static_cast<uint32_t>(rng.below(w.n_devices));
        const auto kind = rng.below(5);
        uint8_t* cpu = bare.client(7, 200);
        RC_ASSERT(cpu != nullptr);
        const Bytes before = random_bytes(rng, 200);
        bare.cpu_write(cpu, before);
        const dmaudit_sg_entry entries[] = {{cpu, 64}, {cpu + 100, 100}};
        bool again = true;
        for (uint64_t nth = 1; again; nth++) {
            const auto room = bare.capacity(device);
            bare.fail_inside(nth);
            dmaudit_block b;
            dmaudit_mapping m;
            dmaudit_sg_segment segments[2]{};
            dmaudit_sg sg{sizeof sg, device, entries, segments, 2, 0, DMAUDIT_TO_DEVICE, 0, {0, 0}};
            dmaudit_request r = asks(device, kind == 1 ? 2 * w.page : 200);
            int rc = DMAUDIT_OK;
            if (kind == 0)
                rc = set_mask(bare, device, all_ones);
            else if (kind == 1)
                rc = alloc_pages(bare, r, DMAUDIT_TO_DEVICE, b);
            else if (kind == 2)
                rc = bare.map((r.boundary = 64, r.limit = 0, r), cpu, DMAUDIT_TO_DEVICE, m);
            else if (kind == 3)
                rc = bare.make([&](auto& p, void* ctx) { return p.scatter->map_sgtable(ctx, &r, &sg); });
            else
                rc = set_coherent_mask(bare, device, all_ones);
            again = bare.failed_inside();
            failures += again && rc != DMAUDIT_OK;
            if (rc == DMAUDIT_OK && kind == 1)
                RC_ASSERT(free_pages(bare, b, DMAUDIT_TO_DEVICE) == DMAUDIT_OK);
            else if (rc == DMAUDIT_OK && kind == 2)
                RC_ASSERT(bare.unmap(m, 200) == DMAUDIT_OK);
            else if (rc == DMAUDIT_OK && kind == 3)
                RC_ASSERT(bare.make([&](auto& p, void* ctx) { return p.scatter->unmap_sgtable(ctx, &sg, 0); }) ==
                          DMAUDIT_OK);
            RC_ASSERT((bare.cpu_read(cpu, 200) == before));
            RC_ASSERT(machine.translations() == 0u);
            RC_ASSERT(machine.cache().uncached_pages() == 0u);
            RC_ASSERT(bare.capacity(device) == room);
            RC_ASSERT(nth < 200u);
        }
        bare.close();
    });
    EXPECT_GT(failures, static_cast<uint64_t>(tries(300)) / 4);
}

} // namespace
} // namespace dmaudit::properties
