#include "allocator/coherent_handle.hpp"

#include <algorithm>
#include <string>
#include <type_traits>
#include <vector>

#include <gtest/gtest.h>

#include "allocator/testing_platform.hpp"

namespace dmaudit::alloc {
namespace {

using dmaudit::testing::TestPlatform;

constexpr std::uint64_t kPage = 4096;

struct Descriptor {
    std::uint64_t address;
    std::uint32_t length;
    std::uint32_t flags;
};

template <class H>
concept HasCpuAccess = requires(H h)
{
    h.cpu();
}
|| requires(H h)
{
    h.bytes();
}
|| requires(H h)
{
    h.span();
}
|| requires(H h)
{
    h.data();
}
|| requires(H h)
{
    h.block();
}
|| requires(H h)
{
    *h;
}
|| std::is_convertible_v<H, const void*>;
static_assert(!HasCpuAccess<CoherentHandle>);
static_assert(HasCpuAccess<CoherentArray<int>>, "the concept can see one");
template <class H>
constexpr bool kMoveOnly =
    std::is_nothrow_move_constructible_v<H>&& std::is_nothrow_move_assignable_v<H> &&
    !std::is_copy_constructible_v<H> && !std::is_copy_assignable_v<H> && !std::is_default_constructible_v<H>;
static_assert(kMoveOnly<CoherentHandle> && kMoveOnly<CoherentArray<Descriptor>>);

// Holds whether or not the allocator makes opaque blocks. Arena: pages 0 to 7. Device 1 is not coherent: its live
// blocks are uncached pages.
class CoherentHandleTest : public ::testing::Test {
  protected:
    CoherentHandleTest() : machine(32, 8), allocator(std::move(*Allocator::open(machine.raw))) {}
    ~CoherentHandleTest() override
    {
        EXPECT_TRUE(arena_is_free());
        EXPECT_TRUE(machine.uncached.empty());
    }
    bool arena_is_free()
    {
        const Result<Block> all =
            allocator->alloc_coherent({sizeof(dmaudit_request), 0, 8 * kPage, 0, 0, 0, DMAUDIT_ZERO, 0});
        return all && allocator->free_coherent(*all);
    }

    TestPlatform machine;
    Allocator::Owner allocator;
};

TEST_F(CoherentHandleTest, KnowsWhereAndHowMuchAndIsFreedAtTheEnd)
{
    for (const std::uint32_t device : {0u, 1u}) {
        const CoherentHandle handle = std::move(*CoherentHandle::alloc(*allocator, device, kPage + 1));
        EXPECT_TRUE(handle);
        EXPECT_EQ(handle.size(), kPage + 1) << "as asked for, not rounded";
        EXPECT_EQ(handle.dma_handle().value, TestPlatform::kBase);
        EXPECT_EQ(handle.attrs(), DMAUDIT_ATTR_NO_KERNEL_MAPPING);
        EXPECT_FALSE(arena_is_free());
    }
    const std::uint32_t attrs = DMAUDIT_ATTR_WEAK_ORDERING | DMAUDIT_ATTR_NO_WARN;
    const CoherentHandle more = std::move(*CoherentHandle::alloc_with_attrs(*allocator, 1, 1, attrs));
    EXPECT_EQ(more.attrs(), attrs | DMAUDIT_ATTR_NO_KERNEL_MAPPING);
    // Freed with the same attributes, or the fixture finds it alive.
}

TEST_F(CoherentHandleTest, NoBytesAreRefusedBeforeAnythingIsTouched)
{
    const std::uint64_t locks = machine.locks;
    for (const std::uint32_t device : {0u, 99u}) {
        EXPECT_EQ(CoherentHandle::alloc(*allocator, device, 0).code(), DMAUDIT_EINVAL);
        EXPECT_EQ(CoherentHandle::alloc_with_attrs(*allocator, device, 0, UINT32_MAX).code(), DMAUDIT_EINVAL);
        EXPECT_EQ(CoherentArray<int>::zeroed_slice(*allocator, device, 0).code(), DMAUDIT_EINVAL);
    }
    EXPECT_EQ(machine.locks, locks);
}

TEST_F(CoherentHandleTest, EveryOtherFailureIsNoMemory)
{
    const std::uint32_t near = machine.add_device(true, 0xfff); // reaches nothing
    const Allocator::Owner fresh = std::move(*Allocator::open(machine.raw));
    EXPECT_EQ(CoherentHandle::alloc(*fresh, near, 1).error(), DmaError::NoMemory) << "out of reach";
    EXPECT_EQ(CoherentHandle::alloc(*fresh, 99, 1).error(), DmaError::NoMemory) << "no such device";
    EXPECT_EQ(CoherentHandle::alloc(*fresh, 0, 9 * kPage).error(), DmaError::NoMemory);
    EXPECT_EQ(CoherentHandle::alloc(*fresh, 0, UINT64_MAX).error(), DmaError::NoMemory);
    EXPECT_EQ(CoherentArray<int>::zeroed(*fresh, near).error(), DmaError::NoMemory);
    EXPECT_EQ(CoherentArray<int>::zeroed(*fresh, 99).error(), DmaError::NoMemory);
    // Whatever the platform answers to uncaching, for blocks that need it.
    for (const int answer : {DMAUDIT_EINVAL, DMAUDIT_EBUSY, DMAUDIT_EIO}) {
        machine.uncached_on_answer = answer;
        const Result<CoherentHandle> handle = CoherentHandle::alloc(*fresh, 1, 1);
        EXPECT_TRUE(handle || handle.error() == DmaError::NoMemory);
        EXPECT_EQ(CoherentArray<int>::zeroed(*fresh, 1).error(), DmaError::NoMemory);
    }
    machine.uncached_on_answer = DMAUDIT_OK;
}

TEST_F(CoherentHandleTest, WithoutMetadataThereIsNoHandleAndNothingIsKept)
{
    std::vector<CoherentHandle> handles;
    machine.meta_budget = 0;
    for (;;) {
        Result<CoherentHandle> handle = CoherentHandle::alloc(*allocator, 0, 100);
        if (!handle) {
            EXPECT_EQ(handle.error(), DmaError::NoMemory);
            break;
        }
        handles.push_back(std::move(*handle));
    }
    handles.clear();
    machine.meta_budget = INT64_MAX;
    // The fixture finds the arena free.
}

TEST_F(CoherentHandleTest, WhatWasMovedFromIsEmptyAndFreesNothing)
{
    CoherentHandle first = std::move(*CoherentHandle::alloc(*allocator, 0, 100));
    const DmaAddr at = first.dma_handle();
    std::uint64_t locks = machine.locks;
    {
        CoherentHandle second = std::move(first);
        EXPECT_FALSE(first);
        EXPECT_EQ(second.dma_handle(), at);
        first = std::move(second);
        EXPECT_TRUE(first);
    }
    EXPECT_EQ(machine.locks, locks) << "no call was made";
    CoherentHandle other = std::move(*CoherentHandle::alloc(*allocator, 0, 200));
    first = std::move(other);
    EXPECT_EQ(first.size(), 200u);
    first = std::move(*CoherentHandle::alloc(*allocator, 0, 300));
    EXPECT_EQ(first.size(), 300u);
}

// Memory of a pool has a CPU address by its declaration.
TEST_F(CoherentHandleTest, ADevicesPoolIsNotAskedForHandles)
{
    const PhysAddr phys{TestPlatform::kBase + 16 * kPage};
    ASSERT_TRUE(allocator->declare_coherent_memory(0, phys, {phys.value}, kPage, true));
    {
        const CoherentHandle handle = std::move(*CoherentHandle::alloc(*allocator, 0, kPage));
        EXPECT_EQ(handle.dma_handle().value, TestPlatform::kBase);
        EXPECT_TRUE(CoherentHandle::alloc(*allocator, 0, 1)) << "the pool could hold one of them only";
    }
    ASSERT_TRUE(allocator->release_coherent_memory(0));
}

TEST_F(CoherentHandleTest, AnArrayReadsZeroFromBothSides)
{
    std::fill_n(machine.ram(0), 8 * kPage, std::uint8_t{0x5a});
    for (const std::uint32_t device : {0u, 1u}) {
        CoherentArray<Descriptor> ring = std::move(*CoherentArray<Descriptor>::zeroed_slice(*allocator, device, 300));
        EXPECT_EQ(ring.length(), 300u);
        EXPECT_EQ(ring.size(), 300 * sizeof(Descriptor));
        ASSERT_EQ(ring.span().size(), 300u);
        const auto seen = machine.device_read(device, ring.dma_handle().value, ring.size());
        EXPECT_TRUE(std::all_of(seen.begin(), seen.end(), [](std::uint8_t b) { return b == 0; }));
        EXPECT_TRUE(std::all_of(ring.span().begin(), ring.span().end(),
                                [](const Descriptor& d) { return d.address == 0 && d.length == 0 && d.flags == 0; }));
        ring.span()[299].flags = 7;
        const DmaAddr last = *ring.dma_handle(299);
        EXPECT_EQ(last.value, ring.dma_handle().value + 299 * sizeof(Descriptor));
        EXPECT_EQ(machine.device_read(device, last.value + offsetof(Descriptor, flags)), 7);
        EXPECT_EQ(ring.dma_handle(300).error(), DmaError::BadArgument);
        EXPECT_EQ(ring.dma_handle(UINT64_MAX).error(), DmaError::BadArgument);
        const CoherentArray<Descriptor>& constant = ring;
        EXPECT_EQ(constant.span()[299].flags, 7u);
    }
    const CoherentArray<std::uint64_t> one = std::move(*CoherentArray<std::uint64_t>::zeroed(*allocator, 0));
    EXPECT_EQ(one.length(), 1u);
    EXPECT_EQ(one.size(), 8u);
}

TEST_F(CoherentHandleTest, AnArraysSizeDoesNotWrap)
{
    const std::uint64_t wraps = UINT64_MAX / sizeof(Descriptor) + 2; // to 16 bytes
    EXPECT_EQ(CoherentArray<Descriptor>::zeroed_slice(*allocator, 0, wraps).error(), DmaError::NoMemory);
    EXPECT_EQ(CoherentArray<int>::zeroed(*allocator, 0, DMAUDIT_ATTR_NO_KERNEL_MAPPING).error(), DmaError::BadArgument)
        << "the CPU shares an array";
    const auto ring = CoherentArray<char>::zeroed_slice(*allocator, 1, 5, DMAUDIT_ATTR_FORCE_CONTIGUOUS);
    ASSERT_TRUE(ring);
    CoherentArray<char> moved = std::move(*CoherentArray<char>::zeroed_slice(*allocator, 0, 3));
    const CoherentArray<char> there = std::move(moved);
    EXPECT_FALSE(moved);
    EXPECT_EQ(there.length(), 3u);
}

} // namespace
} // namespace dmaudit::alloc
