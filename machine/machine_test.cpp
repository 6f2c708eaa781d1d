#include "machine/machine.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace dmaudit {
namespace {

struct Told : MachineObserver {
    struct Call {
        PlatformCall call;
        uint64_t at, len;
    };
    std::vector<Call> calls;
    std::vector<uint64_t> over_stale, dropped;
    Machine* machine = nullptr; // asked, at a call, whether a line is dirty
    uint64_t watched = 0;
    std::vector<bool> dirty_at_call;
    bool refuse_uncache = false;

    void platform_call(PlatformCall call, uint64_t at, uint64_t len) override
    {
        calls.push_back({call, at, len});
        if (machine)
            dirty_at_call.push_back(machine->cache().line_dirty(watched));
    }
    bool may_uncache(uint64_t, uint64_t) override { return !refuse_uncache; }
    void writeback_over_stale(uint64_t line_at) override { over_stale.push_back(line_at); }
    void drops_dirty(uint64_t line_at, uint64_t, uint64_t) override { dropped.push_back(line_at); }
};

// Two banks with a hole between them; device 0 does not snoop, device 1 does.
MachineSpec two_banks()
{
    MachineSpec s;
    s.n_banks = 2;
    s.banks[0] = {0x10000, 0x4000, 0x2000};
    s.banks[1] = {0x80000, 0x8000, 0x4000};
    s.n_devices = 2;
    s.devices[0] = {0xffffffff, 0, false};
    s.devices[1] = {0xffffffff, 0, true};
    return s;
}

class MachineTest : public ::testing::Test {
  protected:
    void begin(const MachineSpec& spec)
    {
        machine.reset();
        machine.configure(spec, &told);
    }
    MachineTest() { begin(two_banks()); }

    const dmaudit_platform& platform() const { return machine.platform(); }
    void* self() const { return platform().self; }
    void clean(uint64_t phys, uint64_t len) { platform().clean(self(), phys, len); }
    void invalidate(uint64_t phys, uint64_t len) { platform().invalidate(self(), phys, len); }
    int set_uncached(uint64_t phys, uint64_t len, int on) { return platform().set_uncached(self(), phys, len, on); }
    void* meta_alloc(size_t n) { return platform().meta_alloc(self(), n); }
    uint8_t device_read(unsigned device, uint64_t at) const
    {
        uint8_t v = 0;
        machine.device_read(device, at, 1, &v);
        return v;
    }
    void device_write(unsigned device, uint64_t at, uint8_t v) { machine.device_write(device, at, 1, &v); }
    bool pristine() const
    {
        for (uint64_t at = 0; at < machine.ram_size(); at += 4096)
            if (std::memcmp(machine.door() + at, Ram::initial_page(), 4096) != 0)
                return false;
        return true;
    }

    Told told;
    Machine machine;
};

// ---- RAM

TEST(Ram, TheAliasesShowOneMemory)
{
    Ram ram;
    ASSERT_NE(ram.door(), ram.client());
    ram.door()[5] = 7;
    EXPECT_EQ(ram.client()[5], 7);
    ram.client()[Ram::capacity - 1] = 9;
    EXPECT_EQ(ram.door()[Ram::capacity - 1], 9);
}

TEST(Ram, InitialBytesAreNeverZeroAndNeverAScribble)
{
    for (uint64_t i = 0; i < 4096; i++) {
        EXPECT_GE(Ram::initial_page()[i], 0x80);
        EXPECT_LT(Ram::initial_page()[i], 0xc0);
    }
    for (uint64_t i = 0; i < 100000; i++)
        EXPECT_GE(Ram::scribble(i), 0xc0);
}

TEST(Ram, NeighbouringBytesDiffer) // so that a copy that is one byte off shows
{
    unsigned equal = 0;
    for (uint64_t i = 1; i < 4096; i++)
        equal += Ram::initial_page()[i] == Ram::initial_page()[i - 1];
    EXPECT_LT(equal, 41u);
}

// ---- banks, addresses, devices

TEST_F(MachineTest, BanksLieOneAfterTheOther)
{
    EXPECT_EQ(machine.ram_size(), 0xc000u);
    EXPECT_EQ(machine.offset_of(0x10000, 1), 0u);
    EXPECT_EQ(machine.offset_of(0x13fff, 1), 0x3fffu);
    EXPECT_EQ(machine.offset_of(0x80000, 1), 0x4000u);
    EXPECT_EQ(machine.offset_of(0x87fff, 1), 0xbfffu);
    EXPECT_EQ(machine.offset_of(0x10000, 0x4000), 0u);
    for (const auto& [phys, len] : std::vector<std::pair<uint64_t, uint64_t>>{{0xffff, 1},
                                                                              {0x14000, 1},
                                                                              {0x13fff, 2},
                                                                              {0x10000, 0x4001},
                                                                              {0x7ffff, 2},
                                                                              {0x88000, 1},
                                                                              {0x10001, ~uint64_t{0}},
                                                                              {~uint64_t{0}, 1}})
        EXPECT_FALSE(machine.offset_of(phys, len)) << phys << ' ' << len;
    for (const uint64_t at : {uint64_t{0}, uint64_t{0x3fff}, uint64_t{0x4000}, uint64_t{0xbfff}})
        EXPECT_EQ(machine.offset_of(machine.phys_of(at), 1), at);
}

TEST_F(MachineTest, NeighbouringBanksAreNotOneRange)
{
    MachineSpec s = two_banks();
    s.banks[1].phys = 0x14000;
    begin(s);
    EXPECT_EQ(machine.offset_of(0x14000, 1), 0x4000u);
    EXPECT_FALSE(machine.offset_of(0x13fff, 2));
    EXPECT_FALSE(machine.translate(0, 0x13fff, 2));
}

TEST_F(MachineTest, ThePlatformDescribesTheMachine)
{
    const dmaudit_platform& p = platform();
    EXPECT_EQ(p.abi, DMAUDIT_ABI);
    EXPECT_EQ(p.struct_size, sizeof p);
    EXPECT_EQ(p.page, 4096u);
    EXPECT_EQ(p.line, 64u);
    ASSERT_EQ(p.n_banks, 2u);
    ASSERT_EQ(p.n_arenas, 2u);
    ASSERT_EQ(p.n_devices, 2u);
    EXPECT_EQ(p.banks[1].phys, 0x80000u);
    EXPECT_EQ(p.banks[1].size, 0x8000u);
    EXPECT_EQ(p.banks[1].cpu, machine.door() + 0x4000);
    EXPECT_EQ(p.arenas[1].phys, 0x80000u);
    EXPECT_EQ(p.arenas[1].size, 0x4000u);
    EXPECT_EQ(p.devices[0].coherent, 0u);
    EXPECT_EQ(p.devices[1].coherent, 1u);
    EXPECT_EQ(dmaudit_cpu_of(&p, 0x80010), machine.door() + 0x4010);
    EXPECT_EQ(dmaudit_cpu_of(&p, 0x14000), nullptr);
    EXPECT_EQ(dmaudit_phys_of(&p, machine.door() + 0x4010), 0x80010u);
    EXPECT_EQ(dmaudit_phys_of(&p, machine.client()), DMAUDIT_NO_ADDRESS); // clients' pointers are not the provider's
}

TEST_F(MachineTest, TheDevicesLimitIsInclusive)
{
    MachineSpec s = two_banks();
    s.devices[0].limit = 0x10fff;
    begin(s);
    EXPECT_EQ(machine.reach(0, 0x10fff, 1), 0xfffu);
    EXPECT_EQ(machine.reach(0, 0x10f00, 0x100), 0xf00u);
    EXPECT_FALSE(machine.reach(0, 0x10f00, 0x101));
    EXPECT_FALSE(machine.reach(0, 0x11000, 1));
    EXPECT_FALSE(machine.reach(0, 0x11000, 0));
    EXPECT_FALSE(machine.reach(0, 0x10fff, ~uint64_t{0}));
    EXPECT_EQ(machine.reach(1, 0x11000, 1), 0x1000u);     // the other device gets there
    EXPECT_EQ(machine.translate(0, 0x11000, 1), 0x1000u); // where it is, whoever can drive it
}

TEST_F(MachineTest, BusAddressesAreShiftedAndTheLimitCountsThere)
{
    MachineSpec s = two_banks();
    s.devices[0] = {0x9fff, 0 - uint64_t{0x8000}, false}; // bus = physical - 0x8000
    begin(s);
    EXPECT_EQ(machine.reach(0, 0x8000, 1), 0u);
    EXPECT_EQ(machine.reach(0, 0x9fff, 1), 0x1fffu);
    EXPECT_FALSE(machine.reach(0, 0xa000, 1));
    EXPECT_FALSE(machine.reach(0, 0x7fff, 1));
    EXPECT_FALSE(machine.translate(0, 0x7fff, 1));
}

TEST_F(MachineTest, BusAddressZeroIsAnAddress)
{
    MachineSpec s = two_banks();
    s.devices[0].offset = 0 - uint64_t{0x10000};
    begin(s);
    EXPECT_EQ(machine.reach(0, 0, 1), 0u);
    s.banks[0].phys = 0;
    s.devices[0].offset = 0;
    begin(s);
    EXPECT_EQ(machine.reach(0, 0, 0x4000), 0u);
    EXPECT_EQ(machine.offset_of(0, 1), 0u);
    EXPECT_EQ(machine.phys_of(0), 0u);
}

TEST_F(MachineTest, AllOnesIsNeverAnAddressAndUnknownDevicesReachNothing)
{
    for (const uint64_t len : {0u, 1u}) {
        EXPECT_FALSE(machine.translate(0, DMAUDIT_NO_ADDRESS, len));
        EXPECT_FALSE(machine.reach(0, DMAUDIT_NO_ADDRESS, len));
        EXPECT_FALSE(machine.translate(2, 0x10000, len));
        EXPECT_FALSE(machine.reach(2, 0x10000, len));
    }
    EXPECT_FALSE(machine.reach(0, 0x14000, 1)); // no RAM
    MachineSpec s = two_banks();
    s.devices[0] = {DMAUDIT_NO_ADDRESS, DMAUDIT_NO_ADDRESS - 0x10010, false}; // not even where it would lead to RAM
    begin(s);
    EXPECT_EQ(machine.translate(0, DMAUDIT_NO_ADDRESS - 1, 1), 0xfu);
    EXPECT_FALSE(machine.translate(0, DMAUDIT_NO_ADDRESS, 1));
}

TEST_F(MachineTest, CoherenceBelongsToTheDevice)
{
    const uint64_t at = 0x100;
    machine.door()[at] = 1; // in the cache only
    EXPECT_EQ(device_read(0, at), Ram::initial_page()[at]);
    EXPECT_EQ(device_read(1, at), 1);
    device_write(0, at + 64, 9); // the CPU and the snooping device see the old line
    EXPECT_EQ(machine.door()[at + 64], Ram::initial_page()[at + 64]);
    EXPECT_EQ(device_read(1, at + 64), Ram::initial_page()[at + 64]);
    device_write(1, at + 128, 8); // everybody sees it
    EXPECT_EQ(machine.door()[at + 128], 8);
    EXPECT_EQ(device_read(0, at + 128), 8);
}

TEST_F(MachineTest, AllDevicesUseTheOneValueOfAnUncachedPage)
{
    ASSERT_EQ(set_uncached(0x10000, 0x1000, 1), DMAUDIT_OK);
    machine.door()[0x10] = 1;
    EXPECT_EQ(device_read(0, 0x10), 1);
    EXPECT_EQ(device_read(1, 0x10), 1);
    device_write(0, 0x11, 2);
    EXPECT_EQ(machine.door()[0x11], 2);
    device_write(1, 0x12, 3);
    EXPECT_EQ(device_read(0, 0x12), 3);
}

TEST_F(MachineTest, WithoutANonCoherentDeviceNothingIsSimulated)
{
    MachineSpec s = two_banks();
    s.devices[0].coherent = true;
    begin(s);
    EXPECT_FALSE(machine.cache().simulated());
    machine.door()[5] = 1;
    EXPECT_EQ(device_read(0, 5), 1);
    device_write(0, 6, 2);
    EXPECT_EQ(machine.door()[6], 2);
    s.devices[1].coherent = false; // the simulation comes back, with both views alike
    begin(s);
    EXPECT_TRUE(machine.cache().simulated());
    EXPECT_FALSE(machine.cache().first_difference(0, machine.ram_size()));
}

// ---- cache calls

TEST_F(MachineTest, CacheCallsWorkOnPhysicalAddresses)
{
    machine.door()[0x4000] = 1; // first byte of the second bank
    clean(0x80000, 1);
    EXPECT_EQ(device_read(0, 0x4000), 1);
    device_write(0, 0x4040, 9);
    invalidate(0x80040, 1);
    EXPECT_EQ(machine.door()[0x4040], 9);
    ASSERT_EQ(told.calls.size(), 2u);
    EXPECT_EQ(told.calls[0].call, PlatformCall::clean);
    EXPECT_EQ(told.calls[0].at, 0x4000u);
    EXPECT_EQ(told.calls[1].call, PlatformCall::invalidate);
    EXPECT_EQ(told.calls[1].len, 1u);
    clean(0x14000, 1); // no RAM: nothing to do
    EXPECT_EQ(told.calls.size(), 2u);
}

TEST_F(MachineTest, TheObserverIsToldBeforeACallTakesEffect)
{
    told.machine = &machine;
    told.watched = 0x40;
    machine.door()[0x40] = 1;
    clean(0x10040, 1); // the judge of "uncached while dirty" needs to see the line as it was
    machine.door()[0x40] = 2;
    set_uncached(0x10000, 0x1000, 1);
    EXPECT_EQ(told.dirty_at_call, (std::vector<bool>{true, true}));
    EXPECT_EQ(machine.door()[0x40], 1); // what was not cleaned is gone
}

TEST_F(MachineTest, TheObserverHearsOfWhatTheCacheDestroys)
{
    machine.door()[0x40] = 1;
    invalidate(0x10050, 1);
    EXPECT_EQ(told.dropped, std::vector<uint64_t>{0x40});
    machine.cpu_wrote(0x80, 1);
    device_write(0, 0x81, 9);
    clean(0x10080, 1);
    EXPECT_EQ(told.over_stale, std::vector<uint64_t>{0x80});
}

TEST_F(MachineTest, SetUncachedTakesWholePagesOfRam)
{
    EXPECT_EQ(set_uncached(0x10001, 0x1000, 1), DMAUDIT_EINVAL);
    EXPECT_EQ(set_uncached(0x10000, 0x800, 1), DMAUDIT_EINVAL);
    EXPECT_EQ(set_uncached(0x10000, 0, 1), DMAUDIT_EINVAL);
    EXPECT_EQ(set_uncached(0x14000, 0x1000, 1), DMAUDIT_EINVAL);
    EXPECT_EQ(set_uncached(0x10000, 0x5000, 1), DMAUDIT_EINVAL);
    EXPECT_EQ(set_uncached(0x10000, 0x4000, 1), DMAUDIT_OK);
    EXPECT_TRUE(machine.cache().all_uncached(0, 0x4000));
    EXPECT_FALSE(machine.cache().uncached(0x4000));
    EXPECT_EQ(set_uncached(0x10000, 0x1000, 0), DMAUDIT_OK);
    EXPECT_FALSE(machine.cache().uncached(0));
    EXPECT_TRUE(machine.cache().uncached(0x1000));
}

TEST_F(MachineTest, SetUncachedIsRefusedWhereAClientHasCachedBytes)
{
    told.refuse_uncache = true;
    machine.door()[0x40] = 1;
    EXPECT_EQ(set_uncached(0x10000, 0x1000, 1), DMAUDIT_EBUSY);
    EXPECT_FALSE(machine.cache().uncached(0));
    EXPECT_EQ(machine.door()[0x40], 1);                      // nothing happened
    EXPECT_EQ(set_uncached(0x10000, 0x1000, 0), DMAUDIT_OK); // only the way in is asked
}

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
    EXPECT_EQ(meta_alloc(Ram::capacity + 1), nullptr);
}

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

// ---- reset

TEST_F(MachineTest, ResetRestoresRamWhoeverWroteIt)
{
    machine.door()[0x123] = 1;    // a provider, through a raw pointer
    machine.client()[0x1123] = 2; // a client
    device_write(0, 0x2123, 3);   // a device, not fetched yet
    device_write(0, 0x3123, 4);   // a device, fetched
    invalidate(0x13123, 1);
    device_write(1, 0x4123, 5); // a device that snoops
    machine.door()[0x5123] = 6; // written back
    clean(0x81123, 1);
    set_uncached(0x82000, 0x1000, 1); // uncached, by the CPU and a device
    machine.door()[0x6123] = 7;
    device_write(0, 0x6124, 8);
    machine.cpu_wrote(0x7123, 1);               // a silent store
    machine.door()[machine.ram_size() - 1] = 9; // the last byte
    machine.arm(Machine::Act::evict, 0, 64, 1);
    machine.arm_fault(1);
    const uint64_t size = machine.ram_size();

    begin(two_banks());
    ASSERT_EQ(machine.ram_size(), size);
    EXPECT_TRUE(pristine());
    EXPECT_FALSE(machine.cache().first_dirty(0, size));
    EXPECT_FALSE(machine.cache().first_difference(0, size));
    for (uint64_t at = 0; at < size; at++) {
        ASSERT_EQ(device_read(0, at), Ram::initial_page()[at % 4096]) << at;
        ASSERT_FALSE(machine.cache().byte_stale(at)) << at;
        ASSERT_FALSE(machine.cache().uncached(at)) << at;
    }
    EXPECT_NE(meta_alloc(8), nullptr); // nothing is armed
    machine.begin_call();
    clean(0x10000, 1);
    EXPECT_EQ(machine.end_call(), 0u);
}

TEST_F(MachineTest, ASmallerWorldLeavesNothingForALargerOne)
{
    MachineSpec small = two_banks(), large = two_banks();
    small.n_banks = 1;
    large.banks[1].size = 0x20000;
    begin(large);
    std::memset(machine.door(), 1, machine.ram_size());
    clean(0x80000, 0x20000);
    begin(small);
    EXPECT_TRUE(pristine());
    std::memset(machine.door(), 2, machine.ram_size());
    begin(large);
    EXPECT_TRUE(pristine());
    EXPECT_FALSE(machine.cache().first_difference(0, machine.ram_size()));
}

TEST_F(MachineTest, OtherPageAndLineSizes)
{
    for (const uint64_t page : {4096u, 16384u, 65536u})
        for (const uint64_t line : {16u, 256u}) {
            MachineSpec s = two_banks();
            s.page = page;
            s.line = line;
            s.n_banks = 1;
            s.banks[0] = {0x100000, 4 * page, 2 * page};
            begin(s);
            EXPECT_EQ(platform().page, page);
            EXPECT_EQ(platform().line, line);
            EXPECT_EQ(set_uncached(0x100000 + page, page, 1), DMAUDIT_OK);
            EXPECT_EQ(set_uncached(0x100000 + page / 2, page, 1), DMAUDIT_EINVAL);
            EXPECT_FALSE(machine.cache().uncached(page - 1));
            EXPECT_TRUE(machine.cache().uncached(page));
            EXPECT_TRUE(machine.cache().uncached(2 * page - 1));
            EXPECT_FALSE(machine.cache().uncached(2 * page));
            machine.door()[line] = 1;
            EXPECT_TRUE(machine.cache().line_dirty(2 * line - 1));
            EXPECT_FALSE(machine.cache().line_dirty(2 * line));
        }
}

} // namespace
} // namespace dmaudit
