#include "allocator/bounce.hpp"

#include <map>
#include <vector>

#include <gtest/gtest.h>

#include "allocator/testing_platform.hpp"

namespace dmaudit::alloc {
namespace {

using dmaudit::testing::TestPlatform;

constexpr Constraints kAnything{0, UINT64_MAX, 1, 0};

struct World {
    explicit World(std::uint64_t arena_pages = 8, std::uint64_t page = 4096, std::uint64_t line = 64)
        : machine(2 * arena_pages, arena_pages, page, line), platform(machine.raw), states(1),
          arenas(platform, states.data()), bounce(platform, arenas)
    {
    }
    TestPlatform machine;
    Platform platform;
    std::vector<Arenas::State> states;
    Arenas arenas;
    Bounce bounce;
};

TEST(Bounce, SlotsNeverOverlapNorShareALine)
{
    for (const std::uint64_t page : {4096u, 65536u})
        for (const std::uint64_t line : {16u, 64u, 256u}) {
            World w(16, page, line);
            std::map<std::uint64_t, std::pair<std::uint64_t, BounceSlot>> live; // begin -> end
            std::uint64_t seed = 1;
            for (int step = 0; step < 2000; step++) {
                seed = seed * 6364136223846793005u + 1442695040888963407u;
                const std::uint64_t size = 1 + (seed >> 33) % (step % 7 == 0 ? 3 * page : 700);
                const PhysAddr original{0x1234'0000 + (seed >> 20) % 4096};
                if (const Result<BounceSlot> slot = w.bounce.alloc(size, original, kAnything)) {
                    const std::uint64_t begin = slot->phys.value & ~(line - 1);
                    const std::uint64_t end = (slot->phys.value + size + line - 1) & ~(line - 1);
                    ASSERT_EQ(slot->phys.value % line, original.value % line) << "congruent";
                    ASSERT_TRUE(w.platform.arena(0).holds({begin}, end - begin));
                    ASSERT_EQ(w.platform.cpu_of({slot->phys, size}), slot->cpu);
                    auto next = live.lower_bound(begin);
                    ASSERT_TRUE(next == live.end() || next->first >= end);
                    ASSERT_TRUE(next == live.begin() || std::prev(next)->second.first <= begin);
                    live[begin] = {end, *slot};
                } else {
                    ASSERT_EQ(slot.error(), DmaError::NoMemory);
                }
                if (step % 3 == 2 && !live.empty()) {
                    auto victim = live.lower_bound(seed % (16 * page) + TestPlatform::kBase);
                    if (victim == live.end())
                        victim = live.begin();
                    w.bounce.free(victim->second.second);
                    live.erase(victim);
                }
            }
            for (const auto& [begin, slot] : live)
                w.bounce.free(slot.second);
            EXPECT_TRUE(w.arenas.alloc(16 * page, kAnything)) << "every chunk went back";
        }
}

TEST(Bounce, AlignmentComesBeforeCongruence)
{
    World w;
    for (const std::uint64_t align : {128u, 512u, 4096u, 8192u}) {
        const Result<BounceSlot> slot = w.bounce.alloc(100, {0x1001}, {0, UINT64_MAX, align, 0});
        ASSERT_TRUE(slot);
        EXPECT_EQ(slot->phys.value % align, 0u);
    }
    const Result<BounceSlot> small = w.bounce.alloc(100, {0x1008}, {0, UINT64_MAX, 8, 0});
    EXPECT_EQ(small->phys.value % 64, 8u) << "an alignment below the line leaves room for both";
    EXPECT_EQ(w.bounce.alloc(100, {0}, {0, UINT64_MAX, std::uint64_t{1} << 40, 0}).error(), DmaError::AlignMismatch);
    const Result<BounceSlot> shifted = w.bounce.alloc(100, {0x1001}, {24, UINT64_MAX, 64, 0});
    EXPECT_EQ((shifted->phys.value + 24) % 64, 0u) << "of the device address";
    const Result<BounceSlot> large = w.bounce.alloc(5000, {0x1001}, {24, UINT64_MAX, 64, 0});
    EXPECT_EQ((large->phys.value + 24) % 64, 0u);
}

TEST(Bounce, NeverCrossesTheBoundary)
{
    World w;
    for (int i = 0; i < 100; i++) {
        const Result<BounceSlot> slot = w.bounce.alloc(200, {0x30}, {0, UINT64_MAX, 1, 256});
        ASSERT_TRUE(slot);
        ASSERT_EQ(slot->phys.value / 256, (slot->phys.value + 199) / 256);
    }
}

TEST(Bounce, ALimitInsideAPageIsHonoured)
{
    World w(1);
    const Constraints c{0, TestPlatform::kBase + 255, 1, 0};
    const Result<BounceSlot> slot = w.bounce.alloc(256, {0}, c);
    ASSERT_TRUE(slot);
    EXPECT_EQ(slot->phys.value, TestPlatform::kBase);
    w.bounce.free(*slot);
    EXPECT_EQ(w.bounce.alloc(257, {0}, c).error(), DmaError::DmaMaskNotMatch);
}

TEST(Bounce, APageHoldsAsManySlotsAsLines)
{
    World w(1);
    for (int i = 0; i < 64; i++)
        ASSERT_TRUE(w.bounce.alloc(64, {0}, kAnything)) << i;
    EXPECT_EQ(w.bounce.alloc(1, {0}, kAnything).error(), DmaError::NoMemory);
}

TEST(Bounce, WithoutMetadataSlotsGetPagesOfTheirOwn)
{
    World w(8);
    w.machine.meta_budget = 0;
    for (int i = 0; i < 8; i++) // four records of chunks are in place
        ASSERT_TRUE(w.bounce.alloc(4000, {0}, kAnything)) << i;
}

TEST(Bounce, ExhaustionHasNoEffect)
{
    World w(2);
    const Result<BounceSlot> all = w.bounce.alloc(8192, {0}, kAnything);
    ASSERT_TRUE(all);
    EXPECT_EQ(w.bounce.alloc(1, {0}, kAnything).error(), DmaError::NoMemory);
    EXPECT_EQ(w.bounce.alloc(std::uint64_t{1} << 40, {0}, kAnything).error(), DmaError::NoMemory);
    w.bounce.free(*all);
    EXPECT_TRUE(w.bounce.alloc(8192, {0}, kAnything));
}

} // namespace
} // namespace dmaudit::alloc
