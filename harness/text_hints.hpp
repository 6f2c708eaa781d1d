// What a message about an unreadable case quotes and suggests.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace dmaudit {

// What was found, fit for a message: in quotes, short and printable.
std::string quoted(std::string_view);
// ` (did you mean 'cpu_read'?)`, or nothing if no name is near.
std::string suggestion(std::string_view found, std::span<const std::string_view> names);
// `a buffer (b) or a mapping (m)`, of a set of kinds
std::string kinds_text(uint8_t kinds);

} // namespace dmaudit
