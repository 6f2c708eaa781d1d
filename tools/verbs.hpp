// The verbs of the `dmaudit` command. Each adds its options and returns its exit code: 0 as expected, 1 a violation (or
// another result than expected), 2 unusable input.
#pragma once
#include "dmaudit/provider.h"

#include <CLI/CLI.hpp>
#include <functional>
#include <optional>
#include <string>

namespace dmaudit {

constexpr int exit_ok = 0, exit_violation = 1, exit_unusable = 2;

using Action = std::function<int()>;
Action add_run(CLI::App&);
Action add_show(CLI::App&);
Action add_pack(CLI::App&);
Action add_fuzz(CLI::App&);
Action add_min(CLI::App&);
Action add_verify(CLI::App&);
Action add_explain(CLI::App&);
Action add_providers(CLI::App&);
Action add_score(CLI::App&);

// A provider by name, or from a shared object if the name holds a slash or ends in .so. Says what is wrong on stderr.
const dmaudit_provider* find_provider(const std::string& name);
// The provider to run a case with, and its name in `name`: that of the option, else the one that the case names, else
// the built-in one. A case does not get code loaded: a shared object is for the option to name.
struct Loaded;
const dmaudit_provider* provider_for(const std::string& option, const std::string& file, const Loaded& loaded,
                                     std::string& name);
// Is stdout a terminal that shows colours?
bool colours();

} // namespace dmaudit
