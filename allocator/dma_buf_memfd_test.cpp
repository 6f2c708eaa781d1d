#include "allocator/dma_buf_memfd.hpp"

#include <gtest/gtest.h>

#include "allocator/testing_platform.hpp"

#ifdef __linux__

namespace dmaudit::alloc {
namespace {

using dmaudit::testing::TestPlatform;

constexpr std::uint64_t kPage = 4096;

class MemfdTest : public ::testing::Test {
  protected:
    // What a device that is a program does with a range of the file.
    std::uint8_t* device_maps(std::uint64_t offset, std::uint64_t size) const
    {
        void* at =
            ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, exporter.file(), static_cast<off_t>(offset));
        EXPECT_NE(at, MAP_FAILED);
        return static_cast<std::uint8_t*>(at);
    }

    TestPlatform machine;
    Platform platform{machine.raw};
    MemfdExporter exporter{platform};
    DmaBufs bufs{platform};
};

TEST_F(MemfdTest, EveryViewIsTheSameMemory)
{
    const DmaBufId id = *exporter.open(bufs, 3 * kPage, "memfd");
    const AttachmentId attachment = *bufs.attach(id, 0);
    const DmaBufMapping mapping = *bufs.map_attachment(attachment, Direction::Bidirectional);
    ASSERT_EQ(mapping.n, 1u);
    std::uint8_t* device = device_maps(mapping.segments[0].bus.value, mapping.segments[0].length);
    std::byte* all = *bufs.vmap(id);
    std::byte* page = *bufs.kmap(id, 1, false);
    const Window window = *bufs.mmap(id, 1, 1);
    std::uint8_t* user = device_maps(window.phys.value, window.size);
    device[kPage + 5] = 0x11;
    EXPECT_EQ(all[kPage + 5], std::byte{0x11});
    EXPECT_EQ(page[5], std::byte{0x11});
    EXPECT_EQ(user[5], 0x11);
    user[6] = 0x22;
    EXPECT_EQ(device[kPage + 6], 0x22);
    EXPECT_NE(all + kPage, page) << "a vmap is a mapping of its own";
    EXPECT_EQ(bufs.mmap(id, 2, 2).error(), DmaError::BadArgument);
    EXPECT_NE(ftruncate(exporter.file(), kPage), 0) << "sealed: no page goes away under an importer";

    const int file = exporter.file();
    EXPECT_TRUE(bufs.kunmap(id, 1, false, page));
    EXPECT_TRUE(bufs.vunmap(id, all));
    EXPECT_TRUE(bufs.unmap_attachment(attachment, mapping.serial, Direction::Bidirectional));
    EXPECT_TRUE(bufs.detach(id, attachment));
    EXPECT_TRUE(bufs.put(id));
    EXPECT_EQ(exporter.file(), -1);
    EXPECT_EQ(fcntl(file, F_GETFD), -1) << "released means closed";
    EXPECT_EQ(device[kPage + 6], 0x22) << "the device's own mapping holds the pages";
    ::munmap(device, 3 * kPage);
    ::munmap(user, kPage);
    EXPECT_EQ(machine.meta_live, 0);
}

TEST_F(MemfdTest, RefusalsLeaveNoFile)
{
    EXPECT_EQ(exporter.open(bufs, 0, "x").error(), DmaError::BadArgument);
    EXPECT_EQ(exporter.open(bufs, kPage + 1, "x").error(), DmaError::BadArgument);
    machine.meta_budget = 0;
    EXPECT_EQ(exporter.open(bufs, kPage, "x").error(), DmaError::NoMemory);
    EXPECT_EQ(exporter.file(), -1);
    machine.meta_budget = INT64_MAX;
    const DmaBufId id = *exporter.open(bufs, kPage, "x");
    EXPECT_EQ(exporter.open(bufs, kPage, "twice").error(), DmaError::BadArgument);
    machine.meta_budget = 0;
    EXPECT_EQ(bufs.attach(id, 0).error(), DmaError::NoMemory);
    EXPECT_EQ(bufs.info(id)->attachments, 0u);
    machine.meta_budget = INT64_MAX;
    EXPECT_EQ(bufs.attach(id, machine.add_device(true, kPage - 2)).error(), DmaError::DmaMaskNotMatch);
    EXPECT_TRUE(bufs.attach(id, machine.add_device(true, kPage - 1)));
}

} // namespace
} // namespace dmaudit::alloc

#endif
