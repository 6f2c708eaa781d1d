#include "score/output.hpp"

#include <algorithm>
#include <fmt/core.h>

namespace dmaudit::score {

std::string brief(double v)
{
    if (v < 1000)
        return fmt::format("{:.0f}", v);
    const bool millions = v >= 999'500;
    const double u = v / (millions ? 1e6 : 1e3);
    const char* unit = millions ? "M" : "k";
    const bool whole = u >= 9.95 || u * 10 == static_cast<double>(static_cast<int>(u)) * 10;
    return whole ? fmt::format("{:.0f}{}", u, unit) : fmt::format("{:.1f}{}", u, unit);
}

std::string rule_names(const std::vector<RuleId>& ids)
{
    std::string out;
    for (const RuleId id : ids)
        out += fmt::format("{}{}", out.empty() ? "" : ", ", rule(id).name);
    return out;
}

namespace {

std::string interval(const Waiting& w)
{
    if (!w.low)
        return "";
    return fmt::format("{}..{}", brief(*w.low), w.high ? brief(*w.high) : "");
}
std::string interval_of_seconds(const Waiting& w)
{
    if (!w.low)
        return "";
    return fmt::format("{:.2f}..{}", *w.low, w.high ? fmt::format("{:.2f}", *w.high) : "");
}

// "3/3 120" and what is to be said of it.
std::string cell(const Result& r)
{
    if (r.trials == 0)
        return "not run";
    std::string notes;
    if (r.crashed)
        notes += "!";
    if (r.hung)
        notes += "~";
    if (r.right < r.detected - r.crashed)
        notes += "*";
    return fmt::format("{}/{} {:>5}{}", r.detected, r.trials, r.executions.median ? brief(*r.executions.median) : "-",
                       notes);
}

size_t widest_id(const Campaign& c)
{
    size_t n = 3;
    for (const Subject& s : c.subjects)
        n = std::max(n, s.id.size());
    return n;
}

std::string brief_table(const Campaign& c)
{
    const size_t width = widest_id(c);
    std::string out = fmt::format("{:<{}}", "bug", width);
    for (const Engine* e : c.engines)
        out += fmt::format("  {:<13}", e->name);
    out += "  expected\n";
    for (size_t s = 0; s < c.subjects.size(); s++) {
        out += fmt::format("{:<{}}", c.subjects[s].id, width);
        for (size_t e = 0; e < c.engines.size(); e++)
            out += fmt::format("  {:<13}", cell(result(c, s, e)));
        out += fmt::format("  {}\n", rule_names(c.subjects[s].expected));
    }
    out += "(trials that found it / trials, median executions; * another rule was named, ! a crash, ~ a hang)\n";
    return out;
}

std::string detailed_table(const Campaign& c)
{
    const size_t width = widest_id(c);
    std::string out =
        fmt::format("{:<{}}  {:<11} {:>7} {:>9} {:>8}  {:<6} {:>10} {:<14} {:>8} {:<12}  {}\n", "bug", width, "engine",
                    "reached", "triggered", "detected", "rule", "executions", "", "seconds", "", "");
    for (size_t s = 0; s < c.subjects.size(); s++)
        for (size_t e = 0; e < c.engines.size(); e++) {
            const Result r = result(c, s, e);
            const auto of = [&](unsigned n) { return fmt::format("{}/{}", n, r.trials); };
            std::string remark = r.trials == 0 ? c.of(s, e).front().problem : "";
            if (r.crashed)
                remark += fmt::format("{} crashed", of(r.crashed));
            if (r.hung)
                remark += fmt::format("{}{} hung", remark.empty() ? "" : ", ", of(r.hung));
            if (r.cut_short)
                remark += fmt::format("{}{} cut short", remark.empty() ? "" : ", ", of(r.cut_short));
            if (!r.other_rules.empty())
                remark += fmt::format("{}also {}", remark.empty() ? "" : ", ", rule_names(r.other_rules));
            out += fmt::format("{:<{}}  {:<11} {:>7} {:>9} {:>8}  {:<6} {:>10} {:<14} {:>8} {:<12}  {}\n",
                               e == 0 ? c.subjects[s].id : "", width, c.engines[e]->name, of(r.reached),
                               of(r.triggered), of(r.detected),
                               r.detected == 0                     ? ""
                               : r.right == r.detected - r.crashed ? "right"
                               : r.right                           ? "mostly"
                                                                   : "other",
                               r.executions.median ? brief(*r.executions.median) : "-", interval(r.executions),
                               r.seconds.median ? fmt::format("{:.2f}", *r.seconds.median) : "-",
                               interval_of_seconds(r.seconds), remark);
        }
    return out;
}

std::string totals(const Campaign& c)
{
    std::string out = fmt::format("{:<11} {:>5} {:>9} {:>10} {:>6} {:>8} {:>10} {:>9} {:>6} {:>11} {:>8}\n", "engine",
                                  "bugs", "all seeds", "some seeds", "missed", "reached", "triggered", "detected",
                                  "right", "executions", "seconds");
    for (size_t e = 0; e < c.engines.size(); e++) {
        const Total t = total(c, e);
        out += fmt::format("{:<11} {:>5} {:>9} {:>10} {:>6} {:>8} {:>10} {:>9} {:>6} {:>11} {:>8.1f}\n",
                           c.engines[e]->name, t.subjects, t.by_all_seeds, t.by_some, t.by_none, t.reached, t.triggered,
                           t.detected, t.right, t.executions, t.seconds);
    }
    out += "(bugs; then trials, executions and seconds of CPU time over all trials)\n";
    for (size_t e = 0; e < c.engines.size(); e++)
        if (const Total t = total(c, e); t.cut_short)
            out += fmt::format("{}: {} of {} trials were cut short by --time-limit, before their budget was used up\n",
                               c.engines[e]->name, t.cut_short, t.trials);
    return out;
}

std::string survivors(const Campaign& c)
{
    const auto marks = marks_of_survival(c.budget);
    std::string out = fmt::format("{:<24}", "alive after executions");
    for (const uint64_t m : marks)
        out += fmt::format("{:>8}", brief(static_cast<double>(m)));
    out += "\n";
    for (size_t e = 0; e < c.engines.size(); e++) {
        const Total t = total(c, e);
        out += fmt::format("{:<24}", c.engines[e]->name);
        for (const uint64_t m : marks)
            out += !t.alive.known_at(static_cast<double>(m))
                       ? fmt::format("{:>8}", "-")
                       : fmt::format("{:>6.1f} %", 100 * t.alive.at(static_cast<double>(m)));
        out += "\n";
    }
    return out;
}

// Names, with commas, in lines of a readable length.
std::string wrapped(const std::vector<std::string>& names)
{
    std::string out = " ";
    size_t width = 1;
    for (size_t i = 0; i < names.size(); i++) {
        if (width + names[i].size() > 118)
            out += "\n ", width = 1;
        out += fmt::format(" {}{}", names[i], i + 1 < names.size() ? "," : "");
        width += names[i].size() + 2;
    }
    return out + "\n";
}

std::string missed(const Campaign& c)
{
    std::string out;
    for (size_t e = 0; e < c.engines.size(); e++) {
        std::vector<std::string> names;
        for (size_t s = 0; s < c.subjects.size(); s++)
            if (const Result r = result(c, s, e); r.trials && r.detected < r.trials) {
                std::string remark;
                if (r.detected)
                    remark = fmt::format("{} of {}", r.trials - r.detected, r.trials);
                else if (r.triggered)
                    remark = "triggered";
                else if (r.reached)
                    remark = "reached";
                if (r.cut_short)
                    remark += fmt::format("{}{} cut short", remark.empty() ? "" : ", ", r.cut_short);
                names.push_back(c.subjects[s].id + (remark.empty() ? "" : " (" + remark + ")"));
            }
        if (!names.empty())
            out += fmt::format("missed by {} ({}):\n{}", c.engines[e]->name, names.size(), wrapped(names));
    }
    std::string unusable;
    unsigned interrupted = 0;
    for (size_t s = 0; s < c.subjects.size(); s++)
        for (size_t e = 0; e < c.engines.size(); e++)
            if (result(c, s, e).unusable) {
                const auto trials = c.of(s, e);
                const auto ran_not = [](const Trial& t) {
                    return t.outcome == Trial::unusable && t.problem != Trial::interrupted;
                };
                interrupted += static_cast<unsigned>(std::count_if(trials.begin(), trials.end(), [&](const Trial& t) {
                    return t.outcome == Trial::unusable && !ran_not(t);
                }));
                if (const auto t = std::find_if(trials.begin(), trials.end(), ran_not); t != trials.end())
                    unusable += fmt::format("  {}, {}: {}\n", c.subjects[s].id, c.engines[e]->name, t->problem);
            }
    if (!unusable.empty())
        out += "not run:\n" + unusable;
    if (interrupted)
        out += fmt::format("interrupted: {} trials did not come to their end and do not count\n", interrupted);
    return out.empty() ? "nothing was missed\n" : out;
}

} // namespace

std::string as_text(const Campaign& c, const Style& style)
{
    std::string off;
    for (const Switch& w : switches())
        if (!(c.switches.*w.member))
            off += fmt::format("without {}: {}\n", w.name, w.effect);
    const Waiting any = waiting(std::vector<Lasted>(c.seeds, {1, true}));
    return fmt::format("{} bugs, {} seed{}, budget {}\n{}\n{}{}\n{}\n{}\n{}", c.subjects.size(), c.seeds,
                       c.seeds == 1 ? "" : "s", budget_text(c), off, style.details ? detailed_table(c) : brief_table(c),
                       !style.details ? ""
                       : c.seeds == 1 ? "(seconds: of CPU time)\n"
                                      : fmt::format("(a..b: intervals that hold the median with {:.0f} %; seconds "
                                                    "of CPU time)\n",
                                                    100 * any.confidence),
                       totals(c), survivors(c), missed(c));
}

} // namespace dmaudit::score
