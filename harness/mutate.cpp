#include "harness/mutate.hpp"
#include "harness/binary.hpp"
#include "harness/binary_values.hpp"
#include "harness/binary_world.hpp"
#include "harness/generate_phases.hpp"
#include "harness/scope.hpp"

#include <algorithm>

namespace dmaudit {
namespace {

// Appends steps of possibly broken cases to a valid one: definitions get the next number, uses follow them, and what
// refers to nothing is pointed at something that lives, or dropped.
class Builder {
  public:
    // `judges`: it can say what a conforming client would do next, which costs something.
    explicit Builder(Case& out, bool judges = false) : out_(out), scope_(out.world)
    {
        if (judges)
            phases_.emplace(scope_);
    }

    const Scope& scope() const { return scope_; }
    bool legal(const Step& s) const { return !phases_ || phases_->legal(s); }

    // Starts taking steps of another case: names are a world of their own.
    void new_source() { to_ = {}; }

    // Names of `s` are those of its source.
    bool add(Step s)
    {
        const auto fields = specs()[s.op].fields;
        for (size_t a = 0; a < fields.size(); a++) {
            if (fields[a].shape != Shape::use)
                continue;
            const uint16_t name = s.arg[a] < 0x10000 ? to_[index(s.arg[a])] : uint16_t{0};
            if (name && (name_kind(name) & fields[a].objs))
                s.arg[a] = name;
            else if (scope_.count(fields[a].objs, true))
                s.arg[a] = scope_.recent(fields[a].objs, true, 0).name;
            else
                return false;
        }
        return put(s, true);
    }

    // Names of `s` are those of the case being built.
    bool add_resolved(Step s) { return put(s, false); }

  private:
    Case& out_;
    Scope scope_;
    std::optional<Phases> phases_;
    std::array<uint16_t, obj_kinds * max_names> to_{}; // name in the source -> name here; 0: none

    static size_t index(uint64_t name)
    {
        const Obj kind = name_kind(name);
        return static_cast<size_t>(obj_index(kind)) * max_names + name_number(name);
    }

    bool put(Step& s, bool remember)
    {
        if (out_.count >= max_steps)
            return false;
        const Layout& l = layouts()[s.op];
        if (l.def != Layout::absent) {
            const auto kind = static_cast<Obj>(specs()[s.op].fields[l.def].objs);
            uint64_t name = s.arg[l.def];
            if (!remember || scope_.defined(kind, name_number(name)))
                name = name_of(kind, scope_.next(kind));
            if (remember)
                to_[index(s.arg[l.def])] = static_cast<uint16_t>(name);
            s.arg[l.def] = name;
        }
        out_.push(s);
        if (phases_)
            phases_->append(s);
        scope_.append(s);
        return true;
    }
};

// Where something ends: an object, a line, a page, a part of RAM, what a device reaches, the numbers.
uint64_t boundary(const World& w, const Known* used, Rng& rng)
{
    const uint64_t bits = rng.below(64), delta = rng.below(3) - 1; // -1, 0, +1
    const auto bank = static_cast<unsigned>(rng.below(w.n_banks));
    const uint64_t device = rng.below(w.n_devices);
    switch (rng.below(14)) {
    case 10: {
        const Division d = divide(w, bank);
        const uint64_t parts[] = {d.arena, d.pool, d.client, w.banks[bank].size};
        return parts[rng.below(4)] + delta;
    }
    case 11:
        return w.devices[device].limit + delta;
    case 12:
        return w.banks[bank].phys + (rng.chance(1, 2) ? w.banks[bank].size : 0) + w.devices[device].offset + delta;
    case 13: // to the end of the line or page from where the last range ended
        if (used) {
            const uint64_t unit = rng.chance(1, 2) ? w.line : w.page,
                           at = used->place + used->last.off + used->last.len;
            return (unit - at % unit) % unit + delta;
        }
        return w.page + delta;
    case 0:
        return 0;
    case 1:
        return 1;
    case 2:
        return w.line + delta;
    case 3:
        return w.page + delta;
    case 4:
        return (uint64_t{1} << bits % 16) + delta;
    case 5:
        return (uint64_t{1} << bits) + delta;
    case 6:
        return 0 - rng.below(16);
    case 7:
        return used ? used->last.len + delta : 64;
    default:
        return used ? used->length + delta : 64;
    }
}

// One argument that is not a name.
void set_value(const Scope& scope, Step& s, Rng& rng)
{
    const Layout& l = layouts()[s.op];
    const auto fields = specs()[s.op].fields;
    const Known* used = l.use == Layout::absent ? nullptr : scope.find(s.arg[l.use]);
    const auto first = static_cast<size_t>(rng.below(fields.size()));
    for (size_t i = 0; i < fields.size(); i++) {
        const size_t a = (first + i) % fields.size();
        if (fields[a].shape == Shape::def || fields[a].shape == Shape::use)
            continue;
        const bool number = words(fields[a].shape).empty() && fields[a].shape != Shape::device;
        if (number && l.off != Layout::absent && l.len != Layout::absent && used && (a == l.off || a == l.len) &&
            rng.chance(1, 2)) {
            const uint64_t end = used->last.off + used->last.len, length = rng.chance(1, 2) ? scope.world().line : 1;
            switch (rng.below(8)) { // ranges that line up find more than any number
            case 0:
            case 1:
            case 2:
                s.arg[l.off] = 0, s.arg[l.len] = used->length;
                break;
            case 3: // right behind the last one
                s.arg[l.off] = end, s.arg[l.len] = length;
                break;
            case 4: // ... and before it
                s.arg[l.off] = used->last.off - std::min(length, used->last.off), s.arg[l.len] = length;
                break;
            case 5: // the sum overflows, to the end of the last one
                s.arg[l.off] = 0 - (1 + rng.below(2 * scope.world().page)), s.arg[l.len] = end - s.arg[l.off];
                break;
            default:
                s.arg[l.off] = used->last.off, s.arg[l.len] = used->last.len;
            }
        } else if (number && rng.chance(1, 2)) {
            s.arg[a] = boundary(scope.world(), used, rng);
        } else if (number && rng.chance(1, 4)) {
            const uint64_t step = 1 + rng.below(16);
            s.arg[a] += rng.chance(1, 2) ? step : 0 - step;
        } else {
            s.arg[a] = codes::value_of({scope, s, l, used}, a, static_cast<uint16_t>(rng.below(codes::code_literal)));
        }
        return;
    }
}

void retarget(const Scope& scope, Step& s, Rng& rng)
{
    const Layout& l = layouts()[s.op];
    if (l.use == Layout::absent)
        return;
    const bool dead = scope.world().mode == Mode::hostile && rng.chance(1, 4);
    const unsigned n = scope.count(l.needs, !dead);
    if (n)
        s.arg[l.use] = scope.recent(l.needs, !dead, static_cast<unsigned>(rng.below(n))).name;
}

enum Change : unsigned { insert, remove, duplicate, swap, move, target, value, disturb, world, n_changes };
constexpr std::array<uint8_t, n_changes> even_weights = {24, 16, 8, 8, 4, 12, 24, 8, 4};

// What one call of the mutator prefers (swarm): some kinds of change, and the ops of some families.
struct Taste {
    std::array<uint8_t, n_changes> weights = even_weights;
    uint32_t facets = all_facets;

    Taste(Rng& rng, bool swarm)
    {
        if (!swarm || rng.chance(1, 2))
            return;
        for (uint8_t& w : weights)
            w = rng.chance(1, 3) ? uint8_t{0} : static_cast<uint8_t>(w * (1 + rng.below(4)));
        weights[rng.below(n_changes)] += 16;
        if (rng.chance(1, 2)) {
            const auto one = uint32_t{1} << rng.below(8);
            facets = one | uint32_t{1} << rng.below(8);
        }
    }
    Change pick(Rng& rng) const
    {
        uint64_t sum = 0;
        for (const uint8_t w : weights)
            sum += w;
        uint64_t at = rng.below(sum);
        unsigned i = 0;
        while (at >= weights[i])
            at -= weights[i++];
        return static_cast<Change>(i);
    }
};

// A random op (or the maker of what it lacks), as random bytes would say it.
Step fresh(const Scope& scope, Rng& rng, Actor wanted, bool any, uint32_t facets)
{
    Step s;
    if (scope.world().mode == Mode::hostile)
        facets |= facet_strict;
    do
        s.op = static_cast<uint8_t>(rng.below(op_count));
    while ((!any && specs()[s.op].actor != wanted) || !(specs()[s.op].facets & facets));
    for (unsigned depth = 0; depth < obj_kinds; depth++) {
        const Layout& l = layouts()[s.op];
        if (l.use == Layout::absent || scope.count(l.needs, true))
            break;
        s.op = l.makers[rng.below(l.n_makers)];
    }
    if (layouts()[s.op].use != Layout::absent && !scope.count(layouts()[s.op].needs, true))
        s.op = 0;
    const Layout& l = layouts()[s.op];
    const auto fields = specs()[s.op].fields;
    retarget(scope, s, rng);
    if (l.use != Layout::absent && !scope.find(s.arg[l.use]))
        s.arg[l.use] = scope.recent(l.needs, true, 0).name;
    const Known* used = l.use == Layout::absent ? nullptr : scope.find(s.arg[l.use]);
    for (size_t a = 0; a < fields.size(); a++)
        if (fields[a].shape != Shape::def && fields[a].shape != Shape::use)
            s.arg[a] = codes::value_of({scope, s, l, used}, a, static_cast<uint16_t>(rng.below(codes::code_literal)));
    if (used && l.off != Layout::absent && l.len != Layout::absent)
        if (const uint64_t mode = rng.below(16); mode >= 6) {
            s.arg[l.off] = mode < 11 ? used->last.off : 0;
            s.arg[l.len] = mode < 11 ? used->last.len : used->length;
        }
    return s;
}

void change_world(World& w, Rng& rng)
{
    std::array<uint8_t, cell_bytes> header{};
    if (codes::write_header(w, {}, header) != cell_bytes || header[0] != 1)
        for (uint8_t& byte : header) // a literal world: start again from the tables
            byte = static_cast<uint8_t>(rng.next());
    header[0] = 1;
    const uint64_t which = rng.below(w.mode == Mode::hostile ? 8 : 7); // the last: how strict it is
    const auto at = static_cast<size_t>(which < 7 ? 3 + which : 1);
    const auto bit = rng.below(8);
    header[at] = static_cast<uint8_t>(rng.chance(1, 2) ? header[at] ^ 1u << bit : rng.next() & 0xff);
    const Mode mode = w.mode;
    Expect ignored;
    codes::read_header(header, w, ignored);
    w.mode = mode;
    if (rng.chance(1, 16))
        w.mode = mode == Mode::hostile ? Mode::conforming : Mode::hostile;
}

void change_once(Case& c, Rng& rng, const Taste& taste)
{
    Change change = taste.pick(rng);
    if (c.count == 0)
        change = insert;
    const Case old = c;
    const auto at = static_cast<unsigned>(rng.below(old.count + (change == insert ? 1u : 0u)));
    const auto other = static_cast<unsigned>(rng.below(old.count));
    const auto n = static_cast<unsigned>(rng.chance(3, 4) ? 1 : 1 + rng.below(8));
    c.count = 0;
    if (change == world)
        change_world(c.world, rng);
    // Most of what is inserted and changed is what a client that conforms might do: the rest would only be skipped.
    const bool lawful = (change == insert || change == value || change == target) && rng.chance(3, 4);
    const auto choose = [&](const Builder& builder, auto step) {
        Step s = step();
        for (unsigned tries = 0; lawful && tries < 6 && !builder.legal(s); tries++)
            s = step();
        return s;
    };
    Builder b(c, lawful);
    for (unsigned i = 0; i <= old.count; i++) {
        if (i == at && change == insert)
            for (unsigned k = 0; k < n; k++)
                b.add_resolved(choose(b, [&] {
                    Step s = fresh(b.scope(), rng, Actor::client, true, taste.facets);
                    if (const Layout& l = layouts()[s.op]; l.def != Layout::absent)
                        s.arg[l.def] = name_of(l.makes, b.scope().next(l.makes));
                    return s;
                }));
        if (i == at && change == disturb)
            b.add_resolved(fresh(b.scope(), rng, Actor::machine, false, all_facets));
        if (i == other && change == move && at < old.count)
            b.add(old.steps[at]);
        if (i == old.count)
            break;
        if (change == remove && i >= at && i - at < n)
            continue;
        if (change == move && i == at)
            continue;
        Step s = change == swap && i == at      ? old.steps[other]
                 : change == swap && i == other ? old.steps[at]
                                                : old.steps[i];
        if (i == at && (change == value || change == target))
            s = choose(b, [&] { // names are those of the new case; up to here they are those of the old one
                Step changed = s;
                change == value ? set_value(b.scope(), changed, rng) : retarget(b.scope(), changed, rng);
                return changed;
            });
        b.add(s);
        if (i == at && change == duplicate)
            b.add(s);
    }
}

// All RAM is compared at a reset, and a fuzzer keeps a large world for whatever is new in it: few of those that descend
// from one stay large.
void make_smaller(World& w, Rng& rng)
{
    const uint64_t small = std::max<uint64_t>(256 << 10, 8 * w.page);
    const auto ram = [](const World& world) {
        uint64_t sum = 0;
        for (const BankSpec& bank : world.banks)
            sum += bank.size;
        return sum;
    };
    if (ram(w) <= small || rng.chance(1, 8))
        return;
    World smaller = w;
    while (ram(smaller) > small)
        std::ranges::max_element(smaller.banks, {}, &BankSpec::size)->size /= 2;
    if (world_error(smaller).empty())
        w = smaller;
}

} // namespace

void mutate(Case& c, Rng& rng, bool swarm)
{
    const Taste taste(rng, swarm);
    const Case before = c;
    make_smaller(c.world, rng);
    for (unsigned calls = 0; calls < 4 && c == before; calls++)
        for (uint64_t rounds = 1 + rng.below(4); rounds > 0; rounds--)
            change_once(c, rng, taste);
}

void crossover(const Case& a, const Case& b, Rng& rng, Case& out)
{
    out.world = rng.chance(1, 2) ? a.world : b.world;
    make_smaller(out.world, rng);
    out.expect = {};
    out.count = 0;
    const auto head = static_cast<unsigned>(rng.below(a.count + 1u)),
               tail = static_cast<unsigned>(rng.below(b.count + 1u));
    Builder builder(out);
    for (unsigned i = 0; i < head; i++)
        builder.add(a.steps[i]);
    builder.new_source(); // what the tail has not defined itself is found among the living of the head
    for (unsigned i = tail; i < b.count; i++)
        builder.add(b.steps[i]);
}

} // namespace dmaudit
