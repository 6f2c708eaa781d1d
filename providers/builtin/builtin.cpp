#include "providers/builtin/builtin.hpp"

#include "allocator/allocator.hpp"
#include "providers/builtin/builtin_tables.hpp"

namespace dmaudit {
namespace {

using namespace alloc;

Allocator& at(void* ctx)
{
    return *static_cast<Allocator*>(ctx);
}

// A struct of another version, smaller than what we read, is malformed.
template <class T> bool complete(const T* from)
{
    return from != nullptr && from->struct_size >= sizeof(T);
}

// A cookie is where the block came from: 0 and the pool's serial, or the handle, its index counted from 1.
void put(const Block& block, std::uint32_t flags, dmaudit_block& out)
{
    out.device = block.block.device;
    out.cpu = block.block.cpu;
    out.bus = block.block.bus.value;
    out.size = block.block.size;
    out.granted = block.granted;
    out.flags = flags;
    out.attrs = block.block.attrs;
    out.cookie[0] = block.pooled ? 0 : std::uintptr_t{block.handle.index} + 1;
    out.cookie[1] = block.pooled ? static_cast<std::uintptr_t>(block.serial) : std::uintptr_t{block.handle.generation};
}

Block get(const dmaudit_block& from)
{
    const bool pooled = from.cookie[0] == 0;
    const Handle handle{static_cast<std::uint32_t>(from.cookie[0] - 1), static_cast<std::uint32_t>(from.cookie[1])};
    return {{from.device, from.attrs, static_cast<std::byte*>(from.cpu), {from.bus}, from.size},
            from.granted,
            pooled,
            pooled ? Handle{} : handle,
            pooled ? from.cookie[1] : 0};
}

// Nothing, if the direction is none: such a mapping cannot be alive.
std::optional<Mapping> get(const dmaudit_mapping& from)
{
    const std::optional<Direction> direction = direction_of(from.direction);
    if (!direction)
        return std::nullopt;
    return Mapping{from.device,
                   *direction,
                   static_cast<std::byte*>(from.cpu),
                   {from.bus},
                   from.size,
                   {static_cast<std::uint32_t>(from.cookie[0]), static_cast<std::uint32_t>(from.cookie[1])}};
}

int open(const dmaudit_platform* platform, void** ctx) noexcept
{
    if (platform == nullptr || ctx == nullptr)
        return DMAUDIT_ENULL;
    Result<Allocator::Owner> owner = Allocator::open(*platform);
    if (owner)
        *ctx = owner->release();
    return owner.code();
}

void close(void* ctx) noexcept
{
    at(ctx).close();
}

int coherent_alloc(void* ctx, const dmaudit_request* request, dmaudit_block* out) noexcept
{
    if (!complete(request) || !complete(out))
        return DMAUDIT_EINVAL;
    const Result<Block> block = at(ctx).alloc_coherent(*request);
    if (block)
        put(*block, request->flags, *out);
    return block.code();
}

int coherent_free(void* ctx, const dmaudit_block* block) noexcept
{
    return complete(block) ? at(ctx).free_coherent(get(*block)).code() : DMAUDIT_EINVAL;
}

int coherent_mmap(void* ctx, const dmaudit_block* block, std::uint64_t pgoff, std::uint64_t pages,
                  dmaudit_window* out) noexcept
{
    if (!complete(block) || !complete(out))
        return DMAUDIT_EINVAL;
    const Result<Window> window = at(ctx).mmap_coherent(get(*block), pgoff, pages);
    if (window) {
        out->phys = window->phys.value;
        out->size = window->size;
    }
    return window.code();
}

int noncoherent_alloc(void* ctx, const dmaudit_request* request, std::uint32_t direction, dmaudit_block* out) noexcept
{
    const std::optional<Direction> way = direction_of(direction);
    if (!complete(request) || !complete(out) || !way)
        return DMAUDIT_EINVAL;
    const Result<Block> block = at(ctx).alloc_noncoherent(*request, *way);
    if (block)
        put(*block, request->flags, *out);
    return block.code();
}

int pages_alloc(void* ctx, const dmaudit_request* request, std::uint32_t direction, dmaudit_block* out) noexcept
{
    const std::optional<Direction> way = direction_of(direction);
    if (!complete(request) || !complete(out) || !way)
        return DMAUDIT_EINVAL;
    const Result<Block> block = at(ctx).alloc_pages(*request, *way);
    if (block)
        put(*block, request->flags, *out);
    return block.code();
}

// A block of no direction cannot be alive.
int noncoherent_free(void* ctx, const dmaudit_block* block, std::uint32_t direction) noexcept
{
    if (!complete(block))
        return DMAUDIT_EINVAL;
    const std::optional<Direction> way = direction_of(direction);
    return way ? at(ctx).free_noncoherent(get(*block), *way).code() : DMAUDIT_EFAULT;
}

int pages_free(void* ctx, const dmaudit_block* block, std::uint32_t direction) noexcept
{
    if (!complete(block))
        return DMAUDIT_EINVAL;
    const std::optional<Direction> way = direction_of(direction);
    return way ? at(ctx).free_pages(get(*block), *way).code() : DMAUDIT_EFAULT;
}

int noncoherent_sync(void* ctx, const dmaudit_block* block, std::uint64_t offset, std::uint64_t length,
                     std::uint32_t direction, std::uint32_t phase) noexcept
{
    const std::optional<Direction> way = direction_of(direction);
    if (!complete(block) || !way || phase > DMAUDIT_FOR_CPU)
        return DMAUDIT_EINVAL;
    return at(ctx).sync_noncoherent(get(*block), offset, length, *way, static_cast<Phase>(phase)).code();
}

int map_single(void* ctx, const dmaudit_request* request, void* cpu, std::uint32_t direction,
               dmaudit_mapping* out) noexcept
{
    const std::optional<Direction> way = direction_of(direction);
    if (!complete(request) || !complete(out) || !way)
        return DMAUDIT_EINVAL;
    const Result<Mapping> mapping = at(ctx).map_single(*request, cpu, *way);
    if (!mapping)
        return mapping.code();
    out->device = mapping->device;
    out->cpu = cpu;
    out->bus = mapping->bus.value;
    out->size = mapping->size;
    out->direction = direction;
    out->attrs = request->attrs;
    out->cookie[0] = mapping->handle.index;
    out->cookie[1] = mapping->handle.generation;
    return DMAUDIT_OK;
}

int unmap_single(void* ctx, const dmaudit_mapping* mapping, std::uint64_t used, std::uint32_t attrs) noexcept
{
    if (!complete(mapping))
        return DMAUDIT_EINVAL;
    const std::optional<Mapping> known = get(*mapping);
    return known ? at(ctx).unmap_single(*known, used, attrs).code() : DMAUDIT_EFAULT;
}

int sync(void* ctx, const dmaudit_mapping* mapping, std::uint64_t offset, std::uint64_t length, std::uint32_t direction,
         std::uint32_t phase) noexcept
{
    const std::optional<Direction> way = direction_of(direction);
    if (!complete(mapping) || !way || phase > DMAUDIT_FOR_CPU)
        return DMAUDIT_EINVAL;
    const std::optional<Mapping> known = get(*mapping);
    return known ? at(ctx).sync(*known, offset, length, *way, static_cast<Phase>(phase)).code() : DMAUDIT_EFAULT;
}

int cache(void* ctx, void* cpu, std::uint64_t length, std::uint32_t op) noexcept
{
    if (op < DMAUDIT_FLUSH || op > DMAUDIT_FLUSH_INVALIDATE)
        return DMAUDIT_EINVAL;
    return at(ctx).cache(cpu, length, static_cast<CacheOp>(op)).code();
}

int pool_declare(void* ctx, std::uint32_t device, std::uint64_t phys, std::uint64_t bus, std::uint64_t size,
                 std::uint32_t* exclusive) noexcept
{
    if (exclusive == nullptr)
        return DMAUDIT_ENULL;
    return at(ctx).declare_coherent_memory(device, {phys}, {bus}, size, *exclusive != 0).code();
}

int pool_alloc_from(void* ctx, std::uint32_t device, std::uint64_t size, dmaudit_block* out, int* ours) noexcept
{
    if (!complete(out) || ours == nullptr)
        return DMAUDIT_EINVAL;
    const Routed<Block> block = at(ctx).alloc_from_dev_coherent(device, size);
    *ours = block.ours ? 1 : 0;
    if (block.result)
        put(*block.result, DMAUDIT_ZERO, *out);
    return block.result.code();
}

int pool_release_from(void* ctx, std::uint32_t device, std::uint32_t order, void* cpu, int* ours) noexcept
{
    if (ours == nullptr)
        return DMAUDIT_ENULL;
    const Routed<bool> done = at(ctx).release_from_dev_coherent(device, order, cpu);
    *ours = done.ours ? 1 : 0;
    return done.result.code();
}

int pool_mmap_from(void* ctx, std::uint32_t device, void* cpu, std::uint64_t size, std::uint64_t pgoff,
                   std::uint64_t pages, dmaudit_window* out, int* ours) noexcept
{
    if (!complete(out) || ours == nullptr)
        return DMAUDIT_EINVAL;
    const Routed<Window> window = at(ctx).mmap_from_dev_coherent(device, cpu, size, pgoff, pages);
    *ours = window.ours ? 1 : 0;
    if (window.result) {
        out->phys = window.result->phys.value;
        out->size = window.result->size;
    }
    return window.result.code();
}

int pool_release(void* ctx, std::uint32_t device) noexcept
{
    return at(ctx).release_coherent_memory(device).code();
}

int set_mask(void* ctx, std::uint32_t device, std::uint64_t mask) noexcept
{
    return at(ctx).set_mask(device, mask).code();
}

int set_coherent_mask(void* ctx, std::uint32_t device, std::uint64_t mask) noexcept
{
    return at(ctx).set_coherent_mask(device, mask).code();
}

int set_min_align_mask(void* ctx, std::uint32_t device, std::uint64_t mask) noexcept
{
    return at(ctx).set_min_align_mask(device, mask).code();
}

constexpr dmaudit_coherent kCoherent{
    sizeof(dmaudit_coherent), 0, coherent_alloc, coherent_free, coherent_mmap, noncoherent_alloc, noncoherent_free,
    noncoherent_sync, pages_alloc, pages_free,
};
constexpr dmaudit_streaming kStreaming{sizeof(dmaudit_streaming), 0, map_single, unmap_single, sync, cache};
constexpr dmaudit_pool kPool{sizeof(dmaudit_pool), 0,           pool_declare, pool_alloc_from, pool_release_from,
                             pool_mmap_from,       pool_release};
constexpr dmaudit_parameters kParameters{sizeof(dmaudit_parameters), 0, set_mask, set_coherent_mask,
                                         set_min_align_mask};

int state_hash(void* ctx, std::uint64_t hash[2]) noexcept
{
    StateHash state;
    at(ctx).hash_state(state);
    hash[0] = state.bits()[0];
    hash[1] = state.bits()[1];
    return DMAUDIT_OK;
}

constexpr dmaudit_provider kBuiltin{
    DMAUDIT_ABI,
    sizeof(dmaudit_provider),
    "builtin",
    "the project's own allocator, with every facet: pools, coherent memory, mappings, managed DMA, dma-buf",
    DMAUDIT_PROMISES_ALIGNMENT | DMAUDIT_PROMISES_LIMIT | DMAUDIT_PROMISES_BOUNDARY | DMAUDIT_PROMISES_ZEROING |
        DMAUDIT_PROMISES_NATURAL_ALIGNMENT | DMAUDIT_PROMISES_FIRST_FIT | DMAUDIT_PROMISES_LOWEST_RUN |
        DMAUDIT_PROMISES_BOUNCE | DMAUDIT_PROMISES_EDGE_BOUNCE | DMAUDIT_PROMISES_MAP_SYNC |
        DMAUDIT_PROMISES_KEEP_UNWRITTEN | DMAUDIT_PROMISES_DETECTION | DMAUDIT_PROMISES_THREAD_SAFETY |
        DMAUDIT_PROMISES_NO_KERNEL_MAPPING | DMAUDIT_PROMISES_IOMMU | DMAUDIT_PROMISES_MIN_ALIGN_MASK |
        DMAUDIT_PROMISES_RIGHTS | DMAUDIT_PROMISES_COMPLETE | DMAUDIT_PROMISES_TEARDOWN |
        DMAUDIT_PROMISES_DETECTION_OF_MAPPINGS | DMAUDIT_PROMISES_PROMPT | DMAUDIT_PROMISES_COMPLETE_IOVA,
    open,
    close,
    &kCoherent,
    &kStreaming,
    &kPool,
    &kBuiltinScatter,
    &kBuiltinManaged,
    &kBuiltinDmaBuf,
    &kParameters,
    state_hash,
};

} // namespace

void to_interface(const Block& block, std::uint32_t flags, dmaudit_block& out) noexcept
{
    put(block, flags, out);
}

Block from_interface(const dmaudit_block& from) noexcept
{
    return get(from);
}

const dmaudit_provider& builtin_provider() noexcept
{
    return kBuiltin;
}

} // namespace dmaudit
