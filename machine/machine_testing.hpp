// What the tests of the machine share: two banks, two devices, and an observer that takes note.
#pragma once
#include "machine/machine.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace dmaudit {
struct MachineTold : MachineObserver {
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
inline MachineSpec two_banks()
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

    MachineTold told;
    Machine machine;
};

} // namespace dmaudit
