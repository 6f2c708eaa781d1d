#include "harness/world.hpp"

namespace dmaudit {

Division divide(const World& w, unsigned bank)
{
    const uint64_t pages = w.banks[bank].size / w.page;
    const uint64_t arena = (pages + 1) / 2, pool = (pages - arena) / 2;
    return {arena * w.page, pool * w.page, (pages - arena - pool) * w.page};
}

uint64_t client_space(const World& w)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < w.n_banks; i++)
        sum += divide(w, i).client;
    return sum;
}

uint64_t pool_space(const World& w)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < w.n_banks; i++)
        sum += divide(w, i).pool;
    return sum;
}

namespace {

template <class Part> std::optional<uint64_t> offset_in_space(const World& w, uint64_t place, uint64_t size, Part part)
{
    uint64_t bank_at = 0;
    for (unsigned i = 0; i < w.n_banks; i++) {
        const auto [skip, bytes] = part(divide(w, i));
        if (place < bytes)
            return size <= bytes - place ? std::optional(bank_at + skip + place) : std::nullopt;
        place -= bytes;
        bank_at += w.banks[i].size;
    }
    return {};
}

struct Part {
    uint64_t skip, bytes;
};

} // namespace

std::optional<uint64_t> client_offset(const World& w, uint64_t place, uint64_t size)
{
    return offset_in_space(w, place, size, [](const Division& d) { return Part{d.arena + d.pool, d.client}; });
}

std::optional<uint64_t> pool_offset(const World& w, uint64_t place, uint64_t size)
{
    return offset_in_space(w, place, size, [](const Division& d) { return Part{d.arena, d.pool}; });
}

std::string_view world_error(const World& w)
{
    const auto pow2 = [](uint64_t v) { return v != 0 && (v & (v - 1)) == 0; };
    if (w.page != 4096 && w.page != 16384 && w.page != 65536)
        return "page must be 4096, 16384 or 65536 bytes";
    if (!pow2(w.line) || w.line < 16 || w.line > 256)
        return "line must be a power of two from 16 to 256 bytes";
    if (w.n_banks < 1 || w.n_banks > max_banks)
        return "a world has 1 to 4 banks";
    if (w.n_devices < 1 || w.n_devices > max_devices)
        return "a world has 1 to 4 devices";
    uint64_t ram = 0;
    for (unsigned i = 0; i < w.n_banks; i++) {
        const BankSpec& b = w.banks[i];
        if (b.phys % w.page || b.size % w.page)
            return "banks must begin and end on page boundaries";
        if (b.size < 4 * w.page)
            return "a bank has at least 4 pages";
        if (b.size > max_ram || (ram += b.size) > max_ram)
            return "a world has at most 8 MiB of RAM";
        if (b.phys > ~uint64_t{0} - b.size)
            return "a bank must end below the top of the 64-bit address space";
        for (unsigned k = 0; k < i; k++)
            if (b.phys < w.banks[k].phys + w.banks[k].size && w.banks[k].phys < b.phys + b.size)
                return "banks must not overlap";
    }
    for (unsigned i = 0; i < w.n_devices; i++) {
        if (w.devices[i].coherent > 1)
            return "coherent is yes or no";
        if (w.devices[i].iommu > 1 || (w.devices[i].iommu && w.devices[i].offset))
            return "iommu is yes or no, and a device behind one has no offset";
        for (unsigned k = 0; k < w.n_banks; k++) {
            const uint64_t first = w.banks[k].phys + w.devices[i].offset, last = first + (w.banks[k].size - 1);
            if (last < first || last == ~uint64_t{0})
                return "a device's view of a bank must not wrap or reach the address of all ones, which is never valid";
        }
    }
    return {};
}

} // namespace dmaudit
