// The state of a byte, in one byte: owner (bits 0-2), direction (3-4), cache (5-6), initialised (7).
#pragma once
#include <cstdint>
#include <string_view>

namespace dmaudit {

enum class Owner : uint8_t {
    none = 0,     // no RAM that anybody uses
    provider = 1, // free, metadata, bounce slots
    cpu = 2,      // a client's: with a direction, mapped but with the CPU
    device = 3,   // handed to a device; without a direction: several TO_DEVICE mappings, the registry decides
    shared = 4,   // coherent; with direction `bi`: exported as a dma-buf
    opaque = 5,   // memory without a CPU mapping; with `bi`: exported
    guard = 6,    // the granted tail of a block
};
enum class Direction : uint8_t { none = 0, to = 1, from = 2, bi = 3 };
// The protocol's view, moved by calls and audited accesses only; real dirtiness is the machine's.
enum class CacheState : uint8_t { in_step = 0, cpu_wrote = 1, device_wrote = 2 };

constexpr uint8_t initialised = 0x80;
constexpr uint8_t state_code(Owner o, Direction d = Direction::none, CacheState c = CacheState::in_step,
                             bool init = false)
{
    return static_cast<uint8_t>(static_cast<unsigned>(o) | static_cast<unsigned>(d) << 3 |
                                static_cast<unsigned>(c) << 5 | (init ? initialised : 0u));
}
constexpr Owner owner_of(uint8_t s)
{
    return static_cast<Owner>(s & 7);
}
constexpr Direction direction_of(uint8_t s)
{
    return static_cast<Direction>(s >> 3 & 3);
}
constexpr CacheState cache_of(uint8_t s)
{
    return static_cast<CacheState>(s >> 5 & 3);
}
constexpr bool is_initialised(uint8_t s)
{
    return (s & initialised) != 0;
}

// The declared states (without the initialised bit); as bits of a set in the protocol's rows.
enum State : uint32_t {
    N = 1u << 0,   // none
    P = 1u << 1,   // provider
    C_c = 1u << 2, // cpu, unmapped: in step / CPU wrote / device wrote
    C_d = 1u << 3,
    C_s = 1u << 4,
    Hto_c = 1u << 5, // mapped, with the CPU
    Hto_d = 1u << 6,
    Hfrom_c = 1u << 7,
    Hfrom_d = 1u << 8,
    Hbi_c = 1u << 9,
    Hbi_d = 1u << 10,
    Dto = 1u << 11, // with the device
    Dfrom_c = 1u << 12,
    Dfrom_s = 1u << 13,
    Dbi_c = 1u << 14,
    Dbi_s = 1u << 15,
    M_c = 1u << 16, // several TO_DEVICE mappings
    M_d = 1u << 17, // ... and the CPU, to which all had handed it, wrote
    S = 1u << 18,   // shared
    PAD = 1u << 19, // granted tail
    O = 1u << 20,   // opaque
    X_c = 1u << 21, // exported as a dma-buf: in step / CPU wrote / a device wrote
    X_d = 1u << 22,
    X_s = 1u << 23,
    OX_c = 1u << 24, // the same, without a CPU mapping
    OX_d = 1u << 25,
    OX_s = 1u << 26,
};
constexpr unsigned state_count = 27;
constexpr uint32_t X_any = X_c | X_d | X_s, OX = OX_c | OX_d | OX_s;
constexpr uint32_t C_any = C_c | C_d | C_s, Hto = Hto_c | Hto_d, M_any = M_c | M_d, Dfrom = Dfrom_c | Dfrom_s,
                   Dbi = Dbi_c | Dbi_s, Hwritable_c = Hfrom_c | Hbi_c, Hwritable_d = Hfrom_d | Hbi_d,
                   Hwritable = Hwritable_c | Hwritable_d;

// Code of a declared state (one bit), not initialised.
constexpr uint8_t code_of(State s)
{
    using enum Owner;
    using enum CacheState;
    switch (s) {
    case N:
        return state_code(none);
    case P:
        return state_code(provider);
    case C_c:
        return state_code(cpu);
    case C_d:
        return state_code(cpu, Direction::none, cpu_wrote);
    case C_s:
        return state_code(cpu, Direction::none, device_wrote);
    case Hto_c:
        return state_code(cpu, Direction::to);
    case Hto_d:
        return state_code(cpu, Direction::to, cpu_wrote);
    case Hfrom_c:
        return state_code(cpu, Direction::from);
    case Hfrom_d:
        return state_code(cpu, Direction::from, cpu_wrote);
    case Hbi_c:
        return state_code(cpu, Direction::bi);
    case Hbi_d:
        return state_code(cpu, Direction::bi, cpu_wrote);
    case Dto:
        return state_code(device, Direction::to);
    case Dfrom_c:
        return state_code(device, Direction::from);
    case Dfrom_s:
        return state_code(device, Direction::from, device_wrote);
    case Dbi_c:
        return state_code(device, Direction::bi);
    case Dbi_s:
        return state_code(device, Direction::bi, device_wrote);
    case M_c:
        return state_code(device);
    case M_d:
        return state_code(device, Direction::none, cpu_wrote);
    case S:
        return state_code(shared);
    case PAD:
        return state_code(guard);
    case O:
        return state_code(opaque);
    case X_c:
        return state_code(shared, Direction::bi);
    case X_d:
        return state_code(shared, Direction::bi, cpu_wrote);
    case X_s:
        return state_code(shared, Direction::bi, device_wrote);
    case OX_c:
        return state_code(opaque, Direction::bi);
    case OX_d:
        return state_code(opaque, Direction::bi, cpu_wrote);
    case OX_s:
        return state_code(opaque, Direction::bi, device_wrote);
    }
    return 0xff;
}

// The set bit of a code, 0 for codes that are not declared.
constexpr uint32_t state_bit(uint8_t code)
{
    for (unsigned i = 0; i < state_count; i++)
        if (code_of(static_cast<State>(1u << i)) == (code & 0x7f) && code != 0xff)
            return 1u << i;
    return 0;
}

// A dense number for each declared state with and without the initialised bit: below 2 * state_count, which stands for
// all other codes.
unsigned state_number(uint8_t code);

// "D.from.s": short and stable, for bug keys. "with the device (from_device), written by it": for people.
std::string_view state_name(uint8_t code);
std::string_view state_text(uint8_t code);

} // namespace dmaudit
