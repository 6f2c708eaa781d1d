#include "harness/state_key.hpp"

namespace dmaudit {

std::optional<StateKey> state_key(const Run&, Session&)
{
    return {};
}

} // namespace dmaudit
