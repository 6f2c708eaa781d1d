// The half of DmaBufs that deals with the CPU: brackets, and addresses of pages and of the whole.
#include "allocator/dma_buf.hpp"

#include <algorithm>

namespace dmaudit::alloc {

// Takes the bracket at `link` out. The lock is held.
void DmaBufs::remove(Access** link) noexcept
{
    Access* gone = *link;
    *link = gone->next;
    accesses_.remove(gone->self);
}

// Where a bracket hangs. It may have been taken out by another thread: then this is the end of the list.
DmaBufs::Access** DmaBufs::link_of(Buf& buf, Handle access) noexcept
{
    Access** link = &buf.accesses;
    while (*link != nullptr && (*link)->self != access)
        link = &(*link)->next;
    return link;
}

// The bracket is recorded before the exporter is asked: it can fail for want of memory only while nothing has happened.
Status DmaBufs::begin_cpu_access(DmaBufId id, std::uint64_t start, std::uint64_t length, Direction direction) noexcept
{
    const bool writes = direction != Direction::FromDevice;
    Buf* buf;
    Handle handle;
    {
        const Guard guard(platform_, lock_);
        buf = held(id);
        if (buf == nullptr)
            return DmaError::IllegalCall;
        if (start > buf->size || length > buf->size - start)
            return DmaError::BadArgument;
        if (!enter(*buf, writes))
            return DmaError::Busy;
        if (!accesses_.add({buf->accesses, start, length, direction, false, {}}, handle)) {
            leave(*buf, writes);
            return DmaError::NoMemory;
        }
        buf->accesses = accesses_.find(handle);
        buf->accesses->self = handle;
    }
    Status done;
    if (buf->ops->begin_cpu_access != nullptr)
        done = buf->ops->begin_cpu_access(buf->priv, start, length, direction, CpuHeld(*this, *buf, handle));
    const Guard guard(platform_, lock_);
    leave(*buf, writes);
    if (Access** link = link_of(*buf, handle); !done && *link != nullptr)
        remove(link);
    return done;
}

// The bracket stays until the exporter is done, so that CpuHeld tells of its bytes; marked, so that no other end takes
// it.
Status DmaBufs::end_cpu_access(DmaBufId id, std::uint64_t start, std::uint64_t length, Direction direction) noexcept
{
    Buf* buf;
    Access* access;
    {
        const Guard guard(platform_, lock_);
        buf = bufs_.find(id.handle);
        if (buf == nullptr)
            return DmaError::IllegalCall;
        access = buf->accesses;
        while (access != nullptr &&
               (access->ending || access->start != start || access->length != length || access->direction != direction))
            access = access->next;
        if (access == nullptr)
            return DmaError::IllegalCall;
        access->ending = true;
        buf->running++;
    }
    Status done;
    if (buf->ops->end_cpu_access != nullptr)
        done = buf->ops->end_cpu_access(buf->priv, start, length, direction);
    const Guard guard(platform_, lock_);
    buf->running--;
    access->ending = false;
    if (done)
        remove(link_of(*buf, access->self));
    return done;
}

Status DmaBufs::begin_cpu_access(DmaBufId id, Direction direction) noexcept
{
    const Result<DmaBufInfo> whole = info(id);
    return whole ? begin_cpu_access(id, 0, whole->size, direction) : Status(whole.error());
}

Status DmaBufs::end_cpu_access(DmaBufId id, Direction direction) noexcept
{
    const Result<DmaBufInfo> whole = info(id);
    return whole ? end_cpu_access(id, 0, whole->size, direction) : Status(whole.error());
}

Result<std::byte*> DmaBufs::kmap(DmaBufId id, std::uint64_t page, bool atomic) noexcept
{
    Buf* buf;
    {
        const Guard guard(platform_, lock_);
        buf = held(id);
        if (buf == nullptr)
            return DmaError::IllegalCall;
        if (buf->pages == nullptr || page >= pages_touched(buf->size))
            return DmaError::BadArgument;
        buf->running++;
    }
    Result<std::byte*> cpu = buf->ops->kmap(buf->priv, page);
    if (cpu && *cpu == nullptr)
        cpu = DmaError::NoMemory;
    const Guard guard(platform_, lock_);
    buf->running--;
    if (cpu) {
        buf->pages[page].cpu = *cpu;
        buf->pages[page].count[atomic]++;
        buf->kmaps++;
    }
    return cpu;
}

Status DmaBufs::kunmap(DmaBufId id, std::uint64_t page, bool atomic, const std::byte* cpu) noexcept
{
    Buf* buf;
    std::byte* mapped;
    {
        const Guard guard(platform_, lock_);
        buf = bufs_.find(id.handle);
        if (buf == nullptr || buf->pages == nullptr || page >= pages_touched(buf->size))
            return DmaError::IllegalCall;
        Page& known = buf->pages[page];
        if (known.count[atomic] == 0 || known.cpu != cpu)
            return DmaError::IllegalCall;
        mapped = known.cpu;
        known.count[atomic]--;
        buf->kmaps--;
        buf->running++;
    }
    if (buf->ops->kunmap != nullptr)
        buf->ops->kunmap(buf->priv, page, mapped);
    const Guard guard(platform_, lock_);
    buf->running--;
    return {};
}

Result<Window> DmaBufs::mmap(DmaBufId id, std::uint64_t pgoff, std::uint64_t pages) noexcept
{
    Buf* buf;
    {
        const Guard guard(platform_, lock_);
        buf = held(id);
        if (buf == nullptr)
            return DmaError::IllegalCall;
        const std::uint64_t whole = buf->size >> platform_.page_shift();
        if (buf->ops->mmap == nullptr || pages == 0 || pages > whole || pgoff > whole - pages)
            return DmaError::BadArgument;
        buf->running++;
    }
    const Result<Window> window = buf->ops->mmap(buf->priv, pgoff, pages);
    const Guard guard(platform_, lock_);
    buf->running--;
    return window;
}

Result<std::byte*> DmaBufs::vmap(DmaBufId id) noexcept
{
    Buf* buf;
    {
        const Guard guard(platform_, lock_);
        buf = held(id);
        if (buf == nullptr)
            return DmaError::IllegalCall;
        if (buf->ops->vmap == nullptr)
            return DmaError::BadArgument;
        if (buf->vmap_changes)
            return DmaError::Busy;
        if (buf->vmaps != 0) {
            buf->vmaps++;
            return buf->vmap_cpu;
        }
        buf->vmap_changes = true;
        buf->running++;
    }
    Result<std::byte*> cpu = buf->ops->vmap(buf->priv);
    if (cpu && *cpu == nullptr)
        cpu = DmaError::NoMemory;
    const Guard guard(platform_, lock_);
    buf->running--;
    buf->vmap_changes = false;
    if (cpu) {
        buf->vmap_cpu = *cpu;
        buf->vmaps = 1;
    }
    return cpu;
}

Status DmaBufs::vunmap(DmaBufId id, const std::byte* cpu) noexcept
{
    Buf* buf;
    {
        const Guard guard(platform_, lock_);
        buf = bufs_.find(id.handle);
        if (buf == nullptr)
            return DmaError::IllegalCall;
        if (buf->vmap_changes)
            return DmaError::Busy;
        if (buf->vmaps == 0 || buf->vmap_cpu != cpu)
            return DmaError::IllegalCall;
        if (--buf->vmaps != 0)
            return {};
        buf->vmap_changes = true;
        buf->running++;
    }
    if (buf->ops->vunmap != nullptr)
        buf->ops->vunmap(buf->priv, buf->vmap_cpu);
    const Guard guard(platform_, lock_);
    buf->running--;
    buf->vmap_changes = false;
    return {};
}

bool CpuHeld::holds(const DmaBufs::Access& access) const noexcept
{
    return access.direction != Direction::FromDevice && access.length != 0 && access.self != but_;
}

bool CpuHeld::next_free(std::uint64_t& start, std::uint64_t& length) const noexcept
{
    const Guard guard(bufs_.platform_, bufs_.lock_);
    std::uint64_t at = start;
    for (bool moved = true; moved;) { // brackets overlap in any order
        moved = false;
        for (const DmaBufs::Access* a = buf_.accesses; a != nullptr; a = a->next)
            if (holds(*a) && a->start <= at && at - a->start < a->length) {
                at = a->start + a->length;
                moved = true;
            }
    }
    if (at >= buf_.size)
        return false;
    std::uint64_t end = buf_.size;
    for (const DmaBufs::Access* a = buf_.accesses; a != nullptr; a = a->next)
        if (holds(*a) && a->start > at)
            end = std::min(end, a->start);
    start = at;
    length = end - at;
    return true;
}

bool CpuHeld::any() const noexcept
{
    std::uint64_t start = 0, length = 0;
    return !next_free(start, length) || start != 0 || length != buf_.size;
}

} // namespace dmaudit::alloc
