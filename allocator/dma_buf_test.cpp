#include "allocator/dma_buf.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "allocator/dma_buf_testing.hpp"
#include "allocator/testing_platform.hpp"

namespace dmaudit::alloc {
namespace {

using dmaudit::testing::FakeExporter;
using dmaudit::testing::TestPlatform;

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kSize = kPage + 904;

class DmaBufTest : public ::testing::Test {
  protected:
    DmaBufId make() { return *bufs.export_named(ops, &fake, kSize, "fake"); }
    static bool refused(const Status& status, DmaError why = DmaError::IllegalCall)
    {
        return !status && status.error() == why;
    }

    TestPlatform machine;
    Platform platform{machine.raw};
    FakeExporter fake;
    DmaBufOps ops = FakeExporter::table(), least = FakeExporter::least();
    DmaBufs bufs{platform};
};

TEST_F(DmaBufTest, AnExporterWithoutItsDutiesIsRefused)
{
    const auto rejected = [&](DmaBufOps wrong) {
        const Result<DmaBufId> id = bufs.export_named(wrong, &fake, kSize, "x");
        return !id && id.error() == DmaError::BadArgument;
    };
    DmaBufOps wrong = least;
    wrong.map = nullptr;
    EXPECT_TRUE(rejected(wrong));
    wrong = least;
    wrong.unmap = nullptr;
    EXPECT_TRUE(rejected(wrong));
    wrong = least;
    wrong.release = nullptr;
    EXPECT_TRUE(rejected(wrong));
    EXPECT_EQ(bufs.export_named(ops, nullptr, kSize, "x").error(), DmaError::BadArgument);
    EXPECT_EQ(bufs.export_named(ops, &fake, 0, "x").error(), DmaError::BadArgument);
    EXPECT_EQ(fake.released, 0) << "what could not be exported is still the exporter's";
}

TEST_F(DmaBufTest, TheLastReferenceReleasesOnce)
{
    const DmaBufId id = make();
    const int fd = *bufs.fd(id);
    ASSERT_EQ(*bufs.get(fd), id);
    const int copy = *bufs.dup(fd);
    EXPECT_EQ(copy, fd + 1);
    EXPECT_TRUE(bufs.close(fd));
    EXPECT_TRUE(bufs.put(id));
    EXPECT_EQ(fake.released, 0);
    EXPECT_TRUE(bufs.close(copy));
    EXPECT_EQ(fake.released, 1);
    EXPECT_TRUE(refused(bufs.put(id)));
    EXPECT_TRUE(refused(bufs.close(copy), DmaError::BadDescriptor));
    EXPECT_EQ(bufs.get(copy).error(), DmaError::BadDescriptor);
    EXPECT_EQ(bufs.dup(copy).error(), DmaError::BadDescriptor);
    EXPECT_EQ(fake.released, 1);
}

TEST_F(DmaBufTest, ADescriptorTakesTheCallersReference)
{
    const DmaBufId id = make();
    const int fd = *bufs.fd(id);
    EXPECT_TRUE(refused(bufs.put(id))) << "it belongs to the descriptor";
    EXPECT_EQ(bufs.fd(id).error(), DmaError::IllegalCall);
    EXPECT_EQ(bufs.attach(id, 0).error(), DmaError::IllegalCall);
    EXPECT_EQ(bufs.kmap(id, 0, false).error(), DmaError::IllegalCall);
    EXPECT_EQ(bufs.vmap(id).error(), DmaError::IllegalCall);
    EXPECT_EQ(bufs.mmap(id, 0, 1).error(), DmaError::IllegalCall);
    EXPECT_TRUE(refused(bufs.begin_cpu_access(id, Direction::ToDevice)));
    EXPECT_EQ(fake.released, 0);
    EXPECT_TRUE(bufs.close(fd));
    EXPECT_EQ(fake.released, 1);
}

TEST_F(DmaBufTest, AnOldNumberNeverFindsASuccessor)
{
    const DmaBufId old = make();
    const AttachmentId attachment = *bufs.attach(old, 0);
    ASSERT_TRUE(bufs.detach(old, attachment));
    ASSERT_TRUE(bufs.put(old));
    const DmaBufId next = make();
    ASSERT_NE(next, old);
    const AttachmentId fresh = *bufs.attach(next, 0);
    EXPECT_TRUE(refused(bufs.put(old)));
    EXPECT_EQ(bufs.map_attachment(attachment, Direction::ToDevice).error(), DmaError::IllegalCall);
    EXPECT_TRUE(refused(bufs.detach(next, attachment)));
    EXPECT_TRUE(bufs.detach(next, fresh));
    EXPECT_TRUE(bufs.put(next));
}

TEST_F(DmaBufTest, NotTheLastReferenceWhileSomethingLives)
{
    const DmaBufId id = make();
    const AttachmentId attachment = *bufs.attach(id, 0);
    EXPECT_TRUE(refused(bufs.put(id)));
    ASSERT_TRUE(bufs.detach(id, attachment));
    std::byte* cpu = *bufs.vmap(id);
    EXPECT_TRUE(refused(bufs.put(id)));
    const int fd = *bufs.fd(id);
    EXPECT_TRUE(refused(bufs.close(fd))) << "nor by close";
    EXPECT_EQ(*bufs.get(fd), id);
    ASSERT_TRUE(bufs.close(fd)) << "not the last one now";
    ASSERT_TRUE(bufs.vunmap(id, cpu));
    cpu = *bufs.kmap(id, 1, true);
    EXPECT_TRUE(refused(bufs.put(id)));
    ASSERT_TRUE(bufs.kunmap(id, 1, true, cpu));
    ASSERT_TRUE(bufs.begin_cpu_access(id, Direction::ToDevice));
    EXPECT_TRUE(bufs.put(id)) << "a bracket that was left open goes with the buffer";
    EXPECT_EQ(fake.released, 1);
}

TEST_F(DmaBufTest, BracketsNestAndPairByRangeAndDirection)
{
    const DmaBufId id = make();
    EXPECT_TRUE(refused(bufs.end_cpu_access(id, Direction::ToDevice)));
    ASSERT_TRUE(bufs.begin_cpu_access(id, 8, 16, Direction::ToDevice));
    ASSERT_TRUE(bufs.begin_cpu_access(id, 8, 16, Direction::ToDevice));
    ASSERT_TRUE(bufs.begin_cpu_access(id, Direction::FromDevice));
    EXPECT_TRUE(refused(bufs.end_cpu_access(id, 8, 15, Direction::ToDevice)));
    EXPECT_TRUE(refused(bufs.end_cpu_access(id, 9, 16, Direction::ToDevice)));
    EXPECT_TRUE(refused(bufs.end_cpu_access(id, 8, 16, Direction::FromDevice)));
    EXPECT_EQ(fake.ended, 0);
    EXPECT_TRUE(bufs.end_cpu_access(id, 8, 16, Direction::ToDevice));
    EXPECT_TRUE(bufs.end_cpu_access(id, 8, 16, Direction::ToDevice));
    EXPECT_TRUE(refused(bufs.end_cpu_access(id, 8, 16, Direction::ToDevice)));
    EXPECT_TRUE(bufs.end_cpu_access(id, Direction::FromDevice));
    EXPECT_EQ(fake.begun, 3);
    EXPECT_EQ(fake.ended, 3);
    EXPECT_TRUE(refused(bufs.begin_cpu_access(id, kSize, 1, Direction::ToDevice), DmaError::BadArgument));
    EXPECT_TRUE(refused(bufs.begin_cpu_access(id, 1, kSize, Direction::ToDevice), DmaError::BadArgument));
    EXPECT_TRUE(refused(bufs.begin_cpu_access(id, 1, UINT64_MAX, Direction::ToDevice), DmaError::BadArgument));
    EXPECT_TRUE(bufs.begin_cpu_access(id, kSize, 0, Direction::ToDevice));
    EXPECT_TRUE(bufs.put(id));
}

TEST_F(DmaBufTest, BracketsThatWereLeftOpenKeepNoRecord)
{
    machine.meta_budget = 0;
    for (int i = 0; i < 20; i++) {
        const DmaBufId id = *bufs.export_named(least, &fake, kSize, "brief");
        ASSERT_TRUE(bufs.begin_cpu_access(id, Direction::ToDevice));
        ASSERT_TRUE(bufs.begin_cpu_access(id, Direction::FromDevice));
        ASSERT_TRUE(bufs.put(id));
    }
}

TEST_F(DmaBufTest, WindowsAreOfWholePagesWithinTheBuffer)
{
    const DmaBufId id = *bufs.export_named(ops, &fake, 3 * kPage + 904, nullptr);
    EXPECT_EQ(bufs.mmap(id, 1, 2)->size, 2 * kPage);
    EXPECT_EQ(bufs.mmap(id, 0, 3)->phys, (PhysAddr{0}));
    const int asked = fake.windows;
    for (const auto& [pgoff, pages] : std::vector<std::pair<std::uint64_t, std::uint64_t>>{{0, 4},
                                                                                           {1, 3},
                                                                                           {3, 1},
                                                                                           {2, 2},
                                                                                           {0, 0},
                                                                                           {3, 0},
                                                                                           {UINT64_MAX, 2},
                                                                                           {2, UINT64_MAX},
                                                                                           {UINT64_MAX, UINT64_MAX}})
        EXPECT_EQ(bufs.mmap(id, pgoff, pages).error(), DmaError::BadArgument) << pgoff << "+" << pages;
    EXPECT_EQ(fake.windows, asked) << "the exporter is not asked";
    EXPECT_TRUE(bufs.put(id));
}

TEST_F(DmaBufTest, PagesAreMappedByNumber)
{
    const DmaBufId id = make(); // a page and a part of one
    std::byte* first = *bufs.kmap(id, 1, false);
    EXPECT_EQ(first, fake.memory + kPage);
    EXPECT_EQ(*bufs.kmap(id, 1, false), first);
    EXPECT_EQ(bufs.kmap(id, 2, false).error(), DmaError::BadArgument);
    EXPECT_EQ(bufs.kmap(id, UINT64_MAX, true).error(), DmaError::BadArgument);
    EXPECT_TRUE(refused(bufs.kunmap(id, 1, true, first))) << "not mapped so";
    EXPECT_TRUE(refused(bufs.kunmap(id, 0, false, first)));
    EXPECT_TRUE(refused(bufs.kunmap(id, 2, false, first)));
    EXPECT_TRUE(refused(bufs.kunmap(id, 1, false, first + 1)));
    EXPECT_EQ(fake.kunmapped, 0);
    EXPECT_TRUE(bufs.kunmap(id, 1, false, first));
    EXPECT_TRUE(bufs.kunmap(id, 1, false, first));
    EXPECT_TRUE(refused(bufs.kunmap(id, 1, false, first)));
    EXPECT_EQ(fake.kunmapped, 2);
    EXPECT_TRUE(bufs.put(id));
}

TEST_F(DmaBufTest, VmapsAreCounted)
{
    const DmaBufId id = make();
    EXPECT_TRUE(refused(bufs.vunmap(id, nullptr)));
    std::byte* cpu = *bufs.vmap(id);
    EXPECT_EQ(*bufs.vmap(id), cpu);
    EXPECT_EQ(fake.vmapped, 1);
    EXPECT_TRUE(refused(bufs.vunmap(id, cpu + 1)));
    EXPECT_TRUE(refused(bufs.vunmap(id, nullptr)));
    EXPECT_TRUE(bufs.vunmap(id, cpu));
    EXPECT_EQ(fake.vunmapped, 0);
    EXPECT_TRUE(bufs.vunmap(id, cpu));
    EXPECT_EQ(fake.vunmapped, 1);
    EXPECT_TRUE(refused(bufs.vunmap(id, cpu)));
    EXPECT_TRUE(bufs.put(id));
}

TEST_F(DmaBufTest, WhatAnExporterDoesNotHaveIsNotCalled)
{
    const DmaBufId id = *bufs.export_named(least, &fake, kSize, "least");
    const AttachmentId attachment = *bufs.attach(id, 0);
    EXPECT_TRUE(bufs.begin_cpu_access(id, Direction::ToDevice));
    EXPECT_TRUE(bufs.end_cpu_access(id, Direction::ToDevice));
    EXPECT_EQ(bufs.kmap(id, 0, false).error(), DmaError::BadArgument);
    EXPECT_TRUE(refused(bufs.kunmap(id, 0, false, fake.memory)));
    EXPECT_EQ(bufs.vmap(id).error(), DmaError::BadArgument);
    EXPECT_EQ(bufs.mmap(id, 0, 1).error(), DmaError::BadArgument);
    EXPECT_TRUE(bufs.detach(id, attachment));
    EXPECT_TRUE(bufs.put(id));
    EXPECT_EQ(fake.released, 1);
}

TEST_F(DmaBufTest, AFailureOfTheExporterChangesNothing)
{
    const DmaBufId id = make();
    for (const bool empty : {false, true}) {
        fake.fails = !empty;
        fake.empty = empty;
        const DmaError why = empty ? DmaError::NoMemory : DmaError::PlatformError;
        EXPECT_EQ(bufs.kmap(id, 0, false).error(), why);
        EXPECT_TRUE(refused(bufs.kunmap(id, 0, false, nullptr)));
        EXPECT_EQ(bufs.vmap(id).error(), why);
        EXPECT_TRUE(refused(bufs.vunmap(id, nullptr)));
    }
    fake.fails = true;
    EXPECT_EQ(bufs.mmap(id, 0, 1).error(), DmaError::PlatformError);
    EXPECT_TRUE(refused(bufs.begin_cpu_access(id, Direction::ToDevice), DmaError::PlatformError));
    EXPECT_TRUE(refused(bufs.end_cpu_access(id, Direction::ToDevice))) << "it was never begun";
    fake.fails = false;
    fake.empty = false;
    ASSERT_TRUE(bufs.begin_cpu_access(id, Direction::ToDevice));
    fake.fails = true;
    EXPECT_TRUE(refused(bufs.end_cpu_access(id, Direction::ToDevice), DmaError::PlatformError));
    fake.fails = false;
    EXPECT_TRUE(bufs.end_cpu_access(id, Direction::ToDevice)) << "it was still open";
    EXPECT_TRUE(bufs.put(id));
}

TEST_F(DmaBufTest, NamesAreCopiedAndCut)
{
    std::string name(100, 'n');
    const DmaBufId id = *bufs.export_named(ops, &fake, kSize, name.c_str());
    name[0] = 'x';
    EXPECT_EQ(bufs.info(id)->name, std::string(DmaBufs::kNameBytes - 1, 'n'));
    const DmaBufId none = *bufs.export_named(ops, &fake, kSize, nullptr);
    EXPECT_STREQ(bufs.info(none)->name, "");
}

// Every call, many times, each time with no metadata first and then with one more piece until it does.
TEST_F(DmaBufTest, WithoutMetadataNothingChanges)
{
    std::vector<DmaBufId> ids;
    std::vector<AttachmentId> attachments;
    std::vector<int> fds;
    int failures = 0;
    const auto state = [&] {
        std::vector<std::uint64_t> all{static_cast<std::uint64_t>(machine.meta_live.load())};
        for (const DmaBufId id : ids)
            if (const Result<DmaBufInfo> info = bufs.info(id))
                all.insert(all.end(), {info->references, info->descriptors, info->attachments});
        return all;
    };
    const auto insist = [&](auto&& call) {
        for (std::int64_t budget = 0;; budget++) {
            const auto before = state();
            machine.meta_budget = budget;
            auto done = call();
            machine.meta_budget = INT64_MAX;
            if (done)
                return done;
            failures++;
            EXPECT_EQ(done.error(), DmaError::NoMemory);
            EXPECT_EQ(state(), before);
        }
    };
    for (int i = 0; i < 20; i++) {
        const DmaBufId id = *insist([&] { return bufs.export_named(ops, &fake, kSize, "many"); });
        ids.push_back(id);
        attachments.push_back(*insist([&] { return bufs.attach(id, 0); }));
        ASSERT_TRUE(insist([&] { return bufs.map_attachment(attachments.back(), Direction::ToDevice); }));
        ASSERT_TRUE(insist([&] { return bufs.begin_cpu_access(id, Direction::ToDevice); }));
        ASSERT_TRUE(insist([&] { return bufs.vmap(id); }));
        ASSERT_TRUE(insist([&] { return bufs.kmap(id, 1, true); }));
        const int fd = *insist([&] { return bufs.fd(id); });
        fds.push_back(*insist([&] { return bufs.dup(fd); }));
        ASSERT_TRUE(insist([&] { return bufs.get(fd); }));
        ASSERT_TRUE(bufs.close(fd));
    }
    EXPECT_GT(failures, 25) << "20 exports, and the records beyond those in place";
    EXPECT_EQ(fake.begun, 20) << "the exporter is asked when nothing can fail any more";
    EXPECT_EQ(fake.attached, 20);
    machine.meta_budget = 0;
    for (std::size_t i = 0; i < ids.size(); i++) {
        const DmaBufMapping mapping = *bufs.mapping(attachments[i]);
        EXPECT_TRUE(bufs.unmap_attachment(attachments[i], mapping.serial, Direction::ToDevice));
        EXPECT_TRUE(bufs.detach(ids[i], attachments[i]));
        EXPECT_TRUE(bufs.end_cpu_access(ids[i], Direction::ToDevice));
        EXPECT_TRUE(bufs.vunmap(ids[i], fake.memory));
        EXPECT_TRUE(bufs.kunmap(ids[i], 1, true, fake.memory + kPage));
        EXPECT_TRUE(bufs.put(ids[i]));
        EXPECT_TRUE(bufs.close(fds[i]));
    }
    EXPECT_EQ(fake.released, 20);
}

// No lock is held over an exporter's call: else the first of these would never return.
TEST_F(DmaBufTest, AnExporterMayCallBack)
{
    const DmaBufId other = make();
    const DmaBufId id = make();
    int calls = 0;
    fake.calls_back = [&] {
        calls++;
        EXPECT_TRUE(bufs.info(other));
        fake.calls_back = nullptr;
        EXPECT_FALSE(bufs.put(id)) << "not in the middle of a call";
        EXPECT_TRUE(bufs.begin_cpu_access(other, Direction::ToDevice));
        EXPECT_TRUE(bufs.end_cpu_access(other, Direction::ToDevice));
    };
    const auto armed = fake.calls_back;
    const auto with_call_back = [&](auto&& call) {
        fake.calls_back = armed;
        return call();
    };
    const AttachmentId attachment = *with_call_back([&] { return bufs.attach(id, 0); });
    const auto mapping = *with_call_back([&] { return bufs.map_attachment(attachment, Direction::ToDevice); });
    EXPECT_TRUE(with_call_back([&] { return bufs.begin_cpu_access(id, Direction::ToDevice); }));
    EXPECT_TRUE(with_call_back([&] { return bufs.end_cpu_access(id, Direction::ToDevice); }));
    EXPECT_TRUE(with_call_back([&] { return bufs.mmap(id, 0, 1); }));
    EXPECT_TRUE(with_call_back([&] { return bufs.vmap(id); }));
    EXPECT_TRUE(with_call_back([&] { return bufs.vunmap(id, fake.memory); }));
    EXPECT_TRUE(with_call_back([&] { return bufs.kmap(id, 0, false); }));
    EXPECT_TRUE(with_call_back([&] { return bufs.kunmap(id, 0, false, fake.memory); }));
    EXPECT_TRUE(with_call_back([&] { return bufs.unmap_attachment(attachment, mapping.serial, Direction::ToDevice); }));
    EXPECT_TRUE(with_call_back([&] { return bufs.detach(id, attachment); }));
    EXPECT_TRUE(with_call_back([&] { return bufs.put(id); }));
    EXPECT_EQ(calls, 12);
}

TEST(DmaBufEnd, WhatIsLeftIsEndedOnce)
{
    TestPlatform machine;
    const Platform platform(machine.raw);
    FakeExporter fake;
    const DmaBufOps ops = FakeExporter::table();
    {
        DmaBufs bufs(platform);
        const DmaBufId id = *bufs.export_named(ops, &fake, kSize, "left");
        const AttachmentId attachment = *bufs.attach(id, 0);
        ASSERT_TRUE(bufs.attach(id, 1));
        ASSERT_TRUE(bufs.map_attachment(attachment, Direction::ToDevice));
        ASSERT_TRUE(bufs.vmap(id));
        ASSERT_TRUE(bufs.fd(id));
    }
    EXPECT_EQ(fake.unmapped, 1);
    EXPECT_EQ(fake.detached, 2);
    EXPECT_EQ(fake.vunmapped, 1);
    EXPECT_EQ(fake.released, 1);
    EXPECT_EQ(machine.meta_live, 0);
}

} // namespace
} // namespace dmaudit::alloc
