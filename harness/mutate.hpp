// Changes a case a little, for fuzzers: on the decoded case, so that a change has a meaning. No heap.
// Precondition and result: case_error() is empty.
#pragma once
#include "harness/case.hpp"
#include "harness/rng.hpp"

namespace dmaudit {

// A few changes: a step inserted, removed, doubled, swapped or moved; a name retargeted; a value set to a boundary;
// the world, the mode, an eviction or fault inside a step.
// `swarm`: most calls prefer some kinds of change and the ops of some families, others each time.
void mutate(Case&, Rng&, bool swarm = true);

// The first part of one case and the second part of another, with names renumbered; the world of one of them.
void crossover(const Case& a, const Case& b, Rng&, Case& out);

} // namespace dmaudit
