// Managed DMA before the auditor: a provider that keeps a list for each device and releases it as a test says.
#include "shadow/auditor.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <set>
#include <vector>

namespace dmaudit {
namespace {

constexpr uint64_t page = 4096, ram_bytes = 16 * page, phys_base = 0x80000000;
constexpr Range arena{0, 12 * page}, pool_memory{12 * page, 4 * page};
constexpr uint32_t nc = 0, behind_iommu = 1;

struct FakeMachine final : Evidence {
    std::vector<uint8_t> ram = std::vector<uint8_t>(ram_bytes), client = std::vector<uint8_t>(ram_bytes);
    std::set<uint64_t> uncached_at;
    std::map<uint64_t, uint64_t> iommu; // page of the device -> offset

    std::optional<uint64_t> translate(unsigned device, uint64_t bus, uint64_t len) const override
    {
        if (device != behind_iommu)
            return offset_of(bus, len);
        for (uint64_t at = bus & ~(page - 1); at < bus + len; at += page)
            if (!iommu.contains(at))
                return {};
        return iommu.at(bus & ~(page - 1)) + bus % page;
    }
    bool reaches(unsigned device, uint64_t bus, uint64_t len, bool, bool) const override
    {
        return translate(device, bus, len).has_value();
    }
    std::optional<uint64_t> offset_of(uint64_t phys, uint64_t len) const override
    {
        const uint64_t at = phys - phys_base;
        return at < ram_bytes && len <= ram_bytes - at ? std::optional(at) : std::nullopt;
    }
    uint64_t phys_of(uint64_t at) const override { return phys_base + at; }
    std::optional<uint64_t> first_difference(Range) const override { return {}; }
    std::optional<uint64_t> first_dirty(Range) const override { return {}; }
    bool byte_dirty(uint64_t) const override { return false; }
    std::optional<uint64_t> first_stale(Range) const override { return {}; }
    bool uncached(Range r) const override
    {
        for (uint64_t at = r.at & ~(page - 1); at < r.end(); at += page)
            if (!uncached_at.contains(at))
                return false;
        return true;
    }
    uint64_t uncached_pages() const override { return uncached_at.size(); }
    uint64_t translations_added() const override { return 0; }
    bool fault_injected() const override { return false; }
    void reload(Range) override {}
    void wrote(Range) override {}
};

struct Node {
    enum { block, pool, action, group } kind;
    uint32_t device;
    Range at;
    uint64_t bus, id;
    void (*run)(void*);
    void* data;
};

struct FakeProvider {
    FakeMachine& machine;
    std::set<uint32_t> bound;
    std::vector<Node> nodes;
    uint64_t next = arena.at, unit = page; // bytes of the smallest block
    bool strict = true; // refuses what it must
    // What a release is about to do, last taken first.
    std::function<void(std::vector<Node>&)> meddle = [](std::vector<Node>&) {};
    std::function<void()> at_open_group = [] {};
    dmaudit_managed managed{};
    dmaudit_coherent coherent{};
    dmaudit_provider table{};

    explicit FakeProvider(FakeMachine& m) : machine(m)
    {
        managed.struct_size = sizeof managed;
        managed.bind = [](void* c, uint32_t d) {
            return static_cast<int>(!of(c).bound.insert(d).second && of(c).strict ? DMAUDIT_EBUSY : DMAUDIT_OK);
        };
        managed.unbind = [](void* c, uint32_t d) {
            if (!of(c).bound.erase(d) && of(c).strict)
                return static_cast<int>(DMAUDIT_ENODEV);
            return of(c).release(d, 0);
        };
        managed.alloc = [](void* c, const dmaudit_request* r, dmaudit_block* b) { return of(c).alloc(*r, *b, false); };
        managed.alloc_noncoherent = [](void* c, const dmaudit_request* r, uint32_t, dmaudit_block* b) {
            return of(c).alloc(*r, *b, true);
        };
        managed.free = [](void* c, const dmaudit_block* b) {
            FakeProvider& p = of(c);
            const auto at = static_cast<uint64_t>(static_cast<uint8_t*>(b->cpu) - p.machine.ram.data());
            const auto it = std::find_if(p.nodes.begin(), p.nodes.end(),
                                         [&](const Node& n) { return n.kind == Node::block && n.at.at == at; });
            if (it == p.nodes.end())
                return static_cast<int>(DMAUDIT_EFAULT);
            p.drop(*it);
            p.nodes.erase(it);
            return static_cast<int>(DMAUDIT_OK);
        };
        managed.declare = [](void* c, uint32_t d, uint64_t phys, uint64_t, uint64_t size, uint32_t*) {
            FakeProvider& p = of(c);
            for (uint64_t at = phys - phys_base; at < phys - phys_base + size; at += page)
                p.machine.uncached_at.insert(at);
            return p.take({Node::pool, d, {phys - phys_base, size}, 0, 0, nullptr, nullptr});
        };
        managed.add_action = [](void* c, uint32_t d, void (*run)(void*), void* data) {
            return of(c).take({Node::action, d, {}, 0, 0, run, data});
        };
        managed.open_group = [](void* c, uint32_t d, uint64_t id) {
            of(c).at_open_group();
            return of(c).take({Node::group, d, {}, 0, id, nullptr, nullptr});
        };
        managed.release_group = [](void* c, uint32_t d, uint64_t id) {
            FakeProvider& p = of(c);
            for (size_t i = p.nodes.size(); i-- > 0;)
                if (p.nodes[i].kind == Node::group && p.nodes[i].device == d && p.nodes[i].id == id)
                    return p.release(d, i);
            return p.strict ? static_cast<int>(DMAUDIT_EINVAL) : static_cast<int>(DMAUDIT_OK);
        };
        coherent.struct_size = sizeof coherent;
        coherent.alloc = [](void* c, const dmaudit_request* r, dmaudit_block* b) { return of(c).fill(*r, *b, false); };
        coherent.free = [](void*, const dmaudit_block*) { return static_cast<int>(DMAUDIT_OK); };
        table.abi = DMAUDIT_ABI;
        table.struct_size = sizeof table;
        table.promises = DMAUDIT_PROMISES_IOMMU | DMAUDIT_PROMISES_PROMPT;
        table.coherent = &coherent;
        table.managed = &managed;
    }
    static FakeProvider& of(void* c) { return *static_cast<FakeProvider*>(c); }

    int take(const Node& n)
    {
        if (!bound.contains(n.device) && strict)
            return DMAUDIT_ENODEV;
        nodes.push_back(n);
        return DMAUDIT_OK;
    }
    int fill(const dmaudit_request& r, dmaudit_block& b, bool cached)
    {
        b.cpu = machine.ram.data() + next;
        b.bus = r.device == behind_iommu ? 0x10000 + next : phys_base + next;
        b.granted = (r.size + unit - 1) / unit * unit;
        std::memset(b.cpu, 0, b.granted);
        for (uint64_t at = 0; at < b.granted; at += page) {
            if (!cached)
                machine.uncached_at.insert((next + at) & ~(page - 1));
            if (r.device == behind_iommu)
                machine.iommu[b.bus + at] = next + at;
        }
        next += b.granted;
        return DMAUDIT_OK;
    }
    int alloc(const dmaudit_request& r, dmaudit_block& b, bool cached)
    {
        if (!bound.contains(r.device) && strict)
            return DMAUDIT_ENODEV;
        const uint64_t at = next;
        fill(r, b, cached);
        return take({Node::block, r.device, {at, b.granted}, b.bus, 0, nullptr, nullptr});
    }
    void drop(const Node& n)
    {
        for (uint64_t at = 0; at < n.at.len; at += page) {
            machine.uncached_at.erase(n.at.at + at);
            if (n.device == behind_iommu)
                machine.iommu.erase(n.bus + at);
        }
    }
    int release(uint32_t device, size_t from)
    {
        std::vector<Node> going;
        for (size_t i = nodes.size(); i-- > from;)
            if (nodes[i].device == device)
                going.push_back(nodes[i]);
        for (size_t i = nodes.size(); i-- > from;)
            if (nodes[i].device == device)
                nodes.erase(nodes.begin() + static_cast<std::ptrdiff_t>(i));
        meddle(going);
        for (const Node& n : going)
            n.kind == Node::action ? n.run(n.data) : drop(n);
        return DMAUDIT_OK;
    }
};

class Managed : public ::testing::Test {
  protected:
    FakeMachine machine;
    FakeProvider provider{machine};
    Auditor auditor;

    Managed()
    {
        Surroundings s;
        s.ram = ram_bytes;
        s.provider_view = machine.ram.data();
        s.client_view = machine.client.data();
        s.n_devices = 2;
        s.devices[nc] = {~uint64_t{0}, 0, false};
        s.devices[behind_iommu] = {~uint64_t{0}, 0, false, true};
        auditor.begin(s, machine, provider.table, &provider, {&arena, 1});
    }
    ~Managed() override { auditor.end(); }

    dmaudit_block block(uint32_t device, uint64_t size = page, bool managed = true)
    {
        dmaudit_request r{};
        r.struct_size = sizeof r;
        r.device = device;
        r.size = size;
        dmaudit_block b{};
        rc = auditor.alloc_coherent(r, &b, managed);
        return b;
    }
    RuleId rule() const { return auditor.violation() ? auditor.violation()->rule : RuleId::none; }
    int rc = 0;
};

TEST_F(Managed, EverythingGoesInReverseOrderWithItsDriver)
{
    for (const uint32_t device : {nc, behind_iommu}) {
        EXPECT_EQ(auditor.bind(device), DMAUDIT_OK);
        const dmaudit_block first = block(device);
        auditor.add_action(device);
        block(device, 5000);
        auditor.open_group(device);
        auditor.add_action(device);
        EXPECT_EQ(auditor.managed().count(), 5u);
        EXPECT_EQ(auditor.unbind(device), DMAUDIT_OK);
        EXPECT_EQ(rule(), RuleId::none) << auditor.violation()->what;
        EXPECT_EQ(auditor.managed().count(), 0u);
        EXPECT_FALSE(auditor.alive(static_cast<Tag>(first.cookie[0])));
        EXPECT_EQ(owner_of(auditor.map().at(auditor.bytes_of(static_cast<Tag>(first.cookie[0])).at)), Owner::provider);
    }
}

TEST_F(Managed, AGroupGoesWithTheGroupsInsideItAndNothingElse)
{
    auditor.bind(nc);
    auditor.bind(behind_iommu);
    const dmaudit_block outside = block(nc);
    auditor.open_group(nc);
    const dmaudit_block inside = block(nc), of_other = block(behind_iommu);
    auditor.open_group(nc);
    auditor.add_action(nc);
    EXPECT_EQ(auditor.release_group(nc, 1), DMAUDIT_OK);
    EXPECT_EQ(rule(), RuleId::none);
    EXPECT_TRUE(auditor.alive(static_cast<Tag>(outside.cookie[0])));
    EXPECT_TRUE(auditor.alive(static_cast<Tag>(of_other.cookie[0])));
    EXPECT_FALSE(auditor.alive(static_cast<Tag>(inside.cookie[0])));
    EXPECT_EQ(auditor.managed().group(nc, 0), auditor.managed().count());
    EXPECT_EQ(auditor.release_group(nc, 0), DMAUDIT_EINVAL);
    EXPECT_EQ(rule(), RuleId::none);
}

// What is taken on `device`: a block, an action, a block, an action; then the release is meddled with.
struct Meddling {
    const char* name;
    RuleId rule;
    std::function<void(FakeProvider&, std::vector<Node>&)> how;
};
class Meddled : public Managed, public ::testing::WithParamInterface<std::tuple<uint32_t, size_t>> {};
const Meddling meddlings[] = {
    {"nothing", RuleId::none, [](FakeProvider&, std::vector<Node>&) {}},
    {"first taken first", RuleId::teardown_order,
     [](FakeProvider&, std::vector<Node>& n) { std::reverse(n.begin(), n.end()); }},
    {"actions first", RuleId::teardown_order,
     [](FakeProvider&, std::vector<Node>& n) {
         std::stable_partition(n.begin(), n.end(), [](const Node& x) { return x.kind == Node::action; });
     }},
    {"blocks first", RuleId::teardown_order,
     [](FakeProvider&, std::vector<Node>& n) {
         std::stable_partition(n.begin(), n.end(), [](const Node& x) { return x.kind == Node::block; });
     }},
    {"actions in the wrong order", RuleId::teardown_order,
     [](FakeProvider&, std::vector<Node>& n) { std::swap(n[0], n[2]); }},
    {"a block overwritten early", RuleId::teardown_order,
     [](FakeProvider& p, std::vector<Node>& n) { p.machine.ram[n[3].at.at + 77] ^= 1; }},
    {"young action skipped", RuleId::never_released, [](FakeProvider&, std::vector<Node>& n) { n.erase(n.begin()); }},
    {"old action skipped", RuleId::never_released, [](FakeProvider&, std::vector<Node>& n) { n.erase(n.begin() + 2); }},
    {"young block kept", RuleId::never_released, [](FakeProvider&, std::vector<Node>& n) { n.erase(n.begin() + 1); }},
    {"old block kept", RuleId::never_released, [](FakeProvider&, std::vector<Node>& n) { n.pop_back(); }},
    {"action twice", RuleId::released_twice, [](FakeProvider&, std::vector<Node>& n) { n.insert(n.begin(), n[0]); }},
};

TEST_P(Meddled, IsSeen)
{
    const auto [device, which] = GetParam();
    const Meddling& m = meddlings[which];
    auditor.bind(device);
    for (int i = 0; i < 2; i++) {
        block(device);
        auditor.add_action(device);
    }
    provider.meddle = [&](std::vector<Node>& n) { m.how(provider, n); };
    auditor.unbind(device);
    EXPECT_EQ(rule(), m.rule) << m.name;
}
INSTANTIATE_TEST_SUITE_P(Each, Meddled,
                         ::testing::Combine(::testing::Values(nc, behind_iommu),
                                            ::testing::Range<size_t>(0, std::size(meddlings))));

TEST_F(Managed, WhatGoesWithoutItsDriverIsSeenAtTheNextCall)
{
    auditor.bind(nc);
    block(nc);
    provider.at_open_group = [&] { provider.drop(provider.nodes[0]); };
    auditor.open_group(nc);
    EXPECT_EQ(rule(), RuleId::released_early);
}

TEST_F(Managed, AnActionThatRunsWithoutAReleaseIsSeen)
{
    auditor.bind(nc);
    auditor.add_action(nc);
    provider.at_open_group = [&] { provider.nodes[0].run(provider.nodes[0].data); };
    auditor.open_group(nc);
    EXPECT_EQ(rule(), RuleId::released_early);
}

TEST_F(Managed, ActionsAloneRunInReverseOrder)
{
    auditor.bind(nc);
    auditor.add_action(nc);
    auditor.add_action(nc);
    provider.meddle = [](std::vector<Node>& n) { std::swap(n[0], n[1]); };
    auditor.unbind(nc);
    EXPECT_EQ(rule(), RuleId::teardown_order);
}

TEST_F(Managed, AGroupThatTakesAnOlderActionAlongIsSeen)
{
    auditor.bind(nc);
    auditor.add_action(nc);
    auditor.open_group(nc);
    provider.meddle = [&](std::vector<Node>& n) { n.push_back(provider.nodes[0]); };
    auditor.release_group(nc, 0);
    EXPECT_EQ(rule(), RuleId::released_early);
}

TEST_F(Managed, APoolThatStaysUncachedWasNeverReleased)
{
    auditor.bind(nc);
    uint32_t exclusive = 1;
    Tag pool = 0;
    EXPECT_EQ(auditor.declare_pool(nc, pool_memory, &exclusive, &pool, true), DMAUDIT_OK);
    provider.meddle = [](std::vector<Node>& n) { n.clear(); };
    auditor.unbind(nc);
    EXPECT_EQ(rule(), RuleId::never_released);
}

TEST_F(Managed, APageThatOthersStillUseStaysUncached)
{
    provider.unit = 64;
    provider.meddle = [](std::vector<Node>& n) { // the page stays as it is
        std::erase_if(n, [](const Node& x) { return x.kind == Node::block; });
    };
    auditor.bind(nc);
    block(nc, 64);
    auditor.open_group(nc);
    block(nc, 64);
    auditor.add_action(nc);
    auditor.release_group(nc, 0);
    EXPECT_EQ(rule(), RuleId::none) << "a managed block that is older";
    const dmaudit_block other = block(nc, 64, false);
    auditor.unbind(nc);
    EXPECT_EQ(rule(), RuleId::none) << "a block of somebody else";
    machine.uncached_at.clear(); // it was the last one
    auditor.free_coherent(other);
    provider.next = arena.at + page;
    auditor.bind(nc);
    block(nc, 64);
    block(nc, 64);
    auditor.unbind(nc);
    EXPECT_EQ(rule(), RuleId::never_released) << "nobody";
}

TEST_F(Managed, FreePagesMayStayUncachedWithoutThePromise)
{
    provider.table.promises &= ~uint64_t{DMAUDIT_PROMISES_PROMPT};
    auditor.bind(nc);
    block(nc);
    provider.meddle = [](std::vector<Node>& n) { n.clear(); };
    auditor.unbind(nc);
    EXPECT_EQ(rule(), RuleId::none);
}

TEST_F(Managed, WithoutADriverEverythingIsRefused)
{
    block(nc);
    EXPECT_EQ(rc, DMAUDIT_ENODEV);
    EXPECT_EQ(auditor.add_action(nc), DMAUDIT_ENODEV);
    EXPECT_EQ(auditor.open_group(nc), DMAUDIT_ENODEV);
    EXPECT_EQ(auditor.unbind(nc), DMAUDIT_ENODEV);
    auditor.bind(nc);
    EXPECT_EQ(auditor.bind(nc), DMAUDIT_EBUSY);
    EXPECT_EQ(rule(), RuleId::none);
}

TEST_F(Managed, AProviderThatDoesNotRefuseIsWrong)
{
    provider.strict = false;
    const auto wrong = [&](auto call) {
        call();
        const bool seen = rule() == RuleId::wrong_return;
        auditor.forgive();
        return seen;
    };
    EXPECT_TRUE(wrong([&] { block(nc); }));
    EXPECT_TRUE(wrong([&] { auditor.add_action(nc); }));
    EXPECT_TRUE(wrong([&] { auditor.open_group(nc); }));
    EXPECT_TRUE(wrong([&] { auditor.release_group(nc, 0); }));
    provider.nodes.clear();
    EXPECT_TRUE(wrong([&] { auditor.unbind(nc); }));
    auditor.bind(nc);
    EXPECT_TRUE(wrong([&] { auditor.bind(nc); }));
}

TEST_F(Managed, EachKindGoesBackWithItsOwnCall)
{
    auditor.bind(nc);
    const dmaudit_block managed = block(nc), plain = block(nc, page, false);
    EXPECT_EQ(auditor.free_coherent(managed), Auditor::withheld);
    EXPECT_EQ(rule(), RuleId::wrong_kind);
    auditor.forgive();
    EXPECT_EQ(auditor.free_coherent(plain, true), Auditor::withheld);
    EXPECT_EQ(rule(), RuleId::wrong_kind);
    auditor.forgive();
    EXPECT_EQ(auditor.free_coherent(managed, true), DMAUDIT_OK);
    EXPECT_EQ(auditor.managed().count(), 0u);
    EXPECT_EQ(auditor.free_coherent(managed, true), Auditor::withheld);
    EXPECT_EQ(rule(), RuleId::double_free);
}

} // namespace
} // namespace dmaudit
