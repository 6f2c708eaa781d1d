// Ops: streaming mappings.
#pragma once
#include "harness/op.hpp"

namespace dmaudit::ops {

struct MapSingle {
    Def<obj_mapping> out;
    Use<obj_buffer | obj_block> buffer;
    Arg<Shape::off> off;
    Arg<Shape::len> len;
    Arg<Shape::dir> dir;
    Arg<Shape::device> dev;
    Arg<Shape::align> align;
    Arg<Shape::attrs> attrs;
    static constexpr std::string_view name = "map_single", doc = "dma_map_single: give bytes of a buffer to a device";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_streaming;
    static constexpr std::array fields{f("", &MapSingle::out),        f("", &MapSingle::buffer),
                                       f("off", &MapSingle::off),     f("len", &MapSingle::len),
                                       f("dir", &MapSingle::dir),     f("dev", &MapSingle::dev),
                                       f("align", &MapSingle::align), f("attrs", &MapSingle::attrs)};
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
struct MappingError {
    Use<obj_mapping> mapping;
    static constexpr std::string_view name = "mapping_error",
                                      doc = "dma_mapping_error: matters in a world with check_errors=yes";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_streaming;
    static constexpr std::array fields{f("", &MappingError::mapping)};
};
struct UnmapSingle {
    Use<obj_mapping> mapping;
    Arg<Shape::used> used;
    Arg<Shape::attrs> attrs;
    Arg<Shape::lie> lie;
    static constexpr std::string_view name = "unmap_single", doc = "dma_unmap_single: take the bytes back";
    static constexpr Ends ends = Ends::first_use;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_streaming;
    static constexpr std::array fields{f("", &UnmapSingle::mapping), f("used", &UnmapSingle::used),
                                       f("attrs", &UnmapSingle::attrs), f("lie", &UnmapSingle::lie)};
};
struct SyncForCpu {
    Use<obj_mapping | obj_block> mapping;
    Arg<Shape::off> off;
    Arg<Shape::len> len;
    Arg<Shape::sync_dir> dir;
    Arg<Shape::lie> lie;
    static constexpr std::string_view name = "sync_single_for_cpu",
                                      doc = "dma_sync_single_range_for_cpu, DmaOp::prepare_read";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_streaming | facet_noncoherent | facet_managed;
    static constexpr std::array fields{f("", &SyncForCpu::mapping), f("off", &SyncForCpu::off),
                                       f("len", &SyncForCpu::len), f("dir", &SyncForCpu::dir),
                                       f("lie", &SyncForCpu::lie)};
};
struct SyncForDevice {
    Use<obj_mapping | obj_block> mapping;
    Arg<Shape::off> off;
    Arg<Shape::len> len;
    Arg<Shape::sync_dir> dir;
    Arg<Shape::lie> lie;
    static constexpr std::string_view name = "sync_single_for_device",
                                      doc = "dma_sync_single_range_for_device, DmaOp::confirm_write";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_streaming | facet_noncoherent | facet_managed;
    static constexpr std::array fields{f("", &SyncForDevice::mapping), f("off", &SyncForDevice::off),
                                       f("len", &SyncForDevice::len), f("dir", &SyncForDevice::dir),
                                       f("lie", &SyncForDevice::lie)};
};
struct CacheMaintenance {
    Use<obj_buffer> buffer;
    Arg<Shape::off> off;
    Arg<Shape::len> len;
    Arg<Shape::cache_op> op;
    static constexpr std::string_view name = "cache",
                                      doc = "DmaOp::flush, invalidate, flush_invalidate on a client's own bytes";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_streaming;
    static constexpr std::array fields{f("", &CacheMaintenance::buffer), f("off", &CacheMaintenance::off),
                                       f("len", &CacheMaintenance::len), f("op", &CacheMaintenance::op)};
};

} // namespace dmaudit::ops
