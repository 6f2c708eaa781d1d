// Streaming mappings: dma_map_single and its kin, with Linux' meaning of map, unmap and sync.
//
// A buffer is mapped in place when the device can use it as it is, else through a bounce slot: when it is out of reach,
// off the alignment, across the boundary, or when a device that is not coherent would write to a cache line of which
// the buffer owns only a part. (A buffer the device only reads stays in place there: its lines are only ever written
// back.)
//
//                    in place, device not coherent           bounced (cache work: not coherent devices only)
//   map              clean                                   original to slot, clean the slot
//   sync for device  clean                                   TO, BIDI: original to slot, clean the slot
//   sync for cpu     FROM, BIDI: invalidate                  FROM, BIDI: invalidate the slot, slot to original
//   unmap            FROM, BIDI: invalidate                  FROM, BIDI: the same, for the first `used` bytes
//
// Map cleans whatever the direction, and copies in whatever the direction and attributes: bytes that the device never
// writes keep what the CPU wrote, nothing stale leaves a slot, and no dirty line lies under a device's data. With
// DMAUDIT_ATTR_SKIP_CPU_SYNC a mapping in place does no cache work, and unmap copies nothing back.
//
// Behind an IOMMU the choice of I/O virtual addresses takes care of reach, of alignment beyond a page and of boundaries
// of a page or more. What is left to bounce is what no choice can mend: an alignment, or a boundary, that the buffer's
// place in its page does not have, and shared lines. The buffer or the slot is mapped for the device after the first
// copying and cache work, with the rights of the direction, and unmapped after the last, before the slot is given back.
// The device then sees whole pages: neighbours of the bytes in their pages too.
//
// Every call names a live mapping in full or is refused with IllegalCall and changes nothing. Thread safe: the locks
// are held for bookkeeping, not for copying and cache work; calls on one mapping are the client's to order.
#pragma once

#include "allocator/bounce.hpp"
#include "allocator/direction.hpp"
#include "allocator/iommu.hpp"
#include "allocator/registry.hpp"

namespace dmaudit::alloc {

enum class CacheOp : std::uint8_t {
    Flush = DMAUDIT_FLUSH,
    Invalidate = DMAUDIT_INVALIDATE,
    FlushInvalidate = DMAUDIT_FLUSH_INVALIDATE
};

// What a client knows of a mapping: dma_addr_t, size and direction, and the buffer; `handle` stands for the bounce
// pointer of a DmaMapHandle.
struct Mapping {
    std::uint32_t device;
    Direction direction;
    std::byte* cpu;
    DmaAddr bus;
    std::uint64_t size;
    Handle handle;
};

class Streaming {
  public:
    Streaming(const Platform& platform, Arenas& arenas, Iommu& iommu) noexcept
        : platform_(platform), iommu_(iommu), bounce_(platform, arenas), live_(platform)
    {
    }

    // dma_map_single_attrs, DmaOp::map_single. `size` is not 0, `cpu` not null and the layout has been checked.
    // BadArgument: not RAM of one bank. NoMemory, DmaMaskNotMatch, AlignMismatch: no bounce slot or no I/O
    // virtual address to be had.
    Result<Mapping> map(const Device& device, std::byte* cpu, std::uint64_t size, Direction direction,
                        const Constraints& constraints, bool skip_cpu_sync) noexcept;

    // dma_unmap_single_attrs, DmaOp::unmap_single. `used` bytes at most were written by the device. If the platform
    // cannot take a translation away, the answer says why, and what the device still reaches is not used again.
    Status unmap(const Mapping& mapping, std::uint64_t used, bool skip_cpu_sync) noexcept;

    // dma_sync_single_range_for_device / _for_cpu, DmaOp::confirm_write / prepare_read. On a bidirectional mapping the
    // direction of the part that does not move in this phase has no effect; any other that is not the mapping's is
    // BadArgument, and so is a range beyond the mapping.
    Status sync(const Mapping& mapping, std::uint64_t offset, std::uint64_t length, Direction direction,
                Phase phase) noexcept;

    // DmaOp::flush, invalidate, flush_invalidate on RAM; BadArgument elsewhere. A line that is covered in part only is
    // written back before it is invalidated.
    Status cache(const void* cpu, std::uint64_t length, CacheOp op) noexcept;

    // See state_hash.hpp.
    void hash_state(StateHash& hash) const noexcept;

  private:
    struct Live {
        std::byte* cpu;
        PhysAddr phys; // of the buffer
        DmaAddr bus;
        std::uint64_t size;
        std::uint32_t device;
        Direction direction;
        bool coherent;
        bool iommu;
        bool bounced;
        BounceSlot slot;
        PhysAddr target() const noexcept { return bounced ? slot.phys : phys; } // what the device works on
    };

    void forget(Handle handle, const Live& live) noexcept;
    bool in_place(const Device& device, PhysAddr phys, std::uint64_t size, Direction direction,
                  const Constraints& constraints) const noexcept;
    const Live* find(const Mapping& mapping) noexcept;
    void to_device(const Live& live, std::uint64_t offset, std::uint64_t length) const noexcept;
    void to_cpu(const Live& live, std::uint64_t offset, std::uint64_t length) const noexcept;

    Platform platform_;
    Iommu& iommu_;
    Bounce bounce_;
    std::uint64_t lock_ = 0;
    Registry<Live, 8> live_;
};

} // namespace dmaudit::alloc
