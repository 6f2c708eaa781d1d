// Scatterlists: mapped, synced and unmapped as a whole; each entry a mapping of its own.
#include "shadow/testing_auditor.hpp"

namespace dmaudit::fakes {
namespace {

// The rule that a list of three written lines breaks, two of which adjoin, whose provider then lies.
std::string list_breaks(const std::function<void(Audited&, dmaudit_sg&)>& lie, dmaudit_request r = {},
                        uint32_t direction = to, uint64_t promises = usual)
{
    Audited t(promises);
    r.struct_size = sizeof r;
    t.written_buffer(0, 256);
    t.written_buffer(page, 64);
    t.provider.list_lies([&](dmaudit_sg& sg) { lie(t, sg); });
    t.list(r, {{0, 64}, {64, 64}, {page, 64}}, direction);
    return t.found();
}
void merge(dmaudit_sg& sg)
{
    sg.segments[0].length = 128;
    sg.segments[1] = sg.segments[2];
    sg.n_segments = 2;
}

TEST(Scatter, a_right_one_is_accepted_merged_or_not)
{
    for (const bool merges : {false, true}) {
        Audited t;
        t.written_buffer(0, 256);
        t.written_buffer(page, 64);
        t.provider.map_sg = [&](const dmaudit_request& r, dmaudit_sg& sg) {
            return t.provider.good_map_sg(r, sg, merges);
        };
        const Tag l = t.list({{0, 64}, {64, 64}, {page, 64}}, to);
        EXPECT_EQ(t.found(), "nothing");
        ASSERT_NE(l, 0u);
        const SgRecord& rec = t.auditor.sgs()[l];
        EXPECT_EQ(rec.n, 3u);
        EXPECT_EQ(rec.n_segments, merges ? 2u : 3u);
        EXPECT_EQ(rec.bytes, 192u);
        EXPECT_EQ(rec.hull.at, client_at);
        EXPECT_EQ(rec.hull.len, page + 64);
        EXPECT_EQ(t.auditor.bytes_of(l).at, client_at);
        EXPECT_EQ(t.auditor.marks[Mark::merged_segments], merges ? 1u : 0u);
        for (uint32_t i = 0; i < 3; i++)
            EXPECT_TRUE(t.auditor.device_access(nc, rec.entries[i], 0, 64, false));
        EXPECT_EQ(t.state(client_at + 64), "D.to");
        EXPECT_EQ(t.state(client_at + 128), "C.d");
        EXPECT_EQ(t.unlist(l, 3, to), DMAUDIT_OK);
        EXPECT_EQ(t.found(), "nothing");
        EXPECT_EQ(t.state(client_at), "C");
        EXPECT_EQ(t.auditor.mappings().live_count(), 0u);
    }
}

TEST(Scatter, entries_share_edge_lines_with_each_other_but_with_nobody_else)
{
    const auto direct = [](std::initializer_list<Audited::Entry> parts) {
        Audited t(usual | DMAUDIT_PROMISES_EDGE_BOUNCE);
        t.written_buffer(0, 256);
        t.list(parts, from);
        return t.found();
    };
    EXPECT_EQ(direct({{0, 16}, {16, 16}, {32, 32}}), "nothing") << "the line is theirs";
    EXPECT_EQ(direct({{32, 40}, {0, 32}, {72, 56}}), "nothing") << "in any order";
    EXPECT_EQ(direct({{0, 16}, {16, 16}, {32, 31}}), "wrong-translation") << "but for the last byte";
    EXPECT_EQ(direct({{1, 15}, {16, 16}, {32, 32}}), "wrong-translation") << "but for the first";
    EXPECT_EQ(direct({{0, 16}, {17, 47}}), "wrong-translation") << "but for one between";
}

// ---- the client's mistakes ----

TEST(ScatterClient, at_map)
{
    Audited t;
    t.written_buffer(0, 256);
    t.written_buffer(512, 64);
    const auto breaks = [&](const dmaudit_request& r, std::initializer_list<Audited::Entry> parts, uint32_t d) {
        EXPECT_EQ(t.calls_of([&] { t.list(r, parts, d); }), 0u);
        EXPECT_EQ(t.rc, Auditor::withheld);
        EXPECT_EQ(t.auditor.mappings().live_count(), 0u);
        return t.take();
    };
    const auto usually = t.request(0);
    EXPECT_EQ(breaks(t.request(0, 3), {{0, 64}}, none), "wrong-device");
    EXPECT_EQ(breaks(usually, {{0, 64}}, none), "wrong-direction");
    EXPECT_EQ(breaks(usually, {{0, 64}, {4 * page, 64}}, to), "out-of-bounds") << "not in RAM";
    EXPECT_EQ(breaks(usually, {{0, ram_bytes}}, to), "out-of-bounds") << "past its end";
    EXPECT_EQ(breaks(usually, {{0, 64}, {192, 65}}, to), "out-of-bounds") << "past the buffer, into nobody's";
    EXPECT_EQ(breaks(usually, {{0, 64}, {192, 384}}, to), "out-of-bounds") << "past the buffer, into another";
    EXPECT_EQ(breaks(usually, {{0, 64}, {63, 64}}, from), "overlapping-mapping");
    EXPECT_EQ(breaks(usually, {{0, 64}, {128, 64}, {0, 1}}, bi), "overlapping-mapping");
    t.list({{0, 64}, {64, 64}, {512, 64}}, from);
    EXPECT_EQ(t.take(), "nothing") << "side by side is no overlap";
}

TEST(ScatterClient, at_map_over_what_lives)
{
    Audited t;
    t.written_buffer(0, 256);
    t.map(64, 64, from);
    EXPECT_EQ(t.calls_of([&] { t.list({{0, 64}, {64, 64}}, to); }), 0u);
    EXPECT_EQ(t.take(), "overlapping-mapping");
    t.list({{0, 64}, {128, 64}}, to);
    EXPECT_EQ(t.take(), "nothing");
    Audited u;
    u.written_buffer(0, 256);
    u.map(0, 32, from);
    EXPECT_EQ(u.calls_of([&] { u.list({{128, 64}, {32, 32}}, to); }), 0u);
    EXPECT_EQ(u.take(), "shared-cache-line");
    const auto k = u.cached(page, to);
    dmaudit_sg_entry e{k.cpu, 64};
    Tag l = 0;
    EXPECT_EQ(u.auditor.map_sg(u.request(0), {&e, 1}, to, &l), Auditor::withheld);
    EXPECT_EQ(u.take(), "overlapping-mapping") << "a mapping by itself";
    const auto s = u.block(one_page);
    e.cpu = s.cpu;
    EXPECT_EQ(u.auditor.map_sg(u.request(0), {&e, 1}, to, &l), Auditor::withheld);
    EXPECT_EQ(u.take(), "wrong-kind");
}

TEST(ScatterClient, entries_that_are_only_read_may_overlap)
{
    Audited t;
    const Tag b = t.written_buffer(0, 256);
    const Tag l = t.list({{0, 64}, {32, 64}}, to);
    EXPECT_EQ(t.found(), "nothing");
    EXPECT_EQ(t.state(client_at + 40), "M");
    EXPECT_EQ(t.auditor.sync_sg(l, nc, 2, to, DMAUDIT_FOR_CPU), DMAUDIT_OK);
    EXPECT_TRUE(t.auditor.cpu_access(b, 0, 96, true));
    EXPECT_EQ(t.auditor.sync_sg(l, nc, 2, to, DMAUDIT_FOR_DEVICE), DMAUDIT_OK);
    EXPECT_TRUE(t.auditor.device_access(nc, t.auditor.sgs()[l].entries[1], 0, 64, false));
    EXPECT_EQ(t.unlist(l, 2, to), DMAUDIT_OK);
    EXPECT_EQ(t.state(client_at + 40), "C");
    EXPECT_EQ(t.found(), "nothing");
}

TEST(ScatterClient, too_many_entries_are_more_than_is_judged)
{
    Audited t;
    t.written_buffer(0, 2 * page);
    std::vector<dmaudit_sg_entry> entries;
    for (uint32_t i = 0; i <= SgRecord::most; i++)
        entries.push_back({t.machine.client.data() + client_at + 64 * i, 64});
    Tag l = 0;
    EXPECT_EQ(t.auditor.map_sg(t.request(0), entries, to, &l), Auditor::withheld);
    EXPECT_EQ(t.take(), "auditor-exhausted");
    entries.pop_back();
    EXPECT_EQ(t.auditor.map_sg(t.request(0), entries, to, &l), DMAUDIT_OK);
    EXPECT_EQ(t.found(), "nothing");
}

TEST(ScatterClient, wrong_count_and_the_rest_at_unmap_and_sync)
{
    Audited t;
    t.written_buffer(0, 256);
    t.provider.map_sg = [&](const dmaudit_request& r, dmaudit_sg& sg) { return t.provider.good_map_sg(r, sg, true); };
    const Tag l = t.list({{0, 64}, {64, 64}}, bi), other = t.written_buffer(page, 64);
    ASSERT_EQ(t.auditor.sgs()[l].n_segments, 1u);
    const auto unmap = [&](Tag tag, uint32_t device, uint32_t n, uint32_t d) {
        EXPECT_EQ(t.calls_of([&] { t.rc = t.auditor.unmap_sg(tag, device, n, d, 0); }), 0u);
        EXPECT_EQ(t.rc, Auditor::withheld);
        return t.take();
    };
    const auto sync = [&](Tag tag, uint32_t device, uint32_t n, uint32_t d, uint32_t phase = DMAUDIT_FOR_CPU) {
        EXPECT_EQ(t.calls_of([&] { t.rc = t.auditor.sync_sg(tag, device, n, d, phase); }), 0u);
        EXPECT_EQ(t.rc, Auditor::withheld);
        return t.take();
    };
    EXPECT_EQ(unmap(other, nc, 2, bi), "wrong-kind");
    EXPECT_EQ(unmap(l, snooping, 1, bi), "wrong-device");
    EXPECT_EQ(unmap(l, nc, 1, none), "wrong-count") << "the number of segments";
    EXPECT_EQ(unmap(l, nc, 3, bi), "wrong-count");
    EXPECT_EQ(unmap(l, nc, 2, to), "wrong-direction");
    EXPECT_EQ(unmap(l, nc, 2, none), "wrong-direction");
    EXPECT_EQ(sync(other, nc, 2, bi), "wrong-kind");
    EXPECT_EQ(sync(l, snooping, 2, bi), "wrong-device");
    EXPECT_EQ(sync(l, nc, 1, bi), "wrong-count");
    EXPECT_EQ(sync(l, nc, 2, none), "wrong-direction");
    EXPECT_EQ(sync(l, nc, 2, to), "sync-without-effect");
    EXPECT_EQ(sync(l, nc, 2, from, DMAUDIT_FOR_DEVICE), "sync-without-effect");
    EXPECT_EQ(t.auditor.sync_sg(l, nc, 2, from, DMAUDIT_FOR_CPU), DMAUDIT_OK);
    EXPECT_EQ(t.unlist(l, 2, bi), DMAUDIT_OK);
    EXPECT_EQ(unmap(l, nc, 2, bi), "double-free");
    EXPECT_EQ(sync(l, nc, 2, bi), "use-after-unmap");
    Audited u;
    u.written_buffer(0, 64);
    const Tag reader = u.list({{0, 64}}, to);
    EXPECT_EQ(u.auditor.sync_sg(reader, nc, 1, bi, DMAUDIT_FOR_CPU), Auditor::withheld);
    EXPECT_EQ(u.take(), "wrong-direction");
}

TEST(ScatterClient, what_a_call_would_discard_in_any_entry)
{
    Audited t;
    const Tag b = t.written_buffer(0, 256);
    const Tag l = t.list({{0, 64}, {128, 64}}, bi);
    EXPECT_FALSE(t.auditor.cpu_access(b, 128, 1, true));
    EXPECT_EQ(t.take(), "cpu-write-of-device-bytes");
    t.auditor.sync_sg(l, nc, 2, bi, DMAUDIT_FOR_CPU);
    EXPECT_TRUE(t.auditor.cpu_access(b, 128, 1, true));
    EXPECT_EQ(t.unlist(l, 2, bi), Auditor::withheld);
    EXPECT_EQ(t.take(), "sync-discards-write");
    EXPECT_EQ(t.auditor.sync_sg(l, nc, 2, bi, DMAUDIT_FOR_CPU), Auditor::withheld);
    EXPECT_EQ(t.take(), "sync-discards-write");
    EXPECT_EQ(t.state(client_at), "H.bi") << "the first entry, too, is as before";
    EXPECT_EQ(t.unlist(l, 2, bi, nc, DMAUDIT_ATTR_SKIP_CPU_SYNC), DMAUDIT_OK);
    EXPECT_TRUE(t.auditor.cpu_access(b, 0, 256, false));
}

TEST(ScatterClient, an_entry_is_no_mapping_of_the_clients)
{
    Audited t;
    t.written_buffer(0, 64);
    const Tag l = t.list({{0, 64}}, to);
    dmaudit_mapping m = t.auditor.mappings()[t.auditor.sgs()[l].entries[0]].inner;
    m.cookie[0] = t.auditor.sgs()[l].entries[0];
    EXPECT_EQ(t.unmap(m), Auditor::withheld);
    EXPECT_EQ(t.take(), "wrong-kind");
    EXPECT_EQ(t.for_cpu(m, 0, 1), Auditor::withheld);
    EXPECT_EQ(t.take(), "wrong-kind");
}

TEST(ScatterClient, frees_the_buffer_below)
{
    Audited t;
    const Tag b = t.written_buffer(0, 256);
    const Tag l = t.list({{128, 64}}, to);
    EXPECT_FALSE(t.auditor.remove_buffer(b));
    EXPECT_EQ(t.take(), "free-while-mapped");
    t.unlist(l, 1, to);
    EXPECT_TRUE(t.auditor.remove_buffer(b));
}

// ---- the provider's ----

TEST(ScatterProvider, wrong_return_if_what_must_be_refused_succeeds)
{
    for (const bool empty_list : {true, false}) {
        Audited t;
        t.written_buffer(0, 64);
        const auto map = [&] { return empty_list ? t.list({}, to) : t.list({{0, 32}, {32, 0}}, to); };
        EXPECT_EQ(map(), 0u);
        EXPECT_EQ(t.rc, DMAUDIT_EINVAL);
        EXPECT_EQ(t.found(), "nothing");
        EXPECT_EQ(t.auditor.marks[Mark::refused], 1u);
        t.provider.map_sg = [](const dmaudit_request&, dmaudit_sg&) { return DMAUDIT_OK; };
        EXPECT_EQ(map(), 0u);
        EXPECT_EQ(t.found(), "wrong-return");
    }
}

TEST(ScatterProvider, failure_has_effect)
{
    Audited t;
    t.written_buffer(0, 64);
    t.provider.map_sg = [](const dmaudit_request&, dmaudit_sg&) { return DMAUDIT_ENOMEM; };
    t.list({{0, 64}}, to);
    EXPECT_EQ(t.found(), "nothing");
    EXPECT_EQ(t.state(client_at), "C.d");
    t.provider.map_sg = [&](const dmaudit_request&, dmaudit_sg&) {
        t.machine.more_uncached = 1;
        return DMAUDIT_ENOMEM;
    };
    t.list({{0, 64}}, to);
    EXPECT_EQ(t.found(), "failure-has-effect");
    Audited u;
    u.written_buffer(0, 64);
    u.provider.map_sg = [&](const dmaudit_request&, dmaudit_sg&) {
        u.machine.kept_translations = 1;
        return DMAUDIT_ENOMEM;
    };
    u.list({{0, 64}}, to);
    EXPECT_EQ(u.found(), "failure-has-effect") << "an entry that stays mapped";
}

TEST(ScatterProvider, wrong_return_of_the_count)
{
    EXPECT_EQ(list_breaks([](Audited&, dmaudit_sg&) {}), "nothing");
    EXPECT_EQ(list_breaks([](Audited&, dmaudit_sg& sg) { sg.n_segments = 0; }), "wrong-return");
    EXPECT_EQ(list_breaks([](Audited&, dmaudit_sg& sg) { sg.n_segments = 4; }), "wrong-return");
    EXPECT_EQ(list_breaks([](Audited&, dmaudit_sg& sg) { merge(sg); }), "nothing");
    EXPECT_EQ(list_breaks([](Audited&, dmaudit_sg& sg) { merge(sg), sg.n_segments = 3; }), "wrong-return")
        << "a segment of no entry";
    EXPECT_EQ(list_breaks([](Audited&, dmaudit_sg& sg) { sg.segments[2].length = 65; }), "wrong-return")
        << "a byte of no entry";
}

TEST(ScatterProvider, wrong_translation)
{
    EXPECT_EQ(list_breaks([](Audited&, dmaudit_sg& sg) { sg.n_segments = 2; }), "wrong-translation")
        << "an entry without a segment";
    EXPECT_EQ(list_breaks([](Audited&, dmaudit_sg& sg) { sg.segments[1].length = 63; }), "wrong-translation")
        << "a byte too few";
    EXPECT_EQ(list_breaks([](Audited&, dmaudit_sg& sg) { sg.segments[0].length = 96; }), "wrong-translation")
        << "an entry in two segments";
    EXPECT_EQ(list_breaks([](Audited&, dmaudit_sg& sg) {
                  sg.segments[0].length = 192; // the third does not adjoin
                  sg.n_segments = 1;
              }),
              "wrong-translation")
        << "the bytes behind the second";
    EXPECT_EQ(list_breaks([](Audited&, dmaudit_sg& sg) { sg.segments[1].bus = 0; }), "wrong-translation");
    EXPECT_EQ(list_breaks([](Audited&, dmaudit_sg& sg) { sg.segments[2].bus = DMAUDIT_NO_ADDRESS; }),
              "wrong-translation");
}

TEST(ScatterProvider, crosses_boundary_of_the_segments)
{
    dmaudit_request r{};
    const auto kept = [](Audited&, dmaudit_sg&) {};
    const auto merged = [](Audited&, dmaudit_sg& sg) { merge(sg); };
    r.size = 64;
    EXPECT_EQ(list_breaks(kept, r), "nothing");
    EXPECT_EQ(list_breaks(merged, r), "crosses-boundary") << "longer than the device takes";
    r.size = 128;
    EXPECT_EQ(list_breaks(merged, r), "nothing");
    r.size = 0;
    r.boundary = 64;
    EXPECT_EQ(list_breaks(kept, r), "nothing");
    EXPECT_EQ(list_breaks(merged, r), "crosses-boundary");
    EXPECT_EQ(list_breaks(merged, r, to, usual & ~DMAUDIT_PROMISES_BOUNDARY), "nothing") << "never promised";
    r.boundary = 128;
    EXPECT_EQ(list_breaks(merged, r), "nothing");
}

TEST(ScatterProvider, crosses_boundary_by_a_byte)
{
    const auto merged = [](uint64_t first, uint64_t second) {
        Audited t;
        t.written_buffer(0, 256);
        t.provider.map_sg = [&](const dmaudit_request& r, dmaudit_sg& sg) {
            return t.provider.good_map_sg(r, sg, true);
        };
        dmaudit_request r{};
        r.struct_size = sizeof r;
        r.boundary = 64;
        t.list(r, {{0, first}, {first, second}}, to);
        return t.found();
    };
    EXPECT_EQ(merged(60, 4), "nothing") << "it ends with the boundary";
    EXPECT_EQ(merged(64, 1), "crosses-boundary") << "and no entry alone does";
}

TEST(ScatterProvider, entries_are_judged_like_mappings)
{
    EXPECT_EQ(list_breaks([](Audited& t, dmaudit_sg& sg) {
                  sg.segments[0].bus = t.machine.bus(nc, 0);
                  t.machine.ram[63] = 0;
              }),
              "stale-bounce");
    EXPECT_EQ(list_breaks([](Audited& t, dmaudit_sg& sg) {
                  for (const uint32_t i : {0u, 1u}) {
                      sg.segments[i].bus = t.machine.bus(nc, 0);
                      std::memcpy(t.machine.ram.data(), sg.entries[i].cpu, 64);
                  }
              }),
              "overlap")
        << "one slot for two";
    EXPECT_EQ(list_breaks([](Audited& t, dmaudit_sg&) { t.machine.differs = {client_at + page + 63}; }),
              "missing-clean");
    EXPECT_EQ(list_breaks([](Audited& t, dmaudit_sg&) { t.machine.dirty = {client_at + 64}; }, {}, bi),
              "missing-invalidate");
    EXPECT_EQ(list_breaks([](Audited& t, dmaudit_sg&) { t.machine.dirty = {client_at + 128}; }, {}, bi), "nothing")
        << "no entry's";
}

TEST(ScatterProvider, slots_of_one_list_may_share_a_line_and_those_of_two_may_not)
{
    const auto slots = [](bool one_list) {
        Audited t;
        t.written_buffer(0, 128);
        uint64_t slot = 0;
        t.provider.list_lies([&](dmaudit_sg& sg) {
            for (uint32_t i = 0; i < sg.n_segments; i++) {
                const uint64_t place = (slot++ & 1) ? 32 : 0;
                sg.segments[i].bus = t.machine.bus(nc, place);
                std::memcpy(t.machine.ram.data() + place, sg.entries[i].cpu, sg.entries[i].length);
            }
        });
        if (one_list)
            t.list({{0, 32}, {32, 32}}, from);
        else {
            t.list({{0, 32}}, from);
            t.list({{96, 32}}, from);
        }
        return t.found();
    };
    EXPECT_EQ(slots(true), "nothing");
    EXPECT_EQ(slots(false), "misaligned");
}

TEST(ScatterProvider, wrong_return_if_a_legal_unmap_or_sync_fails)
{
    Audited t;
    t.written_buffer(0, 64);
    const Tag l = t.list({{0, 64}}, to);
    t.provider.unmap_sg = [](const dmaudit_sg&, uint32_t, uint32_t) { return DMAUDIT_EFAULT; };
    t.unlist(l, 1, to);
    EXPECT_EQ(t.take(), "wrong-return");
    EXPECT_TRUE(t.auditor.sgs().alive(l));
    t.provider.sync_sg = [](const dmaudit_sg&, uint32_t, uint32_t, uint32_t) { return DMAUDIT_EIO; };
    t.auditor.sync_sg(l, nc, 1, to, DMAUDIT_FOR_DEVICE);
    EXPECT_EQ(t.found(), "wrong-return");
}

TEST(ScatterProvider, gets_its_own_list_back)
{
    Audited t;
    t.written_buffer(0, 256);
    t.provider.list_lies([](dmaudit_sg& sg) { sg.cookie[0] = 7, sg.cookie[1] = 8, merge(sg), sg.n_segments = 1; });
    const Tag l = t.list({{0, 64}, {64, 64}}, bi);
    ASSERT_EQ(t.found(), "nothing");
    unsigned seen = 0;
    const auto check = [&](const dmaudit_sg& sg, uint32_t n) {
        EXPECT_EQ(sg.cookie[0], 7u);
        EXPECT_EQ(sg.cookie[1], 8u);
        EXPECT_EQ(sg.n_entries, 2u);
        EXPECT_EQ(sg.n_segments, 1u);
        EXPECT_EQ(n, 2u);
        EXPECT_EQ(sg.entries[1].cpu, t.machine.ram.data() + client_at + 64) << "through its own alias";
        EXPECT_EQ(sg.segments[0].length, 128u);
        seen++;
        return DMAUDIT_OK;
    };
    t.provider.sync_sg = [&](const dmaudit_sg& sg, uint32_t n, uint32_t, uint32_t) { return check(sg, n); };
    t.provider.unmap_sg = [&](const dmaudit_sg& sg, uint32_t n, uint32_t) { return check(sg, n); };
    t.auditor.sync_sg(l, nc, 2, bi, DMAUDIT_FOR_CPU);
    t.unlist(l, 2, bi);
    EXPECT_EQ(seen, 2u);
    EXPECT_EQ(t.found(), "nothing");
}

TEST(ScatterProvider, a_hand_over_at_sync_is_judged_for_every_entry)
{
    Audited t;
    t.written_buffer(0, 256);
    const Tag l = t.list({{0, 64}, {128, 64}}, to);
    t.machine.differs = {client_at + 64};
    t.auditor.sync_sg(l, nc, 2, to, DMAUDIT_FOR_DEVICE);
    EXPECT_EQ(t.found(), "nothing") << "between the entries";
    t.machine.differs = {client_at + 191};
    t.auditor.sync_sg(l, nc, 2, to, DMAUDIT_FOR_CPU);
    EXPECT_EQ(t.found(), "nothing") << "the other way";
    t.auditor.sync_sg(l, nc, 2, to, DMAUDIT_FOR_DEVICE);
    EXPECT_EQ(t.found(), "missing-clean");
}

TEST(ScatterProvider, still_reachable_after_unmap_but_for_shared_pages)
{
    const auto unmapped = [](std::initializer_list<Audited::Entry> parts, uint64_t kept, bool shared = false) {
        Audited t(usual | DMAUDIT_PROMISES_IOMMU);
        t.put_behind_iommu(snooping);
        t.written_buffer(0, 4 * page);
        const Tag l = t.list(parts, to, snooping);
        if (shared)
            t.map(kept + 512, 64, to, snooping);
        EXPECT_EQ(t.found(), "nothing");
        const auto full = t.machine.iommu;
        t.provider.unmap_sg = [&](const dmaudit_sg&, uint32_t, uint32_t) {
            const uint64_t at = t.machine.bus(snooping, client_at + kept);
            t.machine.iommu.clear();
            if (kept < 4 * page)
                t.machine.iommu.insert(*full.find(at));
            return DMAUDIT_OK;
        };
        t.unlist(l, static_cast<uint32_t>(parts.size()), to, snooping);
        return t.found();
    };
    const uint64_t all_gone = 4 * page;
    EXPECT_EQ(unmapped({{0, 64}, {page, 64}}, all_gone), "nothing");
    EXPECT_EQ(unmapped({{0, 64}, {page, 64}}, 0), "still-reachable");
    EXPECT_EQ(unmapped({{0, 64}, {page, 64}}, page), "still-reachable");
    EXPECT_EQ(unmapped({{0, 64}, {128, 64}}, all_gone), "nothing") << "two in one page";
    EXPECT_EQ(unmapped({{0, 64}, {128, 64}}, 0), "still-reachable") << "the other entry is no excuse";
    EXPECT_EQ(unmapped({{0, 64}, {page, 64}}, page, true), "nothing") << "a mapping of its own is";
}

TEST(Scatter, auditor_exhausted)
{
    Audited t;
    t.written_buffer(0, 64);
    uint32_t n = 0;
    for (; n < 2 * Slots<SgRecord, Kind::sg>::capacity && !t.auditor.violation(); n++)
        if (const Tag l = t.list({{0, 64}}, to))
            t.unlist(l, 1, to);
    EXPECT_EQ(t.found(), "auditor-exhausted");
}

TEST(First, what_the_machine_tells_during_a_list_s_call_comes_before_its_result)
{
    Audited t;
    t.written_buffer(0, 64);
    t.written_buffer(128, 64);
    t.machine.dirty = {client_at + 128};
    t.provider.list_lies([&](dmaudit_sg& sg) {
        t.auditor.drops_dirty(client_at + 128);
        sg.n_segments = 0;
    });
    t.list({{0, 64}}, to);
    EXPECT_EQ(t.found(), "corrupts-neighbour");
}

} // namespace
} // namespace dmaudit::fakes
