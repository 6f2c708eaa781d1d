#include "machine/machine_testing.hpp"

#include <algorithm>
#include <cstring>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace dmaudit {
namespace {

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

TEST_F(MachineTest, WhatMetadataHoldsAtFirstIsAnythingButTheSameEachTime)
{
    const auto bytes_of = [&] {
        std::string seen;
        begin(two_banks());
        for (int i = 0; i < 4; i++)
            if (const auto* p = static_cast<const char*>(meta_alloc(5000))) {
                EXPECT_EQ(std::string(p, 5000), std::string(5000, *p)) << "all of it";
                seen += *p;
            }
        return seen;
    };
    const std::string first = bytes_of();
    EXPECT_EQ(std::set<char>(first.begin(), first.end()).size(), 4u);
    EXPECT_EQ(bytes_of(), first);
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
