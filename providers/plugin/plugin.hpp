// SPDX-License-Identifier: MIT
//
// Providers from shared objects.
#pragma once

#include <dmaudit/provider.h>

#include <memory>
#include <string>
#include <variant>

namespace dmaudit {

// A shared object that exports a provider. It stays loaded as long as the Plugin lives; the provider's tables and code
// are gone with it, so instances must be closed before. Move-only.
class Plugin {
  public:
    // The plugin, or one line that says which file was refused, what was expected and what was found.
    // A path without a slash is looked for in the current directory, not along the loader's search path.
    // Loading runs the initialisers of the shared object, whatever it is.
    static std::variant<Plugin, std::string> open(const std::string& path);

    const dmaudit_provider& provider() const { return *provider_; }
    const std::string& path() const { return path_; }
    void* symbol(const char* name) const; // another that the object exports; null: none

  private:
    struct Unload {
        void operator()(void* handle) const;
    };
    using Handle = std::unique_ptr<void, Unload>;

    Plugin(std::string path, Handle handle, std::unique_ptr<const dmaudit_provider> provider)
        : path_(std::move(path)), handle_(std::move(handle)), provider_(std::move(provider))
    {
    }

    std::string path_;
    Handle handle_;
    std::unique_ptr<const dmaudit_provider> provider_; // its table, with nulls for what it is too old to have
};

// What is wrong with a provider's table, in one line; empty if nothing is. For tables that come from elsewhere, too.
std::string complaint(const dmaudit_provider* provider);

} // namespace dmaudit
