// A hash of what an instance will do from now on, for exhaustive search: two instances with the same hash answer every
// sequence of legal calls alike, but for the names that they give to things.
//
// So what is hashed is which pages and slots are free, what lives and with which properties, how much metadata is still
// at hand, and orders where an order decides something. Not hashed are names: handles, generations, serial numbers,
// addresses of metadata. A record and who refers to it are tied together by content: records of equal content are
// interchangeable. Costs time in proportion to the memory managed.
#pragma once

#include <cstdint>

#include "dmaudit/provider.h"

namespace dmaudit::alloc {

class StateHash {
  public:
    void add(std::uint64_t word) noexcept { dmaudit_hash_add(bits_, word); }
    const std::uint64_t (&bits() const noexcept)[2] { return bits_; }

  private:
    std::uint64_t bits_[2] = {0x243f6a8885a308d3, 0x13198a2e03707344};
};

// Elements in no order: their hashes are summed up.
class SetHash {
  public:
    void add(const StateHash& element) noexcept
    {
        sum_[0] += element.bits()[0];
        sum_[1] += element.bits()[1];
        n_++;
    }
    void into(StateHash& hash) const noexcept
    {
        hash.add(n_);
        hash.add(sum_[0]);
        hash.add(sum_[1]);
    }

  private:
    std::uint64_t sum_[2] = {0, 0}, n_ = 0;
};

} // namespace dmaudit::alloc
