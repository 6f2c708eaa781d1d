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
// Every call names a live mapping in full or is refused with IllegalCall and changes nothing. Thread safe: the locks
// are held for bookkeeping, not for copying and cache work; calls on one mapping are the client's to order.
#pragma once

#include "allocator/bounce.hpp"
#include "allocator/registry.hpp"

namespace dmaudit::alloc {

enum class Direction : std::uint8_t {
    Bidirectional = DMAUDIT_BIDIRECTIONAL,
    ToDevice = DMAUDIT_TO_DEVICE,
    FromDevice = DMAUDIT_FROM_DEVICE
};
enum class Phase : std::uint8_t { ForDevice = DMAUDIT_FOR_DEVICE, ForCpu = DMAUDIT_FOR_CPU };
enum class CacheOp : std::uint8_t {
    Flush = DMAUDIT_FLUSH,
    Invalidate = DMAUDIT_INVALIDATE,
    FlushInvalidate = DMAUDIT_FLUSH_INVALIDATE
};

// The numbers of the C interface, or nothing.
constexpr std::optional<Direction> direction_of(std::uint32_t n) noexcept
{
    return n <= DMAUDIT_FROM_DEVICE ? std::optional(static_cast<Direction>(n)) : std::nullopt;
}
constexpr bool device_reads(Direction d) noexcept
{
    return d != Direction::FromDevice;
}
constexpr bool device_writes(Direction d) noexcept
{
    return d != Direction::ToDevice;
}

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
    Streaming(const Platform& platform, Arenas& arenas) noexcept
        : platform_(platform), bounce_(platform, arenas), live_(platform)
    {
    }

    // dma_map_single_attrs, DmaOp::map_single. `size` is not 0, `cpu` not null and the layout has been checked.
    // BadArgument: not RAM of one bank. NoMemory, DmaMaskNotMatch, AlignMismatch: no bounce slot to be had.
    Result<Mapping> map(const Device& device, std::byte* cpu, std::uint64_t size, Direction direction,
                        const Constraints& constraints, bool skip_cpu_sync) noexcept;

    // dma_unmap_single_attrs, DmaOp::unmap_single. `used` bytes at most were written by the device.
    Status unmap(const Mapping& mapping, std::uint64_t used, bool skip_cpu_sync) noexcept;

    // dma_sync_single_range_for_device / _for_cpu, DmaOp::confirm_write / prepare_read. On a bidirectional mapping the
    // direction of the part that does not move in this phase has no effect; any other that is not the mapping's is
    // BadArgument, and so is a range beyond the mapping.
    Status sync(const Mapping& mapping, std::uint64_t offset, std::uint64_t length, Direction direction,
                Phase phase) noexcept;

    // DmaOp::flush, invalidate, flush_invalidate on RAM; BadArgument elsewhere. A line that is covered in part only is
    // written back before it is invalidated.
    Status cache(const void* cpu, std::uint64_t length, CacheOp op) noexcept;

  private:
    struct Live {
        std::byte* cpu;
        PhysAddr phys; // of the buffer
        DmaAddr bus;
        std::uint64_t size;
        std::uint32_t device;
        Direction direction;
        bool coherent;
        bool bounced;
        BounceSlot slot;
    };

    bool in_place(const Device& device, PhysAddr phys, std::uint64_t size, Direction direction,
                  const Constraints& constraints) const noexcept;
    const Live* find(const Mapping& mapping) noexcept;
    void to_device(const Live& live, std::uint64_t offset, std::uint64_t length) const noexcept;
    void to_cpu(const Live& live, std::uint64_t offset, std::uint64_t length) const noexcept;

    Platform platform_;
    Bounce bounce_;
    std::uint64_t lock_ = 0;
    Registry<Live, 8> live_;
};

} // namespace dmaudit::alloc
