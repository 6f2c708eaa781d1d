#include "allocator/iommu.hpp"

#include <optional>
#include <vector>

#include <gtest/gtest.h>

#include "allocator/testing_platform.hpp"

namespace dmaudit::alloc {
namespace {

using dmaudit::testing::TestPlatform;

constexpr std::uint64_t kPage = 4096;
constexpr std::uint32_t kRead = DMAUDIT_IOMMU_READ;
constexpr std::uint32_t kWrite = DMAUDIT_IOMMU_WRITE;

class IommuTest : public ::testing::Test {
  protected:
    explicit IommuTest(std::uint64_t pages = 32)
        : machine(pages, 8), platform(machine.raw), iommu(std::in_place, platform)
    {
        machine.add_iommu_device(true);
        machine.add_iommu_device(true);
        card = *platform.device(2);
        other = *platform.device(3);
    }
    static PhysAddr at(std::uint64_t page, std::uint64_t offset = 0)
    {
        return {TestPlatform::kBase + page * kPage + offset};
    }
    Result<DmaAddr> map(const Device& device, PhysAddr phys, std::uint64_t size, std::uint64_t align = 1,
                        std::uint64_t limit = UINT64_MAX, std::uint64_t boundary = 0)
    {
        return iommu->map(device, phys, size, kRead | kWrite,
                          {0, limit < device.limit ? limit : device.limit, align, boundary});
    }
    bool leads_to(const Device& device, DmaAddr bus, PhysAddr phys, std::uint64_t size)
    {
        for (std::uint64_t i = 0; i < size; i++)
            if (machine.reaches(device.index, bus.value + i, kRead) != std::optional(phys.value + i))
                return false;
        return true;
    }

    TestPlatform machine;
    Platform platform;
    std::optional<Iommu> iommu;
    Device card{}, other{};
};

TEST_F(IommuTest, WholePagesAreMappedAndTheOffsetStays)
{
    const DmaAddr bus = *map(card, at(9, 100), kPage);
    EXPECT_EQ(bus.value % kPage, 100u);
    EXPECT_NE(bus.value / kPage, 0u) << "a null device address is never given out";
    EXPECT_TRUE(leads_to(card, bus, at(9, 100), kPage));
    EXPECT_EQ(machine.mapped_pages(card.index), 2u);
    const DmaAddr last = *map(card, at(31, kPage - 1), 1);
    EXPECT_EQ(machine.mapped_pages(card.index), 3u);
    ASSERT_TRUE(iommu->unmap(card.index, bus, kPage));
    EXPECT_FALSE(machine.reaches(card.index, bus.value, kRead));
    EXPECT_TRUE(leads_to(card, last, at(31, kPage - 1), 1));
}

TEST_F(IommuTest, RightsAreThoseAskedFor)
{
    const DmaAddr bus = *iommu->map(card, at(9), 1, kWrite, reach_of(card));
    EXPECT_FALSE(machine.reaches(card.index, bus.value, kRead));
    EXPECT_TRUE(machine.reaches(card.index, bus.value, kWrite));
}

TEST_F(IommuTest, EachDeviceHasASpaceOfItsOwn)
{
    const DmaAddr a = *map(card, at(9), 1);
    const DmaAddr b = *map(other, at(10), 1);
    EXPECT_EQ(a, b);
    ASSERT_TRUE(iommu->unmap(card.index, a, 1));
    EXPECT_TRUE(leads_to(other, b, at(10), 1));
    EXPECT_EQ(iommu->unmap(card.index, a, 1).error(), DmaError::IllegalCall);
}

TEST_F(IommuTest, ConstraintsAreMetByTheAddress)
{
    EXPECT_EQ(map(card, at(9), 1)->value, kPage);
    EXPECT_EQ(map(card, at(9), 1, 8 * kPage)->value, 8 * kPage);
    // The bytes, not their pages, are what limit and boundary are about.
    EXPECT_EQ(map(card, at(9, 10), 2 * kPage - 20, 1, 0x3fff - 10)->value, 2 * kPage + 10);
    EXPECT_EQ(map(card, at(9, 10), 2 * kPage - 20, 1, UINT64_MAX, 2 * kPage)->value, 4 * kPage + 10);
    EXPECT_EQ(map(card, at(9), 1, 1, 6 * kPage)->value, 6 * kPage) << "the last address of the limit";
    EXPECT_EQ(map(card, at(9), 1, 1, 6 * kPage).error(), DmaError::DmaMaskNotMatch);
    EXPECT_EQ(map(card, at(9), 1, std::uint64_t{1} << 40).error(), DmaError::AlignMismatch);
    EXPECT_EQ(map(card, at(9), 1, std::uint64_t{1} << 63).error(), DmaError::AlignMismatch);
    EXPECT_EQ(map(card, at(9, 1), 2 * kPage, 1, UINT64_MAX, 2 * kPage).error(), DmaError::NoMemory) << "boundary";
}

TEST_F(IommuTest, APageThatTheDeviceReachesInPartIsNotUsed)
{
    const Device narrow = *platform.device(machine.add_iommu_device(true, 3 * kPage + 7));
    EXPECT_EQ(map(narrow, at(9), 8)->value, kPage);
    EXPECT_EQ(map(narrow, at(9), 8)->value, 2 * kPage);
    EXPECT_EQ(map(narrow, at(9), 8).error(), DmaError::DmaMaskNotMatch);
    const Device nearly_none = *platform.device(machine.add_iommu_device(true, 100));
    EXPECT_EQ(map(nearly_none, at(9), 1).error(), DmaError::DmaMaskNotMatch);
    const Device one_page = *platform.device(machine.add_iommu_device(true, kPage - 1));
    EXPECT_EQ(map(one_page, at(9), 1).error(), DmaError::DmaMaskNotMatch);
}

// Sizes that are no powers of two are neither rounded up nor kept from the last holes.
TEST_F(IommuTest, AllOfRamFitsTwice)
{
    std::vector<std::pair<DmaAddr, std::uint64_t>> live;
    for (const std::uint64_t pages : {13u, 19u, 31u, 1u})
        live.emplace_back(*map(card, at(0), pages * kPage), pages * kPage);
    EXPECT_EQ(machine.mapped_pages(card.index), 64u);
    EXPECT_EQ(map(card, at(0), 1).error(), DmaError::NoMemory);
    for (const auto& [bus, size] : live)
        ASSERT_TRUE(iommu->unmap(card.index, bus, size));
    EXPECT_EQ(machine.mapped_pages(card.index), 0u);
    EXPECT_TRUE(map(card, at(0), 32 * kPage)) << "everything came back";
    EXPECT_TRUE(map(card, at(0), 32 * kPage));
}

TEST_F(IommuTest, NoAddressComesBackBeforeTheFlush)
{
    for (int i = 0; i < 100; i++) {
        const DmaAddr bus = *map(card, at(9), 3 * kPage);
        ASSERT_TRUE(iommu->unmap(card.index, bus, 3 * kPage));
        EXPECT_FALSE(machine.reaches(card.index, bus.value, kRead)) << "not even through the TLB";
    }
    EXPECT_EQ(machine.mapped_while_stale, 0u);
    // While one is being unmapped and flushed nobody gets its address.
    const DmaAddr old = *map(card, at(9), 1);
    std::optional<DmaAddr> meanwhile;
    machine.at_iommu_unmap = [&] {
        machine.at_iommu_unmap = nullptr;
        meanwhile = *map(card, at(10), 1);
    };
    ASSERT_TRUE(iommu->unmap(card.index, old, 1));
    EXPECT_NE(*meanwhile, old);
    ASSERT_TRUE(iommu->unmap(card.index, *meanwhile, 1));
    const DmaAddr again = *map(card, at(9), 1);
    ASSERT_EQ(again, old);
    machine.at_iommu_flush = [&] {
        machine.at_iommu_flush = nullptr;
        meanwhile = *map(card, at(10), 1);
    };
    ASSERT_TRUE(iommu->unmap(card.index, again, 1));
    EXPECT_NE(*meanwhile, old);
    EXPECT_EQ(*map(card, at(11), 1), old) << "afterwards it is as good as new";
    EXPECT_EQ(machine.mapped_while_stale, 0u);
}

TEST_F(IommuTest, OnlyWhatIsMappedCanBeUnmapped)
{
    EXPECT_EQ(iommu->unmap(card.index, {kPage}, 1).error(), DmaError::IllegalCall) << "nothing was mapped ever";
    const DmaAddr bus = *map(card, at(9), 4 * kPage);
    EXPECT_EQ(iommu->unmap(card.index, {bus.value + kPage}, kPage).error(), DmaError::IllegalCall);
    EXPECT_EQ(iommu->unmap(card.index, bus, 3 * kPage).error(), DmaError::IllegalCall);
    EXPECT_EQ(iommu->unmap(card.index, bus, 5 * kPage).error(), DmaError::IllegalCall);
    EXPECT_EQ(iommu->unmap(card.index, {0}, kPage).error(), DmaError::IllegalCall);
    EXPECT_EQ(iommu->unmap(card.index, {UINT64_MAX - 5}, 1).error(), DmaError::IllegalCall);
    EXPECT_TRUE(leads_to(card, bus, at(9), 4 * kPage)) << "and none of that changed anything";
    EXPECT_TRUE(iommu->unmap(card.index, bus, 4 * kPage));
    EXPECT_EQ(iommu->unmap(card.index, bus, 4 * kPage).error(), DmaError::IllegalCall);
}

TEST_F(IommuTest, FailuresChangeNothing)
{
    machine.meta_budget = 0;
    EXPECT_EQ(map(card, at(9), 1).error(), DmaError::NoMemory);
    machine.meta_budget = INT64_MAX;
    machine.iommu_map_answer = DMAUDIT_ENOMEM;
    EXPECT_EQ(map(card, at(9), 3 * kPage).error(), DmaError::NoMemory);
    machine.iommu_map_answer = DMAUDIT_OK;
    const DmaAddr bus = *map(card, at(0), 32 * kPage);
    ASSERT_TRUE(map(card, at(0), 32 * kPage)) << "no address is lost";
    machine.iommu_unmap_answer = DMAUDIT_EIO;
    EXPECT_EQ(iommu->unmap(card.index, bus, 32 * kPage).error(), DmaError::PlatformError);
    machine.iommu_unmap_answer = DMAUDIT_OK;
    EXPECT_FALSE(map(card, at(9), 1)) << "what the device still reaches is not given out";
    EXPECT_TRUE(iommu->unmap(card.index, bus, 32 * kPage));
}

TEST_F(IommuTest, TheEndLeavesNothingMapped)
{
    ASSERT_TRUE(map(card, at(0), 5 * kPage));
    const DmaAddr hole = *map(card, at(0), 1);
    ASSERT_TRUE(map(card, at(0), 7 * kPage));
    ASSERT_TRUE(map(other, at(0), 1));
    ASSERT_TRUE(iommu->unmap(card.index, hole, 1));
    iommu.reset();
    EXPECT_EQ(machine.mapped_pages(card.index) + machine.mapped_pages(other.index), 0u);
    EXPECT_TRUE(machine.behind[card.index].stale.empty());
    EXPECT_EQ(machine.meta_live, 0);
}

TEST(IommuPlatform, APlatformMayEndBeforeTheIommu)
{
    TestPlatform machine;
    const std::uint32_t device = machine.add_iommu_device(true);
    EXPECT_TRUE(Platform(machine.raw).device(device)->iommu);
    EXPECT_FALSE(Platform(machine.raw).device(0)->iommu);
    machine.raw.struct_size = offsetof(dmaudit_platform, iommu_flush);
    EXPECT_FALSE(Platform(machine.raw).device(device)->iommu);
    machine.raw.struct_size = offsetof(dmaudit_platform, has_iommu);
    EXPECT_FALSE(Platform(machine.raw).device(device)->iommu);
}

} // namespace
} // namespace dmaudit::alloc
