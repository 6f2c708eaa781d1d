// Ops: what only matters to those who are strict with a driver. None calls the provider.
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
struct CpuIndex {
    Use<obj_buffer | obj_block | obj_window> object;
    Arg<Shape::off> off;
    Arg<Shape::len> len;
    static constexpr std::string_view
        name = "cpu_index",
        doc =
            "the CPU reads a number and uses it, as it stands, as an index, length or pointer: matters with untrusted";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_strict;
    static constexpr std::array fields{f("", &CpuIndex::object), f("off", &CpuIndex::off), f("len", &CpuIndex::len)};
};

} // namespace dmaudit::ops
