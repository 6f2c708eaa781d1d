// What becomes of bytes, one property each, on the provider's own table and the simulated machine: nothing here asks
// the auditor, except where a device's access must be denied, because only the auditor can deny.
#include "harness/session.hpp"
#include "properties/bare.hpp"
#include "properties/support.hpp"

#include <algorithm>
#include <gtest/gtest.h>

namespace dmaudit::properties {
namespace {

bool device_may_read(uint32_t direction)
{
    return direction != DMAUDIT_FROM_DEVICE;
}
bool device_may_write(uint32_t direction)
{
    return direction != DMAUDIT_TO_DEVICE;
}

// One buffer of a client with known bytes around it, and a mapping of it.
struct Mapped {
    uint64_t place, size;   // of the buffer, in the clients' space
    uint64_t before, after; // bytes around it that belong to the client as well
    uint8_t* cpu;
    uint32_t device, direction;
    dmaudit_mapping m;
    bool bounced;
};

class Data : public ::testing::Test {
  protected:
    // Machines of all shapes with one mapping. `whole_lines`: the buffer owns its lines.
    void with_mapping(int standard, bool whole_lines,
                      const std::function<void(Bare&, Rng&, Mapped&, Bytes& memory)>& look)
    {
        uint64_t bounced = 0, direct = 0, translated = 0;
        for_all_seeds(standard, [&](uint64_t seed) {
            Rng rng(seed);
            Bare bare(machine, some_world(rng));
            RC_ASSERT(bare.opened == DMAUDIT_OK);
            const World& w = bare.world();
            if (rng.chance(1, 2)) { // a history: old bytes in the arenas and slots
                Crowd crowd(bare, rng);
                for (unsigned i = 0; i < 10; i++)
                    crowd.step();
                crowd.give_back_everything();
            }
            Mapped x{};
            x.size = 1 + rng.below(rng.chance(1, 3) ? 3 * w.page / 2 : 700);
            x.place = 512 + rng.below(w.page);
            if (whole_lines) {
                x.place &= ~(w.line - 1);
                x.size = (x.size + w.line - 1) & ~(w.line - 1);
            }
            x.before = x.after = 300;
            x.cpu = bare.client(x.place, x.size + x.after);
            RC_PRE((x.cpu != nullptr));
            x.device = static_cast<uint32_t>(rng.below(w.n_devices));
            x.direction = static_cast<uint32_t>(rng.below(3));
            const Bytes memory = random_bytes(rng, x.before + x.size + x.after);
            bare.cpu_write(x.cpu - x.before, memory);
            const bool handed_over_long_ago = rng.chance(1, 3);
            if (handed_over_long_ago)
                machine.cache().evict(bare.offset(x.cpu - x.before), memory.size());
            const uint64_t align = rng.chance(1, 4) ? uint64_t{1} << rng.below(12) : 0;
            RC_PRE(bare.map({sizeof(dmaudit_request), x.device, x.size, align, 0, 0, 0, 0}, x.cpu, x.direction, x.m) ==
                   DMAUDIT_OK);
            x.bounced = machine.translate(x.device, x.m.bus, 1) != std::optional(bare.offset(x.cpu));
            (x.bounced ? bounced : direct)++;
            translated += w.devices[x.device].iommu;
            Bytes expected = memory;
            look(bare, rng, x, expected);
            // Whatever the property did: the client's bytes outside the mapping are what the client put there.
            const Bytes now = bare.cpu_read(x.cpu - x.before, memory.size());
            RC_ASSERT(std::equal(now.begin(), now.begin() + static_cast<ptrdiff_t>(x.before), expected.begin()));
            RC_ASSERT(std::equal(now.end() - static_cast<ptrdiff_t>(x.after), now.end(),
                                 expected.end() - static_cast<ptrdiff_t>(x.after)));
            bare.close();
        });
        EXPECT_GT(bounced, 0u);
        EXPECT_GT(direct, 0u);
        EXPECT_GT(translated, 0u);
    }
    // The expected bytes of the buffer itself.
    static uint8_t* buffer(const Mapped& x, Bytes& memory) { return memory.data() + x.before; }
    static Bytes part(const Mapped& x, const Bytes& memory, uint64_t from, uint64_t n)
    {
        const auto first = memory.begin() + static_cast<ptrdiff_t>(x.before + from);
        return {first, first + static_cast<ptrdiff_t>(n)};
    }
    // The device writes some random ranges; the expectation follows.
    static void device_writes_some(Bare& bare, Rng& rng, const Mapped& x, Bytes& memory)
    {
        for (uint64_t n = rng.below(4); n > 0; n--) {
            const uint64_t from = rng.below(x.size), len = 1 + rng.below(x.size - from);
            const Bytes data = random_bytes(rng, len);
            bare.device_write(x.device, x.m.bus + from, data);
            std::copy(data.begin(), data.end(), buffer(x, memory) + from);
        }
    }

    Machine machine;
};

// ---- I8 ----

TEST_F(Data, a_device_reads_what_was_handed_over_by_map)
{
    with_mapping(2500, false, [](Bare& bare, Rng& rng, Mapped& x, Bytes& memory) {
        RC_PRE(device_may_read(x.direction));
        bare.disturb(rng);
        RC_ASSERT(bare.device_read(x.device, x.m.bus, x.size) == part(x, memory, 0, x.size));
        RC_ASSERT(bare.unmap(x.m, x.size) == DMAUDIT_OK);
        RC_ASSERT(bare.cpu_read(x.cpu, x.size) == part(x, memory, 0, x.size));
    });
}

TEST_F(Data, a_device_reads_what_was_handed_over_by_sync)
{
    with_mapping(2500, true, [](Bare& bare, Rng& rng, Mapped& x, Bytes& memory) {
        RC_PRE(device_may_read(x.direction));
        const uint64_t line = bare.world().line;
        for (unsigned round = 0; round < 3; round++) {
            // Whole lines, so that one that conforms may do it on any machine.
            const uint64_t from = rng.below(x.size) & ~(line - 1),
                           n = std::min(x.size - from, (1 + rng.below(8)) * line);
            RC_ASSERT(bare.sync(x.m, from, n, x.direction, DMAUDIT_FOR_CPU) == DMAUDIT_OK);
            bare.disturb(rng);
            const Bytes data = random_bytes(rng, n);
            bare.cpu_write(x.cpu + from, data);
            std::copy(data.begin(), data.end(), buffer(x, memory) + from);
            bare.disturb(rng);
            RC_ASSERT(bare.sync(x.m, from, n, rng.chance(1, 2) ? x.direction : uint32_t{DMAUDIT_TO_DEVICE},
                                DMAUDIT_FOR_DEVICE) == DMAUDIT_OK);
            bare.disturb(rng);
            RC_ASSERT(bare.device_read(x.device, x.m.bus, x.size) == part(x, memory, 0, x.size));
        }
        RC_ASSERT(bare.unmap(x.m, x.size) == DMAUDIT_OK);
    });
}

// ---- I9 ----

TEST_F(Data, the_cpu_reads_what_the_device_wrote_after_unmap)
{
    with_mapping(2500, false, [](Bare& bare, Rng& rng, Mapped& x, Bytes& memory) {
        RC_PRE(device_may_write(x.direction));
        const Bytes data = random_bytes(rng, x.size);
        bare.device_write(x.device, x.m.bus, data);
        std::copy(data.begin(), data.end(), buffer(x, memory));
        bare.disturb(rng);
        RC_ASSERT(bare.unmap(x.m, x.size) == DMAUDIT_OK);
        bare.disturb(rng);
        RC_ASSERT(bare.cpu_read(x.cpu, x.size) == data);
    });
}

TEST_F(Data, the_cpu_reads_what_the_device_wrote_after_a_sync_of_just_that)
{
    with_mapping(2500, false, [](Bare& bare, Rng& rng, Mapped& x, Bytes& memory) {
        RC_PRE(device_may_write(x.direction));
        for (unsigned round = 0; round < 3; round++) {
            device_writes_some(bare, rng, x, memory);
            bare.disturb(rng);
            const uint64_t from = rng.below(x.size), n = 1 + rng.below(x.size - from);
            RC_ASSERT(bare.sync(x.m, from, n, rng.chance(1, 2) ? x.direction : uint32_t{DMAUDIT_FROM_DEVICE},
                                DMAUDIT_FOR_CPU) == DMAUDIT_OK);
            bare.disturb(rng);
            RC_ASSERT(bare.cpu_read(x.cpu + from, n) == part(x, memory, from, n));
            if (rng.chance(1, 2))
                RC_ASSERT(bare.sync(x.m, from, n, x.direction, DMAUDIT_FOR_DEVICE) == DMAUDIT_OK);
        }
        RC_ASSERT(bare.unmap(x.m, x.size) == DMAUDIT_OK);
        RC_ASSERT(bare.cpu_read(x.cpu, x.size) == part(x, memory, 0, x.size));
    });
}

// ---- I10 ----

// The provider promises to bounce buffers that share a line with something a non-coherent device must not meet: then
// the CPU may go on using the bytes beside a mapping.
TEST_F(Data, bytes_beside_a_mapping_in_its_lines_stay_the_cpus)
{
    ASSERT_NE(builtin_provider().promises & DMAUDIT_PROMISES_EDGE_BOUNCE, 0u);
    with_mapping(2500, false, [](Bare& bare, Rng& rng, Mapped& x, Bytes& memory) {
        const auto touch = [&] {
            for (uint64_t n = rng.below(3); n > 0; n--) {
                const uint64_t distance = 1 + rng.below(bare.world().line);
                const bool left = rng.chance(1, 2);
                const Bytes one = random_bytes(rng, 1);
                bare.cpu_write(left ? x.cpu - distance : x.cpu + x.size - 1 + distance, one);
                memory[left ? x.before - distance : x.before + x.size - 1 + distance] = one[0];
            }
        };
        touch();
        bare.disturb(rng);
        if (device_may_write(x.direction))
            device_writes_some(bare, rng, x, memory);
        touch();
        bare.disturb(rng);
        if (device_may_write(x.direction) && rng.chance(1, 2))
            RC_ASSERT(bare.sync(x.m, 0, x.size, x.direction, DMAUDIT_FOR_CPU) == DMAUDIT_OK);
        touch();
        bare.disturb(rng);
        RC_ASSERT(bare.unmap(x.m, x.size) == DMAUDIT_OK);
        bare.disturb(rng);
        RC_ASSERT(bare.cpu_read(x.cpu - x.before, memory.size()) == memory);
    });
}

// ---- I11 ----

TEST_F(Data, bytes_that_the_device_did_not_write_are_unchanged_by_map_and_unmap)
{
    ASSERT_NE(builtin_provider().promises & DMAUDIT_PROMISES_KEEP_UNWRITTEN, 0u);
    with_mapping(4000, false, [](Bare& bare, Rng& rng, Mapped& x, Bytes& memory) {
        bare.disturb(rng);
        if (device_may_write(x.direction))
            device_writes_some(bare, rng, x, memory);
        bare.disturb(rng);
        for (uint64_t n = rng.below(3); n > 0; n--) {
            const uint64_t from = rng.below(x.size), len = rng.below(x.size - from + 1);
            RC_ASSERT(bare.sync(x.m, from, len, x.direction, DMAUDIT_FOR_CPU) == DMAUDIT_OK);
            RC_ASSERT(bare.sync(x.m, from, len, x.direction, DMAUDIT_FOR_DEVICE) == DMAUDIT_OK);
        }
        RC_ASSERT(bare.unmap(x.m, x.size) == DMAUDIT_OK);
        bare.disturb(rng);
        RC_ASSERT(bare.cpu_read(x.cpu, x.size) == part(x, memory, 0, x.size));
    });
}

// ---- I12 ----

TEST_F(Data, a_device_finds_no_byte_of_an_earlier_owner_under_a_mapping)
{
    // The buffer holds no 0xee; everything that was ever freed or bounced is full of them.
    with_mapping(2500, false, [](Bare& bare, Rng& rng, Mapped& x, Bytes& memory) {
        RC_ASSERT(bare.unmap(x.m, x.size) == DMAUDIT_OK);
        const uint64_t most = std::min<uint64_t>(bare.world().page, x.size + x.after);
        bare.cpu_write(x.cpu, Bytes(most, Crowd::secret));
        for (unsigned i = 0; i < 3; i++) // secrets travel through the slots, by a coherent or another device
            for (uint32_t device = 0; device < bare.world().n_devices; device++)
                if (dmaudit_mapping m; bare.map({sizeof(dmaudit_request), device, most, 0, 0, 0, 0, 0}, x.cpu,
                                                DMAUDIT_TO_DEVICE, m) == DMAUDIT_OK)
                    RC_ASSERT(bare.unmap(m, most) == DMAUDIT_OK);
        bare.cpu_write(x.cpu, Bytes(most, 0x11));
        std::fill_n(buffer(x, memory), most, uint8_t{0x11});
        RC_PRE(bare.map({sizeof(dmaudit_request), x.device, x.size, 0, 0, 0, 0, 0}, x.cpu, x.direction, x.m) ==
               DMAUDIT_OK);
        const Bytes seen = bare.device_read(x.device, x.m.bus, std::min(most, x.size));
        RC_ASSERT(std::count(seen.begin(), seen.end(), Crowd::secret) == 0);
        bare.disturb(rng);
        RC_ASSERT(bare.unmap(x.m, x.size) == DMAUDIT_OK);
        const Bytes now = bare.cpu_read(x.cpu, std::min(most, x.size));
        RC_ASSERT(std::count(now.begin(), now.end(), Crowd::secret) == 0);
    });
}

TEST_F(Data, a_window_shows_no_byte_of_an_earlier_owner)
{
    unsigned windows = 0;
    for_all_seeds(600, [&](uint64_t seed) {
        Rng rng(seed);
        Bare bare(machine, some_world(rng));
        Crowd crowd(bare, rng); // which fills what it owns with secrets, to the last byte of the last page
        crowd.declare_pools();
        const uint64_t page = bare.world().page;
        crowd.on_block = [&](const dmaudit_request& r, const Crowd::Block& b) {
            dmaudit_window w;
            int ours = 0;
            const uint64_t pages = (r.size - 1) / page + 1;
            if (!b.pooled)
                return;
            RC_ASSERT(bare.mmap_from(r.device, b.block.cpu, r.size, 0, pages, w, ours) == DMAUDIT_OK);
            RC_ASSERT(ours == 1);
            const Bytes shown = bare.cpu_read(bare.at(*machine.offset_of(w.phys, w.size)), w.size);
            RC_ASSERT(std::count(shown.begin(), shown.end(), Crowd::secret) == 0);
            windows++;
        };
        for (unsigned i = 0; i < 60; i++)
            crowd.step();
    });
    EXPECT_GT(windows, 500u);
}

// ---- coherent memory ----

TEST_F(Data, cpu_and_device_see_each_others_bytes_in_coherent_blocks_at_once)
{
    for_all_seeds(1000, [&](uint64_t seed) {
        Rng rng(seed);
        Bare bare(machine, some_world(rng));
        Crowd crowd(bare, rng);
        crowd.declare_pools();
        for (unsigned i = 0; i < 12; i++)
            crowd.step();
        for (const Crowd::Block& b : crowd.blocks()) {
            auto* cpu = static_cast<uint8_t*>(b.block.cpu);
            Bytes expected(b.block.size, Crowd::secret);
            for (unsigned i = 0; i < 6; i++) {
                const uint64_t from = rng.below(b.block.size), n = 1 + rng.below(b.block.size - from);
                const Bytes data = random_bytes(rng, n);
                if (rng.chance(1, 2))
                    bare.cpu_write(cpu + from, data);
                else
                    bare.device_write(b.block.device, b.block.bus + from, data);
                std::copy(data.begin(), data.end(), expected.begin() + static_cast<ptrdiff_t>(from));
                bare.disturb(rng);
                RC_ASSERT(bare.cpu_read(cpu, b.block.size) == expected);
                RC_ASSERT(bare.device_read(b.block.device, b.block.bus, b.block.size) == expected);
            }
        }
    });
}

// ---- I13 ----

// Without an IOMMU the machine lets a device go anywhere: the auditor must not.
TEST(Access, a_device_is_denied_all_but_its_mapped_bytes_in_their_direction_and_time)
{
    Session session;
    for_all_seeds(1000, [&](uint64_t seed) {
        Rng rng(seed);
        World w = some_world(rng);
        w.devices[0].limit = all_ones;
        RC_ASSERT(session.open(w, builtin_provider()) == DMAUDIT_OK);
        struct Closer {
            Session& s;
            ~Closer() { s.close(); }
        } closer{session};
        Auditor& auditor = session.auditor();
        const auto denied = [&](uint32_t device, Tag t, uint64_t off, uint64_t len, bool write, RuleId rule) {
            RC_ASSERT(!auditor.device_access(device, t, off, len, write));
            RC_ASSERT(session.violation().has_value());
            RC_ASSERT((session.violation()->rule == rule));
            session.forgive();
        };
        const uint64_t size = 1 + rng.below(1500), place = rng.below(w.page) & ~(w.line - 1);
        const auto at = client_offset(w, place, size);
        RC_PRE(at.has_value());
        const Tag buffer = auditor.add_buffer({*at, size});
        RC_ASSERT(auditor.cpu_access(buffer, 0, size, true));
        const auto direction = static_cast<uint32_t>(rng.below(3));
        dmaudit_mapping m{};
        RC_PRE(auditor.map_single({sizeof(dmaudit_request), 0, size, 0, 0, 0, 0, 0}, session.machine().client() + *at,
                                  direction, &m) == DMAUDIT_OK);
        const auto t = static_cast<Tag>(m.cookie[0]);
        const uint64_t off = rng.below(size), len = 1 + rng.below(size - off);
        RC_ASSERT(session.machine().reach(0, m.bus, size).has_value());
        if (device_may_read(direction))
            RC_ASSERT(auditor.device_access(0, t, off, len, false));
        else
            denied(0, t, off, len, false, RuleId::device_wrong_direction);
        if (!device_may_write(direction))
            denied(0, t, off, len, true, RuleId::device_wrong_direction);
        denied(0, t, off, size - off + 1 + rng.below(64), rng.chance(1, 2), RuleId::device_access_denied);
        if (w.n_devices > 1)
            denied(1, t, off, len, false, RuleId::device_access_denied);
        RC_ASSERT(auditor.unmap_single(m, every_byte, 0) == DMAUDIT_OK);
        denied(0, t, off, len, rng.chance(1, 2), RuleId::use_after_unmap);
    });
}

TEST(Access, a_device_faults_beyond_its_limit_and_outside_ram)
{
    Machine machine;
    for_all_seeds(1000, [&](uint64_t seed) {
        Rng rng(seed);
        World w = some_world(rng);
        for (DeviceSpec& d : w.devices)
            d.iommu = 0;
        Bare bare(machine, w);
        const auto device = static_cast<uint32_t>(rng.below(w.n_devices));
        const BankSpec& bank = w.banks[rng.below(w.n_banks)];
        const uint64_t first = bank.phys + w.devices[device].offset, off = rng.below(bank.size),
                       n = 1 + rng.below(bank.size - off);
        RC_ASSERT(machine.reach(device, first + off, n).has_value() ==
                  (first + off + (n - 1) <= w.devices[device].limit));
        RC_ASSERT(!machine.reach(device, DMAUDIT_NO_ADDRESS, 1).has_value());
        RC_ASSERT(!machine.reach(device, first + off, bank.size - off + 1 + rng.below(1000)).has_value());
    });
}

} // namespace
} // namespace dmaudit::properties
