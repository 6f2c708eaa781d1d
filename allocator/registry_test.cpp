#include "allocator/registry.hpp"

#include <vector>

#include <gtest/gtest.h>

#include "allocator/testing_platform.hpp"

namespace dmaudit::alloc {
namespace {

using dmaudit::testing::TestPlatform;

TEST(Registry, AHandleOfADeadRecordNeverFindsItsSuccessor)
{
    TestPlatform machine;
    Registry<int, 4> registry{Platform(machine.raw)};
    Handle first, second;
    ASSERT_TRUE(registry.add(1, first));
    registry.remove(first);
    EXPECT_EQ(registry.find(first), nullptr);
    ASSERT_TRUE(registry.add(2, second));
    EXPECT_EQ(second.index, first.index) << "the slot is used again";
    EXPECT_EQ(registry.find(first), nullptr);
    EXPECT_EQ(*registry.find(second), 2);
    EXPECT_EQ(registry.find(Handle{99, 1}), nullptr);
    EXPECT_EQ(registry.find(Handle{second.index, second.generation + 1}), nullptr);
}

TEST(Registry, RecordsSurviveGrowthInPlace)
{
    TestPlatform machine;
    {
        Registry<int, 4> registry{Platform(machine.raw)};
        std::vector<Handle> handles(1000);
        std::vector<int*> places;
        for (int i = 0; i < 1000; i++) {
            ASSERT_TRUE(registry.add(i, handles[static_cast<std::size_t>(i)]));
            places.push_back(registry.find(handles[static_cast<std::size_t>(i)]));
        }
        for (std::size_t i = 0; i < 1000; i++) {
            EXPECT_EQ(registry.find(handles[i]), places[i]);
            EXPECT_EQ(*places[i], static_cast<int>(i));
        }
        int seen = 0;
        registry.each([&](Handle, int& value) { return value == seen++; });
        EXPECT_EQ(seen, 1000);
    }
    EXPECT_EQ(machine.meta_live, 0);
}

TEST(Registry, WithoutMetadataAddFailsAndLaterSucceeds)
{
    TestPlatform machine;
    machine.meta_budget = 0;
    Registry<int, 2> registry{Platform(machine.raw)};
    Handle handle;
    EXPECT_TRUE(registry.add(1, handle));
    EXPECT_TRUE(registry.add(2, handle));
    EXPECT_FALSE(registry.add(3, handle));
    machine.meta_budget = 1;
    EXPECT_TRUE(registry.add(3, handle));
}

} // namespace
} // namespace dmaudit::alloc
