// Failure and nonsense, one property each: a failed call has no effect, arbitrary arguments end in an answer, and no
// number is too large. On the provider's own table.
#include "properties/bare.hpp"
#include "properties/support.hpp"

#include <array>
#include <bit>
#include <gtest/gtest.h>
#include <memory>

namespace dmaudit::properties {
namespace {

// ---- I14 ----

struct Answer {
    bool asked = false; // the op found something to work on
    int code = 0;
    uint64_t value = 0; // what it gave
    friend bool operator==(const Answer&, const Answer&) = default;
};
using Op = std::function<Answer(Bare&, const Crowd&, Rng)>;

Answer allocate(Bare& bare, const Crowd&, Rng rng)
{
    dmaudit_block b;
    const auto device = static_cast<uint32_t>(rng.below(bare.world().n_devices));
    const uint64_t size = 1 + rng.below(2 * bare.world().page);
    const int code = bare.alloc({sizeof(dmaudit_request), device, size, 0, 0, 0, DMAUDIT_ZERO, 0}, b);
    return {true, code, code ? 0 : b.bus};
}
Answer free_one(Bare& bare, const Crowd& crowd, Rng rng)
{
    if (crowd.blocks().empty())
        return {};
    return {true, bare.free(crowd.blocks()[rng.below(crowd.blocks().size())].block)};
}
Answer map_one(Bare& bare, const Crowd&, Rng rng)
{
    dmaudit_mapping m;
    const auto device = static_cast<uint32_t>(rng.below(bare.world().n_devices));
    const uint64_t size = 1 + rng.below(bare.world().page), place = rng.below(bare.world().page);
    const auto direction = static_cast<uint32_t>(rng.below(3));
    uint8_t* cpu = bare.client(place, size);
    if (!cpu)
        return {};
    const int code = bare.map({sizeof(dmaudit_request), device, size, 0, 0, 0, 0, 0}, cpu, direction, m);
    return {true, code, code ? 0 : m.bus};
}
Answer unmap_one(Bare& bare, const Crowd& crowd, Rng rng)
{
    if (crowd.mappings().empty())
        return {};
    const dmaudit_mapping& m = crowd.mappings()[rng.below(crowd.mappings().size())].mapping;
    return {true, bare.unmap(m, m.size)};
}
Answer sync_one(Bare& bare, const Crowd& crowd, Rng rng)
{
    if (crowd.mappings().empty())
        return {};
    const dmaudit_mapping& m = crowd.mappings()[rng.below(crowd.mappings().size())].mapping;
    return {true, bare.sync(m, 0, m.size, m.direction, static_cast<uint32_t>(rng.below(2)))};
}
Answer flush_some(Bare& bare, const Crowd&, Rng)
{
    return {true, bare.cache(bare.client(0, 64), 64, DMAUDIT_FLUSH_INVALIDATE)};
}
Answer declare_one(Bare& bare, const Crowd& crowd, Rng)
{
    if (!crowd.pools().empty())
        return {};
    const uint64_t phys = bare.machine().phys_of(*pool_offset(bare.world(), 0, 1));
    return {true, bare.declare(0, phys, phys + bare.world().devices[0].offset, bare.world().page, 1)};
}
Answer allocate_from_pool(Bare& bare, const Crowd& crowd, Rng rng)
{
    if (crowd.pools().empty())
        return {};
    dmaudit_block b;
    int ours = 0;
    const int code = bare.alloc_from(crowd.pools()[rng.below(crowd.pools().size())].device, bare.world().page, b, ours);
    return {true, code, code ? 0 : b.bus};
}
Answer open_window(Bare& bare, const Crowd& crowd, Rng)
{
    for (const Crowd::Block& b : crowd.blocks())
        if (b.pooled) {
            dmaudit_window w;
            int ours = 0;
            const int code = bare.mmap_from(b.block.device, b.block.cpu, b.block.size, 0, 1, w, ours);
            return {true, code, w.phys};
        }
    return {};
}
Answer release_pool(Bare& bare, const Crowd& crowd, Rng)
{
    if (crowd.pools().empty() || !crowd.blocks().empty())
        return {};
    return {true, bare.release(crowd.pools()[0].device)};
}

class FailedCall : public ::testing::Test {
  protected:
    // What may not change: clients' memory, pools, blocks that live, and which pages are uncached.
    static Bytes visible(Bare& bare, const Crowd& crowd)
    {
        Bytes out;
        const auto add = [&](const void* p, uint64_t n) {
            out.insert(out.end(), static_cast<const uint8_t*>(p), static_cast<const uint8_t*>(p) + n);
        };
        uint64_t at = 0;
        for (unsigned i = 0; i < bare.world().n_banks; i++) {
            const Division d = divide(bare.world(), i);
            add(bare.at(at + d.arena + d.pool), d.client);
            at += bare.world().banks[i].size;
        }
        for (const Crowd::Block& b : crowd.blocks())
            add(b.block.cpu, b.block.granted);
        for (const Crowd::Mapping& m : crowd.mappings())
            add(m.where, m.mapping.size);
        out.push_back(static_cast<uint8_t>(bare.machine().cache().uncached_pages()));
        return out;
    }

    // The same past in each try; the n-th platform call inside `op` fails, for each n until there is none.
    void sweep(int standard, const Op& op, bool can_fail)
    {
        uint64_t failures = 0, asked = 0;
        for_all_seeds(standard, [&](uint64_t seed) {
            const auto try_it = [&](uint64_t nth, Answer& answer,
                                    std::vector<std::pair<uint64_t, uint64_t>>& capacity) {
                Rng rng(seed);
                Bare bare(machine, some_world(rng));
                Crowd crowd(bare, rng);
                if (rng.chance(2, 3))
                    crowd.declare_pools();
                for (uint64_t n = rng.below(rng.chance(1, 2) ? 8 : 120); n > 0; n--)
                    crowd.step();
                if (rng.chance(1, 3))
                    crowd.give_back_everything();
                // Records are kept in chunks: the interesting call is the one that needs another chunk.
                for (uint64_t n = rng.below(12); n > 0; n--)
                    if (dmaudit_mapping m; uint8_t* cpu = bare.client(bare.world().page - n, 1))
                        bare.map({sizeof(dmaudit_request), 0, 1, 0, 0, 0, 0, 0}, cpu, DMAUDIT_TO_DEVICE, m);
                bool fired = false;
                if (nth != 0) {
                    const Bytes before = visible(bare, crowd);
                    bare.fail_inside(nth);
                    const Answer failed = op(bare, crowd, rng);
                    fired = bare.failed_inside();
                    failures += fired;
                    if (!fired || failed.code == DMAUDIT_OK) { // it managed without
                        bare.close();
                        return fired;
                    }
                    RC_ASSERT(visible(bare, crowd) == before);
                }
                capacity = bare.capacity(0);
                answer = op(bare, crowd, rng);
                bare.close();
                return fired;
            };
            Answer expected, again;
            std::vector<std::pair<uint64_t, uint64_t>> room, left;
            try_it(0, expected, room);
            asked += expected.asked;
            for (uint64_t nth = 1;; nth++) {
                again = expected;
                left = room;
                if (!try_it(nth, again, left))
                    break;
                RC_ASSERT((again == expected)); // asked once more, it answers what it would have answered
                RC_ASSERT(left == room);
                RC_ASSERT(nth < 1000u);
            }
        });
        EXPECT_GT(asked, 0u);
        EXPECT_EQ(failures > 0, can_fail);
    }
    Machine machine;
};

TEST_F(FailedCall, alloc_coherent_has_no_effect)
{
    sweep(300, allocate, true);
}
TEST_F(FailedCall, free_coherent_cannot_fail)
{
    sweep(60, free_one, false);
}
TEST_F(FailedCall, map_single_has_no_effect)
{
    sweep(800, map_one, true);
}
TEST_F(FailedCall, unmap_single_cannot_fail)
{
    sweep(60, unmap_one, false);
}
TEST_F(FailedCall, sync_cannot_fail)
{
    sweep(60, sync_one, false);
}
TEST_F(FailedCall, cache_maintenance_cannot_fail)
{
    sweep(30, flush_some, false);
}
TEST_F(FailedCall, declare_has_no_effect)
{
    sweep(300, declare_one, true);
}
TEST_F(FailedCall, alloc_from_pool_cannot_fail_for_want_of_anything_else)
{
    sweep(60, allocate_from_pool, false);
}
TEST_F(FailedCall, mmap_cannot_fail)
{
    sweep(60, open_window, false);
}
TEST_F(FailedCall, release_of_a_pool_cannot_fail)
{
    sweep(60, release_pool, false);
}

TEST_F(FailedCall, open_has_no_effect)
{
    MachineSpec spec;
    spec.n_banks = spec.n_devices = 1;
    spec.banks[0] = {0x80000000, 64 * 4096, 32 * 4096};
    spec.devices[0] = {all_ones, 0, false};
    machine.configure(spec, nullptr);
    bool fired = true;
    for (uint64_t nth = 1; fired; nth++) {
        void* ctx = nullptr;
        machine.begin_call();
        machine.arm_fault(nth);
        const int code = builtin_provider().open(&machine.platform(), &ctx);
        fired = machine.fault_fired();
        machine.end_call();
        EXPECT_EQ(code == DMAUDIT_OK, !fired);
        if (code == DMAUDIT_OK)
            builtin_provider().close(ctx);
        EXPECT_FALSE(machine.metadata_kept());
        EXPECT_GT(nth + fired, 1u) << "open asks for something";
    }
    machine.reset();
}

// ---- I18, I19 ----

class Nonsense : public ::testing::Test {
  protected:
    static uint64_t number(Rng& rng)
    {
        const uint64_t kind = rng.below(5), v = rng.next();
        return kind == 0   ? v
               : kind == 1 ? v >> (v & 63)
               : kind == 2 ? 0 - v % 9
               : kind == 3 ? (uint64_t{1} << (v & 63)) + (v >> 8) % 3 - 1
                           : v % 5000;
    }
    static uint32_t number32(Rng& rng)
    {
        const uint64_t v = number(rng);
        return static_cast<uint32_t>(rng.chance(2, 3) ? v % 6 : v);
    }
    void* pointer(Rng& rng)
    {
        const uint64_t kind = rng.below(6), at = rng.below(machine.ram_size());
        return kind == 0   ? nullptr
               : kind == 1 ? static_cast<void*>(this)
               : kind == 2 ? machine.door() + machine.ram_size()
               : kind == 3 ? machine.client() + at
                           : machine.door() + at;
    }
    static uint32_t struct_size(Rng& rng, size_t right)
    {
        return static_cast<uint32_t>(rng.chance(7, 8) ? right : rng.below(2 * right));
    }

    Machine machine;
};

TEST_F(Nonsense, every_call_answers_and_keeps_no_lock_whatever_the_arguments)
{
    for_all_seeds(400, [&](uint64_t seed) {
        Rng rng(seed);
        Bare bare(machine, some_world(rng));
        Crowd crowd(bare, rng);
        if (rng.chance(1, 2))
            crowd.declare_pools();
        for (uint64_t n = rng.below(30); n > 0; n--)
            crowd.step();
        const dmaudit_provider& p = builtin_provider();
        void* ctx = bare.ctx();
        for (unsigned i = 0; i < 100; i++) {
            dmaudit_request r{};
            r.struct_size = struct_size(rng, sizeof r);
            r.device = number32(rng);
            r.size = number(rng);
            r.align = rng.chance(1, 2) ? 0 : number(rng);
            r.limit = rng.chance(1, 2) ? 0 : number(rng);
            r.boundary = rng.chance(1, 2) ? 0 : number(rng);
            r.flags = number32(rng);
            r.attrs = number32(rng);
            dmaudit_block b =
                crowd.blocks().empty() ? dmaudit_block{} : crowd.blocks()[rng.below(crowd.blocks().size())].block;
            b.struct_size = struct_size(rng, sizeof b);
            dmaudit_mapping m = crowd.mappings().empty() ? dmaudit_mapping{}
                                                         : crowd.mappings()[rng.below(crowd.mappings().size())].mapping;
            m.struct_size = struct_size(rng, sizeof m);
            switch (rng.below(8)) { // a field or two of something that lives
            case 0:
                b.cpu = pointer(rng), m.cpu = pointer(rng);
                break;
            case 1:
                b.bus = number(rng), m.bus = number(rng);
                break;
            case 2:
                b.size = number(rng), m.size = number(rng);
                break;
            case 3:
                b.device = number32(rng), m.device = number32(rng);
                break;
            case 4:
                b.cookie[0] = number(rng), m.cookie[0] = number(rng);
                break;
            case 5:
                b.cookie[1] = number(rng), m.cookie[1] = number(rng);
                break;
            case 6:
                b.granted = number(rng), m.direction = number32(rng);
                break;
            default:
                break; // and now and then it is legal: then the crowd's record is stale afterwards
            }
            dmaudit_window w{};
            w.struct_size = struct_size(rng, sizeof w);
            int ours = 0;
            uint32_t exclusive = number32(rng);
            void* at = pointer(rng);
            const uint64_t x = number(rng), y = number(rng), z = number(rng);
            const uint32_t d = number32(rng), e = number32(rng);
            const bool null = rng.chance(1, 10);
            int code = 0;
            switch (rng.below(11)) {
            case 0:
                code = p.coherent->alloc(ctx, &r, null ? nullptr : &b);
                break;
            case 1:
                code = p.coherent->free(ctx, null ? nullptr : &b);
                break;
            case 2:
                code = p.streaming->map_single(ctx, null ? nullptr : &r, at, d, &m);
                break;
            case 3:
                code = p.streaming->unmap_single(ctx, null ? nullptr : &m, x, d);
                break;
            case 4:
                code = p.streaming->sync(ctx, null ? nullptr : &m, x, y, d, e);
                break;
            case 5:
                code = p.streaming->cache(ctx, at, x, d);
                break;
            case 6:
                code = p.pool->declare(ctx, d, x, y, z, null ? nullptr : &exclusive);
                break;
            case 7:
                code = p.pool->alloc_from(ctx, d, x, null ? nullptr : &b, &ours);
                break;
            case 8:
                code = p.pool->release_from(ctx, d, e, at, null ? nullptr : &ours);
                break;
            case 9:
                code = p.pool->mmap_from(ctx, d, at, x, y, z, null ? nullptr : &w, &ours);
                break;
            default:
                code = rng.chance(1, 4) ? p.pool->release(ctx, d) : DMAUDIT_OK;
                break;
            }
            RC_ASSERT(code >= DMAUDIT_OK);
            RC_ASSERT(code <= DMAUDIT_EIO);
            RC_ASSERT(machine.locks_held() == 0u);
            RC_ASSERT(!machine.lock_error());
        }
        bare.close();
    });
}

// ---- I20 ----

constexpr uint64_t huge[] = {uint64_t{1} << 31,
                             (uint64_t{1} << 32) - 1,
                             uint64_t{1} << 32,
                             (uint64_t{1} << 32) + 1,
                             (uint64_t{1} << 32) + 4096,
                             uint64_t{1} << 44,
                             (uint64_t{1} << 44) + 4096,
                             (uint64_t{1} << 63) - 1,
                             uint64_t{1} << 63,
                             (uint64_t{1} << 63) + 1,
                             all_ones - 65536,
                             all_ones - 4096,
                             all_ones - 4095,
                             all_ones - 1,
                             all_ones};

TEST_F(Nonsense, huge_sizes_are_refused_without_effect)
{
    for_all_seeds(200, [&](uint64_t seed) {
        Rng rng(seed);
        Bare bare(machine, some_world(rng));
        Crowd crowd(bare, rng);
        crowd.declare_pools();
        const auto device = static_cast<uint32_t>(rng.below(bare.world().n_devices));
        const auto room = bare.capacity(device);
        for (const uint64_t n : huge) {
            dmaudit_block b;
            dmaudit_mapping m;
            dmaudit_window w;
            int ours = 0;
            RC_ASSERT(bare.alloc({sizeof(dmaudit_request), device, n, 0, 0, 0, DMAUDIT_ZERO, 0}, b) != DMAUDIT_OK);
            RC_ASSERT(bare.alloc({sizeof(dmaudit_request), device, n, 0, 0, uint64_t{1} << 63, 0, 0}, b) != DMAUDIT_OK);
            RC_ASSERT((bare.alloc_from(device, n, b, ours) != DMAUDIT_OK || !ours));
            RC_ASSERT(bare.map({sizeof(dmaudit_request), device, n, 0, 0, 0, 0, 0}, bare.client(8, 8),
                               static_cast<uint32_t>(rng.below(3)), m) != DMAUDIT_OK);
            RC_ASSERT(bare.cache(bare.client(8, 8), n, DMAUDIT_INVALIDATE) != DMAUDIT_OK);
            const uint64_t phys = bare.world().banks[0].phys + divide(bare.world(), 0).arena;
            RC_ASSERT(bare.declare(device, phys, phys + bare.world().devices[device].offset, n, 0) != DMAUDIT_OK);
            if (const Crowd::Pool* pool = crowd.pool_of(device)) {
                void* start = bare.at(*machine.offset_of(pool->phys, 1));
                RC_ASSERT((bare.mmap_from(device, start, n, 0, 1, w, ours) != DMAUDIT_OK || !ours));
            }
        }
        RC_ASSERT(bare.capacity(device) == room);
        bare.close();
    });
}

TEST_F(Nonsense, every_alignment_boundary_and_limit_is_honoured_or_refused)
{
    for_all_seeds(300, [&](uint64_t seed) {
        Rng rng(seed);
        Bare bare(machine, some_world(rng));
        const auto device = static_cast<uint32_t>(rng.below(bare.world().n_devices));
        const auto room = bare.capacity(device);
        for (unsigned i = 0; i < 64; i++) {
            const uint64_t bit = uint64_t{1} << i, size = 1 + rng.below(3 * bare.world().page);
            const std::array<dmaudit_request, 4> asks{
                {{sizeof(dmaudit_request), device, size, bit, 0, 0, 0, 0},
                 {sizeof(dmaudit_request), device, size, 0, 0, bit, 0, 0},
                 {sizeof(dmaudit_request), device, size, 0, bit, 0, 0, 0},
                 {sizeof(dmaudit_request), device, size, bit | bit >> 1 | bit >> 2, 0, 0, 0, 0}}};
            for (const dmaudit_request& r : asks) {
                const auto right = [&](uint64_t bus) {
                    const uint64_t last = bus + (size - 1);
                    RC_ASSERT(std::has_single_bit(std::max<uint64_t>(r.align, 1)));
                    RC_ASSERT((r.align == 0 || bus % r.align == 0));
                    RC_ASSERT((r.boundary == 0 || bus / r.boundary == last / r.boundary));
                    RC_ASSERT((r.limit == 0 || last <= r.limit));
                    RC_ASSERT(last >= bus);
                };
                dmaudit_block b;
                if (bare.alloc(r, b) == DMAUDIT_OK) {
                    right(b.bus);
                    RC_ASSERT(bare.free(b) == DMAUDIT_OK);
                }
                dmaudit_mapping m;
                if (uint8_t* cpu = bare.client(rng.below(512), size);
                    cpu && bare.map(r, cpu, static_cast<uint32_t>(rng.below(3)), m) == DMAUDIT_OK) {
                    right(m.bus);
                    RC_ASSERT(bare.unmap(m, size) == DMAUDIT_OK);
                }
            }
        }
        RC_ASSERT(bare.capacity(device) == room);
        bare.close();
    });
}

TEST_F(Nonsense, syncs_and_unmaps_beyond_the_mapping_are_refused_without_effect)
{
    for_all_seeds(400, [&](uint64_t seed) {
        Rng rng(seed);
        Bare bare(machine, some_world(rng));
        Crowd crowd(bare, rng);
        for (unsigned i = 0; i < 15; i++)
            crowd.step();
        RC_PRE(!crowd.mappings().empty());
        const dmaudit_mapping m = crowd.mappings()[0].mapping;
        const Bytes cpu = bare.cpu_read(static_cast<uint8_t*>(m.cpu), m.size),
                    bus = bare.device_read(m.device, m.bus, m.size);
        for (unsigned i = 0; i < 60; i++) {
            const uint64_t off = rng.chance(1, 2) ? rng.below(m.size + 2) : number(rng),
                           len = rng.chance(1, 2) ? rng.below(m.size + 2) : number(rng);
            if (off <= m.size && len <= m.size - off)
                continue;
            RC_ASSERT(bare.sync(m, off, len, m.direction, static_cast<uint32_t>(rng.below(2))) != DMAUDIT_OK);
        }
        for (const uint64_t n : huge)
            RC_ASSERT(bare.unmap(m, n) != DMAUDIT_OK);
        RC_ASSERT(bare.unmap(m, m.size + 1) != DMAUDIT_OK);
        RC_ASSERT(bare.cpu_read(static_cast<uint8_t*>(m.cpu), m.size) == cpu);
        RC_ASSERT(bare.device_read(m.device, m.bus, m.size) == bus);
        RC_ASSERT(bare.unmap(m, m.size) == DMAUDIT_OK);
    });
}

} // namespace
} // namespace dmaudit::properties
