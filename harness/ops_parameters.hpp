// Ops: what a driver says of its device.
#pragma once
#include "harness/op.hpp"

namespace dmaudit::ops {

struct SetMask {
    Arg<Shape::device> dev;
    Arg<Shape::mask> mask;
    static constexpr std::string_view name = "set_mask",
                                      doc = "dma_set_mask: last address (inclusive) of mappings from now on";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_streaming | facet_scatter | facet_dma_buf;
    static constexpr std::array fields{f("dev", &SetMask::dev), f("mask", &SetMask::mask)};
};
struct SetCoherentMask {
    Arg<Shape::device> dev;
    Arg<Shape::mask> mask;
    static constexpr std::string_view name = "set_coherent_mask",
                                      doc = "dma_set_coherent_mask: last address of memory from now on, but for pools";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_coherent | facet_opaque | facet_noncoherent;
    static constexpr std::array fields{f("dev", &SetCoherentMask::dev), f("mask", &SetCoherentMask::mask)};
};
struct SetMinAlignMask {
    Arg<Shape::device> dev;
    Arg<Shape::low_bits> mask;
    static constexpr std::string_view name = "set_min_align_mask",
                                      doc = "dma_set_min_align_mask: address bits that a bounce buffer keeps";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_streaming | facet_scatter;
    static constexpr std::array fields{f("dev", &SetMinAlignMask::dev), f("mask", &SetMinAlignMask::mask)};
};

} // namespace dmaudit::ops
