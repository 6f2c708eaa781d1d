// dmaudit run
#include "harness/runner.hpp"
#include "tools/files.hpp"
#include "tools/signals.hpp"
#include "tools/verbs.hpp"

#include <algorithm>
#include <fmt/format.h>

namespace dmaudit {
namespace {

struct Options {
    std::vector<std::string> paths;
    std::string provider; // empty: the one that the case names, else the built-in one
    bool quiet = false, verbose = false, isolate = false;
    unsigned times = 1;
};

std::string expectation(const Expect& e)
{
    return e.kind == Expect::violation ? fmt::format("{}", rule(e.rule).name) : "clean";
}

int run(const Options& o)
{
    if (!o.provider.empty() && !find_provider(o.provider))
        return exit_unusable;
    std::vector<std::string> files;
    std::string error;
    if (!list_files(o.paths, files, error)) {
        fmt::print(stderr, "dmaudit: {}\n", error);
        return exit_unusable;
    }
    Session session;
    unsigned as_expected = 0, otherwise = 0, unusable = 0;
    for (const std::string& file : files) {
        const Loaded loaded = load_case(file);
        if (!loaded.ok) {
            fmt::print(stderr, "dmaudit: {}\n", loaded.error);
            unusable++;
            continue;
        }
        const Case& c = loaded.value;
        std::string name;
        const dmaudit_provider* provider = provider_for(o.provider, file, loaded, name);
        if (!provider) {
            fmt::print(stderr, "dmaudit: {}: not run\n", file);
            unusable++;
            continue;
        }
        Tally tally;
        Runner runner(*provider, session, o.isolate || may_end_the_process(c.expect));
        if (!runner.isolated())
            hint_at_crash();
        const bool by_repetition = c.expect.kind == Expect::violation && c.expect.rule == RuleId::not_deterministic;
        const Result r = runner.run_times(c, std::max(o.times, by_repetition ? 2u : 1u), &tally);
        if (r.open_error) {
            fmt::print(stderr, "dmaudit: {}: provider {} refuses this world (code {})\n", file, provider->name,
                       r.open_error);
            unusable++;
            continue;
        }
        const bool fine = r.as_expected(c.expect);
        (fine ? as_expected : otherwise)++;
        const std::string replay = fmt::format("dmaudit run{} --provider {} {}", runner.isolated() ? " --isolate" : "",
                                               shell_word(name), shell_word(file));
        if (!fine) {
            fmt::print("{}: expected {}, found {}\n", file, expectation(c.expect),
                       r.violation ? rule(r.violation->rule).name : "no violation");
            if (!o.quiet && r.violation)
                fmt::print("{}\n", runner.report(c, r, {colours(), replay}));
        } else if (o.verbose || (files.size() == 1 && !o.quiet)) {
            fmt::print("{}: {}, as expected ({} of {} steps executed)\n", file,
                       r.violation ? rule(r.violation->rule).name : "clean", tally.executed, tally.steps);
            if (r.violation)
                fmt::print("{}\n", runner.report(c, r, {colours(), replay}));
        }
    }
    if (files.size() != 1 && !o.quiet)
        fmt::print("{} cases: {} as expected, {} otherwise, {} unusable\n", files.size(), as_expected, otherwise,
                   unusable);
    if (files.empty())
        fmt::print(stderr, "dmaudit: {}: no case files there\n", fmt::join(o.paths, ", "));
    return unusable || files.empty() ? exit_unusable : otherwise ? exit_violation : exit_ok;
}

} // namespace

Action add_run(CLI::App& app)
{
    auto o = std::make_shared<Options>();
    app.add_option("path", o->paths, "case files (.dma: text) and folders of them")->required();
    app.add_option("--provider", o->provider,
                   "a provider's name, or the path of a plugin (default: the one that a case names in a comment `# "
                   "provider: NAME`, else builtin)");
    app.add_flag("--isolate", o->isolate,
                 "run each case in a child process, so that the provider may crash or hang (done for those that say "
                 "they are process-wide or may abort, and where the case expects it)");
    app.add_option("--times", o->times, "run each case so many times; all must take the same course")
        ->check(CLI::Range(1u, 1000u));
    app.add_flag("-q,--quiet", o->quiet, "no reports, only what is not as expected");
    app.add_flag("-v,--verbose", o->verbose, "a line (and a report) also for what is as expected");
    return [o] { return run(*o); };
}

} // namespace dmaudit
