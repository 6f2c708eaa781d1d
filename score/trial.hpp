// One engine on one subject with one seed: a trial. Each runs in a process of its own, which may crash or hang.
#pragma once
#include "harness/ablation.hpp"
#include "harness/progress.hpp"
#include "score/subject.hpp"

#include <functional>
#include <span>
#include <string>
#include <vector>

namespace dmaudit::score {

struct Job {
    const Subject* subject = nullptr;
    const struct Engine* engine = nullptr;
    uint64_t seed = 1, budget = 0; // executions
    Switches switches;
    std::string programs; // folder of the fuzz targets
    std::string seeds;    // folder of seeds for the fuzzers; empty: they start from nothing
};

// An engine runs in the child and ends it: with the budget used up, with a finding in `progress`, or otherwise.
struct Engine {
    std::string_view name, what;
    void (*run)(const Job&, Progress& progress, int progress_fd);
    bool for_comparison = false; // with a budget of its own: it would use up a large one on most bugs
};
std::span<const Engine> engines();
const Engine* engine_named(std::string_view name);
// Empty, or why the engine cannot run this.
std::string engine_problem(const Job&);

struct Trial {
    enum Outcome : uint8_t {
        missed,    // within the budget
        violation, // a rule was broken
        crashed,   // the process ended by a signal or a sanitizer
        hung,      // no execution ended for a long time
        cut_short, // by the limit of time: nothing until then
        unusable   // did not run at all
    } outcome = unusable;
    uint64_t executions = 0; // until then
    uint64_t first_reached = 0, first_triggered = 0, reached = 0, triggered = 0;
    RuleId rule = RuleId::none; // of a violation; of a hang: no-progress
    std::string key;            // of a violation
    double seconds = 0;         // of CPU time
    std::string problem;
    static constexpr std::string_view interrupted = "interrupted"; // a problem

    bool detected() const { return outcome == violation || outcome == crashed || outcome == hung; }
    // A place that a finding came from was passed, whether or not the counters could be read in time.
    bool was_reached() const { return first_reached || was_triggered(); }
    bool was_triggered() const { return first_triggered || detected(); }
};

struct Limits {
    double trial = 300, hang = 20; // seconds of real time: for a trial, and without an execution that ends
};

// Runs the jobs, `at_once` processes at a time. `done(i, trial)` is called as they end, in any order. Once `stop` says
// so those that run are killed, and these and the others are unusable: interrupted.
void run_trials(const std::vector<Job>&, unsigned at_once, const Limits&,
                const std::function<void(size_t, const Trial&)>& done, const std::function<bool()>& stop);

} // namespace dmaudit::score
