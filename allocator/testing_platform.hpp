// A small machine for this folder's tests: banks of plain memory and a cache in two views. The CPU works on the banks;
// a non-coherent device works on a second copy that only clean (CPU to device) and invalidate (device to CPU) connect,
// a whole line at a time. A device behind an IOMMU goes through translations, and through those that were unmapped but
// not yet flushed. Calls are counted, and metadata, uncaching and IOMMU calls can be made to fail.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "dmaudit/provider.h"

namespace dmaudit::testing {

class TestPlatform {
  public:
    static constexpr std::uint64_t kBase = 0x8000'0000;

    // One bank at kBase of `pages` pages, of which the first `arena_pages` are the arena. Device 0 is coherent, device
    // 1 is not; both reach everything at offset 0.
    explicit TestPlatform(std::uint64_t pages = 64, std::uint64_t arena_pages = 32, std::uint64_t page = 4096,
                          std::uint64_t line = 64)
    {
        raw.abi = DMAUDIT_ABI;
        raw.struct_size = sizeof raw;
        raw.self = this;
        raw.page = page;
        raw.line = line;
        add_bank(kBase, pages * page);
        add_arena(kBase, arena_pages * page);
        add_device(true);
        add_device(false);
        raw.clean = [](void* self, std::uint64_t at, std::uint64_t n) { of(self).clean(at, n); };
        raw.invalidate = [](void* self, std::uint64_t at, std::uint64_t n) { of(self).invalidate(at, n); };
        raw.set_uncached = [](void* self, std::uint64_t at, std::uint64_t n, int on) {
            return of(self).set_uncached(at, n, on != 0);
        };
        raw.has_iommu = [](void* self, std::uint32_t device) { return of(self).behind.contains(device) ? 1 : 0; };
        raw.iommu_map = [](void* self, std::uint32_t device, std::uint64_t iova, std::uint64_t phys, std::uint64_t n,
                           std::uint32_t rights) { return of(self).iommu_map(device, iova, phys, n, rights); };
        raw.iommu_unmap = [](void* self, std::uint32_t device, std::uint64_t iova, std::uint64_t n) {
            return of(self).iommu_unmap(device, iova, n);
        };
        raw.iommu_flush = [](void* self, std::uint32_t device) {
            if (of(self).at_iommu_flush)
                of(self).at_iommu_flush();
            const std::lock_guard guard(of(self).iommu_mutex);
            of(self).behind[device].stale.clear();
        };
        raw.meta_alloc = [](void* self, std::size_t bytes) { return of(self).meta_alloc(bytes); };
        raw.meta_free = [](void* self, void* p) { of(self).meta_free(p); };
        raw.lock = [](void* self, std::uint64_t* word) {
            std::atomic_ref<std::uint64_t> state(*word);
            while (state.exchange(1, std::memory_order_acquire) != 0)
                std::this_thread::yield();
            of(self).locks++;
        };
        raw.unlock = [](void*, std::uint64_t* word) {
            std::atomic_ref<std::uint64_t>(*word).store(0, std::memory_order_release);
        };
        raw.log = [](void*, const char*) {};
    }
    TestPlatform(const TestPlatform&) = delete;
    TestPlatform& operator=(const TestPlatform&) = delete;
    ~TestPlatform()
    {
        for (const dmaudit_bank& bank : banks)
            std::free(bank.cpu);
    }

    void add_bank(std::uint64_t phys, std::uint64_t size)
    {
        void* cpu = std::aligned_alloc(raw.page, size);
        std::memset(cpu, 0xa5, size);
        banks.push_back({phys, size, cpu});
        device_view.emplace_back(size, std::uint8_t{0xa5});
        exchanged.emplace_back(size, std::uint8_t{0xa5});
        raw.n_banks = static_cast<std::uint32_t>(banks.size());
        raw.banks = banks.data();
    }
    void add_arena(std::uint64_t phys, std::uint64_t size)
    {
        arenas.push_back({phys, size});
        raw.n_arenas = static_cast<std::uint32_t>(arenas.size());
        raw.arenas = arenas.data();
    }
    std::uint32_t add_device(bool coherent, std::uint64_t limit = UINT64_MAX, std::uint64_t bus_offset = 0)
    {
        devices.push_back({sizeof(dmaudit_device), coherent ? 1u : 0u, limit, bus_offset});
        raw.n_devices = static_cast<std::uint32_t>(devices.size());
        raw.devices = devices.data();
        return raw.n_devices - 1;
    }

    std::uint32_t add_iommu_device(bool coherent, std::uint64_t limit = UINT64_MAX)
    {
        const std::uint32_t device = add_device(coherent, limit);
        behind[device];
        return device;
    }

    // Where an access of `device` at `bus` arrives, if it may go there at all. Behind an IOMMU a translation that is
    // unmapped but not flushed serves like any other, and it wins over a newer one.
    std::optional<std::uint64_t> reaches(std::uint32_t device, std::uint64_t bus, std::uint32_t rights)
    {
        if (!behind.contains(device))
            return bus - devices[device].bus_offset;
        const std::lock_guard guard(iommu_mutex);
        const Translations& t = behind[device];
        const std::uint64_t in_page = bus & (raw.page - 1);
        for (const auto* table : {&t.stale, &t.live})
            if (const auto at = table->find(bus - in_page); at != table->end())
                return (at->second.rights & rights) == rights ? std::optional(at->second.phys + in_page) : std::nullopt;
        return std::nullopt;
    }
    std::size_t mapped_pages(std::uint32_t device) { return behind[device].live.size(); }

    // A client's memory: `offset` bytes into page `page` of bank 0.
    std::uint8_t* ram(std::uint64_t page, std::uint64_t offset = 0)
    {
        return static_cast<std::uint8_t*>(banks[0].cpu) + page * raw.page + offset;
    }
    std::uint64_t phys(const void* cpu) const { return dmaudit_phys_of(&raw, cpu); }

    // What `device` finds at, or leaves at, a device address of its own.
    std::uint8_t device_read(std::uint32_t device, std::uint64_t bus) { return *seen(device, bus); }
    void device_write(std::uint32_t device, std::uint64_t bus, const std::vector<std::uint8_t>& bytes)
    {
        for (std::size_t i = 0; i < bytes.size(); i++) {
            const std::uint64_t at = reaches(device, bus + i, DMAUDIT_IOMMU_WRITE).value();
            if (snoops(device, at)) {
                *view(at, View::Cpu) = *view(at, View::Device) = *view(at, View::Exchanged) = bytes[i];
            } else {
                *view(at, View::Device) = bytes[i];
            }
        }
    }
    std::vector<std::uint8_t> device_read(std::uint32_t device, std::uint64_t bus, std::size_t n)
    {
        std::vector<std::uint8_t> bytes;
        for (std::size_t i = 0; i < n; i++)
            bytes.push_back(*seen(device, bus + i));
        return bytes;
    }

    bool dirty(std::uint64_t at)
    {
        at &= ~(raw.line - 1);
        return std::memcmp(view(at, View::Cpu), view(at, View::Exchanged), raw.line) != 0 && !is_uncached(at);
    }
    bool dirty(std::uint64_t at, std::uint64_t n)
    {
        for (std::uint64_t l = at & ~(raw.line - 1); l < at + n; l += raw.line)
            if (dirty(l))
                return true;
        return false;
    }
    bool is_uncached(std::uint64_t at) const { return uncached.contains(at & ~(raw.page - 1)); }

    // Write every dirty line back, as a cache may at any time.
    void evict_all()
    {
        for (const dmaudit_bank& bank : banks)
            for (std::uint64_t l = bank.phys; l < bank.phys + bank.size; l += raw.line)
                if (dirty(l)) {
                    exchange(l);
                }
    }

    dmaudit_platform raw{};
    std::vector<dmaudit_bank> banks;
    std::vector<dmaudit_range> arenas;
    std::vector<dmaudit_device> devices;
    std::set<std::uint64_t> uncached;          // pages
    std::uint64_t cleans = 0, invalidates = 0; // calls
    std::atomic<std::uint64_t> locks = 0;
    std::atomic<std::int64_t> meta_live = 0; // metadata allocations that were not freed
    std::int64_t meta_budget = INT64_MAX;    // allocations until they begin to fail
    int uncached_on_answer = DMAUDIT_OK;     // what set_uncached(1) answers
    int uncached_off_answer = DMAUDIT_OK;
    std::uint64_t uncached_while_dirty = 0; // pages that had a dirty line when they became uncached

    struct Translation {
        std::uint64_t phys;
        std::uint32_t rights;
    };
    struct Translations {
        std::map<std::uint64_t, Translation> live, stale; // by page; stale: unmapped, but still in the TLB
    };
    std::map<std::uint32_t, Translations> behind; // the devices behind an IOMMU
    int iommu_map_answer = DMAUDIT_OK;
    int iommu_unmap_answer = DMAUDIT_OK;
    std::uint64_t mapped_while_stale = 0; // pages that were mapped while the TLB had another translation of theirs
    std::function<void()> at_iommu_map, at_iommu_unmap, at_iommu_flush; // looks at the machine just before

  private:
    enum class View { Cpu, Device, Exchanged };

    static TestPlatform& of(void* self) { return *static_cast<TestPlatform*>(self); }

    std::uint8_t* view(std::uint64_t at, View which)
    {
        for (std::size_t i = 0; i < banks.size(); i++)
            if (at >= banks[i].phys && at - banks[i].phys < banks[i].size)
                switch (which) {
                case View::Cpu:
                    return static_cast<std::uint8_t*>(banks[i].cpu) + (at - banks[i].phys);
                case View::Device:
                    return device_view[i].data() + (at - banks[i].phys);
                case View::Exchanged:
                    return exchanged[i].data() + (at - banks[i].phys);
                }
        std::abort(); // an access outside RAM: the test or the allocator is wrong
    }
    bool snoops(std::uint32_t device, std::uint64_t at) const
    {
        return devices[device].coherent != 0 || is_uncached(at);
    }
    std::uint8_t* seen(std::uint32_t device, std::uint64_t bus)
    {
        const std::uint64_t at = reaches(device, bus, DMAUDIT_IOMMU_READ).value();
        return view(at, snoops(device, at) ? View::Cpu : View::Device);
    }
    void exchange(std::uint64_t l)
    {
        std::memcpy(view(l, View::Device), view(l, View::Cpu), raw.line);
        std::memcpy(view(l, View::Exchanged), view(l, View::Cpu), raw.line);
    }
    void clean(std::uint64_t at, std::uint64_t n)
    {
        cleans++;
        for (std::uint64_t l = at & ~(raw.line - 1); l < at + n; l += raw.line)
            if (dirty(l))
                exchange(l);
    }
    void invalidate(std::uint64_t at, std::uint64_t n)
    {
        invalidates++;
        for (std::uint64_t l = at & ~(raw.line - 1); l < at + n; l += raw.line) {
            std::memcpy(view(l, View::Cpu), view(l, View::Device), raw.line);
            std::memcpy(view(l, View::Exchanged), view(l, View::Device), raw.line);
        }
    }
    int set_uncached(std::uint64_t at, std::uint64_t n, bool on)
    {
        if (at % raw.page != 0 || n % raw.page != 0 || dmaudit_cpu_of(&raw, at) == nullptr)
            return DMAUDIT_EINVAL;
        if (const int answer = on ? uncached_on_answer : uncached_off_answer; answer != DMAUDIT_OK)
            return answer;
        for (std::uint64_t p = at; p < at + n; p += raw.page) {
            if (on && dirty(p, raw.page))
                uncached_while_dirty++;
            std::memcpy(view(p, View::Device), view(p, View::Cpu), raw.page);
            std::memcpy(view(p, View::Exchanged), view(p, View::Cpu), raw.page);
            if (on)
                uncached.insert(p);
            else
                uncached.erase(p);
        }
        return DMAUDIT_OK;
    }
    int iommu_map(std::uint32_t device, std::uint64_t iova, std::uint64_t phys, std::uint64_t n, std::uint32_t rights)
    {
        if (at_iommu_map)
            at_iommu_map();
        const std::lock_guard guard(iommu_mutex);
        if (iommu_map_answer != DMAUDIT_OK)
            return iommu_map_answer;
        if (!behind.contains(device))
            return DMAUDIT_ENODEV;
        Translations& t = behind[device];
        if ((iova | phys | n) % raw.page != 0 || n == 0 || dmaudit_cpu_of(&raw, phys) == nullptr ||
            dmaudit_cpu_of(&raw, phys + n - 1) == nullptr || rights == 0 || iova + (n - 1) > devices[device].limit)
            return DMAUDIT_EINVAL;
        for (std::uint64_t at = 0; at < n; at += raw.page)
            if (t.live.contains(iova + at))
                return DMAUDIT_EINVAL;
        for (std::uint64_t at = 0; at < n; at += raw.page) {
            t.live[iova + at] = {phys + at, rights};
            mapped_while_stale += t.stale.contains(iova + at);
        }
        return DMAUDIT_OK;
    }
    int iommu_unmap(std::uint32_t device, std::uint64_t iova, std::uint64_t n)
    {
        if (at_iommu_unmap)
            at_iommu_unmap();
        const std::lock_guard guard(iommu_mutex);
        if (iommu_unmap_answer != DMAUDIT_OK)
            return iommu_unmap_answer;
        Translations& t = behind[device];
        for (std::uint64_t at = 0; at < n; at += raw.page)
            if (!t.live.contains(iova + at))
                return DMAUDIT_EINVAL;
        for (std::uint64_t at = 0; at < n; at += raw.page)
            t.stale.insert(t.live.extract(iova + at));
        return DMAUDIT_OK;
    }
    void* meta_alloc(std::size_t bytes)
    {
        if (meta_budget <= 0)
            return nullptr;
        meta_budget--;
        meta_live++;
        return std::malloc(bytes);
    }
    void meta_free(void* p)
    {
        if (p != nullptr)
            meta_live--;
        std::free(p);
    }

    std::vector<std::vector<std::uint8_t>> device_view, exchanged;
    std::mutex iommu_mutex;
};

} // namespace dmaudit::testing
