// Ownership over dma-buf calls: a reference, an attachment with its mapping, a bracket of CPU accesses. All are
// move-only, may be empty (moved from), and give back what they hold when they go: brackets and attachments before the
// reference that they stand on. The DmaBufs outlives them.
#pragma once

#include <span>
#include <utility>

#include "allocator/dma_buf.hpp"

namespace dmaudit::alloc {

// dma_buf_attach .. dma_buf_detach, and in between at most one mapping of its own.
class Attachment {
  public:
    static Result<Attachment> make(DmaBufs& bufs, DmaBufId buf, std::uint32_t device) noexcept
    {
        const Result<AttachmentId> id = bufs.attach(buf, device);
        if (!id)
            return id.error();
        return Attachment(bufs, buf, *id);
    }
    Attachment(Attachment&& other) noexcept
        : bufs_(std::exchange(other.bufs_, nullptr)), buf_(other.buf_), id_(other.id_),
          mapping_(std::exchange(other.mapping_, std::nullopt))
    {
    }
    Attachment& operator=(Attachment&& other) noexcept
    {
        std::swap(bufs_, other.bufs_);
        std::swap(buf_, other.buf_);
        std::swap(id_, other.id_);
        std::swap(mapping_, other.mapping_);
        return *this;
    }
    ~Attachment()
    {
        if (bufs_ == nullptr)
            return;
        static_cast<void>(unmap());
        static_cast<void>(bufs_->detach(buf_, id_));
    }

    explicit operator bool() const noexcept { return bufs_ != nullptr; }
    AttachmentId id() const noexcept { return id_; }
    bool mapped() const noexcept { return mapping_.has_value(); }

    // dma_buf_map_attachment: what the device is to be told. Busy: this is mapped already, or as the call says.
    Result<std::span<const DmaSegment>> map(Direction direction) noexcept
    {
        if (mapping_)
            return DmaError::Busy;
        const Result<DmaBufMapping> mapping = bufs_->map_attachment(id_, direction);
        if (!mapping)
            return mapping.error();
        mapping_ = *mapping;
        return std::span(mapping->segments, mapping->n);
    }
    // dma_buf_unmap_attachment: the device is at rest. Nothing to do if it is not mapped.
    Status unmap() noexcept
    {
        if (!mapping_)
            return {};
        const Status done = bufs_->unmap_attachment(id_, mapping_->serial, mapping_->direction);
        if (done)
            mapping_.reset();
        return done;
    }

  private:
    Attachment(DmaBufs& bufs, DmaBufId buf, AttachmentId id) noexcept : bufs_(&bufs), buf_(buf), id_(id) {}
    DmaBufs* bufs_;
    DmaBufId buf_;
    AttachmentId id_;
    std::optional<DmaBufMapping> mapping_;
};

// dma_buf_begin_cpu_access .. dma_buf_end_cpu_access.
class CpuAccess {
  public:
    static Result<CpuAccess> make(DmaBufs& bufs, DmaBufId buf, std::uint64_t start, std::uint64_t length,
                                  Direction direction) noexcept
    {
        const Status begun = bufs.begin_cpu_access(buf, start, length, direction);
        if (!begun)
            return begun.error();
        return CpuAccess(bufs, buf, start, length, direction);
    }
    CpuAccess(CpuAccess&& other) noexcept
        : bufs_(std::exchange(other.bufs_, nullptr)), buf_(other.buf_), start_(other.start_), length_(other.length_),
          direction_(other.direction_)
    {
    }
    CpuAccess& operator=(CpuAccess&&) = delete;
    ~CpuAccess() { static_cast<void>(end()); }

    explicit operator bool() const noexcept { return bufs_ != nullptr; }

    // Before the end of the scope, with an answer. The bracket stays open if it fails.
    Status end() noexcept
    {
        if (bufs_ == nullptr)
            return {};
        const Status done = bufs_->end_cpu_access(buf_, start_, length_, direction_);
        if (done)
            bufs_ = nullptr;
        return done;
    }

  private:
    CpuAccess(DmaBufs& bufs, DmaBufId buf, std::uint64_t start, std::uint64_t length, Direction direction) noexcept
        : bufs_(&bufs), buf_(buf), start_(start), length_(length), direction_(direction)
    {
    }
    DmaBufs* bufs_;
    DmaBufId buf_;
    std::uint64_t start_, length_;
    Direction direction_;
};

// One reference: dma_buf_get or an export .. dma_buf_put.
class DmaBufRef {
  public:
    // Takes over the reference that an export has made.
    static DmaBufRef adopt(DmaBufs& bufs, DmaBufId id) noexcept { return {bufs, id}; }
    // dma_buf_get
    static Result<DmaBufRef> get(DmaBufs& bufs, int fd) noexcept
    {
        const Result<DmaBufId> id = bufs.get(fd);
        if (!id)
            return id.error();
        return DmaBufRef(bufs, *id);
    }
    DmaBufRef(DmaBufRef&& other) noexcept : bufs_(std::exchange(other.bufs_, nullptr)), id_(other.id_) {}
    DmaBufRef& operator=(DmaBufRef&& other) noexcept
    {
        std::swap(bufs_, other.bufs_);
        std::swap(id_, other.id_);
        return *this;
    }
    ~DmaBufRef()
    {
        if (bufs_ != nullptr)
            static_cast<void>(bufs_->put(id_));
    }

    explicit operator bool() const noexcept { return bufs_ != nullptr; }
    DmaBufId id() const noexcept { return id_; }

    // dma_buf_fd: this is empty afterwards, and nothing may be done with the buffer but through a new reference. On
    // failure the reference is still here.
    Result<int> into_fd() noexcept
    {
        const Result<int> fd = bufs_->fd(id_);
        if (fd)
            bufs_ = nullptr;
        return fd;
    }
    Result<Attachment> attach(std::uint32_t device) const noexcept { return Attachment::make(*bufs_, id_, device); }
    Result<CpuAccess> cpu_access(std::uint64_t start, std::uint64_t length, Direction direction) const noexcept
    {
        return CpuAccess::make(*bufs_, id_, start, length, direction);
    }

  private:
    DmaBufRef(DmaBufs& bufs, DmaBufId id) noexcept : bufs_(&bufs), id_(id) {}
    DmaBufs* bufs_;
    DmaBufId id_;
};

} // namespace dmaudit::alloc
