// Streaming mappings: addresses, bounce buffers, and what a device sees at a hand-over.
#include "shadow/testing_auditor.hpp"

namespace dmaudit::fakes {
namespace {

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

} // namespace
} // namespace dmaudit::fakes
