#include "harness/binary.hpp"
#include "harness/binary_values.hpp"
#include "harness/binary_world.hpp"
#include "harness/generator.hpp"

#include <algorithm>
#include <bit>

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
    {"hostile", all_facets | facet_strict, Mode::hostile},
    {"mixed", all_facets | facet_strict, Mode::conforming, true},
};

} // namespace

void Generator::run()
{
    weigh();
    const bool hostile = out_.world.mode == Mode::hostile;
    crowded_ = rng_.chance(1, hostile ? 4 : 24);
    phases_.crowd(crowded_);
    const uint64_t peace = hostile ? 2 + rng_.below(steps_) : steps_; // then the client begins to err
    // Some cases are made of single steps only, and some of little but idioms.
    const uint64_t rate = large_ ? 4 : rng_.below(4) * 4;
    if (rng_.chance(1, 4))
        faulty_ = rng_.chance(1, 2) ? 4 : 16;
    if (rng_.chance(1, 4))
        restless_ = rng_.chance(1, 2) ? 3 : 12;
    const bool measured = rng_.chance(1, 4);
    if (measured)
        measure();
    if (!full() && rng_.chance(1, 32)) // no client of a driver that goes like this; but an instance must end well
        put({is<ops::AtEnd>, {0, 1}});
    if (large_ && rng_.chance(3, 4)) // while nothing small lies in the way
        rng_.chance(2, 3) ? exhaust() : storm();
    while (!full()) {
        const bool war = out_.count >= peace;
        if (measured && out_.count && layouts()[out_.steps[out_.count - 1u].op].makes == obj_pool)
            measure();
        if (rate && rng_.chance(1, rate * 2))
            idiom();
        if (!full())
            step(war);
    }
}

void Generator::step(bool war)
{
    const bool hostile = out_.world.mode == Mode::hostile;
    Step s;
    const bool careless = war ? rng_.chance(1, 3) : !hostile && rng_.chance(1, 24);
    if (war && careless && rng_.chance(1, 2) && err_in_release())
        return;
    const bool first_test = out_.world.strict.check_errors && out_.count && test(s) && rng_.chance(15, 16);
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
    if (careless && rng_.chance(1, 2))
        odd_number(s);
    put(s);
}

void Generator::put(const Step& s)
{
    if (faulty_ && can_fail(s.op) && !after_fault() && out_.count + 2u <= steps_ && rng_.chance(1, faulty_))
        put({is<ops::Fail>, {static_cast<uint64_t>(std::countr_zero(rng_.next() | 0x80))}});
    disturb_inside(s);
    const size_t object = scope_.objects().size();
    phases_.append(s);
    scope_.append(s);
    out_.push(s);
    if (scope_.objects().size() > object)
        made_at_[object] = static_cast<uint16_t>(out_.count - 1);
    if (const Layout& l = layouts()[s.op]; l.use != Layout::absent)
        focus_ = root(s.arg[l.use]);
}

// Lines of what a call is about are evicted or reloaded inside of it.
void Generator::disturb_inside(const Step& s)
{
    const Layout& l = layouts()[s.op];
    if (!restless_ || l.use == Layout::absent || specs()[s.op].actor != Actor::client || s.op == is<ops::CpuRead> ||
        s.op == is<ops::CpuWrite> || out_.count + 2u > steps_ || !rng_.chance(1, restless_))
        return;
    const Known* k = scope_.find(s.arg[l.use]);
    if (!k || !k->alive || !(layouts()[is<ops::Evict>].needs & name_kind(k->name)))
        return;
    const uint8_t op = rng_.chance(2, 3) ? is<ops::Evict> : is<ops::Prefetch>;
    const auto nth = static_cast<uint64_t>(1 + std::countr_zero(rng_.next() | 0x20));
    put({op, {k->name, 0, k->length, nth}});
}

const World& Generator::make_world()
{
    std::array<uint8_t, cell_bytes> header{};
    for (uint8_t& byte : header)
        byte = static_cast<uint8_t>(rng_.next());
    header[0] = 1;
    codes::read_header(header, out_.world, out_.expect);
    // Bitmaps of several words, and of several levels, now and then: what lies between them is not in small worlds.
    if (header[cell_bytes - 1] < 5) { // they cost several times as much
        const World small = out_.world;
        constexpr uint64_t sizes[] = {1 << 20, 1 << 20, 2 << 20, 2 << 20, 2 << 20, 4 << 20, 4 << 20, 8 << 20};
        const BankSpec only{out_.world.banks[0].phys, sizes[header[cell_bytes - 2] % std::size(sizes)]};
        out_.world.banks = World{}.banks;
        out_.world.banks[0] = only;
        out_.world.n_banks = 1;
        out_.world.page = World{}.page; // it is about their number
        if (header[cell_bytes - 3] & 1) // the limits were made for the small world: most of it would be out of reach
            for (unsigned d = 0; d < out_.world.n_devices; d++)
                out_.world.devices[d].limit = all_ones;
        for (unsigned d = 0; d < out_.world.n_devices; d++) // room for little of it at a time, for page 0 and for pages
            if (out_.world.devices[d].iommu && rng_.chance(1, 2))
                out_.world.devices[d].limit = out_.world.page + (only.size >> (1 + rng_.below(3))) - 1;
        large_ = world_error(out_.world).empty();
        if (!large_)
            out_.world = small;
    }
    out_.world.mode = profile_.mixed && rng_.chance(1, 4) ? Mode::hostile : profile_.mode;
    out_.world.strict.check_errors &= rng_.chance(1, 2);
    if (out_.world.mode == Mode::conforming || rng_.chance(3, 4)) // few get far who are strict with themselves
        out_.world.strict.weak_order = out_.world.strict.single_fetch = false;
    if (profile_.facets == facet_pool) // a device behind an IOMMU has none
        for (DeviceSpec& d : out_.world.devices)
            d.iommu = 0;
    out_.expect = {};
    out_.count = 0;
    return out_.world;
}

// Swarm: each case does without some ops and prefers others, and most are about a few families: 32 steps do not go
// far in all of them. That reaches states which even weights never see.
void Generator::weigh()
{
    uint32_t families = profile_.facets;
    constexpr uint32_t of_blocks = facet_coherent | facet_pool | facet_opaque | facet_noncoherent;
    if (large_ && (families & of_blocks) && rng_.chance(3, 4)) // they fill it
        families &= of_blocks;
    else if (profile_.swarm && rng_.chance(3, 4)) {
        const uint64_t wanted = 1 + rng_.below(3);
        families = 0;
        for (uint64_t i = 0; i < wanted;)
            if (const uint32_t one = 1u << rng_.below(8); one & profile_.facets)
                families |= one, i++;
    }
    families |= profile_.facets & facet_strict;
    for (uint8_t op = 0; op < op_count; op++) {
        const bool off = ((specs()[op].facets & families) == 0 || rng_.chance(1, 5)) && profile_.swarm;
        uint32_t w = static_cast<uint32_t>(10 + rng_.below(91));
        if (!profile_.swarm)
            w = 55;
        if (specs()[op].ends != Ends::nothing && op != is<ops::ManagedRelease> && op != is<ops::ReleaseGroup>)
            w = w * 2 / 3; // else little lives long enough; managed pools are seldom empty
        if (op == is<ops::ReleaseGroup>)
            w *= 3; // seldom may what was made since then go
        if (layouts()[op].n_names == 0 && layouts()[op].n_fields == 2 && layouts()[op].shapes[1] != Shape::nth)
            w /= 3; // masks: they concern what comes later
        if (op == is<ops::ReleaseGroup>)
            w *= 2; // it needs a driver and a group
        if (op == is<ops::UnmapAttachment> || op == is<ops::ManagedRelease>)
            w *= 2; // before it come a dma-buf, an attachment, a mapping; a driver and a pool
        if (specs()[op].actor == Actor::machine)
            w /= specs()[op].fields.size() == 1 ? 4 : 3; // what makes the next op fail is the rarest
        if (op == is<ops::Starve>)
            w /= 4; // it lasts
        if (op == is<ops::DmaBufGet> || op == is<ops::CloseFd> || op == is<ops::DupFd>)
            w /= 2; // three that need the same
        if (specs()[op].facets == facet_strict)
            w = out_.world.mode == Mode::hostile ? w / 2 : 0;
        weights_[op] = !contains(profile_, op) || off ? 0 : w;
        total_ += weights_[op];
    }
}

// By weight, whether or not there is what it needs.
uint8_t Generator::choose_any()
{
    uint64_t at = rng_.below(total_);
    for (uint8_t op = 0; op < op_count; op++) {
        if (at < weights_[op])
            return op;
        at -= weights_[op];
    }
    return first_op(); // everything is off
}

uint8_t Generator::choose()
{
    return with_object(choose_any());
}

// Often something that can be done with what the last step made or used: what is deep is reached step by step.
uint8_t Generator::choose_next()
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
    uint64_t name = specs()[last.op].ends == Ends::first_use ? root(last.arg[at]) : last.arg[at];
    if (rng_.chance(1, 2)) // or with what was made from it: what is done to a buffer concerns its mapping
        for (const Known& k : scope_.objects())
            if (k.alive && k.parent != Known::no_parent && scope_.objects()[k.parent].name == name) {
                name = k.name;
                break;
            }
    for (unsigned tries = 0; tries < 8 && !(layouts()[op].needs & name_kind(name)); tries++)
        op = choose();
    return op;
}

bool Generator::after_fault() const
{
    return out_.count && out_.steps[out_.count - 1u].op == is<ops::Fail>;
}

// Of a conforming client's steps those that ask the provider for something.
bool Generator::can_fail(uint8_t op)
{
    const bool asks = specs()[op].ends == Ends::nothing || op == is<ops::DmaBufFd>; // for a descriptor
    return specs()[op].actor == Actor::client && asks && !(layouts()[op].makes & obj_buffer) &&
           op != is<ops::CpuRead> && op != is<ops::CpuWrite>;
}

// A call that may fail, mostly.
uint8_t Generator::choose_maker()
{
    uint8_t op = choose();
    for (unsigned tries = 0; tries < 4 && !(layouts()[op].makes & (obj_mapping | obj_block | obj_sg)); tries++)
        op = choose();
    return op;
}

uint8_t Generator::first_op() const
{
    uint8_t op = 0;
    while (op + 1u < op_count && !(contains(profile_, op) && layouts()[op].makes))
        op++;
    return op;
}

// The op, or one that makes what it lacks, whatever the swarm says.
uint8_t Generator::with_object(uint8_t op)
{
    for (unsigned depth = 0; depth < obj_kinds; depth++) {
        const Layout& l = layouts()[op];
        const auto fits = [&](const Known& k) {
            return k.alive && (name_kind(k.name) & l.needs) && Phases::fits(op, k);
        };
        const auto all = scope_.objects();
        if (phases_.lacks_descriptor(op)) {
            op = is<ops::DmaBufFd>;
            continue;
        }
        if (l.use == Layout::absent || std::any_of(all.begin(), all.end(), fits))
            return phases_.lacks_driver(op) ? is<ops::Bind> : op;
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
