// The ops of managed DMA (Linux' devres). Those that only name a device define and use no object.
#pragma once
#include "harness/op.hpp"

namespace dmaudit::ops {

struct Bind {
    Arg<Shape::device> dev;
    static constexpr std::string_view name = "bind", doc = "a driver comes: from now on things can be managed";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_managed;
    static constexpr bool sleeps = true;
    static constexpr std::array fields{f("dev", &Bind::dev)};
};
struct Unbind {
    Arg<Shape::device> dev;
    static constexpr std::string_view name = "unbind",
                                      doc = "the driver goes: everything managed is released, last taken first";
    static constexpr Ends ends = Ends::managed;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_managed;
    static constexpr bool sleeps = true;
    static constexpr std::array fields{f("dev", &Unbind::dev)};
};
struct ManagedAlloc {
    Def<obj_block> out;
    Arg<Shape::device> dev;
    Arg<Shape::size> size;
    Arg<Shape::flag> zero;
    Arg<Shape::hint> attrs;
    static constexpr std::string_view name = "managed_alloc", doc = "dmam_alloc_coherent, dmam_alloc_attrs";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_managed;
    static constexpr bool sleeps = true;
    static constexpr std::array fields{f("", &ManagedAlloc::out), f("dev", &ManagedAlloc::dev),
                                       f("size", &ManagedAlloc::size), f("zero", &ManagedAlloc::zero),
                                       f("attrs", &ManagedAlloc::attrs)};
};
struct ManagedFree {
    Use<obj_block> block;
    Arg<Shape::lie> lie;
    static constexpr std::string_view name = "managed_free", doc = "dmam_free_coherent";
    static constexpr Ends ends = Ends::first_use;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_managed;
    static constexpr bool sleeps = true;
    static constexpr std::array fields{f("", &ManagedFree::block), f("lie", &ManagedFree::lie)};
};
struct ManagedAllocNoncoherent {
    Def<obj_block> out;
    Arg<Shape::device> dev;
    Arg<Shape::size> size;
    Arg<Shape::dir> dir;
    static constexpr std::string_view name = "managed_alloc_noncoherent", doc = "dmam_alloc_noncoherent";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_managed;
    static constexpr bool sleeps = true;
    static constexpr std::array fields{f("", &ManagedAllocNoncoherent::out), f("dev", &ManagedAllocNoncoherent::dev),
                                       f("size", &ManagedAllocNoncoherent::size),
                                       f("dir", &ManagedAllocNoncoherent::dir)};
};
struct ManagedFreeNoncoherent {
    Use<obj_block> block;
    Arg<Shape::lie> lie;
    static constexpr std::string_view name = "managed_free_noncoherent", doc = "dmam_free_noncoherent";
    static constexpr Ends ends = Ends::first_use;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_managed;
    static constexpr bool sleeps = true;
    static constexpr std::array fields{f("", &ManagedFreeNoncoherent::block), f("lie", &ManagedFreeNoncoherent::lie)};
};
struct ManagedDeclare { // the fields of DeclarePool
    Def<obj_pool> out;
    Arg<Shape::device> dev;
    Arg<Shape::size> size;
    Arg<Shape::place> at;
    Arg<Shape::flag> exclusive;
    static constexpr std::string_view name = "managed_declare", doc = "dmam_declare_coherent_memory";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_managed;
    static constexpr bool sleeps = true;
    static constexpr std::array fields{f("", &ManagedDeclare::out), f("dev", &ManagedDeclare::dev),
                                       f("size", &ManagedDeclare::size), f("at", &ManagedDeclare::at),
                                       f("exclusive", &ManagedDeclare::exclusive)};
};
struct ManagedRelease {
    Use<obj_pool> pool;
    static constexpr std::string_view name = "managed_release", doc = "dmam_release_declared_memory";
    static constexpr Ends ends = Ends::first_use;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_managed;
    static constexpr bool sleeps = true;
    static constexpr std::array fields{f("", &ManagedRelease::pool)};
};
struct AddAction {
    Arg<Shape::device> dev;
    static constexpr std::string_view name = "add_action", doc = "devm_add_action, with an action of the auditor's";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_managed;
    static constexpr bool sleeps = true;
    static constexpr std::array fields{f("dev", &AddAction::dev)};
};
struct OpenGroup {
    Arg<Shape::device> dev;
    static constexpr std::string_view name = "open_group", doc = "devres_open_group";
    static constexpr Ends ends = Ends::nothing;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_managed;
    static constexpr bool sleeps = true;
    static constexpr std::array fields{f("dev", &OpenGroup::dev)};
};
struct ReleaseGroup {
    Arg<Shape::device> dev;
    Arg<Shape::nth> nth;
    static constexpr std::string_view name = "release_group",
                                      doc = "devres_release_group: the nth youngest open one, and all taken since";
    static constexpr Ends ends = Ends::managed;
    static constexpr Actor actor = Actor::client;
    static constexpr uint32_t facets = facet_managed;
    static constexpr bool sleeps = true;
    static constexpr std::array fields{f("dev", &ReleaseGroup::dev), f("nth", &ReleaseGroup::nth)};
};

} // namespace dmaudit::ops
