// The adversary, injected faults, metadata memory, locks and the log.
#include "machine/machine_testing.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace dmaudit {
namespace {

// ---- the adversary

TEST_F(MachineTest, AnArmedEvictionHappensAtTheNthPlatformCall)
{
    for (unsigned nth = 1; nth <= 5; nth++) {
        begin(two_banks());
        uint64_t word = 0;
        machine.door()[0x40] = 1;
        ASSERT_TRUE(machine.arm(Machine::Act::evict, 0x40, 1, nth));
        machine.begin_call();
        const auto expect_after = [&](unsigned calls) {
            EXPECT_EQ(machine.cache().line_dirty(0x40), calls < nth) << calls << " calls, armed at " << nth;
        };
        expect_after(0);
        platform().lock(self(), &word);
        expect_after(1);
        void* meta = meta_alloc(8);
        expect_after(2);
        platform().meta_free(self(), meta);
        expect_after(3);
        clean(0x11000, 1); // another line
        expect_after(4);
        platform().unlock(self(), &word);
        expect_after(5);
        EXPECT_EQ(machine.end_call(), 1u);
    }
}

TEST_F(MachineTest, AnArmedActComesBeforeTheCallTakesEffect)
{
    machine.door()[0x40] = 1;
    machine.arm(Machine::Act::evict, 0x40, 1, 1);
    machine.begin_call();
    invalidate(0x10040, 1); // would have dropped it
    EXPECT_EQ(machine.end_call(), 1u);
    EXPECT_EQ(machine.door()[0x40], 1);
    EXPECT_TRUE(told.dropped.empty());
}

TEST_F(MachineTest, APrefetchCanBeArmedToo)
{
    device_write(0, 0x40, 9);
    machine.arm(Machine::Act::prefetch, 0x40, 1, 2);
    machine.begin_call();
    clean(0x11000, 1);
    EXPECT_NE(machine.door()[0x40], 9);
    clean(0x11000, 1);
    EXPECT_EQ(machine.door()[0x40], 9);
    EXPECT_EQ(machine.end_call(), 1u);
}

TEST_F(MachineTest, WhatDidNotFireIsDisarmed)
{
    machine.door()[0x40] = 1;
    machine.arm(Machine::Act::evict, 0x40, 1, 2);
    machine.begin_call();
    clean(0x11000, 1);
    EXPECT_EQ(machine.end_call(), 0u);
    machine.begin_call();
    clean(0x11000, 1);
    clean(0x11000, 1);
    EXPECT_EQ(machine.end_call(), 0u);
    EXPECT_TRUE(machine.cache().line_dirty(0x40));
}

TEST_F(MachineTest, CallsAreCountedFromTheBeginningOfEachProviderCall)
{
    clean(0x11000, 1); // outside any
    machine.begin_call();
    machine.end_call();
    machine.door()[0x40] = 1;
    machine.arm(Machine::Act::evict, 0x40, 1, 1);
    machine.begin_call();
    clean(0x11000, 1);
    EXPECT_FALSE(machine.cache().line_dirty(0x40));
    EXPECT_EQ(machine.end_call(), 1u);
}

TEST_F(MachineTest, SeveralActsCanBeArmedUpToALimit)
{
    for (unsigned i = 0; i < Machine::most_armed; i++) {
        machine.door()[i * 64] = 1;
        EXPECT_TRUE(machine.arm(Machine::Act::evict, i * 64, 1, 1 + i % 2));
    }
    EXPECT_FALSE(machine.arm(Machine::Act::evict, 0, 1, 1));
    machine.begin_call();
    clean(0x80000, 1);
    clean(0x80000, 1);
    EXPECT_EQ(machine.end_call(), Machine::most_armed);
    EXPECT_FALSE(machine.cache().first_dirty(0, 0x1000));
    EXPECT_TRUE(machine.arm(Machine::Act::evict, 0, 1, 1));
}

// ---- injected faults

TEST_F(MachineTest, TheNthCallThatMayFailFails)
{
    for (unsigned nth = 1; nth <= 3; nth++) {
        machine.arm_fault(nth);
        EXPECT_FALSE(machine.fault_fired());
        machine.begin_call();
        clean(0x10000, 1); // cannot fail and does not count
        EXPECT_EQ(meta_alloc(8) == nullptr, nth == 1);
        EXPECT_EQ(set_uncached(0x10000, 0x1000, 1) == DMAUDIT_ENOMEM, nth == 2);
        EXPECT_EQ(machine.cache().uncached(0), nth != 2);
        EXPECT_EQ(meta_alloc(8) == nullptr, nth == 3);
        EXPECT_NE(meta_alloc(8), nullptr); // only one fails
        EXPECT_TRUE(machine.fault_fired());
        machine.end_call();
        EXPECT_EQ(set_uncached(0x10000, 0x1000, 0), DMAUDIT_OK);
    }
}

TEST_F(MachineTest, WhileItIsStarvedThereIsNoMetadataMemory)
{
    machine.starve(true);
    for (unsigned call = 0; call < 2; call++) {
        machine.begin_call();
        EXPECT_EQ(set_uncached(0x10000, 0x1000, 1), DMAUDIT_OK); // only metadata is short
        EXPECT_FALSE(machine.fault_fired());
        EXPECT_EQ(meta_alloc(8), nullptr);
        EXPECT_EQ(meta_alloc(8), nullptr);
        EXPECT_TRUE(machine.fault_fired());
        machine.end_call();
    }
    machine.starve(false);
    machine.begin_call();
    EXPECT_NE(meta_alloc(8), nullptr);
    EXPECT_FALSE(machine.fault_fired());
    machine.end_call();
}

TEST_F(MachineTest, MakingPagesCachedAgainCannotFail)
{
    ASSERT_EQ(set_uncached(0x10000, 0x1000, 1), DMAUDIT_OK);
    machine.arm_fault(1);
    machine.begin_call();
    EXPECT_EQ(set_uncached(0x10000, 0x1000, 0), DMAUDIT_OK);
    EXPECT_FALSE(machine.fault_fired());
    EXPECT_EQ(meta_alloc(8), nullptr); // it did not count either
    machine.end_call();
}

TEST_F(MachineTest, AFaultThatDidNotFireIsDisarmed)
{
    machine.arm_fault(2);
    machine.begin_call();
    EXPECT_NE(meta_alloc(8), nullptr);
    machine.end_call();
    EXPECT_FALSE(machine.fault_fired());
    machine.begin_call();
    EXPECT_NE(meta_alloc(8), nullptr);
    EXPECT_NE(meta_alloc(8), nullptr);
    machine.end_call();
}

// ---- metadata memory

TEST_F(MachineTest, MetadataIsAlignedUsableAndGivenBackInAnyOrder)
{
    std::vector<uint8_t*> got;
    for (size_t n = 0; n < 20; n++) {
        auto* p = static_cast<uint8_t*>(meta_alloc(n * 13));
        ASSERT_NE(p, nullptr);
        EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % alignof(std::max_align_t), 0u);
        std::memset(p, static_cast<int>(n), n * 13);
        got.push_back(p);
    }
    for (const size_t first : {1u, 0u}) // odd ones, then even ones
        for (size_t n = first; n < got.size(); n += 2) {
            for (size_t i = 0; i < n * 13; i++)
                ASSERT_EQ(got[n][i], n);
            platform().meta_free(self(), got[n]);
        }
    platform().meta_free(self(), nullptr);
}

TEST_F(MachineTest, MetadataThatIsLeakedIsFreedAtReset) // LeakSanitizer is the judge
{
    for (unsigned i = 0; i < 10; i++)
        ASSERT_NE(meta_alloc(1000), nullptr);
    EXPECT_TRUE(machine.metadata_kept());
    begin(two_banks());
    EXPECT_FALSE(machine.metadata_kept());
    EXPECT_NE(meta_alloc(1000), nullptr);
}

TEST_F(MachineTest, MetadataThatWasGivenBackIsNotKept)
{
    void *a = meta_alloc(8), *b = meta_alloc(8);
    platform().meta_free(self(), a);
    EXPECT_TRUE(machine.metadata_kept());
    platform().meta_free(self(), b);
    EXPECT_FALSE(machine.metadata_kept());
}

TEST_F(MachineTest, ImpossibleMetadataFails)
{
    EXPECT_EQ(meta_alloc(~size_t{0}), nullptr);
    EXPECT_EQ(meta_alloc(Machine::most_metadata + 1), nullptr);
}

TEST_F(MachineTest, MetadataHasAMost)
{
    void* half = meta_alloc(Machine::most_metadata / 2);
    ASSERT_NE(half, nullptr);
    EXPECT_NE(meta_alloc(Machine::most_metadata / 2 - 1), nullptr);
    EXPECT_EQ(meta_alloc(2), nullptr);
    EXPECT_NE(meta_alloc(1), nullptr);
    platform().meta_free(self(), half);
    EXPECT_NE(meta_alloc(2), nullptr);
    begin(two_banks());
    EXPECT_NE(meta_alloc(Machine::most_metadata), nullptr);
}

TEST_F(MachineTest, WhatIsNoMetadataIsNotFreed)
{
    void* own = meta_alloc(8);
    platform().meta_free(self(), own);
    EXPECT_FALSE(machine.meta_error());
    alignas(std::max_align_t) std::array<uint8_t, 256> foreign{};
    platform().meta_free(self(), foreign.data() + 128);
    EXPECT_TRUE(machine.meta_error());
    begin(two_banks());
    EXPECT_FALSE(machine.meta_error());
}

TEST_F(MachineTest, AWriteBeforeMetadataIsSeen)
{
    for (const uint64_t value : {uint64_t{0}, uint64_t{1} << 13, uint64_t{1} << 40}) {
        auto* inside = static_cast<uint64_t*>(meta_alloc(64));
        inside[-1] = value; // in one piece of the heap with it: AddressSanitizer has nothing to say
        platform().meta_free(self(), inside);
        EXPECT_TRUE(machine.meta_overrun()) << value;
        begin(two_banks());
    }
}

// AddressSanitizer sees the write itself.
#ifndef DMAUDIT_ASAN
TEST_F(MachineTest, AWritePastTheEndOfMetadataIsSeen)
{
    for (const size_t size : {size_t{1}, size_t{8}, size_t{100}}) {
        auto* inside = static_cast<uint8_t*>(meta_alloc(size));
        std::fill_n(inside, size, uint8_t{0});
        platform().meta_free(self(), inside);
        EXPECT_FALSE(machine.meta_overrun()) << size;
        auto* past = static_cast<uint8_t*>(meta_alloc(size));
        past[size] = 0;
        platform().meta_free(self(), past);
        EXPECT_TRUE(machine.meta_overrun()) << size;
        begin(two_banks());
        EXPECT_FALSE(machine.meta_overrun());
    }
}
#endif

// ---- locks

TEST_F(MachineTest, LocksInPairsAreNoError)
{
    uint64_t a = 0, b = 0;
    platform().lock(self(), &a);
    platform().lock(self(), &b);
    EXPECT_EQ(machine.locks_held(), 2u);
    platform().unlock(self(), &a);
    platform().unlock(self(), &b);
    platform().lock(self(), &a);
    platform().unlock(self(), &a);
    EXPECT_EQ(machine.locks_held(), 0u);
    EXPECT_FALSE(machine.lock_error());
}

TEST_F(MachineTest, ALockTakenTwiceIsAnErrorAndReturns) // it must not hang
{
    uint64_t word = 0;
    platform().lock(self(), &word);
    platform().lock(self(), &word);
    EXPECT_TRUE(machine.lock_error());
}

TEST_F(MachineTest, ALockGivenBackTwiceIsAnError)
{
    uint64_t word = 0;
    platform().lock(self(), &word);
    platform().unlock(self(), &word);
    platform().unlock(self(), &word);
    EXPECT_TRUE(machine.lock_error());
    EXPECT_EQ(machine.locks_held(), 0u);
}

TEST_F(MachineTest, ALockThatIsKeptIsCounted)
{
    uint64_t word = 0;
    platform().lock(self(), &word);
    EXPECT_EQ(machine.locks_held(), 1u);
    EXPECT_FALSE(machine.lock_error());
    begin(two_banks());
    EXPECT_EQ(machine.locks_held(), 0u);
}

// ---- log

TEST_F(MachineTest, TheLogKeepsLinesAndStopsGrowing)
{
    platform().log(self(), "one");
    platform().log(self(), "two");
    EXPECT_EQ(machine.log(), "one\ntwo\n");
    for (unsigned i = 0; i < 1000; i++)
        platform().log(self(), "a line of some length");
    const size_t full = machine.log().size();
    platform().log(self(), "one more");
    EXPECT_EQ(machine.log().size(), full);
    EXPECT_LE(full, 4200u);
    begin(two_banks());
    EXPECT_TRUE(machine.log().empty());
}

} // namespace
} // namespace dmaudit
