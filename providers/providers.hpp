// The providers that this build knows by name.
#pragma once
#include "dmaudit/provider.h"

#include "providers/plugin/plugin.hpp"

#include <memory>
#include <span>
#include <string_view>

namespace dmaudit {

std::span<const dmaudit_provider* const> all_providers();
const dmaudit_provider* provider_named(std::string_view name); // null: none

bool names_plugin(std::string_view name); // holds a slash or ends in .so

// By name, or from a shared object.
struct Chosen {
    const dmaudit_provider* provider = nullptr; // null: `error` says why, in one line
    std::shared_ptr<const Plugin> plugin;       // of a shared object; the provider lives as long
    std::string error;
};
Chosen choose_provider(const std::string& name);

} // namespace dmaudit
