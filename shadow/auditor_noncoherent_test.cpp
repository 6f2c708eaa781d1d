// Non-coherent blocks: cached memory that is a mapping by itself, from its allocation to its free.
#include "shadow/testing_auditor.hpp"

namespace dmaudit::fakes {
namespace {

bool reads(Audited& t, const dmaudit_block& b, uint64_t off, uint64_t len)
{
    return t.auditor.device_access(b.device, Audited::tag(b), off, len, false);
}
bool writes(Audited& t, const dmaudit_block& b, uint64_t off, uint64_t len)
{
    return t.auditor.device_access(b.device, Audited::tag(b), off, len, true);
}
bool cpu(Audited& t, const dmaudit_block& b, uint64_t off, uint64_t len, bool write)
{
    return t.auditor.cpu_access(Audited::tag(b), off, len, write);
}
int sync(Audited& t, const dmaudit_block& b, uint64_t off, uint64_t len, uint32_t d, uint32_t phase)
{
    return t.rc = t.auditor.sync_noncoherent(b, off, len, d, phase);
}

// The rule that a block of `size` bytes breaks whose provider then lies.
std::string cached_breaks(const std::function<void(Audited&, dmaudit_block&)>& lie, uint64_t size = page,
                          uint32_t device = nc)
{
    Audited t;
    t.provider.alloc_cached = [&](const dmaudit_request& r, uint32_t d, dmaudit_block& b) {
        const int rc = t.provider.good_alloc_cached(r, d, b);
        lie(t, b);
        return rc;
    };
    t.cached(size, bi, device);
    return t.found();
}

TEST(Noncoherent, a_right_one_reads_zero_and_is_with_the_cpu)
{
    const std::pair<uint32_t, const char*> directions[] = {{to, "H.to.d"}, {from, "H.from.d"}, {bi, "H.bi.d"}};
    for (const auto& [d, state] : directions) {
        Audited t;
        const auto b = t.cached(100, d);
        EXPECT_EQ(t.found(), "nothing");
        EXPECT_EQ(b.cpu, t.machine.client.data());
        EXPECT_EQ(t.state(0), state);
        EXPECT_EQ(t.state(100), "PAD");
        EXPECT_TRUE(cpu(t, b, 0, 100, false));
        EXPECT_TRUE(cpu(t, b, 0, 100, true));
        EXPECT_FALSE(cpu(t, b, 100, 1, false));
        EXPECT_EQ(t.take(), "out-of-bounds");
        EXPECT_EQ(t.auditor.free_noncoherent(b, d), DMAUDIT_OK);
        EXPECT_EQ(t.found(), "nothing");
        EXPECT_EQ(t.state(0), "P");
    }
}

TEST(Noncoherent, the_client_names_no_device_or_no_direction)
{
    Audited t;
    EXPECT_EQ(t.calls_of([&] { t.cached(page, bi, 3); }), 0u);
    EXPECT_EQ(t.take(), "wrong-device");
    EXPECT_EQ(t.calls_of([&] { t.cached(page, none); }), 0u);
    EXPECT_EQ(t.take(), "wrong-direction");
}

TEST(Noncoherent, wrong_return_if_no_bytes_are_granted)
{
    Audited t;
    t.cached(0, bi);
    EXPECT_EQ(t.rc, DMAUDIT_EINVAL);
    EXPECT_EQ(t.found(), "nothing");
    EXPECT_EQ(t.auditor.marks[Mark::refused], 1u);
    t.provider.alloc_cached = [&](dmaudit_request r, uint32_t d, dmaudit_block& b) {
        r.size = 1;
        return t.provider.good_alloc_cached(r, d, b);
    };
    t.cached(0, bi);
    EXPECT_EQ(t.found(), "wrong-return");
}

TEST(Noncoherent, failure_has_effect)
{
    Audited t;
    t.provider.alloc_cached = [](const dmaudit_request&, uint32_t, dmaudit_block&) { return DMAUDIT_ENOMEM; };
    t.cached(page, bi);
    EXPECT_EQ(t.found(), "nothing");
    t.provider.alloc_cached = [&](const dmaudit_request&, uint32_t, dmaudit_block&) {
        t.machine.more_uncached = 1;
        return DMAUDIT_ENOMEM;
    };
    t.cached(page, bi);
    EXPECT_EQ(t.found(), "failure-has-effect");
}

TEST(Noncoherent, is_judged_like_any_other_block_but_may_be_cached)
{
    EXPECT_EQ(cached_breaks([](Audited&, dmaudit_block&) {}), "nothing");
    EXPECT_EQ(cached_breaks([](Audited& t, dmaudit_block&) { t.machine.ram[page - 1] = 1; }), "not-zeroed");
    EXPECT_EQ(cached_breaks([](Audited& t, dmaudit_block&) { t.machine.ram[page] = 1; }), "nothing");
    EXPECT_EQ(cached_breaks([](Audited&, dmaudit_block& b) { b.granted = 100; }, 100), "misaligned");
    EXPECT_EQ(cached_breaks([](Audited&, dmaudit_block& b) { b.granted = 100; }, 100, snooping), "nothing");
    EXPECT_EQ(cached_breaks([](Audited&, dmaudit_block& b) { b.granted = 128; }, 100), "nothing");
    EXPECT_EQ(cached_breaks([](Audited&, dmaudit_block& b) { b.cpu = nullptr; }), "outside-arena");
    EXPECT_EQ(cached_breaks([](Audited&, dmaudit_block& b) { b.bus += page; }), "wrong-translation");
    EXPECT_EQ(cached_breaks([](Audited& t, dmaudit_block&) { t.machine.differs = {3}; }), "nothing")
        << "nothing has been handed over";
    Audited t;
    t.cached(page, bi);
    t.provider.next = 0;
    t.cached(page, bi);
    EXPECT_EQ(t.found(), "overlap");
}

TEST(Noncoherent, the_iommu_grants_what_the_direction_needs)
{
    const auto with_rights = [](uint32_t direction, bool reading, bool writing) {
        Audited t(usual | DMAUDIT_PROMISES_IOMMU);
        t.put_behind_iommu(nc);
        t.provider.alloc_cached = [&](const dmaudit_request& r, uint32_t d, dmaudit_block& b) {
            const int rc = t.provider.good_alloc_cached(r, d, b);
            t.machine.iommu.clear();
            t.machine.give(nc, b.bus, b.size, reading, writing);
            return rc;
        };
        t.cached(page, direction);
        return t.found();
    };
    EXPECT_EQ(with_rights(to, true, false), "nothing");
    EXPECT_EQ(with_rights(to, false, true), "wrong-translation");
    EXPECT_EQ(with_rights(from, false, true), "nothing");
    EXPECT_EQ(with_rights(from, true, false), "wrong-translation");
    EXPECT_EQ(with_rights(bi, true, false), "wrong-translation");
}

// ---- its end ----

TEST(NoncoherentFree, the_first_rule_of_the_published_order)
{
    Audited t;
    const Tag buffer = t.buffer(0, 64);
    const auto b = t.cached(100, to), dead = t.cached(100, to), coherent = t.block(one_page);
    t.auditor.free_noncoherent(dead, to);
    const auto breaks = [&](const dmaudit_block& k, uint32_t d = to) {
        EXPECT_EQ(t.calls_of([&] { t.rc = t.auditor.free_noncoherent(k, d); }), 0u);
        EXPECT_EQ(t.rc, Auditor::withheld);
        return t.take();
    };
    EXPECT_EQ(breaks(dead), "double-free");
    auto k = b;
    k.cookie[0] = buffer;
    EXPECT_EQ(breaks(k), "wrong-kind");
    k = b;
    k.device = snooping;
    k.size = 1;
    EXPECT_EQ(breaks(k), "wrong-device");
    k = b;
    k.size = 99;
    EXPECT_EQ(breaks(k, from), "free-mismatch") << "before the direction";
    k = b;
    k.bus += line;
    EXPECT_EQ(breaks(k), "free-mismatch");
    EXPECT_EQ(breaks(coherent), "wrong-kind");
    EXPECT_EQ(breaks(b, from), "wrong-direction");
    EXPECT_EQ(breaks(b, bi), "wrong-direction");
    EXPECT_EQ(breaks(b, none), "wrong-direction");
    EXPECT_EQ(t.auditor.free_noncoherent(b, to), DMAUDIT_OK);
    EXPECT_EQ(t.found(), "nothing");
}

TEST(NoncoherentFree, by_the_call_for_coherent_memory_is_wrong_kind)
{
    Audited t;
    const auto b = t.cached(page, bi);
    EXPECT_EQ(t.auditor.free_coherent(b), Auditor::withheld);
    EXPECT_EQ(t.take(), "wrong-kind");
}

TEST(NoncoherentFree, is_legal_in_the_devices_hands_and_leaves_scribble)
{
    Audited t;
    const auto b = t.cached(page, bi);
    sync(t, b, 0, page, bi, DMAUDIT_FOR_DEVICE);
    EXPECT_TRUE(writes(t, b, 0, page));
    bool scribbled = false;
    t.provider.free_cached = [&](const dmaudit_block& f, uint32_t d) {
        EXPECT_EQ(d, bi);
        EXPECT_EQ(f.cpu, t.machine.ram.data()) << "the provider's own alias";
        scribbled = t.machine.ram[0] != 0;
        t.machine.dirty = {0};
        t.auditor.drops_dirty(0); // its own lines
        return DMAUDIT_OK;
    };
    EXPECT_EQ(t.auditor.free_noncoherent(b, bi), DMAUDIT_OK);
    EXPECT_TRUE(scribbled);
    EXPECT_EQ(t.found(), "nothing");
    EXPECT_EQ(t.machine.reloaded.size(), 1u) << "what the device wrote is awaited by nobody";
}

TEST(NoncoherentFree, wrong_return_if_a_legal_one_fails)
{
    Audited t;
    const auto b = t.cached(page, bi);
    t.provider.free_cached = [](const dmaudit_block&, uint32_t) { return DMAUDIT_EFAULT; };
    t.auditor.free_noncoherent(b, bi);
    EXPECT_EQ(t.found(), "wrong-return");
}

// ---- hand-overs ----

TEST(NoncoherentSync, the_first_rule_of_the_published_order)
{
    Audited t;
    const Tag buffer = t.buffer(0, 64);
    const auto b = t.cached(100, to), dead = t.cached(100, to), coherent = t.block(one_page);
    t.auditor.free_noncoherent(dead, to);
    const auto breaks = [&](const dmaudit_block& k, uint64_t off, uint64_t len, uint32_t d) {
        EXPECT_EQ(t.calls_of([&] { sync(t, k, off, len, d, DMAUDIT_FOR_DEVICE); }), 0u);
        EXPECT_EQ(t.rc, Auditor::withheld);
        return t.take();
    };
    EXPECT_EQ(breaks(dead, 0, 1, to), "use-after-free");
    auto k = b;
    k.cookie[0] = buffer;
    EXPECT_EQ(breaks(k, 0, 1, to), "wrong-kind");
    EXPECT_EQ(breaks(coherent, 0, 1, to), "wrong-kind");
    k = b;
    k.device = snooping;
    k.bus++;
    EXPECT_EQ(breaks(k, 0, 1, to), "wrong-device");
    k.device = nc;
    EXPECT_EQ(breaks(k, 0, 101, to), "sync-outside") << "another device address";
    EXPECT_EQ(breaks(b, 0, 101, from), "sync-outside");
    EXPECT_EQ(breaks(b, 100, 1, to), "sync-outside");
    EXPECT_EQ(breaks(b, 8, ~uint64_t{0}, to), "bad-length");
    EXPECT_EQ(breaks(b, 0, 100, from), "wrong-direction");
    EXPECT_EQ(breaks(b, 0, 100, none), "wrong-direction");
    EXPECT_EQ(sync(t, b, 100, 0, to, DMAUDIT_FOR_DEVICE), DMAUDIT_OK);
    EXPECT_EQ(sync(t, b, 0, 100, to, DMAUDIT_FOR_DEVICE), DMAUDIT_OK);
    EXPECT_EQ(t.found(), "nothing");
}

TEST(NoncoherentSync, a_bidirectional_one_by_halves)
{
    Audited t;
    const auto b = t.cached(page, bi);
    EXPECT_EQ(sync(t, b, 0, page, from, DMAUDIT_FOR_DEVICE), Auditor::withheld);
    EXPECT_EQ(t.take(), "sync-without-effect");
    EXPECT_EQ(sync(t, b, 0, page, to, DMAUDIT_FOR_DEVICE), DMAUDIT_OK);
    EXPECT_EQ(sync(t, b, 0, page, to, DMAUDIT_FOR_CPU), Auditor::withheld);
    EXPECT_EQ(t.take(), "sync-without-effect");
    EXPECT_EQ(sync(t, b, 0, page, from, DMAUDIT_FOR_CPU), DMAUDIT_OK);
    EXPECT_EQ(t.found(), "nothing");
}

TEST(NoncoherentSync, whose_turn_it_is)
{
    Audited t;
    const auto b = t.cached(page, bi);
    EXPECT_FALSE(reads(t, b, 0, 1));
    EXPECT_EQ(t.take(), "dirty-device-read") << "the zeroes were not handed over either";
    EXPECT_FALSE(writes(t, b, 0, 1));
    EXPECT_EQ(t.take(), "device-access-denied");
    EXPECT_EQ(sync(t, b, 0, 1, bi, DMAUDIT_FOR_CPU), Auditor::withheld);
    EXPECT_EQ(t.take(), "sync-discards-write");
    sync(t, b, 0, page, bi, DMAUDIT_FOR_DEVICE);
    EXPECT_TRUE(reads(t, b, 0, page));
    EXPECT_TRUE(writes(t, b, 0, 64));
    EXPECT_FALSE(reads(t, b, page, 1));
    EXPECT_EQ(t.take(), "out-of-bounds");
    EXPECT_FALSE(t.auditor.device_access(other_nc, Audited::tag(b), 0, 1, false));
    EXPECT_EQ(t.take(), "wrong-device");
    EXPECT_FALSE(cpu(t, b, 0, 1, false));
    EXPECT_EQ(t.take(), "cpu-read-of-device-bytes");
    EXPECT_FALSE(cpu(t, b, 0, 1, true));
    EXPECT_EQ(t.take(), "cpu-write-of-device-bytes");
    EXPECT_EQ(sync(t, b, 0, 64, bi, DMAUDIT_FOR_DEVICE), Auditor::withheld);
    EXPECT_EQ(t.take(), "sync-discards-write") << "what the device wrote";
    sync(t, b, 0, 64, bi, DMAUDIT_FOR_CPU);
    EXPECT_EQ(t.auditor.marks[Mark::partial_sync], 1u);
    EXPECT_TRUE(cpu(t, b, 0, 64, false));
    EXPECT_FALSE(cpu(t, b, 0, 65, false));
    EXPECT_EQ(t.take(), "cpu-read-of-device-bytes");
    EXPECT_FALSE(reads(t, b, 0, 64));
    EXPECT_EQ(t.take(), "device-access-denied");
}

TEST(NoncoherentSync, against_the_direction)
{
    Audited t;
    const auto reader = t.cached(page, to), writer = t.cached(page, from);
    sync(t, reader, 0, page, to, DMAUDIT_FOR_DEVICE);
    EXPECT_FALSE(writes(t, reader, 0, 1));
    EXPECT_EQ(t.take(), "device-wrong-direction");
    EXPECT_TRUE(cpu(t, reader, 0, page, false));
    sync(t, writer, 0, page, from, DMAUDIT_FOR_DEVICE);
    EXPECT_FALSE(reads(t, writer, 0, 1));
    EXPECT_EQ(t.take(), "device-wrong-direction");
    EXPECT_TRUE(writes(t, writer, 0, 1));
}

TEST(NoncoherentSync, wrong_return_if_a_legal_one_fails)
{
    Audited t;
    const auto b = t.cached(page, bi);
    t.provider.sync_cached = [](const dmaudit_block&, uint64_t, uint64_t, uint32_t, uint32_t) { return DMAUDIT_EIO; };
    sync(t, b, 0, page, bi, DMAUDIT_FOR_DEVICE);
    EXPECT_EQ(t.found(), "wrong-return");
}

TEST(NoncoherentSync, missing_clean_and_missing_invalidate)
{
    const auto found = [](uint32_t direction, uint32_t device, bool dirty) {
        Audited t;
        const auto b = t.cached(page, direction, device);
        (dirty ? t.machine.dirty : t.machine.differs) = {64};
        sync(t, b, 0, 64, direction, DMAUDIT_FOR_DEVICE);
        EXPECT_EQ(t.found(), "nothing") << "the range before it";
        sync(t, b, 64, 64, direction, DMAUDIT_FOR_DEVICE);
        return t.found();
    };
    EXPECT_EQ(found(to, nc, false), "missing-clean");
    EXPECT_EQ(found(bi, nc, false), "missing-clean");
    EXPECT_EQ(found(from, nc, false), "nothing") << "the device does not read it";
    EXPECT_EQ(found(from, nc, true), "missing-invalidate");
    EXPECT_EQ(found(bi, nc, true), "missing-invalidate");
    EXPECT_EQ(found(to, nc, true), "nothing");
    EXPECT_EQ(found(bi, snooping, true), "nothing");
}

TEST(NoncoherentLines, part_of_a_line)
{
    for (const uint32_t device : {nc, snooping}) {
        Audited t;
        const auto b = t.cached(page, bi, device);
        EXPECT_EQ(sync(t, b, 0, 32, bi, DMAUDIT_FOR_DEVICE) == Auditor::withheld, device == nc);
        EXPECT_EQ(t.take(), device == nc ? "dirty-line-over-device-data" : "nothing") << "the rest is dirty";
        sync(t, b, 0, page, bi, DMAUDIT_FOR_DEVICE);
        sync(t, b, 0, 32, bi, DMAUDIT_FOR_CPU);
        EXPECT_EQ(cpu(t, b, 0, 32, true), device == snooping);
        EXPECT_EQ(t.take(), device == nc ? "dirty-line-over-device-data" : "nothing") << "the rest is the device's";
        sync(t, b, 32, 32, bi, DMAUDIT_FOR_CPU);
        EXPECT_TRUE(cpu(t, b, 32, 32, true)) << "the whole line";
    }
}

TEST(Noncoherent, is_no_memory_to_be_mapped)
{
    for (const uint32_t d : {to, from, bi}) {
        Audited t;
        t.cached(page, to);
        dmaudit_mapping m{};
        EXPECT_EQ(t.auditor.map_single(one_line, t.machine.client.data(), d, &m), Auditor::withheld);
        EXPECT_EQ(t.take(), "overlapping-mapping");
    }
}

TEST(Noncoherent, a_line_of_the_providers_may_not_hit_what_the_device_wrote)
{
    Audited t;
    const auto b = t.cached(page, from);
    sync(t, b, 0, page, from, DMAUDIT_FOR_DEVICE);
    t.machine.stale = {70};
    t.auditor.writeback_over_stale(64);
    EXPECT_EQ(t.found(), "nothing") << "the device has not written there";
    EXPECT_TRUE(writes(t, b, 64, 64));
    t.auditor.writeback_over_stale(64);
    EXPECT_EQ(t.take(), "dirty-eviction");
    sync(t, b, 64, 64, from, DMAUDIT_FOR_CPU);
    t.auditor.writeback_over_stale(64);
    EXPECT_EQ(t.found(), "nothing") << "nobody waits for it";
}

TEST(Noncoherent, the_pages_of_one_are_never_made_uncached)
{
    Audited t;
    const auto b = t.cached(page, to);
    EXPECT_FALSE(t.auditor.may_uncache({0, page}));
    t.auditor.free_noncoherent(b, to);
    EXPECT_TRUE(t.auditor.may_uncache({0, page}));
}

} // namespace
} // namespace dmaudit::fakes
