#include "allocator/iommu.hpp"

#include "allocator/arenas.hpp"

namespace dmaudit::alloc {
namespace {

// Calls piece(first page, order) for the pieces that make up `pages` pages from `first` on, largest first, until it
// returns false.
template <class F> bool each_piece(std::uint64_t first, std::uint64_t pages, F&& piece)
{
    while (pages != 0) {
        const auto order = static_cast<unsigned>(std::bit_width(pages)) - 1;
        if (!piece(first, order))
            return false;
        first += std::uint64_t{1} << order;
        pages -= std::uint64_t{1} << order;
    }
    return true;
}

} // namespace

void Iommu::close() noexcept
{
    while (Space* space = first_) {
        first_ = space->next;
        for (std::uint64_t at = 0; at < space->bitmap.pages(); at++)
            if (const int order = space->bitmap.order_at(at); order >= 0)
                static_cast<void>(
                    platform_.iommu_unmap(space->device, {at << platform_.page_shift()}, platform_.page() << order));
        platform_.iommu_flush(space->device);
        platform_.meta_free(space);
    }
}

Iommu::Wish Iommu::wish_for(std::uint64_t address, std::uint64_t size) const noexcept
{
    const std::uint64_t offset = address & (platform_.page() - 1);
    return {offset, size, ((offset + size - 1) >> platform_.page_shift()) + 1};
}

Iommu::Space* Iommu::find(std::uint32_t device) noexcept
{
    Space* space = first_;
    while (space != nullptr && space->device != device)
        space = space->next;
    return space;
}

// The device's space, made now if need be; null without metadata. The lock is held.
Iommu::Space* Iommu::space_of(std::uint32_t device) noexcept
{
    if (Space* known = find(device))
        return known;
    const std::uint64_t pages = 1 + 2 * (platform_.ram() >> platform_.page_shift());
    void* memory = platform_.meta_alloc(sizeof(Space) + Bitmap::storage_bytes(pages));
    if (memory == nullptr)
        return nullptr;
    auto* space = ::new (memory) Space;
    space->device = device;
    space->bitmap.attach(pages, space + 1);
    space->bitmap.reserve(0, 1);
    space->next = first_;
    first_ = space;
    return space;
}

// First page of the lowest run that will do, or Bitmap::kNone.
std::uint64_t Iommu::place(Space& space, const Wish& wish, const Constraints& constraints) noexcept
{
    const unsigned shift = platform_.page_shift();
    const std::uint64_t pages = space.bitmap.pages();
    const std::uint64_t lowest = space.bitmap.find(0);
    if (lowest == Bitmap::kNone || wish.pages > pages)
        return Bitmap::kNone;
    const std::uint64_t step = constraints.align >> shift > 1 ? constraints.align >> shift : 1;
    for (std::uint64_t at = (lowest + step - 1) & ~(step - 1); at <= pages - wish.pages; at += step)
        if (constraints.admits({(at << shift) + wish.offset}, wish.size) && space.bitmap.is_free(at, wish.pages))
            return at;
    return Bitmap::kNone;
}

Result<DmaAddr> Iommu::map(const Device& device, PhysAddr phys, std::uint64_t size, std::uint32_t rights,
                           const Constraints& constraints) noexcept
{
    const std::uint64_t page = platform_.page();
    const unsigned shift = platform_.page_shift();
    // A translation is whole pages, all of them within the device's limit.
    Constraints whole = constraints;
    if (const std::uint64_t last = ((device.limit + 1) & ~(page - 1)) - 1; last < whole.limit)
        whole.limit = last;

    const Wish wish = wish_for(phys.value, size);
    std::uint64_t first;
    {
        const Guard guard(platform_, lock_);
        Space* space = space_of(device.index);
        if (space == nullptr)
            return DmaError::NoMemory;
        first = place(*space, wish, whole);
        if (first == Bitmap::kNone)
            return why_no_place(whole, [&](const Constraints& c) { return place(*space, wish, c) != Bitmap::kNone; });
        each_piece(first, wish.pages, [&](std::uint64_t at, unsigned order) {
            space->bitmap.take(at, order);
            return true;
        });
    }
    const Status mapped =
        platform_.iommu_map(device.index, {first << shift}, {phys.value - wish.offset}, wish.pages << shift, rights);
    if (!mapped) {
        give_back(device.index, first, wish.pages);
        return mapped.error();
    }
    return DmaAddr{(first << shift) + wish.offset};
}

Status Iommu::unmap(std::uint32_t device, DmaAddr bus, std::uint64_t size) noexcept
{
    const unsigned shift = platform_.page_shift();
    const Wish wish = wish_for(bus.value, size);
    const std::uint64_t first = bus.value >> shift;
    {
        const Guard guard(platform_, lock_);
        const Space* space = find(device);
        if (space == nullptr || !holds(*space, first, wish.pages))
            return DmaError::IllegalCall;
    }
    if (const Status unmapped = platform_.iommu_unmap(device, {first << shift}, wish.pages << shift); !unmapped)
        return unmapped;
    platform_.iommu_flush(device);
    give_back(device, first, wish.pages);
    return {};
}

bool Iommu::holds(const Space& space, std::uint64_t first, std::uint64_t pages) const noexcept
{
    return each_piece(first, pages, [&](std::uint64_t at, unsigned order) {
        return space.bitmap.order_at(at) == static_cast<int>(order);
    });
}

void Iommu::give_back(std::uint32_t device, std::uint64_t first, std::uint64_t pages) noexcept
{
    const Guard guard(platform_, lock_);
    Space* space = find(device);
    each_piece(first, pages, [&](std::uint64_t at, unsigned order) { return space->bitmap.release(at, order); });
}

} // namespace dmaudit::alloc
