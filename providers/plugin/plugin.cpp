// SPDX-License-Identifier: MIT
#include "providers/plugin/plugin.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>
#include <string_view>
#include <utility>

namespace dmaudit {

namespace {

// A table of version 1 reaches at least to its last member of that version.
constexpr uint32_t least_size = offsetof(dmaudit_provider, pool) + sizeof(dmaudit_provider::pool);

// The table with every member that we know: what an older one has not got is null.
dmaudit_provider completed(const dmaudit_provider& from)
{
    dmaudit_provider whole{};
    std::memcpy(&whole, &from, std::min<size_t>(from.struct_size, sizeof whole));
    whole.struct_size = sizeof whole;
    return whole;
}

bool is_control(char c)
{
    return static_cast<unsigned char>(c) < ' ' || c == 0x7f;
}

// Nothing that a terminal would obey.
std::string printable(std::string_view text)
{
    std::string out(text);
    std::ranges::replace_if(out, is_control, '?');
    return out;
}

std::string bad_name(const char* name)
{
    if (name == nullptr)
        return "name is null, expected [a-z0-9-]+";
    const std::string_view text(name);
    const bool fits = text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == text.npos;
    if (text.empty() || !fits)
        return "name is \"" + printable(text) + "\", expected [a-z0-9-]+";
    return {};
}

// dlerror() speaks of the file in its own words; what it says comes last.
std::string because(const char* reason)
{
    return reason != nullptr ? std::string(": ") + reason : std::string();
}

} // namespace

std::string complaint(const dmaudit_provider* provider)
{
    if (provider == nullptr)
        return DMAUDIT_PROVIDER_SYMBOL "() returned null, expected a table";
    // abi and struct_size come first, for they say what else may be read.
    if (provider->abi != DMAUDIT_ABI)
        return "abi is " + std::to_string(provider->abi) + ", expected " + std::to_string(DMAUDIT_ABI);
    if (provider->struct_size < least_size)
        return "struct_size is " + std::to_string(provider->struct_size) + ", expected at least " +
               std::to_string(least_size);
    if (std::string bad = bad_name(provider->name); !bad.empty())
        return bad;
    if (provider->summary == nullptr)
        return "summary is null, expected one line";
    if (std::ranges::any_of(std::string_view(provider->summary), is_control))
        return "summary is \"" + printable(provider->summary) + "\", expected one line without control characters";
    if (provider->open == nullptr)
        return "open is null, expected a function";
    if (provider->close == nullptr)
        return "close is null, expected a function";
    const dmaudit_provider all = completed(*provider);
    if (all.coherent == nullptr && all.streaming == nullptr && all.pool == nullptr && all.scatter == nullptr &&
        all.managed == nullptr && all.dma_buf == nullptr)
        return "no facet is set, expected at least one of coherent, streaming, pool, scatter, managed, dma_buf";
    return {};
}

void Plugin::Unload::operator()(void* handle) const
{
    dlclose(handle);
}

void* Plugin::symbol(const char* name) const
{
    return dlsym(handle_.get(), name);
}

std::variant<Plugin, std::string> Plugin::open(const std::string& path)
{
    const std::string file = path.find('/') == path.npos ? "./" + path : path;
    Handle handle(dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL));
    if (!handle)
        return path + ": expected a shared object, could not load it" + because(dlerror());
    void* symbol = dlsym(handle.get(), DMAUDIT_PROVIDER_SYMBOL);
    if (symbol == nullptr)
        return path + ": expected the symbol " DMAUDIT_PROVIDER_SYMBOL ", found none" + because(dlerror());
    const dmaudit_provider* provider = std::bit_cast<dmaudit_provider_fn>(symbol)();
    if (const std::string bad = complaint(provider); !bad.empty())
        return path + ": " + bad;
    return Plugin(path, std::move(handle), std::make_unique<dmaudit_provider>(completed(*provider)));
}

} // namespace dmaudit
