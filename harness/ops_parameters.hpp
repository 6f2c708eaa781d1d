// Ops that came with what a driver says of its device: masks and limits, whole pages, scatter tables, and the test of a
// mapping for its error.
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
struct MapSingleWithin {
    Def<obj_mapping> out;
    Use<obj_buffer | obj_block> buffer;
    Arg<Shape::off> off;
    Arg<Shape::len> len;
    Arg<Shape::dir> dir;
    Arg<Shape::device> dev;
    Arg<Shape::limit> limit;
    Arg<Shape::boundary> boundary;
    static constexpr std::string_view
        name = "map_single_within",
        doc = "DmaOp::map_single with its dma_mask, the last address (0: none), and a boundary";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_streaming;
    static constexpr std::array fields{f("", &MapSingleWithin::out),         f("", &MapSingleWithin::buffer),
                                       f("off", &MapSingleWithin::off),      f("len", &MapSingleWithin::len),
                                       f("dir", &MapSingleWithin::dir),      f("dev", &MapSingleWithin::dev),
                                       f("limit", &MapSingleWithin::limit),  f("boundary", &MapSingleWithin::boundary)};
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
struct MapSgtable { // the fields of MapSg
    Def<obj_sg> out;
    Use<obj_buffer> buffer;
    Arg<Shape::off> off;
    Arg<Shape::len> len;
    Arg<Shape::dir> dir;
    Arg<Shape::device> dev;
    Arg<Shape::pages> n;
    Arg<Shape::sg_shape> shape;
    static constexpr std::string_view name = "map_sgtable",
                                      doc = "dma_map_sgtable: a table of `n` entries, the parts of a range of a buffer";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_scatter;
    static constexpr std::array fields{f("", &MapSgtable::out),    f("", &MapSgtable::buffer), f("off", &MapSgtable::off),
                                       f("len", &MapSgtable::len), f("dir", &MapSgtable::dir), f("dev", &MapSgtable::dev),
                                       f("n", &MapSgtable::n),     f("shape", &MapSgtable::shape)};
};
struct UnmapSgtable { // of a list from map_sg too; a wrong size is an orig_nents that was changed
    Use<obj_sg> sg;
    Arg<Shape::attrs> attrs;
    Arg<Shape::lie> lie;
    static constexpr std::string_view name = "unmap_sgtable", doc = "dma_unmap_sgtable, by the table's orig_nents";
    static constexpr Ends ends = Ends::first_use;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_scatter;
    static constexpr std::array fields{f("", &UnmapSgtable::sg), f("attrs", &UnmapSgtable::attrs),
                                       f("lie", &UnmapSgtable::lie)};
};
struct SyncSgtableForCpu {
    Use<obj_sg> sg;
    Arg<Shape::sync_dir> dir;
    Arg<Shape::lie> lie;
    static constexpr std::string_view name = "sync_sgtable_for_cpu", doc = "dma_sync_sgtable_for_cpu";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_scatter;
    static constexpr std::array fields{f("", &SyncSgtableForCpu::sg), f("dir", &SyncSgtableForCpu::dir),
                                       f("lie", &SyncSgtableForCpu::lie)};
};
struct SyncSgtableForDevice {
    Use<obj_sg> sg;
    Arg<Shape::sync_dir> dir;
    Arg<Shape::lie> lie;
    static constexpr std::string_view name = "sync_sgtable_for_device", doc = "dma_sync_sgtable_for_device";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_scatter;
    static constexpr std::array fields{f("", &SyncSgtableForDevice::sg), f("dir", &SyncSgtableForDevice::dir),
                                       f("lie", &SyncSgtableForDevice::lie)};
};
struct MappingError {
    Use<obj_mapping> mapping;
    static constexpr std::string_view name = "mapping_error",
                                      doc = "dma_mapping_error: matters in a world with check_errors=yes";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_streaming;
    static constexpr std::array fields{f("", &MappingError::mapping)};
};

} // namespace dmaudit::ops
