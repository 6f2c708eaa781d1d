// What is to be found: providers with one bug each, and the rules that name it.
#pragma once
#include "shadow/rules.hpp"

#include <string>
#include <vector>

namespace dmaudit::score {

struct Subject {
    std::string id;
    std::string provider;     // a name, or the path of a shared object
    std::string family, real; // of seeded bugs: which kind, what it re-creates
    std::vector<RuleId> expected;
    unsigned depth = 0;  // steps of the shortest case that is known
    std::string problem; // empty, or why it cannot be run

    bool expects(RuleId) const;
};

struct Places {
    std::string mutants = "mutants/allocator";        // ID.patch with a header of `Key: value` lines
    std::string objects;                              // ID.so
    std::string broken = "corpus/regressions/broken"; // cases with `# provider: NAME` and `expect RULE`
};

// Both sorted by id; empty with `error` set where something does not read.
std::vector<Subject> seeded_bugs(const Places&, std::string& error);
std::vector<Subject> broken_providers_of(const Places&, std::string& error);

// The header of a patch. Empty, or what is wrong with it (`name` is what messages call it).
std::string take_header(const std::string& name, const std::string& text, Subject& out);

} // namespace dmaudit::score
