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

} // namespace
} // namespace dmaudit::alloc
