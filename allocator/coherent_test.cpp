#include "allocator/coherent.hpp"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

#include "allocator/testing_platform.hpp"

namespace dmaudit::alloc {
namespace {

using dmaudit::testing::TestPlatform;

constexpr std::uint64_t kPage = 4096;

class CoherentTest : public ::testing::Test {
  protected:
    CoherentTest()
        : machine(32, 8), platform(machine.raw), states(1), arenas(platform, states.data()), iommu(platform),
          coherent(platform, arenas, iommu)
    {
        pc = *platform.device(0);
        board = *platform.device(1);
    }
    Result<CoherentGrant> alloc(const Device& device, std::uint64_t size, bool zero = true)
    {
        return coherent.alloc(device, size, reach_of(device), zero, 0);
    }

    TestPlatform machine;
    Platform platform;
    std::vector<Arenas::State> states;
    Arenas arenas;
    Iommu iommu;
    Coherent coherent;
    Device pc, board; // coherent; not coherent
};

TEST_F(CoherentTest, ADeviceThatIsNotCoherentGetsUncachedPagesThatReadZero)
{
    std::fill_n(machine.ram(0), 8 * kPage, std::uint8_t{0x5a}); // dirty lines of an earlier life
    const CoherentGrant grant = *alloc(board, kPage + 1);
    EXPECT_EQ(grant.granted, 2 * kPage);
    EXPECT_EQ(machine.uncached.size(), 2u);
    EXPECT_EQ(machine.uncached_while_dirty, 0u);
    const auto seen = machine.device_read(1, grant.block.bus.value, 2 * kPage);
    EXPECT_EQ(std::count(seen.begin(), seen.end(), 0), 2 * static_cast<long>(kPage));
    ASSERT_TRUE(coherent.free(grant.block, grant.handle));
    EXPECT_TRUE(machine.uncached.empty());
}

TEST_F(CoherentTest, ACoherentDeviceNeedsNoCacheWork)
{
    const CoherentGrant grant = *alloc(pc, 3 * kPage);
    EXPECT_EQ(machine.cleans + machine.invalidates, 0u);
    EXPECT_TRUE(machine.uncached.empty());
    EXPECT_EQ(std::count(grant.block.cpu, grant.block.cpu + grant.granted, std::byte{0}), 4 * static_cast<long>(kPage));
}

TEST_F(CoherentTest, WithoutZeroingOnlyTheTailIsCleared)
{
    const CoherentGrant grant = *alloc(pc, 100, false);
    EXPECT_EQ(grant.block.cpu[99], std::byte{0xa5});
    EXPECT_TRUE(
        std::all_of(grant.block.cpu + 100, grant.block.cpu + kPage, [](std::byte b) { return b == std::byte{0}; }));
}

TEST_F(CoherentTest, UncachingDoesNotBringBackWhatWasOverwritten)
{
    std::fill_n(machine.ram(0), 8 * kPage, std::uint8_t{0x5a}); // scrubbed by its last owner, still in the cache
    const CoherentGrant grant = *alloc(board, 100, false);
    EXPECT_EQ(grant.block.cpu[0], std::byte{0x5a}) << "not the 0xa5 that memory holds under the dirty line";
}

TEST_F(CoherentTest, AFreeHasToNameALiveBlockInFull)
{
    const CoherentGrant a = *alloc(pc, 100);
    const CoherentGrant b = *alloc(pc, 100);
    const auto refused = [&](CoherentBlock block, Handle handle) {
        const Status status = coherent.free(block, handle);
        return !status && status.error() == DmaError::IllegalCall;
    };
    CoherentBlock lie = a.block;
    lie.size++;
    EXPECT_TRUE(refused(lie, a.handle));
    lie = a.block;
    lie.cpu++;
    EXPECT_TRUE(refused(lie, a.handle));
    lie = a.block;
    lie.bus.value += kPage;
    EXPECT_TRUE(refused(lie, a.handle));
    lie = a.block;
    lie.device = 1;
    EXPECT_TRUE(refused(lie, a.handle));
    lie = a.block;
    lie.attrs = DMAUDIT_ATTR_NO_KERNEL_MAPPING;
    EXPECT_TRUE(refused(lie, a.handle));
    EXPECT_TRUE(refused(a.block, b.handle));
    EXPECT_TRUE(refused(a.block, Handle{1000, 1}));
    ASSERT_TRUE(coherent.free(a.block, a.handle));
    EXPECT_TRUE(refused(a.block, a.handle)) << "double free";
    const CoherentGrant c = *alloc(pc, 100);
    ASSERT_EQ(c.block, a.block) << "the same place, size and device";
    EXPECT_TRUE(refused(a.block, a.handle)) << "an old handle";
    EXPECT_TRUE(coherent.free(c.block, c.handle));
    EXPECT_TRUE(coherent.free(b.block, b.handle));
    EXPECT_TRUE(alloc(pc, 8 * kPage)) << "everything came back";
}

TEST_F(CoherentTest, AFailedAllocationKeepsNothing)
{
    machine.uncached_on_answer = DMAUDIT_ENOMEM;
    EXPECT_EQ(alloc(board, kPage).error(), DmaError::NoMemory);
    machine.uncached_on_answer = DMAUDIT_OK;
    std::vector<CoherentGrant> grants;
    for (int i = 0; i < 8; i++)
        grants.push_back(*alloc(pc, 1));
    EXPECT_EQ(alloc(pc, 1).error(), DmaError::NoMemory);
    for (const CoherentGrant& grant : grants)
        ASSERT_TRUE(coherent.free(grant.block, grant.handle));
    EXPECT_TRUE(alloc(pc, 8 * kPage));
}

TEST(CoherentMetadata, WithoutRecordsThereIsNoBlock)
{
    TestPlatform machine(32, 16);
    const Platform platform(machine.raw);
    std::vector<Arenas::State> states(1);
    Arenas arenas(platform, states.data());
    Iommu iommu(platform);
    Coherent coherent(platform, arenas, iommu);
    const Device pc = *platform.device(0);
    machine.meta_budget = 0;
    int got = 0;
    while (coherent.alloc(pc, 1, reach_of(pc), true, 0))
        got++;
    EXPECT_EQ(got, 8) << "the records in place";
    EXPECT_TRUE(arenas.alloc(8 * kPage, reach_of(pc))) << "the page of the failed one came back";
}

TEST_F(CoherentTest, AFreeThatCannotRestoreThePagesKeepsTheBlock)
{
    const CoherentGrant grant = *alloc(board, 8 * kPage);
    machine.uncached_off_answer = DMAUDIT_ENOMEM;
    EXPECT_EQ(coherent.free(grant.block, grant.handle).error(), DmaError::NoMemory);
    EXPECT_FALSE(alloc(pc, 1)) << "uncached pages are not handed out again";
    machine.uncached_off_answer = DMAUDIT_OK;
    EXPECT_TRUE(coherent.free(grant.block, grant.handle));
    EXPECT_TRUE(alloc(pc, 1));
}

TEST(CoherentEnd, PagesOfLiveBlocksAreCachedAgain)
{
    TestPlatform machine(32, 8);
    const Platform platform(machine.raw);
    std::vector<Arenas::State> states(1);
    Arenas arenas(platform, states.data());
    {
        Iommu iommu(platform);
        Coherent coherent(platform, arenas, iommu);
        const Device board = *platform.device(1);
        ASSERT_TRUE(coherent.alloc(board, 1, reach_of(board), true, 0));
        EXPECT_FALSE(machine.uncached.empty());
    }
    EXPECT_TRUE(machine.uncached.empty());
}

// ---- behind an IOMMU

class CoherentIommuTest : public CoherentTest {
  protected:
    CoherentIommuTest()
    {
        card = *Platform(machine.raw).device(machine.add_iommu_device(true, 64 * kPage - 1));
        soc = *Platform(machine.raw).device(machine.add_iommu_device(false, 64 * kPage - 1));
    }
    bool arenas_are_whole()
    {
        const Result<PageRun> all = arenas.alloc(8 * kPage, reach_of(pc));
        if (all)
            arenas.free(*all);
        return static_cast<bool>(all);
    }
    Device card{}, soc{}; // coherent; not coherent; no physical address of RAM is within their limit
};

TEST_F(CoherentIommuTest, TheAddressMeetsWhatTheMemoryDoesNot)
{
    for (const Device& device : {card, soc}) {
        const CoherentGrant grant = *alloc(device, 2 * kPage + 1);
        EXPECT_EQ(grant.block.bus.value % (4 * kPage), 0u) << "natural alignment";
        EXPECT_LE(grant.block.bus.value + 3 * kPage - 1, device.limit);
        EXPECT_EQ(machine.mapped_pages(device.index), 3u) << "no more than its bytes need";
        EXPECT_EQ(machine.device_read(device.index, grant.block.bus.value + 2 * kPage), 0);
        machine.device_write(device.index, grant.block.bus.value + 9, {77});
        EXPECT_EQ(grant.block.cpu[9], std::byte{77});
        ASSERT_TRUE(coherent.free(grant.block, grant.handle));
        EXPECT_EQ(machine.mapped_pages(device.index), 0u);
        EXPECT_TRUE(arenas_are_whole());
        EXPECT_TRUE(machine.uncached.empty());
    }
    const CoherentGrant on = *coherent.alloc(card, 1, {0, 64 * kPage - 1, 32 * kPage, 0}, true, 0);
    EXPECT_EQ(on.block.bus.value, 32 * kPage);
    EXPECT_EQ(coherent.alloc(card, 1, {0, kPage - 1, 1, 0}, true, 0).error(), DmaError::DmaMaskNotMatch);
}

TEST_F(CoherentIommuTest, NoEarlierOwnersBytesAreOpenAtAnyTime)
{
    std::fill_n(machine.ram(0), 8 * kPage, std::uint8_t{0x5a});
    int seen = 0;
    machine.at_iommu_map = [&] {
        seen++;
        EXPECT_EQ(std::count(machine.ram(0), machine.ram(1), 0), static_cast<long>(kPage));
        EXPECT_FALSE(machine.dirty(TestPlatform::kBase, kPage));
    };
    EXPECT_TRUE(alloc(soc, 100));
    EXPECT_EQ(seen, 1);
}

TEST_F(CoherentIommuTest, AFailedAllocationKeepsNothing)
{
    machine.meta_budget = 0;
    EXPECT_EQ(alloc(soc, 1).error(), DmaError::NoMemory);
    machine.meta_budget = INT64_MAX;
    machine.iommu_map_answer = DMAUDIT_ENOMEM;
    machine.uncached_off_answer = DMAUDIT_ENOMEM; // so a way back that has to make pages cached would be stuck
    EXPECT_EQ(alloc(soc, 1).error(), DmaError::NoMemory);
    machine.iommu_map_answer = DMAUDIT_OK;
    machine.uncached_on_answer = DMAUDIT_EBUSY;
    EXPECT_EQ(alloc(soc, 1).error(), DmaError::Busy);
    EXPECT_EQ(machine.mapped_pages(soc.index), 0u);
    EXPECT_TRUE(machine.uncached.empty());
    EXPECT_TRUE(arenas_are_whole());
    machine.uncached_on_answer = machine.uncached_off_answer = DMAUDIT_OK;
    const CoherentGrant grant = *alloc(soc, 1);
    machine.iommu_unmap_answer = DMAUDIT_EIO;
    EXPECT_EQ(coherent.free(grant.block, grant.handle).error(), DmaError::PlatformError);
    EXPECT_FALSE(arenas_are_whole()) << "memory that the device still reaches is not used again";
}

// ---- opaque blocks

TEST_F(CoherentTest, AnOpaqueBlockHasNoCpuAddressAndShowsNobodysBytes)
{
    for (const Device& device : {pc, board}) {
        std::fill_n(machine.ram(0), 8 * kPage, std::uint8_t{0x5a});
        const CoherentGrant grant =
            *coherent.alloc(device, 100, reach_of(device), false, DMAUDIT_ATTR_NO_KERNEL_MAPPING);
        EXPECT_EQ(grant.block.cpu, nullptr);
        EXPECT_EQ(grant.granted, kPage);
        EXPECT_EQ(std::count(machine.ram(0), machine.ram(1), 0), static_cast<long>(kPage)) << "seen through a window";
        const auto seen = machine.device_read(device.index, grant.block.bus.value, kPage);
        EXPECT_EQ(std::count(seen.begin(), seen.end(), 0), static_cast<long>(kPage));
        EXPECT_EQ(machine.uncached.size(), device.coherent ? 0u : 1u);
        CoherentBlock lie = grant.block;
        lie.attrs = 0;
        EXPECT_EQ(coherent.free(lie, grant.handle).error(), DmaError::IllegalCall);
        lie = grant.block;
        lie.cpu = reinterpret_cast<std::byte*>(machine.ram(0));
        EXPECT_EQ(coherent.free(lie, grant.handle).error(), DmaError::IllegalCall);
        EXPECT_TRUE(coherent.free(grant.block, grant.handle));
        EXPECT_EQ(coherent.free(grant.block, grant.handle).error(), DmaError::IllegalCall);
        EXPECT_TRUE(machine.uncached.empty());
    }
}

TEST_F(CoherentTest, AWindowShowsThePagesOfTheBlocksBytes)
{
    ASSERT_TRUE(alloc(pc, 1));
    for (const std::uint32_t attrs : {0u, DMAUDIT_ATTR_NO_KERNEL_MAPPING}) {
        const CoherentGrant grant = *coherent.alloc(pc, 2 * kPage + 1, reach_of(pc), true, attrs);
        ASSERT_EQ(grant.granted, 4 * kPage);
        const Window all = *coherent.mmap(grant.block, grant.handle, 0, 3);
        EXPECT_EQ(all.phys.value, grant.block.bus.value);
        EXPECT_EQ(all.size, 3 * kPage);
        const Window last = *coherent.mmap(grant.block, grant.handle, 2, 1);
        EXPECT_EQ(last.phys.value, grant.block.bus.value + 2 * kPage);
        EXPECT_EQ(last.size, kPage);
        for (const auto& [pgoff, pages] :
             {std::pair<std::uint64_t, std::uint64_t>{0, 4}, {3, 1}, {0, 0}, {1, 3}, {1, UINT64_MAX}, {UINT64_MAX, 2}})
            EXPECT_EQ(coherent.mmap(grant.block, grant.handle, pgoff, pages).error(), DmaError::OutOfWindow);
        CoherentBlock lie = grant.block;
        lie.size += kPage;
        EXPECT_EQ(coherent.mmap(lie, grant.handle, 0, 1).error(), DmaError::IllegalCall);
        ASSERT_TRUE(coherent.free(grant.block, grant.handle));
        EXPECT_EQ(coherent.mmap(grant.block, grant.handle, 0, 1).error(), DmaError::IllegalCall);
    }
}

} // namespace
} // namespace dmaudit::alloc
