// The score as one HTML file: no script, no outside resource, light and dark.
#include "score/output.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/core.h>

namespace dmaudit::score {
namespace {

std::string escaped(std::string_view s)
{
    std::string out;
    for (const char c : s)
        switch (c) {
        case '&':
            out += "&amp;";
            break;
        case '<':
            out += "&lt;";
            break;
        case '>':
            out += "&gt;";
            break;
        case '"':
            out += "&quot;";
            break;
        default:
            out += c;
        }
    return out;
}

constexpr const char* style_sheet = R"(
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--soft:#5a6370;--line:#d9dee5;--panel:#f5f7f9;--bad:#b3261e;
--e0:#1f6fb4;--e1:#c25a00;--e2:#2a7d3b;--e3:#8a4fb3;--e4:#a07800}
@media(prefers-color-scheme:dark){:root{--bg:#14171b;--fg:#e6e9ed;--soft:#9aa4b0;--line:#323942;--panel:#1c2127;--bad:#ff8a80;
--e0:#6db3f2;--e1:#ff9f4a;--e2:#6fcf83;--e3:#c99af0;--e4:#e0bd4a}}
*{box-sizing:border-box}
body{margin:0 auto;padding:24px 20px 60px;max-width:1180px;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif}
h1{font-size:24px;margin:0 0 4px}h2{font-size:18px;margin:36px 0 8px}
p{margin:4px 0 12px;max-width:80ch}.soft{color:var(--soft)}code{font:13px ui-monospace,monospace;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%;font-size:14px}th,td{padding:5px 10px;text-align:left;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:600;background:var(--panel);white-space:nowrap}
td:first-child{white-space:nowrap}td:first-child .note{white-space:normal}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.scroll{overflow-x:auto;border:1px solid var(--line);border-radius:6px}.scroll tr:last-child td{border-bottom:0}
.none{color:var(--bad);font-weight:600}.note{color:var(--soft);font-size:12.5px}
svg{display:block;width:100%;min-width:760px;height:auto;background:var(--panel)}
svg text{fill:var(--fg);font:12px system-ui,sans-serif}svg .tick{fill:var(--soft)}svg .grid{stroke:var(--line);stroke-width:1}
svg .curve{fill:none;stroke-width:2}svg .band{opacity:.13;stroke:none}
.key{display:inline-block;width:12px;height:12px;border-radius:2px;margin-right:6px;vertical-align:-1px}
.bar{display:block;height:4px;border-radius:2px;margin-top:3px;opacity:.85}
)";

constexpr const char* dashes[] = {"", "7 4", "2 3", "10 3 2 3", "4 2"};

// Survival curves over a logarithmic axis of executions.
std::string curves(const Campaign& c)
{
    constexpr double width = 1000, height = 420, left = 64, right = 150, top = 18, bottom = 48;
    const double most = static_cast<double>(std::max<uint64_t>(c.budget, 10));
    const double decades = std::log10(most);
    const auto x = [&](double v) {
        return left + (width - left - right) * std::log10(std::clamp(v, 1.0, most)) / decades;
    };
    const auto y = [&](double share) { return top + (height - top - bottom) * (1 - share); };
    std::string out =
        fmt::format("<div class='scroll'><svg viewBox='0 0 {} {}' role='img' aria-label='Share of trials in which the bug is not yet "
                    "found, over executions'>\n",
                    width, height);
    for (int percent = 0; percent <= 100; percent += 20)
        out += fmt::format("<line class='grid' x1='{0}' x2='{1}' y1='{2:.1f}' y2='{2:.1f}'/><text class='tick' x='{3}' "
                           "y='{4:.1f}' text-anchor='end'>{5} %</text>\n",
                           left, width - right, y(percent / 100.0), left - 8, y(percent / 100.0) + 4, percent);
    for (double v = 1; v <= most * 1.0001; v *= 10)
        out += fmt::format("<line class='grid' x1='{0:.1f}' x2='{0:.1f}' y1='{1}' y2='{2}'/><text class='tick' "
                           "x='{0:.1f}' y='{3}' text-anchor='middle'>{4}</text>\n",
                           x(v), top, height - bottom, height - bottom + 18, brief(v));
    out += fmt::format("<text x='{:.1f}' y='{}' text-anchor='middle'>executions</text>\n", (left + width - right) / 2,
                       height - 10);
    struct Label {
        double y;
        size_t engine;
        double share;
    };
    std::vector<Label> labels;
    for (size_t e = 0; e < c.engines.size(); e++) {
        const Total t = total(c, e);
        if (t.trials == 0)
            continue;
        std::string path = fmt::format("M{:.1f} {:.1f}", x(1), y(1)), upper = path, lower;
        std::vector<std::string> back;
        double before = 1, low = 1, high = 1;
        for (const auto& s : t.alive.steps) {
            if (s.time == 0)
                continue;
            const double at = x(s.time), l = std::max(0.0, s.share - 1.96 * s.error),
                         h = std::min(1.0, s.share + 1.96 * s.error);
            path += fmt::format("H{:.1f}V{:.1f}", at, y(s.share));
            upper += fmt::format("H{:.1f}V{:.1f}", at, y(h));
            back.push_back(fmt::format("L{:.1f} {:.1f}L{:.1f} {:.1f}", at, y(l), at, y(low)));
            before = s.share, low = l, high = h;
        }
        const double end = x(t.alive.known_at(most) ? most : t.alive.until);
        path += fmt::format("H{:.1f}", end);
        upper += fmt::format("H{0:.1f}L{0:.1f} {1:.1f}", end, y(low));
        std::reverse(back.begin(), back.end());
        for (const std::string& b : back)
            upper += b;
        (void)high;
        out += fmt::format("<path class='band' d='{}Z' style='fill:var(--e{})'/>\n", upper, e % 5);
        out += fmt::format("<path class='curve' d='{}' style='stroke:var(--e{})' stroke-dasharray='{}'/>\n", path,
                           e % 5, dashes[e % 5]);
        labels.push_back({y(before) + 4, e, before});
    }
    std::sort(labels.begin(), labels.end(), [](const Label& a, const Label& b) { return a.y < b.y; });
    for (size_t i = 1; i < labels.size(); i++)
        labels[i].y = std::max(labels[i].y, labels[i - 1].y + 16);
    double over = labels.empty() ? 0 : std::max(0.0, labels.back().y - (height - bottom + 4));
    for (const Label& l : labels)
        out += fmt::format("<text x='{}' y='{:.1f}' style='fill:var(--e{})'>{} {:.0f} %</text>\n", width - right + 8,
                           l.y - over, l.engine % 5, c.engines[l.engine]->name, 100 * l.share);
    return out + "</svg></div>\n";
}

std::string key(size_t engine)
{
    return fmt::format("<span class='key' style='background:var(--e{})'></span>", engine % 5);
}

std::string summary(const Campaign& c)
{
    std::string out = "<div class='scroll'><table><tr><th>engine</th><th class='n'>bugs found</th><th class='n'>by all "
                      "seeds</th><th class='n'>missed</th><th class='n'>right rule</th><th class='n'>reached</th><th "
                      "class='n'>triggered</th><th class='n'>executions</th><th class='n'>CPU seconds</th></tr>\n";
    for (size_t e = 0; e < c.engines.size(); e++) {
        const Total t = total(c, e);
        const auto share = [&](unsigned n) {
            return t.trials ? fmt::format("{:.1f} %", 100.0 * n / t.trials) : std::string("-");
        };
        out +=
            fmt::format("<tr><td>{}{}<div class='note'>{}</div></td><td class='n'>{} of {}</td><td "
                        "class='n'>{}</td><td class='n{}'>{}</td><td class='n'>{} of {}</td><td class='n'>{}</td><td "
                        "class='n'>{}</td><td class='n'>{}</td><td class='n'>{:.1f}</td></tr>\n",
                        key(e), c.engines[e]->name, escaped(c.engines[e]->what), t.by_all_seeds + t.by_some, t.subjects,
                        t.by_all_seeds, t.by_none ? " none" : "", t.by_none, t.right, t.detected, share(t.reached),
                        share(t.triggered), brief(static_cast<double>(t.executions)), t.seconds);
    }
    return out +
           "</table></div>\n<p class='note'>Right rule: of the trials that detected something, those that named a rule "
           "that is expected. Reached, triggered: shares of the trials that passed the bug's place, and in which it "
           "made "
           "a difference.</p>\n";
}

std::string survivors(const Campaign& c)
{
    std::string out = "<div class='scroll'><table><tr><th>not found after executions</th>";
    const auto marks = marks_of_survival(c.budget);
    for (const uint64_t m : marks)
        out += fmt::format("<th class='n'>{}</th>", brief(static_cast<double>(m)));
    out += "</tr>\n";
    for (size_t e = 0; e < c.engines.size(); e++) {
        const Total t = total(c, e);
        out += fmt::format("<tr><td>{}{}</td>", key(e), c.engines[e]->name);
        for (const uint64_t m : marks)
            out += !t.alive.known_at(static_cast<double>(m))
                       ? "<td class='n'>-</td>"
                       : fmt::format("<td class='n'>{:.1f} %</td>", 100 * t.alive.at(static_cast<double>(m)));
        out += "</tr>\n";
    }
    return out + "</table></div>\n";
}

std::string cell(const Campaign& c, size_t s, size_t e)
{
    const Result r = result(c, s, e);
    if (r.trials == 0)
        return fmt::format("<td class='n note' title='{}'>not run</td>", escaped(c.of(s, e).front().problem));
    std::string notes;
    if (!r.other_rules.empty())
        notes += "also " + rule_names(r.other_rules);
    if (r.crashed)
        notes += fmt::format("{}{} crashed", notes.empty() ? "" : ", ", r.crashed);
    if (r.hung)
        notes += fmt::format("{}{} hung", notes.empty() ? "" : ", ", r.hung);
    const double decades = std::log10(static_cast<double>(std::max<uint64_t>(c.budget, 10)));
    std::string title =
        fmt::format("reached {0}, triggered {1}, detected {2} of {3}", r.reached, r.triggered, r.detected, r.trials);
    if (r.executions.low)
        title += fmt::format("; executions {}..{}", brief(*r.executions.low),
                             r.executions.high ? brief(*r.executions.high) : "beyond the budget");
    std::string out = fmt::format("<td class='n' title='{}'>", title);
    if (r.detected == 0)
        return out + fmt::format("<span class='none'>missed</span><div class='note'>{}</div></td>",
                                 r.triggered ? "triggered"
                                 : r.reached ? "reached"
                                             : "not reached");
    out += fmt::format("{}", r.executions.median ? brief(*r.executions.median)
                                                 : fmt::format("{} of {}", r.detected, r.trials));
    if (r.executions.low)
        out += fmt::format(" <span class='note'>{}..{}</span>", brief(*r.executions.low),
                           r.executions.high ? brief(*r.executions.high) : "");
    if (r.executions.median)
        out +=
            fmt::format("<span class='bar' style='width:{:.0f}%;background:var(--e{})'></span>",
                        std::clamp(100 * std::log10(std::max(1.5, *r.executions.median)) / decades, 3.0, 100.0), e % 5);
    if (r.executions.median && r.detected < r.trials)
        notes = fmt::format("{} of {}{}", r.detected, r.trials, notes.empty() ? "" : ", ") + notes;
    return out + (notes.empty() ? "" : fmt::format("<div class='note'>{}</div>", notes)) + "</td>";
}

std::string bugs(const Campaign& c)
{
    std::string out = "<div class='scroll'><table><tr><th>bug</th><th>expected</th>";
    for (size_t e = 0; e < c.engines.size(); e++)
        out += fmt::format("<th class='n'>{}{}</th>", key(e), c.engines[e]->name);
    out += "</tr>\n";
    for (size_t s = 0; s < c.subjects.size(); s++) {
        const Subject& b = c.subjects[s];
        out += fmt::format("<tr><td>{}<div class='note'>{}{}{}</div></td><td class='note'>{}</td>", escaped(b.id),
                           escaped(b.family), b.family.empty() || b.real.empty() ? "" : ": ", escaped(b.real),
                           rule_names(b.expected));
        for (size_t e = 0; e < c.engines.size(); e++)
            out += cell(c, s, e);
        out += "</tr>\n";
    }
    return out + "</table></div>\n";
}

} // namespace

std::string as_page(const Campaign& c, const Style& style)
{
    std::string off;
    for (const Switch& w : switches())
        if (!(c.switches.*w.member))
            off += fmt::format("<p>Switched off: <b>{}</b> ({}).</p>\n", w.name, w.effect);
    const std::string how_often =
        c.seeds == 1 ? "Executions until the bug was found."
                     : fmt::format("Median executions until the bug was found; small, the interval that holds the "
                                   "median with {:.0f} %.",
                                   100 * waiting(std::vector<Lasted>(c.seeds, {1, true})).confidence);
    return fmt::format(
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><meta name='viewport' "
        "content='width=device-width,initial-scale=1'>\n<title>dmaudit score</title>\n<style>{}</style></head><body>\n"
        "<h1>dmaudit score</h1>\n<p class='soft'>{} bugs, {} seed{} for each engine, at most {} for a trial. "
        "<code>{}</code></p>\n{}{}\n<h2>How long bugs live</h2>\n<p>The share of trials (one bug, one seed) in which "
        "nothing "
        "was found yet, after so many executions; Kaplan-Meier, with bands of 95 %. Lower is better.</p>\n{}{}\n"
        "<h2>Bug by bug</h2>\n<p>{} The bar is the median on the axis of the curves. Figures below say how many trials found it where "
        "not all "
        "did, and which rules were named that are not expected.</p>\n{}</body></html>\n",
        style_sheet, c.subjects.size(), c.seeds, c.seeds == 1 ? "" : "s", budget_text(c), escaped(style.command), off,
        summary(c), curves(c), "<p></p>" + survivors(c), how_often, bugs(c));
}

} // namespace dmaudit::score
