// Case after case from a seed, in process. What every engine of ours that generates cases uses.
#pragma once
#include "harness/execute.hpp"
#include "harness/generate.hpp"
#include "harness/minimise.hpp"
#include "harness/report.hpp"

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
    Campaign(const dmaudit_provider& provider, const Profile& profile, uint64_t first_seed)
        : provider_(provider), profile_(profile), seed_(first_seed)
    {
    }

    // Runs one case; a violation that was not seen before becomes a finding. In hostile profiles violations by the
    // client are what is looked for, and only the others are findings.
    void step();

    const Tally& tally() const { return tally_; }
    const std::vector<Finding>& findings() const { return findings_; }
    // Executions that ended in a violation, by rule.
    const std::array<uint64_t, rule_count>& violations() const { return violations_; }
    uint64_t next_seed() const { return seed_; }
    Session& session() { return session_; }

  private:
    const dmaudit_provider& provider_;
    const Profile& profile_;
    uint64_t seed_;
    Session session_;
    Case case_;
    Tally tally_;
    std::vector<Finding> findings_;
    std::array<uint64_t, rule_count> violations_{};
};

} // namespace dmaudit
