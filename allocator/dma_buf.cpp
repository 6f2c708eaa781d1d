#include "allocator/dma_buf.hpp"

#include <cstring>

namespace dmaudit::alloc {
namespace {

// Pages that hold a byte of the buffer.
std::uint64_t pages_touched(std::uint64_t size, unsigned page_shift)
{
    return ((size - 1) >> page_shift) + 1;
}

} // namespace

DmaBufs::~DmaBufs()
{
    bufs_.each([&](Handle, Buf& buf) {
        tear_down(buf);
        return true;
    });
}

// Nobody calls any more: what importers forgot is ended for them, in the order that an exporter expects.
void DmaBufs::tear_down(Buf& buf) noexcept
{
    const CpuHeld held(*this, buf);
    for (Attachment* a = buf.attachments; a != nullptr; a = a->next) {
        if (a->mapped())
            static_cast<void>(buf.ops->unmap(buf.priv, a->device, a->cookie, a->direction, held));
        if (buf.ops->detach != nullptr)
            buf.ops->detach(buf.priv, a->device, a->cookie);
    }
    if (buf.vmaps != 0 && buf.ops->vunmap != nullptr)
        buf.ops->vunmap(buf.priv, buf.vmap_cpu);
    finish(buf);
}

void DmaBufs::finish(const Buf& gone) noexcept
{
    gone.ops->release(gone.priv);
    platform_.meta_free(gone.pages);
}

Result<DmaBufId> DmaBufs::export_named(const DmaBufOps& ops, void* priv, std::uint64_t size, const char* name) noexcept
{
    if (size == 0 || priv == nullptr || ops.map == nullptr || ops.unmap == nullptr || ops.release == nullptr)
        return DmaError::BadArgument;
    Buf buf{};
    buf.ops = &ops;
    buf.priv = priv;
    buf.size = size;
    buf.references = 1;
    if (name != nullptr)
        std::strncpy(buf.name, name, kNameBytes - 1);
    if (ops.kmap != nullptr) {
        const std::uint64_t pages = pages_touched(size, platform_.page_shift());
        buf.pages = static_cast<Page*>(platform_.meta_alloc(pages * sizeof(Page)));
        if (buf.pages == nullptr)
            return DmaError::NoMemory;
        std::uninitialized_value_construct_n(buf.pages, pages);
    }
    {
        const Guard guard(platform_, lock_);
        Handle handle;
        if (bufs_.add(buf, handle)) {
            bufs_.find(handle)->self = handle;
            return DmaBufId{handle};
        }
    }
    platform_.meta_free(buf.pages);
    return DmaError::NoMemory;
}

Result<DmaBufInfo> DmaBufs::info(DmaBufId id) noexcept
{
    const Guard guard(platform_, lock_);
    const Buf* buf = bufs_.find(id.handle);
    if (buf == nullptr)
        return DmaError::IllegalCall;
    std::uint64_t attachments = 0;
    for (const Attachment* a = buf->attachments; a != nullptr; a = a->next)
        attachments++;
    return DmaBufInfo{buf->size, buf->references, buf->descriptors, attachments, buf->name};
}

// ---- references and descriptors
// --------------------------------------------------------------------------------------

// The buffer, if the caller can have a reference to it. The lock is held.
DmaBufs::Buf* DmaBufs::held(DmaBufId id) noexcept
{
    Buf* buf = bufs_.find(id.handle);
    return buf != nullptr && buf->references != 0 ? buf : nullptr;
}

// Takes a reference of one kind away. With the last the record dies and is copied to `gone`, whose ops are null else.
// The lock is held; release is the caller's to do without it.
Status DmaBufs::drop(Buf& buf, std::uint64_t& kind, Buf& gone) noexcept
{
    gone.ops = nullptr;
    if (buf.references + buf.descriptors != 1) {
        kind--;
        return {};
    }
    if (buf.running != 0)
        return DmaError::Busy;
    if (buf.attachments != nullptr || buf.vmaps != 0 || buf.kmaps != 0)
        return DmaError::IllegalCall;
    // Brackets that were left open go too: a process may die in one.
    while (buf.accesses != nullptr)
        remove(&buf.accesses);
    gone = buf;
    bufs_.remove(buf.self);
    return {};
}

Result<int> DmaBufs::fd(DmaBufId id) noexcept
{
    const Guard guard(platform_, lock_);
    Buf* buf = held(id);
    if (buf == nullptr)
        return DmaError::IllegalCall;
    const Result<int> fd = fds_.install(id.handle);
    if (fd) {
        buf->references--;
        buf->descriptors++;
    }
    return fd;
}

Result<DmaBufId> DmaBufs::get(int fd) noexcept
{
    const Guard guard(platform_, lock_);
    const std::optional<Handle> handle = fds_.find(fd);
    if (!handle)
        return DmaError::BadDescriptor;
    bufs_.find(*handle)->references++;
    return DmaBufId{*handle};
}

Result<int> DmaBufs::dup(int fd) noexcept
{
    const Guard guard(platform_, lock_);
    const std::optional<Handle> handle = fds_.find(fd);
    if (!handle)
        return DmaError::BadDescriptor;
    const Result<int> copy = fds_.install(*handle);
    if (copy)
        bufs_.find(*handle)->descriptors++;
    return copy;
}

Status DmaBufs::put(DmaBufId id) noexcept
{
    Buf gone;
    {
        const Guard guard(platform_, lock_);
        Buf* buf = held(id);
        if (buf == nullptr)
            return DmaError::IllegalCall;
        if (Status status = drop(*buf, buf->references, gone); !status)
            return status;
    }
    if (gone.ops != nullptr)
        finish(gone);
    return {};
}

Status DmaBufs::close(int fd) noexcept
{
    Buf gone;
    {
        const Guard guard(platform_, lock_);
        const std::optional<Handle> handle = fds_.find(fd);
        if (!handle)
            return DmaError::BadDescriptor;
        Buf* buf = bufs_.find(*handle);
        if (Status status = drop(*buf, buf->descriptors, gone); !status)
            return status;
        fds_.close(fd);
    }
    if (gone.ops != nullptr)
        finish(gone);
    return {};
}

// ---- the CPU
// ---------------------------------------------------------------------------------------------------------

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
    Buf* buf;
    Handle handle;
    {
        const Guard guard(platform_, lock_);
        buf = held(id);
        if (buf == nullptr)
            return DmaError::IllegalCall;
        if (start > buf->size || length > buf->size - start)
            return DmaError::BadArgument;
        if (!accesses_.add({buf->accesses, start, length, direction, false, {}}, handle))
            return DmaError::NoMemory;
        buf->accesses = accesses_.find(handle);
        buf->accesses->self = handle;
        buf->running++;
    }
    Status done;
    if (buf->ops->begin_cpu_access != nullptr)
        done = buf->ops->begin_cpu_access(buf->priv, start, length, direction);
    const Guard guard(platform_, lock_);
    buf->running--;
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
        if (buf->pages == nullptr || page >= pages_touched(buf->size, platform_.page_shift()))
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
        if (buf == nullptr || buf->pages == nullptr || page >= pages_touched(buf->size, platform_.page_shift()))
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

} // namespace dmaudit::alloc
