#include "harness/generate.hpp"
#include "harness/binary.hpp"
#include "harness/binary_values.hpp"
#include "harness/binary_world.hpp"
#include "harness/generate_phases.hpp"
#include "harness/rng.hpp"

#include <algorithm>

namespace dmaudit {
namespace {

constexpr Profile all_profiles[] = {
    {"all", all_facets, Mode::conforming},
    {"streaming", facet_streaming, Mode::conforming},
    {"coherent", facet_coherent, Mode::conforming},
    {"pool", facet_pool, Mode::conforming},
    {"scatter", facet_scatter, Mode::conforming},
    {"managed", facet_managed, Mode::conforming},
    {"dma_buf", facet_dma_buf | facet_coherent | facet_opaque | facet_pool, Mode::conforming},
    {"opaque", facet_opaque, Mode::conforming},
    {"noncoherent", facet_noncoherent, Mode::conforming},
    {"hostile", all_facets, Mode::hostile},
    {"mixed", all_facets, Mode::conforming, true},
};

class Generator {
  public:
    Generator(uint64_t seed, const Profile& profile, Case& out, unsigned steps)
        : rng_(seed), profile_(profile), out_(out), steps_(steps < max_steps ? steps : max_steps), scope_(make_world()),
          phases_(scope_)
    {
    }

    void run()
    {
        weigh();
        const bool hostile = out_.world.mode == Mode::hostile;
        crowded_ = rng_.chance(1, hostile ? 4 : 24);
        phases_.crowd(crowded_);
        const uint64_t peace = hostile ? 2 + rng_.below(steps_) : steps_; // then the client begins to err
        while (out_.count < steps_) {
            Step s;
            const bool war = out_.count >= peace;
            const bool careless = war ? rng_.chance(1, 3) : !hostile && rng_.chance(1, 24);
            const bool first_test = out_.world.check_errors && out_.count && test(s) && rng_.chance(15, 16);
            const bool first_write = !first_test && out_.count && rng_.chance(1, 3) && fill(s);
            for (unsigned tries = 0, op = 0; !first_test && !first_write && tries < 24; tries++) {
                if (tries % 6 == 0) // an op that does not fit gets a few chances: else easy ones drive out the rest
                    op = after_fault() ? choose_maker() : choose_next();
                // Half of a client's mistakes are right calls at a wrong time.
                s = propose(static_cast<uint8_t>(op), war && careless && rng_.chance(1, 2));
                const bool full = layouts()[s.op].makes == obj_block && rng_.chance(1, 40); // the pool may be: try it
                if (careless || full || phases_.legal(s))
                    break;
            }
            phases_.append(s);
            scope_.append(s);
            out_.push(s);
            if (const Layout& l = layouts()[s.op]; l.use != Layout::absent)
                focus_ = root(s.arg[l.use]);
        }
    }

  private:
    Rng rng_;
    const Profile& profile_;
    Case& out_;
    unsigned steps_;
    Scope scope_;
    Phases phases_;
    std::array<uint32_t, op_count> weights_{};
    uint32_t total_ = 0;
    bool crowded_ = false; // buffers lie side by side, in one line too
    uint64_t focus_ = 0;   // name of the oldest ancestor of the object used last

    const World& make_world()
    {
        std::array<uint8_t, cell_bytes> header{};
        for (uint8_t& byte : header)
            byte = static_cast<uint8_t>(rng_.next());
        header[0] = 1;
        codes::read_header(header, out_.world, out_.expect);
        // Bitmaps of several words, now and then: what lies between them is not in small worlds.
        if (constexpr uint64_t large = 2 << 20; header[cell_bytes - 1] % 64 == 0) {
            const World small = out_.world;
            const BankSpec only{out_.world.banks[0].phys, large};
            out_.world.banks = World{}.banks;
            out_.world.banks[0] = only;
            out_.world.n_banks = 1;
            if (!world_error(out_.world).empty())
                out_.world = small;
        }
        out_.world.mode = profile_.mixed && rng_.chance(1, 4) ? Mode::hostile : profile_.mode;
        if (profile_.facets == facet_pool) // a device behind an IOMMU has none
            for (DeviceSpec& d : out_.world.devices)
                d.iommu = 0;
        out_.expect = {};
        out_.count = 0;
        return out_.world;
    }

    // Swarm: each case does without some ops and prefers others, and most are about a few families: 32 steps do not go
    // far in all of them. That reaches states which even weights never see.
    void weigh()
    {
        uint32_t families = profile_.facets;
        if (profile_.swarm && rng_.chance(3, 4)) {
            const uint64_t wanted = 1 + rng_.below(3);
            families = 0;
            for (uint64_t i = 0; i < wanted;)
                if (const uint32_t one = 1u << rng_.below(8); one & profile_.facets)
                    families |= one, i++;
        }
        for (uint8_t op = 0; op < op_count; op++) {
            const bool off = ((specs()[op].facets & families) == 0 || rng_.chance(1, 5)) && profile_.swarm;
            uint32_t w = static_cast<uint32_t>(10 + rng_.below(91));
            if (!profile_.swarm)
                w = 55;
            if (specs()[op].ends != Ends::nothing && op != Ops::index_of<ops::ManagedRelease>() &&
                op != Ops::index_of<ops::ReleaseGroup>())
                w = w * 2 / 3; // else little lives long enough; managed pools are seldom empty
            if (op == Ops::index_of<ops::ReleaseGroup>())
                w *= 3; // seldom may what was made since then go
            if (layouts()[op].n_names == 0 && layouts()[op].n_fields == 2 && layouts()[op].shapes[1] != Shape::nth)
                w /= 3; // masks: they concern what comes later
            if (op == Ops::index_of<ops::ReleaseGroup>())
                w *= 2; // it needs a driver and a group
            if (specs()[op].actor == Actor::machine)
                w /= specs()[op].fields.size() == 1 ? 4 : 3; // what makes the next op fail is the rarest
            weights_[op] = !contains(profile_, op) || off ? 0 : w;
            total_ += weights_[op];
        }
    }

    uint8_t choose()
    {
        uint64_t at = rng_.below(total_);
        for (uint8_t op = 0; op < op_count; op++) {
            if (at < weights_[op])
                return with_object(op);
            at -= weights_[op];
        }
        return with_object(first_op()); // everything is off
    }

    // Often something that can be done with what the last step made or used: what is deep is reached step by step.
    uint8_t choose_next()
    {
        if (!out_.count || !rng_.chance(1, 3))
            return choose();
        const Step& last = out_.steps[out_.count - 1u];
        const Layout& l = layouts()[last.op];
        const uint8_t at = l.def != Layout::absent ? l.def : l.use;
        uint8_t op = choose();
        if (at == Layout::absent)
            return op;
        // What ended leaves what it was made from: a mapping its buffer.
        const uint64_t name = specs()[last.op].ends == Ends::first_use ? root(last.arg[at]) : last.arg[at];
        for (unsigned tries = 0; tries < 8 && !(layouts()[op].needs & name_kind(name)); tries++)
            op = choose();
        return op;
    }

    bool after_fault() const { return out_.count && out_.steps[out_.count - 1u].op == Ops::index_of<ops::Fail>(); }

    // A call that may fail, mostly.
    uint8_t choose_maker()
    {
        uint8_t op = choose();
        for (unsigned tries = 0; tries < 4 && !(layouts()[op].makes & (obj_mapping | obj_block | obj_sg)); tries++)
            op = choose();
        return op;
    }

    uint8_t first_op() const
    {
        uint8_t op = 0;
        while (op + 1u < op_count && !(contains(profile_, op) && layouts()[op].makes))
            op++;
        return op;
    }

    // The op, or one that makes what it lacks, whatever the swarm says.
    uint8_t with_object(uint8_t op)
    {
        for (unsigned depth = 0; depth < obj_kinds; depth++) {
            const Layout& l = layouts()[op];
            const auto fits = [&](const Known& k) {
                return k.alive && (name_kind(k.name) & l.needs) && Phases::fits(op, k);
            };
            const auto all = scope_.objects();
            if (l.use == Layout::absent || std::any_of(all.begin(), all.end(), fits))
                return phases_.lacks_driver(op) ? Ops::index_of<ops::Bind>() : op;
            std::array<uint8_t, op_count> makers{};
            unsigned n = 0;
            for (unsigned i = 0; i < l.n_makers; i++) {
                Known k{};
                k.maker = l.makers[i];
                k.name = name_of(layouts()[k.maker].makes, 0);
                if (contains(profile_, k.maker) && Phases::fits(op, k))
                    makers[n++] = k.maker;
            }
            op = n ? makers[rng_.below(n)] : first_op();
        }
        return first_op();
    }

    uint64_t root(uint64_t name) const
    {
        const Known* k = scope_.find(name);
        while (k && k->parent != Known::no_parent)
            k = &scope_.objects()[k->parent];
        return k ? k->name : 0;
    }

    // Stays with the same memory half of the time, else prefers young objects.
    const Known* object(uint8_t kinds, bool dead)
    {
        const unsigned n = scope_.count(kinds, !dead);
        if (n == 0)
            return nullptr;
        const bool stay = rng_.chance(1, 2);
        const auto first = static_cast<unsigned>(rng_.below(n)), second = static_cast<unsigned>(rng_.below(n));
        if (stay)
            for (unsigned k = 0; k < n; k++)
                if (const Known& o = scope_.recent(kinds, !dead, (first + k) % n); root(o.name) == focus_)
                    return &o;
        return &scope_.recent(kinds, !dead, first < second ? first : second);
    }

    // The CPU writes all of a new buffer or block: most of what can be done with one needs that.
    bool fill(Step& s)
    {
        const Layout& l = layouts()[out_.steps[out_.count - 1u].op];
        constexpr uint8_t op = Ops::index_of<ops::CpuWrite>();
        if (!(l.makes & (obj_buffer | obj_block)))
            return false;
        const Known* k = scope_.find(out_.steps[out_.count - 1u].arg[l.def]);
        s = propose(op, false);
        s.arg[layouts()[op].use] = k->name;
        s.arg[layouts()[op].off] = 0;
        s.arg[layouts()[op].len] = k->length;
        return phases_.legal(s);
    }

    // Where errors count, the client tests a new mapping for one.
    bool test(Step& s)
    {
        const Step& last = out_.steps[out_.count - 1u];
        const Layout& l = layouts()[last.op];
        if (l.makes != obj_mapping)
            return false;
        s = Step{};
        s.op = Ops::index_of<ops::MappingError>();
        s.arg[0] = last.arg[l.def];
        return true;
    }

    // All that there can be of what the op makes, or a half or quarter.
    uint64_t most(uint8_t op, const Known* used)
    {
        const World& w = scope_.world();
        const Division d = divide(w, static_cast<unsigned>(rng_.below(w.n_banks)));
        const Obj made = layouts()[op].makes;
        const uint64_t all = used ? used->length : made == obj_buffer ? d.client : made == obj_pool ? d.pool : d.arena;
        return all >> rng_.below(3);
    }

    // Bytes before or behind the range that was used last: what a line, a page or a copy that is too long touches.
    Interval next_to_last_range(const Known& k, bool before)
    {
        const uint64_t line = scope_.world().line, lengths[] = {1, line / 2, line, k.last.len};
        const uint64_t len = lengths[rng_.below(4)];
        const uint64_t end = k.last.off + k.last.len;
        if (before)
            return {k.last.off - std::min(len, k.last.off), k.last.off};
        return {end, end + (k.length > end ? std::min(len, k.length - end) : 0)};
    }

    // Random arguments, by the same tables as random bytes.
    Step propose(uint8_t op, bool err)
    {
        Step s;
        s.op = op;
        const Layout& l = layouts()[op];
        const auto fields = specs()[op].fields;
        const Known* used = nullptr;
        const uint64_t mode = rng_.below(16); // of the range
        const bool picky = !err || rng_.chance(3, 4);
        Interval beside;
        for (size_t a = 0; a < fields.size(); a++) {
            const auto code = static_cast<uint16_t>(rng_.below(codes::code_literal));
            if (fields[a].shape == Shape::def) {
                const auto kind = static_cast<Obj>(fields[a].objs);
                s.arg[a] = name_of(kind, scope_.next(kind));
            } else if (fields[a].shape == Shape::use) {
                const bool dead = err && rng_.chance(1, 4);
                const Known* k = dead ? object(fields[a].objs, true) : nullptr;
                for (unsigned tries = 0; !k && tries < 6; tries++)
                    if (k = object(fields[a].objs, false); k && tries < 5 && picky && !Phases::fits(op, *k))
                        k = nullptr;
                s.arg[a] = k ? k->name : 0;
                if (a == l.use) {
                    used = k;
                    if (k && (mode == 4 || mode == 5))
                        beside = next_to_last_range(*k, mode == 4);
                }
            } else if (fields[a].shape == Shape::lie && err) {
                const bool lie = rng_.chance(1, 3);
                s.arg[a] = lie ? 1 + rng_.below(lie_count - 1) : 0;
            } else if (fields[a].shape == Shape::place) {
                // On a line of its own mostly; else wherever the code says.
                const bool aligned = rng_.chance(3, 4);
                const Known* beside_it = crowded_ && rng_.chance(1, 2) ? object(layouts()[op].makes, false) : nullptr;
                s.arg[a] = beside_it ? beside_it->place + beside_it->length
                                     : codes::value_of({scope_, s, l, used}, a,
                                                       aligned ? static_cast<uint16_t>(0x2000 | (code & 0xfff)) : code);
            } else if (fields[a].shape == Shape::size && rng_.chance(1, 16)) {
                s.arg[a] = most(op, used);
            } else if (used && (mode == 4 || mode == 5) && (a == l.off || a == l.len) && l.off != Layout::absent &&
                       l.len != Layout::absent) {
                s.arg[a] = a == l.off ? beside.from : beside.to - beside.from;
            } else if (used && mode >= 6 && (a == l.off || a == l.len) && l.off != Layout::absent &&
                       l.len != Layout::absent) {
                const bool last =
                    mode < 11 && used->last.off <= used->length && used->last.len <= used->length - used->last.off;
                s.arg[a] = a == l.off ? (last ? used->last.off : 0) : last ? used->last.len : used->length;
            } else {
                s.arg[a] = codes::value_of({scope_, s, l, used}, a, code);
            }
        }
        if (!err)
            phases_.complete(s);
        if (op == Ops::index_of<ops::Fail>() && s.arg[0] == 0)
            s.arg[0] = 1 + rng_.below(8);
        return s;
    }
};

} // namespace

std::span<const Profile> profiles()
{
    return all_profiles;
}

const Profile* profile_named(std::string_view name)
{
    for (const Profile& p : all_profiles)
        if (p.name == name)
            return &p;
    return nullptr;
}

bool contains(const Profile& p, uint8_t op)
{
    return (specs()[op].facets & p.facets) != 0;
}

void generate(uint64_t seed, const Profile& profile, Case& out, unsigned steps)
{
    Generator(seed, profile, out, steps).run();
}

} // namespace dmaudit
