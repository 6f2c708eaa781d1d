// The engines: what is run in the child of a trial.
#include "harness/generate.hpp"
#include "harness/verify.hpp"
#include "properties/streams.hpp"
#include "providers/builtin/builtin.hpp"
#include "providers/providers.hpp"
#include "score/trial.hpp"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fmt/core.h>
#include <unistd.h>

namespace dmaudit::score {
namespace {

[[noreturn]] void refuse(Progress& p, const std::string& why)
{
    std::fprintf(stderr, "%s\n", why.c_str());
    p.state = Progress::unusable;
    std::_Exit(2);
}

// The provider of a trial, in the child.
struct Subjected {
    Chosen chosen;
    const dmaudit_provider* provider;
    Canary canary;

    Subjected(const Job& job, Progress& p) : chosen(choose_provider(job.subject->provider)), provider(chosen.provider)
    {
        if (!provider)
            refuse(p, chosen.error);
        if (chosen.plugin)
            canary = {static_cast<const volatile uint64_t*>(chosen.plugin->symbol(Canary::reached_symbol)),
                      static_cast<const volatile uint64_t*>(chosen.plugin->symbol(Canary::triggered_symbol))};
    }
};

// Case after case in this process, until one shows something.
template <class Next> void hunt(const Job& job, Progress& p, Next next)
{
    const Subjected subject(job, p);
    Judge judge(*subject.provider, builtin_provider(), job.switches);
    Case c;
    p.state = Progress::running;
    uint64_t refused = 0;
    while (p.executions < job.budget) {
        next(c);
        p.executions++;
        const auto key = judge.run(c);
        subject.canary.look(p);
        refused += judge.refuses_to_open();
        if (key) {
            p.record(*key);
            std::_Exit(0);
        }
    }
    if (refused == p.executions)
        refuse(p, "the provider opens in no world");
    p.state = Progress::over;
    std::_Exit(0);
}

// Seeds of trials lie far apart, so that no two share a case.
uint64_t first_of(uint64_t seed)
{
    return Rng(seed).next();
}

void random_cases(const Job& job, Progress& p, int)
{
    Profile profile = *profile_named("mixed");
    profile.swarm = job.switches.swarm;
    uint64_t seed = first_of(job.seed);
    hunt(job, p, [&](Case& c) { generate(seed++, profile, c); });
}

void properties_streams(const Job& job, Progress& p, int)
{
    properties::Streams streams(first_of(job.seed), job.switches.swarm);
    hunt(job, p, [&](Case& c) { streams.next(c); });
}

// Scope after scope, one move deeper each time around. The same for every seed.
void exhaustive(const Job& job, Progress& p, int)
{
    const Subjected subject(job, p);
    p.state = Progress::running;
    for (unsigned depth = 1;; depth++)
        for (const std::string_view scope_name : verify_scopes())
            for (const std::string_view facet : verify_facets()) {
                const auto scope = verify_scope(scope_name, facet);
                if (!scope || (scope->facets & facet_strict)) // what clients ask of themselves tells of no provider
                    continue;
                VerifyLimits limits;
                limits.depth = depth;
                limits.executions = job.budget - p.executions;
                limits.findings = 1;
                const uint64_t before = p.executions;
                const Verifier* running = nullptr;
                limits.stop = [&] {
                    if (running)
                        p.executions = std::min(before + running->result().executions, job.budget);
                    subject.canary.look(p);
                    return p.executions >= job.budget;
                };
                Verifier verifier(*scope, *subject.provider, limits);
                running = &verifier;
                const VerifyResult& r = verifier.run();
                p.executions = std::min(before + r.executions, job.budget); // it stops when what was begun is done
                subject.canary.look(p);
                if (!r.findings.empty() && before + r.executions <= job.budget)
                    p.record(r.findings.front().key);
                else if (p.executions < job.budget)
                    continue;
                else
                    p.state = Progress::over;
                std::_Exit(0);
            }
}

std::string off(const Switches& s)
{
    std::string out;
    for (const Switch& w : switches())
        if (!(s.*w.member) && w.member != &Switches::mutation) // that is the other program
            out += fmt::format("{}{}", out.empty() ? "" : ",", w.name);
    return out;
}

void libfuzzer(const Job& job, Progress& p, int progress_fd, const char* program)
{
    const std::string path = job.programs + "/" + program;
    std::vector<std::string> args{path, "--provider=" + job.subject->provider,
                                  fmt::format("--progress={}", progress_fd), fmt::format("-runs={}", job.budget),
                                  fmt::format("-seed={}", 1 + first_of(job.seed) % 0x7fffffff),
                                  // as in fuzz/*.options; nothing is written, and the page says what was found
                                  "-max_len=2048", "-len_control=0", "-entropic=0", "-timeout=0", "-rss_limit_mb=2560",
                                  "-exact_artifact_path=/dev/null", "-verbosity=0", "-detect_leaks=0"};
    if (const std::string names = off(job.switches); !names.empty())
        args.push_back("--without=" + names);
    if (!job.seeds.empty()) {
        std::string files;
        std::vector<std::string> found;
        std::error_code ec;
        for (const auto& entry : std::filesystem::recursive_directory_iterator(job.seeds, ec))
            if (entry.is_regular_file(ec))
                found.push_back(entry.path().string());
        std::sort(found.begin(), found.end());
        for (const std::string& f : found)
            files += (files.empty() ? "" : ",") + f;
        args.push_back("-seed_inputs=" + files);
    }
    std::vector<char*> argv;
    for (std::string& a : args)
        argv.push_back(a.data());
    argv.push_back(nullptr);
    setenv("ASAN_OPTIONS", "symbolize=0:detect_leaks=0:abort_on_error=0", 1);
    execv(path.c_str(), argv.data());
    refuse(p, fmt::format("{}: {}", path, std::strerror(errno)));
}

const char* program_of(const Job& job)
{
    return job.engine->name == "bytes" || !job.switches.mutation ? "fuzz_provider_bytes" : "fuzz_provider";
}

void fuzzer(const Job& job, Progress& p, int fd)
{
    libfuzzer(job, p, fd, program_of(job));
}

constexpr Engine all_engines[] = {
    {"random", "cases from the generator, all families in one world, one case in four by a client that errs",
     random_cases},
    {"properties", "the streams of cases that the property suite tries, in its proportions", properties_streams},
    {"structured",
     "libFuzzer with the structured mutator, guided by state transitions, and by coverage where the subject is built "
     "for it",
     fuzzer},
    {"bytes", "libFuzzer with its own mutators, guided likewise", fuzzer, true},
    {"exhaustive", "every case of small scopes, one move deeper each time (dmaudit verify)", exhaustive, true},
};

} // namespace

std::span<const Engine> engines()
{
    return all_engines;
}

const Engine* engine_named(std::string_view name)
{
    for (const Engine& e : all_engines)
        if (e.name == name)
            return &e;
    return nullptr;
}

std::string engine_problem(const Job& job)
{
    if (job.engine->run == exhaustive && !job.switches.all_on())
        return "nothing can be switched off in the exhaustive search";
    if (!job.subject->problem.empty())
        return job.subject->problem;
    if (job.engine->run != fuzzer)
        return {};
    const std::string path = job.programs + "/" + program_of(job);
    return access(path.c_str(), X_OK) == 0 ? "" : path + " is not built (target fuzz_targets, with clang)";
}

} // namespace dmaudit::score
