// Compiled with -Ddmaudit=dmaudit_plain, as all of this library (see plain.hpp). No heap.
#include "fuzz/plain.hpp"

#include "harness/binary.hpp"
#include "harness/generate.hpp"
#include "harness/mutate.hpp"
#include "harness/scope.hpp"

#include <algorithm>
#include <bitset>
#include <type_traits>

namespace dmaudit::fuzz {
namespace {

// Both copies are compiled from one declaration by one compiler.
static_assert(std::is_trivially_copyable_v<Case> && std::is_standard_layout_v<Intake>);

void fit(Case& c, const Intake& shape)
{
    if (!shape.any_mode)
        c.world.mode = shape.mode;
    c.expect = {};
    std::array<std::bitset<max_names>, obj_kinds> defined{};
    const auto entry = [&](uint64_t name) {
        return defined[static_cast<size_t>(obj_index(name_kind(name)))][name_number(name)];
    };
    unsigned kept = 0;
    for (unsigned i = 0; i < c.count; i++) {
        const Step& s = c.steps[i];
        const Layout& l = layouts()[s.op];
        if (!shape.keeps[s.op] || (l.use != Layout::absent && !entry(s.arg[l.use])))
            continue;
        if (l.def != Layout::absent)
            entry(s.arg[l.def]) = true;
        if (kept != i)
            c.steps[kept] = s;
        kept++;
    }
    c.count = static_cast<uint16_t>(kept);
}

// Steps from the generator. A new case as a whole finds several times as much as a changed one does where the provider
// gives no feedback of its own, and changes of single steps seldom find the start of something long.
void renew(Case& c, const Intake& shape, Rng& rng)
{
    const Profile profile{"", shape.facets, shape.mode, shape.any_mode, shape.swarm};
    generate(rng.next(), profile, c, rng.chance(1, 2) ? 0u : 8 + static_cast<unsigned>(rng.below(49)));
}

// ... behind some of what is there.
void extend(Case& c, const Intake& shape, Rng& rng)
{
    const Case old = c;
    Case fresh;
    renew(fresh, shape, rng);
    crossover(old, fresh, rng, c);
}

} // namespace
} // namespace dmaudit::fuzz

using namespace dmaudit;
using namespace dmaudit::fuzz;

extern "C" {

void dmaudit_plain_decode(const uint8_t* bytes, size_t size, const void* shape, void* out_case)
{
    Case& c = *static_cast<Case*>(out_case);
    decode({bytes, size}, c);
    fit(c, *static_cast<const Intake*>(shape));
}

size_t dmaudit_plain_mutate(uint8_t* data, size_t size, size_t max, const void* shape, uint64_t seed)
{
    Case c;
    Rng rng(seed);
    const auto& intake = *static_cast<const Intake*>(shape);
    const uint64_t turn = rng.below(8);
    if (turn >= 4)
        decode({data, std::min(size, max)}, c);
    if (c.count == 0)
        renew(c, intake, rng);
    else if (turn == 4)
        extend(c, intake, rng);
    else
        mutate(c, rng, intake.swarm);
    fit(c, intake);
    return encode_what_fits(c, {data, max});
}

size_t dmaudit_plain_crossover(const uint8_t* a, size_t a_size, const uint8_t* b, size_t b_size, uint8_t* out,
                               size_t max, const void* shape, uint64_t seed)
{
    Case first, second, both;
    Rng rng(seed);
    const auto& intake = *static_cast<const Intake*>(shape);
    const uint64_t turn = rng.below(4);
    if (turn >= 2) {
        decode({a, a_size}, first);
        decode({b, b_size}, second);
    }
    if (first.count + second.count < 8)
        renew(both, intake, rng);
    else
        crossover(first, second, rng, both);
    if (turn == 2) // with two hooks libFuzzer calls each half of the time: this one mutates too
        mutate(both, rng, intake.swarm);
    fit(both, intake);
    return encode_what_fits(both, {out, max});
}
}
