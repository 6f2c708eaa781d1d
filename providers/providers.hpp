// The providers that this build knows by name.
#pragma once
#include "dmaudit/provider.h"

#include <span>
#include <string_view>

namespace dmaudit {

std::span<const dmaudit_provider* const> all_providers();
const dmaudit_provider* provider_named(std::string_view name); // null: none

} // namespace dmaudit
