// What a driver says of its device: dma_set_mask, dma_set_coherent_mask, dma_set_min_align_mask.
//
// The masks are inclusive and only ever narrow the device's own limit, of what is allocated or mapped from then on. As in
// Linux the streaming mask rules mappings (scatterlists and attachments too), the coherent mask memory from the arenas;
// a per-device pool is where its client has put it, and no mask is looked at. min_align_mask is 2^n - 1 and less than a
// page: the bits of a buffer's address that its bounce buffer keeps.
//
// A call that fails leaves everything as it was. Thread safe: one lock.
#pragma once

#include <span>

#include "allocator/platform.hpp"
#include "allocator/state_hash.hpp"

namespace dmaudit::alloc {

class Parameters {
  public:
    struct State { // of one device
        std::uint64_t mask, coherent_mask, min_align_mask;
    };

    // `states` has room for every device that the platform has now and outlives this. Of those that come later nothing can
    // be said.
    Parameters(const Platform& platform, State* states) noexcept
        : platform_(platform), states_(states), known_(platform.devices())
    {
        for (std::uint32_t i = 0; i < known_; i++)
            states_[i] = {UINT64_MAX, UINT64_MAX, 0};
    }

    // PlatformError (-EIO): no address would be left under it. NoSuchDevice.
    Status set_mask(std::uint32_t device, std::uint64_t mask) noexcept { return set(device, &State::mask, mask); }
    Status set_coherent_mask(std::uint32_t device, std::uint64_t mask) noexcept
    {
        return set(device, &State::coherent_mask, mask);
    }
    // BadArgument: not 2^n - 1, or a page and more. NoSuchDevice.
    Status set_min_align_mask(std::uint32_t device, std::uint64_t mask) noexcept;

    // The device as it is for mappings, and for memory.
    std::optional<Device> for_mapping(std::uint32_t device) noexcept { return narrowed(device, &State::mask); }
    std::optional<Device> for_memory(std::uint32_t device) noexcept { return narrowed(device, &State::coherent_mask); }

    // See state_hash.hpp.
    void hash_state(StateHash& hash) const noexcept;

  private:
    Status set(std::uint32_t device, std::uint64_t State::*which, std::uint64_t mask) noexcept;
    std::optional<Device> narrowed(std::uint32_t device, std::uint64_t State::*which) noexcept;

    Platform platform_;
    State* states_;
    std::uint32_t known_;
    std::uint64_t lock_ = 0;
};

} // namespace dmaudit::alloc
