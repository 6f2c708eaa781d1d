#include "harness/campaign.hpp"

#include <algorithm>

namespace dmaudit {

void Campaign::step()
{
    const uint64_t seed = seed_++;
    generate(seed, profile_, case_);
    const Result r = execute(case_, provider_, session_, &tally_);
    if (!r.violation)
        return;
    violations_[static_cast<size_t>(r.violation->rule)]++;
    if (!counts(case_, *r.violation))
        return;
    const BugKey key = key_of(case_, r);
    if (std::any_of(findings_.begin(), findings_.end(), [&](const Finding& f) { return f.key == key; }))
        return;
    const Minimised small =
        minimise(case_, [&](const Case& c) { return key_of(c, execute(c, provider_, session_)) == key; });
    findings_.push_back({small.value, key, seed, small.one_minimal});
    findings_.back().value.expect = {Expect::violation, key.rule};
}

} // namespace dmaudit
