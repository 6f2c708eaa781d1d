#include "providers/broken/broken.hpp"

#include "providers/broken/defects.hpp"
#include "providers/builtin/builtin.hpp"

#include <array>
#include <vector>

namespace dmaudit::broken {
namespace {

Instance& self(void* ctx)
{
    return *static_cast<Instance*>(ctx);
}
const dmaudit_provider& inner()
{
    return builtin_provider();
}

constexpr size_t count = defect_count + dma_buf_defect_count + crash_defect_count + parameter_defect_count;
const Defect& defect(size_t n)
{
    if (n < defect_count)
        return defects[n];
    n -= defect_count;
    if (n < dma_buf_defect_count)
        return dma_buf_defects[n];
    n -= dma_buf_defect_count;
    return n < crash_defect_count ? crash_defects[n] : parameter_defects[n - crash_defect_count];
}

template <size_t Index> int open_broken(const dmaudit_platform* platform, void** ctx)
{
    void* memory = platform->meta_alloc(platform->self, sizeof(Instance));
    if (!memory)
        return DMAUDIT_ENOMEM;
    auto* i = new (memory) Instance{};
    i->defect = &defect(Index);
    i->real = platform;
    intercept_platform(*i);
    if (i->defect->prepare)
        i->defect->prepare(*i);
    const int rc = inner().open(&i->platform, &i->ctx);
    if (rc == DMAUDIT_OK)
        *ctx = i;
    else if (!i->defect->keeps_failed_open)
        platform->meta_free(platform->self, memory);
    return rc;
}

void close(void* ctx)
{
    Instance& i = self(ctx);
    if (i.defect->before_close)
        i.defect->before_close(i);
    inner().close(i.ctx);
    const dmaudit_platform* platform = i.real;
    platform->meta_free(platform->self, i.snapshot);
    platform->meta_free(platform->self, ctx);
}

} // namespace

// The calls of the built-in provider, with the defect's say before and after.

constinit const dmaudit_coherent coherent_as_it_is{
    sizeof(dmaudit_coherent),
    0,
    [](void* ctx, const dmaudit_request* request, dmaudit_block* out) {
        const In in(self(ctx), Call::alloc);
        dmaudit_request changed = *request;
        if (in.i.defect->before_alloc && in.i.defect->before_alloc(in.i, changed, *out))
            return static_cast<int>(DMAUDIT_OK);
        const int rc = inner().coherent->alloc(in.i.ctx, &changed, out);
        if (rc == DMAUDIT_OK)
            out->size = request->size;
        return in.i.defect->after_alloc ? in.i.defect->after_alloc(in.i, rc, *request, *out) : rc;
    },
    [](void* ctx, const dmaudit_block* block) {
        const In in(self(ctx), Call::free);
        if (in.i.defect->before_free)
            in.i.defect->before_free(in.i);
        const int rc = in.i.defect->skips_free ? static_cast<int>(DMAUDIT_OK) : inner().coherent->free(in.i.ctx, block);
        if (in.i.defect->after_free)
            in.i.defect->after_free(in.i, *block);
        return rc;
    },
    [](void* ctx, const dmaudit_block* block, uint64_t pgoff, uint64_t pages, dmaudit_window* out) {
        const In in(self(ctx), Call::mmap_block);
        const int rc = inner().coherent->mmap(in.i.ctx, block, pgoff, pages, out);
        return in.i.defect->after_mmap_block ? in.i.defect->after_mmap_block(in.i, rc, *block, pgoff, pages, *out) : rc;
    },
    [](void* ctx, const dmaudit_request* request, uint32_t direction, dmaudit_block* out) {
        const In in(self(ctx), Call::alloc_noncoherent);
        const int rc = inner().coherent->alloc_noncoherent(in.i.ctx, request, direction, out);
        if (rc == DMAUDIT_OK && in.i.defect->after_alloc_noncoherent)
            in.i.defect->after_alloc_noncoherent(in.i, *out);
        return rc;
    },
    [](void* ctx, const dmaudit_block* block, uint32_t direction) {
        const In in(self(ctx), Call::free_noncoherent);
        return inner().coherent->free_noncoherent(in.i.ctx, block, direction);
    },
    [](void* ctx, const dmaudit_block* block, uint64_t offset, uint64_t length, uint32_t direction, uint32_t phase) {
        const In in(self(ctx), Call::sync_noncoherent);
        return in.i.defect->skips_sync_noncoherent
                   ? static_cast<int>(DMAUDIT_OK)
                   : inner().coherent->sync_noncoherent(in.i.ctx, block, offset, length, direction, phase);
    },
    [](void* ctx, const dmaudit_request* request, uint32_t direction, dmaudit_block* out) {
        const In in(self(ctx), Call::alloc_noncoherent);
        return inner().coherent->alloc_pages(in.i.ctx, request, direction, out);
    },
    [](void* ctx, const dmaudit_block* block, uint32_t direction) {
        const In in(self(ctx), Call::free_noncoherent);
        return inner().coherent->free_pages(in.i.ctx, block, direction);
    }};

constinit const dmaudit_streaming streaming_as_it_is{
    sizeof(dmaudit_streaming),
    0,
    [](void* ctx, const dmaudit_request* request, void* cpu, uint32_t direction, dmaudit_mapping* out) {
        const In in(self(ctx), Call::map);
        in.i.direction = direction;
        in.i.original = {dmaudit_phys_of(in.i.real, cpu), request->size};
        const int rc = inner().streaming->map_single(in.i.ctx, request, cpu, direction, out);
        if (rc == DMAUDIT_OK && in.i.defect->after_map)
            in.i.defect->after_map(in.i, *out);
        return rc;
    },
    [](void* ctx, const dmaudit_mapping* m, uint64_t used, uint32_t attrs) {
        const In in(self(ctx), Call::unmap);
        in.i.direction = m->direction;
        if (in.i.defect->before_unmap)
            in.i.defect->before_unmap(in.i);
        return inner().streaming->unmap_single(in.i.ctx, m, in.i.defect->copies_one_less && used ? used - 1 : used,
                                               attrs);
    },
    [](void* ctx, const dmaudit_mapping* m, uint64_t offset, uint64_t length, uint32_t direction, uint32_t phase) {
        const In in(self(ctx), phase == DMAUDIT_FOR_CPU ? Call::sync_for_cpu : Call::sync_for_device);
        in.i.direction = m->direction;
        in.i.original = {dmaudit_phys_of(in.i.real, m->cpu) + offset, length};
        return inner().streaming->sync(in.i.ctx, m, offset, length, direction, phase);
    },
    [](void* ctx, void* cpu, uint64_t length, uint32_t op) {
        const In in(self(ctx), Call::cache);
        return inner().streaming->cache(in.i.ctx, cpu, length, op);
    }};

constinit const dmaudit_pool pool_as_it_is{
    sizeof(dmaudit_pool),
    0,
    [](void* ctx, uint32_t device, uint64_t phys, uint64_t bus, uint64_t size, uint32_t* exclusive) {
        const In in(self(ctx), Call::declare);
        const int rc = inner().pool->declare(in.i.ctx, device, phys, bus, size, exclusive);
        if (rc == DMAUDIT_OK) {
            in.i.pool = {phys, size};
            in.i.real->meta_free(in.i.real->self, in.i.snapshot);
            in.i.snapshot = nullptr;
        }
        return rc;
    },
    [](void* ctx, uint32_t device, uint64_t size, dmaudit_block* out, int* ours) {
        const In in(self(ctx), Call::alloc_from);
        if (in.i.defect->before_alloc_from)
            in.i.defect->before_alloc_from(in.i);
        const int rc = inner().pool->alloc_from(in.i.ctx, device, size, out, ours);
        return in.i.defect->after_alloc_from ? in.i.defect->after_alloc_from(in.i, rc, *out, *ours) : rc;
    },
    [](void* ctx, uint32_t device, uint32_t order, void* cpu, int* ours) {
        const In in(self(ctx), Call::release_from);
        const int rc = inner().pool->release_from(in.i.ctx, device, order, cpu, ours);
        if (rc != DMAUDIT_OK && in.i.defect->accepts_any_release) {
            *ours = 1;
            return static_cast<int>(DMAUDIT_OK);
        }
        return rc;
    },
    [](void* ctx, uint32_t device, void* cpu, uint64_t size, uint64_t pgoff, uint64_t pages, dmaudit_window* out,
       int* ours) {
        const In in(self(ctx), Call::mmap);
        const int rc = inner().pool->mmap_from(in.i.ctx, device, cpu, size, pgoff, pages, out, ours);
        return in.i.defect->after_mmap ? in.i.defect->after_mmap(in.i, rc, cpu, pgoff, pages, *out, *ours) : rc;
    },
    [](void* ctx, uint32_t device) {
        const In in(self(ctx), Call::release);
        return inner().pool->release(in.i.ctx, device);
    }};

constinit const dmaudit_scatter scatter_as_it_is{
    sizeof(dmaudit_scatter),
    0,
    [](void* ctx, const dmaudit_request* request, dmaudit_sg* sg) {
        const In in(self(ctx), Call::map_sg);
        dmaudit_request changed = *request;
        if (in.i.defect->before_map_sg)
            in.i.defect->before_map_sg(in.i, changed);
        const int rc = inner().scatter->map_sg(in.i.ctx, &changed, sg);
        if (rc == DMAUDIT_OK && in.i.defect->after_map_sg)
            in.i.defect->after_map_sg(in.i, *sg);
        return rc;
    },
    [](void* ctx, const dmaudit_sg* sg, uint32_t n_entries, uint32_t attrs) {
        const In in(self(ctx), Call::unmap_sg);
        in.i.count = 0;
        return inner().scatter->unmap_sg(in.i.ctx, sg, n_entries, attrs);
    },
    [](void* ctx, const dmaudit_sg* sg, uint32_t n_entries, uint32_t direction, uint32_t phase) {
        const In in(self(ctx), Call::sync_sg);
        return inner().scatter->sync_sg(in.i.ctx, sg, n_entries, direction, phase);
    },
    [](void* ctx, const dmaudit_request* request, dmaudit_sg* sg) {
        const In in(self(ctx), Call::map_sg);
        return inner().scatter->map_sgtable(in.i.ctx, request, sg);
    },
    [](void* ctx, const dmaudit_sg* sg, uint32_t attrs) {
        const In in(self(ctx), Call::unmap_sg);
        in.i.count = 0;
        return inner().scatter->unmap_sgtable(in.i.ctx, sg, attrs);
    },
    [](void* ctx, const dmaudit_sg* sg, uint32_t direction, uint32_t phase) {
        const In in(self(ctx), Call::sync_sg);
        return inner().scatter->sync_sgtable(in.i.ctx, sg, direction, phase);
    }};

constinit const dmaudit_managed managed_as_it_is{
    sizeof(dmaudit_managed),
    0,
    [](void* ctx, uint32_t device) { return inner().managed->bind(self(ctx).ctx, device); },
    [](void* ctx, uint32_t device) {
        Instance& i = self(ctx);
        if (i.defect->before_unbind)
            i.defect->before_unbind(i, device);
        return inner().managed->unbind(i.ctx, device);
    },
    [](void* ctx, const dmaudit_request* request, dmaudit_block* out) {
        Instance& i = self(ctx);
        const int rc = i.defect->forgets_managed ? inner().coherent->alloc(i.ctx, request, out)
                                                 : inner().managed->alloc(i.ctx, request, out);
        if (rc == DMAUDIT_OK)
            i.first = *out;
        return rc;
    },
    [](void* ctx, const dmaudit_block* block) {
        Instance& i = self(ctx);
        return i.defect->forgets_managed ? inner().coherent->free(i.ctx, block) : inner().managed->free(i.ctx, block);
    },
    [](void* ctx, const dmaudit_request* request, uint32_t direction, dmaudit_block* out) {
        return inner().managed->alloc_noncoherent(self(ctx).ctx, request, direction, out);
    },
    [](void* ctx, const dmaudit_block* block, uint32_t direction) {
        return inner().managed->free_noncoherent(self(ctx).ctx, block, direction);
    },
    [](void* ctx, uint32_t device, uint64_t phys, uint64_t bus, uint64_t size, uint32_t* exclusive) {
        return inner().managed->declare(self(ctx).ctx, device, phys, bus, size, exclusive);
    },
    [](void* ctx, uint32_t device) { return inner().managed->release_declared(self(ctx).ctx, device); },
    [](void* ctx, uint32_t device, void (*action)(void* data), void* data) {
        Instance& i = self(ctx);
        return i.defect->add_action ? i.defect->add_action(i, device, action, data)
                                    : inner().managed->add_action(i.ctx, device, action, data);
    },
    [](void* ctx, uint32_t device, uint64_t id) {
        Instance& i = self(ctx);
        const int rc = inner().managed->open_group(i.ctx, device, id);
        if (rc == DMAUDIT_OK && i.defect->frees_at_open_group && i.first.cpu)
            inner().managed->free(i.ctx, &i.first);
        return rc;
    },
    [](void* ctx, uint32_t device, uint64_t id) { return inner().managed->release_group(self(ctx).ctx, device, id); }};

constinit const dmaudit_parameters parameters_as_it_is{
    sizeof(dmaudit_parameters), 0,
    [](void* ctx, uint32_t device, uint64_t mask) { return inner().parameters->set_mask(self(ctx).ctx, device, mask); },
    [](void* ctx, uint32_t device, uint64_t mask) {
        return inner().parameters->set_coherent_mask(self(ctx).ctx, device, mask);
    },
    [](void* ctx, uint32_t device, uint64_t mask) {
        return inner().parameters->set_min_align_mask(self(ctx).ctx, device, mask);
    }};

namespace {

// The built-in provider's state and what defects remember.
int state_hash(void* ctx, uint64_t hash[2])
{
    const Instance& i = self(ctx);
    const int rc = inner().state_hash(i.ctx, hash);
    const auto add = [hash](uint64_t word) { dmaudit_hash_add(hash, word); };
    const auto add_range = [&](const dmaudit_range& r) { add(r.phys), add(r.size); };
    const auto add_cpu = [&](const void* cpu) { add(cpu ? dmaudit_phys_of(i.real, cpu) : 0); };
    const auto add_block = [&](const dmaudit_block& b) {
        add(b.device), add_cpu(b.cpu), add(b.bus), add(b.size), add(b.granted), add(b.flags), add(b.attrs);
    };
    add(i.direction);
    add_range(i.original), add_range(i.pool), add_range(i.header), add_range(i.mapped);
    add_block(i.first);
    for (uint64_t at = 0; i.snapshot && at < i.snapshot_bytes; at++)
        add(static_cast<const uint8_t*>(i.snapshot)[at]);
    for (const uint64_t mask : i.narrowest)
        add(mask);
    add(i.merged), add(i.count), add(i.action != nullptr), add(i.cleans), add(i.exports), add(i.attaches), add(i.vmaps);
    for (const ExportedNote& e : i.exported)
        add(e.buf != 0), add_cpu(e.cpu), add_block(e.block);
    for (const AttachedNote& a : i.attached) {
        uint64_t of = 0; // numbers are names: which of the notes has it
        while (of < 16 && i.exported[of].buf != a.buf)
            of++;
        add(a.attachment != 0), add(of), add(a.maps), add(a.segment.bus), add(a.segment.length);
    }
    return rc;
}

template <class Table> const Table* table_of(const Table* own, const Table& passed)
{
    return own ? own : &passed;
}

template <size_t... I> std::array<dmaudit_provider, sizeof...(I)> make(std::index_sequence<I...>)
{
    return {dmaudit_provider{
        DMAUDIT_ABI, sizeof(dmaudit_provider), defect(I).name, defect(I).summary,
        (inner().promises & ~defect(I).promises_not) | defect(I).promises_too, open_broken<I>, close,
        table_of(defect(I).coherent, coherent_as_it_is), table_of(defect(I).streaming, streaming_as_it_is),
        &pool_as_it_is, table_of(defect(I).scatter, scatter_as_it_is), table_of(defect(I).managed, managed_as_it_is),
        table_of(defect(I).dma_buf, dma_buf_as_it_is), table_of(defect(I).parameters, parameters_as_it_is),
        state_hash}...};
}

} // namespace
} // namespace dmaudit::broken

namespace dmaudit {

std::span<const dmaudit_provider* const> broken_providers()
{
    static const auto tables = broken::make(std::make_index_sequence<broken::count>());
    static const auto pointers = [] {
        std::vector<const dmaudit_provider*> v;
        for (const dmaudit_provider& p : tables)
            v.push_back(&p);
        return v;
    }();
    return pointers;
}

} // namespace dmaudit
