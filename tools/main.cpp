#include "tools/verbs.hpp"

#include "providers/providers.hpp"
#include "tools/files.hpp"

#include <cstdlib>
#include <fmt/core.h>
#include <map>
#include <unistd.h>
#include <vector>

namespace dmaudit {

const dmaudit_provider* find_provider(const std::string& name)
{
    static std::map<std::string, Chosen> chosen; // stays loaded: instances may live until the end
    const auto [at, fresh] = chosen.try_emplace(name);
    if (fresh)
        at->second = choose_provider(name);
    if (!at->second.provider)
        fmt::print(stderr, "dmaudit: {}\n", at->second.error);
    return at->second.provider;
}

const dmaudit_provider* provider_for(const std::string& option, const std::string& file, const Loaded& loaded,
                                     std::string& name)
{
    name = !option.empty() ? option : !loaded.provider.empty() ? loaded.provider : "builtin";
    if (option.empty() && names_plugin(name)) {
        fmt::print(stderr,
                   "dmaudit: {}: its comment names a shared object: that is loaded only if --provider names it\n",
                   file);
        return nullptr;
    }
    return find_provider(name);
}

bool colours()
{
    return isatty(STDOUT_FILENO) == 1;
}

namespace {

bool done = false;
pid_t mine = 0;

// No exit but that of main says that all is well: a provider may have called exit.
void guard_exit()
{
    if (done || getpid() != mine)
        return;
    constexpr std::string_view text = "dmaudit: the process was ended from inside, most likely by the provider: with "
                                      "`run --isolate` or `fuzz --isolate` it becomes a finding\n";
    std::fflush(stdout); // what was found before
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
    _exit(exit_unusable);
}

int perform(const Action& action)
{
    mine = getpid();
    std::atexit(guard_exit);
    int code = exit_unusable;
    try {
        code = action();
    } catch (const std::exception& e) { // what cannot be printed is thrown
        fmt::print(stderr, "dmaudit: {}\n", e.what());
    }
    if (std::fflush(stdout) != 0 || std::ferror(stdout)) {
        fmt::print(stderr, "dmaudit: the output could not be written\n");
        code = exit_unusable;
    }
    done = true;
    return code;
}

} // namespace
} // namespace dmaudit

int main(int argc, char** argv)
{
    using namespace dmaudit;
    CLI::App app{"dmaudit: audits DMA allocators and mapping layers on a simulated machine"};
    app.require_subcommand(1);
    app.set_version_flag("--version", "dmaudit 0.1.0");
    std::vector<std::pair<CLI::App*, Action>> verbs;
    const auto verb = [&](const char* name, const char* what, Action (*add)(CLI::App&)) {
        CLI::App* sub = app.add_subcommand(name, what);
        verbs.emplace_back(sub, add(*sub));
    };
    verb("run", "replay cases (text or binary files, folders)", add_run);
    verb("show", "print a case as text", add_show);
    verb("pack", "write a case in its binary form", add_pack);
    verb("min", "make a failing case as small as it gets", add_min);
    verb("fuzz", "generate cases and audit a provider with them", add_fuzz);
    verb("verify", "run every case up to some depth over a small world", add_verify);
    verb("explain", "say what a rule means", add_explain);
    verb("score", "measure what the engines find of what is known to be wrong", add_score);
    verb("providers", "list the providers and what they promise", add_providers);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? exit_ok : exit_unusable;
    }
    for (const auto& [sub, action] : verbs)
        if (sub->parsed())
            return perform(action);
    return exit_unusable;
}
