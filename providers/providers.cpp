#include "providers/providers.hpp"

#include "providers/broken/broken.hpp"
#include "providers/builtin/builtin.hpp"
#ifdef DMAUDIT_HAS_LINUX
#include "providers/linux/linux.h"
#endif

#include <vector>

namespace dmaudit {

std::span<const dmaudit_provider* const> all_providers()
{
    static const std::vector<const dmaudit_provider*> all = [] {
        std::vector<const dmaudit_provider*> v{&builtin_provider()};
#ifdef DMAUDIT_HAS_LINUX
        v.push_back(dmaudit_linux_provider());
#endif
        for (const dmaudit_provider* p : broken_providers())
            v.push_back(p);
        return v;
    }();
    return all;
}

const dmaudit_provider* provider_named(std::string_view name)
{
    for (const dmaudit_provider* p : all_providers())
        if (name == p->name)
            return p;
    return nullptr;
}

bool names_plugin(std::string_view name)
{
    return name.find('/') != std::string_view::npos || name.ends_with(".so");
}

Chosen choose_provider(const std::string& name)
{
    Chosen out;
    if (!names_plugin(name)) {
        if (!(out.provider = provider_named(name)))
            out.error =
                "--provider " + name +
                ": no such provider; `dmaudit providers` lists them, and a path to a shared object is taken too";
        return out;
    }
    auto opened = Plugin::open(name);
    if (auto* error = std::get_if<std::string>(&opened)) {
        out.error = *error;
        return out;
    }
    out.plugin = std::make_shared<const Plugin>(std::move(std::get<Plugin>(opened)));
    out.provider = &out.plugin->provider();
    return out;
}

} // namespace dmaudit
