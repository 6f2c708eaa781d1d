// A world: the configuration of a machine, as a case carries it, and how its RAM is divided.
#pragma once
#include "shadow/strict.hpp"
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace dmaudit {

constexpr unsigned max_banks = 4, max_devices = 4;
constexpr uint64_t max_ram = 8ull << 20; // bytes in a world

enum class Mode : uint8_t {
    hostile,   // ops run as they stand; a client mistake is a finding
    conforming // ops that would be a client mistake are skipped and counted; any violation is the provider's
};

struct BankSpec {
    uint64_t phys = 0, size = 0; // bytes, whole pages
    friend bool operator==(const BankSpec&, const BankSpec&) = default;
};
struct DeviceSpec {
    uint64_t limit = 0xffffffff; // last address it can drive (inclusive)
    uint64_t offset = 0;         // device address = physical address + offset
    uint64_t coherent = 0;
    uint64_t iommu = 0; // its addresses are translated; offset is 0 then
    friend bool operator==(const DeviceSpec&, const DeviceSpec&) = default;
};

struct World {
    uint64_t page = 4096, line = 64;
    Mode mode = Mode::hostile;
    uint8_t n_banks = 1, n_devices = 1;
    std::array<BankSpec, max_banks> banks{BankSpec{0x80000000, 256 << 10}};
    std::array<DeviceSpec, max_devices> devices{};
    Strict strict;
    friend bool operator==(const World&, const World&) = default; // entries beyond n_* are kept at their defaults
};

// A bank is divided: the first half (rounded up to pages) is the provider's arena, the next quarter can be declared as
// pools, the rest is for clients' buffers. "Space" is the concatenation of the parts of one use over all banks.
struct Division {
    uint64_t arena, pool, client; // bytes of each part of a bank, in this order
};
Division divide(const World&, unsigned bank);
uint64_t client_space(const World&); // bytes
uint64_t pool_space(const World&);   // bytes

// Where `size` bytes at `place` of a space lie in RAM (offset; banks one after the other); nothing: not all in one
// bank.
std::optional<uint64_t> client_offset(const World&, uint64_t place, uint64_t size);
std::optional<uint64_t> pool_offset(const World&, uint64_t place, uint64_t size);

// Empty if the world can be built, else what is wrong with it.
std::string_view world_error(const World&);

} // namespace dmaudit
