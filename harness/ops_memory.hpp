// Ops: coherent, opaque and non-coherent memory, and windows.
#pragma once
#include "harness/op.hpp"

namespace dmaudit::ops {

struct AllocCoherent {
    Def<obj_block> out;
    Arg<Shape::device> dev;
    Arg<Shape::size> size;
    Arg<Shape::align> align;
    Arg<Shape::limit> limit;
    Arg<Shape::flag> zero;
    Arg<Shape::boundary> boundary;
    static constexpr std::string_view name = "alloc_coherent",
                                      doc = "dma_alloc_coherent: the device's pool first, then the generic allocator";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_coherent;
    static constexpr bool sleeps = true;
    static constexpr std::array fields{f("", &AllocCoherent::out),        f("dev", &AllocCoherent::dev),
                                       f("size", &AllocCoherent::size),   f("align", &AllocCoherent::align),
                                       f("limit", &AllocCoherent::limit), f("zero", &AllocCoherent::zero),
                                       f("boundary", &AllocCoherent::boundary)};
};
struct FreeCoherent {
    Use<obj_block> block;
    Arg<Shape::lie> lie;
    static constexpr std::string_view name = "free_coherent", doc = "dma_free_coherent";
    static constexpr Ends ends = Ends::first_use;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_coherent | facet_opaque;
    static constexpr bool sleeps = true;
    static constexpr std::array fields{f("", &FreeCoherent::block), f("lie", &FreeCoherent::lie)};
};
struct AllocOpaque {
    Def<obj_block> out;
    Arg<Shape::device> dev;
    Arg<Shape::size> size;
    Arg<Shape::hint> attrs;
    static constexpr std::string_view name = "alloc_opaque",
                                      doc = "dma_alloc_attrs with NO_KERNEL_MAPPING, CoherentHandle::alloc";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_opaque;
    static constexpr bool sleeps = true;
    static constexpr std::array fields{f("", &AllocOpaque::out), f("dev", &AllocOpaque::dev),
                                       f("size", &AllocOpaque::size), f("attrs", &AllocOpaque::attrs)};
};
struct MmapCoherent {
    Def<obj_window> out;
    Use<obj_block> block;
    Arg<Shape::pages> pages;
    Arg<Shape::nth> pgoff;
    Arg<Shape::lie> lie;
    static constexpr std::string_view name = "mmap_coherent",
                                      doc = "dma_mmap_attrs: a user-space window onto a coherent or opaque block";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_coherent | facet_opaque | facet_managed;
    static constexpr bool sleeps = true;
    static constexpr std::array fields{f("", &MmapCoherent::out), f("", &MmapCoherent::block),
                                       f("pages", &MmapCoherent::pages), f("pgoff", &MmapCoherent::pgoff),
                                       f("lie", &MmapCoherent::lie)};
};
struct Munmap {
    Use<obj_window> window;
    static constexpr std::string_view name = "munmap", doc = "close a window: munmap, dma_buf_vunmap, dma_buf_kunmap";
    static constexpr Ends ends = Ends::first_use;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets =
        facet_pool | facet_coherent | facet_opaque | facet_managed | facet_dma_buf;
    static constexpr bool sleeps = true;
    static constexpr std::array fields{f("", &Munmap::window)};
};
struct AllocNoncoherent {
    Def<obj_block> out;
    Arg<Shape::device> dev;
    Arg<Shape::size> size;
    Arg<Shape::dir> dir;
    static constexpr std::string_view name = "alloc_noncoherent",
                                      doc = "dma_alloc_noncoherent: cached memory, mapped and with the CPU";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_noncoherent;
    static constexpr bool sleeps = true;
    static constexpr std::array fields{f("", &AllocNoncoherent::out), f("dev", &AllocNoncoherent::dev),
                                       f("size", &AllocNoncoherent::size), f("dir", &AllocNoncoherent::dir)};
};
struct FreeNoncoherent {
    Use<obj_block> block;
    Arg<Shape::lie> lie;
    static constexpr std::string_view name = "free_noncoherent", doc = "dma_free_noncoherent";
    static constexpr Ends ends = Ends::first_use;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_noncoherent;
    static constexpr std::array fields{f("", &FreeNoncoherent::block), f("lie", &FreeNoncoherent::lie)};
};
struct AllocPages {
    Def<obj_block> out;
    Arg<Shape::device> dev;
    Arg<Shape::pages> pages;
    Arg<Shape::dir> dir;
    static constexpr std::string_view name = "alloc_pages",
                                      doc = "dma_alloc_pages: whole cached pages, mapped and with the CPU";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_noncoherent;
    static constexpr bool sleeps = true;
    static constexpr std::array fields{f("", &AllocPages::out), f("dev", &AllocPages::dev),
                                       f("pages", &AllocPages::pages), f("dir", &AllocPages::dir)};
};
struct FreePages {
    Use<obj_block> block;
    Arg<Shape::lie> lie;
    static constexpr std::string_view name = "free_pages", doc = "dma_free_pages";
    static constexpr Ends ends = Ends::first_use;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_noncoherent;
    static constexpr std::array fields{f("", &FreePages::block), f("lie", &FreePages::lie)};
};

} // namespace dmaudit::ops
