#include "allocator/dma_buf_raii.hpp"

#include <vector>

#include <gtest/gtest.h>

#include "allocator/dma_buf_testing.hpp"
#include "allocator/testing_platform.hpp"

namespace dmaudit::alloc {
namespace {

using dmaudit::testing::FakeExporter;
using dmaudit::testing::TestPlatform;

class DmaBufRaiiTest : public ::testing::Test {
  protected:
    DmaBufRef make() { return DmaBufRef::adopt(bufs, *bufs.export_named(ops, &fake, 5000, "raii")); }

    TestPlatform machine;
    Platform platform{machine.raw};
    FakeExporter fake;
    DmaBufOps ops = FakeExporter::table();
    DmaBufs bufs{platform};
};

TEST_F(DmaBufRaiiTest, AReferenceIsPutOnce)
{
    {
        DmaBufRef first = make();
        DmaBufRef second = std::move(first);
        EXPECT_FALSE(first);
        first = std::move(second);
        EXPECT_TRUE(first);
        EXPECT_EQ(fake.released, 0);
    }
    EXPECT_EQ(fake.released, 1);
}

TEST_F(DmaBufRaiiTest, ADescriptorEmptiesTheReferenceOnlyIfItIsMade)
{
    int fd;
    {
        DmaBufRef ref = make();
        std::vector<int> others;
        others.push_back(*bufs.fd(*bufs.export_named(ops, &fake, 1, "other")));
        while (others.size() < 8)
            others.push_back(*bufs.dup(others[0]));
        machine.meta_budget = 0;
        EXPECT_EQ(ref.into_fd().error(), DmaError::NoMemory);
        EXPECT_TRUE(ref);
        machine.meta_budget = INT64_MAX;
        fd = *ref.into_fd();
        EXPECT_FALSE(ref);
    }
    EXPECT_EQ(fake.released, 0) << "the descriptor has it";
    {
        const Result<DmaBufRef> again = DmaBufRef::get(bufs, fd);
        ASSERT_TRUE(again);
        ASSERT_TRUE(bufs.close(fd));
    }
    EXPECT_EQ(fake.released, 1);
    EXPECT_EQ(DmaBufRef::get(bufs, fd).error(), DmaError::BadDescriptor);
}

TEST_F(DmaBufRaiiTest, EverythingIsGivenBackInOrder)
{
    {
        const DmaBufRef ref = make();
        Attachment attachment = std::move(*ref.attach(0));
        EXPECT_EQ(attachment.map(Direction::ToDevice)->size(), 2u);
        EXPECT_EQ(attachment.map(Direction::ToDevice).error(), DmaError::Busy);
        Attachment moved = std::move(attachment);
        EXPECT_FALSE(attachment);
        EXPECT_FALSE(attachment.mapped());
        EXPECT_TRUE(moved.mapped());
        const CpuAccess access = std::move(*ref.cpu_access(0, 100, Direction::FromDevice));
        EXPECT_TRUE(access);
    }
    EXPECT_EQ(fake.ended, 1);
    EXPECT_EQ(fake.unmapped, 1);
    EXPECT_EQ(fake.detached, 1);
    EXPECT_EQ(fake.released, 1) << "nothing was in the way of the last put";
}

TEST_F(DmaBufRaiiTest, WhatIsEndedEarlyIsNotEndedAgain)
{
    {
        const DmaBufRef ref = make();
        Attachment attachment = std::move(*ref.attach(0));
        ASSERT_TRUE(attachment.map(Direction::FromDevice));
        EXPECT_TRUE(attachment.unmap());
        EXPECT_TRUE(attachment.unmap());
        CpuAccess access = std::move(*ref.cpu_access(0, 100, Direction::ToDevice));
        fake.fails = true;
        EXPECT_FALSE(access.end());
        EXPECT_TRUE(access) << "the bracket is still open";
        fake.fails = false;
        EXPECT_TRUE(access.end());
        EXPECT_TRUE(access.end());
        EXPECT_EQ(ref.cpu_access(5000, 1, Direction::ToDevice).error(), DmaError::BadArgument);
        EXPECT_EQ(ref.attach(99).error(), DmaError::NoSuchDevice);
    }
    EXPECT_EQ(fake.ended, 2);
    EXPECT_EQ(fake.unmapped, 1);
    EXPECT_EQ(fake.released, 1);
}

} // namespace
} // namespace dmaudit::alloc
