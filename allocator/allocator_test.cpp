#include "allocator/allocator.hpp"

#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "allocator/testing_platform.hpp"

namespace dmaudit::alloc {
namespace {

using dmaudit::testing::TestPlatform;

constexpr std::uint64_t kPage = 4096;

dmaudit_request request(std::uint32_t device, std::uint64_t size, std::uint64_t align = 0, std::uint64_t limit = 0,
                        std::uint64_t boundary = 0)
{
    return {sizeof(dmaudit_request), device, size, align, limit, boundary, DMAUDIT_ZERO, 0};
}

TEST(Allocator, OpeningTakesOnePieceOfMetadataAndClosingGivesAllBack)
{
    TestPlatform machine(64, 20);
    {
        const Allocator::Owner a = std::move(*Allocator::open(machine.raw));
        EXPECT_EQ(machine.meta_live, 1);
        const Block block = *a->alloc_coherent(request(1, 100));
        EXPECT_EQ(machine.meta_live, 1) << "small worlds need no more";
        EXPECT_EQ(block.granted, kPage);
        ASSERT_TRUE(a->declare_coherent_memory(1, {TestPlatform::kBase + 32 * kPage},
                                               {TestPlatform::kBase + 32 * kPage}, 4 * kPage, true));
        EXPECT_FALSE(machine.uncached.empty());
    }
    EXPECT_EQ(machine.meta_live, 0);
    EXPECT_TRUE(machine.uncached.empty()) << "of live blocks and pools too";
    machine.meta_budget = 0;
    EXPECT_EQ(Allocator::open(machine.raw).error(), DmaError::NoMemory);
    machine.raw.abi++;
    EXPECT_EQ(Allocator::open(machine.raw).error(), DmaError::BadArgument);
}

TEST(Allocator, RefusesMalformedRequests)
{
    TestPlatform machine;
    const Allocator::Owner a = std::move(*Allocator::open(machine.raw));
    EXPECT_EQ(a->alloc_coherent(request(9, 1)).error(), DmaError::NoSuchDevice);
    EXPECT_EQ(a->alloc_coherent(request(0, 0)).error(), DmaError::ZeroSizedBuffer);
    EXPECT_EQ(a->alloc_coherent(request(0, 1, 3)).error(), DmaError::LayoutError);
    EXPECT_EQ(a->alloc_coherent(request(0, 1, 0, 0, 3)).error(), DmaError::LayoutError);
    EXPECT_EQ(a->alloc_coherent(request(0, 2 * kPage, 0, 0, kPage)).error(), DmaError::LayoutError);
    void* buffer = machine.ram(50);
    EXPECT_EQ(a->map_single(request(9, 1), buffer, Direction::ToDevice).error(), DmaError::NoSuchDevice);
    EXPECT_EQ(a->map_single(request(0, 1), nullptr, Direction::ToDevice).error(), DmaError::NullPointer);
    EXPECT_EQ(a->map_single(request(0, 0), buffer, Direction::ToDevice).error(), DmaError::ZeroSizedBuffer);
    EXPECT_EQ(a->map_single(request(0, 1, 5), buffer, Direction::ToDevice).error(), DmaError::LayoutError);
    EXPECT_EQ(a->cache(nullptr, 1, CacheOp::Flush).error(), DmaError::NullPointer);
    EXPECT_EQ(a->declare_coherent_memory(9, {0}, {0}, kPage, true).error(), DmaError::NoSuchDevice);
    EXPECT_EQ(a->release_coherent_memory(9).error(), DmaError::NoSuchDevice);
    EXPECT_TRUE(a->alloc_from_dev_coherent(9, 1).ours);
    EXPECT_FALSE(a->alloc_from_dev_coherent(9, 1).result);
}

TEST(Allocator, ADevicesPoolComesFirst)
{
    TestPlatform machine(64, 8);
    const Allocator::Owner a = std::move(*Allocator::open(machine.raw));
    const PhysAddr phys{TestPlatform::kBase + 32 * kPage};
    ASSERT_TRUE(a->declare_coherent_memory(0, phys, {phys.value}, kPage, false));
    const Block pooled = *a->alloc_coherent(request(0, 100));
    EXPECT_TRUE(pooled.pooled);
    EXPECT_EQ(pooled.block.bus.value, phys.value);
    const Block generic = *a->alloc_coherent(request(0, 100));
    EXPECT_FALSE(generic.pooled) << "a full pool that is not exclusive";
    const Block other = *a->alloc_coherent(request(1, 100));
    EXPECT_FALSE(other.pooled);
    Block lie = pooled;
    lie.block.size++;
    EXPECT_EQ(a->free_coherent(lie).error(), DmaError::IllegalCall);
    lie = pooled;
    lie.block.device = 1;
    EXPECT_EQ(a->free_coherent(lie).error(), DmaError::IllegalCall);
    lie = pooled;
    lie.block.device = 77;
    EXPECT_EQ(a->free_coherent(lie).error(), DmaError::IllegalCall);
    EXPECT_TRUE(a->free_coherent(pooled));
    EXPECT_EQ(a->free_coherent(pooled).error(), DmaError::IllegalCall);
    const Routed<Block> again = a->alloc_from_dev_coherent(0, 100);
    ASSERT_TRUE(again.ours && again.result);
    EXPECT_TRUE(a->release_from_dev_coherent(0, 0, again.result->block.cpu).result);
    EXPECT_EQ(a->free_coherent(*again.result).error(), DmaError::IllegalCall) << "released on the other way";
    ASSERT_TRUE(a->release_coherent_memory(0));
    ASSERT_TRUE(a->declare_coherent_memory(0, phys, {phys.value}, kPage, true));
    ASSERT_TRUE(a->alloc_coherent(request(0, 100)));
    EXPECT_EQ(a->alloc_coherent(request(0, 100)).error(), DmaError::NoMemory) << "exclusive";
}

TEST(Allocator, ABlockThatOutlivedItsPoolIsRefused)
{
    TestPlatform machine(64, 8);
    const Allocator::Owner a = std::move(*Allocator::open(machine.raw));
    const PhysAddr phys{TestPlatform::kBase + 32 * kPage};
    ASSERT_TRUE(a->declare_coherent_memory(0, phys, {phys.value}, 4 * kPage, true));
    const Block old = *a->alloc_coherent(request(0, 100));
    ASSERT_TRUE(a->release_coherent_memory(0));
    EXPECT_EQ(a->free_coherent(old).error(), DmaError::IllegalCall);
}

TEST(Allocator, InstancesAreIndependent)
{
    TestPlatform one, two;
    const Allocator::Owner a = std::move(*Allocator::open(one.raw));
    const Allocator::Owner b = std::move(*Allocator::open(two.raw));
    EXPECT_EQ(a->alloc_coherent(request(0, 1))->block.bus, b->alloc_coherent(request(0, 1))->block.bus);
}

TEST(Allocator, ThreadsShareAnInstance)
{
    TestPlatform machine(256, 128);
    machine.raw.clean = [](void*, std::uint64_t, std::uint64_t) {}; // the test's cache is not made for threads
    machine.raw.invalidate = machine.raw.clean;
    const Allocator::Owner a = std::move(*Allocator::open(machine.raw));
    const PhysAddr phys{TestPlatform::kBase + 200 * kPage};
    ASSERT_TRUE(a->declare_coherent_memory(0, phys, {phys.value}, 16 * kPage, false));
    std::atomic<int> mistakes = 0;
    const auto work = [&](unsigned id) {
        auto* mine = machine.ram(130 + id * 4);
        for (int i = 0; i < 2000; i++) {
            const Result<Block> block = a->alloc_coherent(request(0, 1 + static_cast<unsigned>(i) % 9000));
            const Result<Mapping> m =
                a->map_single(request(0, 1 + static_cast<unsigned>(i) % 3000, 64), mine + 1, Direction::Bidirectional);
            if (block) {
                block->block.cpu[0] = static_cast<std::byte>(id);
                std::this_thread::yield();
                mistakes += block->block.cpu[0] != static_cast<std::byte>(id);
                mistakes += !a->free_coherent(*block);
            }
            if (m)
                mistakes += !a->unmap_single(*m, m->size);
        }
    };
    std::vector<std::thread> threads;
    for (unsigned id = 0; id < 4; id++)
        threads.emplace_back(work, id);
    for (std::thread& thread : threads)
        thread.join();
    EXPECT_EQ(mistakes, 0);
    ASSERT_TRUE(a->release_coherent_memory(0));
    EXPECT_TRUE(a->alloc_coherent(request(0, 128 * kPage))) << "everything came back";
}

} // namespace
} // namespace dmaudit::alloc
