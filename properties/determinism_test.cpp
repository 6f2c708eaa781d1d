// One case gives one result: whatever ran before it in the session, and in any session.
#include "harness/report.hpp"
#include "harness/text.hpp"
#include "properties/support.hpp"

#include <gtest/gtest.h>
#include <memory>

namespace dmaudit::properties {
namespace {

bool same(const std::optional<Violation>& a, const std::optional<Violation>& b)
{
    if (!a || !b)
        return a.has_value() == b.has_value();
    return a->rule == b->rule && a->state == b->state && a->bytes == b->bytes && a->object == b->object &&
           std::string_view(a->what) == b->what && a->expected == b->expected && a->got == b->got &&
           a->numbers == b->numbers;
}

bool same(const Tally& a, const Tally& b)
{
    return a.cases == b.cases && a.steps == b.steps && a.executed == b.executed && a.not_made == b.not_made &&
           a.illegal == b.illegal && a.impossible == b.impossible && a.by_op == b.by_op &&
           a.skipped_by == b.skipped_by && a.marks.n == b.marks.n && a.evictions_inside == b.evictions_inside &&
           a.faults == b.faults && a.failures == b.failures;
}

// All that can be seen of one run.
struct Outcome {
    Result result;
    Tally tally;
    std::string report;
    std::array<uint8_t, Auditor::cell_count> cells{};
};

void run(const Case& c, Session& session, Outcome& out)
{
    out.result = execute(c, builtin_provider(), session, &out.tally, out.cells.data());
    out.report = report(c, out.result, builtin_provider(), session, {});
}

void expect_same(const Case& c, const Outcome& a, const Outcome& b)
{
    const bool ok = same(a.result.violation, b.result.violation) && a.result.step == b.result.step &&
                    a.result.open_error == b.result.open_error && same(a.tally, b.tally) && a.report == b.report &&
                    a.cells == b.cells;
    if (!ok)
        RC_FAIL(print(c) + "gave\n" + a.report + "and then\n" + b.report);
}

class Determinism : public ::testing::TestWithParam<Profile> {};
INSTANTIATE_TEST_SUITE_P(Profiles, Determinism, ::testing::ValuesIn(profiles().begin(), profiles().end()),
                         [](const auto& p) { return std::string(p.param.name); });

TEST_P(Determinism, the_same_case_twice_gives_the_same_result_report_and_tally)
{
    Session session;
    for_all_seeds(250, [&](uint64_t seed) {
        const Case c = generated(seed, GetParam());
        auto first = std::make_unique<Outcome>(), second = std::make_unique<Outcome>();
        run(c, session, *first);
        run(c, session, *second);
        expect_same(c, *first, *second);
    });
}

TEST_P(Determinism, what_ran_before_in_the_session_makes_no_difference)
{
    Session session;
    for_all_seeds(250, [&](uint64_t seed) {
        Rng rng(seed);
        const Case c = generated(rng.next(), GetParam());
        auto first = std::make_unique<Outcome>(), second = std::make_unique<Outcome>();
        run(c, session, *first);
        for (unsigned i = 0; i < 3; i++) // the hostile ones end in the middle of things
            execute(generated(rng.next(), i == 1 ? GetParam() : *profile_named("hostile")), builtin_provider(),
                    session);
        run(c, session, *second);
        expect_same(c, *first, *second);
    });
}

TEST_P(Determinism, a_fresh_session_gives_the_same_as_a_used_one)
{
    Session used;
    for_all_seeds(15, [&](uint64_t seed) {
        Rng rng(seed);
        const Case c = generated(rng.next(), GetParam());
        execute(generated(rng.next(), "hostile"), builtin_provider(), used);
        Session fresh;
        auto first = std::make_unique<Outcome>(), second = std::make_unique<Outcome>();
        run(c, used, *first);
        run(c, fresh, *second);
        expect_same(c, *first, *second);
    });
}

TEST_P(Determinism, a_tally_does_not_depend_on_the_order_of_the_cases)
{
    Session session;
    for_all_seeds(20, [&](uint64_t seed) {
        Tally forward, backward;
        for (uint64_t i = 0; i < 10; i++)
            execute(generated(seed + i, GetParam()), builtin_provider(), session, &forward);
        for (uint64_t i = 10; i-- > 0;)
            execute(generated(seed + i, GetParam()), builtin_provider(), session, &backward);
        RC_ASSERT(same(forward, backward));
    });
}

} // namespace
} // namespace dmaudit::properties
