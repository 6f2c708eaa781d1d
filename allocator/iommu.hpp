// I/O virtual addresses (IOVA) and translations of devices behind an IOMMU: what dma_map_page does in dma-iommu below
// the copying and the cache work.
//
// Each device has an IOVA space of its own, in whole pages: pages 1 up to twice the RAM, so that all of RAM can be
// mapped twice. Page 0 is never given out: a null device address stays a mistake that faults. The lowest run that will
// do is taken. A space takes metadata when its device is first mapped for.
//
// What is unmapped is not given out again before the device's TLB is flushed: until then the device may still use the
// old translation. Thread safe: one lock, held for bookkeeping, not over the platform's IOMMU calls.
#pragma once

#include "allocator/bitmap.hpp"
#include "allocator/platform.hpp"
#include "allocator/result.hpp"

namespace dmaudit::alloc {

class Iommu {
  public:
    explicit Iommu(const Platform& platform) noexcept : platform_(platform) {}
    ~Iommu() { close(); }
    Iommu(const Iommu&) = delete;
    Iommu& operator=(const Iommu&) = delete;

    // Removes every translation, flushes, and gives the metadata back.
    void close() noexcept;

    // Map [phys, phys + size) for `device`, which is behind an IOMMU. The pages around the bytes are mapped as a whole,
    // and the device address has the offset in its page that `phys` has. It satisfies `constraints`, whose bus_offset
    // is 0. `rights`: DMAUDIT_IOMMU_*, not 0; `size` is not 0 and all of it is RAM of one bank. NoMemory: no IOVA left,
    // none within such a boundary, or no metadata. DmaMaskNotMatch, AlignMismatch: only beyond the limit, or on no such
    // alignment. Else what the platform says.
    Result<DmaAddr> map(const Device& device, PhysAddr phys, std::uint64_t size, std::uint32_t rights,
                        const Constraints& constraints) noexcept;

    // The reverse of a live map: when this returns the device reaches the pages no more. IllegalCall: no such pages are
    // mapped there. If the platform refuses, everything stays mapped.
    Status unmap(std::uint32_t device, DmaAddr bus, std::uint64_t size) noexcept;

    // What remains for the memory itself to satisfy when its IOVA satisfies `constraints`: the place in the page.
    Constraints of_memory(const Constraints& constraints) const noexcept
    {
        const std::uint64_t page = platform_.page();
        return {0, UINT64_MAX, constraints.align < page ? constraints.align : page, constraints.boundary, constraints.keep};
    }

    // See state_hash.hpp.
    void hash_state(StateHash& hash) const noexcept;

  private:
    // One bit for each IOVA page. A run of n pages is taken in pieces, one for each bit of n, so that nothing is
    // rounded up.
    struct Space {
        Space* next;
        std::uint32_t device;
        Bitmap bitmap;
    };
    struct Wish {
        std::uint64_t offset; // of the first byte in its page
        std::uint64_t size;   // bytes
        std::uint64_t pages;
    };

    Wish wish_for(std::uint64_t address, std::uint64_t size) const noexcept;
    Space* find(std::uint32_t device) noexcept;
    Space* space_of(std::uint32_t device) noexcept;
    std::uint64_t place(Space& space, const Wish& wish, const Constraints& constraints) noexcept;
    bool holds(const Space& space, std::uint64_t first, std::uint64_t pages) const noexcept;
    void give_back(std::uint32_t device, std::uint64_t first, std::uint64_t pages) noexcept;

    Platform platform_;
    Space* first_ = nullptr;
    std::uint64_t lock_ = 0;
};

} // namespace dmaudit::alloc
