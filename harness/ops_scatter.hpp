// Ops: scatterlists and tables.
#pragma once
#include "harness/op.hpp"

namespace dmaudit::ops {

struct MapSg {
    Def<obj_sg> out;
    Use<obj_buffer> buffer;
    Arg<Shape::off> off;
    Arg<Shape::len> len;
    Arg<Shape::dir> dir;
    Arg<Shape::device> dev;
    Arg<Shape::pages> n;
    Arg<Shape::sg_shape> shape;
    static constexpr std::string_view name = "map_sg",
                                      doc = "dma_map_sg: `n` entries (at most 16), the parts of a range of a buffer";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_scatter;
    static constexpr std::array fields{f("", &MapSg::out),    f("", &MapSg::buffer), f("off", &MapSg::off),
                                       f("len", &MapSg::len), f("dir", &MapSg::dir), f("dev", &MapSg::dev),
                                       f("n", &MapSg::n),     f("shape", &MapSg::shape)};
};
struct MapSgWithin {
    Def<obj_sg> out;
    Use<obj_buffer> buffer;
    Arg<Shape::off> off;
    Arg<Shape::len> len;
    Arg<Shape::dir> dir;
    Arg<Shape::device> dev;
    Arg<Shape::attrs> attrs;
    Arg<Shape::limit> limit;
    static constexpr std::string_view name = "map_sg_within",
                                      doc = "dma_map_sg_attrs of a range in four parts, with a limit of the request's own";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_scatter;
    static constexpr std::array fields{f("", &MapSgWithin::out),        f("", &MapSgWithin::buffer),
                                       f("off", &MapSgWithin::off),     f("len", &MapSgWithin::len),
                                       f("dir", &MapSgWithin::dir),     f("dev", &MapSgWithin::dev),
                                       f("attrs", &MapSgWithin::attrs), f("limit", &MapSgWithin::limit)};
    static constexpr uint64_t parts = 4;
};
struct UnmapSg {
    Use<obj_sg> sg;
    Arg<Shape::attrs> attrs;
    Arg<Shape::lie> lie;
    static constexpr std::string_view name = "unmap_sg", doc = "dma_unmap_sg, with the original count";
    static constexpr Ends ends = Ends::first_use;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_scatter;
    static constexpr std::array fields{f("", &UnmapSg::sg), f("attrs", &UnmapSg::attrs), f("lie", &UnmapSg::lie)};
};
struct SyncSgForCpu {
    Use<obj_sg> sg;
    Arg<Shape::sync_dir> dir;
    Arg<Shape::lie> lie;
    static constexpr std::string_view name = "sync_sg_for_cpu", doc = "dma_sync_sg_for_cpu";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_scatter;
    static constexpr std::array fields{f("", &SyncSgForCpu::sg), f("dir", &SyncSgForCpu::dir),
                                       f("lie", &SyncSgForCpu::lie)};
};
struct SyncSgForDevice {
    Use<obj_sg> sg;
    Arg<Shape::sync_dir> dir;
    Arg<Shape::lie> lie;
    static constexpr std::string_view name = "sync_sg_for_device", doc = "dma_sync_sg_for_device";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_scatter;
    static constexpr std::array fields{f("", &SyncSgForDevice::sg), f("dir", &SyncSgForDevice::dir),
                                       f("lie", &SyncSgForDevice::lie)};
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

} // namespace dmaudit::ops
