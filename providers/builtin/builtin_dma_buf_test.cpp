#include <gtest/gtest.h>

#include "allocator/testing_platform.hpp"
#include "providers/builtin/builtin.hpp"

namespace dmaudit {
namespace {

using dmaudit::testing::TestPlatform;

constexpr std::uint64_t kPage = 4096;

// Everything below goes through the C table only.
class BuiltinDmaBufTest : public ::testing::Test {
  protected:
    BuiltinDmaBufTest() : machine(64, 16)
    {
        EXPECT_EQ(p.open(&machine.raw, &ctx), DMAUDIT_OK);
        sg.segments = segments;
        sg.n_entries = 2;
    }
    ~BuiltinDmaBufTest() override
    {
        p.close(ctx);
        EXPECT_EQ(machine.meta_live, 0);
        EXPECT_TRUE(machine.uncached.empty());
    }

    TestPlatform machine;
    const dmaudit_provider& p = builtin_provider();
    const dmaudit_dma_buf& d = *p.dma_buf;
    void* ctx = nullptr;
    std::uint64_t buf = 0, attachment = 0;
    dmaudit_sg_segment segments[2]{};
    dmaudit_sg sg{sizeof(dmaudit_sg)};
};

TEST_F(BuiltinDmaBufTest, TheTableIsComplete)
{
    ASSERT_TRUE(DMAUDIT_HAS(&p, dma_buf));
    EXPECT_TRUE(DMAUDIT_HAS(&d, export_block) && DMAUDIT_HAS(&d, export_pages) && DMAUDIT_HAS(&d, fd) &&
                DMAUDIT_HAS(&d, close_fd) && DMAUDIT_HAS(&d, dup_fd) && DMAUDIT_HAS(&d, get) && DMAUDIT_HAS(&d, put) &&
                DMAUDIT_HAS(&d, attach) && DMAUDIT_HAS(&d, detach) && DMAUDIT_HAS(&d, map_attachment) &&
                DMAUDIT_HAS(&d, unmap_attachment) && DMAUDIT_HAS(&d, begin_cpu_access) &&
                DMAUDIT_HAS(&d, end_cpu_access) && DMAUDIT_HAS(&d, kmap) && DMAUDIT_HAS(&d, kunmap) &&
                DMAUDIT_HAS(&d, mmap) && DMAUDIT_HAS(&d, vmap) && DMAUDIT_HAS(&d, vunmap));
}

TEST_F(BuiltinDmaBufTest, ALifeThroughTheInterface)
{
    std::uint8_t* pages = machine.ram(40);
    EXPECT_EQ(d.export_pages(ctx, nullptr, kPage, "x", &buf), DMAUDIT_ENULL);
    EXPECT_EQ(d.export_pages(ctx, pages, 0, "x", &buf), DMAUDIT_EINVAL);
    EXPECT_EQ(d.export_pages(ctx, pages, 100, "x", &buf), DMAUDIT_EINVAL);
    ASSERT_EQ(d.export_pages(ctx, pages, 2 * kPage, "x", &buf), DMAUDIT_OK);
    EXPECT_EQ(d.attach(ctx, buf, 9, &attachment), DMAUDIT_ENODEV);
    ASSERT_EQ(d.attach(ctx, buf, 1, &attachment), DMAUDIT_OK);
    EXPECT_EQ(d.map_attachment(ctx, attachment, DMAUDIT_DIRECTION_NONE, &sg), DMAUDIT_EINVAL);
    sg.n_entries = 0;
    EXPECT_EQ(d.map_attachment(ctx, attachment, DMAUDIT_FROM_DEVICE, &sg), DMAUDIT_EINVAL) << "no room";
    sg.n_entries = 2;
    ASSERT_EQ(d.map_attachment(ctx, attachment, DMAUDIT_FROM_DEVICE, &sg), DMAUDIT_OK) << "the first one was undone";
    EXPECT_EQ(sg.n_segments, 1u);
    EXPECT_EQ(sg.device, 1u);
    EXPECT_EQ(sg.direction, static_cast<std::uint32_t>(DMAUDIT_FROM_DEVICE));
    EXPECT_EQ(segments[0].bus, machine.phys(pages));
    EXPECT_EQ(segments[0].length, 2 * kPage);
    dmaudit_sg_segment others[2]{};
    dmaudit_sg other{sizeof(dmaudit_sg)};
    other.segments = others;
    other.n_entries = 2;
    EXPECT_EQ(d.map_attachment(ctx, attachment, DMAUDIT_TO_DEVICE, &other), DMAUDIT_EBUSY);
    machine.device_write(1, segments[0].bus, {7});
    ASSERT_EQ(d.begin_cpu_access(ctx, buf, 0, 10, DMAUDIT_FROM_DEVICE), DMAUDIT_OK);
    EXPECT_EQ(pages[0], 7);
    EXPECT_EQ(d.end_cpu_access(ctx, buf, 0, 11, DMAUDIT_FROM_DEVICE), DMAUDIT_EFAULT);
    EXPECT_EQ(d.end_cpu_access(ctx, buf, 0, 10, DMAUDIT_DIRECTION_NONE), DMAUDIT_EINVAL);
    EXPECT_EQ(d.end_cpu_access(ctx, buf, 0, 10, DMAUDIT_FROM_DEVICE), DMAUDIT_OK);
    EXPECT_EQ(d.put(ctx, buf), DMAUDIT_EFAULT) << "attached";
    segments[0].bus++;
    EXPECT_EQ(d.unmap_attachment(ctx, attachment, &sg, DMAUDIT_FROM_DEVICE), DMAUDIT_EFAULT);
    segments[0].bus--;
    sg.cookie[0]++;
    EXPECT_EQ(d.unmap_attachment(ctx, attachment, &sg, DMAUDIT_FROM_DEVICE), DMAUDIT_EFAULT);
    sg.cookie[0]--;
    EXPECT_EQ(d.unmap_attachment(ctx, attachment, &sg, DMAUDIT_BIDIRECTIONAL), DMAUDIT_EFAULT);
    EXPECT_EQ(d.detach(ctx, buf, attachment), DMAUDIT_EFAULT) << "mapped";
    EXPECT_EQ(d.unmap_attachment(ctx, attachment, &sg, DMAUDIT_FROM_DEVICE), DMAUDIT_OK);
    EXPECT_EQ(d.unmap_attachment(ctx, attachment, &sg, DMAUDIT_FROM_DEVICE), DMAUDIT_EFAULT);
    EXPECT_EQ(d.detach(ctx, buf, attachment), DMAUDIT_OK);
    EXPECT_EQ(d.detach(ctx, buf, attachment), DMAUDIT_EFAULT);
    EXPECT_EQ(d.put(ctx, buf), DMAUDIT_OK);
    EXPECT_EQ(d.put(ctx, buf), DMAUDIT_EFAULT);
}

TEST_F(BuiltinDmaBufTest, ABlockItsDescriptorsAndItsAddresses)
{
    const dmaudit_request request{sizeof(dmaudit_request), 1, kPage + 1, 0, 0, 0, DMAUDIT_ZERO, 0};
    dmaudit_block block{sizeof(dmaudit_block)};
    ASSERT_EQ(p.coherent->alloc(ctx, &request, &block), DMAUDIT_OK);
    dmaudit_block lie = block;
    lie.cookie[1]++;
    EXPECT_EQ(d.export_block(ctx, &lie, "b", &buf), DMAUDIT_EFAULT);
    EXPECT_EQ(d.export_block(ctx, nullptr, "b", &buf), DMAUDIT_ENULL);
    ASSERT_EQ(d.export_block(ctx, &block, "b", &buf), DMAUDIT_OK);
    EXPECT_EQ(p.coherent->free(ctx, &block), DMAUDIT_EBUSY);
    int fd = -1, copy = -1;
    std::uint64_t again = 0;
    ASSERT_EQ(d.fd(ctx, buf, &fd), DMAUDIT_OK);
    EXPECT_EQ(fd, 0);
    ASSERT_EQ(d.dup_fd(ctx, fd, &copy), DMAUDIT_OK);
    EXPECT_EQ(copy, 1);
    ASSERT_EQ(d.get(ctx, fd, &again), DMAUDIT_OK);
    EXPECT_EQ(again, buf);
    EXPECT_EQ(d.get(ctx, 7, &again), DMAUDIT_EBADF);
    EXPECT_EQ(d.dup_fd(ctx, -1, &copy), DMAUDIT_EBADF);
    EXPECT_EQ(d.close_fd(ctx, 7), DMAUDIT_EBADF);
    EXPECT_EQ(d.close_fd(ctx, fd), DMAUDIT_OK);
    EXPECT_EQ(d.close_fd(ctx, copy), DMAUDIT_OK);
    void *vmap = nullptr, *kmap = nullptr;
    ASSERT_EQ(d.vmap(ctx, buf, &vmap), DMAUDIT_OK);
    EXPECT_EQ(vmap, block.cpu);
    EXPECT_EQ(d.vunmap(ctx, buf, nullptr), DMAUDIT_EFAULT);
    EXPECT_EQ(d.vunmap(ctx, buf, vmap), DMAUDIT_OK);
    EXPECT_EQ(d.kmap(ctx, buf, 2, 0, &kmap), DMAUDIT_EINVAL);
    ASSERT_EQ(d.kmap(ctx, buf, 1, 1, &kmap), DMAUDIT_OK);
    EXPECT_EQ(kmap, static_cast<std::uint8_t*>(block.cpu) + kPage);
    EXPECT_EQ(d.kunmap(ctx, buf, 1, 0, kmap), DMAUDIT_EFAULT);
    EXPECT_EQ(d.kunmap(ctx, buf, 1, 1, kmap), DMAUDIT_OK);
    dmaudit_window window{sizeof window};
    EXPECT_EQ(d.mmap(ctx, buf, 0, 2, &window), DMAUDIT_EINVAL);
    ASSERT_EQ(d.mmap(ctx, buf, 0, 1, &window), DMAUDIT_OK);
    EXPECT_EQ(window.phys, machine.phys(block.cpu));
    EXPECT_EQ(window.size, kPage);
    EXPECT_EQ(d.put(ctx, buf), DMAUDIT_OK);
    EXPECT_EQ(p.coherent->free(ctx, &block), DMAUDIT_OK);
    for (const std::uint64_t wrong : {std::uint64_t{0}, buf, UINT64_MAX})
        EXPECT_EQ(d.put(ctx, wrong), DMAUDIT_EFAULT);
}

} // namespace
} // namespace dmaudit
