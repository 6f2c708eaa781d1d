// dmaudit fuzz
#include "harness/campaign.hpp"
#include "harness/text.hpp"
#include "tools/files.hpp"
#include "tools/signals.hpp"
#include "tools/verbs.hpp"

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fmt/core.h>
#include <unistd.h>

namespace dmaudit {
namespace {

struct Options {
    std::string provider = "builtin", profile = "all", findings = "findings";
    double seconds = 0;
    uint64_t runs = 0, ops = 0, seed = 1;
    bool isolate = false;
};

// Time decides only when a campaign ends and what is shown, never what a case does.
using Clock = std::chrono::steady_clock;
double since(Clock::time_point t)
{
    return std::chrono::duration<double>(Clock::now() - t).count();
}

// One that does not come back keeps it silent. Asked for once, as an alarm that goes off while nothing moves on.
volatile sig_atomic_t moved_on;
void hint_at_hang()
{
    struct sigaction alarmed {};
    alarmed.sa_flags = SA_RESTART;
    alarmed.sa_handler = [](int) {
        if (stopped_by)
            _exit(128 + stopped_by);
        if (!moved_on) {
            constexpr std::string_view text =
                "dmaudit: nothing has ended for 20 s, a call of the provider or the minimising of a finding: with "
                "--isolate a case that does not end becomes a finding\n";
            [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
            return; // once is enough
        }
        moved_on = 0;
        alarm(20);
    };
    sigaction(SIGALRM, &alarmed, nullptr);
    alarm(20);
}

void summary(const Campaign& c, const Profile& profile, double seconds)
{
    const Tally& t = c.tally();
    const auto rate = [seconds](uint64_t n) { return seconds > 0 ? static_cast<double>(n) / seconds : 0.0; };
    fmt::print("\n{} cases in {:.1f} s: {:.0f} cases/s, {:.0f} executed ops/s\n", t.cases, seconds, rate(t.cases),
               rate(t.executed));
    fmt::print("{} steps: {} executed ({:.1f} %), {} illegal, {} without their object, {} impossible\n", t.steps,
               t.executed, t.steps ? 100.0 * static_cast<double>(t.executed) / static_cast<double>(t.steps) : 0.0,
               t.illegal, t.not_made, t.impossible);
    fmt::print("\nexecuted ops by kind:\n");
    for (size_t i = 0; i < op_count; i++)
        if (contains(profile, static_cast<uint8_t>(i)))
            fmt::print("  {:<24}{:>12}  {:5.1f} %\n", specs()[i].name, t.by_op[i],
                       t.executed ? 100.0 * static_cast<double>(t.by_op[i]) / static_cast<double>(t.executed) : 0.0);
    fmt::print("\nsituations reached:\n");
    for (size_t i = 0; i < static_cast<size_t>(Mark::count_); i++)
        fmt::print("  {:<40}{:>12}\n", mark_name(static_cast<Mark>(i)), t.marks.n[i]);
    fmt::print("  {:<40}{:>12}\n  {:<40}{:>12}\n", "evictions and prefetches inside a call", t.evictions_inside,
               "injected faults", t.faults);
    bool any = false;
    for (size_t i = 0; i < rule_count; i++)
        if (c.violations()[i]) {
            if (!any)
                fmt::print("\nviolations by rule:\n");
            any = true;
            fmt::print("  {:<40}{:>12}\n", rules()[i].name, c.violations()[i]);
        }
}

int fuzz(const Options& o)
{
    const dmaudit_provider* provider = find_provider(o.provider);
    if (!provider)
        return exit_unusable;
    const Profile* profile = profile_named(o.profile);
    if (!profile) {
        fmt::print(stderr, "dmaudit: --profile {}: expected one of", o.profile);
        for (const Profile& p : profiles())
            fmt::print(stderr, " {}", p.name);
        fmt::print(stderr, "\n");
        return exit_unusable;
    }
    if (o.seconds <= 0 && o.runs == 0 && o.ops == 0) {
        fmt::print(stderr, "dmaudit: fuzz: give --seconds, --runs or --ops\n");
        return exit_unusable;
    }
    Campaign campaign(*provider, *profile, o.seed, o.isolate);
    if (!campaign.runner().isolated()) {
        hint_at_crash();
        hint_at_hang();
    }
    fmt::print("dmaudit fuzz: provider {}, profile {}, seeds from {}{}\n", provider->name, profile->name, o.seed,
               campaign.runner().isolated() ? ", in child processes" : "");
    const bool terminal = isatty(STDERR_FILENO) == 1;
    const auto start = Clock::now();
    auto shown = start;
    size_t saved = 0;
    int code = exit_ok;
    uint64_t looked_at = 0; // cases, when the clock was read last
    const auto cases = [&] { return campaign.next_seed() - o.seed; };
    stop_at_signals(campaign.runner().isolated());
    campaign.stop_when([&] { // what was found in the last moment has time to become small, and not for ever
        return stopped_by != 0 || (o.seconds > 0 && since(start) >= 2 * o.seconds + 10);
    });
    while (!stopped_by && (o.runs == 0 || cases() < o.runs) && (o.ops == 0 || campaign.tally().executed < o.ops)) {
        campaign.step(o.runs ? o.runs - cases() : 256);
        moved_on = 1;
        for (; saved < campaign.findings().size(); saved++) {
            const Finding& f = campaign.findings()[saved];
            const std::string text = print(f.value),
                              path = fmt::format("{}/{}-{}.dma", o.findings, rule(f.key.rule).name, content_name(text));
            std::error_code ec;
            std::filesystem::create_directories(o.findings, ec);
            const std::string error = ec ? fmt::format("{}: cannot be written: the folder cannot be made: {}", o.findings, ec.message())
                                         : write_file(path, text);
            if (terminal)
                fmt::print(stderr, "\r\x1b[K");
            const Result r = campaign.runner().run_times(f.value, f.key.rule == RuleId::not_deterministic ? 8 : 1);
            fmt::print("\nfinding {} (seed {}, {} steps, {}):\n\n{}\n{}\n", saved + 1, f.seed, f.value.count,
                       f.one_minimal ? "1-minimal" : "not proven minimal", text,
                       campaign.runner().report(f.value, r,
                                                {colours(), error.empty()
                                                                ? fmt::format("dmaudit run{} --provider {} {}",
                                                                              o.isolate ? " --isolate" : "",
                                                                              shell_word(o.provider), shell_word(path))
                                                                : ""}));
            if (!error.empty()) {
                fmt::print(stderr, "dmaudit: {}\n", error);
                code = exit_unusable;
            }
            std::fflush(stdout); // a crash of the next case must not take this one along
        }
        if (cases() - looked_at < 256 && !(campaign.runner().isolated() && cases() != looked_at))
            continue;
        looked_at = cases();
        if (o.seconds > 0 && since(start) >= o.seconds)
            break;
        if (terminal && since(shown) >= 0.5) {
            shown = Clock::now();
            const double s = since(start);
            fmt::print(stderr, "\r\x1b[K{:.0f} s  {} cases  {:.0f} cases/s  {:.0f} % of steps executed  {} findings", s,
                       campaign.tally().cases, static_cast<double>(campaign.tally().cases) / s,
                       100.0 * static_cast<double>(campaign.tally().executed) /
                           static_cast<double>(campaign.tally().steps),
                       saved);
        }
    }
    if (terminal)
        fmt::print(stderr, "\r\x1b[K");
    summary(campaign, *profile, since(start));
    fmt::print("\n{} finding{}{}\n", saved, saved == 1 ? "" : "s",
               saved ? fmt::format(", saved in {}", o.findings) : "");
    if (campaign.tally().calls == 0 && saved == 0) {
        fmt::print(stderr,
                   "dmaudit: the provider was never called: it refused every world, or has no function that profile {} "
                   "needs\n",
                   profile->name);
        code = exit_unusable;
    }
    if (stopped_by && !code && !saved)
        code = 128 + stopped_by; // as a shell has it: nobody is to take it for the whole campaign
    return code ? code : saved ? exit_violation : exit_ok;
}

} // namespace

Action add_fuzz(CLI::App& app)
{
    auto o = std::make_shared<Options>();
    app.add_option("--provider", o->provider, "a provider's name, or the path of a plugin")->capture_default_str();
    std::string names;
    for (const Profile& p : profiles())
        names += (names.empty() ? "" : ", ") + std::string(p.name);
    app.add_option("--profile", o->profile, names)->capture_default_str();
    app.add_option("--seconds", o->seconds,
                   "stop after so many seconds; finding and making small together take at most twice as long, and ten");
    app.add_option("--runs", o->runs, "stop after so many cases");
    app.add_option("--ops", o->ops, "stop after so many executed operations");
    app.add_flag("--isolate", o->isolate,
                 "run the cases in child processes, so that the provider may crash or hang (done for those that say "
                 "they are process-wide or may abort)");
    app.add_option("--seed", o->seed, "the first seed")->capture_default_str();
    app.add_option("--findings", o->findings, "folder for minimised cases")->capture_default_str();
    return [o] { return fuzz(*o); };
}

} // namespace dmaudit
