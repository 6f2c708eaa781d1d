// Random cases, a pure function of seed and profile. Most steps are legal by a light static notion of who holds which
// bytes (generate_phases.hpp); some are not, on purpose: what a precondition forbids is for the executor to skip or
// judge.
#pragma once
#include "harness/case.hpp"

namespace dmaudit {

struct Profile {
    std::string_view name;
    uint32_t facets;
    Mode mode; // of a hostile profile, the first steps are legal and then mistakes and lies come
    bool mixed = false; // one case in four is hostile, whatever the mode says
    bool swarm = true;  // off: every case prefers the same ops
};
std::span<const Profile> profiles();
const Profile* profile_named(std::string_view name); // null: there is none

// Does the profile contain this op?
bool contains(const Profile&, uint8_t op);

// `steps`: at most so many; 0: 32, in one case of eight 96, as what needs many objects seldom fits into fewer.
void generate(uint64_t seed, const Profile&, Case& out, unsigned steps = 0);

} // namespace dmaudit
