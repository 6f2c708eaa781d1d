// Each operation of a case with the n-th platform call that may fail inside of it failing, for every n that there is:
// the call says so, nothing has changed, and what the rest of the case asks for can be had all the same.
#include "harness/generate_phases.hpp"
#include "properties/support.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <gtest/gtest.h>

namespace dmaudit::properties {
namespace {

bool disturbs(const Step& s)
{
    return s.op == is<ops::Fail> || s.op == is<ops::Starve> || s.op == is<ops::FailOpen> || s.op == is<ops::Evict> ||
           s.op == is<ops::Prefetch>;
}

Case without_disturbances(const Case& c)
{
    Case out = c;
    out.count = 0;
    for (unsigned i = 0; i < c.count; i++)
        if (!disturbs(c.steps[i]))
            out.push(c.steps[i]);
    return out;
}

// The same with a failure in front of step `at`, and at the end a look whether as much can be had as at first.
Case failing_at(const Case& c, unsigned at, uint64_t nth)
{
    Case out = c;
    out.count = 0;
    for (unsigned i = 0; i < c.count; i++) {
        if (i == at)
            out.push(Step{is<ops::Fail>, {nth}});
        out.push(c.steps[i]);
    }
    out.push(Step{is<ops::AtEnd>, {}});
    return out;
}

class Faults : public ::testing::Test {
  protected:
    Checker checker;
    std::array<uint64_t, op_count> tried{}, failed{};

    // A step of each op that this case executes.
    void sweep(const Case& c, unsigned enough)
    {
        const Result plain = checker.run(c);
        RC_ASSERT(!plain.violation);
        std::array<bool, op_count> seen{};
        // The last of each: by then tables are as full as they get.
        for (unsigned at = c.count; at-- > 0 && c.count + 2u <= max_steps;) {
            const uint8_t op = c.steps[at].op;
            if (!plain.executed[at] || seen[op] || tried[op] >= enough)
                continue;
            seen[op] = true;
            tried[op]++;
            for (uint64_t nth = 1;; nth++) {
                Tally tally;
                checker.expect_no_violation(failing_at(c, at, nth), &tally);
                if (!tally.faults)
                    break;
                failed[op]++;
                RC_ASSERT(nth < 1000u);
            }
        }
    }
};

TEST_F(Faults, every_operation_survives_each_failure_inside_of_it)
{
    const auto enough = static_cast<unsigned>(std::max(60, tries(60)));
    for_all_seeds(400, [&](uint64_t seed) {
        Rng rng(seed);
        for (const Profile* p : conforming_profiles())
            sweep(without_disturbances(generated(rng.next(), *p)), enough);
    });
    for (size_t op = 0; op < op_count; op++) {
        std::printf("[ measured ] %-26s %6llu times, %6llu failures\n", std::string(specs()[op].name).c_str(),
                    static_cast<unsigned long long>(tried[op]), static_cast<unsigned long long>(failed[op]));
        if (!disturbs({static_cast<uint8_t>(op), {}}) && specs()[op].facets != facet_strict) {
            EXPECT_GT(tried[op], 0u) << specs()[op].name;
        }
    }
    for (const uint8_t op : {is<ops::AllocCoherent>,
                             is<ops::AllocOpaque>,
                             is<ops::AllocNoncoherent>,
                             is<ops::AllocPages>,
                             is<ops::DeclarePool>,
                             is<ops::MapSingle>,
                             is<ops::MapSingleWithin>,
                             is<ops::MapSg>,
                             is<ops::MapSgWithin>,
                             is<ops::MapSgtable>,
                             is<ops::Bind>,
                             is<ops::ManagedAlloc>,
                             is<ops::ManagedAllocNoncoherent>,
                             is<ops::ManagedDeclare>,
                             is<ops::AddAction>,
                             is<ops::OpenGroup>,
                             is<ops::ExportBlock>,
                             is<ops::ExportPages>,
                             is<ops::Attach>,
                             is<ops::MapAttachment>})
        EXPECT_GT(failed[op], 0u) << specs()[op].name;
}

} // namespace
} // namespace dmaudit::properties
