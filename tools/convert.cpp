// dmaudit show, pack and min
#include "harness/binary.hpp"
#include "harness/literal.hpp"
#include "harness/minimise.hpp"
#include "harness/runner.hpp"
#include "harness/text.hpp"
#include "tools/files.hpp"
#include "tools/signals.hpp"
#include "tools/verbs.hpp"

#include <fmt/core.h>

namespace dmaudit {
namespace {

struct Options {
    std::string in, out, provider;
    bool cpp = false, isolate = false;
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
    const Loaded loaded = load_case(o.in);
    if (!loaded.ok)
        fmt::print(stderr, "dmaudit: {}\n", loaded.error);
    std::string name;
    const dmaudit_provider* provider = provider_for(o.provider, o.in, loaded, name);
    if (!provider || !loaded.ok)
        return exit_unusable;
    if (const std::string why = why_unwritable(o.out); !why.empty()) {
        fmt::print(stderr, "dmaudit: {}\n", why);
        return exit_unusable;
    }
    Session session;
    const Case& c = loaded.value;
    Runner runner(*provider, session, o.isolate || may_end_the_process(c.expect));
    constexpr unsigned looks = 3;
    stop_at_signals(runner.isolated());
    if (!runner.isolated())
        hint_at_crash();
    Result first = runner.run_times(c, looks);
    const bool varies = first.violation && first.violation->rule == RuleId::not_deterministic;
    if (!first.violation) {
        fmt::print(stderr, "dmaudit: {}: no violation with provider {}, so there is nothing to make smaller\n", o.in,
                   name);
        return exit_unusable;
    }
    if (varies)
        fmt::print(stderr,
                   "{} runs of the case took different courses: it is made smaller as not-deterministic{}\n", looks,
                   runner.isolated() ? "" : "; with --isolate no run sees what another one left behind");
    const unsigned times = varies ? 8 : 1; // the first that differs ends them
    const BugKey key = key_of(c, first);
    Minimised small = minimise(c, [&](const Case& k) { return key_of(k, runner.run_times(k, times)) == key; },
                               {o.tries, looks, [] { return stopped_by != 0; }});
    if (!small.deterministic) {
        fmt::print(stderr, "dmaudit: {}: the violation does not come each time; nothing was made smaller\n", o.in);
        return exit_unusable;
    }
    small.value.expect = {Expect::violation, key.rule};
    fmt::print(stderr, "{} steps, {} runs, {}\n", small.value.count, small.tries,
               small.one_minimal ? "1-minimal: no step can be left out"
               : stopped_by      ? "interrupted: it may become smaller"
                                 : "the budget ran out");
    std::string text = print(small.value);
    if (o.provider.empty() && !loaded.provider.empty()) // as it was said in the file
        if (const size_t at = text.find('\n'); at != text.npos)
            text.insert(at + 1, fmt::format("# provider: {}\n", loaded.provider));
    const int code = give(o.out, text);
    return code == exit_ok && stopped_by ? 128 + stopped_by : code;
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
    app.add_option("--provider", o->provider,
                   "a provider's name, or the path of a plugin (default: the one that the case names in a comment `# "
                   "provider: NAME`, else builtin)");
    app.add_flag("--isolate", o->isolate,
                 "each run in a child process, so that the provider may crash or hang (done for those that say they "
                 "are process-wide or may abort, and where the case expects it)");
    app.add_option("--tries", o->tries, "at most so many runs")->capture_default_str();
    return [o] { return minimise_file(*o); };
}

} // namespace dmaudit
