// The state of a running case as a number, so that a search knows where it has been.
#pragma once
#include "harness/run.hpp"

#include <array>

namespace dmaudit {

struct StateKey {
    std::array<uint64_t, 2> bits{};
    friend bool operator==(const StateKey&, const StateKey&) = default;
};

// Nothing: the provider does not offer a hash of its state.
std::optional<StateKey> state_key(const Run&, Session&);

} // namespace dmaudit
