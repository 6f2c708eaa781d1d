#include "score/output.hpp"

#include <nlohmann/json.hpp>

namespace dmaudit::score {
namespace {

using Json = nlohmann::ordered_json;

Json optional(const std::optional<double>& v)
{
    return v ? Json(*v) : Json(nullptr);
}

Json waiting_json(const Waiting& w)
{
    return {{"median", optional(w.median)},
            {"low", optional(w.low)},
            {"high", optional(w.high)},
            {"confidence", w.confidence}};
}

constexpr const char* outcomes[] = {"missed", "violation", "crashed", "hung", "cut short", "unusable"};

} // namespace

std::string as_json(const Campaign& c, const Style& style)
{
    Json engines = Json::array(), subjects = Json::array(), off = Json::array();
    for (const Switch& w : switches())
        if (!(c.switches.*w.member))
            off.push_back(w.name);
    for (size_t e = 0; e < c.engines.size(); e++) {
        const Total t = total(c, e);
        Json curve = Json::array();
        for (const auto& s : t.alive.steps)
            curve.push_back({s.time, s.share, s.error});
        engines.push_back({{"name", c.engines[e]->name},
                           {"what", c.engines[e]->what},
                           {"bugs", t.subjects},
                           {"by_all_seeds", t.by_all_seeds},
                           {"by_some", t.by_some},
                           {"by_none", t.by_none},
                           {"trials", t.trials},
                           {"reached", t.reached},
                           {"triggered", t.triggered},
                           {"detected", t.detected},
                           {"right_rule", t.right},
                           {"executions", t.executions},
                           {"seconds", t.seconds},
                           {"survival", curve}});
    }
    for (size_t s = 0; s < c.subjects.size(); s++) {
        const Subject& subject = c.subjects[s];
        Json expected = Json::array(), by = Json::object();
        for (const RuleId id : subject.expected)
            expected.push_back(rule(id).name);
        for (size_t e = 0; e < c.engines.size(); e++) {
            const Result r = result(c, s, e);
            Json trials = Json::array();
            uint64_t seed = 1;
            for (const Trial& t : c.of(s, e)) {
                Json one = {{"seed", seed++},
                            {"outcome", outcomes[t.outcome]},
                            {"executions", t.executions},
                            {"first_reached", t.first_reached},
                            {"first_triggered", t.first_triggered},
                            {"reached", t.reached},
                            {"triggered", t.triggered},
                            {"seconds", t.seconds}};
                if (t.rule != RuleId::none)
                    one["rule"] = rule(t.rule).name;
                if (!t.key.empty())
                    one["key"] = t.key;
                if (!t.problem.empty())
                    one["problem"] = t.problem;
                trials.push_back(one);
            }
            by[std::string(c.engines[e]->name)] = {{"detected", r.detected},
                                                   {"right_rule", r.right},
                                                   {"executions", waiting_json(r.executions)},
                                                   {"seconds", waiting_json(r.seconds)},
                                                   {"trials", trials}};
        }
        subjects.push_back({{"id", subject.id},
                            {"family", subject.family},
                            {"real", subject.real},
                            {"expected", expected},
                            {"depth", subject.depth},
                            {"engines", by}});
    }
    const Json all = {{"score", 1},          {"command", style.command}, {"seeds", c.seeds}, {"budget", c.budget},
                      {"comparison_budget", std::min(c.budget, c.comparison_budget)},
                      {"switched_off", off}, {"engines", engines},       {"bugs", subjects}};
    return all.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

} // namespace dmaudit::score
