/* SPDX-License-Identifier: MIT
 *
 * The platform's side of the shims: what kernel code calls, done by the platform of the current instance. */
#include "instance.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

_Thread_local struct linux_call linux_call;

static const struct dmaudit_platform *platform(void)
{
    return linux_call.instance->platform;
}

void *dmaudit_linux_kmalloc(dmaudit_linux_size bytes, int zero)
{
    void *p = platform()->meta_alloc(platform()->self, bytes);
    if (p && zero)
        memset(p, 0, bytes);
    return p;
}

void dmaudit_linux_kfree(void *p)
{
    platform()->meta_free(platform()->self, p);
}

void dmaudit_linux_lock(dmaudit_linux_u64 *word)
{
    platform()->lock(platform()->self, word);
}

void dmaudit_linux_unlock(dmaudit_linux_u64 *word)
{
    platform()->unlock(platform()->self, word);
}

/* ---- memremap ---------------------------------------------------------------------------------------------------- */

/* Does a live mapping keep this page uncached? */
static int kept_uncached(const struct linux_instance *instance, uint64_t page)
{
    for (uint32_t d = 0; d <= instance->platform->n_devices; d++) {
        for (int i = 0; i < LINUX_MAPPINGS_PER_DEVICE; i++) {
            const struct linux_mapping *m = &instance->devices[d].mappings[i];
            if (m->cpu && m->uncached && page >= m->first && page < m->end)
                return 1;
        }
    }
    return 0;
}

/* The first page in [at, end) that is (kept = 1) or is not (kept = 0) kept uncached by a live mapping; else `end`. */
static uint64_t skip_to(const struct linux_instance *instance, uint64_t at, uint64_t end, int kept)
{
    while (at < end && kept_uncached(instance, at) != kept)
        at += instance->platform->page;
    return at;
}

/* Cached again, except for what live mappings still need uncached. */
static void make_cached(const struct linux_instance *instance, uint64_t first, uint64_t end)
{
    const struct dmaudit_platform *p = instance->platform;
    for (uint64_t at = skip_to(instance, first, end, 0); at < end; at = skip_to(instance, at, end, 0)) {
        uint64_t stop = skip_to(instance, at, end, 1);
        if (p->set_uncached(p->self, at, stop - at, 0) != DMAUDIT_OK)
            p->log(p->self, "linux: memunmap: pages could not be made cached again");
        at = stop;
    }
}

/* Uncached, all or nothing. Dirty lines are written back first, as architectures do when they change the attributes. */
static int make_uncached(const struct linux_instance *instance, uint64_t first, uint64_t end)
{
    const struct dmaudit_platform *p = instance->platform;
    for (uint64_t at = skip_to(instance, first, end, 0); at < end; at = skip_to(instance, at, end, 0)) {
        uint64_t stop = skip_to(instance, at, end, 1);
        p->clean(p->self, at, stop - at);
        int result = p->set_uncached(p->self, at, stop - at, 1);
        if (result != DMAUDIT_OK) {
            make_cached(instance, first, at);
            return result;
        }
        at = stop;
    }
    return DMAUDIT_OK;
}

/* The CPU address of a range that lies in one bank of RAM, or null. */
static void *ram(const struct dmaudit_platform *p, uint64_t phys, uint64_t size)
{
    for (uint32_t i = 0; i < p->n_banks; i++) {
        const struct dmaudit_bank *b = &p->banks[i];
        if (phys >= b->phys && phys - b->phys < b->size && size <= b->size - (phys - b->phys))
            return (unsigned char *)b->cpu + (phys - b->phys);
    }
    return NULL;
}

void *dmaudit_linux_memremap(dmaudit_linux_u64 phys, dmaudit_linux_size size)
{
    struct linux_instance *instance = linux_call.instance;
    const struct dmaudit_platform *p = instance->platform;
    void *cpu = ram(p, phys, size);
    if (!cpu)
        return NULL;
    struct linux_mapping m = {
        .cpu = cpu,
        .first = phys & ~(p->page - 1),
        .end = (phys + size + p->page - 1) & ~(p->page - 1),
        .uncached = linux_call.device < p->n_devices && !p->devices[linux_call.device].coherent,
    };

    dmaudit_linux_lock(&instance->mappings_lock);
    struct linux_mapping *slot = NULL;
    for (int i = LINUX_MAPPINGS_PER_DEVICE; i-- > 0;)
        if (!instance->devices[linux_call.device].mappings[i].cpu)
            slot = &instance->devices[linux_call.device].mappings[i];
    if (slot && (!m.uncached || make_uncached(instance, m.first, m.end) == DMAUDIT_OK))
        *slot = m;
    else
        cpu = NULL;
    dmaudit_linux_unlock(&instance->mappings_lock);
    return cpu;
}

void dmaudit_linux_memunmap(void *cpu)
{
    struct linux_instance *instance = linux_call.instance;
    dmaudit_linux_lock(&instance->mappings_lock);
    /* The last made is the first given back: a refused second pool may lie where the first one does. */
    for (int i = LINUX_MAPPINGS_PER_DEVICE; i-- > 0;) {
        struct linux_mapping *m = &instance->devices[linux_call.device].mappings[i];
        if (m->cpu == cpu) {
            m->cpu = NULL;
            if (m->uncached)
                make_cached(instance, m->first, m->end);
            break;
        }
    }
    dmaudit_linux_unlock(&instance->mappings_lock);
}

/* ---- printk ------------------------------------------------------------------------------------------------------ */

/* One conversion, the kernel's %pa (a pointer to a physical address) among them. Returns what follows it. */
static const char *convert(const char *at, char *to, size_t room, va_list *args)
{
    char spec[16] = "%";
    size_t n = 1;
    int wide = 0; /* l, ll, z, t, j: eight bytes */
    while (*at && strchr("-+ #0123456789.hlzjt", *at) && n < sizeof spec - 4) {
        wide |= strchr("lzjt", *at) != NULL;
        if (!strchr("hlzjt", *at))
            spec[n++] = *at;
        at++;
    }
    switch (*at) {
    case 'p':
        if (at[1] == 'a') {
            snprintf(to, room, "0x%016llx", (unsigned long long)*va_arg(*args, const uint64_t *));
            return at + 2;
        }
        (void)va_arg(*args, void *); /* addresses of the host are no use to the reader, and differ from run to run */
        snprintf(to, room, "(pointer)");
        return at + 1;
    case 's':
        snprintf(to, room, "%s", va_arg(*args, const char *));
        return at + 1;
    case 'd':
    case 'i':
    case 'u':
    case 'x':
    case 'X': {
        unsigned long long value;
        if (wide)
            value = va_arg(*args, unsigned long long);
        else if (*at == 'd' || *at == 'i')
            value = (unsigned long long)(long long)va_arg(*args, int);
        else
            value = va_arg(*args, unsigned);
        memcpy(spec + n, "ll", 2);
        spec[n + 2] = *at;
        snprintf(to, room, spec, value);
        return at + 1;
    }
    default:
        snprintf(to, room, "%%");
        return *at == '%' ? at + 1 : at;
    }
}

void dmaudit_linux_printk(const char *format, ...)
{
    char line[256] = "linux: ";
    size_t n = strlen(line);
    va_list args;
    va_start(args, format);
    while (*format && n + 1 < sizeof line) {
        if (*format == '%') {
            format = convert(format + 1, line + n, sizeof line - n, &args);
            n += strlen(line + n);
        } else {
            line[n++] = *format++;
            line[n] = '\0';
        }
    }
    va_end(args);
    if (n && line[n - 1] == '\n')
        line[n - 1] = '\0';
    platform()->log(platform()->self, line);
}
