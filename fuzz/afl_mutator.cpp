// The structured mutator as a library for AFL++ (AFL_CUSTOM_MUTATOR_LIBRARY). It runs in afl-fuzz, not in the target,
// and is told in the environment which target's cases to make: DMAUDIT_FUZZ_TARGET, one of the names in targets.hpp.
#include "fuzz/targets.hpp"
#include "harness/binary.hpp"
#include "harness/rng.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>

namespace dmaudit::fuzz {
namespace {

struct Mutator {
    Mutator(const Target& t, unsigned seed) : intake(intake_of(t)), rng(seed) {}
    Intake intake;
    Rng rng;
    uint8_t out[max_encoded];
};

const Target* target_named(std::string_view name)
{
    if (name == any_provider.name)
        return &any_provider;
    const auto* const found = std::find_if(std::begin(case_targets), std::end(case_targets),
                                           [&](const Target* t) { return t->name == name; });
    return found == std::end(case_targets) ? nullptr : *found;
}

} // namespace
} // namespace dmaudit::fuzz

using namespace dmaudit;
using namespace dmaudit::fuzz;

// Names and types are AFL++'s.
extern "C" {
void* afl_custom_init(void* afl, unsigned seed);
size_t afl_custom_fuzz(void* data, uint8_t* buf, size_t size, uint8_t** out, uint8_t* other, size_t other_size,
                       size_t max);
void afl_custom_deinit(void* data);
}

// Ends the process with a word on stderr where there is no such target: AFL++ would go on with null.
void* afl_custom_init(void*, unsigned seed)
{
    const char* name = std::getenv("DMAUDIT_FUZZ_TARGET");
    if (const Target* t = target_named(name ? name : ""))
        return new Mutator(*t, seed);
    std::fprintf(stderr, "dmaudit: DMAUDIT_FUZZ_TARGET=%s: expected one of %s", name ? name : "",
                 any_provider.name.data());
    for (const Target* t : case_targets)
        std::fprintf(stderr, " %s", t->name.data());
    std::fputc('\n', stderr);
    std::exit(2);
}

// One changed case, or one of two. Neither input is changed; 0: AFL++ shall go on to its next mutation.
size_t afl_custom_fuzz(void* data, uint8_t* buf, size_t size, uint8_t** out, uint8_t* other, size_t other_size,
                       size_t max)
{
    auto& m = *static_cast<Mutator*>(data);
    max = std::min(max, sizeof m.out);
    size = std::min(size, max);
    *out = m.out;
    const uint64_t seed = m.rng.next();
    if (other && m.rng.chance(1, 4))
        return plain_crossover({buf, size}, {other, other_size}, m.out, max, m.intake, seed);
    std::copy_n(buf, size, m.out);
    return plain_mutate(m.out, size, max, m.intake, seed);
}

void afl_custom_deinit(void* data)
{
    delete static_cast<Mutator*>(data);
}
