// The client's mistakes: the first rule of the published order is the one that is named.
#include "shadow/testing_auditor.hpp"

namespace dmaudit::fakes {
namespace {

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

} // namespace
} // namespace dmaudit::fakes
