// The project's own allocator as a provider, named "builtin".
#pragma once

#include "dmaudit/provider.h"

namespace dmaudit {

// One table for the process; it holds no state. Every `open` makes an independent instance.
const dmaudit_provider& builtin_provider() noexcept;

} // namespace dmaudit
