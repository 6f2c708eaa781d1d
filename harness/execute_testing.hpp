// What the tests of the executor share: cases as text, run on the built-in provider and on tables made from it that are
// wrong in one way.
#pragma once
#include "harness/execute.hpp"
#include "harness/text.hpp"
#include "providers/builtin/builtin.hpp"

#include <gtest/gtest.h>

#include <string>

namespace dmaudit {
inline Case case_of(const std::string& text)
{
    const Parsed p = parse(text);
    EXPECT_TRUE(p.ok) << p.error.line << ": " << p.error.message << "\n" << text;
    return p.value;
}

inline const std::string small = "world banks=64K@0x80000000\n", conforming = "world banks=64K@0x80000000 mode=conforming\n";

struct Ran {
    Result result;
    Tally tally;
    std::string found() const { return result.violation ? std::string(rule(result.violation->rule).name) : "clean"; }
};
inline Ran run(const std::string& text, const dmaudit_provider& provider = builtin_provider())
{
    Session session;
    Ran r;
    r.result = execute(case_of(text), provider, session, &r.tally);
    return r;
}

// The built-in table with some members replaced; the calls themselves are the built-in's.
struct Table {
    dmaudit_coherent coherent = *builtin_provider().coherent;
    dmaudit_streaming streaming = *builtin_provider().streaming;
    dmaudit_pool pool = *builtin_provider().pool;
    dmaudit_provider provider = builtin_provider();
    Table()
    {
        provider.name = "altered";
        provider.coherent = &coherent;
        provider.streaming = &streaming;
        provider.pool = &pool;
    }
    Table(const Table&) = delete;
};

} // namespace dmaudit
