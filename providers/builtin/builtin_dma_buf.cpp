#include "providers/builtin/builtin_tables.hpp"

namespace dmaudit {
namespace {

using namespace alloc;

DmaBufs& at(void* ctx)
{
    return static_cast<Allocator*>(ctx)->dma_bufs();
}

// A buffer and an attachment are numbers: the generation above the index, never 0.
std::uint64_t number(Handle handle)
{
    return std::uint64_t{handle.generation} << 32 | handle.index;
}
Handle handle_of(std::uint64_t number)
{
    return {static_cast<std::uint32_t>(number), static_cast<std::uint32_t>(number >> 32)};
}
DmaBufId buf_of(std::uint64_t number)
{
    return {handle_of(number)};
}
AttachmentId attachment_of(std::uint64_t number)
{
    return {handle_of(number)};
}

int put(const Result<DmaBufId>& id, std::uint64_t* buf)
{
    if (id)
        *buf = number(id->handle);
    return id.code();
}

int put(const Result<int>& fd, int* out)
{
    if (fd)
        *out = *fd;
    return fd.code();
}

int put(const Result<std::byte*>& cpu, void** out)
{
    if (cpu)
        *out = *cpu;
    return cpu.code();
}

int export_block(void* ctx, const dmaudit_block* block, const char* name, std::uint64_t* buf) noexcept
{
    if (block == nullptr || buf == nullptr)
        return DMAUDIT_ENULL;
    if (block->struct_size < sizeof(dmaudit_block))
        return DMAUDIT_EINVAL;
    return put(static_cast<Allocator*>(ctx)->export_block(from_interface(*block), name), buf);
}

int export_pages(void* ctx, void* cpu, std::uint64_t size, const char* name, std::uint64_t* buf) noexcept
{
    if (buf == nullptr)
        return DMAUDIT_ENULL;
    return put(static_cast<Allocator*>(ctx)->export_pages(cpu, size, name), buf);
}

int fd(void* ctx, std::uint64_t buf, int* out) noexcept
{
    return out == nullptr ? DMAUDIT_ENULL : put(at(ctx).fd(buf_of(buf)), out);
}

int close_fd(void* ctx, int fd) noexcept
{
    return at(ctx).close(fd).code();
}

int dup_fd(void* ctx, int fd, int* copy) noexcept
{
    return copy == nullptr ? DMAUDIT_ENULL : put(at(ctx).dup(fd), copy);
}

int get(void* ctx, int fd, std::uint64_t* buf) noexcept
{
    return buf == nullptr ? DMAUDIT_ENULL : put(at(ctx).get(fd), buf);
}

int put_buf(void* ctx, std::uint64_t buf) noexcept
{
    return at(ctx).put(buf_of(buf)).code();
}

int attach(void* ctx, std::uint64_t buf, std::uint32_t device, std::uint64_t* attachment) noexcept
{
    if (attachment == nullptr)
        return DMAUDIT_ENULL;
    const Result<AttachmentId> id = at(ctx).attach(buf_of(buf), device);
    if (id)
        *attachment = number(id->handle);
    return id.code();
}

int detach(void* ctx, std::uint64_t buf, std::uint64_t attachment) noexcept
{
    return at(ctx).detach(buf_of(buf), attachment_of(attachment)).code();
}

int map_attachment(void* ctx, std::uint64_t attachment, std::uint32_t direction, dmaudit_sg* sg) noexcept
{
    const std::optional<Direction> way = direction_of(direction);
    if (sg == nullptr || sg->struct_size < sizeof *sg || !way)
        return DMAUDIT_EINVAL;
    if (sg->segments == nullptr)
        return DMAUDIT_ENULL;
    const Result<DmaBufMapping> mapping = at(ctx).map_attachment(attachment_of(attachment), *way);
    if (!mapping)
        return mapping.code();
    if (mapping->n > sg->n_entries) { // no room for the answer
        const Status undone = at(ctx).unmap_attachment(attachment_of(attachment), mapping->serial, *way);
        return undone ? DMAUDIT_EINVAL : undone.code();
    }
    for (std::uint32_t i = 0; i < mapping->n; i++)
        sg->segments[i] = {mapping->segments[i].bus.value, mapping->segments[i].length};
    sg->device = mapping->device;
    sg->n_segments = mapping->n;
    sg->direction = direction;
    sg->cookie[0] = static_cast<std::uintptr_t>(mapping->serial);
    sg->cookie[1] = 0;
    return DMAUDIT_OK;
}

// What comes back is what map has filled in, or it is no live mapping.
bool same(const dmaudit_sg& sg, const DmaBufMapping& mapping)
{
    if (sg.device != mapping.device || sg.n_segments != mapping.n || sg.segments == nullptr)
        return false;
    for (std::uint32_t i = 0; i < mapping.n; i++)
        if (sg.segments[i].bus != mapping.segments[i].bus.value || sg.segments[i].length != mapping.segments[i].length)
            return false;
    return true;
}

int unmap_attachment(void* ctx, std::uint64_t attachment, const dmaudit_sg* sg, std::uint32_t direction) noexcept
{
    const std::optional<Direction> way = direction_of(direction);
    if (sg == nullptr || sg->struct_size < sizeof *sg || !way)
        return DMAUDIT_EINVAL;
    const Result<DmaBufMapping> live = at(ctx).mapping(attachment_of(attachment));
    if (!live || sg->direction != direction || !same(*sg, *live))
        return DMAUDIT_EFAULT;
    return at(ctx).unmap_attachment(attachment_of(attachment), sg->cookie[0], *way).code();
}

int begin_cpu_access(void* ctx, std::uint64_t buf, std::uint64_t start, std::uint64_t length,
                     std::uint32_t direction) noexcept
{
    const std::optional<Direction> way = direction_of(direction);
    return way ? at(ctx).begin_cpu_access(buf_of(buf), start, length, *way).code() : DMAUDIT_EINVAL;
}

int end_cpu_access(void* ctx, std::uint64_t buf, std::uint64_t start, std::uint64_t length,
                   std::uint32_t direction) noexcept
{
    const std::optional<Direction> way = direction_of(direction);
    return way ? at(ctx).end_cpu_access(buf_of(buf), start, length, *way).code() : DMAUDIT_EINVAL;
}

int kmap(void* ctx, std::uint64_t buf, std::uint64_t page, int atomic, void** cpu) noexcept
{
    return cpu == nullptr ? DMAUDIT_ENULL : put(at(ctx).kmap(buf_of(buf), page, atomic != 0), cpu);
}

int kunmap(void* ctx, std::uint64_t buf, std::uint64_t page, int atomic, void* cpu) noexcept
{
    return at(ctx).kunmap(buf_of(buf), page, atomic != 0, static_cast<const std::byte*>(cpu)).code();
}

int mmap(void* ctx, std::uint64_t buf, std::uint64_t pgoff, std::uint64_t pages, dmaudit_window* out) noexcept
{
    if (out == nullptr || out->struct_size < sizeof *out)
        return DMAUDIT_EINVAL;
    const Result<Window> window = at(ctx).mmap(buf_of(buf), pgoff, pages);
    if (window) {
        out->phys = window->phys.value;
        out->size = window->size;
    }
    return window.code();
}

int vmap(void* ctx, std::uint64_t buf, void** cpu) noexcept
{
    return cpu == nullptr ? DMAUDIT_ENULL : put(at(ctx).vmap(buf_of(buf)), cpu);
}

int vunmap(void* ctx, std::uint64_t buf, void* cpu) noexcept
{
    return at(ctx).vunmap(buf_of(buf), static_cast<const std::byte*>(cpu)).code();
}

} // namespace

const dmaudit_dma_buf kBuiltinDmaBuf{
    sizeof(dmaudit_dma_buf),
    0,
    export_block,
    export_pages,
    fd,
    close_fd,
    dup_fd,
    get,
    put_buf,
    attach,
    detach,
    map_attachment,
    unmap_attachment,
    begin_cpu_access,
    end_cpu_access,
    kmap,
    kunmap,
    mmap,
    vmap,
    vunmap,
};

} // namespace dmaudit
