// Makes a failing case small. The predicate says whether a case still fails in the same way (most callers compare the
// key of the violation); how it is run is not known here. Every accepted change makes the case smaller by a strict
// order (number of steps, faults, complexity of the world, cost of the values, names), so it ends.
#pragma once
#include "harness/case.hpp"
#include <cstdint>
#include <functional>

namespace dmaudit {

struct Budget {
    unsigned tries = 20000; // runs of the predicate
    unsigned confirm = 3;   // of them, to see whether the case fails each time
    std::function<bool()> stop; // ends the search like a used-up budget; asked before each run, may be empty
};
struct Minimised {
    Case value;
    unsigned tries = 0;
    bool one_minimal = false; // proven: removing any one step (and what depends on it) makes the failure go away
    bool deterministic = true; // false: the case did not fail each time, so nothing was tried and `value` is the case
};

// Precondition: still_fails(c). With an exhausted budget the best case so far is returned.
Minimised minimise_by(const Case&, const std::function<bool(const Case&)>& still_fails, Budget budget = {});

template <class StillFails> Minimised minimise(const Case& c, StillFails still_fails, Budget budget = {})
{
    return minimise_by(
        c, [&](const Case& k) { return still_fails(k); }, budget);
}

} // namespace dmaudit
