#include "machine/cache_testing.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

namespace dmaudit {
namespace {

constexpr uint64_t bytes = cache_bytes;

// ---- R1: dirty and stale

TEST_F(CacheTest, AFreshCacheIsCleanAndBothViewsHoldThePattern)
{
    EXPECT_FALSE(cache.first_dirty(0, bytes));
    EXPECT_FALSE(cache.first_difference(0, bytes));
    for (uint64_t at = 0; at < bytes; at++) {
        ASSERT_EQ(load(at), initial(at));
        ASSERT_EQ(device_read(at), initial(at));
        ASSERT_NE(load(at), 0);
    }
}

TEST_F(CacheTest, ARawStoreDirtiesItsLineByValue)
{
    store(70, 1);
    EXPECT_TRUE(cache.byte_dirty(70));
    EXPECT_FALSE(cache.byte_dirty(71));
    EXPECT_TRUE(cache.line_dirty(64));
    EXPECT_TRUE(cache.line_dirty(127));
    EXPECT_FALSE(cache.line_dirty(63));
    EXPECT_FALSE(cache.line_dirty(128));
    EXPECT_EQ(cache.first_dirty(0, bytes), 70u);
    EXPECT_EQ(device_read(70), initial(70)); // the device does not see it
    EXPECT_EQ(cache.first_difference(0, bytes), 70u);
}

TEST_F(CacheTest, ARawStoreOfTheOldValueIsCleanAgain)
{
    store(70, 1);
    store(70, initial(70));
    EXPECT_FALSE(cache.line_dirty(70));
    EXPECT_FALSE(cache.first_dirty(0, bytes));
}

TEST_F(CacheTest, ASilentStoreThatTheHarnessSawForcesTheLineDirty)
{
    cache.wrote(70, 1);
    EXPECT_TRUE(cache.line_dirty(64));
    EXPECT_FALSE(cache.byte_dirty(70)); // no byte differs
    EXPECT_EQ(cache.first_dirty(64, 64), 64u);
    EXPECT_EQ(cache.first_dirty(100, 4), 64u); // the line counts as a whole
    EXPECT_FALSE(cache.line_dirty(63));
    EXPECT_FALSE(cache.line_dirty(128));
}

TEST_F(CacheTest, WroteForcesExactlyTheLinesItTouches)
{
    cache.wrote(63, 66); // lines 0, 64 and 128
    EXPECT_TRUE(cache.line_dirty(0));
    EXPECT_TRUE(cache.line_dirty(64));
    EXPECT_TRUE(cache.line_dirty(128));
    EXPECT_FALSE(cache.line_dirty(192));
    cache.wrote(256, 0);
    EXPECT_FALSE(cache.line_dirty(256));
}

TEST_F(CacheTest, AForcedLineDestroysDeviceDataEvenIfNoValueChanged)
{
    tell_store(70, initial(70));
    device_write(71, 9);
    cache.clean(70, 1);
    EXPECT_EQ(device_read(71), initial(71));
    EXPECT_EQ(told.over_stale, std::vector<uint64_t>{64});
}

// ---- R2: clean

TEST_F(CacheTest, CleanWritesTheWholeLineBack)
{
    store(64, 1);
    store(127, 2);
    store(128, 3);
    cache.clean(90, 1);
    EXPECT_EQ(device_read(64), 1);
    EXPECT_EQ(device_read(127), 2);
    EXPECT_EQ(device_read(128), initial(128)); // another line
    EXPECT_FALSE(cache.line_dirty(64));
    EXPECT_TRUE(cache.line_dirty(128));
}

TEST_F(CacheTest, CleanClearsTheForce)
{
    cache.wrote(64, 1);
    cache.clean(64, 1);
    EXPECT_FALSE(cache.line_dirty(64));
}

TEST_F(CacheTest, CleanLeavesACleanLineAlone)
{
    device_write(70, 9);
    cache.clean(64, 64);
    EXPECT_EQ(device_read(70), 9); // the CPU's old byte was not written over it
    EXPECT_TRUE(cache.byte_stale(70));
    EXPECT_TRUE(told.over_stale.empty());
}

TEST_F(CacheTest, EmptyRangesTouchNothing)
{
    store(64, 1);
    device_write(128, 9);
    cache.clean(64, 0);
    cache.invalidate(64, 0);
    cache.evict(64, 0);
    cache.prefetch(128, 0);
    EXPECT_TRUE(cache.byte_dirty(64));
    EXPECT_TRUE(cache.byte_stale(128));
    EXPECT_FALSE(cache.first_dirty(64, 0));
}

// ---- R3: invalidate

TEST_F(CacheTest, InvalidateLoadsTheWholeLineFromTheDevicesView)
{
    device_write(64, 9);
    device_write(127, 8);
    EXPECT_EQ(load(64), initial(64)); // not before
    cache.invalidate(100, 1);
    EXPECT_EQ(load(64), 9);
    EXPECT_EQ(load(127), 8);
    EXPECT_FALSE(cache.byte_stale(64));
}

TEST_F(CacheTest, InvalidateDropsDirtyNeighboursAndTellsTheRangeAskedFor)
{
    store(64, 1);
    cache.invalidate(80, 8);
    EXPECT_EQ(load(64), initial(64));
    EXPECT_FALSE(cache.line_dirty(64));
    EXPECT_EQ(told.dropped, std::vector<uint64_t>{64});
    EXPECT_EQ(told.at, 80u);
    EXPECT_EQ(told.len, 8u);
}

TEST_F(CacheTest, InvalidateOfCleanLinesTellsNobody)
{
    device_write(64, 9);
    cache.invalidate(64, 128);
    EXPECT_TRUE(told.dropped.empty());
}

TEST_F(CacheTest, CleanThenInvalidateLosesNothing)
{
    store(64, 1);
    cache.clean(64, 1);
    cache.invalidate(64, 1);
    EXPECT_EQ(load(64), 1);
    EXPECT_TRUE(told.dropped.empty());
}

// ---- R4: evict and prefetch

TEST_F(CacheTest, EvictWritesBackAndForgets)
{
    store(64, 1);
    device_write(130, 9); // a clean line with new device data
    cache.evict(64, 128);
    EXPECT_EQ(device_read(64), 1);
    EXPECT_EQ(load(64), 1);
    EXPECT_EQ(load(130), 9);
    EXPECT_TRUE(told.dropped.empty()); // what is written back is not lost
}

TEST_F(CacheTest, EvictOfADirtyLineDestroysDeviceData)
{
    store(64, 1);
    device_write(70, 9);
    cache.evict(64, 1);
    EXPECT_EQ(device_read(70), initial(70));
    EXPECT_EQ(told.over_stale, std::vector<uint64_t>{64});
}

TEST_F(CacheTest, WritebackWithoutDeviceDataTellsNobody)
{
    store(64, 1);
    cache.evict(64, 1);
    EXPECT_TRUE(told.over_stale.empty());
    device_write(64, 9);
    cache.invalidate(64, 1); // the CPU has seen it
    store(65, 1);
    cache.clean(64, 1);
    EXPECT_TRUE(told.over_stale.empty());
}

TEST_F(CacheTest, PrefetchReloadsCleanLinesOnly)
{
    device_write(64, 9);
    device_write(128, 8);
    store(129, 1);
    cache.prefetch(64, 128);
    EXPECT_EQ(load(64), 9);
    EXPECT_EQ(load(128), initial(128));
    EXPECT_EQ(load(129), 1);
    EXPECT_TRUE(cache.byte_dirty(129));
    cache.wrote(192, 1); // forced dirty without a difference: stays
    device_write(193, 7);
    cache.prefetch(192, 1);
    EXPECT_EQ(load(193), initial(193));
}

// ---- R5: devices

TEST_F(CacheTest, ADeviceWriteMakesNoLineDirty)
{
    device_write(64, 9);
    EXPECT_FALSE(cache.line_dirty(64));
    EXPECT_FALSE(cache.byte_dirty(64));
    EXPECT_TRUE(cache.byte_stale(64));
    EXPECT_FALSE(cache.byte_stale(65));
    EXPECT_FALSE(cache.first_dirty(0, bytes));
}

TEST_F(CacheTest, ASecondDeviceWriteKeepsWhatWasExchangedFirst)
{
    device_write(64, 9);
    device_write(64, 8); // the exchanged value is still the initial one
    EXPECT_FALSE(cache.line_dirty(64));
    store(64, 9); // equal to what the device wrote in between, but not exchanged
    EXPECT_TRUE(cache.byte_dirty(64));
}

TEST_F(CacheTest, DirtyAndStaleInOneLineAreKeptApart)
{
    store(64, 1);
    device_write(65, 9);
    EXPECT_TRUE(cache.byte_dirty(64));
    EXPECT_FALSE(cache.byte_stale(64));
    EXPECT_FALSE(cache.byte_dirty(65));
    EXPECT_TRUE(cache.byte_stale(65));
    EXPECT_EQ(cache.first_dirty(64, 64), 64u);
}

TEST_F(CacheTest, ADeviceWriteOverSeveralLinesIsExactAtItsEdges)
{
    std::array<uint8_t, 130> data;
    data.fill(5);
    cache.write(63, data.size(), data.data());
    EXPECT_EQ(device_read(62), initial(62));
    EXPECT_EQ(device_read(63), 5);
    EXPECT_EQ(device_read(192), 5);
    EXPECT_EQ(device_read(193), initial(193));
    EXPECT_FALSE(cache.byte_stale(62));
    EXPECT_TRUE(cache.byte_stale(63));
    EXPECT_TRUE(cache.byte_stale(192));
    EXPECT_FALSE(cache.byte_stale(193));
    cache.write(300, 0, data.data());
    EXPECT_FALSE(cache.byte_stale(300));
}

TEST_F(CacheTest, ACoherentWriteReachesBothViews)
{
    const uint8_t v = 9;
    cache.coherent_write(64, 1, &v);
    EXPECT_EQ(load(64), 9);
    EXPECT_EQ(device_read(64), 9);
    EXPECT_FALSE(cache.line_dirty(64));
    EXPECT_FALSE(cache.byte_stale(64));
}

TEST_F(CacheTest, ACoherentWriteIntoALineWithOtherDeviceDataIsExchangedToo)
{
    const uint8_t v = 9;
    device_write(65, 8);
    cache.coherent_write(64, 1, &v);
    EXPECT_FALSE(cache.byte_dirty(64));
    EXPECT_FALSE(cache.byte_stale(64));
    EXPECT_TRUE(cache.byte_stale(65));
    cache.invalidate(64, 1);
    EXPECT_EQ(load(64), 9);
    EXPECT_EQ(load(65), 8);
}

TEST_F(CacheTest, WhereAllDevicesAreCoherentThereIsOneView)
{
    cache.reset();
    begin(4096, 64, false);
    store(64, 1);
    cache.wrote(64, 1);
    EXPECT_FALSE(cache.simulated());
    EXPECT_FALSE(cache.line_dirty(64));
    EXPECT_FALSE(cache.byte_dirty(64));
    EXPECT_FALSE(cache.first_dirty(0, bytes));
    EXPECT_FALSE(cache.first_difference(0, bytes));
    cache.clean(0, bytes);
    cache.invalidate(0, bytes);
    cache.evict(0, bytes);
    cache.prefetch(0, bytes);
    EXPECT_EQ(load(64), 1); // nothing to drop
    const uint8_t v = 2;
    cache.coherent_write(64, 1, &v);
    EXPECT_EQ(load(64), 2);
    cache.set_uncached(0, 4096, true);
    EXPECT_TRUE(cache.uncached(0));
    EXPECT_EQ(load(64), 2);
}

// ---- R6: uncached pages

TEST_F(CacheTest, UncachingDropsWhatWasNotWrittenBack)
{
    store(64, 1);
    store(4096 + 64, 2);
    cache.set_uncached(0, 4096, true);
    EXPECT_EQ(load(64), initial(64));
    EXPECT_EQ(load(4096 + 64), 2); // the next page is untouched
    EXPECT_TRUE(cache.byte_dirty(4096 + 64));
}

TEST_F(CacheTest, UncachingAfterACleanKeepsEverything)
{
    store(64, 1);
    cache.clean(0, 4096);
    cache.set_uncached(0, 4096, true);
    EXPECT_EQ(load(64), 1);
    EXPECT_EQ(device_read(64), 1);
}

TEST_F(CacheTest, AnUncachedPageHasOneValue)
{
    cache.set_uncached(4096, 4096, true);
    tell_store(4096, 1);
    EXPECT_EQ(device_read(4096), 1);
    EXPECT_FALSE(cache.line_dirty(4096));
    EXPECT_FALSE(cache.byte_dirty(4096));
    device_write(4097, 9);
    EXPECT_EQ(load(4097), 9);
    EXPECT_FALSE(cache.byte_stale(4097));
    cache.invalidate(4096, 4096);
    cache.evict(4096, 4096);
    EXPECT_EQ(load(4096), 1);
    EXPECT_EQ(load(4097), 9);
    EXPECT_FALSE(cache.first_difference(0, bytes));
    EXPECT_FALSE(cache.first_dirty(0, bytes));
}

TEST_F(CacheTest, RangesAcrossACachedAndAnUncachedPageAreJudgedPageByPage)
{
    cache.set_uncached(4096, 4096, true);
    std::array<uint8_t, 200> data, out{};
    data.fill(7);
    cache.write(4000, data.size(), data.data());
    EXPECT_EQ(load(4000), initial(4000)); // cached: not yet seen
    EXPECT_EQ(load(4096), 7);             // uncached: at once
    cache.read(4000, out.size(), out.data());
    EXPECT_EQ(out, data);
    store(4090, 1);
    store(4100, 2);
    EXPECT_EQ(cache.first_dirty(4000, 200), 4090u);
    EXPECT_EQ(cache.first_difference(4050, 100), 4050u);
}

TEST_F(CacheTest, RecachingKeepsTheValueAndIsClean)
{
    cache.set_uncached(0, 4096, true);
    store(64, 1);
    cache.set_uncached(0, 4096, false);
    EXPECT_FALSE(cache.line_dirty(64));
    EXPECT_EQ(device_read(64), 1);
    store(65, 2); // cached again
    EXPECT_TRUE(cache.line_dirty(64));
    EXPECT_EQ(device_read(65), initial(65));
}

TEST_F(CacheTest, UncachingTwiceDropsNothing)
{
    cache.set_uncached(0, 4096, true);
    store(64, 1);
    cache.set_uncached(0, 8192, true);
    EXPECT_EQ(load(64), 1);
    EXPECT_TRUE(cache.all_uncached(0, 8192));
}

TEST_F(CacheTest, UncachedPagesAreCounted)
{
    EXPECT_EQ(cache.uncached_pages(), 0u);
    cache.set_uncached(0, 8192, true);
    cache.set_uncached(4096, 8192, true);
    EXPECT_EQ(cache.uncached_pages(), 3u);
    cache.set_uncached(4096, 4096, false);
    cache.set_uncached(4096, 4096, false);
    EXPECT_EQ(cache.uncached_pages(), 2u);
    cache.reset();
    begin(4096, 64, true);
    EXPECT_EQ(cache.uncached_pages(), 0u);
}

TEST_F(CacheTest, AllUncachedMeansEveryPageTouched)
{
    cache.set_uncached(4096, 4096, true);
    EXPECT_TRUE(cache.all_uncached(4096, 4096));
    EXPECT_TRUE(cache.all_uncached(8191, 1));
    EXPECT_FALSE(cache.all_uncached(4095, 2));
    EXPECT_FALSE(cache.all_uncached(8191, 2));
    EXPECT_TRUE(cache.all_uncached(0, 0));
}

// ---- reset

TEST_F(CacheTest, ResetForgetsEverything)
{
    store(64, 1);
    cache.clean(64, 1);
    device_write(128, 9);
    cache.wrote(192, 1);
    cache.set_uncached(4096, 4096, true);
    const uint8_t v = 3;
    cache.coherent_write(8192, 1, &v);
    cache.reset();
    begin(4096, 64, true); // and RAM is as it was
    EXPECT_FALSE(cache.first_dirty(0, bytes));
    EXPECT_FALSE(cache.first_difference(0, bytes));
    EXPECT_FALSE(cache.uncached(4096));
    for (uint64_t at = 0; at < bytes; at++) {
        ASSERT_EQ(device_read(at), initial(at)) << at;
        ASSERT_FALSE(cache.byte_stale(at)) << at;
    }
}

TEST_F(CacheTest, ResetFindsWhatWasWrittenWhileAPageWasUncached)
{
    cache.set_uncached(4096, 4096, true);
    store(4100, 1);
    cache.set_uncached(4096, 4096, false); // both views hold it now
    cache.reset();
    begin(4096, 64, true);
    EXPECT_EQ(device_read(4100), initial(4100));
}

TEST_F(CacheTest, AnotherLineSizeAfterAResetStartsClean)
{
    for (const uint64_t line : {256u, 16u, 64u, 128u, 32u}) {
        cache.wrote(0, bytes);
        device_write(8191, 9);
        cache.reset();
        begin(4096, line, true);
        EXPECT_EQ(cache.line(), line);
        EXPECT_FALSE(cache.first_dirty(0, bytes)) << line;
        EXPECT_FALSE(cache.byte_stale(8191)) << line;
        store(line, 1);
        EXPECT_FALSE(cache.line_dirty(line - 1));
        EXPECT_TRUE(cache.line_dirty(2 * line - 1));
        EXPECT_FALSE(cache.line_dirty(2 * line));
        store(line, initial(line));
    }
}

} // namespace
} // namespace dmaudit
