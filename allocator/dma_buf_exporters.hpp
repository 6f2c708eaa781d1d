// What this allocator exports as dma-bufs: its own live blocks, and whole pages of a client.
//
// A block is shared memory: an importer gets it in place, by its own device address, or cannot be attached
// (DmaMaskNotMatch). An importer behind an IOMMU has a translation of it, with the rights of the direction, from map to
// unmap; it is map that fails when there is no address for it. Blocks with uncached pages need no cache work. In cached
// pages (the owner is coherent) an importer that is not needs the brackets: while one is attached, the CPU's accesses
// belong between begin and end. An opaque block has no CPU address, so no kmap and no vmap, but mmap.
//
// A client's pages are cached memory of the CPU: every importer gets a streaming mapping of its own, in place or
// through a bounce buffer. Where they meet, the pages are the truth:
//
//   gather    what devices wrote comes to the pages   begin_cpu_access, before a map
//   scatter   what the pages hold goes to the devices end_cpu_access of a writer, after the unmap of a writer
//
// A bounce buffer is no shared memory. So a mapping that its device writes through one is alone among those that
// devices write: the second is Busy. It works in both directions, whatever was asked: otherwise unmap would copy old
// bytes over what the CPU wrote in a bracket. Nothing is gathered over bytes in open write brackets: they are the
// CPU's.
//
// Coherent and other devices may be mixed: dirty lines that a coherent device left are written back before lines are
// dropped.
//
// Errors beside those of the parts: Busy from unmap while another thread opens or closes a bracket on the mapping.
// Where the platform cannot take a translation away, unmap says so: a block stays mapped, to be tried again; pages stay
// attached for good, as the device still reaches them.
// Thread safe: one lock, for bookkeeping only.
#pragma once

#include "allocator/dma_buf.hpp"

namespace dmaudit::alloc {

// Which block, and where it lies: what the allocator knows of a live one.
struct BlockKey {
    std::uint32_t device;
    bool pooled;
    Handle handle;        // if not pooled
    std::uint64_t serial; // if pooled
    friend constexpr bool operator==(const BlockKey&, const BlockKey&) = default;
};
struct BlockPlace {
    PhysRange range;
    std::byte* cpu; // null: opaque
    bool uncached;
};

class DmaBufExporters {
  public:
    DmaBufExporters(const Platform& platform, const Arenas& arenas, Iommu& iommu, Streaming& streaming) noexcept
        : platform_(platform), arenas_(arenas), iommu_(iommu), streaming_(streaming)
    {
    }
    DmaBufExporters(const DmaBufExporters&) = delete;
    DmaBufExporters& operator=(const DmaBufExporters&) = delete;

    // The buffer is as long as the block was asked to be. The block stays until the release: see exported().
    Result<DmaBufId> export_block(DmaBufs& bufs, const BlockKey& key, const BlockPlace& place,
                                  const char* name) noexcept;

    // NullPointer. BadArgument: no bytes, not whole pages, not RAM of one bank, the allocator's own memory.
    Result<DmaBufId> export_pages(DmaBufs& bufs, void* cpu, std::uint64_t size, const char* name) noexcept;

    // A block that is exported must not be freed, nor the pool that it is of be released.
    bool exported(const BlockKey& key) noexcept;
    bool exported_from_pool(std::uint32_t device) noexcept;
    // Is a pool block that begins at `start` and occupies 2^order pages?
    bool exported_from_pool(std::uint32_t device, PhysAddr start, unsigned order) noexcept;

    // See state_hash.hpp: what is behind `priv`, and its importers in the order of the buffer's attachments.
    void hash_state(StateHash& hash, const void* priv) const noexcept;

  private:
    struct Importer { // an attachment
        enum class State : std::uint8_t { Idle, Changing, Live };
        Importer* next;
        Device device;
        State state;
        Direction direction;  // if not idle
        bool bounced;         // if not idle
        std::uint32_t pins;   // syncs under way, which the mapping must outlive
        std::uint64_t serial; // of the mapping, if live
        Mapping mapping;      // if live, of pages
        DmaSegment segment;   // if live
        bool may_write() const noexcept { return state != State::Idle && device_writes(direction); }
        bool lines() const noexcept { return !device.coherent && !bounced; }
    };
    struct Exported {
        DmaBufExporters* owner;
        Exported* next;
        Importer* importers;
        std::uint64_t serial;
        bool is_block;
        BlockKey key; // of a block
        BlockPlace place;
    };

    Result<DmaBufId> add(DmaBufs& bufs, const Exported& what, const DmaBufOps& ops, const char* name) noexcept;
    template <class F> bool any_block(F&& matches) noexcept;

    Status attach(Exported& of, const Device& device, void** cookie) noexcept;
    void detach(Exported& of, Importer* importer) noexcept;
    Status claim(Exported& of, Importer& importer, Direction direction) noexcept;
    Status give(Exported& of, Importer& importer) noexcept;
    Result<DmaBufTable> map(Exported& of, Importer& importer, Direction direction, const CpuHeld& held) noexcept;
    Status unmap(Exported& of, Importer& importer, const CpuHeld& held) noexcept;
    void release(Exported* of) noexcept;
    void gather(Exported& of, std::uint64_t start, std::uint64_t length, const CpuHeld& held) noexcept;
    void gather_run(Exported& of, std::uint64_t start, std::uint64_t length) noexcept;
    void scatter(Exported& of, std::uint64_t start, std::uint64_t length) noexcept;
    void sync_all(Exported& of, std::uint64_t start, std::uint64_t length, Phase phase) noexcept;
    template <class F> bool any_importer(const Exported& of, F&& matches) noexcept;

    static DmaBufOps table(bool opaque) noexcept;
    static const DmaBufOps kOps, kOpaqueOps;

    Platform platform_;
    const Arenas& arenas_;
    Iommu& iommu_;
    Streaming& streaming_;
    std::uint64_t lock_ = 0;
    Exported* first_ = nullptr;
};

} // namespace dmaudit::alloc
