// What an allocator owes with dma-bufs, checked against its own table, and by the auditor in worlds of importers of all
// kinds.
#include "properties/bare.hpp"
#include "properties/support.hpp"

#include <algorithm>
#include <cstring>
#include <gtest/gtest.h>
#include <map>
#include <set>

namespace dmaudit::properties {
namespace {

constexpr uint32_t bi = DMAUDIT_BIDIRECTIONAL, to = DMAUDIT_TO_DEVICE, from = DMAUDIT_FROM_DEVICE;

// Three devices out of those that differ most: near ones (client pages are bounced), some behind an IOMMU, some that
// snoop.
World world_of_importers(Rng& rng, Mode mode)
{
    World w;
    w.mode = mode;
    w.line = 16u << rng.below(5);
    w.n_banks = 1;
    w.banks[0] = {0x80000000, 64 * w.page};
    w.n_devices = 3;
    for (unsigned d = 0; d < 3; d++) {
        w.devices[d] = {};
        w.devices[d].coherent = rng.chance(1, 2);
        w.devices[d].iommu = rng.chance(1, 3);
        const uint64_t end_of_arena = w.banks[0].phys + divide(w, 0).arena;
        w.devices[d].limit = rng.chance(1, 2) ? all_ones : w.devices[d].iommu ? 32 * w.page - 1 : end_of_arena - 1;
    }
    return w;
}

// The table of dma-buf calls, with a machine around it.
struct Bufs {
    struct Mapped {
        int code;
        dmaudit_sg_segment segment;
        uint32_t n;
    };

    explicit Bufs(Machine& on, const World& w) : bare(on, w), machine(on) { RC_ASSERT(bare.opened == DMAUDIT_OK); }
    const dmaudit_dma_buf& table() const { return *bare.provider().dma_buf; }
    template <class F> int call(F f)
    {
        machine.begin_call();
        const int code = f(table(), bare.ctx());
        machine.end_call();
        RC_ASSERT(machine.locks_held() == 0u);
        return code;
    }
    dmaudit_block block(uint32_t device, uint64_t size)
    {
        dmaudit_block b;
        RC_ASSERT(bare.alloc({sizeof(dmaudit_request), device, size, 0, 0, 0, DMAUDIT_ZERO, 0}, b) == DMAUDIT_OK);
        return b;
    }
    int export_block(const dmaudit_block& b, uint64_t& id)
    {
        return call([&](auto& t, void* ctx) { return t.export_block(ctx, &b, "block", &id); });
    }
    int export_pages(uint8_t* at, uint64_t size, uint64_t& id)
    {
        return call([&](auto& t, void* ctx) { return t.export_pages(ctx, at, size, "pages", &id); });
    }
    int put(uint64_t id)
    {
        return call([&](auto& t, void* ctx) { return t.put(ctx, id); });
    }
    int fd(uint64_t id, int& out)
    {
        return call([&](auto& t, void* ctx) { return t.fd(ctx, id, &out); });
    }
    int get(int fd, uint64_t& id)
    {
        return call([&](auto& t, void* ctx) { return t.get(ctx, fd, &id); });
    }
    int dup(int fd, int& out)
    {
        return call([&](auto& t, void* ctx) { return t.dup_fd(ctx, fd, &out); });
    }
    int close(int fd)
    {
        return call([&](auto& t, void* ctx) { return t.close_fd(ctx, fd); });
    }
    int attach(uint64_t id, uint32_t device, uint64_t& out)
    {
        return call([&](auto& t, void* ctx) { return t.attach(ctx, id, device, &out); });
    }
    int detach(uint64_t id, uint64_t attachment)
    {
        return call([&](auto& t, void* ctx) { return t.detach(ctx, id, attachment); });
    }
    Mapped map(uint64_t attachment, uint32_t direction, dmaudit_sg& sg)
    {
        Mapped out{};
        sg = {sizeof sg, 0, nullptr, &out.segment, 1, 0, direction, 0, {0, 0}};
        out.code = call([&](auto& t, void* ctx) { return t.map_attachment(ctx, attachment, direction, &sg); });
        out.n = sg.n_segments;
        return out;
    }
    int unmap(uint64_t attachment, dmaudit_sg sg, dmaudit_sg_segment segment, uint32_t direction)
    {
        sg.segments = &segment;
        sg.direction = direction;
        return call([&](auto& t, void* ctx) { return t.unmap_attachment(ctx, attachment, &sg, direction); });
    }
    int begin(uint64_t id, uint64_t start, uint64_t length, uint32_t direction)
    {
        return call([&](auto& t, void* ctx) { return t.begin_cpu_access(ctx, id, start, length, direction); });
    }
    int end(uint64_t id, uint64_t start, uint64_t length, uint32_t direction)
    {
        return call([&](auto& t, void* ctx) { return t.end_cpu_access(ctx, id, start, length, direction); });
    }

    Bare bare;
    Machine& machine;
};

class DmaBuf : public ::testing::Test {
  protected:
    Machine machine;
};

// ---- references

TEST_F(DmaBuf, a_block_is_released_exactly_with_its_last_reference)
{
    for_all_seeds(400, [&](uint64_t seed) {
        Rng rng(seed);
        Bufs bufs(machine, world_of_importers(rng, Mode::hostile));
        const uint32_t device = static_cast<uint32_t>(rng.below(3));
        std::map<int, unsigned> open; // descriptor: which
        struct Model {
            dmaudit_block block;
            uint64_t id, refs; // of the caller
            uint64_t total;
        };
        std::vector<Model> all;
        for (unsigned i = 0; i < 2; i++) {
            Model m{bufs.block(device, bufs.bare.world().page), 0, 1, 1};
            RC_ASSERT(bufs.export_block(m.block, m.id) == DMAUDIT_OK);
            all.push_back(m);
        }
        RC_ASSERT(all[0].id != all[1].id);
        const auto lowest = [&] {
            int fd = 0;
            while (open.contains(fd))
                fd++;
            return fd;
        };
        for (unsigned step = 0; step < 60; step++) {
            const auto which = static_cast<unsigned>(rng.below(2));
            Model& m = all[which];
            const int at = static_cast<int>(rng.below(5)), expected = lowest();
            int fd = -1;
            uint64_t id = 0;
            const bool known = open.contains(at);
            switch (rng.below(5)) {
            case 0:
                RC_ASSERT(bufs.put(m.id) == (m.refs ? DMAUDIT_OK : DMAUDIT_EFAULT));
                m.total -= m.refs != 0, m.refs -= m.refs != 0;
                break;
            case 1:
                RC_ASSERT(bufs.fd(m.id, fd) == (m.refs ? DMAUDIT_OK : DMAUDIT_EFAULT));
                if (m.refs) {
                    RC_ASSERT(fd == expected);
                    open[fd] = which, m.refs--;
                }
                break;
            case 2:
                RC_ASSERT(bufs.get(at, id) == (known ? DMAUDIT_OK : DMAUDIT_EBADF));
                if (known) {
                    RC_ASSERT(id == all[open[at]].id);
                    all[open[at]].refs++, all[open[at]].total++;
                }
                break;
            case 3:
                RC_ASSERT(bufs.dup(at, fd) == (known ? DMAUDIT_OK : DMAUDIT_EBADF));
                if (known) {
                    RC_ASSERT(fd == expected);
                    open[fd] = open[at], all[open[at]].total++;
                }
                break;
            default:
                RC_ASSERT(bufs.close(at) == (known ? DMAUDIT_OK : DMAUDIT_EBADF));
                if (known)
                    all[open[at]].total--, open.erase(at);
            }
            for (Model& each : all) { // free is refused as long as there is a reference, and only then
                const int code = bufs.bare.free(each.block);
                RC_ASSERT((code == DMAUDIT_OK) == (each.total == 0));
                if (code != DMAUDIT_OK)
                    continue;
                const uint64_t before = each.id;
                each = {bufs.block(device, bufs.bare.world().page), 0, 1, 1};
                RC_ASSERT(bufs.export_block(each.block, each.id) == DMAUDIT_OK);
                RC_ASSERT(each.id != before);
            }
        }
        bufs.bare.close();
    });
}

// ---- attachments

TEST_F(DmaBuf, an_attachment_keeps_its_mapping)
{
    uint64_t mapped_ones = 0, refused = 0;
    for_all_seeds(600, [&](uint64_t seed) {
        Rng rng(seed);
        Bufs bufs(machine, world_of_importers(rng, Mode::hostile));
        uint64_t id = 0, a = 0;
        const uint64_t size = (1 + rng.below(2)) * bufs.bare.world().page;
        RC_ASSERT(bufs.export_pages(bufs.bare.client(0, size), size, id) == DMAUDIT_OK);
        const auto device = static_cast<uint32_t>(rng.below(3));
        RC_ASSERT(bufs.attach(id, device, a) == DMAUDIT_OK);
        uint32_t maps[3] = {};
        uint32_t first = 0;
        dmaudit_sg sg{};
        dmaudit_sg_segment kept{};
        for (unsigned step = 0; step < 24; step++) {
            const auto direction = static_cast<uint32_t>(rng.below(3));
            const bool mapped = maps[0] + maps[1] + maps[2] != 0;
            if (kept.length == 0 || rng.chance(1, 2)) { // of what never was mapped there is nothing to give back
                dmaudit_sg now;
                const Bufs::Mapped m = bufs.map(a, direction, now);
                if (mapped && first != bi && direction != first) {
                    RC_ASSERT(m.code == DMAUDIT_EBUSY);
                    refused++;
                    continue;
                }
                RC_ASSERT(m.code == DMAUDIT_OK);
                RC_ASSERT(m.n == 1u);
                RC_ASSERT(m.segment.length == size);
                if (mapped)
                    RC_ASSERT((m.segment.bus == kept.bus && now.cookie[0] == sg.cookie[0]));
                else
                    first = direction, kept = m.segment, sg = now;
                maps[direction]++;
                mapped_ones++;
            } else {
                const int code = bufs.unmap(a, sg, kept, direction);
                RC_ASSERT(code == (maps[direction] ? DMAUDIT_OK : DMAUDIT_EFAULT));
                maps[direction] -= maps[direction] != 0;
            }
            if (maps[0] + maps[1] + maps[2]) {
                RC_ASSERT(bufs.detach(id, a) == DMAUDIT_EFAULT);
                RC_ASSERT(bufs.put(id) == DMAUDIT_EFAULT);
                RC_ASSERT(machine.reach(device, kept.bus, size, first == bi ? 3 : first == to ? 1 : 2).has_value());
            } else if (bufs.bare.world().devices[device].iommu) {
                RC_ASSERT(machine.translations() == 0u);
            }
        }
        bufs.bare.close();
        RC_ASSERT(machine.translations() == 0u);
    });
    EXPECT_GT(mapped_ones, 0u);
    EXPECT_GT(refused, 0u);
}

// ---- bytes

// One importer works at a time, beside a reader that stays mapped. What either side has handed over the other finds,
// through every evasion of the cache.
TEST_F(DmaBuf, what_is_handed_over_arrives)
{
    uint64_t device_reads = 0, cpu_reads = 0, both = 0;
    for_all_seeds(600, [&](uint64_t seed) {
        Rng rng(seed);
        Bufs bufs(machine, world_of_importers(rng, Mode::hostile));
        Bare& bare = bufs.bare;
        const World& w = bare.world();
        const bool pages = rng.chance(2, 3);
        const uint64_t size = (1 + rng.below(2)) * w.page - (pages ? 0 : rng.below(100));
        uint64_t id = 0, reader = 0;
        uint8_t* cpu = nullptr;
        if (pages) {
            cpu = bare.client(0, size);
            RC_ASSERT(bufs.export_pages(cpu, size, id) == DMAUDIT_OK);
        } else {
            const dmaudit_block b = bufs.block(static_cast<uint32_t>(rng.below(3)), size);
            cpu = static_cast<uint8_t*>(b.cpu);
            RC_ASSERT(bufs.export_block(b, id) == DMAUDIT_OK);
        }
        const auto range = [&] {
            const uint64_t at = rng.below(size);
            return std::pair(at, 1 + rng.below(std::min<uint64_t>(size - at, rng.chance(1, 2) ? 8 : size)));
        };
        Bytes must = random_bytes(rng, size);
        RC_ASSERT(bufs.begin(id, 0, size, to) == DMAUDIT_OK);
        bare.cpu_write(cpu, must);
        RC_ASSERT(bufs.end(id, 0, size, to) == DMAUDIT_OK);
        const auto part = [&](uint64_t at, uint64_t n) {
            return Bytes(must.begin() + static_cast<std::ptrdiff_t>(at),
                         must.begin() + static_cast<std::ptrdiff_t>(at + n));
        };

        const auto reading = static_cast<uint32_t>(rng.below(3));
        dmaudit_sg reader_sg;
        Bufs::Mapped read_here{};
        bool has_reader = bufs.attach(id, reading, reader) == DMAUDIT_OK;
        if (has_reader && rng.chance(1, 2))
            has_reader = (read_here = bufs.map(reader, to, reader_sg)).code == DMAUDIT_OK;
        else
            has_reader = false;
        const auto reader_sees = [&] {
            if (!has_reader)
                return;
            const auto [at, n] = range();
            RC_ASSERT(bare.device_read(reading, read_here.segment.bus + at, n) == part(at, n));
        };
        reader_sees();
        for (unsigned round = 0; round < 6; round++) {
            const auto device = static_cast<uint32_t>(rng.below(3)), direction = static_cast<uint32_t>(rng.below(3));
            uint64_t a = 0;
            dmaudit_sg sg;
            const int attached = bufs.attach(id, device, a);
            RC_ASSERT((attached == DMAUDIT_OK || (!pages && attached == DMAUDIT_EMASK)));
            if (attached != DMAUDIT_OK)
                continue;
            const Bufs::Mapped m = bufs.map(a, direction, sg);
            RC_ASSERT(m.code == DMAUDIT_OK);
            bool written = false;
            for (unsigned step = 0; step < 8; step++) {
                bare.disturb(rng);
                const auto [at, n] = range();
                const Bytes news = random_bytes(rng, n);
                switch (rng.below(4)) {
                case 0:
                    if (direction == to)
                        break;
                    bare.device_write(device, m.segment.bus + at, news);
                    std::copy(news.begin(), news.end(), must.begin() + static_cast<std::ptrdiff_t>(at));
                    written = true;
                    break;
                case 1:
                    if (direction == from)
                        break;
                    RC_ASSERT(bare.device_read(device, m.segment.bus + at, n) == part(at, n));
                    device_reads++;
                    break;
                case 2:
                    RC_ASSERT(bufs.begin(id, at, n, from) == DMAUDIT_OK);
                    bare.disturb(rng);
                    RC_ASSERT(bare.cpu_read(cpu + at, n) == part(at, n));
                    RC_ASSERT(bufs.end(id, at, n, from) == DMAUDIT_OK);
                    cpu_reads++;
                    break;
                default:
                    RC_ASSERT(bufs.begin(id, at, n, bi) == DMAUDIT_OK);
                    RC_ASSERT(bare.cpu_read(cpu + at, n) == part(at, n));
                    bare.cpu_write(cpu + at, news);
                    bare.disturb(rng);
                    if (rng.chance(1, 4)) { // an inner bracket takes nothing away
                        RC_ASSERT(bufs.begin(id, at, n, bi) == DMAUDIT_OK);
                        RC_ASSERT(bare.cpu_read(cpu + at, n) == news);
                        RC_ASSERT(bufs.end(id, at, n, bi) == DMAUDIT_OK);
                    }
                    RC_ASSERT(bufs.end(id, at, n, bi) == DMAUDIT_OK);
                    std::copy(news.begin(), news.end(), must.begin() + static_cast<std::ptrdiff_t>(at));
                    both += written;
                    if (!written)
                        reader_sees();
                }
            }
            bare.disturb(rng);
            RC_ASSERT(bufs.unmap(a, sg, m.segment, direction) == DMAUDIT_OK);
            RC_ASSERT(bufs.detach(id, a) == DMAUDIT_OK);
            reader_sees();
            RC_ASSERT(bufs.begin(id, 0, size, from) == DMAUDIT_OK);
            RC_ASSERT(bare.cpu_read(cpu, size) == must);
            RC_ASSERT(bufs.end(id, 0, size, from) == DMAUDIT_OK);
        }
        bare.close();
    });
    EXPECT_GT(device_reads, 0u);
    EXPECT_GT(cpu_reads, 0u);
    EXPECT_GT(both, 0u);
}

TEST_F(DmaBuf, a_bracket_ends_once_for_each_begin)
{
    for_all_seeds(400, [&](uint64_t seed) {
        Rng rng(seed);
        Bufs bufs(machine, world_of_importers(rng, Mode::hostile));
        uint64_t id = 0;
        const uint64_t page = bufs.bare.world().page;
        RC_ASSERT(bufs.export_pages(bufs.bare.client(0, page), page, id) == DMAUDIT_OK);
        using Bracket = std::tuple<uint64_t, uint64_t, uint32_t>;
        std::multiset<Bracket> open;
        for (unsigned step = 0; step < 40; step++) {
            const Bracket b{rng.below(3) * 64, 64 * rng.below(3), static_cast<uint32_t>(rng.below(3))};
            const auto [start, length, direction] = b;
            if (rng.chance(1, 2)) {
                RC_ASSERT(bufs.begin(id, start, length, direction) == DMAUDIT_OK);
                open.insert(b);
            } else {
                RC_ASSERT(bufs.end(id, start, length, direction) == (open.contains(b) ? DMAUDIT_OK : DMAUDIT_EFAULT));
                if (open.contains(b))
                    open.erase(open.find(b));
            }
            RC_ASSERT(bufs.begin(id, page - 1, 2, direction) == DMAUDIT_EINVAL);
        }
        bufs.bare.close();
    });
}

// ---- failures

// Each call of a life, with its n-th platform call failing, for every n that there is: the call says so and changes
// nothing; without the failure it then succeeds as if it had been the first.
TEST_F(DmaBuf, a_call_that_fails_changes_nothing)
{
    uint64_t failures = 0;
    for_all_seeds(200, [&](uint64_t seed) {
        Rng rng(seed);
        Bufs bufs(machine, world_of_importers(rng, Mode::hostile));
        Bare& bare = bufs.bare;
        const uint64_t page = bare.world().page, size = 2 * page;
        const auto device = static_cast<uint32_t>(rng.below(3)), direction = static_cast<uint32_t>(rng.below(3));
        uint8_t* cpu = bare.client(0, size);
        bare.cpu_write(cpu, random_bytes(rng, size));
        machine.cache().evict(0, machine.ram_size());
        const auto insist = [&](auto&& op) {
            for (uint64_t nth = 1;; nth++) {
                const Bytes before(cpu, cpu + size);
                const uint64_t translations = machine.translations(), uncached = machine.cache().uncached_pages();
                bare.fail_inside(nth);
                const int code = op();
                const bool fired = bare.failed_inside();
                bare.fail_inside(0);
                if (!fired || code == DMAUDIT_OK) {
                    RC_ASSERT(code == DMAUDIT_OK);
                    return;
                }
                failures++;
                RC_ASSERT((code == DMAUDIT_ENOMEM || code == DMAUDIT_EIO));
                RC_ASSERT(machine.translations() == translations);
                RC_ASSERT(machine.cache().uncached_pages() == uncached);
                RC_ASSERT(Bytes(cpu, cpu + size) == before);
            }
        };
        const unsigned lives = 1 + static_cast<unsigned>(rng.below(6)); // tables grow
        const dmaudit_block block = bufs.block(device, page);
        for (unsigned life = 0; life < lives; life++) {
            uint64_t id = 0, other = 0, a = 0, again = 0;
            int fd = -1, copy = -1;
            insist([&] { return bufs.export_pages(cpu, size, id); });
            insist([&] { return bufs.export_block(block, other); });
            insist([&] { return bufs.fd(id, fd); });
            RC_ASSERT(fd == 0);
            insist([&] { return bufs.dup(fd, copy); });
            RC_ASSERT(copy == 1);
            insist([&] { return bufs.get(fd, again); });
            RC_ASSERT(again == id);
            insist([&] { return bufs.attach(id, device, a); });
            dmaudit_sg sg;
            Bufs::Mapped m{};
            insist([&] { return (m = bufs.map(a, direction, sg)).code; });
            insist([&] { return bufs.begin(id, 0, 64, to); });
            insist([&] { return bufs.end(id, 0, 64, to); });
            RC_ASSERT(bufs.end(id, 0, 64, to) == DMAUDIT_EFAULT);
            insist([&] { return bufs.unmap(a, sg, m.segment, direction); });
            RC_ASSERT(bufs.unmap(a, sg, m.segment, direction) == DMAUDIT_EFAULT);
            insist([&] { return bufs.detach(id, a); });
            insist([&] { return bufs.close(fd); });
            insist([&] { return bufs.close(copy); });
            insist([&] { return bufs.put(id); });
            RC_ASSERT(bufs.put(id) == DMAUDIT_EFAULT);
            RC_ASSERT(bare.free(block) != DMAUDIT_OK);
            insist([&] { return bufs.put(other); });
        }
        RC_ASSERT(bare.free(block) == DMAUDIT_OK);
        bare.close();
    });
    EXPECT_GT(failures, 0u);
}

// ---- the auditor

TEST_F(DmaBuf, importers_of_all_kinds_never_violate)
{
    Checker checker;
    Tally tally;
    for_all_seeds(2500, [&](uint64_t seed) {
        Rng rng(seed);
        const World w = world_of_importers(rng, Mode::conforming);
        RC_ASSERT(world_error(w) == "");
        checker.expect_no_violation(in_world(generated(rng.next(), "dma_buf", 64), w), &tally);
    });
    EXPECT_GT(tally.marks[Mark::attachment_mapped], static_cast<uint64_t>(tries(2500)) / 3);
    EXPECT_GT(tally.marks[Mark::bracket], static_cast<uint64_t>(tries(2500)) / 3);
}

} // namespace
} // namespace dmaudit::properties
