// The C++ face of `struct dmaudit_platform`: strong address types, checked ranges, a lock guard, owned metadata memory.
// There is one list of platform calls, the C struct; this file adds types and checks, no calls of its own.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>

#include "allocator/result.hpp"
#include "dmaudit/provider.h"

namespace dmaudit::alloc {

// Physical address, as the CPU's memory controller counts.
struct PhysAddr {
    std::uint64_t value;
    friend constexpr auto operator<=>(PhysAddr, PhysAddr) = default;
    constexpr PhysAddr at(std::uint64_t offset) const noexcept { return {value + offset}; }
};

// Device (bus) address, as one particular device counts. Zero is valid.
struct DmaAddr {
    std::uint64_t value;
    friend constexpr auto operator<=>(DmaAddr, DmaAddr) = default;
};

constexpr DmaAddr kNoAddress{DMAUDIT_NO_ADDRESS};

// A physical range in bytes; the end does not wrap.
struct PhysRange {
    PhysAddr start;
    std::uint64_t size;
    constexpr bool holds(PhysAddr at, std::uint64_t bytes) const noexcept
    {
        return at >= start && at.value - start.value <= size && bytes <= size - (at.value - start.value);
    }
    constexpr bool overlaps(PhysRange other) const noexcept
    {
        return size != 0 && other.size != 0 &&
               (start < other.start ? other.start.value - start.value < size
                                    : start.value - other.start.value < other.size);
    }
};

// What a user-space mapping of memory shows: remap_pfn_range. Whole pages, in bytes.
struct Window {
    PhysAddr phys;
    std::uint64_t size;
};

constexpr bool power_of_two(std::uint64_t n) noexcept
{
    return std::has_single_bit(n);
}
constexpr bool aligned(std::uint64_t value, std::uint64_t to) noexcept
{
    return (value & (to - 1)) == 0;
}

// A device, by value: index, coherence, reach and translation. Behind an IOMMU bus_offset is 0 and bus_of has no
// meaning: the device reaches what iommu.hpp maps for it.
struct Device {
    std::uint32_t index;
    bool coherent;
    std::uint64_t limit;      // last device address, inclusive
    std::uint64_t bus_offset; // device address = physical address + bus_offset, modulo 2^64
    bool iommu;
    std::uint64_t min_align_mask; // see parameters.hpp

    constexpr DmaAddr bus_of(PhysAddr at) const noexcept { return {at.value + bus_offset}; }
    constexpr PhysAddr phys_of(DmaAddr at) const noexcept { return {at.value - bus_offset}; }
};

// What a device address range has to satisfy. All bounds are inclusive and nothing here can wrap.
struct Constraints {
    std::uint64_t bus_offset;
    std::uint64_t limit;    // last address allowed
    std::uint64_t align;    // a power of two, at least 1
    std::uint64_t boundary; // a power of two that must not be crossed, or 0
    std::uint64_t keep; // 2^n - 1: bits of a buffer's physical address that its bounce buffer has too

    constexpr bool within_limit(PhysAddr at, std::uint64_t size) const noexcept
    {
        const std::uint64_t bus = at.value + bus_offset;
        return bus != DMAUDIT_NO_ADDRESS && bus <= limit && size - 1 <= limit - bus;
    }
    constexpr bool on_alignment(PhysAddr at) const noexcept { return aligned(at.value + bus_offset, align); }
    constexpr bool within_boundary(PhysAddr at, std::uint64_t size) const noexcept
    {
        return boundary == 0 || size - 1 <= (boundary - 1) - ((at.value + bus_offset) & (boundary - 1));
    }
    constexpr bool admits(PhysAddr at, std::uint64_t size) const noexcept
    {
        return within_limit(at, size) && on_alignment(at) && within_boundary(at, size);
    }
};

// What remains of `device`'s own reach when a request adds nothing.
constexpr Constraints reach_of(const Device& device) noexcept
{
    return {device.bus_offset, device.limit, 1, 0, device.min_align_mask};
}

class Platform {
  public:
    explicit Platform(const dmaudit_platform& raw) noexcept : raw_(&raw) {}

    std::uint64_t page() const noexcept { return raw_->page; }
    std::uint64_t line() const noexcept { return raw_->line; }
    unsigned page_shift() const noexcept { return static_cast<unsigned>(std::countr_zero(raw_->page)); }
    std::uint32_t arenas() const noexcept { return raw_->n_arenas; }
    std::uint32_t devices() const noexcept { return raw_->n_devices; }
    PhysRange arena(std::uint32_t i) const noexcept { return {{raw_->arenas[i].phys}, raw_->arenas[i].size}; }

    std::optional<Device> device(std::uint32_t index) const noexcept
    {
        if (index >= raw_->n_devices)
            return std::nullopt;
        const dmaudit_device& d = raw_->devices[index];
        const bool iommu = has_iommu(index);
        return Device{index, d.coherent != 0, d.limit, iommu ? 0 : d.bus_offset, iommu, 0};
    }

    // Bytes of RAM in all banks.
    std::uint64_t ram() const noexcept
    {
        std::uint64_t bytes = 0;
        for (std::uint32_t i = 0; i < raw_->n_banks; i++)
            bytes += raw_->banks[i].size;
        return bytes;
    }

    // Physical address of [cpu, cpu + size), if all of it is RAM of one bank.
    std::optional<PhysAddr> phys_of(const void* cpu, std::uint64_t size) const noexcept
    {
        for (std::uint32_t i = 0; i < raw_->n_banks; i++) {
            const dmaudit_bank& bank = raw_->banks[i];
            const auto offset = reinterpret_cast<std::uintptr_t>(cpu) - reinterpret_cast<std::uintptr_t>(bank.cpu);
            if (cpu >= bank.cpu && offset < bank.size)
                return size <= bank.size - offset ? std::optional(PhysAddr{bank.phys + offset}) : std::nullopt;
        }
        return std::nullopt;
    }

    // CPU address of a physical range, or null when it is not RAM of one bank.
    std::byte* cpu_of(PhysRange range) const noexcept
    {
        for (std::uint32_t i = 0; i < raw_->n_banks; i++) {
            const dmaudit_bank& bank = raw_->banks[i];
            if (PhysRange{{bank.phys}, bank.size}.holds(range.start, range.size))
                return static_cast<std::byte*>(bank.cpu) + (range.start.value - bank.phys);
        }
        return nullptr;
    }

    void clean(PhysAddr at, std::uint64_t size) const noexcept { raw_->clean(raw_->self, at.value, size); }
    void invalidate(PhysAddr at, std::uint64_t size) const noexcept { raw_->invalidate(raw_->self, at.value, size); }

    // Drop the lines of a range without losing what the CPU wrote around it: lines that the range covers only in part
    // hold somebody else's bytes as well, and are written back first.
    void invalidate_keeping_neighbours(PhysAddr at, std::uint64_t size) const noexcept
    {
        clean_edges(at, size);
        invalidate(at, size);
    }

    // The first and the last line of a range, where the range covers only a part of them.
    void clean_edges(PhysAddr at, std::uint64_t size) const noexcept
    {
        const std::uint64_t end = at.value + size;
        if (!aligned(at.value, line()))
            clean(at, 1);
        if (!aligned(end, line()))
            clean({end - 1}, 1);
    }

    Status set_uncached(PhysAddr at, std::uint64_t size, bool on) const noexcept
    {
        const int code = raw_->set_uncached(raw_->self, at.value, size, on ? 1 : 0);
        return code == DMAUDIT_OK ? Status() : Status(from_code(code));
    }

    // The IOMMU of a device, see provider.h. A platform that ends before these calls has none.
    bool has_iommu(std::uint32_t device) const noexcept
    {
        return DMAUDIT_HAS(raw_, has_iommu) && DMAUDIT_HAS(raw_, iommu_map) && DMAUDIT_HAS(raw_, iommu_unmap) &&
               DMAUDIT_HAS(raw_, iommu_flush) && raw_->has_iommu(raw_->self, device) != 0;
    }
    Status iommu_map(std::uint32_t device, DmaAddr iova, PhysAddr phys, std::uint64_t size,
                     std::uint32_t rights) const noexcept
    {
        const int code = raw_->iommu_map(raw_->self, device, iova.value, phys.value, size, rights);
        return code == DMAUDIT_OK ? Status() : Status(from_code(code));
    }
    Status iommu_unmap(std::uint32_t device, DmaAddr iova, std::uint64_t size) const noexcept
    {
        const int code = raw_->iommu_unmap(raw_->self, device, iova.value, size);
        return code == DMAUDIT_OK ? Status() : Status(from_code(code));
    }
    void iommu_flush(std::uint32_t device) const noexcept { raw_->iommu_flush(raw_->self, device); }

    void* meta_alloc(std::size_t bytes) const noexcept { return raw_->meta_alloc(raw_->self, bytes); }
    void meta_free(void* p) const noexcept { raw_->meta_free(raw_->self, p); }

    const dmaudit_platform& raw() const noexcept { return *raw_; }

  private:
    const dmaudit_platform* raw_;
};

// Holds one lock word of the platform. The words start as zero; they are never held over a call to a client.
class Guard {
  public:
    Guard(const Platform& platform, std::uint64_t& word) noexcept : raw_(platform.raw()), word_(word)
    {
        raw_.lock(raw_.self, &word_);
    }
    ~Guard() { raw_.unlock(raw_.self, &word_); }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

  private:
    const dmaudit_platform& raw_;
    std::uint64_t& word_;
};

// Metadata memory that gives itself back.
struct MetaDeleter {
    const dmaudit_platform* raw;
    void operator()(void* p) const noexcept { raw->meta_free(raw->self, p); }
};
using MetaMemory = std::unique_ptr<void, MetaDeleter>;

inline MetaMemory meta_memory(const Platform& platform, std::size_t bytes) noexcept
{
    return {platform.meta_alloc(bytes), MetaDeleter{&platform.raw()}};
}

// Are the constraints well formed? `align` and `boundary` may be 0 (none).
inline Status check_layout(std::uint64_t size, std::uint64_t align, std::uint64_t boundary) noexcept
{
    if (align != 0 && !power_of_two(align))
        return DmaError::LayoutError;
    // A range larger than the boundary crosses it wherever it lies.
    if (boundary != 0 && (!power_of_two(boundary) || size > boundary))
        return DmaError::LayoutError;
    return {};
}

// The constraints of one request on one device: the tighter of the two limits. The layout has been checked.
inline Constraints constraints_of(const Device& device, const dmaudit_request& request) noexcept
{
    const std::uint64_t limit = request.limit != 0 && request.limit < device.limit ? request.limit : device.limit;
    return {device.bus_offset, limit, request.align != 0 ? request.align : 1, request.boundary, device.min_align_mask};
}

// Base-2 logarithm of the pages that `size` bytes (not 0) need, rounded up. No size overflows.
constexpr unsigned order_of(std::uint64_t size, unsigned page_shift) noexcept
{
    return static_cast<unsigned>(std::bit_width((size - 1) >> page_shift));
}

// The window of `pages` pages from page `pgoff` on, onto the pages that a block's bytes need: its size is not 0, its
// start page aligned. OutOfWindow: no page, or beyond.
inline Result<Window> window_of(PhysRange block, unsigned page_shift, std::uint64_t pgoff, std::uint64_t pages) noexcept
{
    const std::uint64_t owned = ((block.size - 1) >> page_shift) + 1;
    if (pages == 0 || pgoff >= owned || pages > owned - pgoff)
        return DmaError::OutOfWindow;
    return Window{block.start.at(pgoff << page_shift), pages << page_shift};
}

} // namespace dmaudit::alloc
