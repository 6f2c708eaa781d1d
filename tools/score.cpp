// dmaudit score
#include "score/output.hpp"
#include "tools/files.hpp"
#include "tools/signals.hpp"
#include "tools/verbs.hpp"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fmt/core.h>
#include <unistd.h>

namespace dmaudit {
namespace {

struct Options {
    std::vector<std::string> engines;
    std::string subjects, of, json, html, without, seeds_folder, programs;
    score::Places places;
    uint64_t seeds = 1, budget = 1'500'000, comparison_budget = 50'000;
    unsigned jobs = 2;
    double time_limit = 600;
    bool quick = false, details = false, strict = false;
    uint64_t within = 0;
    std::string command;
    bool mutants_given = false;
};

// "pool", "pool*", "*off-by-one": a star stands for anything; without one, a part of the id or the family is enough.
bool matches(std::string_view pattern, std::string_view text)
{
    const size_t star = pattern.find('*');
    if (star == pattern.npos)
        return pattern == text;
    if (!text.starts_with(pattern.substr(0, star)))
        return false;
    const std::string_view rest = pattern.substr(star + 1);
    for (size_t at = star; at <= text.size(); at++)
        if (matches(rest, text.substr(at)))
            return true;
    return false;
}

bool wanted(std::string_view filter, const score::Subject& s)
{
    if (filter.empty())
        return true;
    while (!filter.empty()) { // a,b: either
        const std::string_view one = filter.substr(0, filter.find(','));
        filter.remove_prefix(std::min(filter.size(), one.size() + 1));
        const bool plain = one.find('*') == one.npos;
        if (plain ? s.id.find(one) != std::string::npos || s.family == one : matches(one, s.id))
            return true;
    }
    return false;
}

// As a shell takes it.
std::string quoted(const std::string& word)
{
    const bool plain = std::all_of(word.begin(), word.end(), [](unsigned char c) {
        return std::isalnum(c) || std::string_view("-_./,:=+").find(static_cast<char>(c)) != std::string_view::npos;
    });
    if (plain && !word.empty())
        return word;
    std::string out = "'";
    for (const char c : word)
        out += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return out + "'";
}

int unusable(const std::string& why)
{
    fmt::print(stderr, "dmaudit: score: {}\n", why);
    return exit_unusable;
}

bool save(const std::string& path, const std::string& content)
{
    if (path.empty())
        return true;
    const std::string error = write_file(path, content);
    if (!error.empty())
        fmt::print(stderr, "dmaudit: {}\n", error);
    return error.empty();
}

// A spread of the catalogue: every n-th bug.
void thin_out(std::vector<score::Subject>& subjects, size_t keep)
{
    if (subjects.size() <= keep)
        return;
    std::vector<score::Subject> some;
    for (size_t i = 0; i < keep; i++)
        some.push_back(subjects[(2 * i + 1) * subjects.size() / (2 * keep)]);
    subjects = std::move(some);
}

int run(Options o)
{
    for (const std::string& path : {o.json, o.html}) // now, and not after all the work
        if (const std::string why = why_unwritable(path); !why.empty())
            return unusable(why);
    std::error_code ec;
    const std::string here = std::filesystem::read_symlink("/proc/self/exe", ec).parent_path().string();
    if (o.programs.empty())
        o.programs = here;
    if (o.places.objects.empty())
        o.places.objects = here + "/../mutants";
    score::Campaign c;
    std::string error;
    if (o.of != "broken")
        c.subjects = score::seeded_bugs(o.places, error);
    if (error.empty() && c.subjects.empty() && o.mutants_given)
        return unusable(fmt::format("--mutants {}: expected a folder with ID.patch files", o.places.mutants));
    if (error.empty() && (o.of == "broken" || o.of == "all" || (o.of.empty() && c.subjects.empty())))
        for (score::Subject& s : score::broken_providers_of(o.places, error))
            c.subjects.push_back(std::move(s));
    if (!error.empty())
        return unusable(error);
    if (!o.seeds_folder.empty() && !std::filesystem::is_directory(o.seeds_folder, ec))
        return unusable(fmt::format("--with-seeds {}: expected a folder", o.seeds_folder));
    if (c.subjects.empty())
        return unusable(
            fmt::format("no bugs in {} and {}: run this at the top of the source tree, or say --mutants, --broken",
                        o.places.mutants, o.places.broken));
    std::erase_if(c.subjects, [&](const score::Subject& s) { return !wanted(o.subjects, s); });
    if (c.subjects.empty())
        return unusable(fmt::format("--subjects {}: no bug is called so", o.subjects));
    if (o.quick)
        thin_out(c.subjects, 12);
    if (o.engines.empty())
        for (const score::Engine& e : score::engines())
            c.engines.push_back(&e);
    for (const std::string& name : o.engines) {
        const score::Engine* e = score::engine_named(name);
        if (!e) {
            std::string all;
            for (const score::Engine& known : score::engines())
                all += fmt::format(" {}", known.name);
            return unusable(fmt::format("--engine {}: expected one of{}", name, all));
        }
        if (std::find(c.engines.begin(), c.engines.end(), e) == c.engines.end())
            c.engines.push_back(e);
    }
    if (!switch_off(o.without, c.switches)) {
        std::string all;
        for (const Switch& s : switches())
            all += fmt::format(" {}", s.name);
        return unusable(fmt::format("--without {}: expected some of{}", o.without, all));
    }
    c.seeds = o.seeds;
    c.budget = o.budget;
    c.comparison_budget = o.comparison_budget;
    c.trials.resize(c.subjects.size() * c.engines.size() * c.seeds);
    std::vector<score::Job> jobs;
    for (const score::Subject& s : c.subjects)
        for (const score::Engine* e : c.engines)
            for (uint64_t seed = 0; seed < c.seeds; seed++)
                jobs.push_back({&s, e, seed + 1, c.budget_of(*e), c.switches, o.programs, o.seeds_folder});
    const bool terminal = isatty(STDERR_FILENO) == 1;
    size_t ended = 0;
    stop_at_signals(true);
    score::run_trials(
        jobs, o.jobs, {o.time_limit, 20},
        [&](size_t i, const score::Trial& t) {
            c.trials[i] = t;
            if (terminal)
                fmt::print(stderr, "\r\x1b[K{} of {} trials  {}, {}", ++ended, jobs.size(), jobs[i].subject->id,
                           jobs[i].engine->name);
        },
        [] { return stopped_by != 0; });
    if (terminal)
        fmt::print(stderr, "\r\x1b[K");
    const score::Style style{o.details, o.command};
    fmt::print("{}", score::as_text(c, style));
    if (!save(o.json, score::as_json(c, style)) || !save(o.html, score::as_page(c, style)))
        return exit_unusable;
    if (stopped_by)
        return 128 + stopped_by;
    bool all_run = true, all_found = true;
    for (const score::Trial& t : c.trials) {
        all_run &= t.outcome != score::Trial::unusable;
        all_found &= t.detected();
    }
    return !all_run ? exit_unusable : o.strict && !all_found ? exit_violation : exit_ok;
}

} // namespace

Action add_score(CLI::App& app)
{
    auto o = std::make_shared<Options>();
    std::string names;
    for (const score::Engine& e : score::engines())
        names += fmt::format("{}{}", names.empty() ? "" : ", ", e.name);
    app.add_option("--engine", o->engines, names + " (several: all of them; default: all)")->delimiter(',');
    app.add_option("--seeds", o->seeds, "trials for each bug and engine")
        ->capture_default_str()
        ->check(CLI::Range(1, 1000));
    app.add_option("--budget", o->budget, "executions of a trial")
        ->capture_default_str()
        ->check(CLI::Range(1, 2'000'000'000));
    app.add_option("--comparison-budget", o->comparison_budget,
                   "the same, of the engines that are there for comparison: bytes and exhaustive")
        ->capture_default_str()
        ->check(CLI::Range(1, 2'000'000'000));
    app.add_option("--jobs", o->jobs, "trials at a time")->capture_default_str()->check(CLI::Range(1, 256));
    app.add_option("--subjects", o->subjects,
                   "only bugs of which this is a part of the id, or the family; * stands for anything; a,b: either");
    app.add_option(
           "--of", o->of,
           "mutants (seeded in the allocator's code) broken (at its boundary) or all; default: mutants, if there are any")
        ->check(CLI::IsMember({"mutants", "broken", "all"}));
    app.add_flag("--quick", o->quick, "12 of the bugs, spread over the catalogue");
    app.add_option("--without", o->without,
                   "ablation: switch parts off: shadow, oracles, views, swarm, mutation (a,b: both)");
    app.add_option("--with-seeds", o->seeds_folder,
                   "folder of seeds for the fuzzers; default: they start from nothing");
    app.add_flag("--details", o->details, "a line for each bug and engine, with intervals");
    app.add_flag("--strict", o->strict, "exit 1 unless every trial found its bug");
    app.add_option("--json", o->json, "write all figures here");
    app.add_option("--html", o->html, "write a page with survival curves here");
    app.add_option("--time-limit", o->time_limit, "seconds of a trial; what takes longer counts as cut short")
        ->capture_default_str();
    app.add_option("--mutants", o->places.mutants, "folder of ID.patch")->capture_default_str();
    app.add_option("--objects", o->places.objects,
                   "folder of ID.so (default: ../mutants beside this program's folder)");
    app.add_option("--broken", o->places.broken, "folder of cases that name broken providers")->capture_default_str();
    app.add_option("--programs", o->programs, "folder of the fuzz targets (default: that of this program)");
    return [o, &app] {
        o->command = "dmaudit score";
        for (const CLI::Option* option : app.get_options())
            if (option->count() && option->get_name() != "--help")
                o->command +=
                    " " + option->get_name() +
                    (option->get_items_expected_min() == 0 ? ""
                                                           : " " + quoted(CLI::detail::join(option->results(), ",")));
        o->mutants_given = app.count("--mutants") != 0;
        return run(*o);
    };
}

} // namespace dmaudit
