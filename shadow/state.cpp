#include "shadow/state.hpp"

#include <array>

namespace dmaudit {
namespace {

struct Words {
    std::string_view name, text;
};
constexpr std::array<Words, state_count> words{{
    {"N", "nobody's"},
    {"P", "the provider's (free or metadata)"},
    {"C", "with the CPU"},
    {"C.d", "with the CPU, written by it since the last hand-over"},
    {"C.s", "with the CPU, but a device's data in it was never synced"},
    {"H.to", "mapped to_device, handed to the CPU"},
    {"H.to.d", "mapped to_device, handed to the CPU, written by it"},
    {"H.from", "mapped from_device, handed to the CPU"},
    {"H.from.d", "mapped from_device, handed to the CPU, written by it"},
    {"H.bi", "mapped bidirectional, handed to the CPU"},
    {"H.bi.d", "mapped bidirectional, handed to the CPU, written by it"},
    {"D.to", "with the device (to_device)"},
    {"D.from", "with the device (from_device)"},
    {"D.from.s", "with the device (from_device), written by it"},
    {"D.bi", "with the device (bidirectional)"},
    {"D.bi.s", "with the device (bidirectional), written by it"},
    {"M", "with several devices (to_device)"},
    {"M.d", "mapped to_device several times, handed to the CPU, written by it"},
    {"S", "coherent"},
    {"PAD", "the granted tail of a block"},
    {"O", "opaque: without a CPU mapping"},
    {"X", "exported as a dma-buf"},
    {"X.d", "exported as a dma-buf, written by the CPU since the last hand-over"},
    {"X.s", "exported as a dma-buf, written by a device since the last hand-over"},
    {"OX", "exported as a dma-buf, without a CPU mapping"},
    {"OX.d", "exported as a dma-buf, without a CPU mapping, written through a window since the last hand-over"},
    {"OX.s", "exported as a dma-buf, without a CPU mapping, written by a device since the last hand-over"},
}};

const Words& of(uint8_t code)
{
    static constexpr Words undeclared{"undeclared", "in no declared state"};
    const uint32_t bit = state_bit(code);
    if (bit == 0)
        return undeclared;
    unsigned i = 0;
    while (!(bit >> i & 1))
        i++;
    return words[i];
}

} // namespace

unsigned state_number(uint8_t code)
{
    static constexpr auto numbers = [] {
        std::array<uint8_t, 256> table{};
        table.fill(2 * state_count);
        for (unsigned i = 0; i < state_count; i++) {
            const uint8_t plain = code_of(static_cast<State>(1u << i));
            table[plain] = static_cast<uint8_t>(2 * i);
            table[plain | initialised] = static_cast<uint8_t>(2 * i + 1);
        }
        return table;
    }();
    return numbers[code];
}

std::string_view state_name(uint8_t code)
{
    return of(code).name;
}
std::string_view state_text(uint8_t code)
{
    return of(code).text;
}

} // namespace dmaudit
