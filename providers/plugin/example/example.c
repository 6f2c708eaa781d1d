/* SPDX-License-Identifier: MIT
 *
 * A complete provider, to be copied: a first-fit page allocator with the coherent facet.
 * Build it with: cc -shared -fPIC -I include example.c -o example_provider.so */
#include <dmaudit/provider.h>

#include <string.h>

/* What a page of the arenas is: free, the first of a block (of cached or of uncached pages), or a later one. */
enum { FREE, HEAD, HEAD_UNCACHED, REST };

/* One instance. No state may live outside it: several may be open. */
struct example {
    const struct dmaudit_platform *platform;
    uint64_t n_pages;
    unsigned char state[]; /* one for each page, arena after arena */
};

static int example_open(const struct dmaudit_platform *platform, void **ctx)
{
    if (platform->abi != DMAUDIT_ABI)
        return DMAUDIT_EINVAL;
    uint64_t n_pages = 0;
    for (uint32_t a = 0; a < platform->n_arenas; a++)
        n_pages += platform->arenas[a].size / platform->page;
    /* Records live in metadata memory, out of the devices' reach. It may run out. */
    struct example *e = platform->meta_alloc(platform->self, sizeof *e + n_pages);
    if (!e)
        return DMAUDIT_ENOMEM;
    e->platform = platform;
    e->n_pages = n_pages;
    memset(e->state, FREE, n_pages);
    *ctx = e;
    return DMAUDIT_OK;
}

/* Would a block at `phys` do? Else the reason. */
static int fits(const struct dmaudit_request *r, const struct dmaudit_device *device, uint64_t phys)
{
    uint64_t bus = phys + device->bus_offset, last = bus + r->size - 1; /* limits are inclusive */
    if (last < bus || last > device->limit || (r->limit && last > r->limit))
        return DMAUDIT_EMASK;
    if (r->align && bus % r->align != 0)
        return DMAUDIT_EALIGN;
    if (r->boundary && bus / r->boundary != last / r->boundary)
        return DMAUDIT_ENOMEM;
    return DMAUDIT_OK;
}

/* Make a block of the free pages at `phys`, the first of which is page `first`. */
static int take(struct example *e, const struct dmaudit_request *r, uint64_t first, uint64_t phys, uint64_t pages,
                struct dmaudit_block *out)
{
    const struct dmaudit_platform *p = e->platform;
    const struct dmaudit_device *device = &p->devices[r->device];
    if (!device->coherent) {
        /* Such a device and the CPU agree on uncached pages only. A line dirty now would later overwrite its data. */
        p->clean(p->self, phys, pages * p->page);
        int refused = p->set_uncached(p->self, phys, pages * p->page, 1);
        if (refused != DMAUDIT_OK)
            return refused;
    }
    void *cpu = dmaudit_cpu_of(p, phys);
    memset(cpu, 0, pages * p->page); /* whole pages: no tail shows what an earlier owner wrote */
    memset(e->state + first, REST, pages);
    e->state[first] = device->coherent ? HEAD : HEAD_UNCACHED;
    *out = (struct dmaudit_block){.struct_size = out->struct_size, .device = r->device, .cpu = cpu,
                                  .bus = phys + device->bus_offset, .size = r->size, .granted = pages * p->page,
                                  .flags = r->flags, .attrs = r->attrs, .cookie = {(uintptr_t)first}};
    return DMAUDIT_OK;
}

static int example_alloc(void *ctx, const struct dmaudit_request *r, struct dmaudit_block *out)
{
    struct example *e = ctx;
    const struct dmaudit_platform *p = e->platform;
    if (r->device >= p->n_devices || r->size == 0)
        return r->size == 0 ? DMAUDIT_EZERO : DMAUDIT_ENODEV;
    if ((r->align & (r->align - 1)) || (r->boundary & (r->boundary - 1)))
        return DMAUDIT_EINVAL;
    uint64_t pages = r->size / p->page + (r->size % p->page != 0);
    uint64_t base = 0;           /* the number of the arena's first page */
    int result = DMAUDIT_ENOMEM; /* or what spoke against the last place that was free */
    for (uint32_t a = 0; a < p->n_arenas; a++) {
        uint64_t n = p->arenas[a].size / p->page, run = 0;
        for (uint64_t i = 0; i < n; i++) {
            run = e->state[base + i] == FREE ? run + 1 : 0;
            if (run < pages)
                continue;
            uint64_t at = i + 1 - pages, phys = p->arenas[a].phys + at * p->page;
            result = fits(r, &p->devices[r->device], phys);
            if (result == DMAUDIT_OK)
                return take(e, r, base + at, phys, pages, out);
        }
        base += n;
    }
    return result;
}

/* Free the block whose first page is `first`. */
static void give_back(struct example *e, uint64_t first)
{
    const struct dmaudit_platform *p = e->platform;
    uint64_t pages = 1, at = first;
    uint32_t a = 0;
    for (; at >= p->arenas[a].size / p->page; a++)
        at -= p->arenas[a].size / p->page;
    while (at + pages < p->arenas[a].size / p->page && e->state[first + pages] == REST)
        pages++;
    if (e->state[first] == HEAD_UNCACHED)
        p->set_uncached(p->self, p->arenas[a].phys + at * p->page, pages * p->page, 0);
    memset(e->state + first, FREE, pages);
}

static int example_free(void *ctx, const struct dmaudit_block *block)
{
    struct example *e = ctx;
    uint64_t first = block->cookie[0];
    if (first >= e->n_pages || (e->state[first] != HEAD && e->state[first] != HEAD_UNCACHED))
        return DMAUDIT_EFAULT; /* what is easily seen; all is seen only by those who promise DETECTION */
    give_back(e, first);
    return DMAUDIT_OK;
}

/* Blocks may be alive still. Uncached pages and metadata memory go back all the same. */
static void example_close(void *ctx)
{
    struct example *e = ctx;
    for (uint64_t i = 0; i < e->n_pages; i++)
        if (e->state[i] == HEAD || e->state[i] == HEAD_UNCACHED)
            give_back(e, i);
    e->platform->meta_free(e->platform->self, e);
}

static const struct dmaudit_coherent coherent = {sizeof coherent, 0, example_alloc, example_free};

/* Promise only what holds: each promise is tested. A facet that is missing (streaming, pool) is a null pointer. */
static const struct dmaudit_provider provider = {
    .abi = DMAUDIT_ABI, .struct_size = sizeof provider, .name = "example", .summary = "first-fit pages, to be copied",
    .promises = DMAUDIT_PROMISES_ALIGNMENT | DMAUDIT_PROMISES_LIMIT | DMAUDIT_PROMISES_BOUNDARY |
                DMAUDIT_PROMISES_ZEROING,
    .open = example_open, .close = example_close, .coherent = &coherent,
};

const struct dmaudit_provider *dmaudit_provider(void); /* the one symbol that is looked for */
const struct dmaudit_provider *dmaudit_provider(void)
{
    return &provider;
}
