// Ops: dma-bufs: references, descriptors, importers, brackets of the CPU, windows.
#pragma once
#include "harness/op.hpp"

namespace dmaudit::ops {

struct ExportBlock {
    Def<obj_dma_buf> out;
    Use<obj_block> block;
    static constexpr std::string_view name = "export_block",
                                      doc = "dma_buf_export_named of a coherent or opaque block";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_dma_buf;
    static constexpr bool sleeps = true;
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
    static constexpr bool sleeps = true;
    static constexpr std::array fields{f("", &ExportPages::out), f("pages", &ExportPages::pages), f("at", &ExportPages::at)};
};
struct DmaBufFd {
    Use<obj_dma_buf> buf;
    static constexpr std::string_view name = "dma_buf_fd",
                                      doc = "dma_buf_fd: the reference goes to the lowest free descriptor";
    static constexpr Ends ends = Ends::first_use;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_dma_buf;
    static constexpr bool sleeps = true;
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
    static constexpr bool sleeps = true;
    static constexpr std::array fields{f("", &DmaBufPut::buf)};
};
struct CloseFd {
    Arg<Shape::nth> fd;
    static constexpr std::string_view name = "close_fd",
                                      doc = "close(2) of a dma-buf's descriptor";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_dma_buf;
    static constexpr bool sleeps = true;
    static constexpr std::array fields{f("fd", &CloseFd::fd)};
};
struct DupFd {
    Arg<Shape::nth> fd;
    static constexpr std::string_view name = "dup_fd",
                                      doc = "dup(2) of a dma-buf's descriptor";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_dma_buf;
    static constexpr bool sleeps = true;
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
    static constexpr bool sleeps = true;
    static constexpr std::array fields{f("", &Attach::out), f("", &Attach::buf), f("dev", &Attach::dev)};
};
struct Detach {
    Use<obj_attachment> attachment;
    static constexpr std::string_view name = "detach",
                                      doc = "dma_buf_detach";
    static constexpr Ends ends = Ends::first_use;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_dma_buf;
    static constexpr bool sleeps = true;
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
    static constexpr bool sleeps = true;
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
    static constexpr bool sleeps = true;
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
    static constexpr bool sleeps = true;
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
    static constexpr bool sleeps = true;
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
    static constexpr bool sleeps = true;
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
    static constexpr bool sleeps = true;
    static constexpr std::array fields{f("", &MmapDmaBuf::out), f("", &MmapDmaBuf::buf), f("pages", &MmapDmaBuf::pages), f("pgoff", &MmapDmaBuf::pgoff)};
};

} // namespace dmaudit::ops
