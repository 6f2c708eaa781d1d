// Cases that are smaller than a given one, and the order that says so. Nothing here runs a case.
#pragma once
#include "harness/case.hpp"
#include <cstdint>
#include <optional>

namespace dmaudit {

inline bool is_name(Shape s)
{
    return s == Shape::def || s == Shape::use;
}

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

// The step as one of another op with as many names: names in their order, what both have in common as it is, the rest
// as when it is left out.
Step in_terms_of(uint8_t op, const Step&);

// The case with one object where it had two: what step `later` makes is not made, and every use of it goes to what step
// `earlier` makes, which is made as before or, `as_the_later`, in the way of the other. `once`: steps that are then there
// twice (both were given back) are there once. Nothing if the two make no objects of one kind, or with `once` if no step
// is there twice.
std::optional<Case> one_for_two(const Case&, unsigned earlier, unsigned later, bool as_the_later, bool once);

} // namespace dmaudit
