#include "providers/builtin/builtin_tables.hpp"

namespace dmaudit {
namespace {

using namespace alloc;

Allocator& at(void* ctx)
{
    return *static_cast<Allocator*>(ctx);
}

// Nothing, if the direction is none: such a list cannot be mapped.
std::optional<ScatterMapping> get(const dmaudit_sg& from)
{
    const std::optional<Direction> direction = direction_of(from.direction);
    if (!direction)
        return std::nullopt;
    return ScatterMapping{from.device,
                          *direction,
                          {from.entries, from.n_entries},
                          from.n_segments,
                          {static_cast<std::uint32_t>(from.cookie[0]), static_cast<std::uint32_t>(from.cookie[1])}};
}

// The device is named twice, the direction in the list only.
int map_sg(void* ctx, const dmaudit_request* request, dmaudit_sg* sg) noexcept
{
    if (!is_complete(request) || !is_complete(sg) || sg->device != request->device)
        return DMAUDIT_EINVAL;
    const std::optional<Direction> way = direction_of(sg->direction);
    if (!way)
        return DMAUDIT_EINVAL;
    const Result<ScatterMapping> list = at(ctx).map_sg(*request, {sg->entries, sg->n_entries}, sg->segments, *way);
    if (!list)
        return list.code();
    sg->n_segments = list->n_segments;
    sg->attrs = request->attrs;
    sg->cookie[0] = list->handle.index;
    sg->cookie[1] = list->handle.generation;
    return DMAUDIT_OK;
}

int unmap_sg(void* ctx, const dmaudit_sg* sg, std::uint32_t n_entries, std::uint32_t attrs) noexcept
{
    if (!is_complete(sg))
        return DMAUDIT_EINVAL;
    const std::optional<ScatterMapping> list = get(*sg);
    return list ? at(ctx).unmap_sg(*list, n_entries, attrs).code() : DMAUDIT_EFAULT;
}

int sync_sg(void* ctx, const dmaudit_sg* sg, std::uint32_t n_entries, std::uint32_t direction,
            std::uint32_t phase) noexcept
{
    const std::optional<Direction> way = direction_of(direction);
    if (!is_complete(sg) || !way || phase > DMAUDIT_FOR_CPU)
        return DMAUDIT_EINVAL;
    const std::optional<ScatterMapping> list = get(*sg);
    return list ? at(ctx).sync_sg(*list, n_entries, *way, static_cast<Phase>(phase)).code() : DMAUDIT_EFAULT;
}

Allocator::SgTable table_of(const dmaudit_sg& from)
{
    return {from.entries,
            from.n_entries,
            from.segments,
            from.n_segments,
            {static_cast<std::uint32_t>(from.cookie[0]), static_cast<std::uint32_t>(from.cookie[1])}};
}

int map_sgtable(void* ctx, const dmaudit_request* request, dmaudit_sg* sg) noexcept
{
    if (!is_complete(request) || !is_complete(sg) || sg->device != request->device)
        return DMAUDIT_EINVAL;
    const std::optional<Direction> way = direction_of(sg->direction);
    if (!way)
        return DMAUDIT_EINVAL;
    Allocator::SgTable table = table_of(*sg);
    const Status mapped = at(ctx).map_sgtable(*request, table, *way);
    if (!mapped)
        return mapped.code();
    sg->n_segments = table.n_segments;
    sg->attrs = request->attrs;
    sg->cookie[0] = table.handle.index;
    sg->cookie[1] = table.handle.generation;
    return DMAUDIT_OK;
}

int unmap_sgtable(void* ctx, const dmaudit_sg* sg, std::uint32_t attrs) noexcept
{
    if (!is_complete(sg))
        return DMAUDIT_EINVAL;
    const std::optional<Direction> way = direction_of(sg->direction);
    return way ? at(ctx).unmap_sgtable(sg->device, table_of(*sg), *way, attrs).code() : DMAUDIT_EFAULT;
}

int sync_sgtable(void* ctx, const dmaudit_sg* sg, std::uint32_t direction, std::uint32_t phase) noexcept
{
    const std::optional<Direction> part = direction_of(direction);
    if (!is_complete(sg) || !part || phase > DMAUDIT_FOR_CPU)
        return DMAUDIT_EINVAL;
    const std::optional<Direction> way = direction_of(sg->direction);
    if (!way)
        return DMAUDIT_EFAULT;
    return at(ctx).sync_sgtable(sg->device, table_of(*sg), *way, *part, static_cast<Phase>(phase)).code();
}

} // namespace

constexpr dmaudit_scatter kBuiltinScatter{sizeof(dmaudit_scatter), 0, map_sg, unmap_sg, sync_sg,
                                          map_sgtable, unmap_sgtable, sync_sgtable};

} // namespace dmaudit
