// What is broken of masks, limits of single calls, whole pages, scatter tables, rights in an IOMMU, and managed DMA. Each
// defect brings a table of its own where hooks do not suffice.
#include "providers/broken/defects.hpp"

#include "providers/builtin/builtin.hpp"

#include <cstring>

namespace dmaudit::broken {
namespace {

Instance& self(void* ctx)
{
    return *static_cast<Instance*>(ctx);
}
void* to(void* ctx)
{
    return self(ctx).ctx;
}
const dmaudit_provider& real()
{
    return builtin_provider();
}

// A table that differs from the one that passes everything on.
template <class Table, class Change> Table changed(const Table& passed, Change change)
{
    Table t = passed;
    change(t);
    return t;
}
template <class Change> dmaudit_parameters parameters(Change change)
{
    return changed(parameters_as_it_is, change);
}
template <class Change> dmaudit_managed managed(Change change)
{
    return changed(managed_as_it_is, change);
}

// ---- masks

const auto no_mask = parameters([](auto& t) {
    t.set_mask = [](void*, uint32_t, uint64_t mask) { return static_cast<int>(mask ? DMAUDIT_OK : DMAUDIT_EIO); };
});
const auto no_coherent_mask = parameters([](auto& t) {
    t.set_coherent_mask = [](void*, uint32_t, uint64_t mask) {
        return static_cast<int>(mask ? DMAUDIT_OK : DMAUDIT_EIO);
    };
});
const auto masks_swapped = parameters([](auto& t) {
    t.set_mask = [](void* ctx, uint32_t d, uint64_t m) { return real().parameters->set_coherent_mask(to(ctx), d, m); };
    t.set_coherent_mask = [](void* ctx, uint32_t d, uint64_t m) { return real().parameters->set_mask(to(ctx), d, m); };
});
const auto mask_for_all_devices = parameters([](auto& t) {
    t.set_mask = [](void* ctx, uint32_t d, uint64_t m) {
        const int rc = real().parameters->set_mask(to(ctx), d, m);
        for (uint32_t other = 0; rc == DMAUDIT_OK && other < self(ctx).real->n_devices; other++)
            real().parameters->set_mask(to(ctx), other, m);
        return rc;
    };
});
const auto mask_is_a_size = parameters([](auto& t) {
    t.set_mask = [](void* ctx, uint32_t d, uint64_t m) {
        return real().parameters->set_mask(to(ctx), d, m && m != UINT64_MAX ? m + 1 : m);
    };
});
const auto wide_mask_refused = parameters([](auto& t) {
    t.set_mask = [](void* ctx, uint32_t d, uint64_t m) {
        return m == UINT64_MAX ? static_cast<int>(DMAUDIT_EIO) : real().parameters->set_mask(to(ctx), d, m);
    };
});
const auto no_mask_is_all = parameters([](auto& t) {
    t.set_coherent_mask = [](void* ctx, uint32_t d, uint64_t m) {
        return real().parameters->set_coherent_mask(to(ctx), d, m ? m : UINT64_MAX);
    };
});
const auto masks_only_narrow = parameters([](auto& t) {
    t.set_coherent_mask = [](void* ctx, uint32_t d, uint64_t m) {
        Instance& i = self(ctx);
        i.narrowest[d] = m && m < i.narrowest[d] - 1 ? m + 1 : i.narrowest[d]; // minus 1: 0 is none yet
        return real().parameters->set_coherent_mask(to(ctx), d, m ? i.narrowest[d] - 1 : 0);
    };
});
const auto no_min_align_mask = parameters([](auto& t) {
    t.set_min_align_mask = [](void*, uint32_t, uint64_t m) {
        return static_cast<int>(m & (m + 1) ? DMAUDIT_EINVAL : DMAUDIT_OK);
    };
});
const auto min_align_mask_is_an_alignment = parameters([](auto& t) {
    t.set_min_align_mask = [](void* ctx, uint32_t d, uint64_t m) {
        return real().parameters->set_min_align_mask(to(ctx), d, m & (m + 1) ? m : m >> 1);
    };
});

const auto maps_anywhere = changed(streaming_as_it_is, [](auto& t) {
    t.map_single = [](void* ctx, const dmaudit_request* r, void* cpu, uint32_t direction, dmaudit_mapping* out) {
        dmaudit_request open = *r;
        open.limit = 0;
        return real().streaming->map_single(to(ctx), &open, cpu, direction, out);
    };
});
const auto maps_across = changed(streaming_as_it_is, [](auto& t) {
    t.map_single = [](void* ctx, const dmaudit_request* r, void* cpu, uint32_t direction, dmaudit_mapping* out) {
        dmaudit_request open = *r;
        open.boundary = 0;
        return real().streaming->map_single(to(ctx), &open, cpu, direction, out);
    };
});
const auto maps_nothing = changed(streaming_as_it_is, [](auto& t) {
    t.map_single = [](void* ctx, const dmaudit_request* r, void* cpu, uint32_t direction, dmaudit_mapping* out) {
        dmaudit_request some = *r;
        some.size += r->size == 0;
        const int rc = real().streaming->map_single(to(ctx), &some, cpu, direction, out);
        if (rc == DMAUDIT_OK)
            out->size = r->size;
        return rc;
    };
});

// ---- pages and tables

const auto pages_not_zeroed = changed(coherent_as_it_is, [](auto& t) {
    t.alloc_pages = [](void* ctx, const dmaudit_request* r, uint32_t direction, dmaudit_block* out) {
        const int rc = real().coherent->alloc_pages(to(ctx), r, direction, out);
        if (rc == DMAUDIT_OK)
            static_cast<uint8_t*>(out->cpu)[out->size - 1] = 0xa5;
        return rc;
    };
});
const auto pages_off_their_page = changed(coherent_as_it_is, [](auto& t) {
    t.alloc_pages = [](void* ctx, const dmaudit_request* r, uint32_t direction, dmaudit_block* out) {
        const int rc = real().coherent->alloc_pages(to(ctx), r, direction, out);
        if (rc == DMAUDIT_OK) {
            out->cpu = static_cast<uint8_t*>(out->cpu) + self(ctx).real->line;
            out->bus += self(ctx).real->line;
        }
        return rc;
    };
});
const auto a_page_too_few = changed(coherent_as_it_is, [](auto& t) {
    t.alloc_pages = [](void* ctx, const dmaudit_request* r, uint32_t direction, dmaudit_block* out) {
        const int rc = real().coherent->alloc_pages(to(ctx), r, direction, out);
        if (rc == DMAUDIT_OK)
            out->granted = out->size - self(ctx).real->page;
        return rc;
    };
});
const auto sgtable_any_error = changed(scatter_as_it_is, [](auto& t) {
    t.map_sgtable = [](void* ctx, const dmaudit_request* r, dmaudit_sg* sg) {
        return real().scatter->map_sg(to(ctx), r, sg);
    };
});
const auto sgtable_loses_orig_nents = changed(scatter_as_it_is, [](auto& t) {
    t.map_sgtable = [](void* ctx, const dmaudit_request* r, dmaudit_sg* sg) {
        const int rc = real().scatter->map_sgtable(to(ctx), r, sg);
        if (rc == DMAUDIT_OK)
            sg->n_entries = sg->n_segments;
        return rc;
    };
});
const auto sgtable_fails_with_nents = changed(scatter_as_it_is, [](auto& t) {
    t.map_sgtable = [](void* ctx, const dmaudit_request* r, dmaudit_sg* sg) {
        const int rc = real().scatter->map_sgtable(to(ctx), r, sg);
        if (rc != DMAUDIT_OK)
            sg->n_segments = sg->n_entries;
        return rc;
    };
});
const auto sgtable_syncs_nents = changed(scatter_as_it_is, [](auto& t) {
    t.sync_sgtable = [](void* ctx, const dmaudit_sg* sg, uint32_t direction, uint32_t phase) {
        return sg->n_segments < sg->n_entries ? static_cast<int>(DMAUDIT_OK)
                                              : real().scatter->sync_sgtable(to(ctx), sg, direction, phase);
    };
});
const auto sgtable_unmaps_nents = changed(scatter_as_it_is, [](auto& t) {
    t.unmap_sgtable = [](void* ctx, const dmaudit_sg* sg, uint32_t attrs) {
        const In in(self(ctx), Call::unmap_sg);
        in.i.count = 0;
        in.i.merged = sg->n_segments;
        const int rc = real().scatter->unmap_sgtable(to(ctx), sg, attrs);
        in.i.merged = 0;
        return rc;
    };
});

// ---- managed DMA

const auto frees_blocks_before_actions = managed([](auto& t) {
    t.unbind = [](void* ctx, uint32_t d) {
        Instance& i = self(ctx);
        if (i.first.cpu && i.first.device == d)
            real().managed->free(to(ctx), &i.first);
        return real().managed->unbind(to(ctx), d);
    };
});
const auto free_keeps_node = managed([](auto& t) {
    t.free = [](void* ctx, const dmaudit_block* b) { return real().coherent->free(to(ctx), b); };
});
const auto release_only_forgets = managed([](auto& t) {
    t.release_declared = [](void*, uint32_t) { return static_cast<int>(DMAUDIT_OK); };
});
const auto declare_unmanaged = managed([](auto& t) {
    t.declare = [](void* ctx, uint32_t d, uint64_t phys, uint64_t bus, uint64_t size, uint32_t* exclusive) {
        return real().pool->declare(to(ctx), d, phys, bus, size, exclusive);
    };
    t.release_declared = [](void* ctx, uint32_t d) { return real().pool->release(to(ctx), d); };
});
const auto group_forgotten = managed([](auto& t) {
    t.release_group = [](void*, uint32_t, uint64_t) { return static_cast<int>(DMAUDIT_OK); };
});
const auto group_takes_all = managed([](auto& t) {
    t.release_group = [](void* ctx, uint32_t d, uint64_t id) {
        const int rc = real().managed->release_group(to(ctx), d, id);
        if (rc != DMAUDIT_OK)
            return rc;
        real().managed->unbind(to(ctx), d);
        return real().managed->bind(to(ctx), d);
    };
});
const auto any_group = managed([](auto& t) {
    t.release_group = [](void* ctx, uint32_t d, uint64_t id) {
        const int rc = real().managed->release_group(to(ctx), d, id);
        return rc == DMAUDIT_EINVAL ? static_cast<int>(DMAUDIT_OK) : rc;
    };
});
const auto binds_twice = managed([](auto& t) {
    t.bind = [](void* ctx, uint32_t d) {
        const int rc = real().managed->bind(to(ctx), d);
        return rc == DMAUDIT_EBUSY ? static_cast<int>(DMAUDIT_OK) : rc;
    };
});
const auto manages_without_driver = managed([](auto& t) {
    t.alloc = [](void* ctx, const dmaudit_request* r, dmaudit_block* out) {
        const int rc = real().managed->alloc(to(ctx), r, out);
        return rc == DMAUDIT_ENODEV && r->size ? real().coherent->alloc(to(ctx), r, out) : rc;
    };
});
const auto action_lost = managed([](auto& t) {
    t.add_action = [](void* ctx, uint32_t d, void (*)(void*), void*) {
        return real().managed->add_action(
            to(ctx), d, [](void*) {}, nullptr);
    };
});
const auto noncoherent_unmanaged = managed([](auto& t) {
    t.alloc_noncoherent = [](void* ctx, const dmaudit_request* r, uint32_t direction, dmaudit_block* out) {
        return real().coherent->alloc_noncoherent(to(ctx), r, direction, out);
    };
    t.free_noncoherent = [](void* ctx, const dmaudit_block* b, uint32_t direction) {
        return real().coherent->free_noncoherent(to(ctx), b, direction);
    };
});
const auto unbind_gives_up = managed([](auto& t) { // at the first action that comes
    t.unbind = [](void*, uint32_t) { return static_cast<int>(DMAUDIT_EIO); };
});
const auto failure_keeps_block = managed([](auto& t) {
    t.alloc = [](void* ctx, const dmaudit_request* r, dmaudit_block* out) {
        const int rc = real().managed->alloc(to(ctx), r, out);
        dmaudit_request page = *r;
        page.size = 1;
        page.flags = page.attrs = 0;
        dmaudit_block lost{};
        lost.struct_size = sizeof lost;
        if (rc != DMAUDIT_OK && rc != DMAUDIT_ENODEV && r->size)
            real().coherent->alloc(to(ctx), &page, &lost);
        return rc;
    };
});

} // namespace

const Defect parameter_defects[parameter_defect_count] = {
    {.name = "broken-ignores-mask", .summary = "ignores the mask of a device", .parameters = &no_mask},
    {.name = "broken-ignores-coherent-mask",
     .summary = "ignores the coherent mask of a device",
     .parameters = &no_coherent_mask},
    {.name = "broken-masks-swapped",
     .summary = "takes the streaming mask for the coherent one, and the other way round",
     .parameters = &masks_swapped},
    {.name = "broken-mask-off-by-one",
     .summary = "takes a mask for the number of addresses below it",
     .parameters = &mask_is_a_size},
    {.name = "broken-refuses-wide-mask",
     .summary = "refuses a mask that allows every address",
     .parameters = &wide_mask_refused},
    {.name = "broken-mask-zero-is-all", .summary = "takes no mask for every address", .parameters = &no_mask_is_all},
    {.name = "broken-masks-only-narrow",
     .summary = "never widens a coherent mask again",
     .parameters = &masks_only_narrow},
    {.name = "broken-mask-for-all-devices",
     .summary = "a mask of one device becomes that of all",
     .parameters = &mask_for_all_devices},
    {.name = "broken-ignores-min-align-mask",
     .summary = "ignores the address bits that a device wants kept",
     .parameters = &no_min_align_mask},
    {.name = "broken-min-align-mask-halved",
     .summary = "keeps one address bit less than the device wants kept",
     .parameters = &min_align_mask_is_an_alignment},
    {.name = "broken-map-ignores-limit",
     .summary = "ignores the limit of a single mapping",
     .streaming = &maps_anywhere},
    {.name = "broken-map-ignores-boundary",
     .summary = "ignores the boundary of a single mapping",
     .streaming = &maps_across},
    {.name = "broken-maps-nothing",
     .summary = "maps no bytes, as if they were one",
     .streaming = &maps_nothing},
    {.name = "broken-alloc-ignores-boundary",
     .summary = "ignores the boundary of an allocation",
     .before_alloc = [](Instance&, dmaudit_request& r, dmaudit_block&) { return r.boundary = 0, false; }},

    {.name = "broken-pages-not-zeroed",
     .summary = "leaves a byte of old data in the last page",
     .coherent = &pages_not_zeroed},
    {.name = "broken-pages-off-their-page",
     .summary = "hands out pages that begin a line later",
     .coherent = &pages_off_their_page},
    {.name = "broken-pages-one-too-few", .summary = "grants a page too few", .coherent = &a_page_too_few},
    {.name = "broken-sgtable-any-error",
     .summary = "refuses a table with codes that nobody expects",
     .scatter = &sgtable_any_error},
    {.name = "broken-sgtable-loses-orig-nents",
     .summary = "stores the number of segments as the number of entries",
     .scatter = &sgtable_loses_orig_nents},
    {.name = "broken-sgtable-fails-with-nents",
     .summary = "a map that fails says that everything is mapped",
     .scatter = &sgtable_fails_with_nents},
    {.name = "broken-sgtable-syncs-nents",
     .summary = "does not sync a table whose entries were merged",
     .scatter = &sgtable_syncs_nents},
    {.name = "broken-sgtable-unmaps-nents",
     .summary = "unmaps as many entries of a table as it has segments",
     .invalidate = [](Instance& i,
                      dmaudit_range&) { return i.call != Call::unmap_sg || !i.merged || i.count++ < i.merged; },
     .scatter = &sgtable_unmaps_nents},

    {.name = "broken-wide-rights",
     .summary = "lets a device behind an IOMMU read and write whatever is mapped",
     .iommu_map = [](Instance&, uint32_t& rights) { rights = DMAUDIT_IOMMU_READ | DMAUDIT_IOMMU_WRITE; }},
    {.name = "broken-claims-isolation",
     .summary = "promises that neighbours in a page are out of reach, and maps whole pages",
     .promises_too = DMAUDIT_PROMISES_ISOLATION},

    {.name = "broken-unbind-blocks-first",
     .summary = "gives a managed block back before the actions that were added after it",
     .managed = &frees_blocks_before_actions},
    {.name = "broken-managed-free-keeps-node",
     .summary = "frees managed memory and leaves its node for the driver's end",
     .managed = &free_keeps_node},
    {.name = "broken-release-only-forgets",
     .summary = "forgets managed declared memory instead of releasing it",
     .managed = &release_only_forgets},
    {.name = "broken-declared-stays",
     .summary = "does not release declared memory when the driver goes",
     .managed = &declare_unmanaged},
    {.name = "broken-group-forgotten", .summary = "releasing a group releases nothing", .managed = &group_forgotten},
    {.name = "broken-group-takes-all",
     .summary = "releasing a group releases what was taken before it too",
     .managed = &group_takes_all},
    {.name = "broken-any-group", .summary = "accepts the release of a group that is not open", .managed = &any_group},
    {.name = "broken-binds-twice", .summary = "binds a second driver to a device", .managed = &binds_twice},
    {.name = "broken-manages-without-driver",
     .summary = "hands managed memory out for a device without a driver",
     .managed = &manages_without_driver},
    {.name = "broken-action-lost", .summary = "forgets which action was added", .managed = &action_lost},
    {.name = "broken-noncoherent-stays",
     .summary = "does not give managed non-coherent blocks back when the driver goes",
     .managed = &noncoherent_unmanaged},
    {.name = "broken-unbind-gives-up", .summary = "does not let a driver go", .managed = &unbind_gives_up},
    {.name = "broken-managed-failure-keeps-block",
     .summary = "a managed allocation that fails keeps a block",
     .managed = &failure_keeps_block},
};

} // namespace dmaudit::broken
