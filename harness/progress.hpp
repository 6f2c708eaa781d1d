// What a run tells whoever watches it: a page of memory that it shares with another process, so that the figures are
// there however the run ends. Only plain integers; the watcher reads them while they change.
#pragma once
#include "harness/campaign.hpp"

namespace dmaudit {

struct Progress {
    enum State : uint32_t {
        begun,
        running,
        found,    // a violation that counts; rule, state and op say which
        over,     // the budget is used up
        unusable, // the provider opens no world
    };
    uint64_t executions = 0; // begun
    // Of a seeded bug: executions that were needed until its place was first passed, and until it first made a
    // difference (0: never), and how often both happened.
    uint64_t first_reached = 0, first_triggered = 0, reached = 0, triggered = 0;
    State state = begun;
    uint8_t rule = 0, byte_state = 0, op = 0;

    void record(const BugKey& key)
    {
        rule = static_cast<uint8_t>(key.rule);
        byte_state = key.state;
        op = key.op;
        state = found;
    }
};

// The counters that a seeded bug exports: its place was passed; it made a difference. Null: it has none.
struct Canary {
    static constexpr const char *reached_symbol = "dmaudit_mutant_reached",
                                *triggered_symbol = "dmaudit_mutant_triggered";
    const volatile uint64_t *reached = nullptr, *triggered = nullptr;

    void look(Progress& p) const
    {
        if (reached && (p.reached = *reached) && !p.first_reached)
            p.first_reached = p.executions;
        if (triggered && (p.triggered = *triggered) && !p.first_triggered)
            p.first_triggered = p.executions;
    }
};

} // namespace dmaudit
