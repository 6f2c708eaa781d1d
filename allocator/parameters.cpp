#include "allocator/parameters.hpp"

namespace dmaudit::alloc {

Status Parameters::set(std::uint32_t device, std::uint64_t State::*which, std::uint64_t mask) noexcept
{
    const std::optional<Device> found = platform_.device(device);
    if (!found || device >= known_)
        return DmaError::NoSuchDevice;
    // Nothing is refused that does not narrow the device's reach: it reaches what it reaches.
    bool serves = mask != 0 && mask >= found->limit;
    const std::uint64_t page = platform_.page();
    if (found->iommu)
        serves |= mask >= 2 * page - 1; // page 0 is never given out
    for (std::uint32_t i = 0; i < platform_.arenas() && !serves && !found->iommu; i++) {
        Constraints reach = reach_of(*found);
        reach.limit = mask;
        const PhysRange arena = platform_.arena(i);
        serves = arena.size >= page && reach.within_limit(arena.start, page);
    }
    if (!serves)
        return DmaError::PlatformError;
    const Guard guard(platform_, lock_);
    states_[device].*which = mask;
    return {};
}

Status Parameters::set_min_align_mask(std::uint32_t device, std::uint64_t mask) noexcept
{
    if (!platform_.device(device) || device >= known_)
        return DmaError::NoSuchDevice;
    if ((mask & (mask + 1)) != 0 || mask >= platform_.page())
        return DmaError::BadArgument;
    const Guard guard(platform_, lock_);
    states_[device].min_align_mask = mask;
    return {};
}

std::optional<Device> Parameters::narrowed(std::uint32_t device, std::uint64_t State::*which) noexcept
{
    std::optional<Device> found = platform_.device(device);
    if (!found || device >= known_)
        return found;
    const Guard guard(platform_, lock_);
    const State& state = states_[device];
    if (state.*which < found->limit)
        found->limit = state.*which;
    found->min_align_mask = state.min_align_mask;
    return found;
}

} // namespace dmaudit::alloc
