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
    release
};

struct Defect;

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
    uint32_t count;
    void (*action)(void* data); // of managed DMA
    void* data;
};

struct Defect {
    const char* name;
    const char* summary;
    uint64_t promises_not = 0, promises_too = 0;
    void (*prepare)(Instance&) = nullptr;
    // true: the block was made here
    bool (*before_alloc)(Instance&, dmaudit_request&, dmaudit_block&) = nullptr;
    int (*after_alloc)(Instance&, int rc, const dmaudit_request&, dmaudit_block&) = nullptr;
    void (*after_free)(Instance&, const dmaudit_block&) = nullptr;
    void (*after_map)(Instance&, dmaudit_mapping&) = nullptr;
    void (*before_alloc_from)(Instance&) = nullptr;
    int (*after_alloc_from)(Instance&, int rc, dmaudit_block&, int& ours) = nullptr;
    int (*after_mmap)(Instance&, int rc, void* cpu, uint64_t pgoff, uint64_t pages, dmaudit_window&,
                      int& ours) = nullptr;
    int (*add_action)(Instance&, uint32_t device, void (*action)(void* data), void* data) = nullptr;
    void (*before_unbind)(Instance&, uint32_t device) = nullptr;
    bool forgets_managed = false, frees_at_open_group = false;
    bool skips_free = false, copies_one_less = false, accepts_any_release = false;
    // Platform calls: false: the call is swallowed. The range may be changed.
    bool (*clean)(Instance&, dmaudit_range&) = nullptr;
    bool (*invalidate)(Instance&, dmaudit_range&) = nullptr;
    int (*set_uncached)(Instance&, uint64_t phys, uint64_t len, int on) = nullptr;
    bool (*unlock)(Instance&) = nullptr;
};

constexpr size_t defect_count = 41;
extern const Defect defects[defect_count];

void intercept_platform(Instance&);

} // namespace dmaudit::broken
