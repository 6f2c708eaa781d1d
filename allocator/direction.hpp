// Which way data goes, and which way a sync hands it over.
#pragma once

#include <cstdint>
#include <optional>

#include "dmaudit/provider.h"

namespace dmaudit::alloc {

enum class Direction : std::uint8_t {
    Bidirectional = DMAUDIT_BIDIRECTIONAL,
    ToDevice = DMAUDIT_TO_DEVICE,
    FromDevice = DMAUDIT_FROM_DEVICE
};
enum class Phase : std::uint8_t { ForDevice = DMAUDIT_FOR_DEVICE, ForCpu = DMAUDIT_FOR_CPU };

// The numbers of the C interface, or nothing.
constexpr std::optional<Direction> direction_of(std::uint32_t n) noexcept
{
    return n <= DMAUDIT_FROM_DEVICE ? std::optional(static_cast<Direction>(n)) : std::nullopt;
}
constexpr bool device_reads(Direction d) noexcept
{
    return d != Direction::FromDevice;
}
constexpr bool device_writes(Direction d) noexcept
{
    return d != Direction::ToDevice;
}
// What a device may do through an IOMMU with memory of this direction: DMAUDIT_IOMMU_*.
constexpr std::uint32_t rights_of(Direction d) noexcept
{
    return (device_reads(d) ? DMAUDIT_IOMMU_READ : 0) | (device_writes(d) ? DMAUDIT_IOMMU_WRITE : 0);
}

} // namespace dmaudit::alloc
