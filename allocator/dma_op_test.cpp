#include "allocator/dma_op.hpp"

#include <gtest/gtest.h>

#include "allocator/testing_platform.hpp"

namespace dmaudit::alloc {
namespace {

using dmaudit::testing::TestPlatform;

constexpr std::uint64_t kPage = 4096;

TEST(DmaOp, TheMaskIsAnInclusiveLimit)
{
    TestPlatform machine(32, 8);
    const Allocator::Owner a = std::move(*Allocator::open(machine.raw));
    DmaOp op(*a, 0, TestPlatform::kBase + kPage - 1);
    EXPECT_EQ(op.page_size(), kPage);
    const Result<Block> block = op.alloc_coherent(kPage, 64);
    ASSERT_TRUE(block);
    EXPECT_EQ(op.alloc_coherent(kPage, 64).error(), DmaError::DmaMaskNotMatch);
    EXPECT_EQ(op.alloc_coherent(kPage, 48).error(), DmaError::LayoutError);
    EXPECT_TRUE(op.dealloc_coherent(*block));
    EXPECT_EQ(op.dealloc_coherent(*block).error(), DmaError::IllegalCall);
}

TEST(DmaOp, ConfirmWriteReachesABouncedDeviceAndPrepareReadBringsItsDataHome)
{
    TestPlatform machine(32, 8);
    const Allocator::Owner a = std::move(*Allocator::open(machine.raw));
    DmaOp op(*a, 1, TestPlatform::kBase + 8 * kPage - 1); // not coherent; buffers are out of reach
    std::uint8_t* buffer = machine.ram(16);
    const Result<Mapping> m = op.map_single(buffer, 256, 64, Direction::Bidirectional);
    ASSERT_TRUE(m);
    ASSERT_NE(m->bus.value, machine.phys(buffer));
    buffer[9] = 42;
    ASSERT_TRUE(op.confirm_write(*m, 0, 256, Direction::Bidirectional));
    EXPECT_EQ(machine.device_read(1, m->bus.value + 9), 42) << "written back from the slot's cache lines";
    machine.device_write(1, m->bus.value + 10, {43});
    ASSERT_TRUE(op.prepare_read(*m, 10, 1, Direction::Bidirectional));
    EXPECT_EQ(buffer[10], 43);
    machine.device_write(1, m->bus.value + 11, {44});
    ASSERT_TRUE(op.unmap_single(*m));
    EXPECT_EQ(buffer[11], 44);
}

TEST(DmaOp, CacheOperationsWorkOnTheirRange)
{
    TestPlatform machine(32, 8);
    const Allocator::Owner a = std::move(*Allocator::open(machine.raw));
    DmaOp op(*a, 1);
    std::uint8_t* buffer = machine.ram(16);
    buffer[0] = 1;
    ASSERT_TRUE(op.flush(buffer, 64));
    EXPECT_EQ(machine.device_read(1, machine.phys(buffer)), 1);
    machine.device_write(1, machine.phys(buffer), {2});
    ASSERT_TRUE(op.invalidate(buffer, 64));
    EXPECT_EQ(buffer[0], 2);
    buffer[0] = 3;
    ASSERT_TRUE(op.flush_invalidate(buffer, 64));
    EXPECT_EQ(machine.device_read(1, machine.phys(buffer)), 3);
}

TEST(DmaOp, EveryErrorOfTheTraitIsReachable)
{
    TestPlatform machine(32, 8);
    const Allocator::Owner a = std::move(*Allocator::open(machine.raw));
    DmaOp op(*a, 0), low(*a, 0, 0xfff);
    std::uint8_t* buffer = machine.ram(16);
    EXPECT_EQ(op.map_single(nullptr, 1, 1, Direction::ToDevice).error(), DmaError::NullPointer);
    EXPECT_EQ(op.map_single(buffer, 0, 1, Direction::ToDevice).error(), DmaError::ZeroSizedBuffer);
    EXPECT_EQ(op.map_single(buffer, 1, 3, Direction::ToDevice).error(), DmaError::LayoutError);
    EXPECT_EQ(low.map_single(buffer, 1, 1, Direction::ToDevice).error(), DmaError::DmaMaskNotMatch);
    EXPECT_EQ(op.map_single(buffer, 1, std::uint64_t{1} << 60, Direction::ToDevice).error(), DmaError::AlignMismatch);
    EXPECT_EQ(op.alloc_coherent(9 * kPage, 1).error(), DmaError::NoMemory);
}

} // namespace
} // namespace dmaudit::alloc
