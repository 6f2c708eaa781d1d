// What a person is told about a violation.
#pragma once
#include "harness/execute.hpp"

#include <string>

namespace dmaudit {

// Rule, state before and op kind: violations with the same key are the same bug.
struct BugKey {
    RuleId rule = RuleId::none;
    uint8_t state = 0; // without the initialised bit
    uint8_t op = 0;    // index of the op; op_count: when everything was given back
    friend bool operator==(const BugKey&, const BugKey&) = default;
};
BugKey key_of(const Case&, const Result&);
// The two lines that triage tools read: `dmaudit.cc:1: ASSERTION FAILED: ...` and `DEDUP_TOKEN: ...`. No addresses.
std::string key_lines(const BugKey&);

struct ReportOptions {
    bool colour = false;
    std::string replay;  // the command that replays the case; empty: not said
    bool history = true; // run the case once more, for what happened to the bytes
};
// The whole report. Runs the case once more to see who put the bytes into their state: the same result is certain, as
// nothing but the case decides it.
std::string report(const Case&, const Result&, const dmaudit_provider&, Session&, const ReportOptions&);

} // namespace dmaudit
