// The auditor alone: a provider that does as a test says, and a machine that answers as a test says. Each rule that the
// auditor itself can raise has a test that breaks it, a near miss that does not, and, where it rests on a promise, the
// same call by a provider that never promised.
#include "shadow/auditor.hpp"

#include "shadow/asan.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <set>
#include <string>

namespace dmaudit {
namespace {

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
    bool fault = false;
    std::vector<Range> written, reloaded;

    uint64_t bus(uint32_t device, uint64_t at) const { return phys_base + at + devices[device].offset; }
    std::optional<uint64_t> translate(unsigned device, uint64_t bus_at, uint64_t len) const override
    {
        return offset_of(bus_at - devices[device].offset, len);
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
    bool byte_stale(uint64_t at) const override { return stale.contains(at); }
    bool uncached(Range r) const override
    {
        for (uint64_t at = r.at & ~(page - 1); at < r.end(); at += page)
            if (!uncached_at.contains(at))
                return false;
        return true;
    }
    uint64_t uncached_pages() const override { return uncached_at.size() + more_uncached; }
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
    dmaudit_provider table{};

    std::function<int(const dmaudit_request&, dmaudit_block&)> alloc =
        [this](const dmaudit_request& r, dmaudit_block& b) { return good_alloc(r, b); };
    std::function<int(const dmaudit_block&)> free = [](const dmaudit_block&) { return DMAUDIT_OK; };
    std::function<int(const dmaudit_request&, uint8_t*, uint32_t, dmaudit_mapping&)> map =
        [this](const dmaudit_request& r, uint8_t* cpu, uint32_t d, dmaudit_mapping& m) {
            return good_map(r, cpu, d, m);
        };
    std::function<int(const dmaudit_mapping&, uint64_t, uint32_t)> unmap = [](const dmaudit_mapping&, uint64_t,
                                                                              uint32_t) { return DMAUDIT_OK; };
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
        coherent = {sizeof coherent, 0,
                    [](void* c, const dmaudit_request* r, dmaudit_block* b) { return of(c).alloc(*r, *b); },
                    [](void* c, const dmaudit_block* b) { return of(c).free(*b); }};
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
        table = {DMAUDIT_ABI, sizeof table, "fake",    "for tests", promises,
                 nullptr,     nullptr,      &coherent, &streaming,  &pool};
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
        next = at + b.granted;
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

constexpr uint64_t usual = DMAUDIT_PROMISES_ALIGNMENT | DMAUDIT_PROMISES_LIMIT | DMAUDIT_PROMISES_BOUNDARY |
                           DMAUDIT_PROMISES_ZEROING | DMAUDIT_PROMISES_MAP_SYNC;

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
    int rc = 0, ours = 0; // of the last call
};

constexpr uint32_t to = DMAUDIT_TO_DEVICE, from = DMAUDIT_FROM_DEVICE, bi = DMAUDIT_BIDIRECTIONAL,
                   none = DMAUDIT_DIRECTION_NONE;
constexpr uint64_t client_at = client_memory.at;

// ==== blocks ====

// The rule that a block breaks, allocated by a provider with these promises that then lies.
std::string block_breaks(uint64_t promises, dmaudit_request r, const std::function<void(dmaudit_block&)>& lie)
{
    Audited t(promises);
    t.provider.block_lies(lie);
    t.block(r);
    return t.found();
}
const dmaudit_request one_page{sizeof(dmaudit_request), nc, page, 0, 0, 0, 0, 0};
dmaudit_request with(uint64_t dmaudit_request::*field, uint64_t value, uint64_t size = page)
{
    dmaudit_request r = one_page;
    r.size = size;
    r.*field = value;
    return r;
}
dmaudit_request zeroed(uint64_t size = page)
{
    dmaudit_request r = one_page;
    r.size = size;
    r.flags = DMAUDIT_ZERO;
    return r;
}

TEST(Block, a_right_one_is_accepted_and_the_client_gets_its_own_alias_and_a_tag)
{
    Audited t;
    const auto b = t.block(zeroed(100));
    EXPECT_EQ(t.found(), "nothing");
    EXPECT_EQ(t.rc, DMAUDIT_OK);
    EXPECT_EQ(b.cpu, t.machine.client.data());
    EXPECT_EQ(b.size, 100u);
    EXPECT_EQ(t.state(99), "S");
    EXPECT_EQ(t.state(100), "PAD");
    EXPECT_EQ(t.state(page), "P");
    EXPECT_TRUE(t.auditor.blocks().alive(Audited::tag(b)));
}

TEST(Block, overlap_with_a_live_block_its_tail_a_buffer_or_a_bounce_slot)
{
    for (const uint64_t at : {uint64_t{0}, uint64_t{99}, uint64_t{100}, page - 1}) { // block, its last byte, its tail
        Audited t;
        t.block(t.request(100));
        t.provider.block_lies([&](dmaudit_block& b) { b.cpu = t.machine.ram.data() + at; });
        t.block(t.request(64));
        EXPECT_EQ(t.found(), "overlap") << at;
        EXPECT_EQ(t.where(), at);
    }
    {
        Audited t;
        t.block(t.request(100));
        t.block(t.request(100));
        EXPECT_EQ(t.found(), "nothing") << "the page behind it";
    }
    {
        Audited t;
        t.buffer(0, 64);
        t.provider.block_lies([&](dmaudit_block& b) { b.cpu = t.machine.ram.data() + client_at; });
        t.block(one_page);
        EXPECT_EQ(t.found(), "overlap") << "a buffer";
    }
    for (const uint64_t slot : {uint64_t{page - line}, uint64_t{page}}) {
        Audited t;
        t.written_buffer(0, 64);
        t.provider.bounce_to(slot);
        t.map(0, 64, to);
        EXPECT_EQ(t.found(), "nothing");
        t.block(t.request(64));
        EXPECT_EQ(t.found(), slot < page ? "overlap" : "nothing") << "the tail over a live bounce slot";
    }
}

TEST(Block, outside_arena)
{
    const auto at = [](uint64_t place, uint64_t granted) {
        Audited t;
        t.provider.block_lies([&](dmaudit_block& b) {
            b.cpu = t.machine.ram.data() + place;
            b.bus = t.machine.bus(nc, place);
            b.granted = granted;
            t.machine.uncached_at.insert(place & ~(page - 1));
        });
        t.block(t.request(64));
        return t.found();
    };
    EXPECT_EQ(at(arena.end() - page, page), "nothing") << "the last page";
    EXPECT_EQ(at(arena.end() - page, page + 1), "outside-arena") << "the tail, by one byte";
    EXPECT_EQ(at(pool_memory.at, page), "outside-arena") << "memory that nobody declared";
    EXPECT_EQ(at(ram_bytes - page, page + 1), "outside-arena") << "beyond RAM";
    EXPECT_EQ(at(ram_bytes - page, ~uint64_t{0}), "outside-arena");
    EXPECT_EQ(at(ram_bytes, page), "outside-arena");
    EXPECT_EQ(block_breaks(usual, one_page, [](dmaudit_block& b) { b.cpu = nullptr; }), "outside-arena");
}

TEST(Block, outside_arena_if_it_is_from_the_pool_but_not_in_it)
{
    const auto at = [](uint64_t place) {
        Audited t;
        const Tag p = t.pool();
        t.provider.block_lies([&](dmaudit_block& b) {
            b.cpu = t.machine.ram.data() + place;
            b.bus = t.machine.bus(nc, place);
            t.machine.uncached_at.insert(place & ~(page - 1));
            std::memset(b.cpu, 0, page);
        });
        t.from_pool(p, page);
        return t.found();
    };
    EXPECT_EQ(at(pool_memory.end() - page), "nothing");
    EXPECT_EQ(at(arena.at), "outside-arena");
    EXPECT_EQ(at(pool_memory.at - line), "outside-arena") << "it begins before the pool";
    EXPECT_EQ(at(pool_memory.end() - page + line), "outside-arena") << "it ends behind the pool";
}

TEST(Block, short_block)
{
    EXPECT_EQ(block_breaks(usual, with(&dmaudit_request::size, 100, 100), [](dmaudit_block& b) { b.granted = 99; }),
              "short-block");
    EXPECT_EQ(block_breaks(usual, with(&dmaudit_request::size, 100, 100), [](dmaudit_block& b) { b.granted = 100; }),
              "nothing");
}

void move(dmaudit_block& b, uint64_t by)
{
    b.cpu = static_cast<uint8_t*>(b.cpu) + by;
    b.bus += by;
}

TEST(Block, misaligned_against_the_alignment_asked_for)
{
    const auto asked = with(&dmaudit_request::align, 256, 64);
    const auto shifted = [](uint64_t by) { return [by](dmaudit_block& b) { move(b, by); }; };
    EXPECT_EQ(block_breaks(usual, asked, shifted(128)), "misaligned");
    EXPECT_EQ(block_breaks(usual, asked, shifted(256)), "nothing");
    EXPECT_EQ(block_breaks(usual & ~DMAUDIT_PROMISES_ALIGNMENT, asked, shifted(128)), "nothing");
    EXPECT_EQ(block_breaks(usual, with(&dmaudit_request::align, 1, 64), shifted(3)), "nothing");
    EXPECT_EQ(block_breaks(usual, with(&dmaudit_request::align, 0, 64), shifted(3)), "nothing");
}

TEST(Block, misaligned_against_its_own_order)
{
    const auto two_pages_at = [](uint64_t promises, uint64_t place, uint64_t size) {
        return block_breaks(promises, with(&dmaudit_request::size, size, size),
                            [place](dmaudit_block& b) { move(b, place); });
    };
    constexpr uint64_t natural = usual | DMAUDIT_PROMISES_NATURAL_ALIGNMENT;
    EXPECT_EQ(two_pages_at(natural, 2 * page, 2 * page), "not-coherent")
        << "aligned; only its last page is still cached";
    EXPECT_EQ(two_pages_at(natural, page, page), "not-coherent") << "a page needs no more than a page";
    EXPECT_EQ(two_pages_at(natural, page, page + 1), "misaligned") << "a page and a byte are of order 1";
    EXPECT_EQ(two_pages_at(natural, 64, 64), "misaligned") << "never less than a page";
    EXPECT_EQ(two_pages_at(usual, 64, 64), "nothing") << "not promised";
}

TEST(Block, misaligned_if_it_is_cached_and_shares_a_line)
{
    constexpr uint64_t cached = usual | DMAUDIT_TRAIT_COHERENT_NEEDS_SYNC;
    const auto granted = [](uint64_t place, uint64_t bytes) {
        return [=](dmaudit_block& b) {
            move(b, place);
            b.granted = bytes;
        };
    };
    dmaudit_request r = with(&dmaudit_request::size, 32, 32);
    EXPECT_EQ(block_breaks(cached, r, granted(0, 64)), "nothing");
    EXPECT_EQ(block_breaks(cached, r, granted(0, 32)), "misaligned");
    EXPECT_EQ(block_breaks(cached, r, granted(32, 64)), "misaligned");
    r.device = snooping;
    EXPECT_EQ(block_breaks(cached, r, granted(32, 32)), "nothing") << "only for devices that do not snoop";
}

TEST(Block, beyond_limit_is_inclusive_and_knows_both_limits)
{
    const uint64_t last = phys_base + page - 1;
    const auto fine = [](dmaudit_block&) {};
    EXPECT_EQ(block_breaks(usual, with(&dmaudit_request::limit, last), fine), "nothing");
    EXPECT_EQ(block_breaks(usual, with(&dmaudit_request::limit, last - 1), fine), "beyond-limit");
    EXPECT_EQ(block_breaks(usual & ~DMAUDIT_PROMISES_LIMIT, with(&dmaudit_request::limit, last - 1), fine), "nothing");
    for (const int over : {0, 1}) {
        Audited t;
        t.auditor.end();
        t.machine.devices[nc].limit = last - static_cast<uint64_t>(over);
        t.begin();
        t.block(one_page);
        EXPECT_EQ(t.found(), over ? "beyond-limit" : "nothing") << "the device's own limit";
    }
}

TEST(Block, crosses_boundary)
{
    const auto asked = with(&dmaudit_request::boundary, 1024, 512);
    EXPECT_EQ(block_breaks(usual, asked, [](dmaudit_block& b) { move(b, 512); }), "nothing")
        << "it ends at the boundary";
    EXPECT_EQ(block_breaks(usual, asked, [](dmaudit_block& b) { move(b, 513); }), "crosses-boundary");
    EXPECT_EQ(block_breaks(usual & ~DMAUDIT_PROMISES_BOUNDARY, asked, [](dmaudit_block& b) { move(b, 513); }),
              "nothing");
}

TEST(Block, wrong_translation)
{
    EXPECT_EQ(block_breaks(usual, one_page, [](dmaudit_block& b) { b.bus += page; }), "wrong-translation");
    EXPECT_EQ(block_breaks(usual, one_page, [](dmaudit_block& b) { b.bus -= 1; }), "wrong-translation");
    EXPECT_EQ(block_breaks(usual, one_page, [](dmaudit_block& b) { b.bus = DMAUDIT_NO_ADDRESS; }), "wrong-translation");
    EXPECT_EQ(block_breaks(usual, one_page, [](dmaudit_block& b) { b.bus = ~uint64_t{0} - 10; }), "wrong-translation")
        << "it wraps";
    Audited t;
    t.auditor.end();
    t.machine.devices[nc].offset = 0 - phys_base;
    t.begin();
    const auto b = t.block(one_page);
    EXPECT_EQ(t.found(), "nothing");
    EXPECT_EQ(b.bus, 0u) << "a valid address";
}

TEST(Block, not_zeroed_for_the_cpu)
{
    const auto dirty = [](uint64_t i) { return [i](dmaudit_block& b) { static_cast<uint8_t*>(b.cpu)[i] = 1; }; };
    EXPECT_EQ(block_breaks(usual, zeroed(100), dirty(0)), "not-zeroed");
    EXPECT_EQ(block_breaks(usual, zeroed(100), dirty(99)), "not-zeroed");
    EXPECT_EQ(block_breaks(usual, zeroed(100), dirty(100)), "nothing") << "the tail was not asked for";
    EXPECT_EQ(block_breaks(usual, one_page, dirty(0)), "nothing") << "nor was zeroing";
    EXPECT_EQ(block_breaks(usual & ~DMAUDIT_PROMISES_ZEROING, zeroed(100), dirty(0)), "nothing") << "not promised";
}

TEST(Block, pool_blocks_always_read_zero)
{
    for (const uint64_t promises : {usual, uint64_t{usual & ~DMAUDIT_PROMISES_ZEROING}}) {
        Audited t(promises);
        t.provider.block_lies([](dmaudit_block& b) { static_cast<uint8_t*>(b.cpu)[7] = 1; });
        t.from_pool(t.pool(), 64);
        EXPECT_EQ(t.found(), promises == usual ? "not-zeroed" : "nothing");
        EXPECT_EQ(t.where(), promises == usual ? pool_memory.at + 7 : ~uint64_t{0});
    }
}

TEST(Block, missing_clean_if_the_device_does_not_see_the_zeroes)
{
    const auto seen = [](uint64_t promises, uint32_t device, uint64_t differs_at) {
        Audited t(promises);
        t.machine.differs = {differs_at};
        dmaudit_request r = zeroed(100);
        r.device = device;
        t.block(r);
        return t.found();
    };
    EXPECT_EQ(seen(usual, nc, 99), "missing-clean");
    EXPECT_EQ(seen(usual, nc, 100), "nothing") << "the tail";
    EXPECT_EQ(seen(usual, snooping, 99), "nothing");
    EXPECT_EQ(seen(usual & ~DMAUDIT_PROMISES_ZEROING, nc, 99), "nothing");
    EXPECT_EQ(seen(usual | DMAUDIT_TRAIT_COHERENT_NEEDS_SYNC, nc, 99), "nothing") << "the client syncs it";
}

TEST(Block, not_coherent_in_cached_pages)
{
    const auto cached = [](uint64_t promises, uint32_t device) {
        Audited t(promises);
        t.provider.block_lies([&](dmaudit_block&) { t.machine.uncached_at.erase(page); });
        t.block(t.request(2 * page, device));
        return t.found();
    };
    EXPECT_EQ(cached(usual, nc), "not-coherent") << "the second page";
    EXPECT_EQ(cached(usual, snooping), "nothing");
    EXPECT_EQ(cached(usual | DMAUDIT_TRAIT_COHERENT_NEEDS_SYNC, nc), "nothing");
}

TEST(Block, wrong_return_if_what_must_be_refused_succeeds)
{
    const auto accepts = [](uint64_t promises, const dmaudit_request& r) {
        Audited t(promises);
        t.provider.alloc = [](const dmaudit_request&, dmaudit_block& b) {
            b = {};
            return DMAUDIT_OK;
        };
        t.block(r);
        return t.found();
    };
    EXPECT_EQ(accepts(usual, with(&dmaudit_request::size, 0, 0)), "wrong-return");
    EXPECT_EQ(accepts(usual, with(&dmaudit_request::align, 3, 64)), "wrong-return");
    EXPECT_EQ(accepts(usual & ~DMAUDIT_PROMISES_ALIGNMENT, with(&dmaudit_request::align, 3, 64)), "outside-arena")
        << "legal then, but it is no block";
    Audited t;
    t.block(with(&dmaudit_request::size, 0, 0));
    EXPECT_EQ(t.found(), "nothing");
    EXPECT_EQ(t.rc, DMAUDIT_EINVAL);
    EXPECT_EQ(t.auditor.marks[Mark::refused], 1u);
}

TEST(Block, wrong_return_if_a_legal_free_fails)
{
    Audited t;
    const auto b = t.block(one_page);
    t.provider.free = [](const dmaudit_block&) { return DMAUDIT_EFAULT; };
    EXPECT_EQ(t.auditor.free_coherent(b), DMAUDIT_EFAULT);
    EXPECT_EQ(t.found(), "wrong-return");
}

TEST(Block, failure_has_effect)
{
    const auto fails = [](bool leaves_page) {
        Audited t;
        t.provider.alloc = [&](const dmaudit_request&, dmaudit_block&) {
            t.machine.more_uncached += leaves_page;
            return DMAUDIT_ENOMEM;
        };
        t.block(one_page);
        EXPECT_EQ(t.auditor.marks[Mark::failed_call], 1u);
        return t.found();
    };
    EXPECT_EQ(fails(true), "failure-has-effect");
    EXPECT_EQ(fails(false), "nothing");
}

TEST(Block, is_scribbled_over_before_its_free_and_given_back_verbatim)
{
    Audited t;
    t.provider.block_lies([](dmaudit_block& b) {
        b.cookie[0] = 0x1234;
        b.cookie[1] = 0x5678;
    });
    auto b = t.block(zeroed(100));
    EXPECT_NE(b.cookie[0], 0x1234u) << "the provider's cookie stays with the auditor";
    t.provider.free = [&](const dmaudit_block& given) {
        EXPECT_EQ(given.cookie[0], 0x1234u);
        EXPECT_EQ(given.cookie[1], 0x5678u);
        EXPECT_EQ(given.cpu, t.machine.ram.data()) << "the provider's own alias";
        for (unsigned i = 0; i < 100; i++)
            EXPECT_GE(t.machine.ram[i], 0xc0) << i;
        EXPECT_EQ(t.machine.ram[100], 0x81) << "the tail is not the client's";
        return DMAUDIT_OK;
    };
    EXPECT_EQ(t.auditor.free_coherent(b), DMAUDIT_OK);
    EXPECT_EQ(t.found(), "nothing");
    EXPECT_EQ(t.machine.written, std::vector<Range>({{0, 100}}));
    EXPECT_EQ(t.state(0), "P");
    EXPECT_EQ(t.state(100), "P");
}

// ==== pools ====

TEST(Pool, wrong_return_of_the_routing_flag)
{
    const auto full = [](bool exclusive, int ours, bool fault) {
        Audited t;
        const Tag p = t.pool(nc, exclusive);
        t.machine.fault = fault;
        t.provider.alloc_from = [ours](uint32_t, uint64_t, dmaudit_block&, int& o) {
            o = ours;
            return DMAUDIT_ENOMEM;
        };
        t.from_pool(p, page);
        return t.found();
    };
    EXPECT_EQ(full(true, 1, false), "nothing");
    EXPECT_EQ(full(true, 0, false), "wrong-return") << "an exclusive pool answers for itself";
    EXPECT_EQ(full(false, 0, false), "nothing");
    EXPECT_EQ(full(false, 1, false), "wrong-return") << "a full pool leaves it to the generic allocator";
    EXPECT_EQ(full(false, 1, true), "nothing") << "it had room, but its records had none";
}

TEST(Pool, counts_what_was_full_and_what_fell_through)
{
    Audited t;
    const Tag p = t.pool(nc, true);
    t.from_pool(p, 5 * page);
    EXPECT_EQ(t.auditor.marks[Mark::pool_full], 1u);
    Audited u;
    u.from_pool(u.pool(), 5 * page);
    EXPECT_EQ(u.auditor.marks[Mark::fell_through], 1u);
    EXPECT_EQ(u.found(), "nothing");
}

TEST(Pool, wrong_return_if_what_must_be_refused_succeeds)
{
    {
        Audited t;
        t.provider.declare = [](uint32_t, uint64_t, uint64_t, uint32_t&) { return DMAUDIT_OK; };
        uint32_t e = 0;
        Tag p = 0;
        t.auditor.declare_pool(nc, {pool_memory.at, 0}, &e, &p);
        EXPECT_EQ(t.found(), "wrong-return") << "no bytes";
    }
    for (const int rc : {DMAUDIT_EBUSY, DMAUDIT_OK}) {
        Audited t;
        uint32_t e = 0;
        Tag p = 0;
        t.auditor.declare_pool(nc, {pool_memory.at, page}, &e, &p);
        EXPECT_EQ(t.found(), "nothing");
        t.provider.declare = [rc](uint32_t, uint64_t, uint64_t, uint32_t&) { return rc; };
        t.auditor.declare_pool(nc, {pool_memory.at + page, page}, &e, &p);
        EXPECT_EQ(t.found(), rc ? "nothing" : "wrong-return") << "a second pool";
        t.auditor.forgive();
        t.auditor.declare_pool(snooping, {pool_memory.at + 2 * page, page}, &e, &p);
        EXPECT_EQ(t.found(), "nothing") << "another device may have one";
    }
    Audited t;
    const Tag p = t.pool();
    t.provider.alloc_from = [](uint32_t, uint64_t, dmaudit_block&, int& ours) {
        ours = 1;
        return DMAUDIT_OK;
    };
    t.from_pool(p, 0);
    EXPECT_EQ(t.found(), "wrong-return") << "a block without bytes";
}

TEST(Pool, wrong_return_of_a_release)
{
    const auto releases = [](int rc, int ours) {
        Audited t;
        const auto b = t.from_pool(t.pool(), 100);
        t.provider.release_from = [=](uint32_t, uint32_t order, uint8_t*, int& o) {
            EXPECT_EQ(order, 0u);
            o = ours;
            return rc;
        };
        t.auditor.release_from_pool(b, &t.ours);
        return t.found();
    };
    EXPECT_EQ(releases(DMAUDIT_OK, 1), "nothing");
    EXPECT_EQ(releases(DMAUDIT_OK, 0), "wrong-return");
    EXPECT_EQ(releases(DMAUDIT_EFAULT, 1), "wrong-return");
}

TEST(Pool, wrong_return_if_a_generic_block_is_called_the_pools)
{
    for (const int ours : {0, 1}) {
        Audited t;
        t.pool();
        const auto b = t.block(one_page);
        t.provider.release_from = [ours](uint32_t, uint32_t, uint8_t*, int& o) {
            o = ours;
            return DMAUDIT_OK;
        };
        t.auditor.release_from_pool(b, &t.ours);
        EXPECT_EQ(t.found(), ours ? "wrong-return" : "nothing");
        EXPECT_TRUE(t.auditor.blocks().alive(Audited::tag(b))) << "the client goes on with the generic free";
    }
}

TEST(Pool, wrong_return_if_its_legal_end_fails)
{
    Audited t;
    const Tag p = t.pool();
    t.provider.release = [](uint32_t) { return DMAUDIT_ENODEV; };
    t.auditor.release_pool(p);
    EXPECT_EQ(t.found(), "wrong-return");
    Audited u;
    const Tag q = u.pool();
    u.auditor.release_pool(q);
    EXPECT_EQ(u.found(), "nothing");
    EXPECT_EQ(u.state(pool_memory.at), "N") << "the client's again";
}

TEST(Window, mmap_window_if_more_is_granted_than_the_block)
{
    const auto granted = [](uint64_t pgoff, uint64_t pages) {
        Audited t;
        const auto b = t.from_pool(t.pool(), page + 1); // two pages
        t.provider.mmap = [&](const uint8_t* cpu, uint64_t, uint64_t off, uint64_t n, dmaudit_window& w, int& ours) {
            ours = 1;
            w.phys = phys_base + static_cast<uint64_t>(cpu - t.machine.ram.data()) + off * page;
            w.size = n * page;
            return DMAUDIT_OK;
        };
        t.window(b, pgoff, pages);
        return t.found();
    };
    EXPECT_EQ(granted(0, 1), "nothing");
    EXPECT_EQ(granted(0, 2), "nothing");
    EXPECT_EQ(granted(1, 1), "nothing");
    EXPECT_EQ(granted(1, 2), "mmap-window");
    EXPECT_EQ(granted(2, 1), "mmap-window");
    EXPECT_EQ(granted(0, 3), "mmap-window");
    EXPECT_EQ(granted(1, ~uint64_t{0}), "mmap-window");
}

TEST(Window, enxio_for_what_must_be_refused_is_right)
{
    Audited t;
    const auto b = t.from_pool(t.pool(), page);
    t.window(b, 1, 1);
    EXPECT_EQ(t.rc, DMAUDIT_ENXIO);
    EXPECT_EQ(t.found(), "nothing");
}

TEST(Window, mmap_window_if_it_shows_other_pages)
{
    const auto shows = [](uint64_t phys_off, uint64_t size) {
        Audited t;
        const Tag p = t.pool();
        const auto b = t.from_pool(p, page);
        t.from_pool(p, page);
        t.provider.mmap = [&](uint8_t*, uint64_t, uint64_t, uint64_t, dmaudit_window& w, int& ours) {
            ours = 1;
            w.phys = phys_base + pool_memory.at + phys_off;
            w.size = size;
            return DMAUDIT_OK;
        };
        t.window(b, 0, 1);
        return t.found();
    };
    EXPECT_EQ(shows(0, page), "nothing");
    EXPECT_EQ(shows(page, page), "mmap-window");
    EXPECT_EQ(shows(0, 2 * page), "mmap-window");
    EXPECT_EQ(shows(0, 100), "mmap-window");
    EXPECT_EQ(shows(0x70000000, page), "mmap-window") << "no RAM";
}

TEST(Window, mmap_window_if_the_last_page_holds_another_block)
{
    for (const uint64_t second : {uint64_t{128}, page}) {
        Audited t;
        const Tag p = t.pool();
        uint64_t next = 0;
        t.provider.block_lies([&](dmaudit_block& b) {
            b.cpu = t.machine.ram.data() + pool_memory.at + next;
            b.bus = t.machine.bus(nc, pool_memory.at + next);
            b.granted = 128;
            std::memset(b.cpu, 0, 128);
        });
        const auto b = t.from_pool(p, 100);
        next = second;
        t.from_pool(p, 100);
        EXPECT_EQ(t.found(), "nothing");
        t.window(b, 0, 1);
        EXPECT_EQ(t.found(), second < page ? "mmap-window" : "nothing");
    }
}

TEST(Window, leaks_old_data_behind_the_end_of_the_block)
{
    const auto behind = [](unsigned bytes, bool zero) {
        Audited t;
        const Tag p = t.pool();
        const auto old = t.from_pool(p, page);
        t.auditor.release_from_pool(old, &t.ours); // scribbled over
        t.provider.next_in_pool = pool_memory.at;
        t.provider.block_lies([&](dmaudit_block& b) {
            if (zero)
                std::memset(static_cast<uint8_t*>(b.cpu) + 100, 0, page - 100);
            else if (bytes)
                std::memset(static_cast<uint8_t*>(b.cpu) + 100 + bytes, 0, page - 100 - bytes);
        });
        const auto b = t.from_pool(p, 100);
        t.window(b, 0, 1);
        return t.found();
    };
    EXPECT_EQ(behind(0, false), "leaks-old-data");
    EXPECT_EQ(behind(16, false), "leaks-old-data") << "sixteen bytes of it";
    EXPECT_EQ(behind(0, true), "nothing") << "the whole page was zeroed";
    EXPECT_EQ(behind(2, false), "nothing") << "two bytes may be a coincidence";
}

TEST(Window, wrong_return_if_a_legal_one_is_refused_or_misrouted)
{
    const auto answers = [](int rc, int ours) {
        Audited t;
        const auto b = t.from_pool(t.pool(), page);
        t.provider.mmap = [=](uint8_t*, uint64_t, uint64_t, uint64_t, dmaudit_window&, int& o) {
            o = ours;
            return rc;
        };
        t.window(b, 0, 1);
        return t.found();
    };
    EXPECT_EQ(answers(DMAUDIT_ENXIO, 1), "wrong-return");
    EXPECT_EQ(answers(DMAUDIT_OK, 0), "wrong-return");
}

TEST(Window, shows_whole_pages_and_keeps_its_block_alive)
{
    Audited t;
    const Tag p = t.pool();
    const auto b = t.from_pool(p, 100);
    const Tag w = t.window(b, 0, 1);
    EXPECT_TRUE(t.auditor.cpu_access(w, 4000, 96, false)) << "the tail is legal through a window";
    EXPECT_FALSE(t.auditor.cpu_access(Audited::tag(b), 4000, 96, false));
    EXPECT_EQ(t.take(), "out-of-bounds");
    EXPECT_FALSE(t.auditor.cpu_access(w, 4000, 97, false));
    EXPECT_EQ(t.take(), "out-of-bounds");
    EXPECT_EQ(t.calls_of([&] { t.auditor.release_from_pool(b, &t.ours); }), 0u);
    EXPECT_EQ(t.take(), "free-while-mapped");
    EXPECT_TRUE(t.auditor.munmap(w));
    EXPECT_FALSE(t.auditor.munmap(w));
    EXPECT_EQ(t.take(), "double-free");
    t.auditor.release_from_pool(b, &t.ours);
    EXPECT_EQ(t.found(), "nothing");
}

// ==== mappings ====

// The rule that a mapping of a written 64-byte buffer breaks.
std::string mapping_breaks(uint64_t promises, dmaudit_request r, uint32_t direction,
                           const std::function<void(Audited&, dmaudit_mapping&)>& lie)
{
    Audited t(promises);
    t.written_buffer(0, 256);
    t.provider.mapping_lies([&](dmaudit_mapping& m) { lie(t, m); });
    t.map(r, 0, direction);
    return t.found();
}
void bounced_to(Audited& t, dmaudit_mapping& m, uint64_t slot)
{
    m.bus = t.machine.bus(m.device, slot);
    std::memcpy(t.machine.ram.data() + slot, m.cpu, m.size);
}
const dmaudit_request one_line{sizeof(dmaudit_request), nc, 64, 0, 0, 0, 0, 0};

TEST(Mapping, a_direct_one_is_accepted)
{
    for (const uint32_t d : {to, from, bi}) {
        Audited t;
        t.written_buffer(0, 64);
        t.map(0, 64, d);
        EXPECT_EQ(t.found(), "nothing");
        EXPECT_EQ(t.auditor.marks[Mark::direct], 1u);
    }
}

TEST(Mapping, wrong_translation)
{
    EXPECT_EQ(mapping_breaks(usual, one_line, to, [](Audited&, dmaudit_mapping& m) { m.bus = DMAUDIT_NO_ADDRESS; }),
              "wrong-translation");
    EXPECT_EQ(mapping_breaks(usual, one_line, to, [](Audited&, dmaudit_mapping& m) { m.bus = 0x70000000; }),
              "wrong-translation")
        << "no RAM";
    EXPECT_EQ(
        mapping_breaks(usual, one_line, to, [](Audited&, dmaudit_mapping& m) { m.bus = phys_base + ram_bytes - 63; }),
        "wrong-translation")
        << "it runs out of RAM";
}

TEST(Mapping, beyond_limit_misaligned_crosses_boundary)
{
    const auto fine = [](Audited&, dmaudit_mapping&) {};
    const uint64_t last = phys_base + client_at + 63;
    const auto asked = [](uint64_t dmaudit_request::*field, uint64_t value) {
        dmaudit_request r = one_line;
        r.*field = value;
        return r;
    };
    EXPECT_EQ(mapping_breaks(usual, asked(&dmaudit_request::limit, last), to, fine), "nothing");
    EXPECT_EQ(mapping_breaks(usual, asked(&dmaudit_request::limit, last - 1), to, fine), "beyond-limit");
    EXPECT_EQ(mapping_breaks(usual & ~DMAUDIT_PROMISES_LIMIT, asked(&dmaudit_request::limit, last - 1), to, fine),
              "nothing");
    EXPECT_EQ(mapping_breaks(usual, asked(&dmaudit_request::align, client_at), to, fine),
              "nothing"); // 0xc000: not a power of two
    EXPECT_EQ(mapping_breaks(usual, asked(&dmaudit_request::align, 0x4000), to, fine), "nothing");
    EXPECT_EQ(mapping_breaks(usual, asked(&dmaudit_request::align, 0x8000), to, fine), "misaligned");
    EXPECT_EQ(mapping_breaks(usual & ~DMAUDIT_PROMISES_ALIGNMENT, asked(&dmaudit_request::align, 0x8000), to, fine),
              "nothing");
    EXPECT_EQ(mapping_breaks(usual, asked(&dmaudit_request::boundary, 64), to, fine), "nothing");
    EXPECT_EQ(mapping_breaks(usual, asked(&dmaudit_request::boundary, 32), to, fine), "crosses-boundary");
    EXPECT_EQ(mapping_breaks(usual & ~DMAUDIT_PROMISES_BOUNDARY, asked(&dmaudit_request::boundary, 32), to, fine),
              "nothing");
}

TEST(Mapping, wrong_return_if_what_must_be_refused_succeeds)
{
    Audited t;
    t.written_buffer(0, 64);
    t.provider.map = [](const dmaudit_request&, uint8_t*, uint32_t, dmaudit_mapping&) { return DMAUDIT_OK; };
    t.map(0, 0, to);
    EXPECT_EQ(t.take(), "wrong-return") << "no bytes";
    dmaudit_mapping m{};
    t.auditor.map_single(t.request(64), nullptr, to, &m);
    EXPECT_EQ(t.take(), "wrong-return") << "a null pointer";
    dmaudit_request r = t.request(64);
    r.align = 3;
    t.map(r, 0, to);
    EXPECT_EQ(t.take(), "wrong-return") << "an alignment of 3";
}

TEST(Mapping, failure_has_effect)
{
    for (const bool leaves : {false, true}) {
        Audited t;
        t.written_buffer(0, 64);
        t.provider.map = [&](const dmaudit_request&, uint8_t*, uint32_t, dmaudit_mapping&) {
            t.machine.more_uncached += leaves;
            return DMAUDIT_ENOMEM;
        };
        t.map(0, 64, to);
        EXPECT_EQ(t.found(), leaves ? "failure-has-effect" : "nothing");
        EXPECT_EQ(t.state(client_at), "C.d") << "the bytes are the CPU's as before";
    }
}

TEST(Bounce, overlap_and_outside_arena)
{
    const auto slot = [](uint64_t at) {
        return mapping_breaks(usual, one_line, to, [at](Audited& t, dmaudit_mapping& m) { bounced_to(t, m, at); });
    };
    EXPECT_EQ(slot(arena.end() - 64), "nothing");
    EXPECT_EQ(slot(arena.end() - 63), "outside-arena");
    EXPECT_EQ(slot(pool_memory.at), "outside-arena");
    EXPECT_EQ(slot(client_at + 64), "overlap") << "the client's own bytes beside it";
    Audited t;
    t.written_buffer(0, 64);
    t.block(one_page);
    t.provider.bounce_to(page - 64);
    t.map(0, 64, to);
    EXPECT_EQ(t.found(), "overlap") << "a live block";
}

TEST(Bounce, overlap_of_two_live_slots_and_sharing_a_line)
{
    const auto second_slot = [](uint64_t at, uint32_t direction, uint32_t device) {
        Audited t;
        t.written_buffer(0, 32);
        t.written_buffer(page, 64);
        t.provider.bounce_to(0);
        const auto m = t.map(0, 32, direction, device);
        EXPECT_EQ(t.found(), "nothing");
        t.provider.bounce_to(at);
        t.map(page + at % line, 32, direction, device);
        const std::string rule_now = t.found();
        if (rule_now == "nothing") {
            t.unmap(m);
            EXPECT_EQ(t.found(), "nothing");
        }
        return rule_now;
    };
    EXPECT_EQ(second_slot(0, to, snooping), "overlap");
    EXPECT_EQ(second_slot(31, to, snooping), "overlap");
    EXPECT_EQ(second_slot(32, to, snooping), "nothing");
    EXPECT_EQ(second_slot(32, from, nc), "misaligned") << "one line, written by a device that does not snoop";
    EXPECT_EQ(second_slot(32, to, nc), "nothing") << "only read";
    EXPECT_EQ(second_slot(64, from, nc), "nothing");
}

TEST(Bounce, misaligned_if_it_leaves_the_place_in_the_line)
{
    const auto slot = [](uint32_t device, uint64_t at, uint64_t align, uint64_t place) {
        Audited t;
        t.written_buffer(place, 16);
        t.provider.bounce_to(at);
        dmaudit_request r = t.request(16, device);
        r.align = align;
        t.map(r, place, to);
        return t.found();
    };
    EXPECT_EQ(slot(nc, 128 + 8, 0, 8), "nothing");
    EXPECT_EQ(slot(nc, 128, 0, 8), "misaligned");
    EXPECT_EQ(slot(snooping, 128, 0, 8), "nothing") << "lines do not matter to a device that snoops";
    EXPECT_EQ(slot(nc, 128, 64, 8), "nothing") << "an alignment that the original lacks excuses";
    EXPECT_EQ(slot(nc, 128 + 16, 8, 8), "misaligned") << "one that it has does not";
}

TEST(Bounce, edge_bounce_is_promised_or_not)
{
    const auto direct = [](uint64_t promises, uint32_t direction, uint32_t device, uint64_t place, uint64_t size) {
        Audited t(promises);
        t.written_buffer(place, size);
        t.map(place, size, direction, device);
        return t.found();
    };
    constexpr uint64_t edge = usual | DMAUDIT_PROMISES_EDGE_BOUNCE;
    EXPECT_EQ(direct(edge, from, nc, 0, 64), "nothing") << "whole lines need none";
    EXPECT_EQ(direct(edge, from, nc, 0, 63), "wrong-translation");
    EXPECT_EQ(direct(edge, bi, nc, 1, 63), "wrong-translation");
    EXPECT_EQ(direct(edge, to, nc, 0, 63), "nothing") << "the device only reads";
    EXPECT_EQ(direct(edge, from, snooping, 0, 63), "nothing");
    EXPECT_EQ(direct(usual, from, nc, 0, 63), "nothing") << "not promised";
}

TEST(HandOver, missing_clean_at_map_of_defined_bytes_only)
{
    const auto at_map = [](uint32_t direction, uint32_t device, bool written, uint32_t attrs) {
        Audited t;
        t.buffer(0, 64);
        if (written)
            t.auditor.cpu_access(t.auditor.buffers().live(0), 0, 64, true);
        t.machine.differs = {client_at + 63};
        t.map(0, 64, direction, device, attrs);
        return t.found();
    };
    EXPECT_EQ(at_map(to, nc, true, 0), "missing-clean");
    EXPECT_EQ(at_map(bi, nc, true, 0), "missing-clean");
    EXPECT_EQ(at_map(from, nc, true, 0), "nothing") << "the device reads nothing";
    EXPECT_EQ(at_map(to, snooping, true, 0), "nothing");
    EXPECT_EQ(at_map(to, nc, false, 0), "nothing") << "bytes without a value";
    EXPECT_EQ(at_map(to, nc, true, DMAUDIT_ATTR_SKIP_CPU_SYNC), "nothing") << "no cache work was asked for";
}

TEST(HandOver, cache_work_at_map_only_if_it_was_promised)
{
    Audited t(usual & ~DMAUDIT_PROMISES_MAP_SYNC);
    t.written_buffer(0, 64);
    t.machine.differs = {client_at};
    t.machine.dirty = {client_at};
    const auto m = t.map(0, 64, to);
    EXPECT_EQ(t.found(), "nothing");
    t.for_device(m, 0, 64);
    EXPECT_EQ(t.found(), "missing-clean") << "sync does it always";
}

TEST(HandOver, missing_clean_and_stale_bounce_of_a_slot)
{
    const auto slot = [](bool copied, bool differs_below, uint32_t direction, uint32_t device) {
        Audited t;
        t.written_buffer(0, 64);
        t.machine.ram[client_at + 40] = 0x11;
        if (differs_below)
            t.machine.differs = {40};
        t.provider.bounce_to(0, copied);
        t.map(0, 64, direction, device);
        return t.found();
    };
    EXPECT_EQ(slot(true, false, to, nc), "nothing");
    EXPECT_EQ(slot(false, false, to, nc), "stale-bounce");
    EXPECT_EQ(slot(false, false, bi, snooping), "stale-bounce");
    EXPECT_EQ(slot(true, true, to, nc), "missing-clean") << "the slot, not the original";
    EXPECT_EQ(slot(true, true, to, snooping), "nothing");
    EXPECT_EQ(slot(false, false, from, nc), "nothing") << "told at unmap, by contents";
}

TEST(HandOver, at_sync_for_device_of_its_range_only)
{
    const auto at_sync = [](uint64_t differs, uint64_t off, uint64_t len) {
        Audited t;
        t.written_buffer(0, 256);
        const auto m = t.map(0, 256, to);
        t.machine.differs = {client_at + differs};
        t.for_device(m, off, len);
        return t.found();
    };
    EXPECT_EQ(at_sync(64, 64, 64), "missing-clean");
    EXPECT_EQ(at_sync(127, 64, 64), "missing-clean");
    EXPECT_EQ(at_sync(128, 64, 64), "nothing");
    EXPECT_EQ(at_sync(63, 64, 64), "nothing");
    EXPECT_EQ(at_sync(64, 64, 0), "nothing");
}

TEST(HandOver, missing_invalidate_if_a_dirty_line_lies_under_what_the_device_writes)
{
    const auto dirty = [](uint32_t direction, uint32_t device, uint64_t at) {
        Audited t;
        t.buffer(0, 192);
        t.machine.dirty = {client_at + at};
        t.map(64, 64, direction, device);
        return t.found();
    };
    EXPECT_EQ(dirty(from, nc, 64), "missing-invalidate");
    EXPECT_EQ(dirty(bi, nc, 127), "missing-invalidate");
    EXPECT_EQ(dirty(from, nc, 63), "nothing") << "the line before";
    EXPECT_EQ(dirty(from, nc, 128), "nothing") << "the line behind";
    EXPECT_EQ(dirty(to, nc, 64), "nothing");
    EXPECT_EQ(dirty(from, snooping, 64), "nothing");
    Audited t;
    t.buffer(0, 64);
    const auto m = t.map(0, 64, from);
    t.machine.dirty = {client_at};
    t.for_device(m, 0, 64);
    EXPECT_EQ(t.found(), "missing-invalidate") << "at sync_for_device too";
}

TEST(Mapping, wrong_return_if_a_legal_unmap_sync_or_cache_call_fails)
{
    Audited t;
    const Tag b = t.written_buffer(0, 64);
    const auto m = t.map(0, 64, to);
    t.provider.sync = [](const dmaudit_mapping&, uint64_t, uint64_t, uint32_t, uint32_t) { return DMAUDIT_EINVAL; };
    t.for_cpu(m, 0, 64);
    EXPECT_EQ(t.take(), "wrong-return");
    EXPECT_EQ(t.state(client_at), "D.to") << "nothing was applied";
    t.provider.unmap = [](const dmaudit_mapping&, uint64_t, uint32_t) { return DMAUDIT_EFAULT; };
    t.unmap(m);
    EXPECT_EQ(t.take(), "wrong-return");
    t.provider.cache = [](uint8_t*, uint64_t, uint32_t) { return DMAUDIT_EINVAL; };
    t.auditor.cache(b, 0, 64, DMAUDIT_FLUSH);
    EXPECT_EQ(t.take(), "wrong-return");
}

// ==== what the machine tells ====

TEST(Eviction, dirty_eviction_only_where_somebody_waits_for_the_device_s_data)
{
    const auto evicted = [](uint32_t direction, bool written, bool stale, bool cpu_dirty) {
        Audited t;
        t.buffer(0, 32);
        if (cpu_dirty)
            t.auditor.cpu_access(t.auditor.buffers().live(0), 0, 1, true);
        t.buffer(32, 32);
        const auto m = t.map(32, 32, direction, snooping); // no line rules
        if (written)
            t.writes(m, 0, 1);
        if (stale)
            t.machine.stale = {client_at + 32};
        t.auditor.writeback_over_stale(client_at);
        return t.found();
    };
    EXPECT_EQ(evicted(from, true, true, false), "dirty-eviction");
    EXPECT_EQ(evicted(bi, true, true, false), "dirty-eviction");
    EXPECT_EQ(evicted(from, false, true, false), "nothing") << "the device wrote nothing through a live mapping";
    EXPECT_EQ(evicted(from, true, false, false), "nothing") << "the CPU has seen it";
    EXPECT_EQ(evicted(from, true, true, true), "dirty-line-over-device-data") << "the client dirtied the line";
}

TEST(Eviction, dirty_eviction_over_a_bounce_slot)
{
    for (const bool with_device : {true, false}) {
        Audited t;
        t.buffer(0, 64);
        t.provider.bounce_to(64);
        const auto m = t.map(0, 64, from);
        t.writes(m, 0, 64);
        if (!with_device)
            t.for_cpu(m, 0, 64);
        t.machine.stale = {64 + 5};
        t.auditor.writeback_over_stale(64);
        EXPECT_EQ(t.found(), with_device ? "dirty-eviction" : "nothing");
    }
}

TEST(Eviction, corrupts_neighbour_if_bytes_outside_the_call_are_dropped)
{
    // During a call on [64, 128): a provider that drops a line.
    const auto dropped = [](uint64_t dirty_at, uint64_t line_at, bool written) {
        Audited t;
        t.buffer(0, 256);
        t.buffer(256, 64);
        if (written)
            t.auditor.cpu_access(t.auditor.buffers().live(0), dirty_at, 1, true);
        t.machine.dirty = {client_at + dirty_at};
        t.provider.map = [&](const dmaudit_request& r, uint8_t* cpu, uint32_t d, dmaudit_mapping& m) {
            t.auditor.drops_dirty(client_at + line_at);
            t.machine.dirty.clear();
            return t.provider.good_map(r, cpu, d, m);
        };
        t.map(64, 64, from);
        return t.found();
    };
    EXPECT_EQ(dropped(63, 0, true), "corrupts-neighbour");
    EXPECT_EQ(dropped(128, 128, true), "corrupts-neighbour");
    EXPECT_EQ(dropped(64, 64, true), "nothing") << "the call's own bytes";
    EXPECT_EQ(dropped(63, 0, false), "nothing") << "bytes without a value";
    EXPECT_EQ(dropped(63, 128, true), "nothing") << "another line";
}

TEST(Eviction, outside_a_call_every_written_byte_is_protected)
{
    Audited t;
    t.written_buffer(0, 64);
    t.auditor.drops_dirty(client_at);
    EXPECT_EQ(t.found(), "nothing") << "a value that was written back";
    t.machine.dirty = {client_at + 3};
    t.auditor.drops_dirty(client_at);
    EXPECT_EQ(t.found(), "corrupts-neighbour");
    EXPECT_EQ(t.where(), client_at + 3);
}

TEST(Uncached, pages_with_clients_cached_bytes_are_refused)
{
    Audited t;
    EXPECT_TRUE(t.auditor.may_uncache({client_at, page}));
    t.written_buffer(page - 1, 1);
    EXPECT_FALSE(t.auditor.may_uncache({client_at, page}));
    EXPECT_TRUE(t.auditor.may_uncache({client_at + page, page}));
    EXPECT_TRUE(t.auditor.may_uncache({arena.at, arena.len}));
    t.map(page - 1, 1, to);
    EXPECT_FALSE(t.auditor.may_uncache({client_at, page})) << "mapped ones as well";
}

// ==== the client's mistakes: the first rule of the published order ====

TEST(Precedence, of_unmap)
{
    Audited t;
    const Tag b = t.written_buffer(0, 64);
    const auto block = t.block(one_page);
    const auto m = t.map(0, 64, bi);
    t.for_cpu(m, 0, 64);
    t.auditor.cpu_access(b, 0, 64, true);
    const unsigned before = t.provider.calls;

    dmaudit_mapping x = m;
    x.cookie[0] = block.cookie[0], x.device = snooping, x.bus++, x.size++, x.direction = to;
    t.unmap(x);
    EXPECT_EQ(t.take(), "wrong-kind");
    x.cookie[0] = m.cookie[0];
    t.unmap(x);
    EXPECT_EQ(t.take(), "wrong-device");
    x.device = nc;
    t.unmap(x);
    EXPECT_EQ(t.take(), "free-mismatch") << "the address";
    x.bus--;
    t.unmap(x);
    EXPECT_EQ(t.take(), "free-mismatch") << "the size";
    x.size--;
    t.rc = t.auditor.unmap_single(x, 65, 0);
    EXPECT_EQ(t.take(), "bad-length") << "used";
    t.unmap(x);
    EXPECT_EQ(t.take(), "wrong-direction");
    x.direction = none;
    t.unmap(x);
    EXPECT_EQ(t.take(), "wrong-direction");
    x.direction = bi;
    t.unmap(x);
    EXPECT_EQ(t.take(), "sync-discards-write") << "the byte table";
    EXPECT_EQ(t.rc, Auditor::withheld);
    EXPECT_EQ(t.provider.calls, before) << "none of them reached the provider";
    t.unmap(x, DMAUDIT_ATTR_SKIP_CPU_SYNC);
    EXPECT_EQ(t.take(), "nothing");
    x.device = snooping, x.bus++, x.size++, x.direction = none;
    t.unmap(x);
    EXPECT_EQ(t.take(), "double-free") << "a dead reference comes before all";
}

TEST(Precedence, of_sync)
{
    Audited t;
    const Tag b = t.written_buffer(0, 192);
    const auto block = t.block(one_page);
    const auto m = t.map(32, 128, bi);
    t.writes(m, 0, 64); // device wrote: sync_for_device discards
    t.for_cpu(m, 96, 32);
    EXPECT_EQ(t.found(), "nothing");
    const unsigned before = t.provider.calls;
    const auto sync = [&](const dmaudit_mapping& x, uint64_t off, uint64_t len, uint32_t d, uint32_t phase) {
        t.rc = t.auditor.sync(x, off, len, d, phase);
        return t.take();
    };
    dmaudit_mapping x = m;
    x.cookie[0] = block.cookie[0], x.device = snooping;
    EXPECT_EQ(sync(x, 129, 1, none, DMAUDIT_FOR_DEVICE), "wrong-kind");
    x.cookie[0] = m.cookie[0], x.bus++;
    EXPECT_EQ(sync(x, 129, 1, none, DMAUDIT_FOR_DEVICE), "wrong-device");
    x.device = nc;
    EXPECT_EQ(sync(x, 0, 1, none, DMAUDIT_FOR_DEVICE), "sync-outside") << "an address that is not the mapping's";
    x.bus--;
    EXPECT_EQ(sync(x, 64, ~uint64_t{0} - 63, none, DMAUDIT_FOR_DEVICE), "bad-length") << "it wraps";
    EXPECT_EQ(sync(x, 128, 1, none, DMAUDIT_FOR_DEVICE), "sync-outside");
    EXPECT_EQ(sync(x, 0, 64, none, DMAUDIT_FOR_DEVICE), "wrong-direction");
    EXPECT_EQ(sync(x, 0, 64, from, DMAUDIT_FOR_DEVICE), "sync-without-effect");
    EXPECT_EQ(sync(x, 0, 64, to, DMAUDIT_FOR_CPU), "sync-without-effect");
    EXPECT_EQ(sync(x, 0, 64, bi, DMAUDIT_FOR_DEVICE), "sync-discards-write");
    EXPECT_EQ(t.provider.calls, before);
    EXPECT_EQ(sync(x, 0, 64, from, DMAUDIT_FOR_CPU), "nothing") << "the half that matters";
    EXPECT_EQ(sync(x, 0, 64, to, DMAUDIT_FOR_DEVICE), "nothing");
    EXPECT_EQ(sync(x, 128, 0, bi, DMAUDIT_FOR_CPU), "nothing") << "no bytes, at the very end";
    EXPECT_TRUE(t.auditor.buffers().alive(b));
    t.unmap(m);
    EXPECT_EQ(sync(x, 129, 1, none, DMAUDIT_FOR_DEVICE), "use-after-unmap");
}

TEST(Precedence, the_byte_table_before_line_rules_and_its_lowest_byte)
{
    Audited t;
    t.written_buffer(0, 256);
    const auto m = t.map(0, 256, bi);
    t.for_cpu(m, 0, 64);
    t.auditor.cpu_access(t.auditor.buffers().live(0), 0, 64, true);
    t.writes(m, 128, 8);
    t.writes(m, 100, 8);
    // Lines: bytes [16, 64) stay dirty. Bytes: 100 and 128 were written by the device.
    t.for_device(m, 0, 16);
    EXPECT_EQ(t.found(), "dirty-line-over-device-data");
    t.auditor.forgive();
    t.auditor.sync(m, 32, 128, bi, DMAUDIT_FOR_DEVICE);
    EXPECT_EQ(t.found(), "sync-discards-write");
    EXPECT_EQ(t.where(), client_at + 100);
}

TEST(Precedence, of_map)
{
    Audited t;
    t.written_buffer(0, 64);
    const unsigned before = t.provider.calls;
    t.map(0, 65, none, 3);
    EXPECT_EQ(t.take(), "wrong-device") << "device, before length and direction";
    t.map(0, 64, none);
    EXPECT_EQ(t.take(), "wrong-direction");
    t.map(0, 65, to);
    EXPECT_EQ(t.take(), "out-of-bounds") << "one byte beyond the buffer";
    dmaudit_mapping m{};
    int outside = 0;
    t.auditor.map_single(t.request(4), &outside, to, &m);
    EXPECT_EQ(t.take(), "out-of-bounds") << "no RAM";
    t.map(t.request(~uint64_t{0}), 0, to);
    EXPECT_EQ(t.take(), "bad-length") << "it wraps";
    t.map(t.request(client_memory.len + 1), 0, to);
    EXPECT_EQ(t.take(), "out-of-bounds") << "beyond RAM";
    t.buffer(64, 64);
    t.map(32, 64, to);
    EXPECT_EQ(t.take(), "out-of-bounds") << "into the buffer beside it";
    EXPECT_EQ(t.provider.calls, before);
}

TEST(Precedence, of_map_range_before_direction)
{
    Audited t;
    t.written_buffer(0, 64);
    t.map(0, 65, none);
    EXPECT_EQ(t.take(), "out-of-bounds") << "beyond the buffer, and no direction";
    t.buffer(64, 64);
    t.map(32, 64, none);
    EXPECT_EQ(t.take(), "out-of-bounds") << "into the buffer beside it, and no direction";
}

TEST(Precedence, of_map_byte_table_before_line_rules)
{
    Audited t;
    t.buffer(0, 128);
    t.map(0, 16, from);
    t.map(8, 16, from);
    EXPECT_EQ(t.take(), "overlapping-mapping");
    t.map(16, 16, from);
    EXPECT_EQ(t.take(), "shared-cache-line");
    t.map(64, 16, from);
    EXPECT_EQ(t.take(), "nothing");
}

TEST(Precedence, of_free)
{
    Audited t;
    const Tag pool = t.pool();
    const auto b = t.from_pool(pool, page);
    const Tag w = t.window(b, 0, 1);
    t.written_buffer(0, 64);
    const auto m = t.map(0, 64, to);
    const unsigned before = t.provider.calls;
    dmaudit_block x = b;
    x.cookie[0] = m.cookie[0], x.device = other_nc, x.size++, x.bus++;
    t.auditor.free_coherent(x);
    EXPECT_EQ(t.take(), "wrong-kind");
    x.cookie[0] = b.cookie[0];
    t.auditor.free_coherent(x);
    EXPECT_EQ(t.take(), "wrong-device");
    x.device = nc;
    t.auditor.free_coherent(x);
    EXPECT_EQ(t.take(), "free-mismatch") << "the size";
    x.size--;
    t.auditor.free_coherent(x);
    EXPECT_EQ(t.take(), "free-mismatch") << "the address";
    x.bus--, x.cpu = static_cast<uint8_t*>(x.cpu) + 64;
    t.auditor.free_coherent(x);
    EXPECT_EQ(t.take(), "free-mismatch") << "the CPU address";
    x.cpu = b.cpu;
    EXPECT_EQ(t.auditor.free_coherent(x), Auditor::withheld);
    EXPECT_EQ(t.take(), "free-while-mapped");
    EXPECT_EQ(t.provider.calls, before);
    t.auditor.munmap(w);
    t.auditor.free_coherent(x);
    EXPECT_EQ(t.take(), "nothing");
    x.device = other_nc, x.size++;
    t.auditor.free_coherent(x);
    EXPECT_EQ(t.take(), "double-free");
}

TEST(Precedence, a_pool_release_names_its_block_by_address_and_order)
{
    Audited t;
    auto b = t.from_pool(t.pool(), 100);
    b.bus += 64; // not part of the call
    b.size = page;
    t.auditor.release_from_pool(b, &t.ours);
    EXPECT_EQ(t.take(), "nothing") << "the same order";
    Audited u;
    b = u.from_pool(u.pool(), 100);
    b.size = page + 1;
    u.auditor.release_from_pool(b, &u.ours);
    EXPECT_EQ(u.take(), "free-mismatch");
}

TEST(Precedence, of_a_window)
{
    Audited t;
    const auto b = t.from_pool(t.pool(), page);
    dmaudit_block x = b;
    x.device = other_nc, x.size = 2 * page, x.cpu = nullptr;
    t.window(x, 0, 1);
    EXPECT_EQ(t.take(), "wrong-device");
    x.device = nc;
    t.window(x, 0, 1);
    EXPECT_EQ(t.take(), "bad-length") << "a size larger than the block";
    x.size = page;
    t.window(x, 0, 1);
    EXPECT_EQ(t.take(), "out-of-bounds");
    t.auditor.release_from_pool(b, &t.ours);
    x.device = other_nc;
    t.window(x, 0, 1);
    EXPECT_EQ(t.take(), "use-after-free");
}

TEST(Precedence, of_accesses)
{
    Audited t;
    const Tag b = t.buffer(0, 64);
    const auto block = t.block(zeroed());
    const auto m = t.map(0, 32, from);
    const Tag k = Audited::tag(block), mt = Audited::tag(m);
    const auto cpu = [&](Tag o, uint64_t off, uint64_t len, bool write) {
        t.auditor.cpu_access(o, off, len, write);
        return t.take();
    };
    const auto device = [&](uint32_t d, Tag o, uint64_t off, uint64_t len, bool write) {
        t.auditor.device_access(d, o, off, len, write);
        return t.take();
    };
    EXPECT_EQ(cpu(b, 1, ~uint64_t{0}, false), "bad-length");
    EXPECT_EQ(cpu(b, 0, 65, false), "out-of-bounds") << "range before the byte table";
    EXPECT_EQ(cpu(b, 0, 64, false), "cpu-read-of-device-bytes") << "the lowest byte, not the unwritten one behind";
    EXPECT_EQ(cpu(b, 32, 32, false), "read-of-unwritten");
    EXPECT_EQ(cpu(b, 31, 32, true), "cpu-write-of-device-bytes") << "the byte table before line rules";
    EXPECT_EQ(cpu(b, 32, 32, true), "dirty-line-over-device-data");
    EXPECT_EQ(device(snooping, k, 0, page + 1, false), "wrong-device") << "device before range";
    EXPECT_EQ(device(nc, k, 0, page + 1, false), "out-of-bounds");
    EXPECT_EQ(device(snooping, mt, 0, 33, false), "device-access-denied");
    EXPECT_EQ(device(nc, mt, 0, 33, false), "device-access-denied") << "beyond what is mapped";
    EXPECT_EQ(device(nc, mt, 0, 32, false), "device-wrong-direction");
    EXPECT_EQ(device(nc, mt, 0, 32, true), "nothing");
    t.unmap(m);
    EXPECT_EQ(device(snooping, mt, 0, 33, false), "use-after-unmap") << "a dead reference comes first";
    t.auditor.remove_buffer(b);
    EXPECT_EQ(device(nc, mt, 0, 32, true), "use-after-unmap");
    t.buffer(16, 64);
    EXPECT_EQ(device(nc, mt, 0, 32, true), "wrong-identity") << "somebody else has the memory";
    EXPECT_EQ(cpu(b, 0, 99, true), "use-after-free");
    t.auditor.free_coherent(block);
    EXPECT_EQ(device(snooping, k, 0, 1, true), "use-after-free");
    t.provider.next = 0;
    t.block(one_page);
    EXPECT_EQ(device(nc, k, 0, 1, true), "wrong-identity");
}

TEST(Client, buffers_and_pools)
{
    Audited t;
    const Tag b = t.written_buffer(0, 64);
    const auto m = t.map(0, 64, to);
    EXPECT_FALSE(t.auditor.remove_buffer(b));
    EXPECT_EQ(t.take(), "free-while-mapped");
    t.unmap(m);
    EXPECT_TRUE(t.auditor.remove_buffer(b));
    EXPECT_FALSE(t.auditor.remove_buffer(b));
    EXPECT_EQ(t.take(), "double-free");
    const Tag p = t.pool();
    const auto block = t.from_pool(p, page);
    const unsigned before = t.provider.calls;
    EXPECT_EQ(t.auditor.release_pool(p), Auditor::withheld);
    EXPECT_EQ(t.take(), "leak");
    EXPECT_EQ(t.provider.calls, before);
    t.auditor.release_from_pool(block, &t.ours);
    t.auditor.release_pool(p);
    EXPECT_EQ(t.take(), "nothing");
    t.auditor.release_pool(p);
    EXPECT_EQ(t.take(), "double-free");
    t.from_pool(p, page);
    EXPECT_EQ(t.take(), "use-after-release");
}

TEST(Client, cache_maintenance)
{
    Audited t;
    const Tag mine = t.buffer(0, 32), theirs = t.written_buffer(32, 32);
    const unsigned before = t.provider.calls;
    EXPECT_EQ(t.auditor.cache(mine, 0, 33, DMAUDIT_FLUSH), Auditor::withheld);
    EXPECT_EQ(t.take(), "out-of-bounds");
    t.auditor.cache(mine, 1, ~uint64_t{0}, DMAUDIT_FLUSH);
    EXPECT_EQ(t.take(), "bad-length");
    t.auditor.cache(mine, 0, 32, DMAUDIT_INVALIDATE);
    EXPECT_EQ(t.take(), "invalidate-destroys-neighbour");
    EXPECT_EQ(t.provider.calls, before);
    t.auditor.cache(mine, 0, 32, DMAUDIT_FLUSH);
    t.auditor.cache(mine, 0, 32, DMAUDIT_FLUSH_INVALIDATE);
    EXPECT_EQ(t.take(), "nothing") << "a flush hurts nobody";
    t.auditor.remove_buffer(theirs);
    t.auditor.cache(mine, 0, 32, DMAUDIT_INVALIDATE);
    EXPECT_EQ(t.take(), "nothing");
    t.auditor.remove_buffer(mine);
    t.auditor.cache(mine, 0, 32, DMAUDIT_FLUSH);
    EXPECT_EQ(t.take(), "use-after-free");
}

TEST(Client, an_own_invalidate_leaves_bytes_without_a_value)
{
    Audited t;
    const Tag b = t.written_buffer(0, 128);
    t.auditor.cache(b, 70, 1, DMAUDIT_INVALIDATE);
    EXPECT_FALSE(t.auditor.cpu_access(b, 64, 1, false));
    EXPECT_EQ(t.take(), "read-of-unwritten") << "its whole line was dropped";
    EXPECT_TRUE(t.auditor.cpu_access(b, 63, 1, false));
}

TEST(Client, a_device_uses_a_coherent_block)
{
    Audited t;
    const auto b = t.block(with(&dmaudit_request::size, 100, 100));
    const Tag k = Audited::tag(b);
    EXPECT_FALSE(t.auditor.device_access(nc, k, 0, 1, false));
    EXPECT_EQ(t.take(), "uninitialised-to-device");
    EXPECT_TRUE(t.auditor.device_access(nc, k, 0, 100, true));
    EXPECT_TRUE(t.auditor.device_access(nc, k, 0, 100, false));
    EXPECT_TRUE(t.auditor.cpu_access(k, 0, 100, false)) << "no sync is needed";
    EXPECT_FALSE(t.auditor.device_access(nc, k, 0, 101, true));
    EXPECT_EQ(t.take(), "out-of-bounds");
}

TEST(Client, contents_of_blocks_that_need_syncs_are_not_judged)
{
    for (const uint64_t promises : {usual, uint64_t{usual | DMAUDIT_TRAIT_COHERENT_NEEDS_SYNC}}) {
        Audited t(promises);
        const Tag k = Audited::tag(t.block(one_page));
        const bool needs_sync = promises != usual;
        EXPECT_EQ(t.auditor.cpu_access(k, 0, 1, false), needs_sync);
        t.take();
        EXPECT_EQ(t.auditor.device_access(nc, k, 0, 1, false), needs_sync);
    }
}

TEST(Client, names_a_device_that_does_not_exist)
{
    Audited t;
    const unsigned before = t.provider.calls;
    t.block(t.request(64, 3));
    EXPECT_EQ(t.take(), "wrong-device");
    EXPECT_EQ(t.rc, Auditor::withheld);
    t.pool(3);
    EXPECT_EQ(t.take(), "wrong-device");
    EXPECT_EQ(t.provider.calls, before);
}

TEST(Client, syncs_in_another_direction_than_the_mapping_s)
{
    Audited t;
    t.written_buffer(0, 64);
    const auto m = t.map(0, 64, to);
    for (const uint32_t d : {from, bi, none})
        for (const uint32_t phase : {DMAUDIT_FOR_CPU, DMAUDIT_FOR_DEVICE}) {
            t.auditor.sync(m, 0, 64, d, phase);
            EXPECT_EQ(t.take(), "wrong-direction") << d << ' ' << phase;
        }
}

TEST(Client, declares_memory_that_somebody_uses)
{
    Audited t;
    t.buffer(0, 64);
    uint32_t e = 0;
    Tag p = 0;
    EXPECT_EQ(t.auditor.declare_pool(nc, {client_at, page}, &e, &p), Auditor::withheld);
    EXPECT_EQ(t.take(), "out-of-bounds");
}

// ==== lines ====

TEST(Lines, a_map_without_cache_work_leaves_dirty_lines_to_the_cpu_as_a_whole)
{
    for (const uint32_t device : {nc, snooping}) {
        Audited t;
        const Tag b = t.written_buffer(0, 192);
        const auto all = t.map(0, 192, to);
        t.unmap(all); // handed over once: in step
        t.auditor.cpu_access(b, 67, 1, true);
        t.machine.dirty = {client_at + 67};
        const auto m = t.map(0, 192, bi, device, DMAUDIT_ATTR_SKIP_CPU_SYNC);
        EXPECT_EQ(t.found(), "nothing");
        EXPECT_EQ(t.state(client_at + 67), "H.bi.d");
        EXPECT_EQ(t.state(client_at + 100), device == nc ? "H.bi" : "D.bi");
        EXPECT_EQ(t.state(client_at), "D.bi") << "a clean line";
        EXPECT_FALSE(t.reads(m, 67, 1));
        EXPECT_EQ(t.take(), "dirty-device-read");
    }
}

TEST(Lines, that_a_device_s_unseen_data_fills_are_reloaded_before_a_map)
{
    Audited t;
    t.buffer(0, 128);
    const auto m = t.map(0, 64, from);
    t.writes(m, 0, 64);
    t.unmap(m, DMAUDIT_ATTR_SKIP_CPU_SYNC);
    t.map(64, 64, to);
    EXPECT_TRUE(t.machine.reloaded.empty()) << "other bytes";
    t.map(0, 64, from);
    EXPECT_FALSE(t.machine.reloaded.empty());
}

TEST(Lines, shared_cache_line_at_map)
{
    struct Case {
        uint32_t first, second;
        uint32_t device;
        const char* rule;
    };
    for (const Case& c :
         {Case{from, to, nc, "shared-cache-line"}, Case{to, from, nc, "shared-cache-line"},
          Case{bi, bi, nc, "shared-cache-line"}, Case{to, to, nc, "nothing"}, Case{from, from, snooping, "nothing"}}) {
        Audited t;
        t.buffer(0, 64);
        t.map(0, 16, c.first, c.device);
        EXPECT_EQ(t.take(), "nothing");
        t.map(63, 1, c.second, c.device);
        EXPECT_EQ(t.take(), c.rule) << c.first << ' ' << c.second << ' ' << c.device;
    }
    Audited t;
    t.buffer(0, 129);
    t.map(0, 64, from);
    t.map(64, 64, from);
    t.map(128, 1, to);
    EXPECT_EQ(t.take(), "nothing") << "lines of their own";
}

TEST(Lines, shared_cache_line_with_another_allocation)
{
    const auto beside = [](uint32_t direction, uint32_t device) {
        Audited t;
        t.buffer(0, 100);
        t.buffer(100, 10);
        t.map(0, 100, direction, device);
        return t.take();
    };
    EXPECT_EQ(beside(from, nc), "shared-cache-line");
    EXPECT_EQ(beside(bi, nc), "shared-cache-line");
    EXPECT_EQ(beside(to, nc), "nothing");
    EXPECT_EQ(beside(from, snooping), "nothing");
    Audited t;
    const Tag b = t.buffer(0, 200);
    t.map(2, 98, from);
    EXPECT_EQ(t.take(), "nothing") << "unmapped bytes of the same buffer";
    EXPECT_FALSE(t.auditor.cpu_access(b, 0, 1, true));
    EXPECT_EQ(t.take(), "dirty-line-over-device-data");
    EXPECT_TRUE(t.auditor.cpu_access(b, 128, 1, true)) << "the next line";
}

TEST(Lines, half_a_line_with_the_cpu)
{
    for (const uint32_t device : {nc, snooping}) {
        Audited t;
        const Tag b = t.written_buffer(0, 64);
        const auto m = t.map(0, 64, bi, device);
        t.for_cpu(m, 0, 32);
        EXPECT_EQ(t.auditor.cpu_access(b, 0, 32, true), device == snooping);
        EXPECT_EQ(t.take(), device == nc ? "dirty-line-over-device-data" : "nothing");
    }
    for (const uint32_t device : {nc, snooping}) {
        Audited t;
        const Tag b = t.written_buffer(0, 64);
        const auto m = t.map(0, 64, bi, device);
        t.for_cpu(m, 0, 64);
        t.auditor.cpu_access(b, 4, 1, true);
        t.auditor.cpu_access(b, 6, 1, true);
        t.for_device(m, 4, 1);
        EXPECT_EQ(t.take(), device == nc ? "dirty-line-over-device-data" : "nothing") << "byte 6 is still dirty";
    }
}

// ==== illegal frees that are forwarded ====

TEST(Forwarding, an_illegal_call_never_reaches_a_provider_without_the_promise)
{
    for (const uint64_t promises : {usual, uint64_t{usual | DMAUDIT_PROMISES_DETECTION}})
        for (const bool forward : {false, true}) {
            Audited t(promises);
            t.auditor.forward_illegal(forward);
            t.provider.free = [](const dmaudit_block&) { return DMAUDIT_OK; };
            const auto b = t.block(one_page);
            t.auditor.free_coherent(b);
            t.provider.free = [](const dmaudit_block&) { return DMAUDIT_EFAULT; };
            const unsigned calls = t.calls_of([&] { EXPECT_EQ(t.auditor.free_coherent(b), Auditor::withheld); });
            EXPECT_EQ(calls, forward && promises != usual ? 1u : 0u);
            EXPECT_EQ(t.found(), "double-free") << "detected or not, it is the client's mistake";
        }
}

TEST(Forwarding, wrong_return_if_an_illegal_free_succeeds)
{
    Audited t(usual | DMAUDIT_PROMISES_DETECTION);
    t.auditor.forward_illegal(true);
    auto b = t.block(zeroed());
    b.size += page;
    const unsigned calls = t.calls_of([&] { EXPECT_EQ(t.auditor.free_coherent(b), DMAUDIT_OK); });
    EXPECT_EQ(calls, 1u);
    EXPECT_EQ(t.found(), "wrong-return");
}

TEST(Forwarding, the_lie_reaches_the_provider_with_its_own_cookies_and_alias)
{
    Audited t(usual | DMAUDIT_PROMISES_DETECTION);
    t.auditor.forward_illegal(true);
    t.provider.block_lies([](dmaudit_block& b) { b.cookie[0] = 77; });
    auto b = t.block(zeroed());
    b.size += page;
    b.cpu = static_cast<uint8_t*>(b.cpu) + 64;
    t.provider.free = [&](const dmaudit_block& given) {
        EXPECT_EQ(given.cookie[0], 77u);
        EXPECT_EQ(given.cpu, t.machine.ram.data() + 64);
        EXPECT_EQ(given.size, 2 * page);
        return DMAUDIT_EFAULT;
    };
    EXPECT_EQ(t.calls_of([&] { t.auditor.free_coherent(b); }), 1u);
    EXPECT_EQ(t.found(), "free-mismatch");
}

TEST(Forwarding, pool_releases_by_code_and_flag)
{
    const auto answer = [](int rc, int ours) {
        Audited t(usual | DMAUDIT_PROMISES_DETECTION);
        t.auditor.forward_illegal(true);
        const auto b = t.from_pool(t.pool(), page);
        t.auditor.release_from_pool(b, &t.ours);
        t.provider.release_from = [=](uint32_t, uint32_t, uint8_t*, int& o) {
            o = ours;
            return rc;
        };
        EXPECT_EQ(t.calls_of([&] { t.auditor.release_from_pool(b, &t.ours); }), 1u);
        return t.found();
    };
    EXPECT_EQ(answer(DMAUDIT_EFAULT, 1), "double-free");
    EXPECT_EQ(answer(DMAUDIT_OK, 0), "double-free") << "not the pool's: nothing was released";
    EXPECT_EQ(answer(DMAUDIT_OK, 1), "wrong-return");
}

TEST(Forwarding, a_release_that_names_a_new_owners_block_is_not_forwarded)
{
    Audited t(usual | DMAUDIT_PROMISES_DETECTION);
    t.auditor.forward_illegal(true);
    const Tag p = t.pool();
    const auto b = t.from_pool(p, page);
    t.auditor.release_from_pool(b, &t.ours);
    t.provider.next_in_pool = pool_memory.at;
    t.from_pool(p, page); // the same place
    EXPECT_EQ(t.calls_of([&] { t.auditor.release_from_pool(b, &t.ours); }), 0u) << "no provider can tell the two apart";
    EXPECT_EQ(t.found(), "double-free");
}

TEST(Forwarding, a_block_with_an_open_window_is_never_handed_back)
{
    Audited t(usual | DMAUDIT_PROMISES_DETECTION);
    t.auditor.forward_illegal(true);
    const auto b = t.from_pool(t.pool(), page);
    t.window(b, 0, 1);
    EXPECT_EQ(t.calls_of([&] { t.auditor.release_from_pool(b, &t.ours); }), 0u) << "no provider can see that";
    EXPECT_EQ(t.found(), "free-while-mapped");
}

// ==== several to_device mappings of the same bytes ====

TEST(Shared, two_devices_read_and_the_last_one_keeps_its_mapping)
{
    Audited t;
    t.written_buffer(0, 64);
    const auto m0 = t.map(0, 64, to), m1 = t.map(0, 64, to, other_nc);
    EXPECT_EQ(t.state(client_at), "M");
    EXPECT_TRUE(t.reads(m0, 0, 64) && t.reads(m1, 0, 64));
    t.unmap(m0);
    EXPECT_EQ(t.state(client_at), "D.to");
    EXPECT_TRUE(t.reads(m1, 0, 64));
    t.unmap(m1);
    EXPECT_EQ(t.state(client_at), "C");
    EXPECT_EQ(t.found(), "nothing");
}

TEST(Shared, the_cpu_may_write_when_every_mapping_has_handed_over)
{
    Audited t;
    const Tag b = t.written_buffer(0, 64);
    const auto m0 = t.map(0, 64, to), m1 = t.map(0, 64, to, other_nc);
    t.for_cpu(m0, 0, 64);
    EXPECT_FALSE(t.auditor.cpu_access(b, 0, 64, true));
    EXPECT_EQ(t.take(), "cpu-write-of-device-bytes");
    t.for_cpu(m1, 0, 32);
    EXPECT_TRUE(t.auditor.cpu_access(b, 0, 32, true));
    EXPECT_FALSE(t.auditor.cpu_access(b, 0, 33, true));
    EXPECT_EQ(t.where(), client_at + 32);
    EXPECT_EQ(t.take(), "cpu-write-of-device-bytes");
    EXPECT_TRUE(t.auditor.cpu_access(b, 0, 64, false)) << "reading is always legal";
}

TEST(Shared, a_device_reads_only_what_its_own_mapping_was_given_back)
{
    Audited t;
    const Tag b = t.written_buffer(0, 64);
    const auto m0 = t.map(0, 64, to), m1 = t.map(0, 64, to, other_nc);
    t.for_cpu(m0, 0, 64);
    t.for_cpu(m1, 0, 64);
    t.auditor.cpu_access(b, 0, 64, true);
    EXPECT_EQ(t.state(client_at), "M.d");
    t.for_device(m0, 0, 64);
    EXPECT_EQ(t.found(), "nothing");
    EXPECT_TRUE(t.reads(m0, 0, 64));
    EXPECT_FALSE(t.reads(m1, 0, 64));
    EXPECT_EQ(t.take(), "device-access-denied");
    t.for_device(m1, 0, 64);
    EXPECT_TRUE(t.reads(m1, 0, 64));
}

TEST(Shared, three_mappings_that_overlap_in_part)
{
    Audited t;
    t.written_buffer(0, 256);
    const auto m0 = t.map(0, 128, to), m1 = t.map(64, 128, to, other_nc), m2 = t.map(96, 64, to, snooping);
    EXPECT_EQ(t.found(), "nothing");
    const auto states = [&] {
        std::string s;
        for (const uint64_t at : {0u, 63u, 64u, 95u, 96u, 127u, 128u, 159u, 160u, 191u, 192u})
            s += t.state(client_at + at) + " ";
        return s;
    };
    EXPECT_EQ(states(), "D.to D.to M M M M M M D.to D.to C.d ");
    t.unmap(m1);
    EXPECT_EQ(states(), "D.to D.to D.to D.to M M D.to D.to C C C.d ");
    t.unmap(m0);
    EXPECT_EQ(states(), "C C C C D.to D.to D.to D.to C C C.d ");
    t.unmap(m2);
    EXPECT_EQ(states(), "C C C C C C C C C C C.d ");
    EXPECT_EQ(t.found(), "nothing");
}

TEST(Shared, all_three_must_hand_over)
{
    Audited t;
    const Tag b = t.written_buffer(0, 64);
    const auto m0 = t.map(0, 64, to), m1 = t.map(0, 64, to, other_nc), m2 = t.map(0, 64, to, snooping);
    t.for_cpu(m0, 0, 64);
    t.for_cpu(m2, 0, 64);
    EXPECT_FALSE(t.auditor.cpu_access(b, 0, 1, true));
    EXPECT_EQ(t.auditor.violation()->object, Audited::tag(m1));
    t.take();
    t.unmap(m1);
    EXPECT_TRUE(t.auditor.cpu_access(b, 0, 1, true)) << "the two that are left have";
    EXPECT_EQ(t.state(client_at), "M.d");
}

TEST(Shared, what_a_mapping_had_handed_over_before_survives)
{
    Audited t;
    const Tag b = t.written_buffer(0, 192);
    const auto m0 = t.map(0, 128, to);
    t.for_cpu(m0, 0, 128);
    const auto m1 = t.map(64, 128, to, other_nc);
    EXPECT_EQ(t.state(client_at + 64), "M");
    EXPECT_FALSE(t.reads(m0, 64, 64));
    EXPECT_EQ(t.take(), "device-access-denied");
    t.for_cpu(m1, 64 - 64, 64);
    EXPECT_TRUE(t.auditor.cpu_access(b, 64, 32, true));
    t.unmap(m1);
    EXPECT_EQ(t.state(client_at + 64), "H.to.d");
    EXPECT_EQ(t.state(client_at + 96), "H.to") << "m0 had handed it over, nobody wrote";
    EXPECT_EQ(t.state(client_at + 128), "C");
    t.unmap(m0);
    EXPECT_EQ(t.state(client_at + 64), "C.d") << "a write that was not handed over";
    EXPECT_EQ(t.found(), "nothing");
}

TEST(Shared, unmapping_the_holder_leaves_the_bytes_to_the_device_of_the_other)
{
    Audited t;
    const Tag b = t.written_buffer(0, 64);
    const auto m0 = t.map(0, 64, to), m1 = t.map(0, 64, to, other_nc);
    t.for_cpu(m0, 0, 64);
    t.unmap(m0);
    EXPECT_EQ(t.state(client_at), "D.to");
    EXPECT_TRUE(t.reads(m1, 0, 64));
    t.unmap(m1);
    EXPECT_TRUE(t.auditor.cpu_access(b, 0, 64, true));
}

TEST(Shared, a_mapping_left_alone_takes_its_bytes_back_from_the_cpu)
{
    Audited t;
    t.written_buffer(0, 64);
    const auto m0 = t.map(0, 64, to), m1 = t.map(0, 64, to, other_nc);
    t.for_cpu(m0, 0, 64);
    t.unmap(m1);
    EXPECT_EQ(t.state(client_at), "H.to");
    t.for_device(m0, 0, 64);
    EXPECT_EQ(t.state(client_at), "D.to");
    EXPECT_TRUE(t.reads(m0, 0, 64));
    EXPECT_EQ(t.take(), "nothing") << "handed over and handed back";
}

TEST(Shared, what_was_handed_back_is_not_held_when_it_is_shared_again)
{
    Audited t;
    const Tag b = t.written_buffer(0, 64);
    const auto m0 = t.map(0, 64, to), m1 = t.map(0, 64, to, other_nc);
    t.for_cpu(m0, 0, 64);
    t.unmap(m1);
    t.for_device(m0, 0, 64);
    const auto m2 = t.map(0, 64, to, other_nc);
    t.for_cpu(m2, 0, 64);
    EXPECT_FALSE(t.auditor.cpu_access(b, 0, 64, true)) << "the first mapping has the bytes";
    EXPECT_EQ(t.take(), "cpu-write-of-device-bytes");
}

// ==== never quiet ====

TEST(Exhausted, buffers_blocks_mappings_windows_and_pools)
{
    constexpr uint32_t most = Slots<BufferRecord, Kind::buffer>::capacity;
    const auto until_it_stops = [](Audited& t, const std::function<void()>& once) {
        uint32_t n = 0;
        for (; n < 2 * most && !t.auditor.violation(); n++)
            once();
        EXPECT_EQ(t.found(), "auditor-exhausted");
        return n - 1;
    };
    {
        Audited t;
        EXPECT_EQ(until_it_stops(t, [&] { t.auditor.remove_buffer(t.buffer(0, 1)); }), most);
    }
    {
        Audited t;
        EXPECT_EQ(until_it_stops(t,
                                 [&] {
                                     t.provider.next = 0;
                                     const auto b = t.block(one_page);
                                     if (!t.auditor.violation())
                                         t.auditor.free_coherent(b);
                                 }),
                  most);
    }
    {
        Audited t;
        t.written_buffer(0, 64);
        EXPECT_EQ(until_it_stops(t,
                                 [&] {
                                     const auto m = t.map(0, 64, to);
                                     if (!t.auditor.violation())
                                         t.unmap(m);
                                 }),
                  most);
    }
    {
        Audited t;
        const auto b = t.from_pool(t.pool(), page);
        EXPECT_EQ(until_it_stops(t,
                                 [&] {
                                     if (const Tag w = t.window(b, 0, 1))
                                         t.auditor.munmap(w);
                                 }),
                  most);
    }
    {
        Audited t;
        EXPECT_EQ(until_it_stops(t,
                                 [&] {
                                     const Tag p = t.pool();
                                     if (!t.auditor.violation())
                                         t.auditor.release_pool(p);
                                 }),
                  most);
    }
}

TEST(Exhausted, ranges_that_a_mapping_has_handed_over)
{
    Audited t;
    t.written_buffer(0, 128);
    const auto m0 = t.map(0, 128, to);
    t.map(0, 128, to, other_nc);
    unsigned n = 0;
    for (; n < 64 && !t.auditor.violation(); n++)
        t.for_cpu(m0, 2 * n, 1);
    EXPECT_EQ(t.found(), "auditor-exhausted");
    EXPECT_EQ(n, 17u);
}

TEST(Exhausted, ranges_handed_over_before_the_bytes_were_shared)
{
    Audited t;
    t.written_buffer(0, 128);
    const auto m0 = t.map(0, 128, to);
    for (unsigned n = 0; n < 17; n++)
        t.for_cpu(m0, 2 * n, 1);
    EXPECT_EQ(t.found(), "nothing") << "the states remember it";
    t.map(0, 128, to, other_nc);
    EXPECT_EQ(t.found(), "auditor-exhausted");
}

TEST(First, what_the_machine_tells_during_a_call_comes_before_the_call_s_own_result)
{
    Audited t;
    t.written_buffer(0, 64);
    t.written_buffer(128, 64);
    t.machine.dirty = {client_at + 128};
    t.provider.map = [&](const dmaudit_request&, uint8_t*, uint32_t, dmaudit_mapping& m) {
        t.auditor.drops_dirty(client_at + 128);
        m.bus = DMAUDIT_NO_ADDRESS;
        return DMAUDIT_OK;
    };
    t.map(0, 64, to);
    EXPECT_EQ(t.found(), "corrupts-neighbour");
    EXPECT_EQ(t.auditor.mappings().live_count(), 0u);
}

// ==== off ====

TEST(Off, calls_are_passed_on_and_remembered_but_nothing_is_judged)
{
    Audited t;
    t.auditor.end();
    t.auditor.audit(false);
    t.begin();
    const Tag b = t.buffer(0, 64);
    t.machine.differs = {client_at};
    const auto m = t.map(0, 64, from);
    EXPECT_TRUE(t.auditor.mappings().alive(Audited::tag(m)));
    EXPECT_TRUE(t.auditor.cpu_access(b, 0, 64, false)) << "a device's bytes";
    EXPECT_EQ(t.unmap(m), DMAUDIT_OK);
    const auto k = t.block(zeroed(100));
    EXPECT_EQ(t.auditor.free_coherent(k), DMAUDIT_OK);
    EXPECT_EQ(t.machine.ram[0], 0) << "no scribble";
    EXPECT_EQ(t.found(), "nothing");
    EXPECT_EQ(t.provider.calls, 4u);
    t.auditor.end();
    t.auditor.audit(true);
    t.begin();
    t.buffer(0, 64);
    t.auditor.cpu_access(t.auditor.buffers().live(0), 0, 1, false);
    EXPECT_EQ(t.found(), "read-of-unwritten");
}

// ==== what others see ====

TEST(Trace, tells_each_applied_event_and_no_refused_one)
{
    struct Notes final : Auditor::Trace {
        std::string text;
        void applied(Event e, Range r) override
        {
            text += std::string(event_name(e)) + ":" + std::to_string(r.len) + " ";
        }
    } notes;
    Audited t;
    t.auditor.trace = &notes;
    const Tag b = t.written_buffer(0, 64);
    const auto m = t.map(0, 64, from);
    t.auditor.cpu_access(b, 0, 1, false);
    t.take();
    t.writes(m, 0, 8);
    t.for_cpu(m, 0, 16);
    t.rc = t.auditor.unmap_single(m, 8, 0);
    EXPECT_EQ(notes.text,
              "buffer_alloc:64 cpu_write:64 map_from:64 device_write:8 sync_for_cpu:16 unmap:8 unmap_tail:56 ");
}

TEST(Cells, count_what_was_judged_legal_or_not)
{
    Audited t;
    std::vector<uint8_t> cells(Auditor::cell_count);
    t.auditor.cells = cells.data();
    const Tag b = t.buffer(0, 64);
    t.auditor.cpu_access(b, 0, 1, false);
    const size_t set = static_cast<size_t>(std::count_if(cells.begin(), cells.end(), [](uint8_t c) { return c != 0; }));
    EXPECT_EQ(set, 2u) << "buffer_alloc of N, cpu_read of C";
    EXPECT_NE(cells[static_cast<size_t>(Event::cpu_read) * (2 * state_count + 1) + state_number(code_of(C_c))], 0);
}

TEST(Session, a_new_one_knows_nothing_of_the_last)
{
    Audited t;
    const Tag b = t.written_buffer(0, 64);
    t.block(one_page);
    t.map(0, 64, from);
    t.pool();
    t.auditor.cpu_access(b, 0, 1, false);
    EXPECT_NE(t.found(), "nothing");
    t.auditor.end();
    t.begin();
    EXPECT_EQ(t.found(), "nothing");
    EXPECT_FALSE(t.auditor.alive(b));
    EXPECT_EQ(t.auditor.mappings().live_count() + t.auditor.blocks().live_count() + t.auditor.pools().live_count(), 0u);
    EXPECT_EQ(t.auditor.pool_of(nc), 0u);
    EXPECT_EQ(t.state(client_at), "N");
    EXPECT_EQ(t.state(0), "P");
    EXPECT_EQ(t.buffer(0, 64), b) << "the same calls give the same tags";
}

#ifdef DMAUDIT_ASAN
TEST(Mirror, client_bytes_that_the_cpu_may_not_touch_are_poisoned)
{
    Audited t;
    const auto poisoned = [&](uint64_t place) {
        return __asan_address_is_poisoned(t.machine.client.data() + client_at + place) != 0;
    };
    EXPECT_TRUE(poisoned(0));
    const Tag b = t.written_buffer(0, 64);
    EXPECT_FALSE(poisoned(0));
    EXPECT_TRUE(poisoned(64));
    const auto m = t.map(0, 64, from);
    EXPECT_TRUE(poisoned(0));
    t.for_cpu(m, 0, 32);
    EXPECT_FALSE(poisoned(0));
    EXPECT_TRUE(poisoned(32));
    t.unmap(m);
    EXPECT_FALSE(poisoned(32));
    const auto reader = t.map(0, 64, to);
    EXPECT_FALSE(poisoned(0)) << "to_device bytes may be read";
    t.unmap(reader);
    t.auditor.remove_buffer(b);
    EXPECT_TRUE(poisoned(0));
}

TEST(Mirror, stale_bytes_may_be_written_so_they_are_not_poisoned)
{
    Audited t;
    const Tag b = t.written_buffer(0, 64);
    const auto m = t.map(0, 64, from);
    t.writes(m, 0, 64);
    t.unmap(m, DMAUDIT_ATTR_SKIP_CPU_SYNC);
    EXPECT_EQ(t.state(client_at), "C.s");
    EXPECT_TRUE(t.auditor.cpu_access(b, 0, 64, true));
    EXPECT_FALSE(__asan_address_is_poisoned(t.machine.client.data() + client_at)) << "a legal write would fault";
}
#endif

} // namespace
} // namespace dmaudit
