// What an allocator owes, one property each, checked against the provider's own table: nothing here asks the auditor.
// Placement, refusal and capacity; what becomes of bytes is in invariants_data_test.cpp.
#include "properties/bare.hpp"
#include "properties/support.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <gtest/gtest.h>
#include <set>

namespace dmaudit::properties {
namespace {

bool overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
    return a < b + b_size && b < a + a_size;
}

bool all_are(const uint8_t* p, uint64_t n, uint8_t value)
{
    return std::all_of(p, p + n, [value](uint8_t b) { return b == value; });
}

class Invariants : public ::testing::Test {
  protected:
    // A crowd at work on a machine of some shape; the newcomers are looked at.
    using OnBlock = std::function<void(Bare&, Crowd&, const dmaudit_request&, const Crowd::Block&)>;
    using OnMapping = std::function<void(Bare&, Crowd&, const dmaudit_request&, const Crowd::Mapping&)>;
    void watch(int standard, const OnBlock& on_block, const OnMapping& on_mapping)
    {
        uint64_t seen = 0;
        for_all_seeds(standard, [&](uint64_t seed) {
            Rng rng(seed);
            Bare bare(machine, some_world(rng));
            RC_ASSERT(bare.opened == DMAUDIT_OK);
            Crowd crowd(bare, rng);
            crowd.on_block = [&](const dmaudit_request& r, const Crowd::Block& b) {
                seen += on_block != nullptr;
                if (on_block)
                    on_block(bare, crowd, r, b);
            };
            crowd.on_mapping = [&](const dmaudit_request& r, const Crowd::Mapping& m) {
                seen += on_mapping != nullptr;
                if (on_mapping)
                    on_mapping(bare, crowd, r, m);
            };
            crowd.declare_pools();
            for (unsigned i = 0; i < 60; i++)
                crowd.step();
            crowd.give_back_everything();
            crowd.release_pools();
            bare.close();
        });
        EXPECT_GT(seen, static_cast<uint64_t>(tries(standard)) * 4) << "too few newcomers to show anything";
    }

    Machine machine;
};

// ---- I1 ----

TEST_F(Invariants, live_blocks_bounce_slots_and_client_memory_never_overlap)
{
    // Blocks lie in the arenas or their device's pool; slots in the arenas; nothing overlaps anything that lives.
    const auto in_an_arena = [](const Bare& bare, uint64_t offset, uint64_t size) {
        uint64_t bank_at = 0;
        for (unsigned i = 0; i < bare.world().n_banks; i++) {
            if (offset >= bank_at && offset + size <= bank_at + divide(bare.world(), i).arena)
                return true;
            bank_at += bare.world().banks[i].size;
        }
        return false;
    };
    const auto meets_a_living = [](const Bare& bare, const Crowd& crowd, uint64_t offset, uint64_t size) {
        for (const Crowd::Block& b : crowd.blocks())
            if (overlap(offset, size, bare.offset(b.block.cpu), b.block.granted))
                return true;
        for (const Crowd::Mapping& m : crowd.mappings())
            if (m.bounced() && overlap(offset, size, bare.offset(m.target()), m.mapping.size))
                return true;
        return false;
    };
    watch(
        1000,
        [&](Bare& bare, Crowd& crowd, const dmaudit_request& r, const Crowd::Block& b) {
            const uint64_t offset = bare.offset(b.block.cpu);
            RC_ASSERT(!meets_a_living(bare, crowd, offset, b.block.granted));
            if (b.pooled) {
                const Crowd::Pool* pool = crowd.pool_of(r.device);
                RC_ASSERT(bare.phys(b.block.cpu) + b.block.granted <= pool->phys + pool->size);
            } else {
                RC_ASSERT(in_an_arena(bare, offset, b.block.granted));
            }
            for (const Crowd::Block& o : crowd.blocks()) {
                RC_ASSERT((o.block.cpu != b.block.cpu));
                RC_ASSERT((o.block.cookie[0] != b.block.cookie[0] || o.block.cookie[1] != b.block.cookie[1]));
            }
        },
        [&](Bare& bare, Crowd& crowd, const dmaudit_request& r, const Crowd::Mapping& m) {
            for (const Crowd::Mapping& o : crowd.mappings())
                RC_ASSERT((o.mapping.cookie[0] != m.mapping.cookie[0] || o.mapping.cookie[1] != m.mapping.cookie[1]));
            if (!m.bounced())
                return;
            RC_ASSERT(in_an_arena(bare, bare.offset(m.target()), r.size));
            RC_ASSERT(!meets_a_living(bare, crowd, bare.offset(m.target()), r.size));
        });
}

// ---- I2 ----

TEST_F(Invariants, device_addresses_end_within_the_limit_and_never_wrap)
{
    const auto check = [](const Bare& bare, const dmaudit_request& r, uint64_t bus, uint64_t size) {
        const uint64_t own = bare.world().devices[r.device].limit, limit = r.limit ? std::min(r.limit, own) : own,
                       last = bus + (size - 1);
        RC_ASSERT(bus != DMAUDIT_NO_ADDRESS);
        RC_ASSERT(last >= bus);
        RC_ASSERT(last <= limit);
    };
    watch(
        1000,
        [&](Bare& bare, Crowd&, const dmaudit_request& r, const Crowd::Block& b) {
            check(bare, r, b.block.bus, r.size);
        },
        [&](Bare& bare, Crowd&, const dmaudit_request& r, const Crowd::Mapping& m) {
            check(bare, r, m.mapping.bus, r.size);
        });
}

TEST_F(Invariants, a_limit_is_inclusive_to_the_byte)
{
    unsigned refused = 0;
    for_all_seeds(600, [&](uint64_t seed) {
        Rng rng(seed);
        Bare bare(machine, some_world(rng));
        Crowd crowd(bare, rng);
        dmaudit_request r = crowd.request();
        r.limit = 0;
        dmaudit_block b;
        RC_PRE(bare.alloc(r, b) == DMAUDIT_OK);
        const uint64_t last = b.bus + (r.size - 1);
        RC_ASSERT(bare.free(b) == DMAUDIT_OK);
        r.limit = last;
        RC_PRE(last != 0u);
        RC_ASSERT(bare.alloc(r, b) == DMAUDIT_OK);
        RC_ASSERT(b.bus + (r.size - 1) <= last);
        RC_ASSERT(bare.free(b) == DMAUDIT_OK);
        if ((r.limit = last - 1) == 0)
            return;
        if (bare.alloc(r, b) == DMAUDIT_OK)
            RC_ASSERT(b.bus + (r.size - 1) < last);
        else
            refused++;
    });
    EXPECT_GT(refused, 0u);
}

// ---- I3 ----

TEST_F(Invariants, alignment_and_boundary_are_honoured)
{
    const auto check = [](const dmaudit_request& r, uint64_t bus, uint64_t size) {
        RC_ASSERT((r.align < 2 || bus % r.align == 0));
        RC_ASSERT((r.boundary == 0 || bus / r.boundary == (bus + (size - 1)) / r.boundary));
    };
    watch(
        1000, [&](Bare&, Crowd&, const dmaudit_request& r, const Crowd::Block& b) { check(r, b.block.bus, r.size); },
        [&](Bare&, Crowd&, const dmaudit_request& r, const Crowd::Mapping& m) { check(r, m.mapping.bus, r.size); });
}

TEST_F(Invariants, bounce_slots_for_non_coherent_devices_keep_the_place_in_the_line_and_share_no_line)
{
    watch(600, nullptr, [&](Bare& bare, Crowd& crowd, const dmaudit_request& r, const Crowd::Mapping& m) {
        const uint64_t line = bare.world().line;
        if (!m.bounced() || bare.world().devices[r.device].coherent)
            return;
        if (r.align < 2) // an alignment may ask for another place
            RC_ASSERT((bare.offset(m.target()) ^ bare.offset(m.mapping.cpu)) % line == 0u);
        for (const Crowd::Mapping& o : crowd.mappings())
            if (o.bounced()) {
                const uint64_t a = bare.offset(m.target()), b = bare.offset(o.target());
                RC_ASSERT((a / line > (b + o.mapping.size - 1) / line || b / line > (a + r.size - 1) / line));
            }
    });
}

// ---- I4 ----

TEST_F(Invariants, blocks_are_as_large_as_asked_for_and_contiguous_for_cpu_and_device)
{
    watch(
        1000,
        [](Bare& bare, Crowd&, const dmaudit_request& r, const Crowd::Block& b) {
            RC_ASSERT(b.block.size == r.size);
            RC_ASSERT(b.block.granted >= r.size);
            RC_ASSERT(bare.in_ram(b.block.cpu, b.block.granted));
            RC_ASSERT(bare.machine().translate(r.device, b.block.bus, r.size) ==
                      std::optional(bare.offset(b.block.cpu)));
            RC_ASSERT(b.block.device == r.device);
        },
        [](Bare& bare, Crowd&, const dmaudit_request& r, const Crowd::Mapping& m) {
            RC_ASSERT(m.mapping.size == r.size);
            RC_ASSERT(bare.machine().reach(r.device, m.mapping.bus, r.size).has_value());
        });
}

TEST_F(Invariants, coherent_blocks_of_non_coherent_devices_lie_in_uncached_pages)
{
    watch(
        400,
        [](Bare& bare, Crowd&, const dmaudit_request& r, const Crowd::Block& b) {
            if (!bare.world().devices[r.device].coherent)
                RC_ASSERT(bare.machine().cache().all_uncached(bare.offset(b.block.cpu), b.block.granted));
        },
        nullptr);
}

// ---- I5 ----

TEST_F(Invariants, zeroed_blocks_read_zero_to_the_end_of_their_last_page_for_cpu_and_device)
{
    watch(
        1000,
        [](Bare& bare, Crowd&, const dmaudit_request& r, const Crowd::Block& b) {
            const uint64_t page = bare.world().page, shown = (r.size + page - 1) / page * page;
            const auto* cpu = static_cast<const uint8_t*>(b.block.cpu);
            RC_ASSERT(b.block.granted >= shown);
            if (b.pooled || (r.flags & DMAUDIT_ZERO)) {
                RC_ASSERT(all_are(cpu, shown, 0));
                const Bytes seen = bare.device_read(r.device, b.block.bus, r.size);
                RC_ASSERT(all_are(seen.data(), seen.size(), 0));
            } else {
                RC_ASSERT(all_are(cpu + r.size, shown - r.size, 0)); // the tail is nobody's earlier owner's
            }
        },
        nullptr);
}

// ---- I6 ----

TEST_F(Invariants, free_accepts_exactly_the_live_block)
{
    unsigned lies = 0;
    for_all_seeds(500, [&](uint64_t seed) {
        Rng rng(seed);
        Bare bare(machine, some_world(rng));
        Crowd crowd(bare, rng);
        crowd.declare_pools();
        for (unsigned i = 0; i < 12; i++)
            crowd.step();
        RC_PRE(!crowd.blocks().empty());
        const Crowd::Block live = crowd.blocks()[rng.below(crowd.blocks().size())];
        const dmaudit_block b = live.block;
        const uint64_t delta = rng.chance(1, 2) ? 1 + rng.below(2 * bare.world().page) : rng.next() | 1;
        std::vector<dmaudit_block> wrong(9, b);
        wrong[0].device += static_cast<uint32_t>(delta);
        wrong[1].cpu = static_cast<uint8_t*>(b.cpu) + delta % bare.machine().ram_size() + 1;
        wrong[2].bus += delta;
        wrong[3].size += delta;
        wrong[4].size -= delta;
        wrong[5].cookie[0] += delta;
        wrong[6].cookie[1] += delta;
        wrong[7].cpu = nullptr;
        wrong[8].cookie[0] = b.cookie[0] == 0 ? 1 : 0; // from the arenas, not from the pool, and the other way round
        const Bytes before = bare.cpu_read(static_cast<uint8_t*>(b.cpu), b.granted);
        for (size_t i = 0; i < wrong.size(); i++) {
            if (wrong[i].size == b.size && (i == 3 || i == 4))
                continue;
            const int code = bare.free(wrong[i]);
            if (code == DMAUDIT_OK)
                RC_FAIL("freed with a wrong field: " + std::to_string(i));
            lies++;
            RC_ASSERT(bare.cpu_read(static_cast<uint8_t*>(b.cpu), b.granted) == before);
        }
        // Still its owner's: nobody else gets a byte of it.
        std::vector<dmaudit_block> others;
        for (dmaudit_block o;
             bare.alloc({sizeof(dmaudit_request), b.device, bare.world().page, 0, 0, 0, 0, 0}, o) == DMAUDIT_OK;
             others.push_back(o))
            RC_ASSERT(!overlap(bare.offset(o.cpu), o.granted, bare.offset(b.cpu), b.granted));
        RC_ASSERT(bare.free(b) == DMAUDIT_OK);
        RC_ASSERT(bare.free(b) != DMAUDIT_OK);
        // Free again, and the place taken by somebody else: the old reference still names nothing.
        dmaudit_block next;
        if (bare.alloc({sizeof(dmaudit_request), b.device, b.size, 0, 0, 0, 0, 0}, next) == DMAUDIT_OK) {
            RC_ASSERT(bare.free(b) != DMAUDIT_OK);
            RC_ASSERT(bare.free(next) == DMAUDIT_OK);
        }
        for (const dmaudit_block& o : others)
            RC_ASSERT(bare.free(o) == DMAUDIT_OK);
    });
    EXPECT_GT(lies, 100u);
}

TEST_F(Invariants, unmap_and_sync_accept_exactly_the_live_mapping)
{
    for_all_seeds(600, [&](uint64_t seed) {
        Rng rng(seed);
        Bare bare(machine, some_world(rng));
        Crowd crowd(bare, rng);
        for (unsigned i = 0; i < 12; i++)
            crowd.step();
        RC_PRE(!crowd.mappings().empty());
        const dmaudit_mapping m = crowd.mappings()[rng.below(crowd.mappings().size())].mapping;
        const uint64_t delta = 1 + rng.below(rng.chance(1, 2) ? 16 : uint64_t{1} << 40);
        std::vector<dmaudit_mapping> wrong(9, m);
        wrong[0].device += static_cast<uint32_t>(delta | 1);
        wrong[1].cpu = static_cast<uint8_t*>(m.cpu) + delta % bare.machine().ram_size() + 1;
        wrong[2].bus += delta;
        wrong[3].size += delta;
        wrong[4].size -= delta;
        wrong[5].direction = (m.direction + 1) % 4;
        wrong[6].direction = DMAUDIT_DIRECTION_NONE;
        wrong[7].cookie[0] += delta | 1;
        wrong[8].cookie[1] += delta | 1;
        const uint64_t n = m.size;
        const Bytes before = bare.cpu_read(static_cast<uint8_t*>(m.cpu), n),
                    seen = bare.device_read(m.device, m.bus, n);
        for (const dmaudit_mapping& w : wrong) {
            RC_ASSERT(bare.unmap(w, 0) != DMAUDIT_OK);
            RC_ASSERT(bare.sync(w, 0, 1, m.direction, DMAUDIT_FOR_CPU) != DMAUDIT_OK);
            RC_ASSERT(bare.sync(w, 0, 1, m.direction, DMAUDIT_FOR_DEVICE) != DMAUDIT_OK);
            RC_ASSERT(bare.cpu_read(static_cast<uint8_t*>(m.cpu), n) == before);
            RC_ASSERT(bare.device_read(m.device, m.bus, n) == seen);
        }
        RC_ASSERT(bare.unmap(m, n) == DMAUDIT_OK);
        RC_ASSERT(bare.unmap(m, n) != DMAUDIT_OK);
        RC_ASSERT(bare.sync(m, 0, n, m.direction, DMAUDIT_FOR_CPU) != DMAUDIT_OK);
    });
}

TEST_F(Invariants, pool_release_accepts_exactly_a_live_block_of_that_order)
{
    unsigned lies = 0;
    for_all_seeds(500, [&](uint64_t seed) {
        Rng rng(seed);
        Bare bare(machine, some_world(rng));
        Crowd crowd(bare, rng);
        crowd.declare_pools();
        for (unsigned i = 0; i < 16; i++)
            crowd.step();
        const auto found =
            std::find_if(crowd.blocks().begin(), crowd.blocks().end(), [](const Crowd::Block& b) { return b.pooled; });
        RC_PRE(found != crowd.blocks().end());
        const dmaudit_block b = found->block;
        const uint64_t page = bare.world().page;
        const auto order = static_cast<uint32_t>(std::bit_width((b.size - 1) / page));
        auto* cpu = static_cast<uint8_t*>(b.cpu);
        const auto refused = [&](uint32_t device, uint32_t o, void* where) {
            int ours = 0;
            const int code = bare.release_from(device, o, where, ours);
            RC_ASSERT((!ours || code != DMAUDIT_OK));
            lies++;
        };
        for (uint32_t o = 0; o < 70; o++)
            if (o != order)
                refused(b.device, o, cpu);
        refused(b.device, order, cpu + 1 + rng.below(page - 1));
        refused(b.device, UINT32_MAX, cpu);
        refused(b.device + 1, order, cpu);
        refused(UINT32_MAX, order, cpu);
        refused(b.device, order, nullptr);
        for (uint64_t inside = page; inside < b.granted; inside += page)
            refused(b.device, order, cpu + inside);
        // Nobody else gets it meanwhile.
        dmaudit_block o;
        int ours = 0;
        std::vector<dmaudit_block> others;
        while (bare.alloc_from(b.device, page, o, ours) == DMAUDIT_OK && ours) {
            RC_ASSERT(!overlap(bare.offset(o.cpu), o.granted, bare.offset(b.cpu), b.granted));
            others.push_back(o);
        }
        RC_ASSERT(bare.release_from(b.device, order, cpu, ours) == DMAUDIT_OK);
        RC_ASSERT(ours == 1);
        RC_ASSERT((bare.release_from(b.device, order, cpu, ours) != DMAUDIT_OK || !ours));
    });
    EXPECT_GT(lies, 1000u);
}

// ---- I7 ----

TEST_F(Invariants, what_is_given_back_can_be_had_again)
{
    for_all_seeds(500, [&](uint64_t seed) {
        Rng rng(seed);
        Bare bare(machine, some_world(rng));
        Crowd crowd(bare, rng);
        const auto device = static_cast<uint32_t>(rng.below(bare.world().n_devices));
        const auto arenas = bare.capacity(device);
        crowd.declare_pools();
        const auto with_pools = bare.capacity(device);
        for (unsigned i = 0; i < 80; i++)
            crowd.step();
        crowd.give_back_everything();
        RC_ASSERT(bare.capacity(device) == with_pools);
        crowd.release_pools();
        RC_ASSERT(bare.capacity(device) == arenas);
        bare.close();
    });
}

TEST_F(Invariants, an_empty_pool_gives_every_page_and_as_a_whole_what_its_size_allows)
{
    for_all_seeds(300, [&](uint64_t seed) {
        Rng rng(seed);
        World w = some_world(rng);
        for (unsigned d = 0; d < w.n_devices; d++)
            w.devices[d].limit = all_ones;
        Bare bare(machine, w);
        Crowd crowd(bare, rng);
        crowd.declare_pools();
        RC_PRE(!crowd.pools().empty());
        for (unsigned i = 0; i < 40; i++)
            crowd.step();
        crowd.give_back_everything();
        for (const Crowd::Pool& pool : crowd.pools()) {
            const uint64_t pages = pool.size / w.page;
            dmaudit_block b;
            int ours = 0;
            RC_ASSERT(bare.alloc_from(pool.device, std::bit_floor(pages) * w.page, b, ours) == DMAUDIT_OK);
            RC_ASSERT(ours == 1);
            RC_ASSERT(bare.free(b) == DMAUDIT_OK);
            std::vector<dmaudit_block> all;
            while (bare.alloc_from(pool.device, 1, b, ours) == DMAUDIT_OK && ours)
                all.push_back(b);
            RC_ASSERT(all.size() == pages);
            for (const dmaudit_block& x : all)
                RC_ASSERT(bare.free(x) == DMAUDIT_OK);
        }
    });
}

// ---- I15 ----

TEST_F(Invariants, windows_show_pages_of_their_block_and_nothing_else)
{
    unsigned granted = 0, refused = 0;
    for_all_seeds(600, [&](uint64_t seed) {
        Rng rng(seed);
        Bare bare(machine, some_world(rng));
        Crowd crowd(bare, rng);
        crowd.declare_pools();
        for (unsigned i = 0; i < 12; i++)
            crowd.step();
        const auto found =
            std::find_if(crowd.blocks().begin(), crowd.blocks().end(), [](const Crowd::Block& b) { return b.pooled; });
        RC_PRE(found != crowd.blocks().end());
        const dmaudit_block b = found->block;
        const uint64_t page = bare.world().page, count = (b.size - 1) / page + 1;
        for (unsigned i = 0; i < 40; i++) {
            const auto number = [&](uint64_t around) {
                const uint64_t kind = rng.below(4);
                return kind == 0 ? rng.next() >> rng.below(64) : kind == 1 ? 0 - rng.below(4) : rng.below(around + 2);
            };
            const uint64_t pgoff = number(count), pages = number(count);
            const uint64_t size = rng.chance(1, 2) ? b.size : number(b.granted); // a client may lie
            const uint64_t claimed = size / page + (size % page != 0);
            dmaudit_window w;
            int ours = 0;
            const int code = bare.mmap_from(b.device, b.cpu, size, pgoff, pages, w, ours);
            if (!ours || code != DMAUDIT_OK) {
                RC_ASSERT((size != b.size || pages == 0 || pgoff >= count || pages > count - pgoff));
                RC_ASSERT((size != b.size || code == DMAUDIT_ENXIO));
                refused++;
                continue;
            }
            granted++;
            RC_ASSERT((pages > 0 && pgoff < count && pages <= count - pgoff && pgoff + pages <= claimed));
            RC_ASSERT(w.phys == bare.phys(b.cpu) + pgoff * page);
            RC_ASSERT(w.size == pages * page);
        }
    });
    EXPECT_GT(granted, 100u);
    EXPECT_GT(refused, 100u);
}

} // namespace
} // namespace dmaudit::properties
