// dmaudit show, pack and min
#include "harness/binary.hpp"
#include "harness/literal.hpp"
#include "harness/minimise.hpp"
#include "harness/report.hpp"
#include "harness/text.hpp"
#include "tools/files.hpp"
#include "tools/verbs.hpp"

#include <fmt/core.h>

namespace dmaudit {
namespace {

struct Options {
    std::string in, out, provider = "builtin";
    bool cpp = false;
    unsigned tries = 20000;
};

int give(const std::string& path, std::string_view content)
{
    if (path.empty()) {
        if (std::fwrite(content.data(), 1, content.size(), stdout) == content.size() && std::fflush(stdout) == 0)
            return exit_ok;
        fmt::print(stderr, "dmaudit: the output could not be written\n");
        return exit_unusable;
    }
    if (const std::string error = write_file(path, content); !error.empty()) {
        fmt::print(stderr, "dmaudit: {}\n", error);
        return exit_unusable;
    }
    return exit_ok;
}

int show(const Options& o)
{
    const Loaded loaded = load_case(o.in);
    if (!loaded.ok) {
        fmt::print(stderr, "dmaudit: {}\n", loaded.error);
        return exit_unusable;
    }
    return give(o.out, o.cpp ? cpp_literal(loaded.value) : print(loaded.value));
}

int pack(const Options& o)
{
    const Loaded loaded = load_case(o.in);
    if (!loaded.ok) {
        fmt::print(stderr, "dmaudit: {}\n", loaded.error);
        return exit_unusable;
    }
    const std::vector<uint8_t> bytes = encode(loaded.value);
    return give(o.out, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

int minimise_file(const Options& o)
{
    const dmaudit_provider* provider = find_provider(o.provider);
    const Loaded loaded = load_case(o.in);
    if (!loaded.ok)
        fmt::print(stderr, "dmaudit: {}\n", loaded.error);
    if (!provider || !loaded.ok)
        return exit_unusable;
    Session session;
    const Result first = execute(loaded.value, *provider, session);
    if (!first.violation) {
        fmt::print(stderr, "dmaudit: {}: no violation with provider {}, so there is nothing to make smaller\n", o.in,
                   o.provider);
        return exit_unusable;
    }
    const BugKey key = key_of(loaded.value, first);
    Minimised small = minimise(
        loaded.value, [&](const Case& c) { return key_of(c, execute(c, *provider, session)) == key; }, {o.tries});
    small.value.expect = {Expect::violation, key.rule};
    fmt::print(stderr, "{} steps, {} runs, {}\n", small.value.count, small.tries,
               small.one_minimal ? "1-minimal: no step can be left out" : "the budget ran out");
    return give(o.out, print(small.value));
}

} // namespace

Action add_show(CLI::App& app)
{
    auto o = std::make_shared<Options>();
    app.add_option("case", o->in, "a case file")->required();
    app.add_option("-o,--output", o->out, "write there instead of to the terminal");
    app.add_flag("--cpp", o->cpp, "as a C++ initialiser");
    return [o] { return show(*o); };
}

Action add_pack(CLI::App& app)
{
    auto o = std::make_shared<Options>();
    app.add_option("case", o->in, "a case file")->required();
    app.add_option("-o,--output", o->out, "the binary file")->required();
    return [o] { return pack(*o); };
}

Action add_min(CLI::App& app)
{
    auto o = std::make_shared<Options>();
    app.add_option("case", o->in, "a case file that fails")->required();
    app.add_option("-o,--output", o->out, "write there instead of to the terminal");
    app.add_option("--provider", o->provider, "a provider's name, or the path of a plugin")->capture_default_str();
    app.add_option("--tries", o->tries, "at most so many runs")->capture_default_str();
    return [o] { return minimise_file(*o); };
}

} // namespace dmaudit
