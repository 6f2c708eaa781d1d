// Linux' dma-buf: one buffer for several devices, behind an exporter that knows what the memory is.
//
// References. A buffer begins with one, its caller's. dma_buf_fd turns the caller's reference into the descriptor's, on
// success only; get makes one of a descriptor. The two kinds are counted apart: who has given the reference to a
// descriptor has none to put. With the last one of both kinds the exporter's release is called, once. What would be the
// last is refused while there are attachments, vmaps or kmaps (Linux: BUG, WARN or a use after free): IllegalCall.
//
// Calls on a buffer need a reference of the caller's; the calls that end something (detach, unmap_attachment,
// end_cpu_access, kunmap, vunmap) and map_attachment need only what they name.
//
// A mapping is kept for each attachment while anybody has it: a second map in the same direction, or in any when it is
// bidirectional, gives the same segments and is counted by direction. Another direction is Busy (Linux: EBUSY).
//
// An exporter that fails, at any call, leaves everything as it was. So does a call without metadata. Illegal calls
// (end without begin, vunmap of another address, a stale mapping, ...) are IllegalCall and change nothing.
//
// Units: sizes, starts and lengths are bytes; `page`, `pgoff` and `pages` are pages.
//
// Threads: every call from any thread at any time. No lock is held over an exporter's call, which may call back. While
// it runs, a call by another thread that needs the same attachment's mapping, the same vmap, or the last reference, is
// refused with Busy. So is a begin_cpu_access that is to write while a device is being mapped or unmapped or another
// bracket opened, and each of those while it is under way: what the CPU writes next must not meet older bytes on their
// way home.
#pragma once

#include "allocator/dma_buf_fd.hpp"
#include "allocator/parameters.hpp"
#include "allocator/pool.hpp"
#include "allocator/streaming.hpp"

namespace dmaudit::alloc {

struct DmaBufId {
    Handle handle;
    friend constexpr bool operator==(DmaBufId, DmaBufId) = default;
};
struct AttachmentId {
    Handle handle;
    friend constexpr bool operator==(AttachmentId, AttachmentId) = default;
};

// A range as one device sees it.
struct DmaSegment {
    DmaAddr bus;
    std::uint64_t length;
};

// What an exporter's map answers. The segments are the exporter's and stay until its unmap.
struct DmaBufTable {
    const DmaSegment* segments;
    std::uint32_t n;
};

class CpuHeld;
class DmaBufExporters;

// An exporter, after struct dma_buf_ops: `priv` is what was exported, `cookie` what attach left for the attachment. All
// but map, unmap and release may be null. Called without locks; calls on one attachment come one after the other, the
// others in any order and from any thread.
struct DmaBufOps {
    // May refuse a device (DmaMaskNotMatch, Busy, NoMemory).
    Status (*attach)(void* priv, const Device& device, void** cookie) noexcept;
    void (*detach)(void* priv, const Device& device, void* cookie) noexcept;
    // An empty table is taken for NoMemory, as a null sg_table is in Linux. `held`: see there.
    Result<DmaBufTable> (*map)(void* priv, const Device& device, void* cookie, Direction direction,
                               const CpuHeld& held) noexcept;
    Status (*unmap)(void* priv, const Device& device, void* cookie, Direction direction, const CpuHeld& held) noexcept;
    void (*release)(void* priv) noexcept;
    // The CPU is about to use, or has used, bytes [start, start + length). FromDevice: it reads, ToDevice: it writes.
    // `held` are the bytes of brackets that were open before.
    Status (*begin_cpu_access)(void* priv, std::uint64_t start, std::uint64_t length, Direction direction,
                               const CpuHeld& held) noexcept;
    Status (*end_cpu_access)(void* priv, std::uint64_t start, std::uint64_t length, Direction direction) noexcept;
    // The same address for a page as long as anybody has it.
    Result<std::byte*> (*kmap)(void* priv, std::uint64_t page) noexcept;
    void (*kunmap)(void* priv, std::uint64_t page, std::byte* cpu) noexcept;
    // The bounds have been checked.
    Result<Window> (*mmap)(void* priv, std::uint64_t pgoff, std::uint64_t pages) noexcept;
    // Asked once for all vmaps that are alive together.
    Result<std::byte*> (*vmap)(void* priv) noexcept;
    void (*vunmap)(void* priv, std::byte* cpu) noexcept;
};

// A live mapping, as the importer knows it. `serial` never comes back.
struct DmaBufMapping {
    const DmaSegment* segments;
    std::uint32_t n;
    std::uint32_t device;
    Direction direction;
    std::uint64_t serial;
};

struct DmaBufInfo {
    std::uint64_t size;
    std::uint64_t references; // the callers'
    std::uint64_t descriptors;
    std::uint64_t attachments;
    const char* name; // as long as the buffer lives
};

class DmaBufs {
  public:
    static constexpr std::size_t kNameBytes = 32; // with the final zero; longer names are cut

    // `parameters`, if any, say how far a device reaches when it is attached and whenever it is mapped.
    explicit DmaBufs(const Platform& platform, Parameters* parameters = nullptr) noexcept
        : platform_(platform), parameters_(parameters), bufs_(platform), attachments_(platform), accesses_(platform), fds_(platform)
    {
    }
    ~DmaBufs(); // unmaps, detaches and releases what still lives
    DmaBufs(const DmaBufs&) = delete;
    DmaBufs& operator=(const DmaBufs&) = delete;

    // dma_buf_export_named. `ops` outlives the buffer; `priv` is the exporter's again after a failure and in release.
    // `name` may be null. BadArgument: no bytes, no priv, no map, unmap or release. NoMemory.
    Result<DmaBufId> export_named(const DmaBufOps& ops, void* priv, std::uint64_t size, const char* name) noexcept;

    Result<DmaBufInfo> info(DmaBufId id) noexcept;

    // ---- references and descriptors

    Result<int> fd(DmaBufId id) noexcept;  // dma_buf_fd; NoMemory leaves the caller's reference where it was
    Result<DmaBufId> get(int fd) noexcept; // dma_buf_get. BadDescriptor
    Status put(DmaBufId id) noexcept;      // dma_buf_put
    Status close(int fd) noexcept;         // close(2). BadDescriptor, and as put
    Result<int> dup(int fd) noexcept;      // dup(2). BadDescriptor, NoMemory

    // ---- devices

    // dma_buf_attach. NoSuchDevice, NoMemory, what the exporter says.
    Result<AttachmentId> attach(DmaBufId id, std::uint32_t device) noexcept;
    // dma_buf_detach. IllegalCall too if the attachment is another buffer's, or mapped.
    Status detach(DmaBufId id, AttachmentId attachment) noexcept;
    // dma_buf_map_attachment. Busy: mapped in a direction that does not include this one.
    Result<DmaBufMapping> map_attachment(AttachmentId attachment, Direction direction) noexcept;
    // dma_buf_unmap_attachment, in the direction that was asked for. The last one unmaps.
    Status unmap_attachment(AttachmentId attachment, std::uint64_t serial, Direction direction) noexcept;
    // The live mapping, without counting. IllegalCall: none.
    Result<DmaBufMapping> mapping(AttachmentId attachment) noexcept;

    // ---- the CPU

    // dma_buf_begin_cpu_access, dma_buf_end_cpu_access. Brackets nest; an end names an open begin by range and
    // direction. BadArgument: bytes beyond the buffer.
    Status begin_cpu_access(DmaBufId id, std::uint64_t start, std::uint64_t length, Direction direction) noexcept;
    Status end_cpu_access(DmaBufId id, std::uint64_t start, std::uint64_t length, Direction direction) noexcept;
    Status begin_cpu_access(DmaBufId id, Direction direction) noexcept; // the whole buffer
    Status end_cpu_access(DmaBufId id, Direction direction) noexcept;

    // dma_buf_kmap, dma_buf_kunmap and (atomic) dma_buf_kmap_atomic, dma_buf_kunmap_atomic: any page that holds a byte
    // of the buffer. Needs no metadata: what can fail belongs into begin_cpu_access. BadArgument: no such page, or the
    // exporter has no CPU mapping.
    Result<std::byte*> kmap(DmaBufId id, std::uint64_t page, bool atomic) noexcept;
    Status kunmap(DmaBufId id, std::uint64_t page, bool atomic, const std::byte* cpu) noexcept;

    // dma_buf_mmap: within the whole pages of the buffer (the size rounded down), and not empty, or BadArgument. The
    // window is not counted: it is the client's to forget it before the last put.
    Result<Window> mmap(DmaBufId id, std::uint64_t pgoff, std::uint64_t pages) noexcept;

    // dma_buf_vmap, dma_buf_vunmap: counted, one address for all.
    Result<std::byte*> vmap(DmaBufId id) noexcept;
    Status vunmap(DmaBufId id, const std::byte* cpu) noexcept;

    // See state_hash.hpp. `exporters` know what is behind the buffers.
    void hash_state(StateHash& hash, const DmaBufExporters& exporters) const noexcept;

  private:
    std::optional<Device> importer(std::uint32_t device) noexcept
    {
        return parameters_ != nullptr ? parameters_->for_mapping(device) : platform_.device(device);
    }
    friend class CpuHeld;
    struct Attachment;
    struct Access { // an open bracket
        Access* next;
        std::uint64_t start;
        std::uint64_t length;
        Direction direction;
        bool ending; // an exporter's end_cpu_access on it is running
        Handle self;
    };
    struct Page { // what kmap has given out
        std::byte* cpu;
        std::uint32_t count[2]; // plain, atomic
    };
    struct Buf {
        const DmaBufOps* ops;
        void* priv;
        std::uint64_t size;
        std::uint64_t references, descriptors;
        std::uint64_t running;  // exporter's calls, which the buffer must outlive
        std::uint64_t fetching; // of these, calls that bring devices' bytes home
        bool opening;           // a bracket for writing, which excludes them
        std::uint64_t vmaps, kmaps;
        bool vmap_changes;
        std::byte* vmap_cpu;
        Attachment* attachments;
        Access* accesses;
        Page* pages; // null without kmap
        char name[kNameBytes];
        Handle self;
    };
    struct Attachment {
        Buf* buf;
        Attachment* next;
        Device device;
        void* cookie;
        DmaBufTable table;
        Direction direction;
        bool changes;          // an exporter's call on it is running
        std::uint64_t maps[3]; // by direction
        std::uint64_t serial;
        Handle self;
        bool mapped() const noexcept { return (maps[0] | maps[1] | maps[2]) != 0; }
        DmaBufMapping mapping(Direction as) const noexcept
        {
            return {table.segments, table.n, device.index, as, serial};
        }
    };

    // Pages that hold a byte of the buffer.
    std::uint64_t pages_touched(std::uint64_t size) const noexcept
    {
        return ((size - 1) >> platform_.page_shift()) + 1;
    }
    Buf* held(DmaBufId id) noexcept;
    static bool enter(Buf& buf, bool cpu_writes) noexcept;
    static void leave(Buf& buf, bool cpu_writes) noexcept;
    Status drop(Buf& buf, std::uint64_t& kind, Buf& gone) noexcept;
    void finish(const Buf& gone) noexcept;
    void unlink(Attachment& attachment) noexcept;
    void remove(Access** link) noexcept;
    static Access** link_of(Buf& buf, Handle access) noexcept;
    void tear_down(Buf& buf) noexcept;

    Platform platform_;
    Parameters* parameters_;
    std::uint64_t lock_ = 0;
    std::uint64_t serial_ = 0;
    Registry<Buf, 4> bufs_;
    Registry<Attachment, 4> attachments_;
    Registry<Access, 4> accesses_;
    FdTable fds_;
};

// The bytes that the CPU may be writing now: those of open brackets that are not FromDevice. An exporter that maps or
// unmaps meanwhile must not bring an older value of them home.
class CpuHeld {
  public:
    CpuHeld(DmaBufs& bufs, const DmaBufs::Buf& buf, Handle but = {}) noexcept : bufs_(bufs), buf_(buf), but_(but) {}

    // The first run of bytes at or after `start` that is not held; false at the end of the buffer.
    bool next_free(std::uint64_t& start, std::uint64_t& length) const noexcept;
    bool any() const noexcept;

  private:
    DmaBufs& bufs_;
    bool holds(const DmaBufs::Access& access) const noexcept;
    const DmaBufs::Buf& buf_;
    Handle but_; // a bracket that does not count
};

} // namespace dmaudit::alloc
