#include "allocator/pool.hpp"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>
#include <sys/mman.h>

#include "allocator/testing_platform.hpp"

namespace dmaudit::alloc {
namespace {

using dmaudit::testing::TestPlatform;

constexpr std::uint64_t kPage = 4096;

// Arena: pages 0 to 7. Pools go behind it.
class PoolTest : public ::testing::Test {
  protected:
    static constexpr std::uint64_t kPoolPage = 16;

    PoolTest()
        : machine(64, 8), platform(machine.raw), states(1), arenas(platform, states.data()), pools(platform, arenas)
    {
        pc = *platform.device(0);
        board = *platform.device(1);
    }
    Status declare(const Device& device, std::uint64_t pages, bool exclusive = true, std::uint64_t at = kPoolPage)
    {
        const PhysAddr phys{TestPlatform::kBase + at * kPage};
        return pools.declare(device, phys, device.bus_of(phys), pages * kPage, exclusive);
    }
    Routed<PoolBlock> alloc(const Device& device, std::uint64_t size)
    {
        return pools.alloc(device, size, reach_of(device));
    }
    std::byte* pool_at(std::uint64_t page) { return reinterpret_cast<std::byte*>(machine.ram(kPoolPage + page)); }

    TestPlatform machine;
    Platform platform;
    std::vector<Arenas::State> states;
    Arenas arenas;
    Pools pools;
    Device pc, board; // coherent; not coherent
};

TEST_F(PoolTest, WithoutAPoolNothingIsOurs)
{
    EXPECT_FALSE(alloc(pc, 100).ours);
    EXPECT_FALSE(alloc(pc, 0).ours);
    EXPECT_FALSE(pools.release_block(pc, 0, pool_at(0)).ours);
    EXPECT_FALSE(pools.mmap(pc, pool_at(0), 100, 0, 1).ours);
    EXPECT_TRUE(pools.release(pc)) << "releasing no pool is no mistake";
}

TEST_F(PoolTest, DeclareRefusesWhatItCannotServe)
{
    const PhysAddr phys{TestPlatform::kBase + kPoolPage * kPage};
    const DmaAddr bus = pc.bus_of(phys);
    EXPECT_EQ(pools.declare(pc, phys, bus, 0, true).error(), DmaError::BadArgument);
    EXPECT_EQ(pools.declare(pc, phys, bus, kPage + 1, true).error(), DmaError::BadArgument) << "part of a page";
    EXPECT_EQ(pools.declare(pc, phys.at(8), {bus.value + 8}, kPage, true).error(), DmaError::BadArgument);
    EXPECT_EQ(pools.declare(pc, phys, {bus.value + kPage}, kPage, true).error(), DmaError::BadArgument)
        << "not where the device sees it";
    EXPECT_EQ(pools.declare(pc, {0x1000}, {0x1000}, kPage, true).error(), DmaError::BadArgument) << "not RAM";
    EXPECT_EQ(declare(pc, 49).error(), DmaError::BadArgument) << "over the end of RAM";
    EXPECT_EQ(declare(pc, 2, true, 7).error(), DmaError::BadArgument) << "the arena";
    EXPECT_FALSE(pools.has_pool(pc));
    EXPECT_EQ(machine.meta_live, 0);
    ASSERT_TRUE(declare(pc, 8));
    EXPECT_EQ(declare(pc, 8, true, 40).error(), DmaError::Busy) << "one pool for a device";
    EXPECT_EQ(declare(board, 8, true, kPoolPage + 7).error(), DmaError::Busy) << "pages of another pool";
    machine.meta_budget = 0;
    EXPECT_EQ(declare(board, 8, true, 40).error(), DmaError::NoMemory);
}

TEST_F(PoolTest, PlacesAsLinuxDoes)
{
    ASSERT_TRUE(declare(pc, 11, true, 17)); // begins on an odd page: alignment is relative to the pool
    const std::byte* base = pool_at(1);
    EXPECT_EQ(alloc(pc, 1).result->cpu, base);
    EXPECT_EQ(alloc(pc, 3 * kPage).result->cpu, base + 4 * kPage) << "rounded to four pages";
    EXPECT_EQ(alloc(pc, 2 * kPage).result->cpu, base + 2 * kPage);
    EXPECT_EQ(alloc(pc, kPage).result->cpu, base + kPage);
    const Routed<PoolBlock> last = alloc(pc, 2 * kPage);
    EXPECT_EQ(last.result->cpu, base + 8 * kPage);
    EXPECT_EQ(last.result->bus.value, TestPlatform::kBase + 25 * kPage);
    EXPECT_EQ(last.result->granted, 2 * kPage);
    const Routed<PoolBlock> full = alloc(pc, 2 * kPage);
    EXPECT_TRUE(full.ours);
    EXPECT_EQ(full.result.error(), DmaError::NoMemory);
    EXPECT_EQ(alloc(pc, 0).result.error(), DmaError::BadArgument);
    EXPECT_EQ(alloc(pc, UINT64_MAX).result.error(), DmaError::NoMemory);
    EXPECT_TRUE(alloc(pc, kPage).result) << "the odd last page";
}

TEST_F(PoolTest, AFullPoolThatIsNotExclusiveLetsTheCallerGoOn)
{
    ASSERT_TRUE(declare(pc, 1, false));
    EXPECT_TRUE(alloc(pc, 1).ours);
    EXPECT_FALSE(alloc(pc, 1).ours);
}

TEST_F(PoolTest, BlocksReadZeroToTheEndOfTheirLastPage)
{
    ASSERT_TRUE(declare(pc, 4));
    const PoolBlock first = *alloc(pc, 3 * kPage).result;
    std::fill(first.cpu, first.cpu + first.granted, std::byte{0x77});
    ASSERT_TRUE(pools.release_block(pc, 2, first.cpu).result);
    const PoolBlock second = *alloc(pc, 2 * kPage + 5).result;
    ASSERT_EQ(second.cpu, first.cpu);
    EXPECT_EQ(std::count(second.cpu, second.cpu + second.granted, std::byte{0}), 4 * static_cast<long>(kPage));
}

TEST_F(PoolTest, RefusesIllegalReleasesAndChangesNothing)
{
    ASSERT_TRUE(declare(pc, 8));
    const PoolBlock a = *alloc(pc, 1).result;
    const PoolBlock b = *alloc(pc, 2 * kPage).result;
    const auto refused = [&](unsigned order, const void* cpu) {
        const Routed<bool> done = pools.release_block(pc, order, cpu);
        return done.ours && !done.result && done.result.error() == DmaError::IllegalCall;
    };
    EXPECT_TRUE(refused(1, a.cpu)) << "would free a page of nobody's";
    EXPECT_TRUE(refused(0, b.cpu));
    EXPECT_TRUE(refused(0, b.cpu + kPage)) << "interior page";
    EXPECT_TRUE(refused(0, a.cpu + 1)) << "interior byte";
    EXPECT_TRUE(refused(52, a.cpu));
    EXPECT_TRUE(refused(UINT32_MAX, a.cpu));
    EXPECT_FALSE(pools.release_block(pc, 0, pool_at(8)).ours) << "just behind the pool";
    EXPECT_TRUE(pools.release_block(pc, 0, a.cpu).result);
    EXPECT_TRUE(refused(0, a.cpu)) << "double release";
    EXPECT_EQ(alloc(pc, 4 * kPage).result->cpu, pool_at(4)) << "b is alive";
    EXPECT_TRUE(pools.release_block(pc, 1, b.cpu).result);
}

TEST_F(PoolTest, AFreeHasToNameTheBlockInFull)
{
    ASSERT_TRUE(declare(pc, 8));
    const PoolBlock a = *alloc(pc, 5000).result;
    EXPECT_FALSE(pools.free(pc, a.cpu, a.bus, 5001, a.serial).result) << "size, though of the same order";
    EXPECT_FALSE(pools.free(pc, a.cpu, {a.bus.value + kPage}, 5000, a.serial).result);
    EXPECT_FALSE(pools.free(pc, a.cpu, a.bus, 5000, a.serial + 1).result);
    EXPECT_FALSE(pools.free(pc, a.cpu + 1, {a.bus.value + 1}, 5000, a.serial).result);
    EXPECT_FALSE(pools.free(board, a.cpu, a.bus, 5000, a.serial).ours) << "another device";
    EXPECT_TRUE(pools.free(pc, a.cpu, a.bus, 5000, a.serial).result);
    const PoolBlock again = *alloc(pc, 5000).result;
    ASSERT_EQ(again.cpu, a.cpu);
    EXPECT_FALSE(pools.free(pc, a.cpu, a.bus, 5000, a.serial).result) << "the old block at the same place";
    EXPECT_TRUE(pools.free(pc, again.cpu, again.bus, 5000, again.serial).result);
}

TEST_F(PoolTest, WindowsEndWithTheBlock)
{
    ASSERT_TRUE(declare(pc, 16));
    const PoolBlock a = *alloc(pc, 2 * kPage + 1).result; // 3 pages of 4
    ASSERT_TRUE(alloc(pc, kPage).result);
    const auto window = [&](const std::byte* cpu, std::uint64_t size, std::uint64_t pgoff, std::uint64_t pages) {
        const Routed<Window> routed = pools.mmap(pc, cpu, size, pgoff, pages);
        return !routed.ours ? -1 : routed.result.code();
    };
    const std::uint64_t size = 2 * kPage + 1;
    EXPECT_EQ(window(a.cpu, size, 0, 3), DMAUDIT_OK);
    EXPECT_EQ(window(a.cpu, size, 2, 1), DMAUDIT_OK) << "the last page";
    EXPECT_EQ(window(a.cpu, size, 3, 1), DMAUDIT_ENXIO);
    EXPECT_EQ(window(a.cpu, size, 2, 2), DMAUDIT_ENXIO);
    EXPECT_EQ(window(a.cpu, size, 0, 0), DMAUDIT_ENXIO);
    EXPECT_EQ(window(a.cpu, size, UINT64_MAX, 2), DMAUDIT_ENXIO) << "wraps";
    EXPECT_EQ(window(a.cpu, size, 1, UINT64_MAX), DMAUDIT_ENXIO);
    EXPECT_EQ(window(a.cpu, 0, 0, 1), DMAUDIT_ENXIO);
    EXPECT_EQ(window(a.cpu, 5 * kPage, 4, 1), DMAUDIT_ENXIO) << "the neighbour's page, by a lie about the size";
    EXPECT_EQ(window(a.cpu, 4 * kPage, 3, 1), DMAUDIT_ENXIO) << "rounding, not the block";
    EXPECT_EQ(window(a.cpu, 17 * kPage, 0, 1), -1) << "beyond the pool: not ours";
    EXPECT_EQ(window(a.cpu, UINT64_MAX, 0, 1), -1);
    EXPECT_EQ(window(pool_at(8), 10, 0, 1), DMAUDIT_EFAULT) << "no block there";
    EXPECT_EQ(window(a.cpu + 2 * kPage, 1, 0, 1), DMAUDIT_OK) << "part of a block";
    const Routed<Window> second = pools.mmap(pc, a.cpu, size, 1, 2);
    EXPECT_EQ(second.result->phys.value, TestPlatform::kBase + (kPoolPage + 1) * kPage);
    EXPECT_EQ(second.result->size, 2 * kPage);
}

TEST_F(PoolTest, ConstraintsAreHonouredOrRefused)
{
    ASSERT_TRUE(declare(pc, 8));
    const PoolBlock far = *pools.alloc(pc, 100, {0, UINT64_MAX, 4 * kPage, 0}).result;
    EXPECT_EQ(far.cpu, pool_at(0));
    const PoolBlock next = *pools.alloc(pc, 100, {0, UINT64_MAX, 4 * kPage, 0}).result;
    EXPECT_EQ(next.cpu, pool_at(4));
    EXPECT_EQ(pools.alloc(pc, 100, {0, UINT64_MAX, 4 * kPage, 0}).result.error(), DmaError::AlignMismatch);
    EXPECT_EQ(pools.alloc(pc, 100, {0, 0xffff, 1, 0}).result.error(), DmaError::DmaMaskNotMatch);
    EXPECT_EQ(alloc(pc, 8 * kPage).result.error(), DmaError::NoMemory);
}

TEST_F(PoolTest, PagesOfADeviceThatIsNotCoherentAreUncachedWhileThePoolLives)
{
    std::fill_n(machine.ram(kPoolPage), 3 * kPage, std::uint8_t{0x11}); // dirty
    ASSERT_TRUE(declare(board, 3));
    EXPECT_EQ(machine.uncached.size(), 3u);
    EXPECT_EQ(machine.uncached_while_dirty, 0u);
    EXPECT_EQ(alloc(board, 1).result->cpu, pool_at(0));
    EXPECT_EQ(machine.device_read(1, TestPlatform::kBase + kPoolPage * kPage), 0u) << "the device sees the zeros";
    ASSERT_TRUE(pools.release(board));
    EXPECT_TRUE(machine.uncached.empty());
    machine.uncached_on_answer = DMAUDIT_EBUSY;
    EXPECT_EQ(declare(board, 3).error(), DmaError::Busy);
    EXPECT_FALSE(pools.has_pool(board));
    machine.uncached_on_answer = DMAUDIT_OK;
    ASSERT_TRUE(declare(board, 3));
    machine.uncached_off_answer = DMAUDIT_ENOMEM;
    EXPECT_EQ(pools.release(board).error(), DmaError::NoMemory);
    EXPECT_TRUE(pools.has_pool(board)) << "a failed release changes nothing";
    machine.uncached_off_answer = DMAUDIT_OK;
    EXPECT_TRUE(pools.release(board));
}

TEST_F(PoolTest, BlocksOfAReleasedPoolAreNotMistakenForNewOnes)
{
    ASSERT_TRUE(declare(pc, 4));
    const PoolBlock old = *alloc(pc, 100).result;
    ASSERT_TRUE(pools.release(pc));
    EXPECT_FALSE(pools.release_block(pc, 0, old.cpu).ours);
    ASSERT_TRUE(declare(pc, 4));
    EXPECT_EQ(pools.release_block(pc, 0, old.cpu).result.error(), DmaError::IllegalCall);
    const PoolBlock next = *alloc(pc, 100).result;
    ASSERT_EQ(next.cpu, old.cpu);
    EXPECT_FALSE(pools.free(pc, old.cpu, old.bus, 100, old.serial).result);
    EXPECT_TRUE(pools.free(pc, next.cpu, next.bus, 100, next.serial).result);
    ASSERT_TRUE(pools.release(pc));
    EXPECT_EQ(machine.meta_live, 0);
}

TEST_F(PoolTest, PoolsBeyondTheDevicesReachServeNobody)
{
    machine.add_device(true, TestPlatform::kBase + (kPoolPage + 1) * kPage - 1);
    const Device near = *Platform(machine.raw).device(2);
    ASSERT_TRUE(declare(near, 4));
    EXPECT_TRUE(alloc(near, kPage).result);
    EXPECT_EQ(alloc(near, kPage).result.error(), DmaError::DmaMaskNotMatch);
}

TEST(BigPool, PagesBeyondTwoGigabytesAreServed)
{
    // Address space without memory behind it: bookkeeping only, zeroing off.
    TestPlatform machine(4, 2);
    const std::uint64_t size = std::uint64_t{5} << 30;
    void* space = mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ASSERT_NE(space, MAP_FAILED);
    auto* somewhere = static_cast<std::byte*>(space);
    dmaudit_bank banks[] = {machine.banks[0], {0x1'0000'0000, size, somewhere}};
    machine.raw.banks = banks;
    machine.raw.n_banks = 2;
    const Platform platform(machine.raw);
    std::vector<Arenas::State> states(1);
    Arenas arenas(platform, states.data());
    Pools pools(platform, arenas);
    const Device device = *platform.device(0);
    ASSERT_TRUE(pools.declare(device, {0x1'0000'0000}, {0x1'0000'0000}, size, true));
    const Constraints any = reach_of(device);
    ASSERT_EQ(pools.alloc(device, std::uint64_t{4} << 30, any, Pools::Zeroing::No).result->bus.value, 0x1'0000'0000u);
    const PoolBlock b = *pools.alloc(device, 1, any, Pools::Zeroing::No).result;
    EXPECT_EQ(b.bus.value, 0x2'0000'0000u);
    EXPECT_EQ(b.cpu, somewhere + (std::uint64_t{4} << 30));
    EXPECT_TRUE(pools.release_block(device, 0, b.cpu).result);
    munmap(space, size);
}

} // namespace
} // namespace dmaudit::alloc
