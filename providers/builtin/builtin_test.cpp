#include "providers/builtin/builtin.hpp"

#include <vector>

#include <gtest/gtest.h>

#include "allocator/testing_platform.hpp"

namespace dmaudit {
namespace {

using dmaudit::testing::TestPlatform;

constexpr std::uint64_t kPage = 4096;

// Everything below goes through the C table only.
class BuiltinTest : public ::testing::Test {
  protected:
    BuiltinTest() : machine(64, 16) { EXPECT_EQ(p.open(&machine.raw, &ctx), DMAUDIT_OK); }
    ~BuiltinTest() override
    {
        p.close(ctx);
        EXPECT_EQ(machine.meta_live, 0);
        EXPECT_TRUE(machine.uncached.empty());
    }
    static dmaudit_request request(std::uint32_t device, std::uint64_t size)
    {
        return {sizeof(dmaudit_request), device, size, 0, 0, 0, DMAUDIT_ZERO, 0};
    }

    TestPlatform machine;
    const dmaudit_provider& p = builtin_provider();
    void* ctx = nullptr;
    dmaudit_block block{sizeof(dmaudit_block)};
    dmaudit_mapping mapping{sizeof(dmaudit_mapping)};
};

TEST_F(BuiltinTest, TheTableIsComplete)
{
    EXPECT_STREQ(p.name, "builtin");
    EXPECT_TRUE(DMAUDIT_HAS(&p, coherent) && DMAUDIT_HAS(p.coherent, alloc) && DMAUDIT_HAS(p.coherent, free));
    EXPECT_TRUE(DMAUDIT_HAS(&p, streaming) && DMAUDIT_HAS(p.streaming, map_single) && DMAUDIT_HAS(p.streaming, cache));
    EXPECT_TRUE(DMAUDIT_HAS(&p, pool) && DMAUDIT_HAS(p.pool, declare) && DMAUDIT_HAS(p.pool, release));
}

TEST_F(BuiltinTest, CoherentBlocksTravelThroughTheInterface)
{
    const dmaudit_request r = request(1, 100);
    ASSERT_EQ(p.coherent->alloc(ctx, &r, &block), DMAUDIT_OK);
    EXPECT_EQ(block.struct_size, sizeof block);
    EXPECT_EQ(block.size, 100u);
    EXPECT_EQ(block.granted, kPage);
    EXPECT_EQ(block.device, 1u);
    EXPECT_EQ(block.cpu, machine.ram(0));
    dmaudit_block lie = block;
    lie.bus++;
    EXPECT_EQ(p.coherent->free(ctx, &lie), DMAUDIT_EFAULT);
    lie = block;
    lie.cookie[0] = UINTPTR_MAX;
    EXPECT_EQ(p.coherent->free(ctx, &lie), DMAUDIT_EFAULT);
    lie.cookie[0] = 0;
    EXPECT_EQ(p.coherent->free(ctx, &lie), DMAUDIT_EFAULT);
    EXPECT_EQ(p.coherent->free(ctx, &block), DMAUDIT_OK);
    EXPECT_EQ(p.coherent->free(ctx, &block), DMAUDIT_EFAULT);
}

TEST_F(BuiltinTest, FailuresLeaveTheOutputAlone)
{
    const dmaudit_request r = request(0, 17 * kPage);
    const dmaudit_block before = block;
    EXPECT_EQ(p.coherent->alloc(ctx, &r, &block), DMAUDIT_ENOMEM);
    EXPECT_EQ(block.cpu, before.cpu);
    EXPECT_EQ(block.size, before.size);
    dmaudit_request small = r;
    small.struct_size = 8;
    EXPECT_EQ(p.coherent->alloc(ctx, &small, &block), DMAUDIT_EINVAL);
    dmaudit_request zero = request(0, 0);
    EXPECT_EQ(p.coherent->alloc(ctx, &zero, &block), DMAUDIT_EZERO);
}

TEST_F(BuiltinTest, MappingsTravelThroughTheInterface)
{
    const dmaudit_request r = request(1, 100);
    std::uint8_t* buffer = machine.ram(32, 5);
    EXPECT_EQ(p.streaming->map_single(ctx, &r, buffer, DMAUDIT_DIRECTION_NONE, &mapping), DMAUDIT_EINVAL);
    EXPECT_EQ(p.streaming->map_single(ctx, &r, nullptr, DMAUDIT_TO_DEVICE, &mapping), DMAUDIT_ENULL);
    ASSERT_EQ(p.streaming->map_single(ctx, &r, buffer, DMAUDIT_FROM_DEVICE, &mapping), DMAUDIT_OK);
    EXPECT_EQ(mapping.cpu, buffer);
    EXPECT_EQ(mapping.size, 100u);
    EXPECT_EQ(mapping.direction, static_cast<std::uint32_t>(DMAUDIT_FROM_DEVICE));
    machine.device_write(1, mapping.bus, {9, 8});
    EXPECT_EQ(p.streaming->sync(ctx, &mapping, 0, 1, DMAUDIT_DIRECTION_NONE, DMAUDIT_FOR_CPU), DMAUDIT_EINVAL);
    EXPECT_EQ(p.streaming->sync(ctx, &mapping, 0, 1, DMAUDIT_FROM_DEVICE, 2), DMAUDIT_EINVAL);
    EXPECT_EQ(p.streaming->sync(ctx, &mapping, 100, 1, DMAUDIT_FROM_DEVICE, DMAUDIT_FOR_CPU), DMAUDIT_EINVAL);
    ASSERT_EQ(p.streaming->sync(ctx, &mapping, 0, 1, DMAUDIT_FROM_DEVICE, DMAUDIT_FOR_CPU), DMAUDIT_OK);
    EXPECT_EQ(buffer[0], 9);
    dmaudit_mapping lie = mapping;
    lie.direction = DMAUDIT_DIRECTION_NONE;
    EXPECT_EQ(p.streaming->unmap_single(ctx, &lie, 100, 0), DMAUDIT_EFAULT);
    EXPECT_EQ(p.streaming->unmap_single(ctx, &mapping, 101, 0), DMAUDIT_EINVAL);
    ASSERT_EQ(p.streaming->unmap_single(ctx, &mapping, 100, 0), DMAUDIT_OK);
    EXPECT_EQ(buffer[1], 8);
    EXPECT_EQ(p.streaming->unmap_single(ctx, &mapping, 100, 0), DMAUDIT_EFAULT);
    EXPECT_EQ(p.streaming->cache(ctx, buffer, 10, 0), DMAUDIT_EINVAL);
    EXPECT_EQ(p.streaming->cache(ctx, buffer, 10, DMAUDIT_FLUSH), DMAUDIT_OK);
    EXPECT_EQ(p.streaming->cache(ctx, this, 10, DMAUDIT_FLUSH), DMAUDIT_EINVAL);
}

TEST_F(BuiltinTest, PoolsRouteAsLinuxDoes)
{
    const std::uint64_t phys = TestPlatform::kBase + 32 * kPage;
    std::uint32_t exclusive = 0;
    int ours = -1;
    EXPECT_EQ(p.pool->declare(ctx, 0, phys, phys, 0, &exclusive), DMAUDIT_EINVAL);
    ASSERT_EQ(p.pool->declare(ctx, 0, phys, phys, 2 * kPage, &exclusive), DMAUDIT_OK);
    EXPECT_EQ(p.pool->declare(ctx, 0, phys, phys, 2 * kPage, &exclusive), DMAUDIT_EBUSY);
    EXPECT_EQ(p.pool->declare(ctx, 7, phys, phys, 2 * kPage, &exclusive), DMAUDIT_ENODEV);
    ASSERT_EQ(p.pool->alloc_from(ctx, 0, kPage + 1, &block, &ours), DMAUDIT_OK);
    EXPECT_EQ(ours, 1);
    EXPECT_EQ(block.granted, 2 * kPage);
    static_cast<void>(p.pool->alloc_from(ctx, 0, 1, &block, &ours));
    EXPECT_EQ(ours, 0) << "full, and not exclusive";
    dmaudit_window window{sizeof window};
    ASSERT_EQ(p.pool->mmap_from(ctx, 0, block.cpu, kPage + 1, 1, 1, &window, &ours), DMAUDIT_OK);
    EXPECT_EQ(ours, 1);
    EXPECT_EQ(window.phys, phys + kPage);
    EXPECT_EQ(window.size, kPage);
    EXPECT_EQ(p.pool->mmap_from(ctx, 0, block.cpu, kPage + 1, 2, 1, &window, &ours), DMAUDIT_ENXIO);
    EXPECT_EQ(ours, 1);
    EXPECT_EQ(p.pool->release_from(ctx, 0, 0, block.cpu, &ours), DMAUDIT_EFAULT);
    EXPECT_EQ(ours, 1);
    static_cast<void>(p.pool->release_from(ctx, 0, 0, machine.ram(40), &ours));
    EXPECT_EQ(ours, 0);
    EXPECT_EQ(p.coherent->free(ctx, &block), DMAUDIT_OK) << "dma_free_attrs frees pool memory too";
    EXPECT_EQ(p.pool->release_from(ctx, 0, 1, block.cpu, &ours), DMAUDIT_EFAULT) << "double release";
    EXPECT_EQ(p.pool->release(ctx, 0), DMAUDIT_OK);
    EXPECT_EQ(p.pool->release(ctx, 0), DMAUDIT_OK) << "no pool, nothing to do";
}

TEST_F(BuiltinTest, OpaqueBlocksAreKnownByTheirCookie)
{
    EXPECT_NE(p.promises & DMAUDIT_PROMISES_NO_KERNEL_MAPPING, 0u);
    dmaudit_request r = request(1, kPage + 1);
    r.flags = 0;
    r.attrs = DMAUDIT_ATTR_NO_KERNEL_MAPPING;
    block.cpu = this;
    ASSERT_EQ(p.coherent->alloc(ctx, &r, &block), DMAUDIT_OK);
    EXPECT_EQ(block.cpu, nullptr);
    EXPECT_EQ(block.attrs, DMAUDIT_ATTR_NO_KERNEL_MAPPING);
    dmaudit_window window{sizeof window};
    EXPECT_EQ(p.coherent->mmap(ctx, &block, 1, 2, &window), DMAUDIT_ENXIO);
    EXPECT_EQ(window.size, 0u) << "untouched";
    ASSERT_EQ(p.coherent->mmap(ctx, &block, 1, 1, &window), DMAUDIT_OK);
    EXPECT_EQ(window.phys, TestPlatform::kBase + kPage);
    EXPECT_EQ(window.size, kPage);
    dmaudit_block lie = block;
    lie.cookie[1]++;
    EXPECT_EQ(p.coherent->mmap(ctx, &lie, 0, 1, &window), DMAUDIT_EFAULT);
    EXPECT_EQ(p.coherent->free(ctx, &lie), DMAUDIT_EFAULT);
    EXPECT_EQ(p.coherent->free(ctx, &block), DMAUDIT_OK);
    EXPECT_EQ(p.coherent->free(ctx, &block), DMAUDIT_EFAULT);
    r.size = 0;
    EXPECT_EQ(p.coherent->alloc(ctx, &r, &block), DMAUDIT_EINVAL);
}

TEST_F(BuiltinTest, NoncoherentBlocksTravelThroughTheInterface)
{
    const dmaudit_request r = request(1, 100);
    EXPECT_EQ(p.coherent->alloc_noncoherent(ctx, &r, DMAUDIT_DIRECTION_NONE, &block), DMAUDIT_EINVAL);
    ASSERT_EQ(p.coherent->alloc_noncoherent(ctx, &r, DMAUDIT_FROM_DEVICE, &block), DMAUDIT_OK);
    EXPECT_EQ(block.cpu, machine.ram(0));
    EXPECT_EQ(block.granted, kPage);
    ASSERT_EQ(p.coherent->sync_noncoherent(ctx, &block, 0, 100, DMAUDIT_FROM_DEVICE, DMAUDIT_FOR_DEVICE), DMAUDIT_OK);
    machine.device_write(1, block.bus, {9});
    EXPECT_EQ(p.coherent->sync_noncoherent(ctx, &block, 0, 100, DMAUDIT_DIRECTION_NONE, DMAUDIT_FOR_CPU),
              DMAUDIT_EINVAL);
    EXPECT_EQ(p.coherent->sync_noncoherent(ctx, &block, 0, 100, DMAUDIT_FROM_DEVICE, 2), DMAUDIT_EINVAL);
    ASSERT_EQ(p.coherent->sync_noncoherent(ctx, &block, 0, 100, DMAUDIT_FROM_DEVICE, DMAUDIT_FOR_CPU), DMAUDIT_OK);
    EXPECT_EQ(*machine.ram(0), 9);
    EXPECT_EQ(p.coherent->free(ctx, &block), DMAUDIT_EFAULT);
    EXPECT_EQ(p.coherent->free_noncoherent(ctx, &block, DMAUDIT_TO_DEVICE), DMAUDIT_EFAULT);
    EXPECT_EQ(p.coherent->free_noncoherent(ctx, &block, DMAUDIT_DIRECTION_NONE), DMAUDIT_EFAULT);
    EXPECT_EQ(p.coherent->free_noncoherent(ctx, &block, DMAUDIT_FROM_DEVICE), DMAUDIT_OK);
    EXPECT_EQ(p.coherent->free_noncoherent(ctx, &block, DMAUDIT_FROM_DEVICE), DMAUDIT_EFAULT);
}

} // namespace
} // namespace dmaudit
