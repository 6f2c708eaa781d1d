// Bytes that share a cache line, and bytes under several to_device mappings.
#include "shadow/testing_auditor.hpp"

namespace dmaudit::fakes {
namespace {

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

} // namespace
} // namespace dmaudit::fakes
