// What every byte of a client must hold: the value that its last rightful writer gave it, be it the CPU or a device.
// The protocol says who may see it when; this says what must be seen.
#pragma once
#include "machine/machine.hpp"
#include "shadow/range.hpp"

#include <memory>

namespace dmaudit {

class Contents {
  public:
    Contents() : bytes_(new uint8_t[Ram::capacity]) {} // what nobody wrote decides nothing

    // A value of a byte: 1..127, so never zero, initial RAM or scribble, and different from both old values. It says
    // who wrote it. Fills [r.at, r.end()) of `to` for a writer with this seed.
    enum Writer : uint8_t { cpu = 0, device = 0x40 };
    void fill(Range r, Writer, uint64_t seed, const uint8_t* cpu_view, const uint8_t* device_view, uint8_t* to);
    static bool by_cpu(uint8_t value) { return value && !(value & device); }
    void set(Range r, uint8_t value);
    const uint8_t* at(uint64_t offset) const { return bytes_.get() + offset; }

  private:
    std::unique_ptr<uint8_t[]> bytes_;
};

} // namespace dmaudit
