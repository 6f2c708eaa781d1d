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

TEST(Allocator, APlatformFromBeforeTheIommuWillDo)
{
    TestPlatform machine;
    const std::uint32_t device = machine.add_iommu_device(true);
    machine.raw.struct_size = offsetof(dmaudit_platform, has_iommu);
    const Allocator::Owner a = std::move(*Allocator::open(machine.raw));
    EXPECT_EQ(a->alloc_coherent(request(device, 1))->block.bus.value, TestPlatform::kBase);
    machine.raw.struct_size--;
    EXPECT_EQ(Allocator::open(machine.raw).error(), DmaError::BadArgument);
}

TEST(Allocator, BehindAnIommuThereIsNoPoolAndNothingStaysMapped)
{
    TestPlatform machine(64, 8);
    const std::uint32_t soc = machine.add_iommu_device(false, 64 * kPage - 1);
    const std::uint64_t phys = TestPlatform::kBase + 32 * kPage;
    machine.at_iommu_unmap = [&] {
        EXPECT_FALSE(machine.uncached.empty()) << "not cached while the device reaches it";
    };
    {
        const Allocator::Owner a = std::move(*Allocator::open(machine.raw));
        EXPECT_EQ(a->declare_coherent_memory(soc, {phys}, {phys}, kPage, true).error(), DmaError::BadArgument);
        EXPECT_TRUE(a->alloc_coherent(request(soc, 100)));
        EXPECT_TRUE(a->alloc_noncoherent(request(soc, 100), Direction::ToDevice));
        EXPECT_TRUE(a->map_single(request(soc, 100), machine.ram(40, 3), Direction::FromDevice));
        EXPECT_TRUE(a->map_single(request(soc, 100), machine.ram(40), Direction::ToDevice));
        EXPECT_EQ(machine.mapped_pages(soc), 4u);
    }
    EXPECT_EQ(machine.mapped_pages(soc), 0u);
    EXPECT_TRUE(machine.uncached.empty());
    EXPECT_EQ(machine.meta_live, 0);
}

TEST(Allocator, OpaqueBlocksComeFromNoPool)
{
    TestPlatform machine(64, 8);
    const Allocator::Owner a = std::move(*Allocator::open(machine.raw));
    const PhysAddr phys{TestPlatform::kBase + 32 * kPage};
    ASSERT_TRUE(a->declare_coherent_memory(0, phys, {phys.value}, 4 * kPage, true));
    dmaudit_request r = request(0, 2 * kPage + 1);
    r.flags = 0;
    r.attrs = DMAUDIT_ATTR_NO_KERNEL_MAPPING | DMAUDIT_ATTR_WRITE_COMBINE;
    const Block opaque = *a->alloc_coherent(r);
    EXPECT_FALSE(opaque.pooled);
    EXPECT_EQ(opaque.block.cpu, nullptr);
    EXPECT_EQ(a->mmap_coherent(opaque, 1, 2)->phys.value, TestPlatform::kBase + kPage);
    EXPECT_EQ(a->mmap_coherent(opaque, 1, 3).error(), DmaError::OutOfWindow);
    Block lie = opaque;
    lie.block.attrs = DMAUDIT_ATTR_NO_KERNEL_MAPPING;
    EXPECT_EQ(a->free_coherent(lie).error(), DmaError::IllegalCall);
    EXPECT_TRUE(a->free_coherent(opaque));
    EXPECT_EQ(a->free_coherent(opaque).error(), DmaError::IllegalCall);
    r.size = 0;
    r.device = 77;
    const std::uint64_t locks = machine.locks;
    EXPECT_EQ(a->alloc_coherent(r).code(), DMAUDIT_EINVAL);
    EXPECT_EQ(machine.locks, locks) << "nothing was touched";
}

TEST(Allocator, WindowsOntoPoolBlocksGoByTheBlock)
{
    TestPlatform machine(64, 8);
    const Allocator::Owner a = std::move(*Allocator::open(machine.raw));
    const PhysAddr phys{TestPlatform::kBase + 32 * kPage};
    ASSERT_TRUE(a->declare_coherent_memory(0, phys, {phys.value}, 8 * kPage, true));
    const Block block = *a->alloc_coherent(request(0, 2 * kPage + 1));
    ASSERT_TRUE(block.pooled);
    EXPECT_EQ(a->mmap_coherent(block, 0, 3)->size, 3 * kPage);
    EXPECT_EQ(a->mmap_coherent(block, 2, 1)->phys.value, phys.value + 2 * kPage);
    EXPECT_EQ(a->mmap_coherent(block, 0, 4).error(), DmaError::OutOfWindow) << "its own padding is not the block";
    EXPECT_EQ(a->mmap_coherent(block, 0, 0).error(), DmaError::OutOfWindow);
    Block lie = block;
    lie.block.size--;
    EXPECT_EQ(a->mmap_coherent(lie, 0, 1).error(), DmaError::IllegalCall);
    lie = block;
    lie.block.device = 77;
    EXPECT_EQ(a->mmap_coherent(lie, 0, 1).error(), DmaError::IllegalCall);
    ASSERT_TRUE(a->free_coherent(block));
    EXPECT_EQ(a->mmap_coherent(block, 0, 1).error(), DmaError::IllegalCall);
    const Block next = *a->alloc_coherent(request(0, 2 * kPage + 1));
    ASSERT_EQ(next.block.bus, block.block.bus);
    EXPECT_EQ(a->mmap_coherent(block, 0, 1).error(), DmaError::IllegalCall) << "an old block at the same place";
    ASSERT_TRUE(a->release_coherent_memory(0));
    EXPECT_EQ(a->mmap_coherent(next, 0, 1).error(), DmaError::IllegalCall);
}

TEST(Allocator, NoncoherentMemoryIsAskedOfTheArenasOnly)
{
    TestPlatform machine(64, 8);
    const Allocator::Owner a = std::move(*Allocator::open(machine.raw));
    const PhysAddr phys{TestPlatform::kBase + 32 * kPage};
    ASSERT_TRUE(a->declare_coherent_memory(1, phys, {phys.value}, 4 * kPage, true));
    const Block block = *a->alloc_noncoherent(request(1, 100), Direction::FromDevice);
    EXPECT_FALSE(block.pooled);
    EXPECT_EQ(block.block.bus.value, TestPlatform::kBase);
    EXPECT_TRUE(a->sync_noncoherent(block, 0, 100, Direction::FromDevice, Phase::ForDevice));
    EXPECT_EQ(a->free_coherent(block).error(), DmaError::IllegalCall);
    EXPECT_EQ(a->free_noncoherent(block, Direction::ToDevice).error(), DmaError::IllegalCall);
    EXPECT_TRUE(a->free_noncoherent(block, Direction::FromDevice));
    const Block pooled = *a->alloc_coherent(request(1, 100));
    ASSERT_TRUE(pooled.pooled);
    EXPECT_EQ(a->free_noncoherent(pooled, Direction::FromDevice).error(), DmaError::IllegalCall);
    EXPECT_EQ(a->sync_noncoherent(pooled, 0, 1, Direction::FromDevice, Phase::ForCpu).error(), DmaError::IllegalCall);
    EXPECT_EQ(a->alloc_noncoherent(request(9, 1), Direction::ToDevice).error(), DmaError::NoSuchDevice);
    EXPECT_EQ(a->alloc_noncoherent(request(0, 0), Direction::ToDevice).error(), DmaError::ZeroSizedBuffer);
    EXPECT_EQ(a->alloc_noncoherent(request(0, 1, 3), Direction::ToDevice).error(), DmaError::LayoutError);
}

TEST(Allocator, ThreadsShareAnIommu)
{
    TestPlatform machine(256, 128);
    const std::uint32_t card = machine.add_iommu_device(true);
    const Allocator::Owner a = std::move(*Allocator::open(machine.raw));
    std::atomic<int> mistakes = 0;
    const auto work = [&](unsigned id) {
        for (unsigned i = 0; i < 1000; i++) {
            const Result<Block> block = a->alloc_noncoherent(request(card, 1 + i % 9000), Direction::ToDevice);
            const Result<Mapping> m =
                a->map_single(request(card, 1 + i % 9000), machine.ram(130 + id * 4, i % 100), Direction::ToDevice);
            mistakes += !block || !m;
            if (m) {
                const std::uint64_t there = machine.phys(machine.ram(130 + id * 4, i % 100));
                mistakes += machine.reaches(card, m->bus.value, DMAUDIT_IOMMU_READ) != std::optional(there);
                mistakes += !a->unmap_single(*m, m->size);
            }
            if (block)
                mistakes += !a->free_noncoherent(*block, Direction::ToDevice);
        }
    };
    std::vector<std::thread> threads;
    for (unsigned id = 0; id < 4; id++)
        threads.emplace_back(work, id);
    for (std::thread& thread : threads)
        thread.join();
    EXPECT_EQ(mistakes, 0);
    EXPECT_EQ(machine.mapped_while_stale, 0u);
    EXPECT_EQ(machine.mapped_pages(card), 0u);
}

} // namespace
} // namespace dmaudit::alloc
