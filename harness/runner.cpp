#include "harness/runner.hpp"

namespace dmaudit {
namespace {

bool same_course(const Result& a, const Tally& of_a, const Result& b, const Tally& of_b)
{
    if (a.step != b.step || a.open_error != b.open_error || a.violation.has_value() != b.violation.has_value())
        return false;
    if (a.violation && !(a.violation->rule == b.violation->rule && a.violation->state == b.violation->state &&
                         a.violation->bytes == b.violation->bytes && a.violation->object == b.violation->object))
        return false;
    return of_a.executed == of_b.executed && of_a.illegal == of_b.illegal && of_a.not_made == of_b.not_made &&
           of_a.impossible == of_b.impossible && of_a.failures == of_b.failures && of_a.by_op == of_b.by_op &&
           of_a.evictions_inside == of_b.evictions_inside && of_a.faults == of_b.faults && of_a.marks.n == of_b.marks.n;
}

} // namespace

Runner::Runner(const dmaudit_provider& provider, Session& session, bool isolate, const ChildLimits& limits)
    : provider_(provider), session_(session),
      child_(isolate || Child::needed(provider) ? std::make_unique<Child>(provider, limits) : nullptr)
{
}

Result Runner::run(const Case& c, Tally* tally)
{
    return child_ ? child_->run(c, tally) : execute(c, provider_, session_, tally);
}

Result Runner::run_times(const Case& c, unsigned times, Tally* tally)
{
    Tally first_tally;
    Result first = run(c, &first_tally);
    for (unsigned i = 1; i < times; i++) {
        Tally again_tally;
        const Result again = run(c, &again_tally);
        if (same_course(first, first_tally, again, again_tally))
            continue;
        Violation v;
        v.rule = RuleId::not_deterministic;
        v.what = "another run of the same case took another course";
        first = {v, c.count, 0};
        break;
    }
    if (tally)
        tally->add(first_tally);
    return first;
}

std::string Runner::report(const Case& c, const Result& r, const ReportOptions& options)
{
    return child_ ? child_->report(c, r, options) : dmaudit::report(c, r, provider_, session_, options);
}

} // namespace dmaudit
