#include "properties/streams.hpp"

#include "harness/binary.hpp"
#include "harness/mutate.hpp"

#include <vector>

namespace dmaudit::properties {

Case generated(uint64_t seed, const Profile& profile, unsigned steps)
{
    Case c;
    generate(seed, profile, c, steps);
    return c;
}

Case generated(uint64_t seed, std::string_view profile, unsigned steps)
{
    return generated(seed, *profile_named(profile), steps);
}

Case in_world(const Case& c, const World& world)
{
    Case nothing, target;
    nothing.world = c.world;
    target.world = world;
    const std::vector<uint8_t> steps = encode(c);
    std::vector<uint8_t> bytes = encode(target);
    bytes.insert(bytes.end(), steps.begin() + static_cast<ptrdiff_t>(encode(nothing).size()), steps.end());
    Case out;
    decode(bytes, out);
    return out;
}

World shapes::make(uint64_t page, uint64_t line, Coherence coherence, Banks layout, Reach reach, Offset offset)
{
    World w;
    w.page = page;
    w.line = line;
    w.mode = Mode::conforming;
    w.n_banks = layout == Banks::one ? 1 : layout == Banks::two ? 2 : 4;
    const uint64_t in_bank = layout == Banks::one   ? (page == 4096 ? 64 : 16)
                             : layout == Banks::two ? 12
                                                    : 5,
                   first = 0x7ff00000;
    for (unsigned i = 0; i < w.n_banks; i++) // alternately adjacent and apart
        w.banks[i] = {first + i * in_bank * page + i / 2 * 0x40000000, in_bank * page};
    const BankSpec& last = w.banks[w.n_banks - 1u];
    const uint64_t last_byte = last.phys + last.size - 1;
    w.n_devices = coherence == Coherence::mixed ? 2 : 1;
    for (unsigned d = 0; d < w.n_devices; d++) {
        DeviceSpec& device = w.devices[d];
        device.coherent = coherence == Coherence::all || (coherence == Coherence::mixed && d == 0);
        device.limit = all_ones;
        device.iommu = d == 0 && reach == Reach::through_an_iommu;
        if (device.iommu) // the addresses are its own: no offset
            continue;
        device.offset = offset == Offset::none              ? 0
                        : offset == Offset::to_address_zero ? 0 - first
                                                            : all_ones - 1 - last_byte;
        // A second device sees it all: one of both may have to bounce.
        if (d == 0 && reach != Reach::everything)
            device.limit = (reach == Reach::last_byte ? last_byte : first + w.banks[0].size / 2 - 1) + device.offset;
    }
    return w;
}

Case of_random_bytes(uint64_t seed)
{
    Rng rng(seed);
    std::vector<uint8_t> bytes((1 + 48) * cell_bytes);
    for (uint8_t& b : bytes)
        b = static_cast<uint8_t>(rng.next());
    bytes[0] = 1;
    Case c;
    decode(bytes, c);
    c.world.mode = Mode::conforming;
    return c;
}

std::span<const Profile* const> conforming_profiles()
{
    static const auto all = [] {
        std::vector<const Profile*> v;
        for (const Profile& p : profiles())
            if (p.mode == Mode::conforming && !p.mixed)
                v.push_back(&p);
        return v;
    }();
    return all;
}

void Streams::next(Case& out)
{
    if (left_) {
        left_--;
        mutate(chain_, rng_);
        chain_.world.mode = Mode::conforming;
        out = chain_;
        return;
    }
    const auto all = conforming_profiles();
    const auto n = all.size();
    const uint64_t turns[] = {n * generated_cases,    n * long_cases, n * shapes::count, n * mutant_chains,
                              n * random_bytes_cases, hostile_cases,  long_hostile_cases};
    enum Kind { plain, lengthy, worlds, mutants, bytes, errs, errs_long };
    uint64_t sum = 0;
    for (const uint64_t t : turns)
        sum += t;
    uint64_t at = rng_.below(sum);
    unsigned kind = 0;
    while (at >= turns[kind])
        at -= turns[kind++];
    const uint64_t seed = rng_.next();
    Profile p = kind >= errs ? *profile_named("hostile") : *all[rng_.below(n)];
    p.swarm = swarm_;
    switch (kind) {
    case bytes:
        out = of_random_bytes(seed);
        return;
    case worlds: {
        uint64_t which = rng_.below(shapes::count);
        const auto part = [&](const auto& of) {
            const auto i = static_cast<size_t>(which % std::size(of));
            which /= std::size(of);
            return of[i];
        };
        const uint64_t page = part(shapes::pages), line = part(shapes::lines);
        const auto coherence = part(shapes::coherences);
        const auto layout = part(shapes::banks);
        const auto reach = part(shapes::reaches);
        out = in_world(generated(seed, p), shapes::make(page, line, coherence, layout, reach, part(shapes::offsets)));
        return;
    }
    default:
        generate(seed, p, out, kind == lengthy || kind == errs_long ? max_steps : 0u);
        if (kind == mutants) {
            chain_ = out;
            left_ = mutants_in_a_chain;
            next(out);
        }
    }
}

} // namespace dmaudit::properties
