#include "allocator/pool.hpp"

#include <cstring>

namespace dmaudit::alloc {

Pools::~Pools()
{
    while (Pool* pool = first_) {
        first_ = pool->next;
        if (pool->uncached)
            static_cast<void>(platform_.set_uncached(pool->range.start, pool->range.size, false));
        platform_.meta_free(pool);
    }
}

Pools::Pool* Pools::find(const Device& device) noexcept
{
    for (Pool* pool = first_; pool != nullptr; pool = pool->next)
        if (pool->device == device.index)
            return pool;
    return nullptr;
}

bool Pools::has_pool(const Device& device) noexcept
{
    const Guard guard(platform_, lock_);
    return find(device) != nullptr;
}

Status Pools::declare(const Device& device, PhysAddr phys, DmaAddr bus, std::uint64_t size, bool exclusive) noexcept
{
    const std::uint64_t page = platform_.page();
    const PhysRange range{phys, size};
    if (device.iommu || size == 0 || !aligned(size | phys.value | bus.value, page) || bus != device.bus_of(phys) ||
        size - 1 > UINT64_MAX - bus.value)
        return DmaError::BadArgument;
    std::byte* cpu = platform_.cpu_of(range);
    if (cpu == nullptr || arenas_.overlaps(range))
        return DmaError::BadArgument;

    // One piece of metadata: the pool, its bitmap's storage, a record for each page.
    const std::uint64_t pages = size / page;
    const std::size_t bitmap_bytes = (Bitmap::storage_bytes(pages) + 7) & ~std::size_t{7};
    MetaMemory memory = meta_memory(platform_, sizeof(Pool) + bitmap_bytes + pages * sizeof(Live));
    if (memory == nullptr)
        return DmaError::NoMemory;
    auto* pool = ::new (memory.get()) Pool;
    auto* tail = reinterpret_cast<std::byte*>(pool + 1);
    pool->device = device.index;
    pool->exclusive = exclusive;
    pool->uncached = !device.coherent;
    pool->range = range;
    pool->bus = bus;
    pool->cpu = cpu;
    pool->live = reinterpret_cast<Live*>(tail + bitmap_bytes);
    pool->bitmap.attach(pages, tail);

    const Guard guard(platform_, lock_);
    for (const Pool* other = first_; other != nullptr; other = other->next)
        if (other->device == device.index || other->range.overlaps(range))
            return DmaError::Busy;
    if (pool->uncached) {
        // No line may be dirty when its page becomes uncached: it could be written back over the device's data later.
        platform_.clean(phys, size);
        if (Status status = platform_.set_uncached(phys, size, true); !status)
            return status;
    }
    pool->next = first_;
    first_ = static_cast<Pool*>(memory.release());
    return {};
}

Status Pools::release(const Device& device) noexcept
{
    Pool* gone = nullptr;
    {
        const Guard guard(platform_, lock_);
        Pool** link = &first_;
        while (*link != nullptr && (*link)->device != device.index)
            link = &(*link)->next;
        if (*link == nullptr)
            return {};
        gone = *link;
        if (gone->uncached)
            if (Status status = platform_.set_uncached(gone->range.start, gone->range.size, false); !status)
                return status;
        *link = gone->next;
    }
    platform_.meta_free(gone);
    return {};
}

// The lowest free run that the constraints admit, or Bitmap::kNone.
std::uint64_t Pools::place(Pool& pool, std::uint64_t size, unsigned order, const Constraints& constraints) noexcept
{
    const unsigned shift = platform_.page_shift();
    const std::uint64_t lowest = pool.bitmap.find(order);
    if (lowest == Bitmap::kNone || constraints.admits(pool.range.start.at(lowest << shift), size))
        return lowest;
    const std::uint64_t run = std::uint64_t{1} << order;
    for (std::uint64_t at = lowest + run; run <= pool.bitmap.pages() && at <= pool.bitmap.pages() - run; at += run)
        if (constraints.admits(pool.range.start.at(at << shift), size) && pool.bitmap.is_free(at, run))
            return at;
    return Bitmap::kNone;
}

DmaError Pools::why_not(Pool& pool, std::uint64_t size, unsigned order, const Constraints& constraints) noexcept
{
    return why_no_place(constraints,
                        [&](const Constraints& c) { return place(pool, size, order, c) != Bitmap::kNone; });
}

Routed<PoolBlock> Pools::alloc(const Device& device, std::uint64_t size, const Constraints& constraints,
                               Zeroing zeroing) noexcept
{
    const unsigned shift = platform_.page_shift();
    const unsigned order = size == 0 ? 0 : order_of(size, shift);
    PoolBlock block;
    {
        const Guard guard(platform_, lock_);
        Pool* pool = find(device);
        if (pool == nullptr)
            return Routed<PoolBlock>::not_ours();
        if (size == 0)
            return {true, DmaError::BadArgument};
        const std::uint64_t page = place(*pool, size, order, constraints);
        if (page == Bitmap::kNone)
            return {pool->exclusive, why_not(*pool, size, order, constraints)};
        pool->bitmap.take(page, order);
        pool->live[page] = {size, ++serial_};
        const std::uint64_t offset = page << shift;
        block = {pool->cpu + offset, {pool->bus.value + offset}, platform_.page() << order, serial_};
    }
    // Outside the lock: the block is nobody's but the caller's now. The tail too: a window shows whole pages.
    if (zeroing == Zeroing::Yes)
        std::memset(block.cpu, 0, block.granted);
    return {true, block};
}

// Byte offset of `cpu` in the pool; false if it lies outside.
bool Pools::page_of(const Pool& pool, const void* cpu, std::uint64_t& offset) const noexcept
{
    offset = reinterpret_cast<std::uintptr_t>(cpu) - reinterpret_cast<std::uintptr_t>(pool.cpu);
    return reinterpret_cast<std::uintptr_t>(cpu) >= reinterpret_cast<std::uintptr_t>(pool.cpu) &&
           offset < pool.range.size;
}

// Does the live block of `size` bytes with that serial begin at byte `offset`? The lock is held.
bool Pools::known(const Pool& pool, std::uint64_t offset, DmaAddr bus, std::uint64_t size,
                  std::uint64_t serial) const noexcept
{
    const std::uint64_t page = offset >> platform_.page_shift();
    return aligned(offset, platform_.page()) && size != 0 && bus.value == pool.bus.value + offset &&
           pool.bitmap.order_at(page) >= 0 && pool.live[page].size == size && pool.live[page].serial == serial;
}

Routed<bool> Pools::release_block(const Device& device, unsigned order, const void* cpu) noexcept
{
    const Guard guard(platform_, lock_);
    Pool* pool = find(device);
    std::uint64_t offset;
    if (pool == nullptr || !page_of(*pool, cpu, offset))
        return Routed<bool>::not_ours();
    if (!aligned(offset, platform_.page()) || !pool->bitmap.release(offset >> platform_.page_shift(), order))
        return {true, DmaError::IllegalCall};
    return {true, true};
}

Routed<bool> Pools::free(const Device& device, const void* cpu, DmaAddr bus, std::uint64_t size,
                         std::uint64_t serial) noexcept
{
    const Guard guard(platform_, lock_);
    Pool* pool = find(device);
    std::uint64_t offset;
    if (pool == nullptr || !page_of(*pool, cpu, offset))
        return Routed<bool>::not_ours();
    const unsigned shift = platform_.page_shift();
    if (!known(*pool, offset, bus, size, serial) || !pool->bitmap.release(offset >> shift, order_of(size, shift)))
        return {true, DmaError::IllegalCall};
    return {true, true};
}

Routed<Window> Pools::window(const Device& device, const void* cpu, DmaAddr bus, std::uint64_t size,
                             std::uint64_t serial, std::uint64_t pgoff, std::uint64_t pages) noexcept
{
    const unsigned shift = platform_.page_shift();
    const Guard guard(platform_, lock_);
    Pool* pool = find(device);
    std::uint64_t offset;
    if (pool == nullptr || !page_of(*pool, cpu, offset))
        return Routed<Window>::not_ours();
    if (!known(*pool, offset, bus, size, serial))
        return {true, DmaError::IllegalCall};
    const Result<Window> window = window_of({pool->range.start.at(offset), size}, shift, pgoff, pages);
    return window ? Routed<Window>{true, *window} : Routed<Window>{true, window.error()};
}

std::optional<PhysRange> Pools::where(const Device& device, const void* cpu, DmaAddr bus, std::uint64_t size,
                                      std::uint64_t serial, bool& uncached) noexcept
{
    const Guard guard(platform_, lock_);
    const Pool* pool = find(device);
    std::uint64_t offset;
    if (pool == nullptr || !page_of(*pool, cpu, offset) || !known(*pool, offset, bus, size, serial))
        return std::nullopt;
    uncached = pool->uncached;
    return PhysRange{pool->range.start.at(offset), size};
}

Routed<Window> Pools::mmap(const Device& device, const void* cpu, std::uint64_t size, std::uint64_t pgoff,
                           std::uint64_t pages) noexcept
{
    const unsigned shift = platform_.page_shift();
    const Guard guard(platform_, lock_);
    Pool* pool = find(device);
    std::uint64_t offset;
    if (pool == nullptr || !page_of(*pool, cpu, offset) || size > pool->range.size - offset)
        return Routed<Window>::not_ours();
    const std::uint64_t start = offset >> shift;
    const std::uint64_t block = pool->bitmap.block_of(start);
    if (block == Bitmap::kNone)
        return {true, DmaError::IllegalCall};
    // Pages that the caller's bytes need and, whatever the caller says, those of the block from `start` on.
    const std::uint64_t claimed = size == 0 ? 0 : ((size - 1) >> shift) + 1;
    const std::uint64_t owned = ((pool->live[block].size - 1) >> shift) + 1;
    if (start - block >= owned || claimed > owned - (start - block))
        return {true, DmaError::OutOfWindow};
    if (pages == 0 || pgoff >= claimed || pages > claimed - pgoff)
        return {true, DmaError::OutOfWindow};
    return {true, Window{pool->range.start.at((start + pgoff) << shift), pages << shift}};
}

} // namespace dmaudit::alloc
