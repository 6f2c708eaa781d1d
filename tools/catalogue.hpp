// The rules with the cases that break them and those that nearly do, as pages for people. docs/rules.md and
// docs/classes.md are what is printed here; a test compares.
#pragma once
#include "shadow/rules.hpp"

#include <array>
#include <string>
#include <vector>

namespace dmaudit {

// A case breaks the rule that it expects. It is a near miss of the rule in its name (`rule-RULE...-near.dma`) or of
// those in its comment `# near miss of: RULE, RULE`; it must expect clean.
struct CasesOf {
    std::vector<std::string> breaking, near; // paths below the folder, sorted
};
struct Catalogue {
    std::array<CasesOf, rule_count> of;
    std::vector<std::string>
        complaints; // a case that cannot be read, a near miss that is none, a rule without its cases
};
Catalogue catalogue_of(const std::string& folder);

std::string rules_page(const Catalogue&);
std::string classes_page();

} // namespace dmaudit
