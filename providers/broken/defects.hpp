// What is broken, one defect each: a name and a few hooks around the calls of the built-in provider.
#pragma once
#include "dmaudit/provider.h"

#include <cstddef>

namespace dmaudit::broken {

enum class Call : unsigned char {
    none,
    alloc,
    free,
    map,
    unmap,
    sync_for_cpu,
    sync_for_device,
    cache,
    declare,
    alloc_from,
    release_from,
    mmap,
    release,
    alloc_noncoherent,
    free_noncoherent,
    sync_noncoherent,
    mmap_block,
    map_sg,
    unmap_sg,
    sync_sg,
    map_attachment,
    unmap_attachment,
    begin_cpu_access,
    end_cpu_access
};

struct Defect;

// What is known of one exported buffer and of one attachment.
struct ExportedNote {
    uint64_t buf;
    uint8_t* cpu; // of pages
    dmaudit_block block;
};
struct AttachedNote {
    uint64_t attachment, buf;
    uint32_t maps;
    dmaudit_sg_segment segment;
};

struct Instance {
    const Defect* defect;
    const dmaudit_platform* real;
    dmaudit_platform platform; // what the built-in provider gets
    dmaudit_device devices[8];
    void* ctx; // of the built-in provider
    Call call;
    uint32_t direction;
    dmaudit_range original, pool, header;
    dmaudit_block first;
    void* snapshot;
    uint64_t snapshot_bytes;
    uint32_t count;
    void (*action)(void* data); // of managed DMA
    void* data;
    uint32_t cleans;           // in this call
    dmaudit_range mapped;      // what was last mapped in an IOMMU
    ExportedNote exported[16]; // of dma-bufs; the oldest are forgotten
    AttachedNote attached[16];
    ExportedNote no_export;
    AttachedNote no_attachment;
    uint32_t exports, attaches, vmaps;
    uint32_t merged;       // segments of the table that is being unmapped
    uint64_t narrowest[8]; // coherent mask of each device, plus 1; 0: none
};

// While it lives, the instance knows which call is being made.
struct In {
    In(Instance& instance, Call call) : i(instance) { i.call = call, i.cleans = 0; }
    ~In() { i.call = Call::none; }
    In(const In&) = delete;
    In& operator=(const In&) = delete;
    Instance& i;
};

struct Defect {
    const char* name;
    const char* summary;
    uint64_t promises_not = 0, promises_too = 0;
    bool keeps_failed_open = false; // its record
    void (*prepare)(Instance&) = nullptr;
    // true: the block was made here
    bool (*before_alloc)(Instance&, dmaudit_request&, dmaudit_block&) = nullptr;
    int (*after_alloc)(Instance&, int rc, const dmaudit_request&, dmaudit_block&) = nullptr;
    void (*before_free)(Instance&) = nullptr;
    void (*after_free)(Instance&, const dmaudit_block&) = nullptr;
    void (*after_map)(Instance&, dmaudit_mapping&) = nullptr;
    void (*before_unmap)(Instance&) = nullptr;
    void (*before_close)(Instance&) = nullptr;
    void (*before_alloc_from)(Instance&) = nullptr;
    int (*after_alloc_from)(Instance&, int rc, dmaudit_block&, int& ours) = nullptr;
    int (*after_mmap)(Instance&, int rc, void* cpu, uint64_t pgoff, uint64_t pages, dmaudit_window&,
                      int& ours) = nullptr;
    int (*after_mmap_block)(Instance&, int rc, const dmaudit_block&, uint64_t pgoff, uint64_t pages,
                            dmaudit_window&) = nullptr;
    void (*after_alloc_noncoherent)(Instance&, dmaudit_block&) = nullptr;
    void (*before_map_sg)(Instance&, dmaudit_request&) = nullptr;
    void (*after_map_sg)(Instance&, dmaudit_sg&) = nullptr;
    int (*add_action)(Instance&, uint32_t device, void (*action)(void* data), void* data) = nullptr;
    void (*before_unbind)(Instance&, uint32_t device) = nullptr;
    bool forgets_managed = false, frees_at_open_group = false;
    bool skips_free = false, copies_one_less = false, accepts_any_release = false, skips_sync_noncoherent = false;
    // Platform calls: false: the call is swallowed. The range may be changed.
    bool (*clean)(Instance&, dmaudit_range&) = nullptr;
    bool (*invalidate)(Instance&, dmaudit_range&) = nullptr;
    int (*set_uncached)(Instance&, uint64_t phys, uint64_t len, int on) = nullptr;
    bool (*unlock)(Instance&) = nullptr;
    void (*iommu_map)(Instance&, uint32_t& rights) = nullptr;
    bool (*iommu_unmap)(Instance&) = nullptr;
    bool (*iommu_flush)(Instance&) = nullptr;
    const dmaudit_dma_buf* dma_buf = nullptr; // null: that of the built-in provider, here and below
    const dmaudit_coherent* coherent = nullptr;
    const dmaudit_streaming* streaming = nullptr;
    const dmaudit_scatter* scatter = nullptr;
    const dmaudit_managed* managed = nullptr;
    const dmaudit_parameters* parameters = nullptr;
};

constexpr size_t defect_count = 57;
extern const Defect defects[defect_count];
constexpr size_t dma_buf_defect_count = 24;
extern const Defect dma_buf_defects[dma_buf_defect_count];
constexpr size_t crash_defect_count = 7;
extern const Defect crash_defects[crash_defect_count];
constexpr size_t parameter_defect_count = 37;
extern const Defect parameter_defects[parameter_defect_count];
extern const dmaudit_dma_buf dma_buf_as_it_is;
// With the hooks of the defect.
extern const dmaudit_coherent coherent_as_it_is;
extern const dmaudit_streaming streaming_as_it_is;
extern const dmaudit_scatter scatter_as_it_is;
extern const dmaudit_managed managed_as_it_is;
extern const dmaudit_parameters parameters_as_it_is;

void intercept_platform(Instance&);

} // namespace dmaudit::broken
