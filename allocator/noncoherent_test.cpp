// dma_alloc_noncoherent and its kin, in coherent.hpp.

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

#include "allocator/coherent.hpp"
#include "allocator/testing_platform.hpp"

namespace dmaudit::alloc {
namespace {

using dmaudit::testing::TestPlatform;
using Bytes = std::vector<std::uint8_t>;

constexpr std::uint64_t kPage = 4096;
constexpr auto kBidi = Direction::Bidirectional;
constexpr auto kTo = Direction::ToDevice;
constexpr auto kFrom = Direction::FromDevice;

class NoncoherentTest : public ::testing::Test {
  protected:
    NoncoherentTest()
        : machine(32, 8), platform(machine.raw), states(1), arenas(platform, states.data()), iommu(platform),
          coherent(platform, arenas, iommu)
    {
        card = *Platform(machine.raw).device(machine.add_iommu_device(true, 64 * kPage - 1));
        soc = *Platform(machine.raw).device(machine.add_iommu_device(false, 64 * kPage - 1));
        pc = *platform.device(0);
        board = *platform.device(1);
    }
    Result<CoherentGrant> alloc(const Device& device, std::uint64_t size, Direction direction)
    {
        return coherent.alloc_noncoherent(device, size, reach_of(device), 0, direction);
    }
    Status sync(const CoherentGrant& grant, std::uint64_t offset, std::uint64_t n, Direction direction, Phase phase)
    {
        return coherent.sync_noncoherent(grant.block, grant.handle, offset, n, direction, phase);
    }
    bool arenas_are_whole()
    {
        const Result<PageRun> all = arenas.alloc(8 * kPage, reach_of(pc));
        if (all)
            arenas.free(*all);
        return static_cast<bool>(all);
    }
    static std::uint8_t* bytes(const CoherentGrant& grant) { return reinterpret_cast<std::uint8_t*>(grant.block.cpu); }

    TestPlatform machine;
    Platform platform;
    std::vector<Arenas::State> states;
    Arenas arenas;
    Iommu iommu;
    Coherent coherent;
    Device pc{}, board{}, card{}, soc{}; // (not) coherent, without and with an IOMMU
};

TEST_F(NoncoherentTest, DataArrivesOnEveryPath)
{
    for (const Device& device : {pc, board, card, soc})
        for (const Direction direction : {kTo, kFrom, kBidi}) {
            std::fill_n(machine.ram(0), 8 * kPage, std::uint8_t{0x5a}); // dirty, of an earlier owner
            const CoherentGrant grant = *alloc(device, kPage + 100, direction);
            const std::uint64_t bus = grant.block.bus.value;
            EXPECT_EQ(grant.granted, 2 * kPage);
            EXPECT_TRUE(machine.uncached.empty()) << "it is cached";
            EXPECT_EQ(std::count(bytes(grant), bytes(grant) + 2 * kPage, 0), 2 * static_cast<long>(kPage));
            std::fill_n(bytes(grant), kPage + 100, std::uint8_t{7});
            ASSERT_TRUE(sync(grant, 0, kPage + 100, direction, Phase::ForDevice));
            machine.evict_all();
            if (device_reads(direction)) {
                EXPECT_EQ(machine.device_read(device.index, bus, kPage + 100), Bytes(kPage + 100, 7));
            }
            if (device_writes(direction)) {
                machine.device_write(device.index, bus + 64, {99, 98});
                machine.evict_all();
                ASSERT_TRUE(sync(grant, 64, 2, direction, Phase::ForCpu));
                EXPECT_EQ(bytes(grant)[63], 7);
                EXPECT_EQ(bytes(grant)[64], 99);
                EXPECT_EQ(bytes(grant)[65], 98);
                EXPECT_EQ(bytes(grant)[66], 7);
            }
            if (device.iommu) {
                EXPECT_EQ(machine.reaches(device.index, bus, DMAUDIT_IOMMU_READ).has_value(), device_reads(direction));
                EXPECT_EQ(machine.reaches(device.index, bus, DMAUDIT_IOMMU_WRITE).has_value(),
                          device_writes(direction));
            }
            ASSERT_TRUE(coherent.free_noncoherent(grant.block, grant.handle, direction));
            EXPECT_EQ(machine.mapped_pages(card.index) + machine.mapped_pages(soc.index), 0u);
            EXPECT_TRUE(arenas_are_whole());
        }
}

// Zeros written over zeros that hide a device's bytes: they must get to memory all the same.
TEST_F(NoncoherentTest, ADeviceSeesZerosAndNoEarlierOwnersBytes)
{
    std::fill_n(machine.ram(0), kPage, std::uint8_t{0});
    machine.evict_all();
    machine.device_write(board.index, TestPlatform::kBase + 10, {0x5a}); // never fetched by the CPU
    const CoherentGrant grant = *alloc(board, kPage, kBidi);
    EXPECT_EQ(machine.device_read(board.index, grant.block.bus.value, kPage), Bytes(kPage, 0)) << "before any sync";
    ASSERT_TRUE(sync(grant, 0, kPage, kBidi, Phase::ForDevice));
    ASSERT_TRUE(sync(grant, 0, kPage, kBidi, Phase::ForCpu));
    EXPECT_EQ(std::count(bytes(grant), bytes(grant) + kPage, 0), static_cast<long>(kPage));
}

TEST_F(NoncoherentTest, NothingDirtyIsLeftBehind)
{
    const CoherentGrant grant = *alloc(board, kPage + 1, kTo);
    std::fill_n(bytes(grant), 2 * kPage, std::uint8_t{0x77}); // the padding is not the client's, but who knows
    ASSERT_TRUE(coherent.free_noncoherent(grant.block, grant.handle, kTo));
    EXPECT_FALSE(machine.dirty(TestPlatform::kBase, 2 * kPage));
}

TEST_F(NoncoherentTest, WhatTheCpuWroteBeforeDoesNotHitTheDevicesData)
{
    const CoherentGrant grant = *alloc(board, 64, kFrom);
    bytes(grant)[0] = 7;
    ASSERT_TRUE(sync(grant, 0, 64, kFrom, Phase::ForDevice));
    machine.device_write(board.index, grant.block.bus.value + 1, {99});
    machine.evict_all();
    ASSERT_TRUE(sync(grant, 0, 64, kFrom, Phase::ForCpu));
    EXPECT_EQ(bytes(grant)[1], 99);
    EXPECT_EQ(bytes(grant)[0], 7);
}

TEST_F(NoncoherentTest, ACoherentDeviceNeedsNoCacheWork)
{
    for (const Device& device : {pc, card}) {
        const CoherentGrant grant = *alloc(device, 100, kBidi);
        ASSERT_TRUE(sync(grant, 0, 100, kBidi, Phase::ForDevice));
        ASSERT_TRUE(sync(grant, 0, 100, kBidi, Phase::ForCpu));
        ASSERT_TRUE(coherent.free_noncoherent(grant.block, grant.handle, kBidi));
    }
    EXPECT_EQ(machine.cleans + machine.invalidates, 0u);
}

TEST_F(NoncoherentTest, SyncsMoveOneWayAndAreChecked)
{
    const CoherentGrant grant = *alloc(board, 200, kBidi);
    const std::uint64_t bus = grant.block.bus.value;
    bytes(grant)[0] = 7;
    ASSERT_TRUE(sync(grant, 0, 200, kFrom, Phase::ForDevice));
    EXPECT_EQ(machine.device_read(board.index, bus), 0) << "nothing moves this way";
    ASSERT_TRUE(sync(grant, 0, 200, kTo, Phase::ForDevice));
    EXPECT_EQ(machine.device_read(board.index, bus), 7);
    machine.device_write(board.index, bus, {9});
    ASSERT_TRUE(sync(grant, 0, 200, kTo, Phase::ForCpu));
    EXPECT_EQ(bytes(grant)[0], 7);
    bytes(grant)[101] = 5; // dirty, the CPU's, in a line of the next range
    for (const auto& [offset, length] :
         {std::pair<std::uint64_t, std::uint64_t>{0, 201}, {200, 1}, {201, 0}, {1, UINT64_MAX}, {UINT64_MAX, 2}})
        EXPECT_EQ(sync(grant, offset, length, kFrom, Phase::ForCpu).error(), DmaError::BadArgument);
    EXPECT_TRUE(sync(grant, 200, 0, kFrom, Phase::ForCpu));
    EXPECT_EQ(bytes(grant)[0], 7);
    ASSERT_TRUE(sync(grant, 0, 100, kFrom, Phase::ForCpu));
    EXPECT_EQ(bytes(grant)[0], 9);
    EXPECT_EQ(bytes(grant)[101], 5);
    const CoherentGrant to = *alloc(board, 10, kTo);
    EXPECT_EQ(sync(to, 0, 10, kFrom, Phase::ForDevice).error(), DmaError::BadArgument);
    EXPECT_EQ(sync(to, 0, 10, kBidi, Phase::ForDevice).error(), DmaError::BadArgument);
}

TEST_F(NoncoherentTest, TheKindsAreNotMixedUp)
{
    const CoherentGrant cached = *alloc(pc, 100, kTo);
    const CoherentGrant shared = *coherent.alloc(pc, 100, reach_of(pc), true, 0);
    const auto refuses = [](const auto& answer) { return !answer && answer.error() == DmaError::IllegalCall; };
    EXPECT_TRUE(refuses(coherent.free(cached.block, cached.handle)));
    EXPECT_TRUE(refuses(coherent.mmap(cached.block, cached.handle, 0, 1)));
    EXPECT_TRUE(refuses(coherent.free_noncoherent(shared.block, shared.handle, kTo)));
    EXPECT_TRUE(refuses(coherent.free_noncoherent(shared.block, shared.handle, kBidi)));
    EXPECT_TRUE(refuses(sync(shared, 0, 1, kBidi, Phase::ForCpu)));
    EXPECT_TRUE(refuses(coherent.free_noncoherent(cached.block, cached.handle, kBidi))) << "another direction";
    CoherentBlock lie = cached.block;
    lie.size++;
    EXPECT_TRUE(refuses(coherent.free_noncoherent(lie, cached.handle, kTo)));
    ASSERT_TRUE(coherent.free_noncoherent(cached.block, cached.handle, kTo));
    EXPECT_TRUE(refuses(coherent.free_noncoherent(cached.block, cached.handle, kTo))) << "double free";
    EXPECT_TRUE(refuses(sync(cached, 0, 1, kTo, Phase::ForDevice)));
    const CoherentGrant next = *coherent.alloc(pc, 100, reach_of(pc), true, 0);
    ASSERT_EQ(next.block, cached.block) << "the same place";
    EXPECT_TRUE(refuses(coherent.free(cached.block, cached.handle))) << "an old handle of another kind";
}

TEST_F(NoncoherentTest, FailuresKeepNothing)
{
    EXPECT_EQ(alloc(board, 9 * kPage, kTo).error(), DmaError::NoMemory);
    machine.meta_budget = 0;
    EXPECT_EQ(alloc(soc, 1, kTo).error(), DmaError::NoMemory);
    int got = 0;
    while (got < 8 && alloc(pc, 1, kTo))
        got++;
    EXPECT_EQ(got, 8) << "no record is lost";
}

} // namespace
} // namespace dmaudit::alloc
