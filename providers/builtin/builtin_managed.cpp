#include "providers/builtin/builtin_tables.hpp"

namespace dmaudit {
namespace {

using namespace alloc;

Managed& at(void* ctx)
{
    return static_cast<Allocator*>(ctx)->managed();
}

int give(const Result<Block>& block, std::uint32_t flags, dmaudit_block& out)
{
    if (block)
        to_interface(*block, flags, out);
    return block.code();
}

int bind(void* ctx, std::uint32_t device) noexcept
{
    return at(ctx).bind(device).code();
}

int unbind(void* ctx, std::uint32_t device) noexcept
{
    return at(ctx).unbind(device).code();
}

int managed_alloc(void* ctx, const dmaudit_request* request, dmaudit_block* out) noexcept
{
    if (!is_complete(request) || !is_complete(out))
        return DMAUDIT_EINVAL;
    return give(at(ctx).alloc(*request), request->flags, *out);
}

int managed_free(void* ctx, const dmaudit_block* block) noexcept
{
    return is_complete(block) ? at(ctx).free(from_interface(*block)).code() : DMAUDIT_EINVAL;
}

int alloc_noncoherent(void* ctx, const dmaudit_request* request, std::uint32_t direction, dmaudit_block* out) noexcept
{
    const std::optional<Direction> way = direction_of(direction);
    if (!is_complete(request) || !is_complete(out) || !way)
        return DMAUDIT_EINVAL;
    return give(at(ctx).alloc_noncoherent(*request, *way), request->flags, *out);
}

// No block is alive in a direction that does not exist.
int free_noncoherent(void* ctx, const dmaudit_block* block, std::uint32_t direction) noexcept
{
    if (!is_complete(block))
        return DMAUDIT_EINVAL;
    const std::optional<Direction> way = direction_of(direction);
    return way ? at(ctx).free_noncoherent(from_interface(*block), *way).code() : DMAUDIT_EFAULT;
}

int declare(void* ctx, std::uint32_t device, std::uint64_t phys, std::uint64_t bus, std::uint64_t size,
            std::uint32_t* exclusive) noexcept
{
    if (exclusive == nullptr)
        return DMAUDIT_ENULL;
    return at(ctx).declare_coherent_memory(device, {phys}, {bus}, size, *exclusive != 0).code();
}

int release_declared(void* ctx, std::uint32_t device) noexcept
{
    return at(ctx).release_declared_memory(device).code();
}

int add_action(void* ctx, std::uint32_t device, void (*action)(void* data), void* data) noexcept
{
    return at(ctx).add_action(device, action, data).code();
}

int open_group(void* ctx, std::uint32_t device, std::uint64_t id) noexcept
{
    return at(ctx).open_group(device, id).code();
}

int release_group(void* ctx, std::uint32_t device, std::uint64_t id) noexcept
{
    return at(ctx).release_group(device, id).code();
}

} // namespace

constexpr dmaudit_managed kBuiltinManaged{sizeof(dmaudit_managed),
                                          0,
                                          bind,
                                          unbind,
                                          managed_alloc,
                                          managed_free,
                                          alloc_noncoherent,
                                          free_noncoherent,
                                          declare,
                                          release_declared,
                                          add_action,
                                          open_group,
                                          release_group};

} // namespace dmaudit
