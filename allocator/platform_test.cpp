#include "allocator/platform.hpp"

#include <gtest/gtest.h>

#include "allocator/testing_platform.hpp"

namespace dmaudit::alloc {
namespace {

using dmaudit::testing::TestPlatform;

TEST(Constraints, TheLimitIsInclusiveAndNothingWraps)
{
    const Constraints c{0, 0xffff, 1, 0};
    EXPECT_TRUE(c.within_limit({0xffff}, 1));
    EXPECT_FALSE(c.within_limit({0xffff}, 2));
    EXPECT_FALSE(c.within_limit({0x10000}, 1));
    EXPECT_FALSE(c.within_limit({0x1000}, UINT64_MAX));
    const Constraints all{0, UINT64_MAX, 1, 0};
    EXPECT_TRUE(all.within_limit({UINT64_MAX - 15}, 16)) << "the last bytes of the address space";
    EXPECT_FALSE(all.within_limit({UINT64_MAX - 15}, 17)) << "wraps to 0";
    EXPECT_FALSE(all.within_limit({UINT64_MAX}, 1)) << "all ones is not an address";
}

TEST(Constraints, AreAboutTheDeviceAddress)
{
    const Constraints c{0x40, UINT64_MAX, 0x100, 0x1000};
    EXPECT_TRUE(c.on_alignment({0xc0}));
    EXPECT_FALSE(c.on_alignment({0x100}));
    EXPECT_TRUE(c.within_boundary({0xfc0}, 0x1000));
    EXPECT_FALSE(c.within_boundary({0xfbf}, 2));
    EXPECT_FALSE(c.within_boundary({0x1000}, 0x1000));
}

TEST(Constraints, LayoutsAreChecked)
{
    EXPECT_TRUE(check_layout(100, 0, 0));
    EXPECT_TRUE(check_layout(4096, 1u << 31, 4096));
    EXPECT_EQ(check_layout(100, 3, 0).error(), DmaError::LayoutError);
    EXPECT_EQ(check_layout(100, 0, 96).error(), DmaError::LayoutError);
    EXPECT_EQ(check_layout(4097, 0, 4096).error(), DmaError::LayoutError) << "cannot but cross";
}

TEST(Constraints, TakeTheTighterLimit)
{
    const Device device{0, true, 0xffffffff, 0};
    dmaudit_request request{sizeof request, 0, 1, 0, 0, 0, 0, 0};
    EXPECT_EQ(constraints_of(device, request).limit, 0xffffffffu) << "0 asks for nothing";
    request.limit = 0xfff;
    EXPECT_EQ(constraints_of(device, request).limit, 0xfffu);
    request.limit = UINT64_MAX;
    EXPECT_EQ(constraints_of(device, request).limit, 0xffffffffu);
}

TEST(Ranges, OverlapAndContainmentAreExact)
{
    const PhysRange r{{0x1000}, 0x1000};
    EXPECT_TRUE(r.holds({0x1fff}, 1));
    EXPECT_FALSE(r.holds({0x1fff}, 2));
    EXPECT_FALSE(r.holds({0xfff}, 1));
    EXPECT_FALSE(r.holds({0x1800}, UINT64_MAX));
    EXPECT_TRUE(r.overlaps({{0x1fff}, 1}));
    EXPECT_TRUE(r.overlaps({{0}, 0x1001}));
    EXPECT_FALSE(r.overlaps({{0x2000}, 1}));
    EXPECT_FALSE(r.overlaps({{0}, 0x1000}));
    EXPECT_FALSE(r.overlaps({{0x1800}, 0}));
}

TEST(Order, IsTheSmallestThatHoldsTheSize)
{
    EXPECT_EQ(order_of(1, 12), 0u);
    EXPECT_EQ(order_of(4096, 12), 0u);
    EXPECT_EQ(order_of(4097, 12), 1u);
    EXPECT_EQ(order_of(5 * 4096, 12), 3u);
    EXPECT_EQ(order_of(UINT64_MAX, 12), 52u);
}

TEST(Platform, FindsOnlyRangesInsideOneBank)
{
    TestPlatform machine(4, 2);
    const Platform platform(machine.raw);
    EXPECT_EQ(platform.phys_of(machine.ram(3), 4096)->value, TestPlatform::kBase + 3 * 4096);
    EXPECT_FALSE(platform.phys_of(machine.ram(3), 4097)) << "over the end";
    EXPECT_FALSE(platform.phys_of(machine.ram(3), UINT64_MAX));
    EXPECT_FALSE(platform.phys_of(&machine, 1));
    EXPECT_EQ(platform.cpu_of({{TestPlatform::kBase + 5}, 1}), reinterpret_cast<std::byte*>(machine.ram(0, 5)));
    EXPECT_EQ(platform.cpu_of({{TestPlatform::kBase}, 5 * 4096}), nullptr);
    EXPECT_FALSE(platform.device(9));
    EXPECT_TRUE(platform.device(0)->coherent);
    EXPECT_FALSE(platform.device(1)->coherent);
}

TEST(Platform, InvalidatesWithoutLosingTheNeighbours)
{
    TestPlatform machine(4, 2);
    const Platform platform(machine.raw);
    machine.ram(0)[10] = 1;  // in the first line, before the range
    machine.ram(0)[130] = 2; // in the last line, behind the range
    machine.device_write(1, TestPlatform::kBase + 64, {42});
    platform.invalidate_keeping_neighbours({TestPlatform::kBase + 20}, 108 + 1);
    EXPECT_EQ(machine.ram(0)[10], 1);
    EXPECT_EQ(machine.ram(0)[130], 2);
    EXPECT_EQ(machine.ram(0)[64], 42);
}

TEST(Platform, LockWordsAreReleased)
{
    TestPlatform machine(4, 2);
    const Platform platform(machine.raw);
    std::uint64_t word = 0;
    {
        const Guard guard(platform, word);
        EXPECT_NE(word, 0u);
    }
    EXPECT_EQ(word, 0u);
}

TEST(Platform, MetadataGivesItselfBack)
{
    TestPlatform machine(4, 2);
    const Platform platform(machine.raw);
    {
        const MetaMemory memory = meta_memory(platform, 100);
        EXPECT_NE(memory, nullptr);
        EXPECT_EQ(machine.meta_live, 1);
    }
    EXPECT_EQ(machine.meta_live, 0);
    machine.meta_budget = 0;
    EXPECT_EQ(meta_memory(platform, 1), nullptr);
}

} // namespace
} // namespace dmaudit::alloc
