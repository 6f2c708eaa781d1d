// The three forms in which a score is told.
#pragma once
#include "score/figures.hpp"

#include <string>

namespace dmaudit::score {

struct Style {
    bool details = false; // a line for each bug and engine
    std::string command;  // that was given
};
std::string as_text(const Campaign&, const Style&);
std::string as_json(const Campaign&, const Style&);
std::string as_page(const Campaign&, const Style&); // HTML, self-contained

// Three digits or so: 87, 1.2k, 350k, 1.4M.
std::string brief(double);
std::string rule_names(const std::vector<RuleId>&);

} // namespace dmaudit::score
