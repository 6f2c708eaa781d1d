// dmaudit verify
#include "harness/verify.hpp"
#include "harness/minimise.hpp"
#include "harness/runner.hpp"
#include "harness/text.hpp"
#include "tools/files.hpp"
#include "tools/signals.hpp"
#include "tools/verbs.hpp"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fmt/core.h>
#include <unistd.h>

namespace dmaudit {
namespace {

struct Options {
    std::string provider = "builtin", facet = "streaming", scope = "small", findings = "findings", state;
    unsigned depth = 3, threads = 1, most_findings = 0, most_deaths = 100, alive = 0;
    uint64_t runs = 0;
    double seconds = 0;
    bool no_merge = false, no_adversary = false, list = false, in_process = false;
};

// Time decides only when a search pauses and what is shown, never what it finds.
using Clock = std::chrono::steady_clock;
double since(Clock::time_point t)
{
    return std::chrono::duration<double>(Clock::now() - t).count();
}

// The content of a file; nothing: there is none. An error is said.
std::optional<std::string> read_state(const std::string& path, bool& failed)
{
    std::error_code ec;
    if (const auto status = std::filesystem::status(path, ec); exists(status) && !is_regular_file(status)) {
        failed = true;
        fmt::print(stderr, "dmaudit: {}: expected a file to keep the state in\n", path);
        return {};
    }
    std::FILE* f = std::fopen(path.c_str(), "rb");
    if (!f) {
        failed = errno != ENOENT;
        if (failed)
            fmt::print(stderr, "dmaudit: {}: cannot be read: {}\n", path, std::strerror(errno));
        return {};
    }
    std::string bytes;
    std::vector<char> part(1 << 20);
    for (size_t n; (n = std::fread(part.data(), 1, part.size(), f)) > 0;)
        bytes.append(part.data(), n);
    failed = std::ferror(f) != 0;
    std::fclose(f);
    if (failed)
        fmt::print(stderr, "dmaudit: {}: cannot be read\n", path);
    return failed ? std::nullopt : std::optional(std::move(bytes));
}

std::string one_of(std::span<const std::string_view> names)
{
    std::string out;
    for (const std::string_view n : names)
        out += fmt::format(" {}", n);
    return out;
}

void print_level(unsigned depth, const VerifyLevel& l)
{
    fmt::print("{:>7} {:>12} {:>10} {:>10} {:>12} {:>12} {:>12} {:>8}\n", depth, l.cases, l.faults, l.evictions,
               l.refused, l.states, l.merged, l.violations);
}

// `before`: cases of earlier parts of the same search.
void print_result(const VerifyResult& r, double seconds, uint64_t before)
{
    fmt::print("\n{:>7} {:>12} {:>10} {:>10} {:>12} {:>12} {:>12} {:>8}\n", "depth", "cases", "faults", "evictions",
               "refused", "states", "merged", "failed");
    for (unsigned i = 0; i < r.levels.size(); i++)
        print_level(i + 1, r.levels[i]);
    const VerifyLevel t = r.total();
    fmt::print("{} cases, {} states, {} executions\n{:.1f} s: {:.0f} cases/s\n", t.cases, t.states + 1, r.executions,
               seconds, seconds > 0 ? static_cast<double>(t.cases - before) / seconds : 0.0);
}

std::string_view end_text(VerifyResult::End e)
{
    switch (e) {
    case VerifyResult::End::complete:
        return "complete";
    case VerifyResult::End::executions:
        return "the budget of executions is used up";
    case VerifyResult::End::states:
        return "no room for more states";
    case VerifyResult::End::findings:
        return "stopped after the findings that were asked for";
    case VerifyResult::End::stopped:
        return stopped_by ? "interrupted" : "the time is over";
    case VerifyResult::End::deaths:
        return "the provider ends the process too often: what it does not survive comes first";
    }
    return "";
}

std::string replay_command(const Options& o, const std::string& path)
{
    return fmt::format("dmaudit run{} --provider {} {}", o.in_process ? "" : " --isolate", shell_word(o.provider),
                       shell_word(path));
}

// Minimised and saved, in the order in which they were found. One that does not come when its case runs alone is told
// and not saved: it would not replay.
int report_findings(const VerifyResult& r, const dmaudit_provider& provider, const Options& o)
{
    Session session;
    Runner runner(provider, session, !o.in_process);
    int code = exit_ok;
    size_t alone = 0; // do not come
    for (size_t i = 0; i < r.findings.size(); i++) {
        const VerifyFinding& f = r.findings[i];
        Budget budget;
        budget.stop = [] { return stopped_by != 0; };
        Minimised small = minimise(
            f.value, [&](const Case& c) { return key_of(c, runner.run(c)) == f.key; }, budget);
        if (!small.deterministic) {
            fmt::print("\nfinding {} (depth {}, in {} cases): {}, and not when the case runs alone: the provider "
                       "remembers earlier instances, or is not deterministic\n\n{}",
                       i + 1, f.depth, f.cases, rule(f.key.rule).name, print(f.value));
            alone += 1;
            continue;
        }
        small.value.expect = {Expect::violation, f.key.rule};
        const std::string text = print(small.value),
                          path = fmt::format("{}/{}-{}.dma", o.findings, rule(f.key.rule).name, content_name(text));
        std::error_code ec;
        std::filesystem::create_directories(o.findings, ec);
        const std::string error = write_file(path, text);
        const Result result = runner.run(small.value);
        fmt::print("\nfinding {} (depth {}, in {} cases; {} steps, {}):\n\n{}\n{}\n", i + 1, f.depth, f.cases,
                   small.value.count, small.one_minimal ? "1-minimal" : "not proven minimal", text,
                   result.violation
                       ? runner.report(small.value, result, {colours(), error.empty() ? replay_command(o, path) : ""})
                       : key_lines(f.key));
        if (!error.empty()) {
            fmt::print(stderr, "dmaudit: {}\n", error);
            code = exit_unusable;
        }
    }
    fmt::print("\n{} finding{}{}\n", r.findings.size(), r.findings.size() == 1 ? "" : "s",
               r.findings.size() == alone ? ""
               : alone ? fmt::format(", {} of them saved in {}", r.findings.size() - alone, o.findings)
                       : fmt::format(", saved in {}", o.findings));
    return code ? code : r.findings.empty() ? exit_ok : exit_violation;
}

int verify(const Options& o)
{
    const dmaudit_provider* provider = find_provider(o.provider);
    if (!provider)
        return exit_unusable;
    auto scope = verify_scope(o.scope, o.facet);
    if (!scope) {
        fmt::print(stderr, "dmaudit: verify --scope {} --facet {}: expected a scope of{}, a facet of{}\n", o.scope,
                   o.facet, one_of(verify_scopes()), one_of(verify_facets()));
        return exit_unusable;
    }
    scope->adversary = !o.no_adversary;
    if (o.alive)
        scope->most_alive = o.alive;
    if (o.depth < 1 || o.depth > 60 || o.threads < 1 || o.threads > 64) {
        fmt::print(stderr, "dmaudit: verify: --depth is 1 to 60, --threads 1 to 64\n");
        return exit_unusable;
    }
    if (o.threads > 1 && (provider->promises & DMAUDIT_TRAIT_PROCESS_WIDE)) {
        fmt::print(stderr, "dmaudit: verify: provider {} has one instance for the process: use --threads 1\n",
                   provider->name);
        return exit_unusable;
    }
    Case world;
    world.world = scope->world;
    const Moves moves(*scope);
    fmt::print("dmaudit verify: provider {}, facet {}, scope {}, depth {}\n{}", provider->name, scope->facet,
               scope->name, o.depth, print(world));
    fmt::print("at most {} objects of a kind; {}; ops and their values:\n{}", scope->most_alive,
               scope->adversary ? "faults, evictions and reloads at every platform call, evictions between ops"
                                : "no faults, no evictions",
               moves.values_text());
    if (o.list)
        return exit_ok;

    const bool terminal = isatty(STDERR_FILENO) == 1;
    const auto start = Clock::now();
    auto shown = start, saved = start;
    VerifyLimits limits;
    limits.depth = o.depth;
    limits.threads = o.threads;
    limits.merge = !o.no_merge;
    limits.executions = o.runs;
    limits.findings = o.most_findings;
    limits.isolate = !o.in_process;
    limits.deaths = o.most_deaths;
    Verifier* running = nullptr;
    const auto save = [&] {
        const std::string error = o.state.empty() ? "" : write_file(o.state, running->save());
        if (!error.empty())
            fmt::print(stderr, "dmaudit: verify: {}\n", error);
        return error.empty();
    };
    limits.stop = [&] {
        if (since(saved) >= 60) {
            saved = Clock::now();
            save();
        }
        if (terminal && since(shown) >= 0.5) {
            shown = Clock::now();
            const VerifyLevel t = running->result().total();
            fmt::print(stderr, "\r\x1b[K{:.0f} s  depth {}  {} cases  {} states  {} findings", since(start),
                       running->result().levels.size(), t.cases, t.states, running->result().findings.size());
        }
        return stopped_by || (o.seconds > 0 && since(start) >= o.seconds);
    };
    Verifier search(*scope, *provider, limits);
    running = &search;
    if (const std::string why = why_unwritable(o.state); !why.empty()) {
        fmt::print(stderr, "dmaudit: verify: --state {}\n", why);
        return exit_unusable;
    }
    if (!o.state.empty()) {
        bool failed = false;
        const auto bytes = read_state(o.state, failed);
        if (failed)
            return exit_unusable;
        if (bytes) {
            if (const std::string error = search.load(*bytes); !error.empty()) {
                fmt::print(stderr, "dmaudit: verify: --state {}: {}\n", o.state, error);
                return exit_unusable;
            }
            fmt::print("goes on from {}: {} executions so far\n", o.state, search.result().executions);
        }
    }
    const uint64_t before = search.result().total().cases;
    std::fflush(stdout); // should the provider end the process, this is what it was
    if (o.in_process)
        hint_at_crash();
    stop_at_signals(!o.in_process);
    const VerifyResult& r = search.run();
    if (terminal)
        fmt::print(stderr, "\r\x1b[K");
    if (r.open_error) {
        fmt::print(stderr, "dmaudit: verify: provider {} refuses this world (code {})\n", provider->name, r.open_error);
        return exit_unusable;
    }
    const bool kept = save();
    print_result(r, since(start), before);
    fmt::print("{}; {}\n",
               r.strayed
                   ? fmt::format("not every case was run: {} states, and what follows them, were not reached a second "
                                 "time, or the provider's hash of them failed; it is not deterministic",
                                 r.strayed)
               : r.end == VerifyResult::End::complete
                   ? fmt::format("every case up to depth {} was run", r.complete)
                   : fmt::format("not complete ({}): every case up to depth {} was run, and some of depth {}",
                                 end_text(r.end), r.complete, r.levels.size()),
               r.merging    ? "equal states are merged"
               : o.no_merge ? "equal states are not merged"
                            : "the provider offers no hash of its state, so equal states are not merged");
    int code = report_findings(r, *provider, o);
    if (!kept)
        return exit_unusable;
    if (stopped_by && code == exit_ok)
        code = 128 + stopped_by; // as a shell has it: nobody is to take it for the whole search
    return r.strayed && code == exit_ok ? exit_violation : code;
}

} // namespace

Action add_verify(CLI::App& app)
{
    auto o = std::make_shared<Options>();
    app.add_option("--provider", o->provider, "a provider's name, or the path of a plugin")->capture_default_str();
    app.add_option("--facet", o->facet, "which family of calls:" + one_of(verify_facets()))->capture_default_str();
    app.add_option("--scope", o->scope, "which world and values:" + one_of(verify_scopes()))->capture_default_str();
    app.add_option("--depth", o->depth, "so many moves at most")->capture_default_str();
    app.add_option("--threads", o->threads, "the results are the same for any number")->capture_default_str();
    app.add_option("--alive", o->alive, "at most so many objects of a kind are alive");
    app.add_option("--seconds", o->seconds, "stop after so many seconds");
    app.add_option("--runs", o->runs, "stop after about so many executions, when what was begun is done");
    app.add_option("--most-findings", o->most_findings, "stop after so many different findings");
    app.add_option(
           "--most-deaths", o->most_deaths,
           "stop after so many moves that the process did not survive (one that hangs counts as ten); 0: no limit")
        ->capture_default_str();
    app.add_option("--state", o->state,
                   "a file that the search is kept in: it goes on from there if the file exists, and can be given more depth");
    app.add_option("--findings", o->findings, "folder for minimised cases")->capture_default_str();
    app.add_flag("--no-merge", o->no_merge, "search equal states again");
    app.add_flag("--no-adversary", o->no_adversary, "no faults, evictions and reloads");
    app.add_flag(
        "--in-process", o->in_process,
        "without child processes, as a debugger wants it: a provider that crashes or hangs takes the search along");
    app.add_flag("--list", o->list, "print the scope and stop");
    return [o] { return verify(*o); };
}

} // namespace dmaudit
