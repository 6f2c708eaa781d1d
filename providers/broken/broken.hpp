// Providers that are broken on purpose, each in one way: the tests of the oracles. Each is the built-in provider with
// one call, or one call of its platform, tampered with.
#pragma once
#include "dmaudit/provider.h"

#include <span>

namespace dmaudit {

std::span<const dmaudit_provider* const> broken_providers();

} // namespace dmaudit
