#include <atomic>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "allocator/dma_buf.hpp"
#include "allocator/dma_buf_testing.hpp"
#include "allocator/testing_platform.hpp"

namespace dmaudit::alloc {
namespace {

using dmaudit::testing::FakeExporter;
using dmaudit::testing::TestPlatform;

constexpr std::uint64_t kSize = 5000;
constexpr Direction kTo = Direction::ToDevice, kFrom = Direction::FromDevice, kBoth = Direction::Bidirectional;

class DmaBufAttachTest : public ::testing::Test {
  protected:
    static bool refused(const Status& status, DmaError why = DmaError::IllegalCall)
    {
        return !status && status.error() == why;
    }

    TestPlatform machine;
    Platform platform{machine.raw};
    FakeExporter fake;
    DmaBufOps ops = FakeExporter::table();
    DmaBufs bufs{platform};
    DmaBufId id = *bufs.export_named(ops, &fake, kSize, "fake");
};

TEST_F(DmaBufAttachTest, OneDeviceManyAttachments)
{
    EXPECT_EQ(bufs.attach(id, 99).error(), DmaError::NoSuchDevice);
    const AttachmentId a = *bufs.attach(id, 0), b = *bufs.attach(id, 0), c = *bufs.attach(id, 1);
    EXPECT_NE(a, b);
    EXPECT_EQ(bufs.info(id)->attachments, 3u);
    EXPECT_TRUE(bufs.detach(id, b));
    EXPECT_TRUE(refused(bufs.detach(id, b)));
    EXPECT_TRUE(bufs.detach(id, c));
    EXPECT_TRUE(bufs.detach(id, a));
    EXPECT_EQ(fake.detached, 3);
    EXPECT_TRUE(bufs.put(id));
}

TEST_F(DmaBufAttachTest, ADetachNamesTheBufferAndNothingMapped)
{
    const DmaBufId other = *bufs.export_named(ops, &fake, kSize, "other");
    const AttachmentId attachment = *bufs.attach(id, 0);
    EXPECT_TRUE(refused(bufs.detach(other, attachment)));
    const DmaBufMapping mapping = *bufs.map_attachment(attachment, kTo);
    EXPECT_TRUE(refused(bufs.detach(id, attachment)));
    EXPECT_EQ(fake.detached, 0);
    EXPECT_TRUE(bufs.unmap_attachment(attachment, mapping.serial, kTo));
    EXPECT_TRUE(bufs.detach(id, attachment));
}

TEST_F(DmaBufAttachTest, AMappingIsSharedAndCounted)
{
    const AttachmentId attachment = *bufs.attach(id, 1);
    const DmaBufMapping first = *bufs.map_attachment(attachment, kTo);
    EXPECT_EQ(first.n, 2u);
    EXPECT_EQ(first.device, 1u);
    EXPECT_EQ(first.segments[1].length, 904u);
    const DmaBufMapping second = *bufs.map_attachment(attachment, kTo);
    EXPECT_EQ(second.segments, first.segments);
    EXPECT_EQ(second.serial, first.serial);
    EXPECT_EQ(fake.mapped, 1);
    EXPECT_EQ(bufs.map_attachment(attachment, kFrom).error(), DmaError::Busy);
    EXPECT_EQ(bufs.map_attachment(attachment, kBoth).error(), DmaError::Busy);
    EXPECT_TRUE(bufs.unmap_attachment(attachment, first.serial, kTo));
    EXPECT_EQ(fake.unmapped, 0);
    EXPECT_TRUE(refused(bufs.unmap_attachment(attachment, first.serial, kFrom)));
    EXPECT_TRUE(refused(bufs.unmap_attachment(attachment, first.serial + 1, kTo)));
    EXPECT_TRUE(bufs.unmap_attachment(attachment, first.serial, kTo));
    EXPECT_EQ(fake.unmapped, 1);
    EXPECT_TRUE(refused(bufs.unmap_attachment(attachment, first.serial, kTo)));
    const DmaBufMapping next = *bufs.map_attachment(attachment, kFrom);
    EXPECT_NE(next.serial, first.serial);
    EXPECT_TRUE(refused(bufs.unmap_attachment(attachment, first.serial, kFrom))) << "of an earlier life";
    EXPECT_TRUE(bufs.unmap_attachment(attachment, next.serial, kFrom));
}

TEST_F(DmaBufAttachTest, ABidirectionalMappingServesEveryDirection)
{
    const AttachmentId attachment = *bufs.attach(id, 0);
    fake.unmap_direction = kTo;
    const std::uint64_t serial = bufs.map_attachment(attachment, kBoth)->serial;
    EXPECT_TRUE(bufs.map_attachment(attachment, kTo));
    EXPECT_TRUE(bufs.map_attachment(attachment, kFrom));
    EXPECT_TRUE(bufs.unmap_attachment(attachment, serial, kBoth));
    EXPECT_TRUE(refused(bufs.unmap_attachment(attachment, serial, kBoth))) << "counted by direction";
    EXPECT_TRUE(bufs.unmap_attachment(attachment, serial, kTo));
    EXPECT_TRUE(bufs.unmap_attachment(attachment, serial, kFrom));
    EXPECT_EQ(fake.mapped, 1);
    EXPECT_EQ(fake.unmapped, 1);
    EXPECT_EQ(fake.unmap_direction, kBoth) << "as it was mapped, not as the last user had it";
}

TEST_F(DmaBufAttachTest, AFailureOfTheExporterChangesNothing)
{
    fake.fails = true;
    EXPECT_EQ(bufs.attach(id, 0).error(), DmaError::PlatformError);
    EXPECT_EQ(bufs.info(id)->attachments, 0u);
    fake.fails = false;
    const AttachmentId attachment = *bufs.attach(id, 0);
    fake.fails = true;
    EXPECT_EQ(bufs.map_attachment(attachment, kTo).error(), DmaError::PlatformError);
    EXPECT_EQ(bufs.mapping(attachment).error(), DmaError::IllegalCall);
    fake.fails = false;
    fake.empty = true;
    EXPECT_EQ(bufs.map_attachment(attachment, kTo).error(), DmaError::NoMemory) << "a table of nothing";
    EXPECT_EQ(bufs.mapping(attachment).error(), DmaError::IllegalCall);
    fake.empty = false;
    const std::uint64_t serial = bufs.map_attachment(attachment, kFrom)->serial;
    fake.fails = true;
    EXPECT_TRUE(refused(bufs.unmap_attachment(attachment, serial, kFrom), DmaError::PlatformError));
    fake.fails = false;
    EXPECT_EQ(bufs.mapping(attachment)->serial, serial) << "still mapped";
    EXPECT_TRUE(bufs.unmap_attachment(attachment, serial, kFrom));
    EXPECT_TRUE(bufs.detach(id, attachment));
    EXPECT_TRUE(bufs.put(id));
    EXPECT_EQ(fake.released, 1);
}

TEST_F(DmaBufAttachTest, WhatAnotherCallIsChangingIsBusy)
{
    const AttachmentId attachment = *bufs.attach(id, 0);
    int calls = 0;
    const auto all_busy = [&] {
        const auto again = std::exchange(fake.calls_back, nullptr);
        calls++;
        EXPECT_EQ(bufs.map_attachment(attachment, kTo).error(), DmaError::Busy);
        EXPECT_TRUE(refused(bufs.unmap_attachment(attachment, 1, kTo), DmaError::Busy));
        EXPECT_TRUE(refused(bufs.detach(id, attachment), DmaError::Busy));
        EXPECT_TRUE(refused(bufs.put(id), DmaError::Busy));
        fake.calls_back = again;
    };
    fake.calls_back = all_busy;
    const std::uint64_t serial = bufs.map_attachment(attachment, kTo)->serial;
    EXPECT_TRUE(bufs.unmap_attachment(attachment, serial, kTo));
    EXPECT_TRUE(bufs.detach(id, attachment));
    EXPECT_EQ(calls, 3);
    fake.calls_back = [&] {
        fake.calls_back = nullptr;
        EXPECT_EQ(bufs.vmap(id).error(), DmaError::Busy);
        EXPECT_TRUE(refused(bufs.vunmap(id, fake.memory), DmaError::Busy));
    };
    EXPECT_TRUE(bufs.vmap(id));
    EXPECT_TRUE(bufs.vunmap(id, fake.memory));
    EXPECT_TRUE(bufs.put(id));
}

TEST_F(DmaBufAttachTest, ABracketForWritingIsOpenedAlone)
{
    const AttachmentId attachment = *bufs.attach(id, 0);
    int checks = 0;
    const auto once = [&](std::function<void()> check) {
        fake.calls_back = [&, check] {
            fake.calls_back = nullptr;
            checks++;
            check();
        };
    };
    once([&] {
        EXPECT_TRUE(refused(bufs.begin_cpu_access(id, kTo), DmaError::Busy));
        EXPECT_TRUE(bufs.begin_cpu_access(id, kFrom)) << "reading brings nothing older home";
    });
    const std::uint64_t serial = bufs.map_attachment(attachment, kBoth)->serial;
    once([&] { EXPECT_TRUE(refused(bufs.begin_cpu_access(id, kBoth), DmaError::Busy)); });
    EXPECT_TRUE(bufs.unmap_attachment(attachment, serial, kBoth));
    once([&] {
        EXPECT_EQ(bufs.map_attachment(attachment, kTo).error(), DmaError::Busy);
        EXPECT_TRUE(refused(bufs.begin_cpu_access(id, kFrom), DmaError::Busy));
        EXPECT_TRUE(refused(bufs.begin_cpu_access(id, kTo), DmaError::Busy));
    });
    EXPECT_TRUE(bufs.begin_cpu_access(id, kTo));
    const std::uint64_t next = bufs.map_attachment(attachment, kTo)->serial;
    once([&] { EXPECT_TRUE(refused(bufs.unmap_attachment(attachment, next, kTo), DmaError::Busy)); });
    EXPECT_TRUE(bufs.begin_cpu_access(id, kTo));
    EXPECT_TRUE(bufs.unmap_attachment(attachment, next, kTo));
    EXPECT_EQ(checks, 4);
    EXPECT_TRUE(bufs.detach(id, attachment));
    EXPECT_TRUE(bufs.put(id));
}

// What map and unmap are told of the CPU's brackets.
struct Observer : FakeExporter {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> free;
    bool any = false;
    static Result<DmaBufTable> observe(void* p, const Device&, void*, Direction, const CpuHeld& held) noexcept
    {
        auto& self = static_cast<Observer&>(*static_cast<FakeExporter*>(p));
        self.any = held.any();
        self.free.clear();
        for (std::uint64_t start = 0, length = 0; held.next_free(start, length); start += length)
            self.free.emplace_back(start, length);
        return DmaBufTable{self.segments, 2};
    }
};

TEST_F(DmaBufAttachTest, TheExporterSeesWhichBytesTheCpuHolds)
{
    static Observer seen; // outlives the buffers
    seen = {};
    ops.map = Observer::observe;
    const DmaBufId watched = *bufs.export_named(ops, static_cast<FakeExporter*>(&seen), kSize, "watched");
    const AttachmentId attachment = *bufs.attach(watched, 0);
    const auto look = [&] {
        const std::uint64_t serial = bufs.map_attachment(attachment, kTo)->serial;
        EXPECT_TRUE(bufs.unmap_attachment(attachment, serial, kTo));
        return seen.free;
    };
    using Ranges = std::vector<std::pair<std::uint64_t, std::uint64_t>>;
    ASSERT_TRUE(bufs.begin_cpu_access(watched, 100, 100, kFrom));
    ASSERT_TRUE(bufs.begin_cpu_access(watched, 100, 0, kTo));
    EXPECT_EQ(look(), (Ranges{{0, kSize}})) << "who only reads holds nothing, nor does who has no bytes";
    EXPECT_FALSE(seen.any);
    ASSERT_TRUE(bufs.begin_cpu_access(watched, 300, 50, kTo));
    ASSERT_TRUE(bufs.begin_cpu_access(watched, 100, 100, kBoth));
    ASSERT_TRUE(bufs.begin_cpu_access(watched, 150, 100, kTo));
    EXPECT_EQ(look(), (Ranges{{0, 100}, {250, 50}, {350, kSize - 350}}));
    EXPECT_TRUE(seen.any);
    ASSERT_TRUE(bufs.begin_cpu_access(watched, kTo));
    EXPECT_EQ(look(), Ranges{});
    EXPECT_TRUE(seen.any);
}

// A table whose calls are free of data races, for several threads.
struct Counting {
    std::atomic<int> live = 0, maps = 0, vmaps = 0, released = 0;
    DmaSegment segment{{0x1000}, kSize};
    std::byte memory[1];
    static Counting& of(void* p) { return *static_cast<Counting*>(p); }
    static DmaBufOps table()
    {
        DmaBufOps ops{};
        ops.attach = [](void* p, const Device&, void**) noexcept { return of(p).live++, Status(); };
        ops.detach = [](void* p, const Device&, void*) noexcept { of(p).live--; };
        ops.map = [](void* p, const Device&, void*, Direction, const CpuHeld&) noexcept -> Result<DmaBufTable> {
            of(p).maps++;
            return DmaBufTable{&of(p).segment, 1};
        };
        ops.unmap = [](void* p, const Device&, void*, Direction, const CpuHeld&) noexcept {
            return of(p).maps--, Status();
        };
        ops.vmap = [](void* p) noexcept -> Result<std::byte*> {
            EXPECT_EQ(of(p).vmaps++, 0);
            return of(p).memory;
        };
        ops.vunmap = [](void* p, std::byte*) noexcept { EXPECT_EQ(of(p).vmaps--, 1); };
        ops.release = [](void* p) noexcept {
            EXPECT_EQ(of(p).live, 0);
            EXPECT_EQ(of(p).maps, 0);
            EXPECT_EQ(of(p).vmaps, 0);
            of(p).released++;
        };
        return ops;
    }
};

TEST_F(DmaBufAttachTest, ManyThreadsOneBuffer)
{
    Counting counting;
    const DmaBufOps table = Counting::table();
    const DmaBufId shared = *bufs.export_named(table, &counting, kSize, "shared");
    const int fd = *bufs.fd(shared);
    const AttachmentId common = *bufs.attach(*bufs.get(fd), 0);
    const auto insist = [](auto&& call) {
        for (;;) {
            auto done = call();
            if (done || done.error() != DmaError::Busy)
                return done;
            std::this_thread::yield();
        }
    };
    const auto work = [&] {
        for (int i = 0; i < 300; i++) {
            const DmaBufId mine = *bufs.get(fd);
            const AttachmentId own = *bufs.attach(mine, 0);
            const auto a = insist([&] { return bufs.map_attachment(common, kBoth); });
            const auto b = insist([&] { return bufs.map_attachment(own, kTo); });
            std::byte* cpu = *insist([&] { return bufs.vmap(mine); });
            EXPECT_TRUE(insist([&] { return bufs.begin_cpu_access(mine, kTo); }));
            EXPECT_TRUE(bufs.end_cpu_access(mine, kTo));
            EXPECT_TRUE(insist([&] { return bufs.vunmap(mine, cpu); }));
            EXPECT_TRUE(insist([&] { return bufs.unmap_attachment(own, b->serial, kTo); }));
            EXPECT_TRUE(insist([&] { return bufs.unmap_attachment(common, a->serial, kBoth); }));
            EXPECT_TRUE(bufs.detach(mine, own));
            EXPECT_TRUE(bufs.put(mine));
        }
    };
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++)
        threads.emplace_back(work);
    for (std::thread& thread : threads)
        thread.join();
    EXPECT_TRUE(bufs.detach(shared, common));
    EXPECT_EQ(bufs.info(shared)->references, 1u);
    EXPECT_TRUE(bufs.close(fd));
    EXPECT_EQ(counting.released, 0);
    EXPECT_TRUE(bufs.put(shared));
    EXPECT_EQ(counting.released, 1);
}

} // namespace
} // namespace dmaudit::alloc
