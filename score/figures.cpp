#include "score/figures.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

namespace dmaudit::score {
namespace {

// P(X <= k) for the number X of heads in n throws of a fair coin.
double coins(size_t n, size_t k)
{
    double sum = 0, term = std::pow(0.5, static_cast<double>(n));
    for (size_t i = 0; i <= k; i++) {
        sum += term;
        term = term * static_cast<double>(n - i) / static_cast<double>(i + 1);
    }
    return sum;
}

void sort(std::vector<Lasted>& v)
{
    std::sort(v.begin(), v.end(),
              [](const Lasted& a, const Lasted& b) { return a.time != b.time ? a.time < b.time : a.seen > b.seen; });
}

} // namespace

Waiting waiting(std::vector<Lasted> v)
{
    Waiting w;
    const size_t n = v.size();
    if (n == 0)
        return w;
    // Who did not see it counts as longer than anybody who did.
    std::vector<double> seen;
    for (const Lasted& l : v)
        if (l.seen)
            seen.push_back(l.time);
    std::sort(seen.begin(), seen.end());
    const auto rank = [&](size_t i) { return i < seen.size() ? std::optional(seen[i]) : std::nullopt; };
    const auto lower = rank((n - 1) / 2), upper = rank(n / 2);
    if (lower && upper)
        w.median = (*lower + *upper) / 2;
    if (n == 1)
        return w; // one trial says nothing of where the median is
    // [k-th smallest, k-th largest] holds the median with 1 - 2 P(X <= k - 1).
    size_t k = 0;
    while (2 * (k + 2) <= n + 1 && 1 - 2 * coins(n, k + 1) >= 0.95)
        k++;
    w.confidence = 1 - 2 * coins(n, k);
    w.low = rank(k);
    w.high = rank(n - 1 - k);
    return w;
}

Survival survival(std::vector<Lasted> v)
{
    Survival s;
    s.steps.push_back({0, 1, 0});
    sort(v);
    if (!v.empty())
        s.until = v.back().time;
    double share = 1, sum = 0;
    for (size_t i = 0; i < v.size();) {
        const double at_risk = static_cast<double>(v.size() - i);
        double events = 0;
        const double time = v[i].time;
        for (; i < v.size() && v[i].time == time; i++)
            events += v[i].seen;
        if (events == 0)
            continue;
        share *= 1 - events / at_risk;
        if (at_risk > events)
            sum += events / (at_risk * (at_risk - events));
        s.steps.push_back({time, share, share * std::sqrt(sum)});
    }
    return s;
}

double Survival::at(double time) const
{
    double share = 1;
    for (const Step& s : steps)
        if (s.time <= time)
            share = s.share;
    return share;
}

Result result(const Campaign& c, size_t subject, size_t engine)
{
    Result r;
    std::vector<Lasted> executions, seconds;
    for (const Trial& t : c.of(subject, engine)) {
        if (t.outcome == Trial::unusable) {
            r.unusable++;
            continue;
        }
        r.trials++;
        r.reached += t.was_reached();
        r.triggered += t.was_triggered();
        r.detected += t.detected();
        r.crashed += t.outcome == Trial::crashed;
        r.hung += t.outcome == Trial::hung;
        r.cut_short += t.outcome == Trial::cut_short;
        const bool right = t.rule != RuleId::none && c.subjects[subject].expects(t.rule);
        r.right += right;
        if (t.outcome == Trial::violation && !right &&
            std::find(r.other_rules.begin(), r.other_rules.end(), t.rule) == r.other_rules.end())
            r.other_rules.push_back(t.rule);
        executions.push_back({static_cast<double>(t.executions), t.detected()});
        seconds.push_back({t.seconds, t.detected()});
    }
    std::sort(r.other_rules.begin(), r.other_rules.end());
    r.executions = waiting(std::move(executions));
    r.seconds = waiting(std::move(seconds));
    return r;
}

Total total(const Campaign& c, size_t engine)
{
    Total sum;
    std::vector<Lasted> all;
    for (size_t s = 0; s < c.subjects.size(); s++) {
        const Result r = result(c, s, engine);
        if (r.trials == 0) {
            sum.unusable++;
            continue;
        }
        sum.subjects++;
        sum.by_all_seeds += r.detected == r.trials;
        sum.by_some += r.detected > 0 && r.detected < r.trials;
        sum.by_none += r.detected == 0;
        sum.trials += r.trials, sum.reached += r.reached, sum.triggered += r.triggered, sum.detected += r.detected;
        sum.right += r.right;
        sum.cut_short += r.cut_short;
        for (const Trial& t : c.of(s, engine))
            if (t.outcome != Trial::unusable) {
                sum.executions += t.executions;
                sum.seconds += t.seconds;
                // Who has missed it had all of the budget, also where there was nothing more to run.
                const uint64_t lasted = t.outcome == Trial::missed ? c.budget_of(*c.engines[engine]) : t.executions;
                all.push_back({static_cast<double>(lasted), t.detected()});
            }
    }
    sum.alive = survival(std::move(all));
    return sum;
}

std::string budget_text(const Campaign& c)
{
    std::string others;
    for (const Engine* e : c.engines)
        if (c.budget_of(*e) != c.budget)
            others += fmt::format("{}{}", others.empty() ? "" : ", ", e->name);
    return fmt::format("{} executions{}", c.budget,
                       others.empty() ? "" : fmt::format(" ({}: {})", others, c.comparison_budget));
}

std::vector<uint64_t> marks_of_survival(uint64_t budget)
{
    std::vector<uint64_t> out;
    for (uint64_t m = 10; m < budget && m <= budget / 2; m *= 10)
        out.push_back(m);
    out.push_back(budget);
    return out;
}

} // namespace dmaudit::score
