#include "harness/report.hpp"

#include "harness/text.hpp"

#include <algorithm>
#include <fmt/core.h>
#include <vector>

namespace dmaudit {
namespace {

std::string_view op_name(uint8_t op)
{
    return op < op_count ? specs()[op].name : "end";
}

// A DMAUDIT_ code, by name.
std::string result_name(uint64_t code)
{
    static constexpr std::string_view names[] = {"OK",    "EINVAL", "ENOMEM", "EMASK",  "EALIGN", "ENULL", "EZERO",
                                                 "EBUSY", "ENXIO",  "ENODEV", "ENOSYS", "EFAULT", "EIO",   "EBADF"};
    static_assert(std::size(names) == DMAUDIT_EBADF + 1);
    return code < std::size(names) ? fmt::format("{} ({})", names[code], code)
                                   : fmt::format("{}, which is no code", static_cast<int64_t>(code));
}

std::string numbers_text(const Violation& v)
{
    switch (v.numbers) {
    case Numbers::values:
        return fmt::format(": expected {:#x}, found {:#x}", v.expected, v.got);
    case Numbers::codes:
        return fmt::format(": expected {}, found {}", result_name(v.expected), result_name(v.got));
    case Numbers::address:
        return fmt::format(": device address {:#x}", v.got);
    case Numbers::none:
        break;
    }
    return {};
}

// How a byte is drawn.
struct Glyph {
    char letter;
    int colour; // ANSI
    std::string_view meaning;
};
Glyph glyph(uint8_t s)
{
    switch (owner_of(s)) {
    case Owner::none:
        return {'.', 90, "nobody's"};
    case Owner::provider:
        return {'p', 35, "provider's"};
    case Owner::cpu:
        if (direction_of(s) == Direction::none)
            return cache_of(s) == CacheState::cpu_wrote      ? Glyph{'W', 32, "CPU's, written"}
                   : cache_of(s) == CacheState::device_wrote ? Glyph{'s', 33, "CPU's, stale"}
                                                             : Glyph{'c', 32, "CPU's"};
        return cache_of(s) == CacheState::cpu_wrote ? Glyph{'H', 36, "mapped, with the CPU, written"}
                                                    : Glyph{'h', 36, "mapped, with the CPU"};
    case Owner::device:
        return direction_of(s) == Direction::to          ? Glyph{'r', 34, "device's, to_device"}
               : direction_of(s) == Direction::none      ? Glyph{'m', 34, "several devices', to_device"}
               : cache_of(s) == CacheState::device_wrote ? Glyph{'D', 31, "device's, written by it"}
                                                         : Glyph{'d', 31, "device's"};
    case Owner::shared:
        return {'S', 33, "coherent"};
    case Owner::guard:
        return {'t', 90, "tail of a block"};
    case Owner::opaque:
        return {'o', 33, "opaque"};
    default:
        return {'?', 0, "?"};
    }
}

// Replays the case and notes what happened to the first bad byte, and how the bytes around it looked at the end.
class History final : public StepTrace {
  public:
    History(const Case& c, const Violation& v) : case_(c), violation_(v) {}
    void step(unsigned i) override
    {
        step_ = i;
        ran_ = true;
    }
    void returned(int rc) override { codes_[step_] = rc; }
    void applied(Event, Range r) override
    {
        if (!violation_.bytes.empty() && r.contains(violation_.bytes.at))
            events_.push_back(step_);
    }
    void stopped(Session& s) override
    {
        states_.clear();
        const uint64_t line = case_.world.line, ram = s.auditor().map().size();
        if (violation_.bytes.empty())
            return;
        const Range wanted = Range{violation_.bytes.at, 1}.lines(std::max<uint64_t>(line, 64));
        first_ = wanted.at >= 64 ? wanted.at - 64 : 0;
        for (uint64_t at = first_; at < std::min(wanted.end() + 64, ram); at++)
            states_.push_back(s.auditor().map().at(at));
        address_ = s.machine().phys_of(violation_.bytes.at);
        first_address_ = s.machine().phys_of(first_);
    }

    // What was done before the violation: what concerned the first bad byte with a mark and, if it is little, the rest.
    std::string lines(const Result& r) const
    {
        std::string out;
        const unsigned until = std::min(r.step, case_.count);
        for (unsigned i = 0; i < until; i++) {
            const bool here = std::find(events_.begin(), events_.end(), i) != events_.end();
            if (here || (until <= few && (r.executed[i] || !ran_)))
                out += fmt::format("  {} op {:<3} {}{}\n", here ? '*' : ' ', i, print(case_.steps[i]),
                                   codes_[i] > DMAUDIT_OK ? ": " + result_name(static_cast<uint64_t>(codes_[i])) : "");
        }
        if (until > few)
            out += fmt::format("    of {} ops\n", until);
        return out;
    }

    std::string picture(bool colour) const
    {
        std::string out, legend;
        std::vector<char> seen;
        for (uint64_t row = 0; row < states_.size(); row += 64) {
            out += fmt::format("    {:#014x}  ", first_address_ + row);
            for (uint64_t i = row; i < std::min<uint64_t>(row + 64, states_.size()); i++) {
                const Glyph g = glyph(states_[i]);
                out += colour ? fmt::format("\x1b[{}m{}\x1b[0m", g.colour, g.letter) : std::string(1, g.letter);
                if (i % 16 == 15 && i % 64 != 63)
                    out += ' ';
                if (std::find(seen.begin(), seen.end(), g.letter) == seen.end()) {
                    seen.push_back(g.letter);
                    legend += (legend.empty() ? "" : ", ") +
                              (colour ? fmt::format("\x1b[{}m{}\x1b[0m {}", g.colour, g.letter, g.meaning)
                                      : fmt::format("{} {}", g.letter, g.meaning));
                }
            }
            out += '\n';
            if (const uint64_t bad = violation_.bytes.at - first_; bad >= row && bad < row + 64) {
                const uint64_t column = bad - row, shown = std::min(violation_.bytes.len, 64 - column);
                std::string marks(20, ' ');
                for (uint64_t i = 0; i < column + shown; i++) {
                    marks += i >= column ? '^' : ' ';
                    if (i % 16 == 15)
                        marks += ' ';
                }
                out += marks.substr(0, marks.find_last_not_of(' ') + 1) + '\n';
            }
        }
        return out.empty() ? out : out + "    (" + legend + ")\n";
    }
    uint64_t address() const { return address_; }
    bool has_bytes() const { return !states_.empty(); }

  private:
    static constexpr unsigned few = 16;
    const Case& case_;
    const Violation& violation_;
    unsigned step_ = 0;
    bool ran_ = false;                   // else nothing is known but the case
    std::array<int, max_steps> codes_{}; // of the provider's calls
    std::vector<unsigned> events_; // steps that concerned the first bad byte
    std::vector<uint8_t> states_;
    uint64_t first_ = 0, address_ = 0, first_address_ = 0;
};

} // namespace

BugKey key_of(const Case& c, const Result& r)
{
    if (!r.violation)
        return {};
    return {r.violation->rule, static_cast<uint8_t>(r.violation->state & 0x7f),
            r.step < c.count ? c.steps[r.step].op : static_cast<uint8_t>(op_count)};
}

std::string key_lines(const BugKey& k)
{
    const std::string_view name = rule(k.rule).name, state = state_name(k.state), op = op_name(k.op);
    return fmt::format("dmaudit.cc:1: ASSERTION FAILED: dmaudit {} {}->{}\nDEDUP_TOKEN: {}--{}--{}\n", name, state, op,
                       name, state, op);
}

std::string report(const Case& c, const Result& r, const dmaudit_provider& provider, Session& session,
                   const ReportOptions& options)
{
    if (!r.violation)
        return "no violation\n";
    const Violation& v = *r.violation;
    const Rule& broken = rule(v.rule);
    History history(c, v);
    if (options.history)
        execute(c, provider, session, nullptr, nullptr, &history);

    const auto bold = [&](std::string_view s) {
        return options.colour ? fmt::format("\x1b[1m{}\x1b[0m", s) : std::string(s);
    };
    std::string out = key_lines(key_of(c, r));
    const std::string_view whose = broken.fault == Fault::provider ? "the provider's fault"
                                   : broken.fault == Fault::client ? "the client's fault"
                                                                   : "a limit of the auditor";
    out += fmt::format("\n{}: {}\n  {} (CWE-{}; provider: {})\n", bold(broken.name), broken.meaning, whose, broken.cwe,
                       provider.name);
    out += fmt::format("\n  op {:<3}  {}\n", r.step,
                       r.step < c.count ? print(c.steps[r.step]) : "(at the end: everything is given back)");
    if (*v.what)
        out += fmt::format("  what    {}{}\n", v.what, numbers_text(v));
    if (v.asked >= 0)
        out += fmt::format("  asked   as in op {}: {}\n", v.asked, print(c.steps[static_cast<unsigned>(v.asked)]));
    if (history.has_bytes()) {
        out += fmt::format("  bytes   {} from physical address {:#x}\n", v.bytes.len, history.address());
        out += fmt::format("  state   {}: {}{}\n", state_name(v.state), state_text(v.state),
                           is_initialised(v.state) ? "" : ", contents undefined");
    }
    if (const std::string lines = history.lines(r); !lines.empty())
        out += history.has_bytes() ? fmt::format("\n  until then (* concerned {:#x}):\n{}", history.address(), lines)
                                   : fmt::format("\n  until then:\n{}", lines);
    if (history.has_bytes())
        out += fmt::format("\n  the bytes around it:\n{}", history.picture(options.colour));
    out += fmt::format("\n  {}\n", broken.advice);
    if (!options.replay.empty())
        out += fmt::format("\n  replay: {}\n", options.replay);
    return out;
}

} // namespace dmaudit
