// For tests of the auditor alone: an auditor between a client and the fakes.
#pragma once
#include "shadow/testing_fakes.hpp"

namespace dmaudit::fakes {

constexpr uint64_t usual = DMAUDIT_PROMISES_ALIGNMENT | DMAUDIT_PROMISES_LIMIT | DMAUDIT_PROMISES_BOUNDARY |
                           DMAUDIT_PROMISES_ZEROING | DMAUDIT_PROMISES_MAP_SYNC | DMAUDIT_PROMISES_PROMPT;

struct Audited {
    FakeMachine machine;
    FakeProvider provider;
    Auditor auditor;

    explicit Audited(uint64_t promises = usual) : provider(machine, promises) { begin(); }
    ~Audited() { auditor.end(); }
    void begin()
    {
        Surroundings around;
        around.ram = ram_bytes;
        around.page = page;
        around.line = line;
        around.provider_view = machine.ram.data();
        around.client_view = machine.client.data();
        around.n_devices = 3;
        std::copy(machine.devices.begin(), machine.devices.end(), around.devices.begin());
        auditor.begin(around, machine, provider.table, &provider, {&arena, 1});
    }

    void put_behind_iommu(uint32_t device)
    {
        machine.devices[device].iommu = true;
        machine.devices[device].offset = 0;
        auditor.end();
        begin();
    }

    std::string found() const
    {
        return auditor.violation() ? std::string(rule(auditor.violation()->rule).name) : "nothing";
    }
    std::string take()
    {
        const std::string f = found();
        auditor.forgive();
        return f;
    }
    uint64_t where() const { return auditor.violation() ? auditor.violation()->bytes.at : ~uint64_t{0}; }
    std::string state(uint64_t at) const { return std::string(state_name(auditor.map().at(at))); }
    unsigned calls_of(const std::function<void()>& f)
    {
        const unsigned before = provider.calls;
        f();
        return provider.calls - before;
    }

    Tag buffer(uint64_t place, uint64_t size) { return auditor.add_buffer({client_memory.at + place, size}); }
    Tag written_buffer(uint64_t place, uint64_t size)
    {
        const Tag t = buffer(place, size);
        EXPECT_TRUE(auditor.cpu_access(t, 0, size, true));
        return t;
    }
    dmaudit_request request(uint64_t size, uint32_t device = nc) const
    {
        return {sizeof(dmaudit_request), device, size, 0, 0, 0, 0, 0};
    }
    dmaudit_block block(const dmaudit_request& r)
    {
        dmaudit_block b{};
        rc = auditor.alloc_coherent(r, &b);
        return b;
    }
    dmaudit_mapping map(uint64_t place, uint64_t size, uint32_t direction, uint32_t device = nc, uint32_t attrs = 0)
    {
        dmaudit_request r = request(size, device);
        r.attrs = attrs;
        return map(r, place, direction);
    }
    dmaudit_mapping map(const dmaudit_request& r, uint64_t place, uint32_t direction)
    {
        dmaudit_mapping m{};
        rc = auditor.map_single(r, machine.client.data() + client_memory.at + place, direction, &m);
        return m;
    }
    int unmap(const dmaudit_mapping& m, uint32_t attrs = 0) { return rc = auditor.unmap_single(m, every_byte, attrs); }
    int for_cpu(const dmaudit_mapping& m, uint64_t off, uint64_t len)
    {
        return rc = auditor.sync(m, off, len, m.direction, DMAUDIT_FOR_CPU);
    }
    int for_device(const dmaudit_mapping& m, uint64_t off, uint64_t len)
    {
        return rc = auditor.sync(m, off, len, m.direction, DMAUDIT_FOR_DEVICE);
    }
    bool reads(const dmaudit_mapping& m, uint64_t off, uint64_t len)
    {
        return auditor.device_access(m.device, tag(m), off, len, false);
    }
    bool writes(const dmaudit_mapping& m, uint64_t off, uint64_t len)
    {
        return auditor.device_access(m.device, tag(m), off, len, true);
    }
    template <class T> static Tag tag(const T& handle) { return static_cast<Tag>(handle.cookie[0]); }
    Tag pool(uint32_t device = nc, bool exclusive = false)
    {
        uint32_t e = exclusive;
        Tag t = 0;
        rc = auditor.declare_pool(device, pool_memory, &e, &t);
        return t;
    }
    dmaudit_block from_pool(Tag pool_tag, uint64_t size)
    {
        dmaudit_block b{};
        rc = auditor.alloc_from_pool(pool_tag, size, &b, &ours);
        return b;
    }
    Tag window(const dmaudit_block& b, uint64_t pgoff, uint64_t pages)
    {
        Tag t = 0;
        rc = auditor.mmap_from_pool(b, pgoff, pages, &t, &ours);
        return t;
    }
    // Opaque and non-coherent blocks.
    dmaudit_block opaque(uint64_t size, uint32_t device = nc)
    {
        dmaudit_request r = request(size, device);
        r.attrs = DMAUDIT_ATTR_NO_KERNEL_MAPPING;
        return block(r);
    }
    dmaudit_block cached(uint64_t size, uint32_t direction, uint32_t device = nc)
    {
        dmaudit_block b{};
        rc = auditor.alloc_noncoherent(request(size, device), direction, &b);
        return b;
    }
    Tag view(const dmaudit_block& b, uint64_t pgoff, uint64_t pages)
    {
        Tag t = 0;
        rc = auditor.mmap_coherent(b, pgoff, pages, &t);
        return t;
    }
    // Scatterlists: entries are (place, length) in the clients' memory.
    struct Entry {
        uint64_t place, length;
    };
    Tag list(const dmaudit_request& r, std::initializer_list<Entry> parts, uint32_t direction)
    {
        std::vector<dmaudit_sg_entry> entries;
        for (const Entry& e : parts)
            entries.push_back({machine.client.data() + client_memory.at + e.place, e.length});
        Tag t = 0;
        rc = auditor.map_sg(r, entries, direction, &t);
        return t;
    }
    Tag list(std::initializer_list<Entry> parts, uint32_t direction, uint32_t device = nc)
    {
        return list(request(0, device), parts, direction);
    }
    int unlist(Tag t, uint32_t n, uint32_t direction, uint32_t device = nc, uint32_t attrs = 0)
    {
        return rc = auditor.unmap_sg(t, device, n, direction, attrs);
    }
    int rc = 0, ours = 0; // of the last call
};

constexpr uint32_t to = DMAUDIT_TO_DEVICE, from = DMAUDIT_FROM_DEVICE, bi = DMAUDIT_BIDIRECTIONAL,
                   none = DMAUDIT_DIRECTION_NONE;
constexpr uint64_t client_at = client_memory.at;

// The rule that a block breaks, allocated by a provider with these promises that then lies.
inline std::string block_breaks(uint64_t promises, dmaudit_request r, const std::function<void(dmaudit_block&)>& lie)
{
    Audited t(promises);
    t.provider.block_lies(lie);
    t.block(r);
    return t.found();
}
inline const dmaudit_request one_page{sizeof(dmaudit_request), nc, page, 0, 0, 0, 0, 0};
inline const dmaudit_request one_line{sizeof(dmaudit_request), nc, 64, 0, 0, 0, 0, 0};
inline dmaudit_request with(uint64_t dmaudit_request::*field, uint64_t value, uint64_t size = page)
{
    dmaudit_request r = one_page;
    r.size = size;
    r.*field = value;
    return r;
}
inline dmaudit_request zeroed(uint64_t size = page)
{
    dmaudit_request r = one_page;
    r.size = size;
    r.flags = DMAUDIT_ZERO;
    return r;
}

} // namespace dmaudit::fakes
