// A simulated machine: RAM in banks, a CPU cache, devices, and the platform calls that a provider sees. What happens is
// decided by the caller alone: no clock, no randomness, no host address. One thread at a time.
#pragma once
#include "dmaudit/provider.h"
#include "machine/cache.hpp"
#include "machine/iommu.hpp"
#include "machine/ram.hpp"

#include <array>
#include <optional>
#include <string>

namespace dmaudit {

struct MachineSpec {
    static constexpr unsigned most = 4;
    struct Bank {
        uint64_t phys, size, arena;
    }; // bytes; the first `arena` bytes are the provider's
    struct Device {
        uint64_t limit, offset;
        bool coherent;
        bool iommu = false; // offset is 0 then
    };
    uint64_t page = 4096, line = 64;
    unsigned n_banks = 0, n_devices = 0;
    bool one_view = false; // devices see what the CPU sees, whatever the provider is told of them
    std::array<Bank, most> banks{};
    std::array<Device, most> devices{};
};

enum class PlatformCall : uint8_t {
    clean,
    invalidate,
    set_uncached,
    meta_alloc,
    meta_free,
    lock,
    unlock,
    iommu_map,
    iommu_unmap,
    iommu_flush
};

// Told of platform calls, before they take effect, and of what the cache destroys.
class MachineObserver : public CacheObserver {
  public:
    virtual void platform_call(PlatformCall call, uint64_t at, uint64_t len) = 0;
    // May pages [at, at + len) become uncached? false: a client's cached bytes lie in them (DMAUDIT_EBUSY).
    virtual bool may_uncache(uint64_t at, uint64_t len) = 0;
};

class Machine {
  public:
    Machine();
    ~Machine();
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;

    // Begin: `spec` must be one that makes sense (whole pages, at most Ram::capacity). RAM holds its initial pattern.
    void configure(const MachineSpec& spec, MachineObserver* observer);
    // End: RAM is as before configure, whoever wrote it; metadata that was not given back is freed.
    void reset();

    const dmaudit_platform& platform() const { return platform_; }
    const MachineSpec& spec() const { return spec_; }
    uint64_t ram_size() const { return ram_size_; }
    uint8_t* door() const { return ram_.door(); }
    uint8_t* client() const { return ram_.client(); }
    Cache& cache() { return cache_; }
    const Cache& cache() const { return cache_; }

    // Offsets into RAM (banks one after the other) and physical addresses.
    std::optional<uint64_t> offset_of(uint64_t phys, uint64_t len) const; // nothing: not all in one bank
    uint64_t phys_of(uint64_t offset) const;

    // Where a device's range lies in RAM, whether or not the device can drive the address and has the rights; nothing: not
    // RAM, not translated, or not one range.
    std::optional<uint64_t> translate(unsigned device, uint64_t bus, uint64_t len) const
    {
        return translate(device, bus, len, 0);
    }
    // The same for accesses with these rights (Iommu::read, write); nothing also beyond the device's limit: the device
    // faults.
    std::optional<uint64_t> reach(unsigned device, uint64_t bus, uint64_t len, unsigned rights = 0) const;
    uint64_t translations() const;       // pages in all IOMMUs
    uint64_t stale_translations() const; // that are unmapped and a device may still use
    const Iommu& iommu(unsigned device) const { return iommus_[device]; }
    bool coherent(unsigned device) const { return spec_.devices[device].coherent; }
    void device_read(unsigned device, uint64_t at, uint64_t len, uint8_t* out) const;
    void device_write(unsigned device, uint64_t at, uint64_t len, const uint8_t* in);
    // The harness or a client wrote C through either alias.
    void cpu_wrote(uint64_t at, uint64_t len) { cache_.wrote(at, len); }

    // The adversary, for the next call of the provider: act at its n-th platform call (n >= 1).
    enum class Act : uint8_t { evict, prefetch };
    static constexpr size_t most_metadata = 16 << 20; // bytes at one time
    static constexpr unsigned most_armed = 8;
    bool arm(Act act, uint64_t at, uint64_t len, uint64_t nth); // false: too many
    void arm_fault(uint64_t nth);                               // the n-th call that may fail fails
    void starve(bool on) { starving_ = on; }                    // every meta_alloc fails
    void begin_call()
    {
        calls_ = fallible_ = 0;
        fault_fired_ = false;
        translations_before_ = translations();
    }
    uint64_t translations_added() const // since the last call began
    {
        const uint64_t now = translations();
        return now > translations_before_ ? now - translations_before_ : 0;
    }
    // Returns how many armed acts fired; what did not fire is disarmed.
    unsigned end_call();
    bool fault_fired() const { return fault_fired_; } // in the last call
    // Platform calls inside the last call, and how many of them may fail.
    uint64_t platform_calls() const { return calls_; }
    uint64_t fallible_calls() const { return fallible_; }

    bool lock_error() const { return lock_error_; } // a lock was taken twice, given back twice, or kept
    unsigned locks_held() const { return locks_held_; }
    bool meta_error() const { return meta_error_; } // memory was given back that meta_alloc did not give, or twice
    bool meta_overrun() const { return meta_overrun_; } // bytes beside metadata were written; seen when it is freed
    bool metadata_kept() const { return metas_ != nullptr; } // not given back yet
    const std::string& log() const { return log_; }          // what the provider logged, at most 4 KiB

  private:
    struct Meta; // header of a metadata allocation
    static uint8_t* guard_of(Meta*);
    static void deface(Meta*);
    static Machine& of(void* self) { return *static_cast<Machine*>(self); }
    void enter(PlatformCall call, uint64_t at, uint64_t len);
    std::optional<uint64_t> translate(unsigned device, uint64_t bus, uint64_t len, uint8_t rights) const;
    int iommu_map(unsigned device, uint64_t iova, uint64_t phys, uint64_t len, uint32_t rights);
    int iommu_unmap(unsigned device, uint64_t iova, uint64_t len);
    bool injected();

    Ram ram_;
    Cache cache_;
    MachineSpec spec_;
    MachineObserver* observer_ = nullptr;
    uint64_t ram_size_ = 0, filled_ = 0, translations_before_ = 0;
    std::array<uint64_t, MachineSpec::most> bank_at_{};
    std::array<dmaudit_bank, MachineSpec::most> banks_{};
    std::array<dmaudit_range, MachineSpec::most> arenas_{};
    std::array<dmaudit_device, MachineSpec::most> devices_{};
    std::array<Iommu, MachineSpec::most> iommus_;
    dmaudit_platform platform_{};
    Meta* metas_ = nullptr;
    size_t meta_bytes_ = 0, metas_made_ = 0;
    struct Armed {
        Act act;
        uint64_t at, len, nth;
    };
    std::array<Armed, most_armed> armed_{};
    unsigned n_armed_ = 0, fired_ = 0, locks_held_ = 0;
    uint64_t calls_ = 0, fallible_ = 0, fault_nth_ = 0;
    bool starving_ = false, fault_fired_ = false, lock_error_ = false, meta_error_ = false, meta_overrun_ = false;
    std::string log_;
};

} // namespace dmaudit
