#include "allocator/dma_buf_exporters.hpp"

#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "allocator/allocator.hpp"
#include "allocator/testing_platform.hpp"

namespace dmaudit::alloc {
namespace {

using dmaudit::testing::TestPlatform;

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kArena = 32; // pages; clients have what is behind them
constexpr Direction kTo = Direction::ToDevice, kFrom = Direction::FromDevice, kBoth = Direction::Bidirectional;

// Devices by what they are. The near ones reach the arena only: a client's pages are bounced for them. Those behind an
// IOMMU have 64 pages of addresses, all of them below the RAM.
enum : std::uint32_t { kSnoops, kPlain, kNearSnoops, kNearPlain, kShifted, kNowhere, kBehind, kBehindPlain };

class DmaBufExportersTest : public ::testing::Test {
  protected:
    DmaBufExportersTest() : machine(64, kArena)
    {
        const std::uint64_t near = TestPlatform::kBase + kArena * kPage - 1;
        machine.add_device(true, near);
        machine.add_device(false, near);
        machine.add_device(false, UINT64_MAX, 0x1000'0000);
        machine.add_device(true, 0xfff);
        machine.add_iommu_device(true, 64 * kPage - 1);
        machine.add_iommu_device(false, 64 * kPage - 1);
        owner = std::move(*Allocator::open(machine.raw));
    }
    ~DmaBufExportersTest() override
    {
        owner.reset();
        EXPECT_EQ(machine.meta_live, 0);
        EXPECT_TRUE(machine.uncached.empty());
        EXPECT_EQ(machine.mapped_pages(kBehind) + machine.mapped_pages(kBehindPlain), 0u);
        EXPECT_EQ(machine.mapped_while_stale, 0u);
    }
    DmaBufs& bufs() { return owner->dma_bufs(); }
    static bool refused(const Status& status, DmaError why = DmaError::IllegalCall)
    {
        return !status && status.error() == why;
    }
    Block block(std::uint32_t device, std::uint64_t size)
    {
        return *owner->alloc_coherent({sizeof(dmaudit_request), device, size, 0, 0, 0, DMAUDIT_ZERO, 0});
    }
    DmaBufId pages() { return *owner->export_pages(machine.ram(40), 2 * kPage, "pages"); }

    // A device with its attachment and mapping, in one.
    struct Importer {
        std::uint32_t device;
        AttachmentId attachment;
        Direction direction = kTo;
        std::uint64_t serial = 0, bus = 0;
    };
    Importer import(DmaBufId id, std::uint32_t device, Direction direction)
    {
        Importer importer{device, *bufs().attach(id, device)};
        map(importer, direction);
        return importer;
    }
    void map(Importer& importer, Direction direction)
    {
        const DmaBufMapping mapping = *bufs().map_attachment(importer.attachment, direction);
        EXPECT_EQ(mapping.n, 1u);
        importer.direction = direction;
        importer.serial = mapping.serial;
        importer.bus = mapping.segments[0].bus.value;
    }
    Status unmap(const Importer& i) { return bufs().unmap_attachment(i.attachment, i.serial, i.direction); }
    void write(const Importer& i, std::uint64_t at, std::uint8_t value)
    {
        machine.device_write(i.device, i.bus + at, {value});
    }
    std::uint8_t read(const Importer& i, std::uint64_t at) { return machine.device_read(i.device, i.bus + at); }
    std::uint8_t* byte(std::uint64_t at) { return machine.ram(40, at); } // of pages()

    TestPlatform machine;
    Allocator::Owner owner;
};

// ---- blocks

TEST_F(DmaBufExportersTest, ABlockIsSharedInPlaceAtEachDevicesOwnAddress)
{
    const Block shared = block(kPlain, kPage + 100);
    const DmaBufId id = *owner->export_block(shared, "block");
    EXPECT_EQ(bufs().info(id)->size, kPage + 100);
    EXPECT_EQ(bufs().attach(id, kNowhere).error(), DmaError::DmaMaskNotMatch);
    const Importer a = import(id, kSnoops, kBoth), b = import(id, kShifted, kBoth);
    const std::uint64_t phys = machine.phys(shared.block.cpu);
    EXPECT_EQ(a.bus, phys);
    EXPECT_EQ(b.bus, phys + 0x1000'0000);
    EXPECT_EQ(bufs().mapping(a.attachment)->segments[0].length, kPage + 100);
    const std::uint64_t work = machine.cleans + machine.invalidates;
    write(b, 7, 0x77);
    EXPECT_EQ(shared.block.cpu[7], std::byte{0x77});
    EXPECT_EQ(read(a, 7), 0x77);
    EXPECT_TRUE(bufs().begin_cpu_access(id, kBoth));
    EXPECT_TRUE(bufs().end_cpu_access(id, kBoth));
    EXPECT_TRUE(unmap(a));
    EXPECT_TRUE(unmap(b));
    EXPECT_EQ(machine.cleans + machine.invalidates, work) << "uncached pages";
    EXPECT_EQ(*bufs().vmap(id), shared.block.cpu);
    EXPECT_EQ(*bufs().kmap(id, 1, false), shared.block.cpu + kPage);
    EXPECT_EQ(bufs().mmap(id, 0, 1)->phys.value, phys);
    EXPECT_EQ(bufs().mmap(id, 1, 1).error(), DmaError::BadArgument) << "the size rounds down";
}

TEST_F(DmaBufExportersTest, ACachedBlockIsSyncedForADeviceThatDoesNotSnoop)
{
    const Block shared = block(kSnoops, kPage);
    auto* cpu = reinterpret_cast<std::uint8_t*>(shared.block.cpu);
    const DmaBufId id = *owner->export_block(shared, "cached");
    cpu[0] = 1;
    const Importer i = import(id, kPlain, kBoth);
    EXPECT_EQ(read(i, 0), 1) << "map cleans";
    write(i, 1, 2);
    cpu[64] = 3; // the owner's side, outside of brackets: dirty in another line
    ASSERT_TRUE(bufs().begin_cpu_access(id, kBoth));
    EXPECT_EQ(cpu[1], 2);
    EXPECT_EQ(cpu[64], 3) << "written back before lines are dropped";
    cpu[2] = 4;
    ASSERT_TRUE(bufs().end_cpu_access(id, kBoth));
    EXPECT_EQ(read(i, 2), 4);
    write(i, 3, 5);
    ASSERT_TRUE(unmap(i));
    EXPECT_EQ(cpu[3], 5);
}

TEST_F(DmaBufExportersTest, WhatIsExportedCannotBeFreed)
{
    const Block shared = block(kSnoops, 100);
    const DmaBufId id = *owner->export_block(shared, "block"), again = *owner->export_block(shared, "again");
    EXPECT_TRUE(refused(owner->free_coherent(shared), DmaError::Busy));
    Block lie = shared;
    lie.block.size++;
    EXPECT_TRUE(refused(owner->free_coherent(lie)));
    EXPECT_EQ(owner->export_block(lie, "lie").error(), DmaError::IllegalCall);
    EXPECT_TRUE(bufs().put(id));
    EXPECT_TRUE(refused(owner->free_coherent(shared), DmaError::Busy)) << "exported twice";
    const int fd = *bufs().fd(again);
    EXPECT_TRUE(bufs().close(fd));
    EXPECT_TRUE(owner->free_coherent(shared));
    EXPECT_EQ(owner->export_block(shared, "dead").error(), DmaError::IllegalCall);
    EXPECT_TRUE(refused(owner->free_coherent(shared)));
}

TEST_F(DmaBufExportersTest, APoolBlockIsHeldOnEveryWayOut)
{
    const std::uint64_t phys = TestPlatform::kBase + 40 * kPage;
    ASSERT_TRUE(owner->declare_coherent_memory(kPlain, {phys}, {phys}, 8 * kPage, true));
    const Block other = block(kPlain, 1), shared = block(kPlain, kPage + 1);
    ASSERT_TRUE(shared.pooled);
    const DmaBufId id = *owner->export_block(shared, "pooled");
    const std::uint64_t work = machine.cleans + machine.invalidates;
    const Importer i = import(id, kShifted, kBoth);
    write(i, 3, 9);
    ASSERT_TRUE(bufs().begin_cpu_access(id, kBoth));
    ASSERT_TRUE(bufs().end_cpu_access(id, kBoth));
    EXPECT_EQ(machine.cleans + machine.invalidates, work);
    EXPECT_EQ(shared.block.cpu[3], std::byte{9}) << "a pool's pages are uncached";
    EXPECT_TRUE(refused(owner->free_coherent(shared), DmaError::Busy));
    const Routed<bool> released = owner->release_from_dev_coherent(kPlain, 1, shared.block.cpu);
    EXPECT_TRUE(released.ours);
    EXPECT_EQ(released.result.error(), DmaError::Busy);
    EXPECT_EQ(owner->release_from_dev_coherent(kPlain, 0, shared.block.cpu).result.error(), DmaError::IllegalCall);
    EXPECT_TRUE(refused(owner->release_coherent_memory(kPlain), DmaError::Busy));
    EXPECT_TRUE(owner->release_coherent_memory(kSnoops)) << "no pool of its own";
    EXPECT_TRUE(owner->release_from_dev_coherent(kPlain, 0, other.block.cpu).result);
    ASSERT_TRUE(unmap(i));
    ASSERT_TRUE(bufs().detach(id, i.attachment));
    ASSERT_TRUE(bufs().put(id));
    EXPECT_TRUE(owner->release_from_dev_coherent(kPlain, 1, shared.block.cpu).result);
    EXPECT_TRUE(owner->release_coherent_memory(kPlain));
    EXPECT_EQ(owner->export_block(shared, "dead").error(), DmaError::IllegalCall);
}

TEST_F(DmaBufExportersTest, AnOpaqueBlockHasNoCpuAddressButAWindow)
{
    const Platform platform(machine.raw);
    std::vector<Arenas::State> states(1);
    Arenas arenas(platform, states.data());
    Iommu iommu(platform);
    Streaming streaming(platform, arenas, iommu);
    DmaBufExporters exporters(platform, arenas, iommu, streaming);
    const PhysAddr start{TestPlatform::kBase + 8 * kPage};
    const DmaBufId id =
        *exporters.export_block(bufs(), {kPlain, false, {0, 1}, 0}, {{start, 2 * kPage}, nullptr, true}, "opaque");
    EXPECT_EQ(bufs().kmap(id, 0, false).error(), DmaError::BadArgument);
    EXPECT_EQ(bufs().vmap(id).error(), DmaError::BadArgument);
    EXPECT_EQ(bufs().mmap(id, 1, 1)->phys, start.at(kPage));
    const Importer i = import(id, kShifted, kBoth);
    EXPECT_EQ(i.bus, start.value + 0x1000'0000);
    const Importer behind = import(id, kBehindPlain, kFrom);
    EXPECT_EQ(machine.reaches(kBehindPlain, behind.bus + kPage, DMAUDIT_IOMMU_WRITE), start.value + kPage);
    for (const Importer& importer : {i, behind}) {
        EXPECT_TRUE(unmap(importer));
        EXPECT_TRUE(bufs().detach(id, importer.attachment));
    }
    EXPECT_TRUE(bufs().put(id));
}

// ---- pages of a client

TEST_F(DmaBufExportersTest, PagesHaveToBeWholeAndTheClientsOwn)
{
    const auto error = [&](void* cpu, std::uint64_t size) { return owner->export_pages(cpu, size, "x").error(); };
    EXPECT_EQ(error(nullptr, kPage), DmaError::NullPointer);
    EXPECT_EQ(error(machine.ram(40), 0), DmaError::BadArgument);
    EXPECT_EQ(error(machine.ram(40), kPage + 1), DmaError::BadArgument);
    EXPECT_EQ(error(machine.ram(40, 64), kPage), DmaError::BadArgument);
    EXPECT_EQ(error(machine.ram(63), 2 * kPage), DmaError::BadArgument);
    EXPECT_EQ(error(machine.ram(31), 2 * kPage), DmaError::BadArgument) << "the arena";
    EXPECT_EQ(error(this, kPage), DmaError::BadArgument);
    EXPECT_TRUE(owner->export_pages(machine.ram(62), 2 * kPage, nullptr));
}

class EachImporter : public DmaBufExportersTest, public ::testing::WithParamInterface<std::uint32_t> {};

TEST_P(EachImporter, SeesTheCpusBytesAndIsSeen)
{
    const DmaBufId id = pages();
    *byte(0) = 1;
    *byte(kPage) = 2;
    Importer i = import(id, GetParam(), kBoth);
    EXPECT_EQ(read(i, 0), 1);
    EXPECT_EQ(read(i, kPage), 2);
    write(i, 5, 3);
    write(i, kPage + 5, 4);
    ASSERT_TRUE(bufs().begin_cpu_access(id, kFrom));
    EXPECT_EQ(*byte(5), 3);
    EXPECT_EQ(*byte(kPage + 5), 4);
    ASSERT_TRUE(bufs().end_cpu_access(id, kFrom));
    ASSERT_TRUE(bufs().begin_cpu_access(id, 0, kPage, kTo));
    *byte(6) = 5;
    ASSERT_TRUE(bufs().end_cpu_access(id, 0, kPage, kTo));
    EXPECT_EQ(read(i, 5), 3) << "the CPU wrote other bytes";
    EXPECT_EQ(read(i, 6), 5);
    write(i, 7, 6);
    ASSERT_TRUE(unmap(i));
    EXPECT_EQ(*byte(7), 6);
    map(i, kFrom);
    write(i, 8, 7);
    ASSERT_TRUE(bufs().begin_cpu_access(id, 64, 64, kTo));
    *byte(64) = 8;
    ASSERT_TRUE(bufs().end_cpu_access(id, 64, 64, kTo));
    ASSERT_TRUE(unmap(i));
    EXPECT_EQ(*byte(8), 7);
    EXPECT_EQ(*byte(64), 8) << "also under a mapping that the device only writes";
    EXPECT_EQ(*byte(5), 3);
}

TEST_P(EachImporter, BytesInAnOpenBracketStayTheCpus)
{
    const DmaBufId id = pages();
    Importer i = import(id, GetParam(), kBoth);
    ASSERT_TRUE(bufs().begin_cpu_access(id, 64, 64, kTo));
    *byte(64) = 9;
    write(i, 0, 1);
    write(i, 200, 2);
    ASSERT_TRUE(unmap(i));
    EXPECT_EQ(*byte(64), 9);
    EXPECT_EQ(*byte(0), 1);
    EXPECT_EQ(*byte(200), 2);
    *byte(65) = 8;
    map(i, kBoth);
    EXPECT_EQ(*byte(65), 8);
    ASSERT_TRUE(bufs().end_cpu_access(id, 64, 64, kTo));
    EXPECT_EQ(read(i, 64), 9);
    EXPECT_EQ(read(i, 65), 8);
    EXPECT_TRUE(unmap(i));
}

TEST_P(EachImporter, AnInnerBracketKeepsWhatTheOuterWrote)
{
    const DmaBufId id = pages();
    const Importer i = import(id, GetParam(), kBoth);
    write(i, 256, 1);
    ASSERT_TRUE(bufs().begin_cpu_access(id, 64, 64, kTo));
    *byte(64) = 9;
    ASSERT_TRUE(bufs().begin_cpu_access(id, kBoth));
    EXPECT_EQ(*byte(64), 9);
    EXPECT_EQ(*byte(256), 1);
    ASSERT_TRUE(bufs().begin_cpu_access(id, 0, 128, kFrom));
    EXPECT_EQ(*byte(64), 9);
    ASSERT_TRUE(bufs().end_cpu_access(id, 0, 128, kFrom));
    ASSERT_TRUE(bufs().end_cpu_access(id, kBoth));
    EXPECT_EQ(read(i, 64), 9);
    *byte(65) = 8;
    ASSERT_TRUE(bufs().end_cpu_access(id, 64, 64, kTo));
    EXPECT_EQ(read(i, 65), 8);
    EXPECT_EQ(read(i, 256), 1);
}

TEST_P(EachImporter, AnotherImporterMayComeWhileABracketIsOpen)
{
    const DmaBufId id = pages();
    const Importer i = import(id, GetParam(), kBoth);
    ASSERT_TRUE(bufs().begin_cpu_access(id, 64, 64, kTo));
    *byte(64) = 9;
    const Importer reader = import(id, kPlain, kTo);
    EXPECT_EQ(*byte(64), 9);
    ASSERT_TRUE(bufs().end_cpu_access(id, 64, 64, kTo));
    EXPECT_EQ(read(i, 64), 9);
    EXPECT_EQ(read(reader, 64), 9);
}

INSTANTIATE_TEST_SUITE_P(Devices, EachImporter,
                         ::testing::Values(kSnoops, kPlain, kNearSnoops, kNearPlain, kShifted, kBehind, kBehindPlain));

class EachReader : public EachImporter {};

TEST_P(EachReader, GetsWhatAWriterLeft)
{
    for (const std::uint32_t writer : {kSnoops, kPlain, kNearSnoops, kNearPlain, kShifted, kBehind, kBehindPlain}) {
        const DmaBufId id = pages();
        const Importer r = import(id, GetParam(), kTo);
        Importer w = import(id, writer, kFrom);
        write(w, 3, static_cast<std::uint8_t>(writer + 1));
        if (writer == kSnoops) // such a write may stay in the cache
            *byte(3) = static_cast<std::uint8_t>(writer + 1);
        ASSERT_TRUE(unmap(w));
        EXPECT_EQ(read(r, 3), writer + 1) << writer;
        map(w, kFrom);
        write(w, 4, static_cast<std::uint8_t>(0x40 + writer));
        const Importer late = import(id, GetParam(), kTo);
        EXPECT_EQ(read(late, 4), 0x40 + writer) << "a map fetches what others wrote: " << writer;
        for (const Importer& i : {w, r, late}) {
            ASSERT_TRUE(unmap(i));
            ASSERT_TRUE(bufs().detach(id, i.attachment));
        }
        ASSERT_TRUE(bufs().put(id));
    }
}

INSTANTIATE_TEST_SUITE_P(Devices, EachReader,
                         ::testing::Values(kSnoops, kPlain, kNearSnoops, kNearPlain, kShifted, kBehind, kBehindPlain));

TEST_F(DmaBufExportersTest, DirtyLinesOfADeviceThatSnoopsSurviveOneThatDoesNot)
{
    const DmaBufId id = pages();
    const Importer snoops = import(id, kSnoops, kFrom), plain = import(id, kPlain, kFrom);
    *byte(0) = 1; // what the coherent device wrote may lie in the cache, dirty
    write(plain, 64, 2);
    ASSERT_TRUE(bufs().begin_cpu_access(id, kFrom));
    EXPECT_EQ(*byte(0), 1);
    EXPECT_EQ(*byte(64), 2);
    ASSERT_TRUE(bufs().end_cpu_access(id, kFrom));
    *byte(1) = 3;
    ASSERT_TRUE(unmap(plain));
    EXPECT_EQ(*byte(1), 3);
    *byte(2) = 4;
    const Importer again = import(id, kPlain, kFrom);
    *byte(3) = 5;
    ASSERT_TRUE(unmap(snoops));
    ASSERT_TRUE(unmap(again));
    EXPECT_EQ(*byte(2), 4);
    EXPECT_EQ(*byte(3), 5);
}

TEST_F(DmaBufExportersTest, AWriterThatBouncesIsAlone)
{
    const DmaBufId id = pages();
    Importer bounced = import(id, kNearPlain, kBoth);
    EXPECT_NE(bounced.bus, machine.phys(byte(0)));
    const AttachmentId second = *bufs().attach(id, kPlain);
    EXPECT_EQ(bufs().map_attachment(second, kFrom).error(), DmaError::Busy);
    const DmaBufMapping reader = *bufs().map_attachment(second, kTo);
    ASSERT_TRUE(bufs().unmap_attachment(second, reader.serial, kTo));
    ASSERT_TRUE(unmap(bounced));
    const DmaBufMapping writer = *bufs().map_attachment(second, kFrom);
    EXPECT_EQ(bufs().map_attachment(bounced.attachment, kFrom).error(), DmaError::Busy);
    map(bounced, kTo);
    EXPECT_TRUE(unmap(bounced));
    EXPECT_TRUE(bufs().unmap_attachment(second, writer.serial, kFrom));
    map(bounced, kFrom);
    EXPECT_TRUE(unmap(bounced));
}

TEST_F(DmaBufExportersTest, ABracketFetchesItsBytesOnly)
{
    const DmaBufId id = pages();
    *byte(100) = 1;
    const Importer i = import(id, kNearPlain, kBoth);
    write(i, 99, 2);
    write(i, 100, 3);
    ASSERT_TRUE(bufs().begin_cpu_access(id, 0, 100, kFrom));
    EXPECT_EQ(*byte(99), 2);
    EXPECT_EQ(*byte(100), 1);
}

TEST_F(DmaBufExportersTest, NoBounceBufferNoMapping)
{
    const DmaBufId big = *owner->export_pages(machine.ram(32), 32 * kPage, "big");
    const Block in_the_way = block(kSnoops, 1);
    const AttachmentId near = *bufs().attach(big, kNearSnoops);
    EXPECT_EQ(bufs().map_attachment(near, kTo).error(), DmaError::NoMemory);
    EXPECT_EQ(bufs().map_attachment(near, kBoth).error(), DmaError::NoMemory);
    const Importer other = import(big, kPlain, kFrom);
    EXPECT_TRUE(unmap(other)) << "the failure has left nothing in the way of another writer";
    ASSERT_TRUE(owner->free_coherent(in_the_way));
    EXPECT_TRUE(bufs().map_attachment(near, kTo)) << "nor of this one";
}

// ---- behind an IOMMU

TEST_F(DmaBufExportersTest, ATranslationLivesFromMapToUnmapWithTheRightsOfTheDirection)
{
    const Block shared = block(kSnoops, kPage + 100);
    const DmaBufId ids[] = {*owner->export_block(shared, "block"), pages()};
    const std::uint64_t there[] = {machine.phys(shared.block.cpu), machine.phys(byte(0))};
    for (int k = 0; k < 2; k++)
        for (const std::uint32_t device : {kBehind, kBehindPlain})
            for (const Direction direction : {kTo, kFrom, kBoth}) {
                const AttachmentId attachment = *bufs().attach(ids[k], device);
                EXPECT_EQ(machine.mapped_pages(device), 0u) << "attached is not mapped";
                Importer i{device, attachment};
                map(i, direction);
                const auto reaches = [&](std::uint64_t at, std::uint32_t right) {
                    return machine.reaches(device, i.bus + at, right) == std::optional(there[k] + at);
                };
                for (const std::uint64_t at : {std::uint64_t{0}, kPage + 99}) {
                    EXPECT_EQ(reaches(at, DMAUDIT_IOMMU_READ), direction != kFrom);
                    EXPECT_EQ(reaches(at, DMAUDIT_IOMMU_WRITE), direction != kTo);
                }
                EXPECT_EQ(machine.mapped_pages(device), 2u);
                ASSERT_TRUE(unmap(i));
                EXPECT_FALSE(reaches(0, DMAUDIT_IOMMU_READ) || reaches(0, DMAUDIT_IOMMU_WRITE)) << "flushed";
                EXPECT_EQ(machine.mapped_pages(device), 0u);
                ASSERT_TRUE(bufs().detach(ids[k], attachment));
            }
}

TEST_F(DmaBufExportersTest, ACachedBlockIsSyncedBehindAnIommuToo)
{
    const Block shared = block(kSnoops, kPage);
    auto* cpu = reinterpret_cast<std::uint8_t*>(shared.block.cpu);
    const DmaBufId id = *owner->export_block(shared, "cached");
    cpu[0] = 1;
    machine.at_iommu_map = [&] { EXPECT_FALSE(machine.dirty(machine.phys(cpu))) << "cleaned before it is open"; };
    const Importer i = import(id, kBehindPlain, kBoth);
    EXPECT_EQ(read(i, 0), 1);
    write(i, 1, 2);
    ASSERT_TRUE(bufs().begin_cpu_access(id, kBoth));
    EXPECT_EQ(cpu[1], 2);
    cpu[2] = 4;
    ASSERT_TRUE(bufs().end_cpu_access(id, kBoth));
    EXPECT_EQ(read(i, 2), 4);
    write(i, 3, 5);
    ASSERT_TRUE(unmap(i));
    EXPECT_EQ(cpu[3], 5);
}

TEST_F(DmaBufExportersTest, WhatTheIommuRefusesChangesNothing)
{
    const Block shared = block(kSnoops, kPage), big = block(kSnoops, 16 * kPage);
    const DmaBufId id = *owner->export_block(shared, "block"), paged = pages();
    const std::uint32_t small = machine.add_iommu_device(true, 16 * kPage - 1);
    const DmaBufId large = *owner->export_block(big, "large");
    EXPECT_EQ(bufs().map_attachment(*bufs().attach(large, small), kTo).error(), DmaError::DmaMaskNotMatch);
    for (const DmaBufId each : {id, paged}) {
        Importer i{kBehind, *bufs().attach(each, kBehind)};
        machine.iommu_map_answer = DMAUDIT_ENOMEM;
        EXPECT_EQ(bufs().map_attachment(i.attachment, kBoth).error(), DmaError::NoMemory);
        EXPECT_EQ(bufs().mapping(i.attachment).error(), DmaError::IllegalCall);
        machine.iommu_map_answer = DMAUDIT_OK;
        map(i, kBoth);
        EXPECT_EQ(i.bus, kPage) << "the lowest address was given back";
        ASSERT_TRUE(unmap(i));
    }
    Importer i = import(id, kBehind, kBoth);
    machine.iommu_unmap_answer = DMAUDIT_EIO;
    EXPECT_FALSE(unmap(i));
    EXPECT_FALSE(bufs().detach(id, i.attachment)) << "still mapped";
    machine.iommu_unmap_answer = DMAUDIT_OK;
    write(i, 0, 9);
    ASSERT_TRUE(unmap(i));
    EXPECT_EQ(shared.block.cpu[0], std::byte{9});

    i = import(paged, kBehind, kBoth);
    machine.iommu_unmap_answer = DMAUDIT_EIO;
    EXPECT_FALSE(unmap(i));
    machine.iommu_unmap_answer = DMAUDIT_OK;
    EXPECT_FALSE(bufs().detach(paged, i.attachment)) << "the device still reaches the pages";
}

TEST_F(DmaBufExportersTest, WithoutMetadataNothingChanges)
{
    const Block shared = block(kSnoops, kPage);
    int failures = 0;
    const auto insist = [&](auto&& call) {
        for (std::int64_t budget = 0;; budget++) {
            const std::int64_t live = machine.meta_live;
            machine.meta_budget = budget;
            auto done = call();
            machine.meta_budget = INT64_MAX;
            if (done)
                return done;
            failures++;
            EXPECT_EQ(done.error(), DmaError::NoMemory);
            if (budget == 0) { // later a table that has grown stays; leaks show at the end
                EXPECT_EQ(machine.meta_live, live);
            }
        }
    };
    std::vector<std::pair<DmaBufId, Importer>> all;
    for (int i = 0; i < 12; i++) {
        const DmaBufId id = *insist([&] {
            return i % 2 != 0 ? owner->export_block(shared, "b") : owner->export_pages(machine.ram(40), kPage, "p");
        });
        Importer importer{kNearPlain, *insist([&] { return bufs().attach(id, kNearPlain); })};
        importer.serial = insist([&] { return bufs().map_attachment(importer.attachment, kTo); })->serial;
        ASSERT_TRUE(insist([&] { return bufs().begin_cpu_access(id, kTo); }));
        all.emplace_back(id, importer);
    }
    EXPECT_GT(failures, 12 * 3);
    machine.meta_budget = 0;
    EXPECT_TRUE(refused(owner->free_coherent(shared), DmaError::Busy));
    for (const auto& [id, importer] : all) {
        EXPECT_TRUE(bufs().end_cpu_access(id, kTo));
        EXPECT_TRUE(unmap(importer));
        EXPECT_TRUE(bufs().detach(id, importer.attachment));
        EXPECT_TRUE(bufs().put(id));
    }
    EXPECT_TRUE(owner->free_coherent(shared)) << "failed exports hold nothing";
    machine.meta_budget = INT64_MAX;
    EXPECT_EQ(block(kSnoops, kArena * kPage).granted, kArena * kPage) << "every bounce buffer came back";
}

} // namespace
} // namespace dmaudit::alloc
