// What auditing costs: the same cases with and without the auditor, in turns, in one process; the data oracle's work is
// done in both. Also what a reset costs. Prints the median of the ratios. Arguments: the profiles, if not the usual
// four.
#include "harness/execute.hpp"
#include "harness/generate.hpp"
#include "providers/builtin/builtin.hpp"

#include <algorithm>
#include <chrono>
#include <fmt/core.h>
#include <string>
#include <vector>

using namespace dmaudit;

namespace {

using Clock = std::chrono::steady_clock;

// The cases of a profile, reduced to steps that are executed, so that both runs do the same.
std::vector<Case> legal_cases(const Profile& profile, unsigned n, Session& session)
{
    std::vector<Case> out;
    for (uint64_t seed = 1; out.size() < n; seed++) {
        Case c, kept;
        generate(seed, profile, c, 32);
        kept.world = c.world;
        if (kept.world.banks[0].size * kept.world.n_banks > 256 << 10)
            continue;
        // Append step by step; keep what is executed.
        for (const Step& s : c.all()) {
            Case next = kept;
            next.push(s);
            Tally t;
            const Result r = execute(next, builtin_provider(), session, &t);
            if (!r.violation && t.executed == next.count)
                kept = next;
        }
        if (kept.count >= 20)
            out.push_back(kept);
    }
    return out;
}

double run(const std::vector<Case>& cases, Session& session, bool audited, Tally& tally)
{
    session.auditor().audit(audited);
    const auto start = Clock::now();
    for (const Case& c : cases)
        execute(c, builtin_provider(), session, &tally);
    const double s = std::chrono::duration<double>(Clock::now() - start).count();
    session.auditor().audit(true);
    return s;
}

double median(std::vector<double> v)
{
    std::sort(v.begin(), v.end());
    return v[v.size() / 2];
}

} // namespace

int main(int argc, char** argv)
{
    Session session;
    std::vector<std::string> names(argv + 1, argv + argc);
    if (names.empty())
        names = {"streaming", "pool", "coherent", "all"};
    for (const std::string& name : names) {
        const std::vector<Case> cases = legal_cases(*profile_named(name), 200, session);
        std::vector<double> ratios, audited, plain;
        Tally with, without;
        run(cases, session, true, with), run(cases, session, false, without);
        with = without = {};
        for (int i = 0; i < 31; i++) {
            const double a = run(cases, session, true, with), b = run(cases, session, false, without);
            ratios.push_back(a / b);
            audited.push_back(a);
            plain.push_back(b);
        }
        const double ops = static_cast<double>(with.executed) / 31;
        fmt::print("{:<10} {} cases, {:.1f} ops each: audited {:.0f} ns/op ({:.0f} cases/s), passed through {:.0f} "
                   "ns/op, ratio {:.2f}\n",
                   name, cases.size(), ops / static_cast<double>(cases.size()), median(audited) / ops * 1e9,
                   static_cast<double>(cases.size()) / median(audited), median(plain) / ops * 1e9, median(ratios));
        if (with.executed != without.executed)
            fmt::print("  the runs differ: {} and {} steps executed\n", with.executed, without.executed);
    }
    // An empty case: open, close and reset of a 256 KiB world.
    std::vector<Case> empty(1000);
    Tally t;
    std::vector<double> times;
    for (int i = 0; i < 31; i++)
        times.push_back(run(empty, session, true, t));
    fmt::print("empty case (open, close and reset of a 256 KiB world): {:.2f} us\n", median(times) * 1e3);
}
