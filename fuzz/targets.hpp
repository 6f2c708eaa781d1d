// The targets made of cases: which ops each keeps and the mode that it forces. Also for the tool that makes their
// seeds.
#pragma once
#include "fuzz/plain.hpp"
#include "harness/generate.hpp"

#include <string_view>

namespace dmaudit::fuzz {

struct Target {
    std::string_view name;
    Profile profile;
    bool hostile() const { return profile.mode == Mode::hostile; }
};

inline constexpr Target pool{"fuzz_pool", {"pool", facet_pool | facet_coherent, Mode::conforming}};
inline constexpr Target streaming{"fuzz_streaming", {"streaming", facet_streaming, Mode::conforming}};
inline constexpr Target hostile{"fuzz_hostile", {"hostile", all_facets | facet_strict, Mode::hostile}};
inline constexpr Target scatter{"fuzz_scatter", {"scatter", facet_scatter | facet_streaming, Mode::conforming}};
inline constexpr Target handles{"fuzz_handles",
                                {"handles", facet_opaque | facet_noncoherent | facet_coherent, Mode::conforming}};
inline constexpr Target managed{"fuzz_managed", {"managed", facet_managed, Mode::conforming}};
inline constexpr Target dma_buf{
    "fuzz_dma_buf", {"dma_buf", facet_dma_buf | facet_coherent | facet_opaque | facet_pool, Mode::conforming}};
inline constexpr Target all{"fuzz_all", {"all", all_facets, Mode::conforming}};
inline constexpr Target any_provider{"fuzz_provider", {"mixed", all_facets, Mode::conforming, true}};
inline constexpr const Target* case_targets[] = {&pool,    &streaming, &hostile, &scatter,
                                                 &handles, &managed,   &dma_buf, &all};

inline Intake intake_of(const Target& t)
{
    Intake intake{t.profile.mode, {}, t.profile.mixed, t.profile.swarm, t.profile.facets};
    for (uint8_t op = 0; op < op_count; op++)
        intake.keeps[op] = contains(t.profile, op);
    return intake;
}

} // namespace dmaudit::fuzz
