#include "allocator/scatter.hpp"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "allocator/allocator.hpp"
#include "allocator/testing_platform.hpp"

namespace dmaudit::alloc {
namespace {

using dmaudit::testing::TestPlatform;
using Bytes = std::vector<std::uint8_t>;
using Entries = std::vector<dmaudit_sg_entry>;

constexpr std::uint64_t kPage = 4096;
constexpr auto kBidi = Direction::Bidirectional;
constexpr auto kTo = Direction::ToDevice;
constexpr auto kFrom = Direction::FromDevice;

// Arena: pages 0 to 7. Clients' buffers: page 16 on. Devices 0 (coherent) and 1 (not) map in place; 2 and 3 reach only
// the arena, so everything of theirs is bounced.
class ScatterTest : public ::testing::Test {
  protected:
    ScatterTest() : machine(48, 8)
    {
        const std::uint64_t last = TestPlatform::kBase + 8 * kPage - 1;
        machine.add_device(true, last);
        machine.add_device(false, last);
        allocator = std::move(*Allocator::open(machine.raw));
        segments.resize(64);
    }
    ~ScatterTest() override
    {
        allocator.reset();
        EXPECT_EQ(machine.meta_live, 0);
    }
    static dmaudit_request request(std::uint32_t device, std::uint64_t longest = 0, std::uint64_t boundary = 0)
    {
        return {sizeof(dmaudit_request), device, longest, 0, 0, boundary, 0, 0};
    }
    std::uint8_t* buffer(std::uint64_t offset) { return machine.ram(16, offset); }
    dmaudit_sg_entry entry(std::uint64_t offset, std::uint64_t length) { return {buffer(offset), length}; }
    void fill(std::uint64_t n)
    {
        for (std::uint64_t i = 0; i < n; i++)
            buffer(0)[i] = static_cast<std::uint8_t>(i * 7 + i / 256);
    }
    Bytes cpu_bytes(std::uint64_t n) { return {buffer(0), buffer(0) + n}; }
    static Bytes join(const Entries& entries)
    {
        Bytes bytes;
        for (const dmaudit_sg_entry& e : entries)
            bytes.insert(bytes.end(), static_cast<std::uint8_t*>(e.cpu), static_cast<std::uint8_t*>(e.cpu) + e.length);
        return bytes;
    }
    Result<ScatterMapping> map(const dmaudit_request& r, const Entries& entries, Direction direction)
    {
        return allocator->map_sg(r, entries, segments.data(), direction);
    }
    // What the device finds behind all segments.
    Bytes device_bytes(const ScatterMapping& list)
    {
        Bytes bytes;
        for (std::uint32_t i = 0; i < list.n_segments; i++) {
            const Bytes part = machine.device_read(list.device, segments[i].bus, segments[i].length);
            bytes.insert(bytes.end(), part.begin(), part.end());
        }
        return bytes;
    }
    void device_write(const ScatterMapping& list, const Bytes& bytes)
    {
        auto at = bytes.begin();
        for (std::uint32_t i = 0; i < list.n_segments; i++) {
            const auto n = static_cast<std::ptrdiff_t>(segments[i].length);
            machine.device_write(list.device, segments[i].bus, Bytes(at, at + n));
            at += n;
        }
    }
    std::vector<std::uint64_t> lengths(const ScatterMapping& list)
    {
        std::vector<std::uint64_t> all;
        for (std::uint32_t i = 0; i < list.n_segments; i++)
            all.push_back(segments[i].length);
        return all;
    }
    bool arena_is_free()
    {
        const Result<Block> all =
            allocator->alloc_coherent({sizeof(dmaudit_request), 0, 8 * kPage, 0, 0, 0, DMAUDIT_ZERO, 0});
        return all && allocator->free_coherent(*all);
    }

    TestPlatform machine;
    Allocator::Owner allocator;
    std::vector<dmaudit_sg_segment> segments;
};

TEST_F(ScatterTest, DataArrivesInOrderOnEveryPath)
{
    for (const std::uint32_t device : {0u, 1u, 2u, 3u})
        for (const Direction direction : {kTo, kFrom, kBidi}) {
            SCOPED_TRACE(std::to_string(device) + " " + std::to_string(static_cast<int>(direction)));
            // Apart, adjoining, out of order, sharing lines, over a page.
            const Entries entries = {entry(6000, 300), entry(0, 128), entry(128, 64), entry(199, 10), entry(4000, 200)};
            fill(8000);
            const ScatterMapping list = *map(request(device), entries, direction);
            machine.evict_all();
            EXPECT_EQ(device_bytes(list), join(entries));
            Bytes sent = join(entries);
            if (device_writes(direction)) {
                std::reverse(sent.begin(), sent.end());
                device_write(list, sent);
                machine.evict_all();
                ASSERT_TRUE(allocator->sync_sg(list, 5, direction, Phase::ForCpu));
                EXPECT_EQ(join(entries), sent) << "every entry";
                ASSERT_TRUE(allocator->sync_sg(list, 5, direction, Phase::ForDevice));
                std::reverse(sent.begin(), sent.end());
                device_write(list, sent);
            } else {
                ASSERT_TRUE(allocator->sync_sg(list, 5, direction, Phase::ForCpu));
                for (const dmaudit_sg_entry& e : entries)
                    *static_cast<std::uint8_t*>(e.cpu) ^= 0xff;
                sent = join(entries);
                ASSERT_TRUE(allocator->sync_sg(list, 5, direction, Phase::ForDevice));
                EXPECT_EQ(device_bytes(list), sent) << "every entry";
            }
            Bytes around = cpu_bytes(8000);
            ASSERT_TRUE(allocator->unmap_sg(list, 5));
            EXPECT_EQ(join(entries), sent);
            EXPECT_EQ(buffer(0)[192], around[192]) << "beside the entries";
            EXPECT_EQ(buffer(0)[209], around[209]);
            EXPECT_TRUE(arena_is_free());
        }
}

TEST_F(ScatterTest, NeighboursBecomeOneSegment)
{
    const Entries entries = {entry(0, 100), entry(100, 28), entry(128, 72), entry(256, 4), entry(200, 56)};
    using Lengths = std::vector<std::uint64_t>;
    const auto mapped = [&](std::uint64_t longest, std::uint64_t boundary) {
        const ScatterMapping list = *map(request(0, longest, boundary), entries, kTo);
        EXPECT_EQ(segments[0].bus, machine.phys(buffer(0)));
        EXPECT_EQ(device_bytes(list), join(entries));
        EXPECT_TRUE(allocator->unmap_sg(list, 5)) << "the count of entries, whatever became of them";
        return lengths(list);
    };
    EXPECT_EQ(mapped(0, 0), (Lengths{200, 4, 56})) << "256 follows on 200 in the list, not in memory";
    EXPECT_EQ(mapped(200, 0), (Lengths{200, 4, 56})) << "just as long as allowed";
    EXPECT_EQ(mapped(199, 0), (Lengths{128, 72, 4, 56}));
    EXPECT_EQ(mapped(100, 0), (Lengths{100, 100, 4, 56})) << "the second starts anew";
    EXPECT_EQ(mapped(0, 128), (Lengths{128, 72, 4, 56})) << "128 bytes end at the boundary";
    EXPECT_EQ(mapped(0, 256), (Lengths{200, 4, 56}));
}

TEST_F(ScatterTest, AnEntryOverABoundaryIsBounced)
{
    fill(512);
    const Entries entries = {entry(0, 100), entry(100, 80)};
    const ScatterMapping list = *map(request(0, 0, 128), entries, kTo);
    ASSERT_EQ(list.n_segments, 2u);
    EXPECT_LT(segments[1].bus, TestPlatform::kBase + 8 * kPage) << "in the arena";
    EXPECT_LE(segments[1].bus % 128 + 80, 128u);
    EXPECT_EQ(device_bytes(list), join(entries));
    EXPECT_TRUE(allocator->unmap_sg(list, 2));
}

// Device addresses 0xffff... and 0 are no neighbours, though the memory is.
TEST_F(ScatterTest, SegmentsDoNotWrap)
{
    const std::uint64_t middle = machine.phys(buffer(64));
    const std::uint32_t device = machine.add_device(true, UINT64_MAX, std::uint64_t{0} - middle);
    allocator = std::move(*Allocator::open(machine.raw));
    const Entries entries = {entry(0, 64), entry(64, 64)};
    const ScatterMapping list = *map(request(device), entries, kTo);
    EXPECT_EQ(lengths(list), (std::vector<std::uint64_t>{64, 64}));
    EXPECT_EQ(segments[1].bus, 0u);
    EXPECT_TRUE(allocator->unmap_sg(list, 2));
}

TEST_F(ScatterTest, MalformedListsAreRefused)
{
    const Entries good = {entry(0, 64), entry(64, 64)};
    const auto error = [&](const dmaudit_request& r, const Entries& entries) { return map(r, entries, kTo).error(); };
    EXPECT_EQ(error(request(99), good), DmaError::NoSuchDevice);
    EXPECT_EQ(error(request(0), {}), DmaError::BadArgument);
    EXPECT_EQ(allocator->map_sg(request(0), good, nullptr, kTo).error(), DmaError::NullPointer);
    EXPECT_EQ(allocator->map_sg(request(0), {static_cast<dmaudit_sg_entry*>(nullptr), 2}, segments.data(), kTo).error(),
              DmaError::NullPointer);
    EXPECT_EQ(error(request(0), {entry(0, 64), {nullptr, 64}}), DmaError::NullPointer);
    EXPECT_EQ(error(request(0), {entry(0, 64), entry(64, 0)}), DmaError::BadArgument);
    EXPECT_EQ(error(request(0), {entry(0, 64), {this, 1}}), DmaError::BadArgument) << "not RAM";
    EXPECT_EQ(error(request(0), {entry(0, 64), entry(0, UINT64_MAX)}), DmaError::BadArgument);
    EXPECT_EQ(error(request(0, 63), good), DmaError::BadArgument) << "longer than a segment may be";
    EXPECT_EQ(error(request(0, 0, 32), good), DmaError::BadArgument) << "larger than the boundary";
    EXPECT_EQ(error(request(0, 0, 3), good), DmaError::LayoutError);
    dmaudit_request low = request(0);
    low.limit = 0xfff;
    EXPECT_EQ(error(low, good), DmaError::DmaMaskNotMatch);
    EXPECT_EQ(segments[0].length, 0u) << "not written";
    dmaudit_request odd = request(0);
    odd.align = 3;
    const Result<ScatterMapping> list = map(odd, good, kTo);
    ASSERT_TRUE(list) << "the alignment is not looked at";
    EXPECT_TRUE(allocator->unmap_sg(*list, 2));
    EXPECT_TRUE(arena_is_free());
}

// The third entry cannot be mapped: the first two go without an effect on their buffers, even where the device wrote.
TEST_F(ScatterTest, APartialFailureLeavesNothingMapped)
{
    for (const std::uint32_t device : {0u, 1u, 2u, 3u})
        for (const Direction direction : {kTo, kFrom, kBidi}) {
            fill(8 * kPage);
            const Bytes before = cpu_bytes(8 * kPage);
            const std::int64_t meta = machine.meta_live;
            const Entries entries = {entry(0, 64), entry(100, 50), {this, 4}};
            EXPECT_EQ(map(request(device), entries, direction).error(), DmaError::BadArgument);
            if (device >= 2) {
                EXPECT_EQ(map(request(device), {entry(0, 64), entry(100, 50), entry(0, 8 * kPage)}, direction).error(),
                          DmaError::NoMemory);
            }
            EXPECT_EQ(cpu_bytes(8 * kPage), before);
            EXPECT_EQ(machine.meta_live, meta);
            EXPECT_TRUE(arena_is_free());
        }
}

// A device that writes at once into what a failing call had mapped: nothing is copied back.
TEST_F(ScatterTest, ARollbackCopiesNothingBack)
{
    fill(512);
    const Bytes before = cpu_bytes(512);
    // The device's write, in the place of the second entry's cache work.
    static TestPlatform* board;
    static int calls;
    board = &machine;
    calls = 0;
    machine.raw.clean = [](void*, std::uint64_t, std::uint64_t) {
        if (calls++ == 1)
            board->device_write(3, TestPlatform::kBase, Bytes(64, 0xee));
    };
    machine.raw.invalidate = [](void*, std::uint64_t, std::uint64_t) { calls = 100; };
    EXPECT_EQ(map(request(3), {entry(0, 64), entry(64, 64), {this, 4}}, kFrom).error(), DmaError::BadArgument);
    EXPECT_EQ(calls, 2) << "the device wrote, and no line was dropped";
    EXPECT_EQ(cpu_bytes(512), before);
}

TEST_F(ScatterTest, OnlyALiveListNamedInFullIsAccepted)
{
    fill(512);
    const Entries entries = {entry(0, 64), entry(64, 64), entry(256, 64)};
    const ScatterMapping list = *map(request(2), entries, kFrom);
    device_write(list, Bytes(192, 0xee));
    const Bytes before = cpu_bytes(512);
    const auto refused = [&](const ScatterMapping& lie, std::uint64_t n) {
        const Status unmap = allocator->unmap_sg(lie, n);
        const Status sync = allocator->sync_sg(lie, n, lie.direction, Phase::ForCpu);
        return !unmap && unmap.error() == DmaError::IllegalCall && !sync && sync.error() == DmaError::IllegalCall &&
               cpu_bytes(512) == before;
    };
    for (const std::uint64_t n : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{4},
                                  (std::uint64_t{1} << 32) + 3, UINT64_MAX})
        EXPECT_TRUE(refused(list, n)) << n;
    ScatterMapping lie = list;
    lie.device = 0;
    EXPECT_TRUE(refused(lie, 3));
    lie = list;
    lie.direction = kBidi;
    EXPECT_TRUE(refused(lie, 3));
    lie = list;
    lie.n_segments++;
    EXPECT_TRUE(refused(lie, 3));
    lie = list;
    lie.handle.generation++;
    EXPECT_TRUE(refused(lie, 3));
    lie = list;
    lie.handle.index = 1000;
    EXPECT_TRUE(refused(lie, 3));
    lie = list;
    lie.entries = {entries.data(), 2};
    EXPECT_TRUE(refused(lie, 2));
    EXPECT_TRUE(refused(lie, 3));
    lie.entries = {static_cast<dmaudit_sg_entry*>(nullptr), 3};
    EXPECT_TRUE(refused(lie, 3));
    Entries other = entries;
    other[1].length--;
    lie.entries = other;
    EXPECT_TRUE(refused(lie, 3));
    other = entries;
    std::swap(other[0], other[2]);
    EXPECT_TRUE(refused(lie, 3));
    const Entries moved = entries;
    lie.entries = moved;
    ASSERT_TRUE(allocator->unmap_sg(lie, 3)) << "the same entries in another array";
    EXPECT_EQ(join(entries), Bytes(192, 0xee));
    EXPECT_EQ(allocator->unmap_sg(list, 3).error(), DmaError::IllegalCall);
    EXPECT_EQ(allocator->sync_sg(list, 3, kFrom, Phase::ForCpu).error(), DmaError::IllegalCall);
    const ScatterMapping again = *map(request(2), entries, kFrom);
    EXPECT_EQ(allocator->unmap_sg(list, 3).error(), DmaError::IllegalCall) << "an old list at the same place";
    EXPECT_TRUE(allocator->unmap_sg(again, 3));
}

TEST_F(ScatterTest, SyncDirectionsAreThoseOfAMapping)
{
    fill(512);
    const Entries entries = {entry(0, 64), entry(256, 64)};
    const ScatterMapping to = *map(request(2), entries, kTo);
    EXPECT_EQ(allocator->sync_sg(to, 2, kFrom, Phase::ForCpu).error(), DmaError::BadArgument);
    EXPECT_EQ(allocator->sync_sg(to, 2, kBidi, Phase::ForCpu).error(), DmaError::BadArgument);
    ASSERT_TRUE(allocator->unmap_sg(to, 2));
    const ScatterMapping both = *map(request(2), entries, kBidi);
    device_write(both, Bytes(128, 0xee));
    EXPECT_TRUE(allocator->sync_sg(both, 2, kTo, Phase::ForCpu));
    EXPECT_NE(buffer(256)[0], 0xee) << "nothing moves this way";
    EXPECT_TRUE(allocator->sync_sg(both, 2, kFrom, Phase::ForCpu));
    EXPECT_EQ(buffer(256)[0], 0xee);
    ASSERT_TRUE(allocator->unmap_sg(both, 2));
}

TEST_F(ScatterTest, SkipLeavesTheBuffersAlone)
{
    fill(512);
    const Entries entries = {entry(0, 64), entry(256, 64)};
    const Bytes before = cpu_bytes(512);
    const ScatterMapping bounced = *map(request(2), entries, kFrom);
    device_write(bounced, Bytes(128, 0xee));
    ASSERT_TRUE(allocator->unmap_sg(bounced, 2, DMAUDIT_ATTR_SKIP_CPU_SYNC));
    EXPECT_EQ(cpu_bytes(512), before) << "no copy back";
    dmaudit_request skip = request(1);
    skip.attrs = DMAUDIT_ATTR_SKIP_CPU_SYNC;
    const std::uint64_t work = machine.cleans + machine.invalidates;
    const ScatterMapping direct = *map(skip, entries, kBidi);
    ASSERT_TRUE(allocator->unmap_sg(direct, 2, DMAUDIT_ATTR_SKIP_CPU_SYNC));
    EXPECT_EQ(machine.cleans + machine.invalidates, work) << "no cache work";
}

// Metadata runs out at each position in turn: of the list's memory, of records of mappings, chunks and lists.
TEST_F(ScatterTest, WithoutMetadataNothingIsKept)
{
    int failures = 0;
    for (std::int64_t budget = 0; budget < 16; budget++) {
        SCOPED_TRACE(budget);
        allocator = std::move(*Allocator::open(machine.raw));
        fill(4096);
        const Bytes before = cpu_bytes(4096);
        Entries entries;
        for (std::uint64_t i = 0; i < 12; i++) // more than there are records in place
            entries.push_back(entry(i * 256, 200));
        std::vector<ScatterMapping> lists;
        machine.meta_budget = budget;
        for (int i = 0; i < 6; i++) {
            const Result<ScatterMapping> list = map(request(3), entries, kFrom);
            if (list) {
                lists.push_back(*list);
            } else {
                failures++;
                EXPECT_EQ(list.error(), DmaError::NoMemory);
                break;
            }
        }
        machine.meta_budget = INT64_MAX;
        EXPECT_EQ(cpu_bytes(4096), before);
        for (const ScatterMapping& list : lists)
            ASSERT_TRUE(allocator->unmap_sg(list, 12, DMAUDIT_ATTR_SKIP_CPU_SYNC));
        EXPECT_TRUE(arena_is_free()) << "no slot is left";
        allocator.reset();
        EXPECT_EQ(machine.meta_live, 0) << "nor a list's memory";
    }
    EXPECT_GE(failures, 3) << "the budget did run out";
}

TEST_F(ScatterTest, ClosingGivesBackTheMemoryOfLiveLists)
{
    ASSERT_TRUE(map(request(0), {entry(0, 64)}, kTo));
    ASSERT_TRUE(map(request(3), {entry(0, 64), entry(256, 64)}, kFrom));
    // The fixture looks at metadata.
}

TEST_F(ScatterTest, ThreadsShareAnInstance)
{
    machine.raw.clean = [](void*, std::uint64_t, std::uint64_t) {}; // the test's cache and counts are not for threads
    machine.raw.invalidate = machine.raw.clean;
    machine.raw.meta_alloc = [](void* self, std::size_t bytes) {
        static_cast<TestPlatform*>(self)->meta_live++;
        return std::malloc(bytes);
    };
    std::atomic<int> mistakes = 0;
    const auto work = [&](std::uint64_t id) {
        const Entries mine = {entry(id * kPage, 100), entry(id * kPage + 200, 300), entry(id * kPage + 500, 7)};
        std::vector<dmaudit_sg_segment> room(3);
        for (int i = 0; i < 1000; i++) {
            const Result<ScatterMapping> list = allocator->map_sg(request(2), mine, room.data(), kBidi);
            if (!list)
                continue;
            mistakes += !allocator->sync_sg(*list, 3, kBidi, Phase::ForCpu);
            mistakes += !allocator->unmap_sg(*list, 3);
            mistakes += allocator->unmap_sg(*list, 3).code() != DMAUDIT_EFAULT;
        }
    };
    std::vector<std::thread> threads;
    for (std::uint64_t id = 0; id < 4; id++)
        threads.emplace_back(work, id);
    for (std::thread& thread : threads)
        thread.join();
    EXPECT_EQ(mistakes, 0);
    EXPECT_TRUE(arena_is_free());
}

} // namespace
} // namespace dmaudit::alloc
