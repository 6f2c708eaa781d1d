// Ops: what only matters to those who are strict with a driver. Neither calls the provider.
#pragma once
#include "harness/op.hpp"

namespace dmaudit::ops {

struct Barrier {
    static constexpr std::string_view
        name = "barrier",
        doc = "dma_wmb and dma_rmb, or the writel to a doorbell: matters in a world with weak_order or single_fetch";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_strict;
    static constexpr std::array<Field, 0> fields{};
};
struct Context {
    Arg<Shape::context> kind;
    static constexpr std::string_view name = "context",
                                      doc = "the client goes on as a task, or in an interrupt or under a spinlock";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_strict;
    static constexpr std::array fields{f("kind", &Context::kind)};
};

} // namespace dmaudit::ops
