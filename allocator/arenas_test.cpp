#include "allocator/arenas.hpp"

#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "allocator/testing_platform.hpp"

namespace dmaudit::alloc {
namespace {

using dmaudit::testing::TestPlatform;

constexpr std::uint64_t kPage = 4096;
constexpr Constraints kAnything{0, UINT64_MAX, 1, 0};

struct Fixture {
    explicit Fixture(TestPlatform& machine) : states(machine.raw.n_arenas), arenas(Platform(machine.raw), states.data())
    {
    }
    std::vector<Arenas::State> states;
    Arenas arenas;
};

TEST(Arenas, HandsOutTheLowestNaturallyAlignedRun)
{
    TestPlatform machine(64, 20);
    machine.arenas[0] = {TestPlatform::kBase + 3 * kPage, 20 * kPage}; // pages 3 to 22: an odd beginning
    Fixture f(machine);
    EXPECT_EQ(f.arenas.alloc(1, kAnything)->phys.value, TestPlatform::kBase + 3 * kPage);
    EXPECT_EQ(f.arenas.alloc(4 * kPage, kAnything)->phys.value, TestPlatform::kBase + 4 * kPage);
    EXPECT_EQ(f.arenas.alloc(5 * kPage, kAnything)->phys.value, TestPlatform::kBase + 8 * kPage);
    EXPECT_EQ(f.arenas.alloc(5 * kPage, kAnything).error(), DmaError::NoMemory);
    EXPECT_EQ(f.arenas.alloc(UINT64_MAX, kAnything).error(), DmaError::NoMemory);
}

TEST(Arenas, NaturalAlignmentIsOfTheDeviceAddress)
{
    TestPlatform machine(64, 20);
    Fixture f(machine);
    const Constraints shifted{kPage, UINT64_MAX, 1, 0}; // device address = physical + one page
    const auto run = f.arenas.alloc(4 * kPage, shifted);
    ASSERT_TRUE(run);
    EXPECT_EQ(run->phys.value, TestPlatform::kBase + 3 * kPage);
    EXPECT_EQ((run->phys.value + kPage) % (4 * kPage), 0u);
    f.arenas.free(*run);
    EXPECT_EQ(f.arenas.alloc(4 * kPage, kAnything)->phys.value, TestPlatform::kBase) << "all of it came back";
}

TEST(Arenas, AnOddBusOffsetStillFindsMemory)
{
    TestPlatform machine;
    Fixture f(machine);
    EXPECT_TRUE(f.arenas.alloc(2 * kPage, Constraints{24, UINT64_MAX, 8, 0}));
    EXPECT_EQ(f.arenas.alloc(kPage, Constraints{24, UINT64_MAX, 16, 0}).error(), DmaError::AlignMismatch);
}

TEST(Arenas, HonoursTheLimitInclusively)
{
    TestPlatform machine(64, 4);
    Fixture f(machine);
    const std::uint64_t last = TestPlatform::kBase + 2 * kPage - 1;
    EXPECT_TRUE(f.arenas.alloc(kPage, {0, last, 1, 0}));
    EXPECT_TRUE(f.arenas.alloc(kPage, {0, last, 1, 0})) << "ends exactly at the limit";
    EXPECT_EQ(f.arenas.alloc(kPage, {0, last, 1, 0}).error(), DmaError::DmaMaskNotMatch);
    EXPECT_TRUE(f.arenas.alloc(kPage, kAnything));
    EXPECT_TRUE(f.arenas.alloc(kPage, kAnything));
    EXPECT_EQ(f.arenas.alloc(kPage, {0, last, 1, 0}).error(), DmaError::NoMemory) << "nothing left anywhere";
}

TEST(Arenas, FallsBackToAnArenaWithinTheLimit)
{
    TestPlatform machine(64, 4);
    machine.add_bank(0x10000, 4 * kPage);
    machine.add_arena(0x10000, 4 * kPage);
    Fixture f(machine);
    EXPECT_EQ(f.arenas.alloc(kPage, {0, 0xfffff, 1, 0})->phys.value, 0x10000u);
    EXPECT_EQ(f.arenas.alloc(kPage, kAnything)->phys.value, TestPlatform::kBase);
}

TEST(Arenas, ADeviceAddressRangeNeverWraps)
{
    TestPlatform machine(64, 4);
    Fixture f(machine);
    const std::uint64_t offset =
        std::uint64_t{0} - TestPlatform::kBase - 2 * kPage; // pages 0 and 1 lie at the very top
    const auto run = f.arenas.alloc(4 * kPage, {offset, UINT64_MAX, 1, 0});
    EXPECT_FALSE(run);
    EXPECT_EQ(f.arenas.alloc(2 * kPage, {offset, 8 * kPage, 1, 0})->phys.value, TestPlatform::kBase + 2 * kPage);
}

TEST(Arenas, HonoursAlignmentBeyondTheRunsOwn)
{
    TestPlatform machine(64, 20);
    machine.arenas[0] = {TestPlatform::kBase + kPage, 20 * kPage};
    Fixture f(machine);
    EXPECT_EQ(f.arenas.alloc(10, {0, UINT64_MAX, 16 * kPage, 0})->phys.value, TestPlatform::kBase + 16 * kPage);
    EXPECT_EQ(f.arenas.alloc(10, {0, UINT64_MAX, 16 * kPage, 0}).error(), DmaError::AlignMismatch);
}

TEST(Arenas, HonoursTheBoundary)
{
    TestPlatform machine(64, 8);
    Fixture f(machine);
    // Device addresses are 512 bytes off the pages: a whole page crosses every boundary of a page.
    EXPECT_FALSE(f.arenas.alloc(kPage, {512, UINT64_MAX, 1, kPage}));
    EXPECT_TRUE(f.arenas.alloc(kPage - 512, {512, UINT64_MAX, 1, kPage}));
}

TEST(Arenas, WithoutMetadataNothingIsTaken)
{
    TestPlatform machine(400, 300); // too many pages for the bitmap in place
    Fixture f(machine);
    machine.meta_budget = 0;
    EXPECT_EQ(f.arenas.alloc(1, kAnything).error(), DmaError::NoMemory);
    machine.meta_budget = 1;
    EXPECT_EQ(f.arenas.alloc(1, kAnything)->phys.value, TestPlatform::kBase);
}

TEST(Arenas, AnArenaThatIsNotRamIsNotUsed)
{
    TestPlatform machine(64, 4);
    machine.arenas[0] = {0x1000, 4 * kPage};
    Fixture f(machine);
    EXPECT_EQ(f.arenas.alloc(1, kAnything).error(), DmaError::NoMemory);
}

} // namespace
} // namespace dmaudit::alloc
