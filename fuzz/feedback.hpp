// The auditor's transitions for engines other than libFuzzer, which reads them from a section of its own (engine.cpp).
#pragma once
#include <cstdint>
#include <span>

namespace dmaudit::fuzz {

// `cells`: 1 for each transition of the case that just ran. Does nothing without such an engine.
void tell_engine(std::span<const uint8_t> cells);

} // namespace dmaudit::fuzz
