// For tests of exhaustive search.
#pragma once
#include "harness/verify.hpp"

#include <gtest/gtest.h>

namespace dmaudit {

inline void expect_same(const VerifyResult& a, const VerifyResult& b)
{
    EXPECT_EQ(a.levels, b.levels);
    EXPECT_EQ(a.complete, b.complete);
    EXPECT_EQ(a.executions, b.executions);
    EXPECT_EQ(a.strayed, b.strayed);
    EXPECT_EQ(a.by_op, b.by_op);
    EXPECT_EQ(a.deaths, b.deaths);
    EXPECT_EQ(a.end, b.end);
    ASSERT_EQ(a.findings.size(), b.findings.size());
    for (size_t i = 0; i < a.findings.size(); i++) {
        EXPECT_EQ(a.findings[i].value, b.findings[i].value);
        EXPECT_EQ(a.findings[i].key, b.findings[i].key);
        EXPECT_EQ(a.findings[i].depth, b.findings[i].depth);
        EXPECT_EQ(a.findings[i].cases, b.findings[i].cases);
    }
}

} // namespace dmaudit
