// What the trials say: figures, none of them rounded or printed here.
#pragma once
#include "score/trial.hpp"

#include <algorithm>
#include <optional>

namespace dmaudit::score {

struct Campaign {
    std::vector<Subject> subjects;
    std::vector<const Engine*> engines;
    uint64_t seeds = 1, budget = 0, comparison_budget = ~uint64_t{0};
    Switches switches;
    std::vector<Trial> trials; // [subject][engine][seed]

    // Executions of a trial.
    uint64_t budget_of(const Engine& e) const
    {
        return e.for_comparison ? std::min(budget, comparison_budget) : budget;
    }

    size_t index(size_t subject, size_t engine, uint64_t seed) const
    {
        return (subject * engines.size() + engine) * seeds + seed;
    }
    std::span<const Trial> of(size_t subject, size_t engine) const
    {
        return {trials.data() + index(subject, engine, 0), seeds};
    }
};

// How long until something happens, where not every trial saw it happen: those are known to have taken longer.
struct Waiting {
    std::optional<double> median; // nothing: at least half of the trials did not see it
    std::optional<double> low, high;
    double confidence = 0; // that the true median lies in [low, high]; a high of nothing: beyond what was tried
};
struct Lasted {
    double time;
    bool seen; // it happened then; else the trial ended
};
// The interval is that of order statistics: no assumption on the distribution. The narrowest that holds 95 %, or what
// the number of trials allows.
Waiting waiting(std::vector<Lasted>);

// Kaplan-Meier: the share of trials that have seen nothing after `time`.
struct Survival {
    struct Step {
        double time, share, error; // from here on; standard error (Greenwood)
    };
    std::vector<Step> steps; // begins at 0 with share 1
    double until = 0;        // nobody was looked at for longer
    double at(double time) const;
    bool known_at(double time) const { return time <= until || steps.back().share == 0; }
};
Survival survival(std::vector<Lasted>);

// Of one engine on one subject.
struct Result {
    unsigned trials = 0, reached = 0, triggered = 0, detected = 0, right = 0, crashed = 0, hung = 0, unusable = 0,
             cut_short = 0;
    Waiting executions, seconds;
    std::vector<RuleId> other_rules; // that were reported though they are not expected
};
Result result(const Campaign&, size_t subject, size_t engine);

// Of one engine on all of them.
struct Total {
    unsigned subjects = 0, by_all_seeds = 0, by_some = 0, by_none = 0, unusable = 0;
    unsigned trials = 0, reached = 0, triggered = 0, detected = 0, right = 0, cut_short = 0;
    uint64_t executions = 0;
    double seconds = 0;
    Survival alive; // of trials, over executions
};
Total total(const Campaign&, size_t engine);

// 100, 1000, ... up to the budget, and the budget itself.
std::vector<uint64_t> marks_of_survival(uint64_t budget);

// "100 executions (bytes, exhaustive: 10)".
std::string budget_text(const Campaign&);

} // namespace dmaudit::score
