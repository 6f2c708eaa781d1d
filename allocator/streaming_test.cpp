#include "allocator/streaming.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "allocator/testing_platform.hpp"

namespace dmaudit::alloc {
namespace {

using dmaudit::testing::TestPlatform;
using Bytes = std::vector<std::uint8_t>;

constexpr std::uint64_t kPage = 4096;
constexpr auto kBidi = Direction::Bidirectional;
constexpr auto kTo = Direction::ToDevice;
constexpr auto kFrom = Direction::FromDevice;

// Arena: pages 0 to 7. Clients' buffers: page 16 on.
class StreamingTest : public ::testing::Test {
  protected:
    StreamingTest()
        : machine(32, 8), platform(machine.raw), states(1), arenas(platform, states.data()), iommu(platform),
          streaming(platform, arenas, iommu)
    {
        pc = *platform.device(0);
        board = *platform.device(1);
        // Reaches the arena, but not the clients' buffers: everything is bounced.
        const std::uint64_t last = TestPlatform::kBase + 8 * kPage - 1;
        far_pc = *platform.device(machine.add_device(true, last));
        far_board = *Platform(machine.raw).device(machine.add_device(false, last));
        far_pc = *Platform(machine.raw).device(2);
    }
    std::byte* buffer(std::uint64_t offset = 0) { return reinterpret_cast<std::byte*>(machine.ram(16, offset)); }
    void fill(std::uint64_t offset, std::uint64_t n, int first)
    {
        for (std::uint64_t i = 0; i < n; i++)
            machine.ram(16, offset)[i] = static_cast<std::uint8_t>(static_cast<std::uint64_t>(first) + i);
    }
    Bytes cpu_bytes(std::uint64_t offset, std::uint64_t n)
    {
        return {machine.ram(16, offset), machine.ram(16, offset) + n};
    }
    static Bytes counting(int first, std::uint64_t n)
    {
        Bytes bytes;
        for (std::uint64_t i = 0; i < n; i++)
            bytes.push_back(static_cast<std::uint8_t>(static_cast<std::uint64_t>(first) + i));
        return bytes;
    }
    Result<Mapping> map(const Device& device, std::uint64_t offset, std::uint64_t n, Direction direction,
                        bool skip = false)
    {
        return streaming.map(device, buffer(offset), n, direction, reach_of(device), skip);
    }
    bool bounced(const Mapping& m) { return m.bus.value < TestPlatform::kBase + 16 * kPage; }
    Bytes device_bytes(const Mapping& m) { return machine.device_read(m.device, m.bus.value, m.size); }

    TestPlatform machine;
    Platform platform;
    std::vector<Arenas::State> states;
    Arenas arenas;
    Iommu iommu;
    Streaming streaming;
    Device pc{}, board{}, far_pc{}, far_board{}; // (not) coherent, in place and bounced
};

// Every kind of device, every direction, aligned and not: the device reads what the CPU wrote, the CPU reads what the
// device wrote, and bytes that nobody wrote stay.
TEST_F(StreamingTest, DataArrivesOnEveryPath)
{
    const Device devices[] = {pc, board, far_pc, far_board};
    for (const Device& device : devices)
        for (const Direction direction : {kTo, kFrom, kBidi})
            for (const std::uint64_t offset : {0u, 7u})
                for (const std::uint64_t n : {1u, 64u, 300u, 5000u}) {
                    SCOPED_TRACE(std::to_string(device.index) + " " + std::to_string(static_cast<int>(direction)) +
                                 " " + std::to_string(offset) + " " + std::to_string(n));
                    fill(0, 6000, 1);
                    const Mapping m = *map(device, offset, n, direction);
                    machine.evict_all();
                    EXPECT_EQ(device_bytes(m), counting(1 + static_cast<int>(offset), n))
                        << "all of it, whatever the way";
                    Bytes expected = counting(1, 6000);
                    if (device_writes(direction)) {
                        machine.device_write(device.index, m.bus.value, {200}); // one byte of n
                        expected[offset] = 200;
                        EXPECT_FALSE(device.coherent ? false : machine.dirty(m.bus.value, m.size));
                        machine.evict_all();
                        ASSERT_TRUE(streaming.sync(m, 0, n, direction, Phase::ForCpu));
                        EXPECT_EQ(cpu_bytes(0, 6000), expected);
                        ASSERT_TRUE(streaming.sync(m, 0, n, direction, Phase::ForDevice));
                        machine.device_write(device.index, m.bus.value + n - 1, {201});
                        expected[offset + n - 1] = 201;
                    }
                    ASSERT_TRUE(streaming.unmap(m, n, false));
                    EXPECT_EQ(cpu_bytes(0, 6000), expected);
                    EXPECT_TRUE(arenas.alloc(8 * kPage, reach_of(pc))) << "no slot is left";
                    arenas.free({{TestPlatform::kBase}, 0, 3});
                }
}

TEST_F(StreamingTest, MapsInPlaceWhereTheDeviceCan)
{
    EXPECT_FALSE(bounced(*map(pc, 3, 10, kFrom)));
    EXPECT_FALSE(bounced(*map(board, 64, 128, kFrom)));
    EXPECT_FALSE(bounced(*map(board, 1003, 10, kTo))) << "a shared line that the device only reads";
    EXPECT_TRUE(bounced(*map(board, 2051, 61, kFrom))) << "shares its first line";
    EXPECT_TRUE(bounced(*map(board, 3072, 63, kBidi))) << "shares its last line";
    EXPECT_TRUE(bounced(*map(far_pc, 4096, 64, kTo)));
    EXPECT_TRUE(bounced(*streaming.map(pc, buffer(4), 10, kTo, {0, UINT64_MAX, 8, 0}, false))) << "alignment";
    EXPECT_TRUE(bounced(*streaming.map(pc, buffer(200), 100, kTo, {0, UINT64_MAX, 1, 256}, false))) << "boundary";
    EXPECT_TRUE(bounced(*streaming.map(pc, buffer(), 100, kTo, {0, TestPlatform::kBase + kPage - 1, 1, 0}, false)));
}

TEST_F(StreamingTest, ABounceAtTheEdgeKeepsTheNeighboursBytes)
{
    fill(0, 256, 1);
    const Mapping m = *map(board, 70, 100, kFrom);
    machine.device_write(1, m.bus.value, counting(100, 100));
    machine.ram(16)[64] = 99; // the neighbours are the CPU's, all the time
    machine.ram(16)[171] = 98;
    machine.evict_all();
    ASSERT_TRUE(streaming.unmap(m, 100, false));
    EXPECT_EQ(machine.ram(16)[64], 99);
    EXPECT_EQ(machine.ram(16)[171], 98);
    EXPECT_EQ(cpu_bytes(70, 100), counting(100, 100));
}

TEST_F(StreamingTest, NoStaleSlotContentLeaks)
{
    for (const Device& device : {far_pc, far_board}) {
        fill(0, 300, 1);
        const Mapping secret = *map(device, 0, 300, kTo);
        ASSERT_TRUE(streaming.unmap(secret, 300, false));
        fill(1024, 300, 7);
        const Mapping m = *map(device, 1024, 300, kFrom, true); // even if asked to skip
        ASSERT_EQ(m.bus, secret.bus) << "the same slot";
        EXPECT_EQ(device_bytes(m), counting(7, 300));
        ASSERT_TRUE(streaming.unmap(m, 300, false));
        EXPECT_EQ(cpu_bytes(1024, 300), counting(7, 300));
    }
}

TEST_F(StreamingTest, OnlyTheUsedBytesComeBack)
{
    for (const Device& device : {far_pc, far_board}) {
        fill(0, 100, 1);
        const Mapping m = *map(device, 0, 100, kFrom);
        machine.device_write(device.index, m.bus.value, Bytes(100, 0xee));
        EXPECT_EQ(streaming.unmap(m, 101, false).error(), DmaError::BadArgument);
        ASSERT_TRUE(streaming.unmap(m, 30, false));
        EXPECT_EQ(cpu_bytes(0, 30), Bytes(30, 0xee));
        EXPECT_EQ(cpu_bytes(30, 70), counting(31, 70));
    }
}

TEST_F(StreamingTest, SkipLeavesTheBufferAlone)
{
    fill(0, 128, 1);
    const Mapping m = *map(far_pc, 0, 128, kFrom);
    machine.device_write(far_pc.index, m.bus.value, Bytes(128, 0xee));
    ASSERT_TRUE(streaming.unmap(m, 128, true));
    EXPECT_EQ(cpu_bytes(0, 128), counting(1, 128)) << "no copy back";
    const std::uint64_t before = machine.cleans + machine.invalidates;
    const Mapping direct = *map(board, 0, 128, kBidi, true);
    ASSERT_TRUE(streaming.unmap(direct, 128, true));
    EXPECT_EQ(machine.cleans + machine.invalidates, before) << "no cache work in place";
}

TEST_F(StreamingTest, ACoherentDeviceNeedsNoCacheWork)
{
    for (const Device& device : {pc, far_pc})
        for (const Direction direction : {kTo, kFrom, kBidi}) {
            const Mapping m = *map(device, 5, 500, direction);
            ASSERT_TRUE(streaming.sync(m, 3, 200, direction, Phase::ForCpu));
            ASSERT_TRUE(streaming.sync(m, 3, 200, direction, Phase::ForDevice));
            ASSERT_TRUE(streaming.unmap(m, 500, false));
        }
    EXPECT_EQ(machine.cleans + machine.invalidates, 0u);
}

TEST_F(StreamingTest, PartialSyncsMoveExactlyTheirBytes)
{
    for (const Device& device : {far_pc, far_board}) {
        fill(0, 3000, 1);
        const Mapping m = *map(device, 3, 2900, kBidi);
        machine.device_write(device.index, m.bus.value, Bytes(2900, 0xee));
        Bytes expected = counting(1, 3000);
        ASSERT_TRUE(streaming.sync(m, 700, 61, kBidi, Phase::ForCpu));
        std::fill_n(expected.begin() + 703, 61, std::uint8_t{0xee});
        EXPECT_EQ(cpu_bytes(0, 3000), expected);
        fill(703, 61, 50);
        ASSERT_TRUE(streaming.sync(m, 700, 61, kBidi, Phase::ForDevice));
        Bytes seen(2900, 0xee);
        std::copy_n(counting(50, 61).begin(), 61, seen.begin() + 700);
        EXPECT_EQ(device_bytes(m), seen) << "the device's bytes around it are still there";
        ASSERT_TRUE(streaming.unmap(m, 2900, false));
    }
}

TEST_F(StreamingTest, ASyncToTheCpuKeepsDirtyNeighboursInItsLines)
{
    fill(0, 128, 1);
    const Mapping m = *map(board, 0, 128, kBidi);
    ASSERT_FALSE(bounced(m));
    ASSERT_TRUE(streaming.sync(m, 0, 128, kBidi, Phase::ForCpu));
    machine.ram(16)[5] = 77; // the CPU holds all of the line
    ASSERT_TRUE(streaming.sync(m, 20, 10, kBidi, Phase::ForCpu));
    EXPECT_EQ(machine.ram(16)[5], 77);
}

TEST_F(StreamingTest, SyncDirections)
{
    fill(0, 64, 1);
    const Mapping m = *map(far_pc, 0, 64, kBidi);
    machine.device_write(far_pc.index, m.bus.value, {200});
    EXPECT_TRUE(streaming.sync(m, 0, 64, kTo, Phase::ForCpu));
    EXPECT_EQ(machine.ram(16)[0], 1) << "nothing moves this way";
    EXPECT_TRUE(streaming.sync(m, 0, 64, kFrom, Phase::ForCpu));
    EXPECT_EQ(machine.ram(16)[0], 200);
    machine.ram(16)[0] = 3;
    EXPECT_TRUE(streaming.sync(m, 0, 64, kFrom, Phase::ForDevice));
    EXPECT_EQ(device_bytes(m)[0], 200);
    EXPECT_TRUE(streaming.sync(m, 0, 64, kTo, Phase::ForDevice));
    EXPECT_EQ(device_bytes(m)[0], 3);
    const Mapping to = *map(far_pc, 128, 64, kTo);
    machine.ram(16, 128)[0] = 9;
    EXPECT_EQ(streaming.sync(to, 0, 64, kFrom, Phase::ForDevice).error(), DmaError::BadArgument);
    EXPECT_EQ(streaming.sync(to, 0, 64, kBidi, Phase::ForDevice).error(), DmaError::BadArgument);
    EXPECT_NE(device_bytes(to)[0], 9);
    EXPECT_TRUE(streaming.sync(to, 0, 64, kTo, Phase::ForCpu));
    EXPECT_EQ(machine.ram(16, 128)[0], 9) << "a buffer that the device only reads is never written";
}

TEST_F(StreamingTest, SyncRangesAreChecked)
{
    fill(0, 64, 1);
    const Mapping m = *map(far_pc, 0, 64, kFrom);
    machine.device_write(far_pc.index, m.bus.value, Bytes(64, 0xee));
    for (const auto& [offset, length] :
         {std::pair<std::uint64_t, std::uint64_t>{0, 65}, {64, 1}, {65, 0}, {1, UINT64_MAX}, {UINT64_MAX, 2}})
        EXPECT_EQ(streaming.sync(m, offset, length, kFrom, Phase::ForCpu).error(), DmaError::BadArgument);
    EXPECT_TRUE(streaming.sync(m, 64, 0, kFrom, Phase::ForCpu));
    EXPECT_EQ(cpu_bytes(0, 64), counting(1, 64)) << "none of them had an effect";
}

TEST_F(StreamingTest, OnlyLiveMappingsNamedInFullAreAccepted)
{
    const Mapping m = *map(far_pc, 0, 100, kFrom);
    const auto refused = [&](Mapping lie) {
        const Status unmap = streaming.unmap(lie, 0, false);
        const Status sync = streaming.sync(lie, 0, 1, lie.direction, Phase::ForCpu);
        return !unmap && unmap.error() == DmaError::IllegalCall && !sync && sync.error() == DmaError::IllegalCall;
    };
    Mapping lie = m;
    lie.size--;
    EXPECT_TRUE(refused(lie));
    lie = m;
    lie.bus.value++;
    EXPECT_TRUE(refused(lie));
    lie = m;
    lie.cpu++;
    EXPECT_TRUE(refused(lie));
    lie = m;
    lie.device = 0;
    EXPECT_TRUE(refused(lie));
    lie = m;
    lie.direction = kBidi;
    EXPECT_TRUE(refused(lie));
    lie = m;
    lie.handle.generation++;
    EXPECT_TRUE(refused(lie));
    ASSERT_TRUE(streaming.unmap(m, 100, false));
    EXPECT_TRUE(refused(m)) << "double unmap";
    const Mapping again = *map(far_pc, 0, 100, kFrom);
    ASSERT_EQ(again.bus, m.bus);
    EXPECT_TRUE(refused(m)) << "an old mapping at the same place";
    EXPECT_TRUE(streaming.unmap(again, 100, false));
}

TEST_F(StreamingTest, FailuresHaveNoEffect)
{
    EXPECT_EQ(streaming.map(pc, buffer(16 * kPage - 10), 11, kTo, reach_of(pc), false).error(), DmaError::BadArgument)
        << "over the end of RAM";
    EXPECT_EQ(map(pc, 0, UINT64_MAX, kTo).error(), DmaError::BadArgument);
    EXPECT_EQ(map(far_pc, 0, 9 * kPage, kTo).error(), DmaError::NoMemory);
    EXPECT_EQ(streaming.map(pc, buffer(), 10, kTo, {0, 0xfff, 1, 0}, false).error(), DmaError::DmaMaskNotMatch);
    EXPECT_EQ(streaming.map(pc, buffer(1), 10, kTo, {0, UINT64_MAX, std::uint64_t{1} << 50, 0}, false).error(),
              DmaError::AlignMismatch);
    EXPECT_TRUE(arenas.alloc(8 * kPage, reach_of(pc)));
}

TEST_F(StreamingTest, WithoutMetadataNothingIsKept)
{
    machine.meta_budget = 0;
    std::vector<Mapping> live;
    Result<Mapping> m = map(far_pc, 0, 100, kTo);
    for (; m; m = map(far_pc, 0, 100, kTo))
        live.push_back(*m);
    EXPECT_EQ(m.error(), DmaError::NoMemory);
    EXPECT_EQ(live.size(), 8u) << "the records in place";
    for (const Mapping& mapping : live)
        ASSERT_TRUE(streaming.unmap(mapping, 0, false));
    EXPECT_TRUE(arenas.alloc(8 * kPage, reach_of(pc))) << "the slot of the failed one too";
}

// The client breaks the line rule here (it writes beside bytes that are the device's); even so nothing of the device's
// is lost that was there when the sync began.
TEST_F(StreamingTest, ASyncToTheDeviceFetchesTheRestOfItsLinesFirst)
{
    fill(0, 256, 1);
    const Mapping m = *map(far_board, 0, 256, kBidi);
    ASSERT_TRUE(streaming.sync(m, 100, 60, kBidi, Phase::ForCpu));
    machine.device_write(far_board.index, m.bus.value + 99, {0xee});
    machine.device_write(far_board.index, m.bus.value + 160, {0xef});
    fill(100, 60, 7);
    ASSERT_TRUE(streaming.sync(m, 100, 60, kBidi, Phase::ForDevice));
    EXPECT_EQ(device_bytes(m)[99], 0xee);
    EXPECT_EQ(device_bytes(m)[160], 0xef);
    EXPECT_EQ(device_bytes(m)[100], 7);
}

TEST_F(StreamingTest, CacheOperationsAreChecked)
{
    fill(0, 192, 1);
    EXPECT_EQ(streaming.cache(buffer(16 * kPage - 1), 2, CacheOp::Flush).error(), DmaError::BadArgument);
    EXPECT_EQ(streaming.cache(this, 1, CacheOp::Flush).error(), DmaError::BadArgument);
    EXPECT_TRUE(streaming.cache(this, 0, CacheOp::Flush));
    EXPECT_TRUE(machine.dirty(machine.phys(buffer())));
    ASSERT_TRUE(streaming.cache(buffer(), 192, CacheOp::Flush));
    EXPECT_FALSE(machine.dirty(machine.phys(buffer()), 192));
    machine.device_write(1, machine.phys(buffer(70)), {99});
    machine.ram(16)[0] = 55; // dirty, in a line that the next range touches
    ASSERT_TRUE(streaming.cache(buffer(60), 68, CacheOp::Invalidate));
    EXPECT_EQ(machine.ram(16)[0], 55);
    EXPECT_EQ(machine.ram(16)[70], 99);
    fill(0, 64, 9);
    ASSERT_TRUE(streaming.cache(buffer(), 64, CacheOp::FlushInvalidate));
    EXPECT_EQ(machine.device_read(1, machine.phys(buffer())), 9);
    EXPECT_EQ(machine.ram(16)[0], 9);
}

// ---- behind an IOMMU

class StreamingIommuTest : public StreamingTest {
  protected:
    StreamingIommuTest()
    {
        // Both have a limit that no physical address of RAM is below.
        card = *Platform(machine.raw).device(machine.add_iommu_device(true, 64 * kPage - 1));
        soc = *Platform(machine.raw).device(machine.add_iommu_device(false, 64 * kPage - 1));
    }
    bool in_arena(const Mapping& m)
    {
        return *machine.reaches(m.device, m.bus.value, 0) < TestPlatform::kBase + 8 * kPage;
    }
    Result<Mapping> map_under(const Device& device, std::uint64_t offset, std::uint64_t n, std::uint64_t align,
                              std::uint64_t boundary, std::uint64_t limit = 64 * kPage - 1, Direction direction = kTo)
    {
        return streaming.map(device, buffer(offset), n, direction, {0, limit, align, boundary}, false);
    }

    Device card{}, soc{}; // coherent; not coherent
};

TEST_F(StreamingIommuTest, DataArrivesOnEveryPath)
{
    for (const Device& device : {card, soc})
        for (const Direction direction : {kTo, kFrom, kBidi})
            for (const std::uint64_t offset : {0u, 7u})
                for (const std::uint64_t n : {1u, 64u, 300u, 5000u}) {
                    SCOPED_TRACE(std::to_string(device.index) + " " + std::to_string(static_cast<int>(direction)) +
                                 " " + std::to_string(offset) + " " + std::to_string(n));
                    fill(0, 6000, 1);
                    const Mapping m = *map(device, offset, n, direction);
                    machine.evict_all();
                    Bytes expected = counting(1, 6000);
                    if (device_reads(direction)) {
                        EXPECT_EQ(device_bytes(m), counting(1 + static_cast<int>(offset), n));
                    }
                    EXPECT_EQ(machine.reaches(device.index, m.bus.value, DMAUDIT_IOMMU_READ).has_value(),
                              device_reads(direction));
                    EXPECT_EQ(machine.reaches(device.index, m.bus.value + n - 1, DMAUDIT_IOMMU_WRITE).has_value(),
                              device_writes(direction));
                    if (device_writes(direction)) {
                        machine.device_write(device.index, m.bus.value, {200});
                        expected[offset] = 200;
                        ASSERT_TRUE(streaming.sync(m, 0, n, direction, Phase::ForCpu));
                        EXPECT_EQ(cpu_bytes(0, 6000), expected);
                        ASSERT_TRUE(streaming.sync(m, 0, n, direction, Phase::ForDevice));
                        machine.device_write(device.index, m.bus.value + n - 1, {201});
                        expected[offset + n - 1] = 201;
                    }
                    ASSERT_TRUE(streaming.unmap(m, n, false));
                    EXPECT_EQ(cpu_bytes(0, 6000), expected);
                    EXPECT_EQ(machine.reaches(device.index, m.bus.value, 0), std::nullopt);
                    EXPECT_TRUE(arenas.alloc(8 * kPage, reach_of(pc))) << "no slot is left";
                    arenas.free({{TestPlatform::kBase}, 0, 3});
                }
    EXPECT_EQ(machine.mapped_while_stale, 0u);
}

TEST_F(StreamingIommuTest, OnlyWhatNoAddressMendsIsBounced)
{
    EXPECT_FALSE(in_arena(*map(card, 3, 10, kFrom))) << "out of reach, but for its address";
    const Mapping aligned_far = *map_under(card, 0, 10, 4 * kPage, 0);
    EXPECT_FALSE(in_arena(aligned_far)) << "an alignment beyond a page is the address's";
    EXPECT_EQ(aligned_far.bus.value % (4 * kPage), 0u);
    EXPECT_FALSE(in_arena(*map_under(card, 64, 10, 64, 0)));
    const Mapping off = *map_under(card, 4, 10, 4 * kPage, 0);
    EXPECT_TRUE(in_arena(off)) << "its place in the page is not on any alignment";
    EXPECT_EQ(off.bus.value % (4 * kPage), 0u);
    const Mapping within = *map_under(card, 3 * kPage - 8, 2 * kPage, 1, 4 * kPage);
    EXPECT_FALSE(in_arena(within)) << "a boundary of pages is the address's";
    EXPECT_EQ(within.bus.value / (4 * kPage), (within.bus.value + within.size - 1) / (4 * kPage));
    const Mapping cell = *map_under(card, 200, 100, 1, 256);
    EXPECT_TRUE(in_arena(cell)) << "a boundary below a page is not";
    EXPECT_EQ(cell.bus.value / 256, (cell.bus.value + 99) / 256);
    const Mapping full = *map_under(card, 64, 2 * kPage, 64, 2 * kPage);
    EXPECT_TRUE(in_arena(full)) << "as long as the boundary, and not at the start of a page";
    EXPECT_EQ(full.bus.value % (2 * kPage), 0u);
    EXPECT_FALSE(in_arena(*map(soc, 128, 64, kFrom)));
    EXPECT_TRUE(in_arena(*map(soc, 2051, 61, kFrom))) << "shares its first line";
    EXPECT_FALSE(in_arena(*map(soc, 3003, 10, kTo))) << "a shared line that the device only reads";
}

TEST_F(StreamingIommuTest, NothingIsOpenBeforeItIsReadyOrAfterItWasTaken)
{
    fill(0, 100, 1);
    machine.at_iommu_map = [&] {
        EXPECT_EQ(machine.ram(0, 7)[0], 8) << "the slot has the buffer's bytes";
        EXPECT_FALSE(machine.dirty(TestPlatform::kBase + 7, 90));
    };
    const Mapping m = *map(soc, 7, 90, kBidi);
    ASSERT_TRUE(in_arena(m));
    machine.at_iommu_map = nullptr;
    machine.device_write(soc.index, m.bus.value, {99});
    machine.at_iommu_unmap = [&] {
        EXPECT_EQ(machine.ram(16, 7)[0], 99) << "the data came home first";
        EXPECT_FALSE(arenas.alloc(8 * kPage, reach_of(pc))) << "the slot is taken until the device is kept out";
    };
    ASSERT_TRUE(streaming.unmap(m, 90, false));
    EXPECT_TRUE(arenas.alloc(8 * kPage, reach_of(pc)));
}

TEST_F(StreamingIommuTest, FailuresHaveNoEffect)
{
    fill(0, 100, 1);
    EXPECT_EQ(map_under(card, 4, 10, 1, 0, kPage - 1).error(), DmaError::DmaMaskNotMatch);
    EXPECT_EQ(map_under(card, 4, 10, std::uint64_t{1} << 50, 0).error(), DmaError::AlignMismatch);
    machine.meta_budget = 0; // the space of addresses of `soc` does not exist yet
    EXPECT_EQ(map(soc, 7, 10, kFrom).error(), DmaError::NoMemory);
    std::vector<Mapping> live;
    Result<Mapping> m = map(card, 7, 10, kTo);
    for (; m; m = map(card, 7, 10, kTo))
        live.push_back(*m);
    EXPECT_EQ(live.size(), 8u) << "the records in place, none lost";
    for (const Mapping& mapping : live)
        ASSERT_TRUE(streaming.unmap(mapping, 0, false));
    machine.meta_budget = INT64_MAX;
    machine.iommu_map_answer = DMAUDIT_ENOMEM;
    EXPECT_EQ(map(soc, 7, 10, kFrom).error(), DmaError::NoMemory);
    machine.iommu_map_answer = DMAUDIT_OK;
    EXPECT_EQ(machine.mapped_pages(card.index) + machine.mapped_pages(soc.index), 0u);
    EXPECT_EQ(cpu_bytes(0, 100), counting(1, 100));
    const Result<PageRun> all = arenas.alloc(8 * kPage, reach_of(pc));
    ASSERT_TRUE(all) << "no slot is left";
    arenas.free(*all);

    const Mapping stuck = *map(soc, 7, 10, kFrom);
    machine.iommu_unmap_answer = DMAUDIT_EIO;
    EXPECT_EQ(streaming.unmap(stuck, 10, false).error(), DmaError::PlatformError);
    EXPECT_FALSE(arenas.alloc(8 * kPage, reach_of(pc))) << "memory that the device still reaches is not used again";
}

} // namespace
} // namespace dmaudit::alloc
