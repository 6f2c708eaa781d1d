// The text form of a case: one op a line, named results, comments. What people read, diff, edit and commit.
// docs/case-format.md describes it.
#pragma once
#include "harness/case.hpp"
#include <string>
#include <string_view>

namespace dmaudit {

constexpr size_t max_text = size_t{1} << 20, max_text_line = 4096; // bytes
constexpr std::string_view text_header = "# dmaudit case ";        // and the version: 1

// The canonical text: declared order, defaults left out. parse(print(c)) gives c for every valid case (case_error()).
std::string print(const Case&);
// One step, without the end of the line: `b0 = buffer size=300 at=16`.
std::string print(const Step&);
// `b0`, `m3`
std::string print_name(uint64_t name);

struct ParseError {
    unsigned line = 0; // from 1
    std::string message;
};
struct Parsed {
    bool ok = false;
    Case value;
    ParseError error;
};
Parsed parse(std::string_view text);

} // namespace dmaudit
