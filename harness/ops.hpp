// Every op of a case, declared once. Adding an op: its struct here, its name in the list at the end, and its `perform`
// in the executor.
#pragma once
#include "harness/op.hpp"
#include "harness/ops_managed.hpp"
#include "harness/ops_parameters.hpp"
#include <tuple>
#include <type_traits>

namespace dmaudit {
namespace ops {

struct Buffer {
    Def<obj_buffer> out;
    Arg<Shape::size> size;
    Arg<Shape::place> at;
    static constexpr std::string_view name = "buffer", doc = "the client takes bytes of cached RAM (kmalloc)";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_streaming | facet_scatter | facet_dma_buf;
    static constexpr std::array fields{f("", &Buffer::out), f("size", &Buffer::size), f("at", &Buffer::at)};
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
    static constexpr std::array fields{f("", &FreeCoherent::block), f("lie", &FreeCoherent::lie)};
};
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
    static constexpr std::array fields{f("", &MmapFromPool::out), f("", &MmapFromPool::block),
                                       f("pages", &MmapFromPool::pages), f("pgoff", &MmapFromPool::pgoff),
                                       f("lie", &MmapFromPool::lie)};
};
struct Munmap {
    Use<obj_window> window;
    static constexpr std::string_view name = "munmap", doc = "close a window: munmap, dma_buf_vunmap, dma_buf_kunmap";
    static constexpr Ends ends = Ends::first_use;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets =
        facet_pool | facet_coherent | facet_opaque | facet_managed | facet_dma_buf;
    static constexpr std::array fields{f("", &Munmap::window)};
};
struct ReleasePool {
    Use<obj_pool> pool;
    static constexpr std::string_view name = "release_pool", doc = "dma_release_coherent_memory";
    static constexpr Ends ends = Ends::first_use;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_pool;
    static constexpr std::array fields{f("", &ReleasePool::pool)};
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
        doc = "the n-th platform call that may fail (meta_alloc, set_uncached) inside the next op fails";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::machine;
    static constexpr uint32_t facets = all_facets;
    static constexpr std::array fields{f("nth", &Fail::nth)};
};

struct AllocOpaque {
    Def<obj_block> out;
    Arg<Shape::device> dev;
    Arg<Shape::size> size;
    static constexpr std::string_view name = "alloc_opaque",
                                      doc = "dma_alloc_attrs with NO_KERNEL_MAPPING, CoherentHandle::alloc";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_opaque;
    static constexpr std::array fields{f("", &AllocOpaque::out), f("dev", &AllocOpaque::dev),
                                       f("size", &AllocOpaque::size)};
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
    static constexpr std::array fields{f("", &MmapCoherent::out), f("", &MmapCoherent::block),
                                       f("pages", &MmapCoherent::pages), f("pgoff", &MmapCoherent::pgoff),
                                       f("lie", &MmapCoherent::lie)};
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

struct ExportBlock {
    Def<obj_dma_buf> out;
    Use<obj_block> block;
    static constexpr std::string_view name = "export_block",
                                      doc = "dma_buf_export_named of a coherent or opaque block";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_dma_buf;
    static constexpr std::array fields{f("", &ExportBlock::out), f("", &ExportBlock::block)};
};
struct ExportPages {
    Def<obj_dma_buf> out;
    Arg<Shape::pages> pages;
    Arg<Shape::nth> at;
    static constexpr std::string_view name = "export_pages",
                                      doc = "dma_buf_export_named of cached pages of the client, from its page `at` on";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_dma_buf;
    static constexpr std::array fields{f("", &ExportPages::out), f("pages", &ExportPages::pages), f("at", &ExportPages::at)};
};
struct DmaBufFd {
    Use<obj_dma_buf> buf;
    static constexpr std::string_view name = "dma_buf_fd",
                                      doc = "dma_buf_fd: the reference goes to the lowest free descriptor";
    static constexpr Ends ends = Ends::first_use;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_dma_buf;
    static constexpr std::array fields{f("", &DmaBufFd::buf)};
};
struct DmaBufGet {
    Def<obj_dma_buf> out;
    Arg<Shape::nth> fd;
    static constexpr std::string_view name = "dma_buf_get",
                                      doc = "dma_buf_get: one more reference";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_dma_buf;
    static constexpr std::array fields{f("", &DmaBufGet::out), f("fd", &DmaBufGet::fd)};
};
struct DmaBufPut {
    Use<obj_dma_buf> buf;
    static constexpr std::string_view name = "dma_buf_put",
                                      doc = "dma_buf_put";
    static constexpr Ends ends = Ends::first_use;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_dma_buf;
    static constexpr std::array fields{f("", &DmaBufPut::buf)};
};
struct CloseFd {
    Arg<Shape::nth> fd;
    static constexpr std::string_view name = "close_fd",
                                      doc = "close(2) of a dma-buf's descriptor";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_dma_buf;
    static constexpr std::array fields{f("fd", &CloseFd::fd)};
};
struct DupFd {
    Arg<Shape::nth> fd;
    static constexpr std::string_view name = "dup_fd",
                                      doc = "dup(2) of a dma-buf's descriptor";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_dma_buf;
    static constexpr std::array fields{f("fd", &DupFd::fd)};
};
struct Attach {
    Def<obj_attachment> out;
    Use<obj_dma_buf> buf;
    Arg<Shape::device> dev;
    static constexpr std::string_view name = "attach",
                                      doc = "dma_buf_attach";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_dma_buf;
    static constexpr std::array fields{f("", &Attach::out), f("", &Attach::buf), f("dev", &Attach::dev)};
};
struct Detach {
    Use<obj_attachment> attachment;
    static constexpr std::string_view name = "detach",
                                      doc = "dma_buf_detach";
    static constexpr Ends ends = Ends::first_use;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_dma_buf;
    static constexpr std::array fields{f("", &Detach::attachment)};
};
struct MapAttachment {
    Use<obj_attachment> attachment;
    Arg<Shape::dir> dir;
    static constexpr std::string_view name = "map_attachment",
                                      doc = "dma_buf_map_attachment";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_dma_buf;
    static constexpr std::array fields{f("", &MapAttachment::attachment), f("dir", &MapAttachment::dir)};
};
struct UnmapAttachment {
    Use<obj_attachment> attachment;
    Arg<Shape::lie> lie;
    static constexpr std::string_view name = "unmap_attachment",
                                      doc = "dma_buf_unmap_attachment";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_dma_buf;
    static constexpr std::array fields{f("", &UnmapAttachment::attachment), f("lie", &UnmapAttachment::lie)};
};
struct BeginCpuAccess {
    Use<obj_dma_buf> buf;
    Arg<Shape::off> off;
    Arg<Shape::len> len;
    Arg<Shape::dir> dir;
    static constexpr std::string_view name = "begin_cpu_access",
                                      doc = "dma_buf_begin_cpu_access on a range";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_dma_buf;
    static constexpr std::array fields{f("", &BeginCpuAccess::buf), f("off", &BeginCpuAccess::off), f("len", &BeginCpuAccess::len), f("dir", &BeginCpuAccess::dir)};
};
struct EndCpuAccess {
    Use<obj_dma_buf> buf;
    Arg<Shape::off> off;
    Arg<Shape::len> len;
    Arg<Shape::dir> dir;
    static constexpr std::string_view name = "end_cpu_access",
                                      doc = "dma_buf_end_cpu_access on a range";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_dma_buf;
    static constexpr std::array fields{f("", &EndCpuAccess::buf), f("off", &EndCpuAccess::off), f("len", &EndCpuAccess::len), f("dir", &EndCpuAccess::dir)};
};
struct Kmap {
    Def<obj_window> out;
    Use<obj_dma_buf> buf;
    Arg<Shape::nth> page;
    Arg<Shape::flag> atomic;
    static constexpr std::string_view name = "kmap",
                                      doc = "dma_buf_kmap, dma_buf_kmap_atomic; munmap closes it";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_dma_buf;
    static constexpr std::array fields{f("", &Kmap::out), f("", &Kmap::buf), f("page", &Kmap::page), f("atomic", &Kmap::atomic)};
};
struct Vmap {
    Def<obj_window> out;
    Use<obj_dma_buf> buf;
    static constexpr std::string_view name = "vmap",
                                      doc = "dma_buf_vmap; munmap closes it";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_dma_buf;
    static constexpr std::array fields{f("", &Vmap::out), f("", &Vmap::buf)};
};
struct MmapDmaBuf {
    Def<obj_window> out;
    Use<obj_dma_buf> buf;
    Arg<Shape::pages> pages;
    Arg<Shape::nth> pgoff;
    static constexpr std::string_view name = "mmap_dma_buf",
                                      doc = "dma_buf_mmap: a user-space window";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_dma_buf;
    static constexpr std::array fields{f("", &MmapDmaBuf::out), f("", &MmapDmaBuf::buf), f("pages", &MmapDmaBuf::pages), f("pgoff", &MmapDmaBuf::pgoff)};
};

} // namespace ops

template <class... Op> struct OpList {
    static constexpr size_t count = sizeof...(Op);
    template <class T> static constexpr uint8_t index_of()
    {
        uint8_t i = 0, found = 0xff;
        ((std::is_same_v<T, Op> ? void(found = i++) : void(i++)), ...);
        return found;
    }
    // Calls f.template operator()<Op>() for the op with this index.
    template <class F> static decltype(auto) visit(uint8_t op, F&& f)
    {
        using R = decltype(f.template operator()<std::tuple_element_t<0, std::tuple<Op...>>>());
        using Fn = R (*)(F&);
        static constexpr Fn table[] = {[](F& g) -> R { return g.template operator()<Op>(); }...};
        return table[op](f);
    }
};

// Append only: cases store the index.
using Ops = OpList<ops::Buffer, ops::MapSingle, ops::CpuWrite, ops::CpuRead, ops::DeviceRead, ops::DeviceWrite,
                   ops::SyncForCpu, ops::SyncForDevice, ops::UnmapSingle, ops::FreeBuffer, ops::AllocCoherent,
                   ops::FreeCoherent, ops::DeclarePool, ops::AllocFromPool, ops::ReleaseFromPool, ops::MmapFromPool,
                   ops::Munmap, ops::ReleasePool, ops::CacheMaintenance, ops::Evict, ops::Prefetch, ops::Fail,
                   ops::AllocOpaque, ops::MmapCoherent, ops::AllocNoncoherent, ops::FreeNoncoherent,
                   ops::MapSg, ops::UnmapSg, ops::SyncSgForCpu, ops::SyncSgForDevice, ops::ExportBlock, ops::ExportPages,
                   ops::DmaBufFd, ops::DmaBufGet, ops::DmaBufPut, ops::CloseFd, ops::DupFd, ops::Attach, ops::Detach,
                   ops::MapAttachment, ops::UnmapAttachment, ops::BeginCpuAccess, ops::EndCpuAccess, ops::Kmap,
                   ops::Vmap, ops::MmapDmaBuf, ops::Bind, ops::Unbind, ops::ManagedAlloc, ops::ManagedFree,
                   ops::ManagedAllocNoncoherent, ops::ManagedFreeNoncoherent, ops::ManagedDeclare, ops::ManagedRelease,
                   ops::AddAction, ops::OpenGroup, ops::ReleaseGroup, ops::SetMask, ops::SetCoherentMask,
                   ops::SetMinAlignMask, ops::MapSingleWithin, ops::AllocPages, ops::FreePages, ops::MapSgtable,
                   ops::UnmapSgtable, ops::SyncSgtableForCpu, ops::SyncSgtableForDevice, ops::MappingError>;
constexpr size_t op_count = Ops::count;

// The declarations as data, indexed by Step::op.
const std::array<Spec, op_count>& specs();
std::optional<uint8_t> op_named(std::string_view name);

} // namespace dmaudit
