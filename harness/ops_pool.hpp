// Ops: per-device coherent pools.
#pragma once
#include "harness/op.hpp"

namespace dmaudit::ops {

struct DeclarePool {
    Def<obj_pool> out;
    Arg<Shape::device> dev;
    Arg<Shape::size> size;
    Arg<Shape::place> at;
    Arg<Shape::flag> exclusive;
    static constexpr std::string_view name = "declare_pool", doc = "dma_declare_coherent_memory";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_pool;
    static constexpr bool sleeps = true;
    static constexpr std::array fields{f("", &DeclarePool::out), f("dev", &DeclarePool::dev),
                                       f("size", &DeclarePool::size), f("at", &DeclarePool::at),
                                       f("exclusive", &DeclarePool::exclusive)};
};
struct AllocFromPool {
    Def<obj_block> out;
    Use<obj_pool> pool;
    Arg<Shape::size> size;
    static constexpr std::string_view name = "alloc_from_pool", doc = "dma_alloc_from_dev_coherent";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_pool | facet_managed;
    static constexpr std::array fields{f("", &AllocFromPool::out), f("", &AllocFromPool::pool),
                                       f("size", &AllocFromPool::size)};
};
struct ReleaseFromPool {
    Use<obj_block> block;
    Arg<Shape::lie> lie;
    static constexpr std::string_view name = "release_from_pool", doc = "dma_release_from_dev_coherent";
    static constexpr Ends ends = Ends::first_use;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_pool | facet_managed;
    static constexpr std::array fields{f("", &ReleaseFromPool::block), f("lie", &ReleaseFromPool::lie)};
};
struct MmapFromPool {
    Def<obj_window> out;
    Use<obj_block> block;
    Arg<Shape::pages> pages;
    Arg<Shape::nth> pgoff;
    Arg<Shape::lie> lie;
    static constexpr std::string_view name = "mmap_from_pool",
                                      doc = "dma_mmap_from_dev_coherent: a user-space window onto a block";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_pool | facet_managed;
    static constexpr bool sleeps = true;
    static constexpr std::array fields{f("", &MmapFromPool::out), f("", &MmapFromPool::block),
                                       f("pages", &MmapFromPool::pages), f("pgoff", &MmapFromPool::pgoff),
                                       f("lie", &MmapFromPool::lie)};
};
struct ReleasePool {
    Use<obj_pool> pool;
    static constexpr std::string_view name = "release_pool", doc = "dma_release_coherent_memory";
    static constexpr Ends ends = Ends::first_use;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_pool;
    static constexpr bool sleeps = true;
    static constexpr std::array fields{f("", &ReleasePool::pool)};
};

} // namespace dmaudit::ops
