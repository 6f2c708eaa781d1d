#include "providers/builtin/builtin.hpp"

#include <gtest/gtest.h>

#include "allocator/testing_platform.hpp"

namespace dmaudit {
namespace {

using dmaudit::testing::TestPlatform;

// Everything below goes through the C table only. Device 2 reaches the arena alone: its lists are bounced.
class BuiltinScatterTest : public ::testing::Test {
  protected:
    BuiltinScatterTest() : machine(64, 16)
    {
        machine.add_device(true, TestPlatform::kBase + 16 * machine.raw.page - 1);
        EXPECT_EQ(p.open(&machine.raw, &ctx), DMAUDIT_OK);
        entries[0] = {machine.ram(32), 100};
        entries[1] = {machine.ram(32, 100), 28};
        entries[2] = {machine.ram(40), 64};
        sg = {sizeof sg, 0, entries, segments, 3, 0, DMAUDIT_FROM_DEVICE, 0, {}};
    }
    ~BuiltinScatterTest() override
    {
        p.close(ctx);
        EXPECT_EQ(machine.meta_live, 0);
    }
    dmaudit_request request(std::uint32_t device, std::uint64_t longest = 0)
    {
        sg.device = device;
        return {sizeof(dmaudit_request), device, longest, 0, 0, 0, 0, 0};
    }

    TestPlatform machine;
    const dmaudit_provider& p = builtin_provider();
    void* ctx = nullptr;
    dmaudit_sg_entry entries[3];
    dmaudit_sg_segment segments[3] = {};
    dmaudit_sg sg;
};

TEST_F(BuiltinScatterTest, EveryCallIsThere)
{
    EXPECT_TRUE(DMAUDIT_HAS(&p, scatter) && DMAUDIT_HAS(p.scatter, map_sg) && DMAUDIT_HAS(p.scatter, unmap_sg));
    EXPECT_TRUE(DMAUDIT_HAS(p.scatter, sync_sg));
}

TEST_F(BuiltinScatterTest, ListsTravelThroughTheInterface)
{
    const dmaudit_request direct = request(0);
    ASSERT_EQ(p.scatter->map_sg(ctx, &direct, &sg), DMAUDIT_OK);
    EXPECT_EQ(sg.n_segments, 2u);
    EXPECT_EQ(sg.n_entries, 3u);
    EXPECT_EQ(segments[0].bus, machine.phys(machine.ram(32)));
    EXPECT_EQ(segments[0].length, 128u);
    EXPECT_EQ(segments[1].length, 64u);
    EXPECT_EQ(p.scatter->unmap_sg(ctx, &sg, sg.n_segments, 0), DMAUDIT_EFAULT) << "the count of segments";
    EXPECT_EQ(p.scatter->unmap_sg(ctx, &sg, 3, 0), DMAUDIT_OK);

    const dmaudit_request far = request(2);
    ASSERT_EQ(p.scatter->map_sg(ctx, &far, &sg), DMAUDIT_OK);
    const dmaudit_sg_segment last = segments[sg.n_segments - 1];
    machine.device_write(2, last.bus + last.length - 1, {9});
    EXPECT_EQ(p.scatter->sync_sg(ctx, &sg, 2, DMAUDIT_FROM_DEVICE, DMAUDIT_FOR_CPU), DMAUDIT_EFAULT);
    EXPECT_EQ(p.scatter->sync_sg(ctx, &sg, 3, DMAUDIT_DIRECTION_NONE, DMAUDIT_FOR_CPU), DMAUDIT_EINVAL);
    EXPECT_EQ(p.scatter->sync_sg(ctx, &sg, 3, DMAUDIT_FROM_DEVICE, 2), DMAUDIT_EINVAL);
    EXPECT_EQ(p.scatter->sync_sg(ctx, &sg, 3, DMAUDIT_TO_DEVICE, DMAUDIT_FOR_CPU), DMAUDIT_EINVAL);
    ASSERT_EQ(p.scatter->sync_sg(ctx, &sg, 3, DMAUDIT_FROM_DEVICE, DMAUDIT_FOR_CPU), DMAUDIT_OK);
    EXPECT_EQ(machine.ram(40)[63], 9);
    dmaudit_sg lie = sg;
    lie.direction = DMAUDIT_DIRECTION_NONE;
    EXPECT_EQ(p.scatter->unmap_sg(ctx, &lie, 3, 0), DMAUDIT_EFAULT);
    lie = sg;
    lie.cookie[1]++;
    EXPECT_EQ(p.scatter->unmap_sg(ctx, &lie, 3, 0), DMAUDIT_EFAULT);
    machine.device_write(2, last.bus, {7});
    ASSERT_EQ(p.scatter->unmap_sg(ctx, &sg, 3, DMAUDIT_ATTR_SKIP_CPU_SYNC), DMAUDIT_OK);
    EXPECT_NE(machine.ram(40)[0], 7) << "the attribute arrives";
    EXPECT_EQ(p.scatter->unmap_sg(ctx, &sg, 3, 0), DMAUDIT_EFAULT);
}

TEST_F(BuiltinScatterTest, FailuresLeaveTheListAlone)
{
    const dmaudit_request narrow = request(0, 99);
    EXPECT_EQ(p.scatter->map_sg(ctx, &narrow, &sg), DMAUDIT_EINVAL);
    const dmaudit_request r = request(0);
    sg.device = 1;
    EXPECT_EQ(p.scatter->map_sg(ctx, &r, &sg), DMAUDIT_EINVAL) << "two devices";
    sg.device = 0;
    sg.direction = DMAUDIT_DIRECTION_NONE;
    EXPECT_EQ(p.scatter->map_sg(ctx, &r, &sg), DMAUDIT_EINVAL);
    sg.direction = DMAUDIT_TO_DEVICE;
    sg.entries = nullptr;
    EXPECT_EQ(p.scatter->map_sg(ctx, &r, &sg), DMAUDIT_ENULL);
    sg.n_entries = 0;
    EXPECT_EQ(p.scatter->map_sg(ctx, &r, &sg), DMAUDIT_EINVAL);
    sg.entries = entries;
    sg.n_entries = 3;
    sg.struct_size = 8;
    EXPECT_EQ(p.scatter->map_sg(ctx, &r, &sg), DMAUDIT_EINVAL);
    EXPECT_EQ(p.scatter->unmap_sg(ctx, &sg, 3, 0), DMAUDIT_EINVAL);
    EXPECT_EQ(sg.n_segments, 0u);
    EXPECT_EQ(segments[0].length, 0u);
}

} // namespace
} // namespace dmaudit
