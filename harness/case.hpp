// A case: a world, what is expected, and steps. A dumb value: no heap, compared with ==.
#pragma once
#include "harness/ops.hpp"
#include "harness/world.hpp"
#include "shadow/rules.hpp"

namespace dmaudit {

constexpr unsigned max_steps = 128;

struct Expect {
    enum Kind : uint8_t { nothing, clean, violation } kind = nothing;
    RuleId rule = RuleId::none; // of a violation
    friend bool operator==(const Expect&, const Expect&) = default;
};

struct Case {
    World world;
    Expect expect;
    uint16_t count = 0;
    std::array<Step, max_steps> steps{};

    std::span<const Step> all() const { return {steps.data(), count}; }
    bool push(const Step& s) { return count < max_steps && (steps[count++] = s, true); }
    friend bool operator==(const Case& a, const Case& b)
    {
        if (!(a.world == b.world && a.expect == b.expect && a.count == b.count))
            return false;
        for (unsigned i = 0; i < a.count; i++)
            if (!(a.steps[i] == b.steps[i]))
                return false;
        return true;
    }
};

} // namespace dmaudit
