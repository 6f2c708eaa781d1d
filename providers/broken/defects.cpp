#include "providers/broken/defects.hpp"

#include "providers/builtin/builtin.hpp"

#include <cstring>

namespace dmaudit::broken {
namespace {

Instance& self(void* p)
{
    return *static_cast<Instance*>(p);
}
uint64_t phys_of(const Instance& i, uint32_t device, uint64_t bus)
{
    return bus - i.real->devices[device].bus_offset;
}
bool behind_iommu(const Instance& i, uint32_t device)
{
    return i.real->has_iommu(i.real->self, device) != 0;
}
uint8_t* cpu_of(const Instance& i, uint64_t phys)
{
    return static_cast<uint8_t*>(dmaudit_cpu_of(i.real, phys));
}
bool bounced(const Instance& i, const dmaudit_mapping& m)
{
    return !behind_iommu(i, m.device) && phys_of(i, m.device, m.bus) != i.original.phys;
}

// Overwrite the slot of a bounced from_device mapping after the built-in provider filled it.
void fill_slot(Instance& i, const dmaudit_mapping& m, int value)
{
    if (!bounced(i, m) || m.direction != DMAUDIT_FROM_DEVICE)
        return;
    const uint64_t phys = phys_of(i, m.device, m.bus);
    std::memset(cpu_of(i, phys), value, m.size);
    i.real->clean(i.real->self, phys, m.size);
}

} // namespace

void intercept_platform(Instance& i)
{
    i.platform = *i.real;
    i.platform.self = &i;
    i.platform.clean = [](void* p, uint64_t phys, uint64_t len) {
        Instance& s = self(p);
        dmaudit_range r{phys, len};
        if (!s.defect->clean || s.defect->clean(s, r))
            s.real->clean(s.real->self, r.phys, r.size);
    };
    i.platform.invalidate = [](void* p, uint64_t phys, uint64_t len) {
        Instance& s = self(p);
        dmaudit_range r{phys, len};
        if (!s.defect->invalidate || s.defect->invalidate(s, r))
            s.real->invalidate(s.real->self, r.phys, r.size);
    };
    i.platform.set_uncached = [](void* p, uint64_t phys, uint64_t len, int on) {
        Instance& s = self(p);
        return s.defect->set_uncached ? s.defect->set_uncached(s, phys, len, on)
                                      : s.real->set_uncached(s.real->self, phys, len, on);
    };
    i.platform.meta_alloc = [](void* p, size_t bytes) { return self(p).real->meta_alloc(self(p).real->self, bytes); };
    i.platform.meta_free = [](void* p, void* q) { self(p).real->meta_free(self(p).real->self, q); };
    i.platform.lock = [](void* p, uint64_t* word) { self(p).real->lock(self(p).real->self, word); };
    i.platform.unlock = [](void* p, uint64_t* word) {
        Instance& s = self(p);
        if (!s.defect->unlock || s.defect->unlock(s))
            s.real->unlock(s.real->self, word);
    };
    i.platform.has_iommu = [](void* p, uint32_t device) { return self(p).real->has_iommu(self(p).real->self, device); };
    i.platform.iommu_map = [](void* p, uint32_t device, uint64_t iova, uint64_t phys, uint64_t len, uint32_t rights) {
        Instance& s = self(p);
        if (s.defect->iommu_map)
            s.defect->iommu_map(s, rights);
        s.mapped = {phys, len};
        return s.real->iommu_map(s.real->self, device, iova, phys, len, rights);
    };
    i.platform.iommu_unmap = [](void* p, uint32_t device, uint64_t iova, uint64_t len) {
        Instance& s = self(p);
        return !s.defect->iommu_unmap || s.defect->iommu_unmap(s) ? s.real->iommu_unmap(s.real->self, device, iova, len)
                                                                  : static_cast<int>(DMAUDIT_OK);
    };
    i.platform.iommu_flush = [](void* p, uint32_t device) {
        Instance& s = self(p);
        if (!s.defect->iommu_flush || s.defect->iommu_flush(s))
            s.real->iommu_flush(s.real->self, device);
    };
    i.platform.log = [](void* p, const char* text) { self(p).real->log(self(p).real->self, text); };
}

const Defect defects[defect_count] = {
    {.name = "broken-no-clean-at-map",
     .summary = "does not write lines back at map",
     .clean = [](Instance& i, dmaudit_range&) { return i.call != Call::map; }},
    {.name = "broken-no-clean-at-sync",
     .summary = "does not write lines back at sync_for_device",
     .clean = [](Instance& i, dmaudit_range&) { return i.call != Call::sync_for_device; }},
    {.name = "broken-nothing-before-from",
     .summary = "does no cache work before a from_device transfer",
     .clean = [](Instance& i, dmaudit_range&) { return i.call != Call::map || i.direction != DMAUDIT_FROM_DEVICE; },
     .invalidate = [](Instance& i,
                      dmaudit_range&) { return i.call != Call::map || i.direction != DMAUDIT_FROM_DEVICE; }},
    {.name = "broken-no-invalidate-at-sync",
     .summary = "does not drop lines at sync_for_cpu",
     .invalidate = [](Instance& i, dmaudit_range&) { return i.call != Call::sync_for_cpu; }},
    {.name = "broken-no-invalidate-at-unmap",
     .summary = "does not drop lines at unmap",
     .invalidate = [](Instance& i, dmaudit_range&) { return i.call != Call::unmap; }},
    {.name = "broken-invalidates-whole-pages",
     .summary = "drops the whole page for a sync of a part",
     .invalidate =
         [](Instance& i, dmaudit_range& r) {
             const uint64_t page = i.real->page, end = (r.phys + r.size + page - 1) / page * page;
             r.phys -= r.phys % page;
             r.size = end - r.phys;
             return true;
         }},
    // Correct, but whole lines are dropped before a from_device transfer instead of written back.
    {.name = "drops-unwritten",
     .summary = "correct; CPU writes that were not handed over do not survive a from_device mapping",
     .promises_not = DMAUDIT_PROMISES_KEEP_UNWRITTEN,
     .clean =
         [](Instance& i, dmaudit_range& r) {
             if (i.call != Call::map || i.direction != DMAUDIT_FROM_DEVICE || r.phys != i.original.phys ||
                 (r.phys | r.size) % i.real->line)
                 return true;
             i.real->invalidate(i.real->self, r.phys, r.size);
             return false;
         }},

    {.name = "broken-bounce-cleans-original",
     .summary = "writes the lines of the original back instead of the bounce buffer's",
     .clean =
         [](Instance& i, dmaudit_range& r) {
             if (i.call == Call::map || i.call == Call::sync_for_device)
                 r = i.original;
             return true;
         }},
    {.name = "broken-bounce-no-copy-in",
     .summary = "does not copy into the bounce buffer of a from_device mapping",
     .after_map = [](Instance& i, dmaudit_mapping& m) { fill_slot(i, m, 0xa5); }},
    {.name = "broken-bounce-zeroes-slot",
     .summary = "zeroes the bounce buffer of a from_device mapping",
     .after_map = [](Instance& i, dmaudit_mapping& m) { fill_slot(i, m, 0); }},
    {.name = "broken-bounce-loses-offset",
     .summary = "the bounce buffer begins at the start of a line, wherever the original lies",
     .after_map =
         [](Instance& i, dmaudit_mapping& m) {
             if (bounced(i, m))
                 m.bus -= m.bus % i.real->line;
         }},
    {.name = "broken-bounce-short-copy-back",
     .summary = "copies one byte too few back at unmap",
     .copies_one_less = true},
    {.name = "broken-header-beside-slot",
     .summary = "keeps a header in the first line of the bounce buffer and updates it at each allocation",
     .after_alloc =
         [](Instance& i, int rc, const dmaudit_request&, dmaudit_block&) {
             if (i.header.size)
                 *cpu_of(i, i.header.phys) ^= 0x20;
             return rc;
         },
     .after_map =
         [](Instance& i, dmaudit_mapping& m) {
             const uint64_t phys = phys_of(i, m.device, m.bus);
             if (bounced(i, m) && phys % i.real->line)
                 i.header = {phys - phys % i.real->line, 1};
         }},
    {.name = "broken-limit-off-by-one",
     .summary = "takes one address beyond a device's limit for reachable",
     .prepare =
         [](Instance& i) {
             for (uint32_t d = 0; d < i.real->n_devices; d++) {
                 i.devices[d] = i.real->devices[d];
                 i.devices[d].limit += i.devices[d].limit != UINT64_MAX;
             }
             i.platform.devices = i.devices;
         }},

    {.name = "broken-no-zeroing",
     .summary = "does not zero blocks that must read zero",
     .before_alloc = [](Instance&, dmaudit_request& r, dmaudit_block&) { return r.flags = 0, false; }},
    {.name = "broken-ignores-limit",
     .summary = "ignores the limit of a request",
     .before_alloc = [](Instance&, dmaudit_request& r, dmaudit_block&) { return r.limit = 0, false; }},
    {.name = "broken-short-grant",
     .summary = "rounds sizes down to whole pages",
     .before_alloc =
         [](Instance& i, dmaudit_request& r, dmaudit_block&) {
             if (r.size > i.real->page)
                 r.size -= r.size % i.real->page;
             return false;
         },
     .after_alloc =
         [](Instance& i, int rc, const dmaudit_request& r, dmaudit_block& b) {
             if (rc == DMAUDIT_OK && r.size > i.real->page)
                 b.granted = r.size - r.size % i.real->page;
             return rc;
         }},
    {.name = "broken-accepts-zero",
     .summary = "hands out a block of no bytes",
     .before_alloc = [](Instance&, dmaudit_request& r, dmaudit_block&) { return r.size += r.size == 0, false; }},
    {.name = "broken-hands-out-twice",
     .summary = "hands the first block out again and again",
     .after_alloc =
         [](Instance& i, int rc, const dmaudit_request&, dmaudit_block& b) {
             if (rc == DMAUDIT_OK && i.count++ == 0)
                 i.first = b;
             else if (rc == DMAUDIT_OK)
                 b = i.first;
             return rc;
         }},
    {.name = "broken-outside-arena",
     .summary = "hands out memory behind its arena",
     .after_alloc =
         [](Instance& i, int rc, const dmaudit_request& r, dmaudit_block& b) {
             const dmaudit_range& arena = i.real->arenas[0];
             if (rc == DMAUDIT_OK) {
                 b.cpu = cpu_of(i, arena.phys + arena.size);
                 b.bus = arena.phys + arena.size + i.real->devices[r.device].bus_offset;
             }
             return rc;
         }},
    {.name = "broken-wrong-bus-address",
     .summary = "forgets the offset between physical and device addresses",
     .after_alloc = [](Instance& i, int rc, const dmaudit_request& r,
                       dmaudit_block& b) { return b.bus -= i.real->devices[r.device].bus_offset, rc; }},
    {.name = "broken-failure-leaves-pages-uncached",
     .summary = "an allocation that fails leaves a page uncached",
     .after_alloc =
         [](Instance& i, int rc, const dmaudit_request&, dmaudit_block&) {
             const dmaudit_range& arena = i.real->arenas[0];
             if (rc != DMAUDIT_OK)
                 i.real->set_uncached(i.real->self, arena.phys + arena.size - i.real->page, i.real->page, 1);
             return rc;
         }},
    {.name = "broken-free-does-nothing", .summary = "does not take blocks back", .skips_free = true},
    {.name = "broken-keeps-lock",
     .summary = "does not give a lock back when it frees",
     .unlock = [](Instance& i) { return i.call != Call::free; }},
    {.name = "broken-sub-line-blocks",
     .summary = "cached coherent blocks of 32 bytes, two in a line",
     .promises_not = ~uint64_t{0},
     .promises_too = DMAUDIT_TRAIT_COHERENT_NEEDS_SYNC | DMAUDIT_PROMISES_MAP_SYNC,
     .before_alloc =
         [](Instance& i, dmaudit_request& r, dmaudit_block& b) {
             const uint64_t phys = i.real->arenas[0].phys + 32 * i.count++;
             b = {sizeof b, r.device, cpu_of(i, phys), phys + i.real->devices[r.device].bus_offset, r.size, 32,
                  0,        0,        {0, 0}};
             return true;
         },
     .skips_free = true},

    {.name = "broken-never-uncaches",
     .summary = "leaves coherent blocks in cached pages",
     .set_uncached = [](Instance&, uint64_t, uint64_t, int) { return static_cast<int>(DMAUDIT_OK); }},
    {.name = "broken-ignores-uncache-failure",
     .summary = "hands a block out although its pages could not become uncached",
     .set_uncached =
         [](Instance& i, uint64_t phys, uint64_t len, int on) {
             i.real->set_uncached(i.real->self, phys, len, on);
             return static_cast<int>(DMAUDIT_OK);
         }},
    {.name = "broken-zeroes-before-uncaching",
     .summary = "zeroes through the cache and uncaches without a clean",
     .clean = [](Instance& i, dmaudit_range&) { return i.call != Call::alloc; }},
    {.name = "broken-dirties-freed-blocks",
     .summary = "writes a link into freed blocks and does not clean it before they become uncached",
     .after_free =
         [](Instance&, const dmaudit_block& b) {
             if (b.cpu)
                 std::memset(b.cpu, 0x5a, 8);
         },
     .clean = [](Instance& i, dmaudit_range&) { return i.call != Call::alloc; },
     .invalidate = [](Instance& i, dmaudit_range&) { return i.call != Call::alloc; }},

    {.name = "broken-search-starts-late",
     .summary = "never finds the first page of a pool again",
     .after_alloc_from =
         [](Instance& i, int rc, dmaudit_block& b, int& ours) {
             if (rc != DMAUDIT_OK || !ours || i.count++ == 0 || b.cpu != cpu_of(i, i.pool.phys))
                 return rc;
             return static_cast<int>(DMAUDIT_ENOMEM); // and the page is lost
         }},
    {.name = "broken-zeroes-only-size",
     .summary = "zeroes the bytes asked for, not the rest of the last page",
     .before_alloc_from =
         [](Instance& i) {
             if (i.pool.size == 0) // none was declared, or a managed one
                 return;
             if (!i.snapshot)
                 i.snapshot = i.real->meta_alloc(i.real->self, i.pool.size);
             if (i.snapshot)
                 std::memcpy(i.snapshot, cpu_of(i, i.pool.phys), i.snapshot_bytes = i.pool.size);
         },
     .after_alloc_from =
         [](Instance& i, int rc, dmaudit_block& b, int& ours) {
             const uint64_t phys = rc == DMAUDIT_OK && ours ? dmaudit_phys_of(i.real, b.cpu) : UINT64_MAX;
             if (i.snapshot && phys >= i.pool.phys &&
                 phys - i.pool.phys < i.pool.size) // the last pool that was declared
                 std::memcpy(static_cast<uint8_t*>(b.cpu) + b.size,
                             static_cast<uint8_t*>(i.snapshot) + (phys - i.pool.phys) + b.size, b.granted - b.size);
             return rc;
         }},
    {.name = "broken-exclusive-pool-falls-through",
     .summary = "a full exclusive pool leaves the request to the generic allocator",
     .after_alloc_from =
         [](Instance&, int rc, dmaudit_block&, int& ours) {
             if (rc == DMAUDIT_ENOMEM)
                 ours = 0;
             return rc;
         }},
    {.name = "broken-full-pool-answers",
     .summary = "a full pool that is not exclusive answers for itself",
     .after_alloc_from =
         [](Instance&, int rc, dmaudit_block&, int& ours) {
             if (ours)
                 return rc;
             ours = 1;
             return static_cast<int>(DMAUDIT_ENOMEM);
         }},
    {.name = "broken-detects-nothing", .summary = "accepts every release from a pool", .accepts_any_release = true},
    {.name = "broken-window-bounded-by-pool",
     .summary = "bounds windows by the pool instead of the block",
     .after_mmap =
         [](Instance& i, int rc, void* cpu, uint64_t pgoff, uint64_t pages, dmaudit_window& w, int& ours) {
             if (rc != DMAUDIT_ENXIO)
                 return rc;
             ours = 1;
             w = {sizeof w, 0, dmaudit_phys_of(i.real, cpu) + pgoff * i.real->page, pages * i.real->page};
             return static_cast<int>(DMAUDIT_OK);
         }},
    {.name = "broken-window-wrong-page",
     .summary = "forgets the page offset of a window",
     .after_mmap =
         [](Instance& i, int rc, void*, uint64_t pgoff, uint64_t, dmaudit_window& w, int&) {
             if (rc == DMAUDIT_OK)
                 w.phys -= pgoff * i.real->page;
             return rc;
         }},

    {.name = "broken-no-iommu-flush",
     .summary = "does not flush the IOMMU after it removed a translation",
     .iommu_flush = [](Instance&) { return false; }},
    {.name = "broken-keeps-translation",
     .summary = "does not remove translations at unmap",
     .iommu_unmap = [](Instance& i) { return i.call != Call::unmap; }},
    {.name = "broken-narrow-rights",
     .summary = "lets a device only read what it may also write",
     .iommu_map =
         [](Instance&, uint32_t& rights) {
             if (rights == (DMAUDIT_IOMMU_READ | DMAUDIT_IOMMU_WRITE))
                 rights = DMAUDIT_IOMMU_READ;
         }},
    {.name = "broken-next-iova",
     .summary = "returns the address of the page behind the one that it mapped",
     .after_map =
         [](Instance& i, dmaudit_mapping& m) {
             if (behind_iommu(i, m.device))
                 m.bus += i.real->page;
         }},

    {.name = "broken-opaque-not-cleared",
     .summary = "does not clear memory without a CPU mapping",
     .before_alloc =
         [](Instance& i, dmaudit_request& r, dmaudit_block&) {
             i.real->meta_free(i.real->self, i.snapshot);
             i.snapshot = nullptr;
             const dmaudit_range& arena = i.real->arenas[0];
             if (r.attrs & DMAUDIT_ATTR_NO_KERNEL_MAPPING)
                 i.snapshot = i.real->meta_alloc(i.real->self, arena.size);
             if (i.snapshot)
                 std::memcpy(i.snapshot, cpu_of(i, arena.phys), i.snapshot_bytes = arena.size);
             return false;
         },
     .after_alloc =
         [](Instance& i, int rc, const dmaudit_request& r, dmaudit_block& b) {
             const dmaudit_range& arena = i.real->arenas[0];
             const uint64_t phys = behind_iommu(i, r.device) ? i.mapped.phys : phys_of(i, r.device, b.bus);
             if (rc == DMAUDIT_OK && i.snapshot && phys >= arena.phys && phys - arena.phys < arena.size)
                 std::memcpy(cpu_of(i, phys), static_cast<uint8_t*>(i.snapshot) + (phys - arena.phys), r.size);
             return rc;
         }},
    {.name = "broken-opaque-with-address",
     .summary = "returns a CPU address for memory that shall have none",
     .after_alloc =
         [](Instance& i, int rc, const dmaudit_request& r, dmaudit_block& b) {
             if (rc == DMAUDIT_OK && (r.attrs & DMAUDIT_ATTR_NO_KERNEL_MAPPING))
                 b.cpu = cpu_of(i, i.real->arenas[0].phys);
             return rc;
         }},
    {.name = "broken-window-unbounded",
     .summary = "does not bound windows by the block",
     .after_mmap_block =
         [](Instance& i, int rc, const dmaudit_block& b, uint64_t pgoff, uint64_t pages, dmaudit_window& w) {
             if (rc != DMAUDIT_ENXIO || pages == 0 || builtin_provider().coherent->mmap(i.ctx, &b, 0, 1, &w))
                 return rc;
             w = {sizeof w, 0, w.phys + pgoff * i.real->page, pages * i.real->page};
             return static_cast<int>(DMAUDIT_OK);
         }},

    {.name = "broken-noncoherent-not-zeroed",
     .summary = "leaves a byte of old data in non-coherent blocks",
     .after_alloc_noncoherent = [](Instance&, dmaudit_block& b) { static_cast<uint8_t*>(b.cpu)[b.size - 1] = 0xa5; }},
    {.name = "broken-noncoherent-free-leaves-dirt",
     .summary = "leaves dirty lines in freed non-coherent blocks, and takes free memory for clean",
     .clean = [](Instance& i, dmaudit_range&) { return i.call != Call::alloc || i.cleans++ != 0; },
     .invalidate = [](Instance& i,
                      dmaudit_range&) { return i.call != Call::alloc && i.call != Call::free_noncoherent; }},
    {.name = "broken-noncoherent-sync-does-nothing",
     .summary = "does nothing at a sync of a non-coherent block",
     .skips_sync_noncoherent = true},

    {.name = "broken-sg-merges-all",
     .summary = "merges entries of a scatterlist that do not adjoin",
     .after_map_sg =
         [](Instance&, dmaudit_sg& sg) {
             for (; sg.n_segments > 1; sg.n_segments--)
                 sg.segments[0].length += sg.segments[sg.n_segments - 1].length;
         }},
    {.name = "broken-sg-too-many-segments",
     .summary = "counts one segment too many",
     .after_map_sg = [](Instance&, dmaudit_sg& sg) { sg.n_segments++; }},
    {.name = "broken-sg-forgets-an-entry",
     .summary = "does not unmap the second entry of a scatterlist",
     .iommu_unmap = [](Instance& i) { return i.call != Call::unmap_sg || i.count++ != 1; }},
    {.name = "broken-sg-failure-keeps-entries",
     .summary = "does not unmap the first entries of a scatterlist of which a later one cannot be mapped",
     .iommu_unmap = [](Instance& i) { return i.call != Call::map_sg; }},
    {.name = "broken-sg-ignores-boundary",
     .summary = "merges entries across the boundary, and beyond the longest segment",
     .before_map_sg = [](Instance&, dmaudit_request& r) { r.boundary = r.size = 0; }},

    {.name = "broken-action-before-all",
     .summary = "runs a driver's last action before everything else that is managed is released",
     .add_action =
         [](Instance& i, uint32_t, void (*action)(void* data), void* data) {
             i.action = action, i.data = data;
             return static_cast<int>(DMAUDIT_OK);
         },
     .before_unbind =
         [](Instance& i, uint32_t) {
             if (i.action)
                 i.action(i.data);
             i.action = nullptr;
         }},
    {.name = "broken-action-twice",
     .summary = "takes note of each action twice",
     .add_action =
         [](Instance& i, uint32_t device, void (*action)(void* data), void* data) {
             const dmaudit_managed& m = *builtin_provider().managed;
             const int rc = m.add_action(i.ctx, device, action, data);
             return rc == DMAUDIT_OK ? m.add_action(i.ctx, device, action, data) : rc;
         }},
    {.name = "broken-action-at-once",
     .summary = "runs an action when it is added",
     .add_action =
         [](Instance& i, uint32_t device, void (*action)(void* data), void* data) {
             const int rc = builtin_provider().managed->add_action(i.ctx, device, action, data);
             if (rc == DMAUDIT_OK)
                 action(data);
             return rc;
         }},
    {.name = "broken-never-unmanages",
     .summary = "does not give managed blocks back when the driver goes",
     .forgets_managed = true},
    {.name = "broken-group-frees-older",
     .summary = "opening a group gives the youngest managed block back",
     .frees_at_open_group = true},
    {.name = "broken-keeps-failed-open",
     .summary = "keeps its record when it cannot be opened",
     .keeps_failed_open = true},
};

} // namespace dmaudit::broken
