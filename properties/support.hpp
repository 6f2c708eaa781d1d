// What the properties of this folder share: how often they are tried, and what becomes of a case that breaks a rule.
// rapidcheck supplies seeds, counts and the report; our own generator makes the case from the seed, and our own
// minimiser makes it small.
#pragma once
#include "harness/execute.hpp"
#include "harness/generate.hpp"
#include "harness/rng.hpp"
#include "properties/streams.hpp"
#include "providers/builtin/builtin.hpp"

#include <functional>
#include <rapidcheck.h>
#include <string>

namespace dmaudit::properties {

double scale();     // of DMAUDIT_PROPERTIES_SCALE, else 1
bool tries_given(); // RC_PARAMS names max_success
// How often a property runs whose own number is `standard`.
int tries(int standard);

// Runs `property` with random seeds, each of all 64 bits, and fails the GoogleTest test that calls it if one throws
// (RC_ASSERT and its kin). A discarded seed (RC_PRE) is replaced by another.
void for_all_seeds(int standard, const std::function<void(uint64_t seed)>& property);

// One session on one provider, used for case after case.
class Checker {
  public:
    explicit Checker(const dmaudit_provider& provider = builtin_provider()) : provider_(provider) {}

    // The property fails if a rule is broken: the case is minimised, saved under findings/ and told with its report.
    void expect_no_violation(const Case&, Tally* = nullptr);
    // The same, but a client's mistake is no failure.
    Result expect_no_fault_of_the_provider(const Case&, Tally* = nullptr);

    Result run(const Case&, Tally* = nullptr);
    Session& session() { return session_; }
    const dmaudit_provider& provider() const { return provider_; }

  private:
    [[noreturn]] void fail(const Case&, const Result&);

    const dmaudit_provider& provider_;
    Session session_;
};

// Writes the case as text into findings/ of the working directory, named by rule and content. Its path;
// empty: it could not be written.
std::string save_finding(const Case&);

} // namespace dmaudit::properties
