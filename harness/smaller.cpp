#include "harness/smaller.hpp"
#include "harness/scope.hpp"
#include <algorithm>
#include <bitset>

namespace dmaudit {
namespace {

// How far a value is from the simplest: 0 for the default (or 0), else the smaller the simpler. Bounded, so that a sum
// over all arguments of a case fits.
uint64_t value_cost(Shape shape, uint64_t v)
{
    return v == default_of(shape).value_or(0) ? 0 : 1 + std::min(v, uint64_t{1} << 50);
}

uint64_t world_cost(const World& w)
{
    const World plain;
    uint64_t cost = 0, modes = 0;
    for (const StrictMode& mode : strict_modes)
        modes += w.strict.*mode.on;
    for (unsigned d = 0; d < w.n_devices; d++) {
        const DeviceSpec& s = w.devices[d];
        cost += (d ? 1000u : 0u) + (s.coherent != 0) + 4u * (s.iommu != 0) + 2u * (s.offset != 0) +
                (s.limit == plain.devices[0].limit ? 0u
                 : s.limit == all_ones             ? 1u
                                                   : 3u);
    }
    for (unsigned b = 0; b < w.n_banks; b++)
        cost += (b ? 1000u : 0u) + 10u * (w.banks[b].phys != plain.banks[0].phys) + (w.banks[b].size >> 12);
    return cost + (w.page != plain.page ? 5 * (w.page >> 12) : 0) + (w.line != plain.line ? 5 : 0) + modes;
}

// The name that a step defines.
std::optional<uint64_t> made_by(const Step& s)
{
    const uint8_t def = layouts()[s.op].def;
    return def == Layout::absent ? std::nullopt : std::optional(s.arg[def]);
}

} // namespace

Cost cost_of(const Case& c)
{
    Cost cost{c.count, 0, world_cost(c.world), 0, 0, 0};
    for (const Step& s : c.all()) {
        const auto fields = specs()[s.op].fields;
        cost.faults += specs()[s.op].actor == Actor::machine;
        cost.kinds += s.op;
        for (size_t a = 0; a < fields.size(); a++)
            if (is_name(fields[a].shape))
                cost.names += name_number(s.arg[a]);
            else
                cost.values += value_cost(fields[a].shape, s.arg[a]);
    }
    return cost;
}

Case without(const Case& c, unsigned first, unsigned n)
{
    Case out;
    out.world = c.world;
    out.expect = c.expect;
    Scope scope(c.world);
    for (unsigned i = 0; i < c.count; i++) {
        if (i >= first && i - first < n)
            continue;
        const auto fields = specs()[c.steps[i].op].fields;
        bool defined = true;
        for (size_t a = 0; a < fields.size(); a++)
            defined = defined && (fields[a].shape != Shape::use || scope.find(c.steps[i].arg[a]));
        if (!defined)
            continue;
        out.push(c.steps[i]);
        scope.append(c.steps[i]);
    }
    return out;
}

Case without_unrelated(const Case& c)
{
    if (c.count == 0)
        return c;
    std::array<std::bitset<max_names>, obj_kinds> wanted;
    const auto bit = [&](uint64_t name) {
        return wanted[static_cast<size_t>(obj_index(name_kind(name)))][name_number(name)];
    };
    const auto want_all = [&](const Step& s) {
        const auto fields = specs()[s.op].fields;
        for (size_t a = 0; a < fields.size(); a++)
            if (is_name(fields[a].shape))
                bit(s.arg[a]) = true;
    };
    const auto touches = [&](const Step& s, bool defined_only) {
        const auto fields = specs()[s.op].fields;
        bool any = false, named = false;
        for (size_t a = 0; a < fields.size(); a++) {
            named |= is_name(fields[a].shape);
            if (fields[a].shape == Shape::def || (fields[a].shape == Shape::use && !defined_only))
                any |= bit(s.arg[a]);
        }
        return any || (!named && !defined_only); // bind, fail, close_fd: of nobody in particular
    };
    want_all(c.steps[c.count - 1u]);
    for (unsigned i = c.count; i-- > 0;) // what the wanted names are made of
        if (touches(c.steps[i], true))
            want_all(c.steps[i]);
    Case out = c;
    for (unsigned i = c.count; i-- > 0;)
        if (!touches(c.steps[i], false))
            out = without(out, i, 1);
    return out;
}

Step in_terms_of(uint8_t op, const Step& old)
{
    Step s;
    s.op = op;
    const auto from = specs()[old.op].fields, to = specs()[op].fields;
    unsigned name = 0; // the names are in the same order
    for (size_t a = 0; a < to.size(); a++) {
        if (is_name(to[a].shape)) {
            s.arg[a] = old.arg[layouts()[old.op].names[name++]];
            continue;
        }
        s.arg[a] = default_of(to[a].shape).value_or(0);
        for (size_t b = 0; b < from.size(); b++)
            if (from[b].name == to[a].name)
                s.arg[a] = old.arg[b];
    }
    return s;
}

std::optional<Case> one_for_two(const Case& c, unsigned earlier, unsigned later, bool as_the_later, bool once)
{
    if (earlier >= later || later >= c.count)
        return {};
    const auto kept = made_by(c.steps[earlier]), gone = made_by(c.steps[later]);
    if (!kept || !gone || name_kind(*kept) != name_kind(*gone))
        return {};
    Case out;
    out.world = c.world;
    out.expect = c.expect;
    bool twice = false;
    for (unsigned i = 0; i < c.count; i++) {
        if (i == later)
            continue;
        Step s = c.steps[i == earlier && as_the_later ? later : i];
        bool renamed = false;
        for (unsigned n = 0; n < layouts()[s.op].n_names; n++)
            if (uint64_t& name = s.arg[layouts()[s.op].names[n]]; name == *gone)
                name = *kept, renamed = true;
        const auto end = out.steps.begin() + out.count;
        const bool again = renamed && std::find(out.steps.begin(), end, s) != end;
        twice |= again;
        if (!again || !once)
            out.push(s);
    }
    return twice || !once ? std::optional(out) : std::nullopt;
}

} // namespace dmaudit
