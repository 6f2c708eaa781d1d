// What the auditor asks of the machine. The protocol's state decides whose fault something is; the machine supplies the
// evidence. Offsets are bytes into RAM.
#pragma once
#include "shadow/range.hpp"

#include <array>
#include <cstdint>
#include <optional>

namespace dmaudit {

class Evidence {
  public:
    virtual ~Evidence() = default;
    // Where a device's range lies in RAM, whatever the device's limit; nothing: not (all) RAM.
    virtual std::optional<uint64_t> translate(unsigned device, uint64_t bus, uint64_t len) const = 0;
    // May the device access all of the range so?
    virtual bool reaches(unsigned device, uint64_t bus, uint64_t len, bool reads, bool writes) const = 0;
    virtual std::optional<uint64_t> offset_of(uint64_t phys, uint64_t len) const = 0;
    virtual uint64_t phys_of(uint64_t offset) const = 0;
    // First byte in which a non-coherent device sees something else than the CPU.
    virtual std::optional<uint64_t> first_difference(Range) const = 0;
    // First dirty byte in the lines of the range.
    virtual std::optional<uint64_t> first_dirty(Range) const = 0;
    virtual bool byte_dirty(uint64_t at) const = 0; // the CPU's value was never written back
    // First byte of the range that holds a device's value which the CPU has not seen.
    virtual std::optional<uint64_t> first_stale(Range) const = 0;
    virtual bool uncached(Range) const = 0;
    virtual uint64_t uncached_pages() const = 0;
    virtual uint64_t translations_added() const = 0; // pages mapped in IOMMUs by this call
    virtual bool fault_injected() const = 0; // a platform call inside this one was made to fail
    // The cache reloads those lines of the range that are not dirty, as it may at any time.
    virtual void reload(Range) = 0;
    // The auditor wrote bytes through the provider's alias.
    virtual void wrote(Range) = 0;
};

// The machine around the auditor, as far as it never changes.
struct Surroundings {
    struct Device {
        uint64_t limit;  // inclusive
        uint64_t offset; // device address = physical address + offset
        bool coherent;
        bool iommu = false; // offset is 0 then
    };
    uint64_t ram = 0, page = 4096, line = 64;                 // bytes
    uint8_t *provider_view = nullptr, *client_view = nullptr; // two aliases of RAM
    unsigned n_devices = 0;
    std::array<Device, 8> devices{};
};

} // namespace dmaudit
