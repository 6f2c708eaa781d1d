#include "allocator/dma_buf.hpp"

#include <cstring>

namespace dmaudit::alloc {

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
        const std::uint64_t pages = pages_touched(size);
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

// The buffer, if the caller can have a reference to it. The lock is held.
DmaBufs::Buf* DmaBufs::held(DmaBufId id) noexcept
{
    Buf* buf = bufs_.find(id.handle);
    return buf != nullptr && buf->references != 0 ? buf : nullptr;
}

// Around a call of the exporter that brings devices' bytes home. False: it would meet the CPU's writes of a bracket
// that is being opened, or, for such a one, those bytes. The lock is held.
bool DmaBufs::enter(Buf& buf, bool cpu_writes) noexcept
{
    if (buf.opening || (cpu_writes && buf.fetching != 0))
        return false;
    buf.running++;
    if (cpu_writes)
        buf.opening = true;
    else
        buf.fetching++;
    return true;
}

void DmaBufs::leave(Buf& buf, bool cpu_writes) noexcept
{
    buf.running--;
    if (cpu_writes)
        buf.opening = false;
    else
        buf.fetching--;
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

} // namespace dmaudit::alloc
