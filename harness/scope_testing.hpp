// For tests: random valid cases whose arguments are any integers at all, far wilder than the generator's.
#pragma once
#include "harness/rng.hpp"
#include "harness/scope.hpp"

namespace dmaudit::testing {

inline uint64_t wild_number(Rng& rng)
{
    const uint64_t bits = rng.below(65), v = rng.next();
    return bits == 64 ? v : v & ((uint64_t{1} << bits) - 1);
}

inline World wild_world(Rng& rng)
{
    World w;
    w.page = uint64_t{4096} << 2 * rng.below(3);
    w.line = uint64_t{16} << rng.below(5);
    w.mode = rng.chance(1, 2) ? Mode::conforming : Mode::hostile;
    for (const StrictMode& mode : strict_modes)
        w.strict.*mode.on = rng.chance(1, 4);
    w.n_banks = static_cast<uint8_t>(1 + rng.below(max_banks));
    w.n_devices = static_cast<uint8_t>(1 + rng.below(max_devices));
    w.banks = {};
    for (unsigned b = 0; b < w.n_banks; b++) {
        w.banks[b].phys = b * 0x100000000 + rng.below(1000) * w.page;
        w.banks[b].size = (4 + rng.below(20)) * w.page;
    }
    for (unsigned d = 0; d < w.n_devices; d++) {
        DeviceSpec& s = w.devices[d];
        s.coherent = rng.below(2);
        s.limit = wild_number(rng);
        s.offset = rng.chance(1, 2) ? 0 : rng.below(1u << 30);
    }
    return w;
}

inline Case wild_case(Rng& rng)
{
    Case c;
    c.world = wild_world(rng);
    if (rng.chance(1, 2))
        c.expect = {Expect::violation, static_cast<RuleId>(1 + rng.below(rule_count - 1))};
    else if (rng.chance(1, 2))
        c.expect = {Expect::clean, RuleId::none};
    Scope scope(c.world);
    const uint64_t steps = rng.below(max_steps + 1), strange_names = rng.below(3);
    while (c.count < steps) {
        Step s;
        s.op = static_cast<uint8_t>(rng.below(op_count));
        bool good = true;
        for (size_t a = 0; a < specs()[s.op].fields.size(); a++) {
            const Field& f = specs()[s.op].fields[a];
            if (f.shape == Shape::def) {
                const auto kind = static_cast<Obj>(f.objs);
                unsigned n = scope.next(kind);
                if (strange_names == 0)
                    while (scope.defined(kind, n))
                        n = static_cast<unsigned>(rng.below(max_names));
                if (strange_names == 0 && rng.chance(1, 2) && !scope.defined(kind, 255))
                    n = 255;
                good = good && !scope.defined(kind, n);
                s.arg[a] = name_of(kind, n);
            } else if (f.shape == Shape::use) {
                const unsigned living = scope.count(f.objs, true), dead = scope.count(f.objs, false);
                const uint64_t k = rng.below(living + dead);
                good = good && living + dead;
                if (good)
                    s.arg[a] = (k < living ? scope.recent(f.objs, true, static_cast<unsigned>(k))
                                           : scope.recent(f.objs, false, static_cast<unsigned>(k - living)))
                                   .name;
            } else if (rng.chance(1, 2)) {
                s.arg[a] = wild_number(rng);
            } else {
                s.arg[a] = rng.chance(1, 2) ? default_of(f.shape).value_or(8) : rng.below(5);
            }
        }
        if (good) {
            c.push(s);
            scope.append(s);
        }
    }
    return c;
}

} // namespace dmaudit::testing
