// The half of DmaBufs that deals with devices: attachments and their mappings. What all of it has in common: a record
// is marked as changing, the lock is dropped, the exporter is asked, and its answer decides what the record becomes.
#include "allocator/dma_buf.hpp"

namespace dmaudit::alloc {

// The lock is held.
void DmaBufs::unlink(Attachment& attachment) noexcept
{
    Attachment** link = &attachment.buf->attachments;
    while (*link != &attachment)
        link = &(*link)->next;
    *link = attachment.next;
    attachments_.remove(attachment.self);
}

Result<AttachmentId> DmaBufs::attach(DmaBufId id, std::uint32_t device) noexcept
{
    const std::optional<Device> found = importer(device);
    Buf* buf;
    Attachment* attachment;
    {
        const Guard guard(platform_, lock_);
        buf = held(id);
        if (buf == nullptr)
            return DmaError::IllegalCall;
        if (!found)
            return DmaError::NoSuchDevice;
        Attachment fresh{};
        fresh.buf = buf;
        fresh.next = buf->attachments;
        fresh.device = *found;
        fresh.changes = true;
        Handle handle;
        if (!attachments_.add(fresh, handle))
            return DmaError::NoMemory;
        attachment = attachments_.find(handle);
        attachment->self = handle;
        buf->attachments = attachment;
        buf->running++;
    }
    Status done;
    if (buf->ops->attach != nullptr)
        done = buf->ops->attach(buf->priv, *found, &attachment->cookie);
    const Guard guard(platform_, lock_);
    buf->running--;
    attachment->changes = false;
    if (done)
        return AttachmentId{attachment->self};
    unlink(*attachment);
    return done.error();
}

Status DmaBufs::detach(DmaBufId id, AttachmentId which) noexcept
{
    Buf* buf;
    Attachment* attachment;
    {
        const Guard guard(platform_, lock_);
        buf = bufs_.find(id.handle);
        attachment = attachments_.find(which.handle);
        if (buf == nullptr || attachment == nullptr || attachment->buf != buf)
            return DmaError::IllegalCall;
        if (attachment->changes)
            return DmaError::Busy;
        if (attachment->mapped())
            return DmaError::IllegalCall;
        attachment->changes = true;
        buf->running++;
    }
    if (buf->ops->detach != nullptr)
        buf->ops->detach(buf->priv, attachment->device, attachment->cookie);
    const Guard guard(platform_, lock_);
    buf->running--;
    unlink(*attachment);
    return {};
}

Result<DmaBufMapping> DmaBufs::map_attachment(AttachmentId which, Direction direction) noexcept
{
    Buf* buf;
    Attachment* attachment;
    {
        const Guard guard(platform_, lock_);
        attachment = attachments_.find(which.handle);
        if (attachment == nullptr)
            return DmaError::IllegalCall;
        if (attachment->changes)
            return DmaError::Busy;
        if (attachment->mapped()) {
            if (attachment->direction != direction && attachment->direction != Direction::Bidirectional)
                return DmaError::Busy;
            attachment->maps[static_cast<int>(direction)]++;
            return attachment->mapping(direction);
        }
        buf = attachment->buf;
        if (!enter(*buf, false))
            return DmaError::Busy;
        attachment->changes = true;
    }
    attachment->device = *importer(attachment->device.index); // its mask may have changed since
    const Result<DmaBufTable> table =
        buf->ops->map(buf->priv, attachment->device, attachment->cookie, direction, CpuHeld(*this, *buf));
    const Guard guard(platform_, lock_);
    leave(*buf, false);
    attachment->changes = false;
    if (!table)
        return table.error();
    if (table->n == 0 || table->segments == nullptr)
        return DmaError::NoMemory;
    attachment->table = *table;
    attachment->direction = direction;
    attachment->maps[static_cast<int>(direction)] = 1;
    attachment->serial = ++serial_;
    return attachment->mapping(direction);
}

Status DmaBufs::unmap_attachment(AttachmentId which, std::uint64_t serial, Direction direction) noexcept
{
    Buf* buf;
    Attachment* attachment;
    std::uint64_t* count;
    {
        const Guard guard(platform_, lock_);
        attachment = attachments_.find(which.handle);
        if (attachment == nullptr)
            return DmaError::IllegalCall;
        if (attachment->changes)
            return DmaError::Busy;
        count = &attachment->maps[static_cast<int>(direction)];
        if (*count == 0 || attachment->serial != serial)
            return DmaError::IllegalCall;
        if (attachment->maps[0] + attachment->maps[1] + attachment->maps[2] != 1) {
            --*count;
            return {};
        }
        buf = attachment->buf;
        if (!enter(*buf, false))
            return DmaError::Busy;
        attachment->changes = true;
    }
    // In the direction that it was mapped in, which may be wider than the one of the last user.
    const Status done =
        buf->ops->unmap(buf->priv, attachment->device, attachment->cookie, attachment->direction, CpuHeld(*this, *buf));
    const Guard guard(platform_, lock_);
    leave(*buf, false);
    attachment->changes = false;
    if (done)
        *count = 0;
    return done;
}

Result<DmaBufMapping> DmaBufs::mapping(AttachmentId which) noexcept
{
    const Guard guard(platform_, lock_);
    const Attachment* attachment = attachments_.find(which.handle);
    if (attachment == nullptr || !attachment->mapped())
        return DmaError::IllegalCall;
    return attachment->mapping(attachment->direction);
}

} // namespace dmaudit::alloc
