#include "allocator/allocator.hpp"

#include <new>

namespace dmaudit::alloc {
namespace {

Block block_of(const Device& device, std::uint64_t size, std::uint32_t attrs, const PoolBlock& from)
{
    return {{device.index, attrs, from.cpu, from.bus, size}, from.granted, true, {}, from.serial};
}

BlockKey key_of(const Block& block)
{
    return {block.block.device, block.pooled, block.pooled ? Handle{} : block.handle, block.pooled ? block.serial : 0};
}

} // namespace

Allocator::Allocator(const dmaudit_platform& platform, Arenas::State* arena_states,
                     Parameters::State* device_states) noexcept
    : platform_(platform), parameters_(platform_, device_states), arenas_(platform_, arena_states), iommu_(platform_), pools_(platform_, arenas_),
      coherent_(platform_, arenas_, iommu_), streaming_(platform_, arenas_, iommu_), scatter_(platform_, streaming_),
      managed_(platform_, *this), exporters_(platform_, arenas_, iommu_, streaming_), dma_bufs_(platform_, &parameters_)
{
}

// One piece of metadata for the instance, its arenas and devices; nothing else is taken until it is used.
Result<Allocator::Owner> Allocator::open(const dmaudit_platform& platform) noexcept
{
    if (platform.abi != DMAUDIT_ABI || platform.struct_size < offsetof(dmaudit_platform, has_iommu) ||
        !power_of_two(platform.page) || !power_of_two(platform.line))
        return DmaError::BadArgument;
    const std::size_t bytes = sizeof(Allocator) + platform.n_arenas * sizeof(Arenas::State) +
                              platform.n_devices * sizeof(Parameters::State);
    void* memory = platform.meta_alloc(platform.self, bytes);
    if (memory == nullptr)
        return DmaError::NoMemory;
    static_assert(sizeof(Allocator) % alignof(Arenas::State) == 0);
    auto* states = reinterpret_cast<Arenas::State*>(static_cast<std::byte*>(memory) + sizeof(Allocator));
    std::uninitialized_default_construct_n(states, platform.n_arenas);
    static_assert(sizeof(Arenas::State) % alignof(Parameters::State) == 0);
    auto* devices = reinterpret_cast<Parameters::State*>(states + platform.n_arenas);
    std::uninitialized_default_construct_n(devices, platform.n_devices);
    return Owner(::new (memory) Allocator(platform, states, devices));
}

void Allocator::close() noexcept
{
    const Platform platform = platform_;
    iommu_.close(); // before any page that a device reaches becomes cached again
    this->~Allocator();
    platform.meta_free(this);
}

Result<Block> Allocator::alloc_coherent(const dmaudit_request& request) noexcept
{
    if (request.size == 0 && opaque(request.attrs))
        return DmaError::BadArgument;
    const std::optional<Device> device = platform_.device(request.device);
    if (!device)
        return DmaError::NoSuchDevice;
    if (request.size == 0)
        return DmaError::ZeroSizedBuffer;
    if (const Status layout = check_layout(request.size, request.align, request.boundary); !layout)
        return layout.error();
    if (!opaque(request.attrs)) // no mask rules what a client has put into a pool
        if (const Routed<PoolBlock> pooled = pools_.alloc(*device, request.size, constraints_of(*device, request));
            pooled.ours) {
            if (!pooled.result)
                return pooled.result.error();
            return block_of(*device, request.size, request.attrs, *pooled.result);
        }
    const Device narrowed = *parameters_.for_memory(request.device);
    const Result<CoherentGrant> grant = coherent_.alloc(narrowed, request.size, constraints_of(narrowed, request),
                                                        (request.flags & DMAUDIT_ZERO) != 0, request.attrs);
    if (!grant)
        return grant.error();
    return Block{grant->block, grant->granted, false, grant->handle, 0};
}

Status Allocator::free_coherent(const Block& block) noexcept
{
    const std::optional<Device> device = platform_.device(block.block.device);
    if (!device)
        return DmaError::IllegalCall;
    if (exporters_.exported(key_of(block)))
        return place_of(block) ? DmaError::Busy : DmaError::IllegalCall;
    if (!block.pooled)
        return coherent_.free(block.block, block.handle);
    const Routed<bool> pooled = pools_.free(*device, block.block.cpu, block.block.bus, block.block.size, block.serial);
    return pooled.ours && pooled.result ? Status() : Status(DmaError::IllegalCall);
}

Result<Window> Allocator::mmap_coherent(const Block& block, std::uint64_t pgoff, std::uint64_t pages) noexcept
{
    const std::optional<Device> device = platform_.device(block.block.device);
    if (!device)
        return DmaError::IllegalCall;
    if (!block.pooled)
        return coherent_.mmap(block.block, block.handle, pgoff, pages);
    const Routed<Window> pooled =
        pools_.window(*device, block.block.cpu, block.block.bus, block.block.size, block.serial, pgoff, pages);
    return pooled.ours ? pooled.result : Result<Window>(DmaError::IllegalCall);
}

Result<Block> Allocator::alloc_noncoherent(const dmaudit_request& request, Direction direction) noexcept
{
    const std::optional<Device> device = parameters_.for_memory(request.device);
    if (!device)
        return DmaError::NoSuchDevice;
    if (request.size == 0)
        return DmaError::ZeroSizedBuffer;
    if (const Status layout = check_layout(request.size, request.align, request.boundary); !layout)
        return layout.error();
    const Result<CoherentGrant> grant =
        coherent_.alloc_noncoherent(*device, request.size, constraints_of(*device, request), request.attrs, direction);
    if (!grant)
        return grant.error();
    return Block{grant->block, grant->granted, false, grant->handle, 0};
}

Result<Block> Allocator::alloc_pages(const dmaudit_request& request, Direction direction) noexcept
{
    if (!aligned(request.size, platform_.page()))
        return DmaError::BadArgument;
    return alloc_noncoherent(request, direction);
}

Status Allocator::free_noncoherent(const Block& block, Direction direction) noexcept
{
    return block.pooled ? Status(DmaError::IllegalCall)
                        : coherent_.free_noncoherent(block.block, block.handle, direction);
}

Status Allocator::sync_noncoherent(const Block& block, std::uint64_t offset, std::uint64_t length, Direction direction,
                                   Phase phase) noexcept
{
    return block.pooled ? Status(DmaError::IllegalCall)
                        : coherent_.sync_noncoherent(block.block, block.handle, offset, length, direction, phase);
}

Result<Mapping> Allocator::map_single(const dmaudit_request& request, void* cpu, Direction direction) noexcept
{
    const std::optional<Device> device = parameters_.for_mapping(request.device);
    if (!device)
        return DmaError::NoSuchDevice;
    if (cpu == nullptr)
        return DmaError::NullPointer;
    if (request.size == 0)
        return DmaError::ZeroSizedBuffer;
    if (const Status layout = check_layout(request.size, request.align, request.boundary); !layout)
        return layout.error();
    return streaming_.map(*device, static_cast<std::byte*>(cpu), request.size, direction,
                          constraints_of(*device, request), (request.attrs & DMAUDIT_ATTR_SKIP_CPU_SYNC) != 0);
}

Result<ScatterMapping> Allocator::map_sg(const dmaudit_request& request, std::span<const dmaudit_sg_entry> entries,
                                         dmaudit_sg_segment* segments, Direction direction) noexcept
{
    const std::optional<Device> device = parameters_.for_mapping(request.device);
    if (!device)
        return DmaError::NoSuchDevice;
    if (entries.empty() || entries.size() > UINT32_MAX)
        return DmaError::BadArgument;
    if (entries.data() == nullptr || segments == nullptr)
        return DmaError::NullPointer;
    if (const Status layout = check_layout(1, 0, request.boundary); !layout)
        return layout.error();
    Constraints constraints = constraints_of(*device, request);
    constraints.align = 1;
    return scatter_.map(*device, entries, {segments, entries.size()}, direction, constraints, request.size,
                        (request.attrs & DMAUDIT_ATTR_SKIP_CPU_SYNC) != 0);
}

Status Allocator::map_sgtable(const dmaudit_request& request, SgTable& sgt, Direction direction) noexcept
{
    const Result<ScatterMapping> list = map_sg(request, {sgt.entries, sgt.n_entries}, sgt.segments, direction);
    if (list) {
        sgt.n_segments = list->n_segments;
        sgt.handle = list->handle;
        return {};
    }
    switch (list.error()) {
    case DmaError::NoMemory:
        return DmaError::NoMemory;
    case DmaError::NoSuchDevice:
    case DmaError::BadArgument:
    case DmaError::NullPointer:
    case DmaError::LayoutError:
        return DmaError::BadArgument;
    default:
        return DmaError::PlatformError;
    }
}

Status Allocator::cache(const void* cpu, std::uint64_t length, CacheOp op) noexcept
{
    if (cpu == nullptr)
        return DmaError::NullPointer;
    return streaming_.cache(cpu, length, op);
}

Status Allocator::declare_coherent_memory(std::uint32_t device, PhysAddr phys, DmaAddr bus, std::uint64_t size,
                                          bool exclusive) noexcept
{
    const std::optional<Device> found = platform_.device(device);
    return found ? pools_.declare(*found, phys, bus, size, exclusive) : Status(DmaError::NoSuchDevice);
}

Routed<Block> Allocator::alloc_from_dev_coherent(std::uint32_t device, std::uint64_t size,
                                                 Pools::Zeroing zeroing) noexcept
{
    const std::optional<Device> found = platform_.device(device);
    if (!found)
        return {true, DmaError::NoSuchDevice};
    const Routed<PoolBlock> pooled = pools_.alloc(*found, size, reach_of(*found), zeroing);
    if (!pooled.result)
        return {pooled.ours, pooled.result.error()};
    return {true, block_of(*found, size, 0, *pooled.result)};
}

Routed<bool> Allocator::release_from_dev_coherent(std::uint32_t device, unsigned order, const void* cpu) noexcept
{
    const std::optional<Device> found = platform_.device(device);
    if (!found)
        return {true, DmaError::NoSuchDevice};
    if (const std::optional<PhysAddr> phys = platform_.phys_of(cpu, 1);
        phys && exporters_.exported_from_pool(device, *phys, order))
        return {true, DmaError::Busy};
    return pools_.release_block(*found, order, cpu);
}

Routed<Window> Allocator::mmap_from_dev_coherent(std::uint32_t device, const void* cpu, std::uint64_t size,
                                                 std::uint64_t pgoff, std::uint64_t pages) noexcept
{
    const std::optional<Device> found = platform_.device(device);
    return found ? pools_.mmap(*found, cpu, size, pgoff, pages) : Routed<Window>{true, DmaError::NoSuchDevice};
}

Status Allocator::release_coherent_memory(std::uint32_t device) noexcept
{
    const std::optional<Device> found = platform_.device(device);
    if (!found)
        return DmaError::NoSuchDevice;
    if (exporters_.exported_from_pool(device))
        return DmaError::Busy;
    return pools_.release(*found);
}

// Where a live block lies; nothing, if it is none.
std::optional<BlockPlace> Allocator::place_of(const Block& block) noexcept
{
    const CoherentBlock& b = block.block;
    const std::optional<Device> device = platform_.device(b.device);
    if (!device)
        return std::nullopt;
    bool uncached = false;
    const std::optional<PhysRange> range = block.pooled
                                               ? pools_.where(*device, b.cpu, b.bus, b.size, block.serial, uncached)
                                               : coherent_.where(b, block.handle, uncached);
    return range ? std::optional(BlockPlace{*range, b.cpu, uncached}) : std::nullopt;
}

Result<DmaBufId> Allocator::export_block(const Block& block, const char* name) noexcept
{
    const std::optional<BlockPlace> place = place_of(block);
    if (!place)
        return DmaError::IllegalCall;
    return exporters_.export_block(dma_bufs_, key_of(block), *place, name);
}

} // namespace dmaudit::alloc
