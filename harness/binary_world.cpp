#include "harness/binary_world.hpp"
#include "harness/binary.hpp"

namespace dmaudit::codes {
namespace {

constexpr uint8_t version = 1, literal_world = 'L';
constexpr unsigned max_coded_banks = 2, max_coded_devices = 3;

// Bytes of the header.
enum At : unsigned {
    at_format,
    at_mode,
    at_expect,
    at_page,
    at_banks,
    at_phys,
    at_coherent,
    at_devices
}; // three devices
enum LiteralAt : unsigned { at_n_banks = 3, at_n_devices = 4, at_line = 6, at_literal_page = 8 };

// In the byte of the mode: bit 0 says conforming, and all bits of one of these that this mode of strictness is on.
constexpr uint8_t strict_bits[std::size(strict_modes)] = {0x06, 0x30, 0xc0, 0x08};

constexpr uint64_t four_gib = uint64_t{1} << 32;

uint64_t page_of(unsigned n)
{
    return n < 12 ? 4096 : n < 14 ? 16384 : 65536;
}
uint64_t line_of(unsigned n)
{
    constexpr uint64_t rest[] = {16, 32, 128, 128, 256, 256};
    return n < 10 ? 64 : rest[n - 10];
}

// At most 256 KiB of RAM (1 MiB with pages of 64 KiB), mostly half of that: comparing it afterwards costs as much as
// running the case.
void sizes_of(unsigned n, World& w)
{
    const uint64_t most = w.page == 4096 ? 64 : 16, half = most / 2, quarter = most / 4;
    const uint64_t table[16][2] = {{most, 0}, // the default world
                                   {quarter, 0},
                                   {8, 0},
                                   {4, 0},
                                   {5, 0},
                                   {half - 1, 0},
                                   {7, 0},
                                   {quarter, 0},
                                   {quarter, quarter},
                                   {4, half - 4},
                                   {half - 4, 4},
                                   {quarter, 4},
                                   {5, 7},
                                   {half, 0},
                                   {half, 0},
                                   {quarter, half}};
    w.n_banks = table[n][1] ? 2 : 1;
    for (unsigned b = 0; b < w.n_banks; b++)
        w.banks[b].size = table[n][b] * w.page;
}

bool free_at(const World& w, unsigned bank, uint64_t phys)
{
    const uint64_t size = w.banks[bank].size;
    if (phys > all_ones - size)
        return false;
    return bank == 0 || phys >= w.banks[0].phys + w.banks[0].size || phys + size <= w.banks[0].phys;
}

uint64_t phys_of(unsigned n, unsigned bank, const World& w)
{
    const uint64_t size = w.banks[bank].size, ordinary = 0x80000000;
    if (bank == 0) {
        const uint64_t into_pools = divide(w, 0).arena + w.page;
        const uint64_t table[] = {four_gib - into_pools,
                                  0,
                                  0x1000000,
                                  four_gib - size,
                                  four_gib - size / 4 / w.page * w.page,
                                  four_gib,
                                  0x880000000,
                                  0x40000000,
                                  0 - 2 * size,
                                  w.page};
        return n < 6 ? ordinary : table[n - 6];
    }
    const uint64_t after = w.banks[0].phys + w.banks[0].size;
    const uint64_t table[] = {after, after + w.page, four_gib, 0, four_gib - size, 0x880000000, 0xc0000000, 0x1000000};
    for (unsigned i = 0; i < 8; i++)
        if (const uint64_t phys = table[(n + i) % 8]; free_at(w, 1, phys))
            return phys;
    return 0; // not reached: one bank cannot lie in the way of all of them
}

bool sees_all(const World& w, uint64_t offset) // no bank wraps in the device's view or reaches the address of all ones
{
    for (unsigned b = 0; b < w.n_banks; b++) {
        const uint64_t first = w.banks[b].phys + offset, last = first + (w.banks[b].size - 1);
        if (last < first || last == all_ones)
            return false;
    }
    return true;
}

uint64_t offset_of(unsigned n, const World& w)
{
    if (n < 10)
        return 0;
    const uint64_t table[] = {0x1000000000, 0x40000000, 0 - w.banks[0].phys, w.page, 0 - w.page, 0x80000000};
    return sees_all(w, table[n - 10]) ? table[n - 10] : 0;
}

uint64_t limit_of(unsigned n, const World& w, uint64_t offset)
{
    const uint64_t first = w.banks[0].phys + offset, size = w.banks[0].size;
    const BankSpec& last_bank = w.banks[w.n_banks - 1u];
    const uint64_t arena = divide(w, 0).arena, last = last_bank.phys + offset + last_bank.size - 1;
    const uint64_t table[] = {first + size - 1, last,     first + arena / 2 - 1,      first + arena - 1,
                              last - w.page,    0xffffff, first + size - size / 8 - 1};
    const uint64_t limit = n < 4 ? all_ones : n < 9 ? 0xffffffff : table[n - 9];
    for (unsigned b = 0; b < w.n_banks; b++)
        if (w.banks[b].phys + offset + (w.page - 1) <= limit)
            return limit;
    return all_ones; // it would reach nothing: a waste of a case
}

// Which devices are behind an IOMMU, a bit for each: half of the 32 codes say none.
unsigned iommus_of(unsigned n)
{
    return n < 16 ? 0 : n & ((1u << max_coded_devices) - 1);
}

unsigned devices_of(unsigned n)
{
    return n < 8 ? 1 : n < 12 ? 2 : 3;
}

bool read_literal(std::span<const uint8_t> bytes, World& w)
{
    const unsigned banks = bytes[at_n_banks], devices = bytes[at_n_devices];
    if (banks < 1 || banks > max_banks || devices < 1 || devices > max_devices)
        return false;
    w.n_banks = static_cast<uint8_t>(banks);
    w.n_devices = static_cast<uint8_t>(devices);
    w.line = static_cast<uint64_t>(bytes[at_line]) | static_cast<uint64_t>(bytes[at_line + 1]) << 8;
    w.page = read_u64(bytes, at_literal_page);
    size_t at = cell_bytes;
    for (unsigned b = 0; b < banks; b++, at += cell_bytes)
        w.banks[b] = {read_u64(bytes, at), read_u64(bytes, at + 8)};
    for (unsigned d = 0; d < devices; d++, at += 2 * cell_bytes)
        w.devices[d] = {read_u64(bytes, at), read_u64(bytes, at + 8), read_u64(bytes, at + 16),
                        read_u64(bytes, at + 24)};
    return world_error(w).empty();
}

} // namespace

size_t read_header(std::span<const uint8_t> bytes, World& world, Expect& expect)
{
    std::array<uint8_t, cell_bytes> h{};
    for (size_t i = 0; i < h.size() && i < bytes.size(); i++)
        h[i] = bytes[i];
    const unsigned e = h[at_expect];
    expect = e == 1                        ? Expect{Expect::clean, RuleId::none}
             : e > 1 && e - 1 < rule_count ? Expect{Expect::violation, static_cast<RuleId>(e - 1)}
                                           : Expect{};

    const Mode mode = h[at_mode] & 1 ? Mode::conforming : Mode::hostile;
    Strict strict;
    for (size_t i = 0; i < std::size(strict_modes); i++)
        strict.*strict_modes[i].on = (h[at_mode] & strict_bits[i]) == strict_bits[i];
    world = World{};
    if (h[at_format] == literal_world && bytes.size() >= cell_bytes && read_literal(bytes, world)) {
        world.mode = mode;
        world.strict = strict;
        return cell_bytes * (1u + world.n_banks + 2u * world.n_devices);
    }
    world = World{};
    world.mode = mode;
    world.strict = strict;
    world.page = page_of(h[at_page] & 15);
    world.line = line_of(h[at_page] >> 4);
    sizes_of(h[at_banks] & 15, world);
    world.n_devices = static_cast<uint8_t>(devices_of(h[at_banks] >> 4));
    world.banks[0].phys = phys_of(h[at_phys] & 15, 0, world);
    if (world.n_banks == max_coded_banks)
        world.banks[1].phys = phys_of(h[at_phys] >> 4, 1, world);
    for (unsigned d = 0; d < world.n_devices; d++) {
        const uint64_t iommu = iommus_of(h[at_coherent] >> max_coded_devices) >> d & 1u;
        const uint64_t offset = iommu ? 0 : offset_of(h[at_devices + d] >> 4, world);
        world.devices[d] = {limit_of(h[at_devices + d] & 15, world, offset), offset, h[at_coherent] >> d & 1u, iommu};
    }
    return cell_bytes;
}

size_t write_header(const World& w, const Expect& expect, std::span<uint8_t> out)
{
    const size_t literal = cell_bytes * (1u + w.n_banks + 2u * w.n_devices);
    if (out.size() < cell_bytes)
        return 0;
    for (size_t i = 0; i < cell_bytes; i++)
        out[i] = 0;
    out[at_format] = version;
    unsigned mode = w.mode == Mode::conforming;
    for (size_t i = 0; i < std::size(strict_modes); i++)
        mode |= w.strict.*strict_modes[i].on ? strict_bits[i] : 0u;
    out[at_mode] = static_cast<uint8_t>(mode);
    out[at_expect] = static_cast<uint8_t>(expect.kind == Expect::clean       ? 1
                                          : expect.kind == Expect::violation ? 1 + static_cast<unsigned>(expect.rule)
                                                                             : 0);

    // By trying: the first half byte that gives the value. What none gives is noticed by reading the header back.
    const auto find = [](auto gives) {
        unsigned n = 0;
        while (n < 15 && !gives(n))
            n++;
        return n;
    };
    const auto pair = [](unsigned low, unsigned high) { return static_cast<uint8_t>(low | high << 4); };
    if (w.n_banks <= max_coded_banks && w.n_devices <= max_coded_devices) {
        out[at_page] = pair(find([&](unsigned n) { return page_of(n) == w.page; }),
                            find([&](unsigned n) { return line_of(n) == w.line; }));
        out[at_banks] = pair(find([&](unsigned n) {
                                 World t = w;
                                 t.banks = {};
                                 sizes_of(n, t);
                                 return t.n_banks == w.n_banks && t.banks[0].size == w.banks[0].size &&
                                        t.banks[1].size == w.banks[1].size;
                             }),
                             find([&](unsigned n) { return devices_of(n) == w.n_devices; }));
        out[at_phys] = pair(find([&](unsigned n) { return phys_of(n, 0, w) == w.banks[0].phys; }),
                            w.n_banks < 2 ? 0 : find([&](unsigned n) { return phys_of(n, 1, w) == w.banks[1].phys; }));
        unsigned iommus = 0;
        for (unsigned d = 0; d < w.n_devices; d++)
            iommus |= static_cast<unsigned>(w.devices[d].iommu & 1) << d;
        out[at_coherent] = static_cast<uint8_t>((iommus ? 16 | iommus : 0) << max_coded_devices);
        for (unsigned d = 0; d < w.n_devices; d++) {
            const DeviceSpec& device = w.devices[d];
            out[at_coherent] = static_cast<uint8_t>(out[at_coherent] | (device.coherent & 1) << d);
            out[at_devices + d] = pair(find([&](unsigned n) { return limit_of(n, w, device.offset) == device.limit; }),
                                       find([&](unsigned n) { return offset_of(n, w) == device.offset; }));
        }
        World back;
        Expect ignored;
        read_header(out.first(cell_bytes), back, ignored);
        if (back == w)
            return cell_bytes;
    }
    if (out.size() < literal)
        return 0;
    for (size_t i = at_n_banks; i < literal; i++)
        out[i] = 0;
    out[at_format] = literal_world;
    out[at_n_banks] = w.n_banks;
    out[at_n_devices] = w.n_devices;
    out[at_line] = static_cast<uint8_t>(w.line);
    out[at_line + 1] = static_cast<uint8_t>(w.line >> 8);
    write_u64(out, at_literal_page, w.page);
    size_t at = cell_bytes;
    for (unsigned b = 0; b < w.n_banks; b++, at += cell_bytes) {
        write_u64(out, at, w.banks[b].phys);
        write_u64(out, at + 8, w.banks[b].size);
    }
    for (unsigned d = 0; d < w.n_devices; d++, at += 2 * cell_bytes) {
        write_u64(out, at, w.devices[d].limit);
        write_u64(out, at + 8, w.devices[d].offset);
        write_u64(out, at + 16, w.devices[d].coherent);
        write_u64(out, at + 24, w.devices[d].iommu);
    }
    return literal;
}

} // namespace dmaudit::codes
