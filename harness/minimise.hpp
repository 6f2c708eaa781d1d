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
};
struct Minimised {
    Case value;
    unsigned tries = 0;
    bool one_minimal = false; // proven: removing any one step (and what depends on it) makes the failure go away
    bool deterministic = true; // false: the case did not fail each time, so nothing was tried and `value` is the case
};

// The order: lower is simpler.
struct Cost {
    unsigned steps, faults;
    uint64_t world;
    uint64_t values;
    uint64_t kinds; // ops that come earlier in the list are the plainer ones
    uint64_t names;
    friend auto operator<=>(const Cost&, const Cost&) = default;
};
Cost cost_of(const Case&);

// The case without steps [first, first + n) and without every later step that uses a name defined by a removed one.
Case without(const Case&, unsigned first, unsigned n);

// The case without the steps that have nothing to do with its last one: what it uses, what that was made of, and the
// steps that touch any of it stay, and so does what the machine does.
Case without_unrelated(const Case&);

// Precondition: still_fails(c). With an exhausted budget the best case so far is returned.
Minimised minimise_by(const Case&, const std::function<bool(const Case&)>& still_fails, Budget budget = {});

template <class StillFails> Minimised minimise(const Case& c, StillFails still_fails, Budget budget = {})
{
    return minimise_by(
        c, [&](const Case& k) { return still_fails(k); }, budget);
}

} // namespace dmaudit
