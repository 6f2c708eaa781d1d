#include "harness/campaign.hpp"

#include <algorithm>

namespace dmaudit {
namespace {

constexpr uint64_t cases_of_a_child = 256;

} // namespace

void Campaign::step(uint64_t at_most)
{
    if (Child* child = runner_.child()) {
        const uint64_t first = seed_;
        const auto make = [&](unsigned i) -> const Case& {
            generate(first + i, profile_, case_);
            return case_;
        };
        const Child::Ran ran =
            child->run_many(make, static_cast<unsigned>(std::min<uint64_t>(at_most, cases_of_a_child)), &tally_,
                            [this](const Case& c, const Result& r) { return known(c, r); });
        seed_ += ran.cases;
        for (size_t i = 0; i < rule_count; i++)
            violations_[i] += ran.known[i];
        if (ran.result.violation) {
            generate(seed_ - 1, profile_, case_);
            judge(seed_ - 1, ran.result);
        }
        return;
    }
    const uint64_t seed = seed_++;
    generate(seed, profile_, case_);
    judge(seed, seed % 64 ? runner_.run(case_, &tally_) : runner_.run_times(case_, 2, &tally_));
}

bool Campaign::seen(const BugKey& k) const
{
    return std::any_of(findings_.begin(), findings_.end(), [&](const Finding& f) { return f.key == k; });
}

// Does this violation tell nothing new?
bool Campaign::known(const Case& c, const Result& r) const
{
    return !counts(c, *r.violation) || seen(key_of(c, r));
}

// What to make of the result of case_.
void Campaign::judge(uint64_t seed, const Result& r)
{
    if (!r.violation)
        return;
    violations_[static_cast<size_t>(r.violation->rule)]++;
    if (known(case_, r))
        return;
    BugKey key = key_of(case_, r);
    const auto minimised = [&](unsigned times) {
        Budget budget;
        budget.stop = stop_;
        return minimise(
            case_, [&](const Case& c) { return key_of(c, runner_.run_times(c, times)) == key; }, budget);
    };
    constexpr unsigned looks = 8; // for another course; the first one ends them
    Minimised small = minimised(key.rule == RuleId::not_deterministic ? looks : 1);
    if (!small.deterministic) { // it does not fail each time: the provider remembers what ran before
        key = {RuleId::not_deterministic, 0, static_cast<uint8_t>(op_count)};
        if (seen(key))
            return;
        // One instance in a case: with a second one a provider may do the same each time, in other ways.
        const auto end = std::remove_if(case_.steps.begin(), case_.steps.begin() + case_.count, [](const Step& s) {
            return s.op == Ops::index_of<ops::AtEnd>() || s.op == Ops::index_of<ops::FailOpen>();
        });
        case_.count = static_cast<uint16_t>(end - case_.steps.begin());
        small = minimised(looks);
    }
    findings_.push_back({small.value, key, seed, small.one_minimal});
    findings_.back().value.expect = {Expect::violation, key.rule};
}

} // namespace dmaudit
