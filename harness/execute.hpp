// Runs a case in a session.
#pragma once
#include "harness/case.hpp"
#include "harness/session.hpp"

#include <array>
#include <bitset>

namespace dmaudit {

// Why a step was not executed.
enum class Skip : uint8_t { executed, not_made, illegal, impossible };

// What a campaign adds up.
struct Tally {
    uint64_t cases = 0, steps = 0, executed = 0, not_made = 0, illegal = 0, impossible = 0;
    std::array<uint64_t, op_count> by_op{};        // executed
    std::array<uint64_t, rule_count> skipped_by{}; // illegal steps of conforming cases, by rule
    AuditMarks marks;
    uint64_t calls = 0; // of the provider, or of the auditor in its place
    uint64_t evictions_inside = 0, faults = 0, failures = 0;
    void add(const Tally&);
};

struct Result {
    std::optional<Violation> violation;
    uint16_t step = 0;  // of the violation; == case.count: at the end, when everything is given back
    int open_error = 0; // the provider did not open: nothing was run
    std::bitset<max_steps> executed;
    bool as_expected(const Expect&) const;
};

// What the provider's table lacks is skipped. `tally` may be null; `cells` (Auditor::cell_count bytes) too.
Result execute(const Case&, const dmaudit_provider&, Session&, Tally* tally = nullptr, uint8_t* cells = nullptr,
               Auditor::Trace* trace = nullptr);

// Told of each step before it runs (reports replay a case with it).
struct StepTrace : Auditor::Trace {
    virtual void step(unsigned index) = 0;
    virtual void returned(int) {}     // the code of the provider's last call in it
    virtual void stopped(Session&) {} // the session still open, at the violation; the last call counts
};

} // namespace dmaudit
