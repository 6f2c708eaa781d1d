/* SPDX-License-Identifier: MIT
 *
 * What one open instance consists of, and how kernel code finds it.
 *
 * The kernel's calls carry no instance: kzalloc, memremap and spin_lock reach theirs through a thread-local variable that
 * is set on the way into the kernel and reset on the way out (linux.c). Nothing else is kept between calls. */
#ifndef DMAUDIT_PROVIDERS_LINUX_INSTANCE_H
#define DMAUDIT_PROVIDERS_LINUX_INSTANCE_H

#include "shim/host.h"
#include <dmaudit/provider.h>

/* A live memremap. */
struct linux_mapping {
    void *cpu;           /* what memremap returned; null: the entry is free */
    uint64_t first, end; /* the physical pages behind it, in bytes, page aligned */
    int uncached;        /* made for a device that does not snoop */
};

/* A device has at most two: its pool, and for the length of a call the pool that is refused because it has one. */
enum { LINUX_MAPPINGS_PER_DEVICE = 2 };

struct linux_device {
    struct device device;
    struct linux_mapping mappings[LINUX_MAPPINGS_PER_DEVICE];
};

struct linux_instance {
    const struct dmaudit_platform *platform;
    const struct linux_kernel *kernel; /* coherent.c as compiled for the platform's page size */
    uint64_t mappings_lock;            /* guards all `mappings` */
    /* platform->n_devices of them and, for calls that name no device, one more */
    struct linux_device devices[];
};

/* The call under way on this thread. */
struct linux_call {
    struct linux_instance *instance;
    uint32_t device; /* index into instance->devices */
};

extern _Thread_local struct linux_call linux_call;

#endif
