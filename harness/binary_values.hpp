// What the 16-bit value codes of the binary form mean, by shape of the argument. The distribution over random codes is
// what a fuzzer sees first, so it prefers small and nice values; whatever no code says goes into a literal
// (code_literal).
#pragma once
#include "harness/scope.hpp"

namespace dmaudit::codes {

constexpr uint16_t code_literal = 0xffff;

// What a value may depend on: the state of the decoder before the step, and the arguments of the step decoded so far.
struct Context {
    const Scope& scope;
    const Step& step;
    const Layout& layout;
    const Known* used; // the first used object, or null
};

uint64_t value_of(const Context&, size_t field, uint16_t code);
// A code for this value, or code_literal. Exact: value_of gives it back.
uint16_t code_of(const Context&, size_t field, uint64_t value);

} // namespace dmaudit::codes
