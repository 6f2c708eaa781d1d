// Case after case from a seed, in process. What every engine of ours that generates cases uses.
#pragma once
#include "harness/execute.hpp"
#include "harness/generate.hpp"
#include "harness/minimise.hpp"
#include "harness/runner.hpp"

#include <vector>

namespace dmaudit {

// Does this violation count? In hostile cases those by the client are what is looked for, and only the others do.
inline bool counts(const Case& c, const Violation& v)
{
    return c.world.mode != Mode::hostile || rule(v.rule).fault != Fault::client;
}

struct Finding {
    Case value; // minimised
    BugKey key;
    uint64_t seed = 0;
    bool one_minimal = false;
};

class Campaign {
  public:
    // `isolate`: in child processes, as is done for providers that say they need it.
    Campaign(const dmaudit_provider& provider, const Profile& profile, uint64_t first_seed, bool isolate = false,
             const ChildLimits& limits = {})
        : profile_(profile), seed_(first_seed), runner_(provider, session_, isolate, limits)
    {
    }

    // Runs one case, or in a child as many as go well, up to 256; a violation that counts and was not seen before
    // becomes a finding. One case of 64 is run twice.
    void step() { step(every_case); }
    void step(uint64_t at_most);

    const Tally& tally() const { return tally_; }
    const std::vector<Finding>& findings() const { return findings_; }
    // Executions that ended in a violation, by rule.
    const std::array<uint64_t, rule_count>& violations() const { return violations_; }
    uint64_t next_seed() const { return seed_; }
    Runner& runner() { return runner_; }
    // Ends the making smaller of what was found, which then is as small as it had become.
    void stop_when(std::function<bool()> stop) { stop_ = std::move(stop); }

  private:
    static constexpr uint64_t every_case = ~uint64_t{0};
    bool known(const Case&, const Result&) const;
    bool seen(const BugKey&) const;
    void judge(uint64_t seed, const Result&);

    const Profile& profile_;
    uint64_t seed_;
    Session session_;
    Runner runner_;
    std::function<bool()> stop_;
    Case case_;
    Tally tally_;
    std::vector<Finding> findings_;
    std::array<uint64_t, rule_count> violations_{};
};

} // namespace dmaudit
