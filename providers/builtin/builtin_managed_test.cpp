#include "providers/builtin/builtin.hpp"

#include <gtest/gtest.h>

#include "allocator/testing_platform.hpp"

namespace dmaudit {
namespace {

using dmaudit::testing::TestPlatform;

constexpr std::uint64_t kPage = 4096;

// Everything below goes through the C table only.
class BuiltinManagedTest : public ::testing::Test {
  protected:
    BuiltinManagedTest() : machine(64, 16) { EXPECT_EQ(p.open(&machine.raw, &ctx), DMAUDIT_OK); }
    ~BuiltinManagedTest() override
    {
        p.close(ctx);
        EXPECT_EQ(machine.meta_live, 0);
        EXPECT_TRUE(machine.uncached.empty());
    }
    static dmaudit_request request(std::uint32_t device, std::uint64_t size)
    {
        return {sizeof(dmaudit_request), device, size, 0, 0, 0, DMAUDIT_ZERO, 0};
    }
    static void count(void* data) { ++*static_cast<int*>(data); }

    TestPlatform machine;
    const dmaudit_provider& p = builtin_provider();
    const dmaudit_managed& m = *builtin_provider().managed;
    void* ctx = nullptr;
    dmaudit_block block{sizeof(dmaudit_block)};
    int counted = 0;
};

TEST_F(BuiltinManagedTest, EveryCallIsThere)
{
    EXPECT_TRUE(DMAUDIT_HAS(&p, managed) && DMAUDIT_HAS(p.managed, bind) && DMAUDIT_HAS(p.managed, unbind));
    EXPECT_TRUE(DMAUDIT_HAS(p.managed, alloc) && DMAUDIT_HAS(p.managed, free));
    EXPECT_TRUE(DMAUDIT_HAS(p.managed, alloc_noncoherent) && DMAUDIT_HAS(p.managed, free_noncoherent));
    EXPECT_TRUE(DMAUDIT_HAS(p.managed, declare) && DMAUDIT_HAS(p.managed, release_declared));
    EXPECT_TRUE(DMAUDIT_HAS(p.managed, add_action) && DMAUDIT_HAS(p.managed, open_group));
    EXPECT_TRUE(DMAUDIT_HAS(p.managed, release_group));
}

TEST_F(BuiltinManagedTest, BlocksGoWithTheirDriver)
{
    const dmaudit_request r = request(1, 100);
    EXPECT_EQ(m.alloc(ctx, &r, &block), DMAUDIT_ENODEV);
    EXPECT_EQ(block.cpu, nullptr) << "untouched";
    ASSERT_EQ(m.bind(ctx, 1), DMAUDIT_OK);
    EXPECT_EQ(m.bind(ctx, 1), DMAUDIT_EBUSY);
    ASSERT_EQ(m.alloc(ctx, &r, &block), DMAUDIT_OK);
    EXPECT_EQ(block.cpu, machine.ram(0));
    EXPECT_EQ(block.flags, DMAUDIT_ZERO);
    dmaudit_block lie = block;
    lie.cookie[1]++;
    EXPECT_EQ(m.free(ctx, &lie), DMAUDIT_EFAULT);
    ASSERT_EQ(m.free(ctx, &block), DMAUDIT_OK);
    EXPECT_EQ(m.free(ctx, &block), DMAUDIT_EFAULT);
    dmaudit_block plain{sizeof(dmaudit_block)};
    ASSERT_EQ(p.coherent->alloc(ctx, &r, &plain), DMAUDIT_OK);
    EXPECT_EQ(m.free(ctx, &plain), DMAUDIT_EFAULT) << "not managed";
    ASSERT_EQ(m.alloc(ctx, &r, &block), DMAUDIT_OK);
    ASSERT_EQ(m.unbind(ctx, 1), DMAUDIT_OK);
    EXPECT_EQ(p.coherent->free(ctx, &block), DMAUDIT_EFAULT) << "gone";
    EXPECT_EQ(p.coherent->free(ctx, &plain), DMAUDIT_OK) << "still there";
    EXPECT_EQ(m.unbind(ctx, 1), DMAUDIT_ENODEV);
    dmaudit_request small = r;
    small.struct_size = 8;
    EXPECT_EQ(m.alloc(ctx, &small, &block), DMAUDIT_EINVAL);
}

TEST_F(BuiltinManagedTest, ActionsGroupsAndPools)
{
    const std::uint64_t phys = TestPlatform::kBase + 32 * kPage;
    std::uint32_t exclusive = 1;
    EXPECT_EQ(m.declare(ctx, 1, phys, phys, kPage, nullptr), DMAUDIT_ENULL);
    EXPECT_EQ(m.declare(ctx, 1, phys, phys, kPage, &exclusive), DMAUDIT_ENODEV);
    ASSERT_EQ(m.bind(ctx, 1), DMAUDIT_OK);
    EXPECT_EQ(m.release_declared(ctx, 1), DMAUDIT_ENODEV);
    ASSERT_EQ(m.add_action(ctx, 1, count, &counted), DMAUDIT_OK);
    EXPECT_EQ(m.add_action(ctx, 1, nullptr, nullptr), DMAUDIT_ENULL);
    ASSERT_EQ(m.open_group(ctx, 1, 5), DMAUDIT_OK);
    ASSERT_EQ(m.declare(ctx, 1, phys, phys, kPage, &exclusive), DMAUDIT_OK);
    const dmaudit_request r = request(1, 1);
    ASSERT_EQ(m.alloc(ctx, &r, &block), DMAUDIT_OK);
    EXPECT_EQ(block.bus, phys) << "the pool's";
    EXPECT_EQ(m.alloc(ctx, &r, &block), DMAUDIT_ENOMEM) << "exclusive";
    EXPECT_EQ(m.release_group(ctx, 1, 6), DMAUDIT_EINVAL);
    ASSERT_EQ(m.release_group(ctx, 1, 5), DMAUDIT_OK);
    EXPECT_TRUE(machine.uncached.empty());
    EXPECT_EQ(counted, 0);
    ASSERT_EQ(m.declare(ctx, 1, phys, phys, kPage, &exclusive), DMAUDIT_OK);
    ASSERT_EQ(m.release_declared(ctx, 1), DMAUDIT_OK);
    ASSERT_EQ(m.unbind(ctx, 1), DMAUDIT_OK);
    EXPECT_EQ(counted, 1);
}

TEST_F(BuiltinManagedTest, NoncoherentDirectionsAreChecked)
{
    ASSERT_EQ(m.bind(ctx, 1), DMAUDIT_OK);
    const dmaudit_request r = request(1, 100);
    EXPECT_EQ(m.alloc_noncoherent(ctx, &r, DMAUDIT_DIRECTION_NONE, &block), DMAUDIT_EINVAL);
    if (m.alloc_noncoherent(ctx, &r, DMAUDIT_TO_DEVICE, &block) != DMAUDIT_OK)
        GTEST_SKIP() << "the allocator has no such memory yet";
    EXPECT_EQ(m.free_noncoherent(ctx, &block, DMAUDIT_DIRECTION_NONE), DMAUDIT_EFAULT);
    EXPECT_EQ(m.free_noncoherent(ctx, &block, DMAUDIT_TO_DEVICE), DMAUDIT_OK);
}

} // namespace
} // namespace dmaudit
