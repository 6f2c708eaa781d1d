// Runs a case in process or in a child, whichever it was made for, and again if wanted: an instance of a provider
// begins anew each time, so the same case must take the same course.
#pragma once
#include "harness/child.hpp"

#include <memory>

namespace dmaudit {

// Does a case that expects this belong into a child process?
inline bool may_end_the_process(const Expect& e)
{
    return e.kind == Expect::violation && (e.rule == RuleId::provider_crash || e.rule == RuleId::no_progress);
}

class Runner {
  public:
    // In process unless `isolate` or the provider says that it needs a child. `session` is used in process only.
    Runner(const dmaudit_provider& provider, Session& session, bool isolate = false, const ChildLimits& limits = {});

    bool isolated() const { return child_ != nullptr; }
    Child* child() { return child_.get(); }
    const dmaudit_provider& provider() const { return provider_; }

    Result run(const Case&, Tally* = nullptr);
    // Runs it `times` times; if not all take the same course, the violation is not-deterministic (its step: the end).
    // `tally`: of the first.
    Result run_times(const Case&, unsigned times, Tally* = nullptr);
    std::string report(const Case&, const Result&, const ReportOptions&);

  private:
    const dmaudit_provider& provider_;
    Session& session_;
    std::unique_ptr<Child> child_;
};

} // namespace dmaudit
