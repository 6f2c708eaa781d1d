// Ops: clients' buffers, the accesses of CPU and devices, and what the machine does besides.
#pragma once
#include "harness/op.hpp"

namespace dmaudit::ops {

struct Buffer {
    Def<obj_buffer> out;
    Arg<Shape::size> size;
    Arg<Shape::place> at;
    Arg<Shape::memory> memory;
    static constexpr std::string_view name = "buffer",
                                      doc = "the client takes bytes of cached RAM; memory: what they stand for";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_streaming | facet_scatter | facet_dma_buf;
    static constexpr std::array fields{f("", &Buffer::out), f("size", &Buffer::size), f("at", &Buffer::at),
                                       f("memory", &Buffer::memory)};
};
struct FreeBuffer {
    Use<obj_buffer> buffer;
    static constexpr std::string_view name = "free_buffer", doc = "the client gives a buffer up (kfree)";
    static constexpr Ends ends = Ends::first_use;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_streaming | facet_scatter | facet_dma_buf;
    static constexpr std::array fields{f("", &FreeBuffer::buffer)};
};
struct CpuRead {
    Use<obj_buffer | obj_block | obj_window> object;
    Arg<Shape::off> off;
    Arg<Shape::len> len;
    static constexpr std::string_view name = "cpu_read", doc = "the CPU reads bytes of a buffer, block or window";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = all_facets;
    static constexpr std::array fields{f("", &CpuRead::object), f("off", &CpuRead::off), f("len", &CpuRead::len)};
};
struct CpuWrite {
    Use<obj_buffer | obj_block | obj_window> object;
    Arg<Shape::off> off;
    Arg<Shape::len> len;
    Arg<Shape::seed> seed;
    static constexpr std::string_view name = "cpu_write", doc = "the CPU writes bytes of a buffer, block or window";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = all_facets;
    static constexpr std::array fields{f("", &CpuWrite::object), f("off", &CpuWrite::off), f("len", &CpuWrite::len),
                                       f("seed", &CpuWrite::seed)};
};
struct DeviceRead {
    Use<obj_mapping | obj_block | obj_sg | obj_attachment> object;
    Arg<Shape::off> off;
    Arg<Shape::len> len;
    Arg<Shape::lie> lie;
    static constexpr std::string_view name = "device_read",
                                      doc = "the device reads through a mapping or a coherent block";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::device;
    static constexpr uint32_t facets = all_facets;
    static constexpr std::array fields{f("", &DeviceRead::object), f("off", &DeviceRead::off),
                                       f("len", &DeviceRead::len), f("lie", &DeviceRead::lie)};
};
struct DeviceWrite {
    Use<obj_mapping | obj_block | obj_sg | obj_attachment> object;
    Arg<Shape::off> off;
    Arg<Shape::len> len;
    Arg<Shape::seed> seed;
    Arg<Shape::lie> lie;
    static constexpr std::string_view name = "device_write",
                                      doc = "the device writes through a mapping or a coherent block";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::device;
    static constexpr uint32_t facets = all_facets;
    static constexpr std::array fields{f("", &DeviceWrite::object), f("off", &DeviceWrite::off),
                                       f("len", &DeviceWrite::len), f("seed", &DeviceWrite::seed),
                                       f("lie", &DeviceWrite::lie)};
};
struct Evict {
    Use<obj_buffer | obj_mapping | obj_block> object;
    Arg<Shape::off> off;
    Arg<Shape::len> len;
    Arg<Shape::nth> callback;
    static constexpr std::string_view name = "evict",
                                      doc =
                                          "the cache evicts lines, now or at the n-th platform call inside the next op";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::machine;
    static constexpr uint32_t facets = all_facets;
    static constexpr std::array fields{f("", &Evict::object), f("off", &Evict::off), f("len", &Evict::len),
                                       f("callback", &Evict::callback)};
};
struct Prefetch {
    Use<obj_buffer | obj_mapping | obj_block> object;
    Arg<Shape::off> off;
    Arg<Shape::len> len;
    Arg<Shape::nth> callback;
    static constexpr std::string_view
        name = "prefetch",
        doc = "the cache reloads clean lines, now or at the n-th platform call inside the next op";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::machine;
    static constexpr uint32_t facets = all_facets;
    static constexpr std::array fields{f("", &Prefetch::object), f("off", &Prefetch::off), f("len", &Prefetch::len),
                                       f("callback", &Prefetch::callback)};
};
struct Fail {
    Arg<Shape::nth> nth;
    static constexpr std::string_view
        name = "fail",
        doc = "the n-th platform call that may fail (meta_alloc, set_uncached, iommu_map) inside the next op fails; "
              "nth=0: the first one more than that op made last time";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::machine;
    static constexpr uint32_t facets = all_facets;
    static constexpr std::array fields{f("nth", &Fail::nth)};
};
struct Starve {
    Arg<Shape::flag> end;
    static constexpr std::string_view name = "starve", doc = "from now on no meta_alloc succeeds; end=yes: until now";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::machine;
    static constexpr uint32_t facets = all_facets;
    static constexpr std::array fields{f("end", &Starve::end)};
};
struct AtEnd {
    Arg<Shape::device> dev;
    Arg<Shape::flag> abrupt;
    static constexpr std::string_view
        name = "at_end",
        doc = "when all is given back, as much can be had as from a fresh instance; abrupt: closed with all alive";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::machine;
    static constexpr uint32_t facets = all_facets;
    static constexpr std::array fields{f("dev", &AtEnd::dev), f("abrupt", &AtEnd::abrupt)};
};
struct FailOpen {
    Arg<Shape::nth> nth;
    static constexpr std::string_view
        name = "fail_open",
        doc = "when the case has ended, the n-th platform call inside another open fails; then it is opened as ever";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::machine;
    static constexpr uint32_t facets = all_facets;
    static constexpr std::array fields{f("nth", &FailOpen::nth)};
};

} // namespace dmaudit::ops
