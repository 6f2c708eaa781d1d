// A case as C++: the initialiser of a function that builds it, for unit tests.
#pragma once
#include "harness/case.hpp"
#include <string>

namespace dmaudit {

// The source of `dmaudit::Case NAME()`; it needs harness/case.hpp. Each step carries its text form as a comment.
std::string cpp_literal(const Case&, std::string_view name = "example");

} // namespace dmaudit
