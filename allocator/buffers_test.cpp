#include "allocator/buffers.hpp"

#include <type_traits>

#include <gtest/gtest.h>

#include "allocator/testing_platform.hpp"

namespace dmaudit::alloc {
namespace {

using dmaudit::testing::TestPlatform;

constexpr std::uint64_t kPage = 4096;
constexpr dmaudit_request kAll{sizeof(dmaudit_request), 0, 4 * kPage, 0, 0, 0, DMAUDIT_ZERO, 0};

static_assert(!std::is_copy_constructible_v<CoherentBuffer> && !std::is_copy_constructible_v<StreamingMapping>);

TEST(CoherentBuffer, GivesItsMemoryBackOnce)
{
    TestPlatform machine(32, 4);
    const Allocator::Owner a = std::move(*Allocator::open(machine.raw));
    {
        CoherentBuffer first = std::move(*CoherentBuffer::make(*a, kAll));
        EXPECT_EQ(first.bytes().size(), 4 * kPage);
        EXPECT_EQ(first.dma_handle().value, TestPlatform::kBase);
        EXPECT_EQ(CoherentBuffer::make(*a, kAll).error(), DmaError::NoMemory);
        CoherentBuffer second = std::move(first);
        EXPECT_FALSE(first); // NOLINT: a moved-from buffer is empty
        EXPECT_TRUE(second);
    }
    CoherentBuffer again = std::move(*CoherentBuffer::make(*a, kAll));
    EXPECT_TRUE(again);
}

TEST(StreamingMapping, BringsTheDevicesDataHomeWhenItGoes)
{
    TestPlatform machine(32, 4);
    const Allocator::Owner a = std::move(*Allocator::open(machine.raw));
    const std::span buffer(reinterpret_cast<std::byte*>(machine.ram(16)), 200);
    const dmaudit_request request{sizeof(dmaudit_request), 1, 0, 0, 0, 0, 0, 0};
    {
        StreamingMapping mapping = std::move(*StreamingMapping::make(*a, request, buffer, Direction::FromDevice));
        machine.device_write(1, mapping.dma_handle().value + 5, {77, 78});
        const Result<std::span<std::byte>> part = mapping.for_cpu(5, 1);
        ASSERT_TRUE(part);
        EXPECT_EQ(part->data(), buffer.data() + 5);
        EXPECT_EQ((*part)[0], std::byte{77});
        EXPECT_EQ(mapping.for_cpu(5, 200).error(), DmaError::BadArgument);
        EXPECT_TRUE(mapping.for_device(5, 1));
        StreamingMapping moved = std::move(mapping);
        EXPECT_TRUE(moved);
    }
    EXPECT_EQ(buffer[6], std::byte{78});
}

TEST(StreamingMapping, CanEndEarlyWithWhatWasUsed)
{
    TestPlatform machine(32, 4);
    const Allocator::Owner a = std::move(*Allocator::open(machine.raw));
    const std::span buffer(reinterpret_cast<std::byte*>(machine.ram(16)), 200);
    const dmaudit_request request{sizeof(dmaudit_request), 1, 0, 0, 0, 0, 0, 0};
    StreamingMapping mapping = std::move(*StreamingMapping::make(*a, request, buffer, Direction::FromDevice));
    EXPECT_EQ(mapping.unmap(201).error(), DmaError::BadArgument);
    EXPECT_TRUE(mapping);
    EXPECT_TRUE(mapping.unmap(0));
    EXPECT_FALSE(mapping);
}

} // namespace
} // namespace dmaudit::alloc
