// Sequences that a driver, or an erring one, goes through, and that single random choices hardly ever make: the same
// over and over, until nothing is left, once more where something was.
#include "harness/generator.hpp"

#include <algorithm>
#include <bit>

namespace dmaudit {

void Generator::idiom()
{
    const bool starved = out_.count + 8u <= steps_ && rng_.chance(1, 8); // tables cannot grow
    if (starved)
        put({is<ops::Starve>, {0}});
    one_idiom();
    if (starved && !full())
        put({is<ops::Starve>, {1}});
}

void Generator::one_idiom()
{
    if (large_ && rng_.chance(2, 3)) // what is special about a large world shows when it is full
        return rng_.chance(1, 2) ? exhaust() : storm();
    switch (rng_.below(12)) {
    case 0:
        return churn();
    case 1:
        return succeed();
    case 2:
        return exhaust();
    case 3:
        return repeat();
    case 4:
        return storm();
    case 5:
        return sweep();
    case 6:
        return loop();
    default:
        return protocol();
    }
}

// A legal step with this op, if a few tries make one.
bool Generator::attempt(uint8_t op)
{
    for (unsigned tries = 0; tries < 8; tries++) {
        const Step s = propose(op, false);
        if (!phases_.legal(s))
            continue;
        put(s);
        if (Step t; out_.world.strict.check_errors && !full() && test(t))
            put(t);
        return true;
    }
    return false;
}

// The same; what the op lacks is made first.
bool Generator::attempt_with_objects(uint8_t op)
{
    for (unsigned depth = 0; depth < 4 && !full(); depth++) {
        const uint8_t first = with_object(op);
        if (!attempt(first))
            return false;
        if (first == op)
            return true;
    }
    return false;
}

// The step that ends the object as its owner would, or as the owner of something else would.
std::optional<Step> Generator::ending(const Known& k, bool whatever_it_is)
{
    std::array<uint8_t, op_count> all;
    unsigned n = 0;
    for (uint8_t op = 0; op < op_count; op++)
        if (specs()[op].ends == Ends::first_use && (layouts()[op].needs & name_kind(k.name)) &&
            contains(profile_, op) && (whatever_it_is || Phases::fits(op, k)))
            all[n++] = op;
    if (n == 0)
        return {};
    Step s = propose(all[rng_.below(n)], false);
    s.arg[layouts()[s.op].use] = k.name;
    return s;
}

void Generator::like_before(Step& s)
{
    const uint8_t def = layouts()[s.op].def;
    if (def == Layout::absent)
        return;
    const Obj kind = name_kind(s.arg[def]);
    s.arg[def] = name_of(kind, scope_.next(kind));
    if (s.op == is<ops::ExportPages>) { // where nobody else is
        s.arg[2] = free_page(unpack<ops::ExportPages>(s).pages.v);
    }
}

// The step that made the object, for one that is made like it.
Step Generator::again(const Known& k)
{
    Step s = out_.steps[made_at_[static_cast<size_t>(&k - scope_.objects().data())]];
    like_before(s);
    return s;
}

bool Generator::end(size_t object)
{
    if (full() || !scope_.objects()[object].alive)
        return false;
    for (unsigned tries = 0; tries < 3; tries++)
        if (const auto s = ending(scope_.objects()[object]); s && phases_.legal(*s))
            return put(*s), true;
    return false;
}

// One kind of thing taken and given back, over and over: what leaks a little each time runs dry.
void Generator::churn()
{
    const uint8_t op = choose_maker();
    if (layouts()[op].def == Layout::absent || !attempt_with_objects(op))
        return;
    const uint64_t rounds = rng_.chance(1, 2) ? 2 + rng_.below(3) : 4 + rng_.below(16);
    for (uint64_t i = 0; i < rounds; i++) {
        const size_t last = scope_.objects().size() - 1;
        if (scope_.objects().empty() || !end(last) || full())
            return;
        const Step s = again(scope_.objects()[last]);
        if (!phases_.legal(s))
            return;
        put(s);
    }
}

// One op again and again, and each time the next platform call inside it fails: every way out of it is taken.
void Generator::sweep()
{
    const uint8_t op = choose_any();
    if (specs()[op].actor == Actor::machine)
        return;
    uint64_t nth = rng_.chance(3, 4) ? 1 : 2;
    // ... or as many as there can be, and each time the same platform call fails, or one more than there was: tables grow.
    const bool grows = specs()[op].ends == Ends::nothing && rng_.chance(1, 2);
    if (grows)
        nth = rng_.chance(1, 2) ? 0 : rng_.below(4);
    for (uint64_t rounds = 1 + rng_.below(grows ? 16 : 4); rounds > 0 && out_.count + 2u <= steps_; rounds--, nth += !grows) {
        for (uint8_t first = 0; (first = with_object(op)) != op;)
            if (full() || !attempt(first))
                return;
        if (out_.count + 2u > steps_)
            return;
        Step s = propose(op, false);
        for (unsigned tries = 0; tries < 8 && !phases_.legal(s); tries++)
            s = propose(op, false);
        if (!phases_.legal(s))
            return;
        put({is<ops::Fail>, {nth}});
        put(s);
    }
    if (grows)
        fail_kin(op, nth);
}

// A call of the same family, in which a platform call fails: where a table is full it is the one that makes room.
void Generator::fail_kin(uint8_t op, uint64_t nth)
{
    std::array<uint8_t, op_count> all;
    unsigned n = 0;
    for (uint8_t other = 0; other < op_count; other++) // whatever the swarm says
        if ((specs()[other].facets & specs()[op].facets) && can_fail(other) && contains(profile_, other))
            all[n++] = other;
    if (n == 0)
        return;
    const uint8_t kin = all[rng_.below(n)];
    for (uint8_t first = 0; (first = with_object(kin)) != kin;)
        if (full() || !attempt(first))
            return;
    if (out_.count + 2u > steps_)
        return;
    put({is<ops::Fail>, {nth}});
    attempt(kin);
}

// The last step, or a new one, over and over, if it may be: tables grow, counters climb, and then there may be no room
// for the next of the family.
void Generator::repeat()
{
    if (const uint8_t op = choose_any(); rng_.chance(1, 2) && can_fail(op) && !attempt_with_objects(op))
        return;
    if (!out_.count)
        return;
    Step s = out_.steps[out_.count - 1u];
    if (specs()[s.op].actor == Actor::machine)
        return;
    const bool trouble = rng_.chance(1, 2); // on the way, too: which table is full after how many is not known
    uint64_t rounds = 1 + rng_.below(rng_.chance(1, 4) ? 40 : 12);
    if (rng_.chance(1, 2)) // tables have 2^n entries, as a rule: up to the last one, to it, or one further
        rounds = (uint64_t{4} << rng_.below(3)) - rng_.below(3);
    for (; rounds > 0 && !full(); rounds--) {
        like_before(s);
        if (!phases_.legal(s))
            break;
        put(s);
        if (trouble && rng_.chance(1, 4))
            fail_kin(s.op, rng_.below(4));
    }
    for (uint64_t more = 1 + rng_.below(3); more > 0; more--)
        fail_kin(s.op, rng_.chance(1, 2) ? 0 : 1 + rng_.below(3));
}

// The last few steps over and over, each time on what they made this time; now and then one of them fails whenever it
// asks for something new.
void Generator::loop()
{
    std::array<Step, 4> body;
    const size_t n = std::min<size_t>(1 + rng_.below(4), out_.count), failing = rng_.below(2 * n + 1);
    const uint64_t nth = static_cast<uint64_t>(std::countr_zero(rng_.next() | 0x10));
    std::copy_n(out_.steps.begin() + static_cast<std::ptrdiff_t>(out_.count - n), n, body.begin());
    for (uint64_t rounds = 2 + rng_.below(16); rounds > 0; rounds--) {
        std::array<std::array<uint64_t, 2>, body.size()> renamed{};
        for (size_t i = 0; i < n; i++) {
            Step& s = body[i];
            const Layout& l = layouts()[s.op];
            for (size_t a = 0; a < l.n_fields; a++)
                if (l.shapes[a] == Shape::use)
                    for (size_t j = 0; j < i; j++)
                        if (renamed[j][1] && s.arg[a] == renamed[j][0]) {
                            s.arg[a] = renamed[j][1];
                            break;
                        }
            if (l.def != Layout::absent) {
                renamed[i][0] = s.arg[l.def];
                like_before(s);
                renamed[i][1] = s.arg[l.def];
            }
            if (out_.count + 2u > steps_ || !phases_.legal(s))
                return;
            if (i == failing && !after_fault())
                put({is<ops::Fail>, {nth}});
            put(s);
        }
    }
}

// The most that there is, taken and given back: when everything has been given back at the end of the case it must be
// there again, so whatever is lost between shows. Of a pool; of other memory `at_end` takes the measure.
void Generator::measure()
{
    constexpr uint8_t op = is<ops::AllocFromPool>;
    if (!contains(profile_, op) || !scope_.count(obj_pool, true))
        return put({is<ops::AtEnd>, {rng_.below(out_.world.n_devices)}});
    const uint64_t page = scope_.world().page;
    Step s = propose(op, false);
    for (size_t a = 0; a < specs()[op].fields.size(); a++)
        if (specs()[op].fields[a].shape == Shape::align || specs()[op].fields[a].shape == Shape::limit ||
            specs()[op].fields[a].shape == Shape::boundary)
            s.arg[a] = 0;
    const Layout& l = layouts()[op];
    const Known* used = l.use == Layout::absent ? nullptr : scope_.find(s.arg[l.use]);
    const size_t first = scope_.objects().size();
    const bool whole = rng_.chance(1, 4); // to the last page
    for (uint64_t pages = std::bit_floor(all_of(op, used) / page); pages && !full(); pages /= 2) {
        s.arg[l.size] = pages * page;
        if (!phases_.legal(s))
            continue;
        put(s);
        if (!whole)
            break;
        s = again(scope_.objects().back());
    }
    for (size_t i = first; i < scope_.objects().size(); i++)
        end(i);
}

// Blocks of all sizes come and go until the memory is in pieces.
void Generator::storm()
{
    uint8_t op = choose_maker();
    for (unsigned tries = 0; tries < 8 && layouts()[op].makes != obj_block; tries++)
        op = choose_maker();
    const uint8_t at = layouts()[op].size;
    if (layouts()[op].makes != obj_block || at == Layout::absent || !attempt_with_objects(op))
        return;
    const size_t first = scope_.objects().size() - 1;
    const Step model = out_.steps[made_at_[first]];
    const uint64_t all = all_of(op, layouts()[op].use == Layout::absent ? nullptr : scope_.find(model.arg[layouts()[op].use]));
    for (uint64_t left = 4 + rng_.below(20); left > 0 && !full(); left--) {
        if (rng_.chance(2, 5)) {
            end(first + rng_.below(scope_.objects().size() - first));
            continue;
        }
        Step s = again(scope_.objects()[first]);
        s.arg[at] = rng_.chance(3, 4) ? all >> rng_.below(6) : 1 + rng_.below(all);
        if (phases_.legal(s) || rng_.chance(1, 8))
            put(s);
    }
}

// Things of one size until there is no room, some of them given back, and then larger ones.
void Generator::exhaust()
{
    uint8_t op = choose_maker();
    for (unsigned tries = 0; tries < 4 && !(layouts()[op].makes & (large_ ? uint8_t{obj_block} : uint8_t{0xff})); tries++)
        op = choose_maker();
    const Layout& l = layouts()[op];
    if (l.def == Layout::absent)
        return;
    for (uint8_t first = 0; (first = with_object(op)) != op;)
        if (full() || !attempt(first))
            return;
    if (full())
        return;
    Step model;
    bool found = false;
    const uint8_t at = l.size != Layout::absent ? l.size : l.len;
    for (unsigned tries = 0; tries < 8 && !found; tries++) {
        model = propose(op, false);
        if (at != Layout::absent && rng_.chance(1, large_ ? 1 : 2)) {
            const Known* used = l.use == Layout::absent ? nullptr : scope_.find(model.arg[l.use]);
            model.arg[at] = all_of(op, used) >> rng_.below(5);
        }
        found = phases_.legal(model);
    }
    if (!found)
        return;
    const size_t first = scope_.objects().size();
    put(model);
    unsigned refused = 0;
    for (uint64_t left = 1 + rng_.below(rng_.chance(1, 2) ? 4 : 16); left > 0 && !full() && refused < 3; left--) {
        Step s = again(scope_.objects()[first]);
        for (unsigned tries = 0; tries < 3 && !phases_.legal(s); tries++) {
            s = propose(op, false);
            if (at != Layout::absent)
                s.arg[at] = model.arg[at];
        }
        if (phases_.legal(s))
            put(s);
        else if (++refused < 3 && l.makes == obj_block) // no room, by our notion: nobody's mistake
            put(again(scope_.objects()[first]));
    }
    const size_t last = scope_.objects().size();
    const uint64_t pattern = rng_.below(5);
    for (size_t i = first; i < last; i++) {
        const bool one_of_two = ((i - first) & 1) == 0;
        if (pattern == 0 || (pattern == 1 && one_of_two) || (pattern == 2 && i != first) ||
            (pattern == 3 && i + 1 != last) || (pattern == 4 && rng_.chance(1, 2)))
            end(pattern == 2 ? last - 1 - (i - first) : i);
    }
    for (uint64_t more = 1 + rng_.below(3), k = 0; k < more && !full(); k++) {
        Step s = again(scope_.objects()[first]);
        if (at != Layout::absent)
            s.arg[at] = rng_.chance(1, 2) ? s.arg[at] << (1 + rng_.below(3)) : many(op, nullptr);
        if (phases_.legal(s) || (l.makes == obj_block && rng_.chance(1, 2))) // as above
            put(s);
    }
}

// Something ends and its like follows: at the same address, in the same slot, with the same number if an allocator
// uses them again.
void Generator::succeed()
{
    constexpr uint8_t kinds = obj_block | obj_mapping | obj_sg | obj_pool | obj_attachment | obj_dma_buf | obj_window;
    const Known* k = object(kinds, false);
    if (!k)
        return;
    const auto at = static_cast<size_t>(k - scope_.objects().data());
    if (!end(at) || full())
        return;
    if (const Step s = again(scope_.objects()[at]); phases_.legal(s))
        put(s);
}

// A release that is a mistake: of what is dead, best while its like lives where it was, or of what lives, with
// something wrong about it.
bool Generator::err_in_release()
{
    const uint8_t kinds = rng_.chance(7, 8) ? uint8_t{obj_block} : uint8_t{0xff};
    const bool any_dead = scope_.count(kinds, false) != 0, any_alive = scope_.count(kinds, true) != 0;
    if (!any_dead && !any_alive)
        return false;
    bool dead = any_dead && (!any_alive || rng_.chance(1, 2));
    const Known* k = object(kinds, dead);
    if (!k)
        return false;
    const auto at = static_cast<size_t>(k - scope_.objects().data());
    if (!dead && rng_.chance(1, 2))
        dead = end(at);
    // Others have been there since, and one is there now.
    for (uint64_t tenants = dead && rng_.chance(1, 6) ? rng_.below(17) : 0; tenants && out_.count + 4u <= steps_;
         tenants--) {
        const Step s = again(scope_.objects()[at]);
        if (!phases_.legal(s))
            break;
        put(s);
        if (!end(scope_.objects().size() - 1))
            break;
    }
    if (dead && rng_.chance(3, 4) && !full())
        if (const Step s = again(scope_.objects()[at]); phases_.legal(s))
            put(s);
    if (full())
        return true;
    auto s = ending(scope_.objects()[at], rng_.chance(1, 8));
    if (!s)
        return false;
    const auto fields = specs()[s->op].fields;
    for (size_t a = 0; a < fields.size() && !dead; a++)
        if (fields[a].shape == Shape::lie)
            s->arg[a] = 1 + rng_.below(lie_count - 1);
    put(*s);
    return true;
}

} // namespace dmaudit
