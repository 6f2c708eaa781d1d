#include "allocator/dma_buf_fd.hpp"

#include <gtest/gtest.h>

#include "allocator/testing_platform.hpp"

namespace dmaudit::alloc {
namespace {

using dmaudit::testing::TestPlatform;

class FdTableTest : public ::testing::Test {
  protected:
    TestPlatform machine;
    Platform platform{machine.raw};
};

TEST_F(FdTableTest, TheLowestFreeNumberComesFirst)
{
    FdTable fds(platform);
    for (int i = 0; i < 6; i++)
        EXPECT_EQ(*fds.install({static_cast<std::uint32_t>(i), 1}), i);
    fds.close(4);
    fds.close(1);
    fds.close(2);
    EXPECT_EQ(*fds.install({10, 1}), 1);
    EXPECT_EQ(*fds.install({11, 1}), 2);
    EXPECT_EQ(*fds.install({12, 1}), 4);
    EXPECT_EQ(*fds.install({13, 1}), 6);
    EXPECT_EQ(fds.find(2), (Handle{11, 1}));
    EXPECT_EQ(fds.find(0), (Handle{0, 1})) << "index 0 is a record like any other";
}

TEST_F(FdTableTest, WhatIsNotOpenNamesNothing)
{
    FdTable fds(platform);
    const int fd = *fds.install({3, 1});
    for (const int wrong : {-1, INT32_MIN, fd + 1, 7, 8, 1 << 20, INT32_MAX})
        EXPECT_FALSE(fds.find(wrong)) << wrong;
    fds.close(fd);
    EXPECT_FALSE(fds.find(fd));
}

TEST_F(FdTableTest, GrowsAndAFailureToGrowChangesNothing)
{
    {
        FdTable fds(platform);
        for (std::uint32_t i = 0; i < 100; i++) {
            machine.meta_budget = 0;
            Result<int> fd = fds.install({i, 1});
            machine.meta_budget = INT64_MAX;
            if (!fd) {
                EXPECT_EQ(fd.error(), DmaError::NoMemory);
                fd = fds.install({i, 1});
            }
            ASSERT_EQ(*fd, static_cast<int>(i));
        }
        for (int i = 0; i < 100; i++)
            EXPECT_EQ(fds.find(i), (Handle{static_cast<std::uint32_t>(i), 1}));
        EXPECT_EQ(machine.meta_live, 1) << "the smaller tables went";
    }
    EXPECT_EQ(machine.meta_live, 0);
}

} // namespace
} // namespace dmaudit::alloc
