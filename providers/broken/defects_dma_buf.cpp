// What is broken of dma-buf. Each defect brings a table of its own, which differs in one or two calls from the one that
// passes everything on.
#include "providers/broken/defects.hpp"

#include "providers/builtin/builtin.hpp"

#include <initializer_list>

namespace dmaudit::broken {
namespace {

const dmaudit_dma_buf& real()
{
    return *builtin_provider().dma_buf;
}
Instance& self(void* ctx)
{
    return *static_cast<Instance*>(ctx);
}
void* to(void* ctx)
{
    return self(ctx).ctx;
}

// Of what never was noted, or is forgotten, an empty note.
ExportedNote& exported(Instance& i, uint64_t buf)
{
    for (ExportedNote& n : i.exported)
        if (buf && n.buf == buf)
            return n;
    return i.no_export = {};
}
AttachedNote& attached(Instance& i, uint64_t attachment)
{
    for (AttachedNote& n : i.attached)
        if (attachment && n.attachment == attachment)
            return n;
    return i.no_attachment = {};
}

// The one place that an attachment of the built-in provider shows, if it is a bounce buffer.
dmaudit_range slot(Instance& i, const AttachedNote& n, uint32_t device)
{
    const uint64_t phys = n.segment.bus - i.real->devices[device].bus_offset;
    const uint8_t* cpu = exported(i, n.buf).cpu;
    const bool bounced = cpu && !i.real->has_iommu(i.real->self, device) && phys != dmaudit_phys_of(i.real, cpu);
    return bounced ? dmaudit_range{phys, n.segment.length} : dmaudit_range{};
}

int export_block(void* ctx, const dmaudit_block* block, const char* name, uint64_t* buf)
{
    Instance& i = self(ctx);
    const int rc = real().export_block(i.ctx, block, name, buf);
    if (rc == DMAUDIT_OK)
        i.exported[i.exports++ % 16] = {*buf, nullptr, *block};
    return rc;
}
int export_pages(void* ctx, void* cpu, uint64_t size, const char* name, uint64_t* buf)
{
    Instance& i = self(ctx);
    const int rc = real().export_pages(i.ctx, cpu, size, name, buf);
    if (rc == DMAUDIT_OK)
        i.exported[i.exports++ % 16] = {*buf, static_cast<uint8_t*>(cpu), {}};
    return rc;
}
int get(void* ctx, int fd, uint64_t* buf)
{
    return real().get(to(ctx), fd, buf);
}
int put(void* ctx, uint64_t buf)
{
    return real().put(to(ctx), buf);
}
int attach(void* ctx, uint64_t buf, uint32_t device, uint64_t* attachment)
{
    Instance& i = self(ctx);
    const int rc = real().attach(i.ctx, buf, device, attachment);
    if (rc == DMAUDIT_OK)
        i.attached[i.attaches++ % 16] = {*attachment, buf, 0, {}};
    return rc;
}
int map(void* ctx, uint64_t attachment, uint32_t direction, dmaudit_sg* sg)
{
    const In in(self(ctx), Call::map_attachment);
    const int rc = real().map_attachment(in.i.ctx, attachment, direction, sg);
    AttachedNote& n = attached(in.i, attachment);
    if (rc == DMAUDIT_OK && n.maps++ == 0)
        n.segment = sg->segments[0];
    return rc;
}
int unmap(void* ctx, uint64_t attachment, const dmaudit_sg* sg, uint32_t direction)
{
    const In in(self(ctx), Call::unmap_attachment);
    const int rc = real().unmap_attachment(in.i.ctx, attachment, sg, direction);
    if (AttachedNote& n = attached(in.i, attachment); rc == DMAUDIT_OK && n.maps)
        n.maps--;
    return rc;
}
int mmap(void* ctx, uint64_t buf, uint64_t pgoff, uint64_t pages, dmaudit_window* out)
{
    return real().mmap(to(ctx), buf, pgoff, pages, out);
}
int vmap(void* ctx, uint64_t buf, void** cpu)
{
    const int rc = real().vmap(to(ctx), buf, cpu);
    self(ctx).vmaps += rc == DMAUDIT_OK;
    return rc;
}
int vunmap(void* ctx, uint64_t buf, void* cpu)
{
    const int rc = real().vunmap(to(ctx), buf, cpu);
    self(ctx).vmaps -= rc == DMAUDIT_OK;
    return rc;
}

constexpr dmaudit_dma_buf passed{
    sizeof(dmaudit_dma_buf),
    0,
    export_block,
    export_pages,
    [](void* ctx, uint64_t buf, int* fd) { return real().fd(to(ctx), buf, fd); },
    [](void* ctx, int fd) { return real().close_fd(to(ctx), fd); },
    [](void* ctx, int fd, int* copy) { return real().dup_fd(to(ctx), fd, copy); },
    get,
    put,
    attach,
    [](void* ctx, uint64_t buf, uint64_t attachment) { return real().detach(to(ctx), buf, attachment); },
    map,
    unmap,
    [](void* ctx, uint64_t buf, uint64_t start, uint64_t length, uint32_t direction) {
        const In in(self(ctx), Call::begin_cpu_access);
        return real().begin_cpu_access(in.i.ctx, buf, start, length, direction);
    },
    [](void* ctx, uint64_t buf, uint64_t start, uint64_t length, uint32_t direction) {
        const In in(self(ctx), Call::end_cpu_access);
        return real().end_cpu_access(in.i.ctx, buf, start, length, direction);
    },
    [](void* ctx, uint64_t buf, uint64_t page, int atomic, void** cpu) {
        return real().kmap(to(ctx), buf, page, atomic, cpu);
    },
    [](void* ctx, uint64_t buf, uint64_t page, int atomic, void* cpu) {
        return real().kunmap(to(ctx), buf, page, atomic, cpu);
    },
    mmap,
    vmap,
    vunmap};

template <class F> constexpr dmaudit_dma_buf with(F&& change)
{
    dmaudit_dma_buf table = passed;
    change(table);
    return table;
}

// ---- references and descriptors

constexpr auto second_lowest_fd = with([](dmaudit_dma_buf& t) {
    t.fd = [](void* ctx, uint64_t buf, int* fd) {
        int lowest = -1;
        const int rc = real().fd(to(ctx), buf, &lowest);
        if (rc != DMAUDIT_OK || real().dup_fd(to(ctx), lowest, fd) != DMAUDIT_OK)
            return rc;
        return real().close_fd(to(ctx), lowest);
    };
});
constexpr auto get_gives_the_first = with([](dmaudit_dma_buf& t) {
    t.get = [](void* ctx, int fd, uint64_t* buf) {
        const int rc = get(ctx, fd, buf);
        if (rc == DMAUDIT_OK)
            *buf = self(ctx).exported[0].buf;
        return rc;
    };
});
constexpr auto get_of_a_closed_fd = with([](dmaudit_dma_buf& t) {
    t.get = [](void* ctx, int fd, uint64_t* buf) {
        const int rc = get(ctx, fd, buf);
        if (rc != DMAUDIT_EBADF || !self(ctx).exports)
            return rc;
        *buf = self(ctx).exported[0].buf;
        return static_cast<int>(DMAUDIT_OK);
    };
});
constexpr auto close_of_a_closed_fd = with([](dmaudit_dma_buf& t) {
    t.close_fd = [](void* ctx, int fd) {
        real().close_fd(to(ctx), fd);
        return static_cast<int>(DMAUDIT_OK);
    };
});
constexpr auto put_takes_two = with([](dmaudit_dma_buf& t) {
    t.put = [](void* ctx, uint64_t buf) {
        const int rc = put(ctx, buf);
        put(ctx, buf);
        return rc;
    };
});
constexpr auto put_keeps_one = with([](dmaudit_dma_buf& t) {
    t.export_block = [](void* ctx, const dmaudit_block* block, const char* name, uint64_t* buf) {
        const int rc = export_block(ctx, block, name, buf);
        int fd = -1;
        if (rc == DMAUDIT_OK && real().fd(to(ctx), *buf, &fd) == DMAUDIT_OK && get(ctx, fd, buf) == DMAUDIT_OK)
            get(ctx, fd, buf); // one more than the caller's, and none of a descriptor
        real().close_fd(to(ctx), fd);
        return rc;
    };
});
constexpr auto release_frees_the_block = with([](dmaudit_dma_buf& t) {
    t.put = [](void* ctx, uint64_t buf) {
        const int rc = put(ctx, buf);
        if (ExportedNote& n = exported(self(ctx), buf); rc == DMAUDIT_OK && n.block.struct_size)
            builtin_provider().coherent->free(to(ctx), &n.block); // refused while it is still exported
        return rc;
    };
});

// ---- attachments

constexpr auto a_page_too_few = with([](dmaudit_dma_buf& t) {
    t.map_attachment = [](void* ctx, uint64_t attachment, uint32_t direction, dmaudit_sg* sg) {
        const int rc = map(ctx, attachment, direction, sg);
        if (rc == DMAUDIT_OK && sg->segments[0].length > self(ctx).real->page)
            sg->segments[0].length -= self(ctx).real->page;
        return rc;
    };
});
constexpr auto segments_of_another = with([](dmaudit_dma_buf& t) {
    t.map_attachment = [](void* ctx, uint64_t attachment, uint32_t direction, dmaudit_sg* sg) {
        Instance& i = self(ctx);
        const int rc = map(ctx, attachment, direction, sg);
        if (rc != DMAUDIT_OK)
            return rc;
        const uint64_t mine = attached(i, attachment).buf;
        for (const AttachedNote& n : i.attached) // whoever is mapped
            if (n.maps && n.buf != mine)
                sg->segments[0].bus = n.segment.bus;
        return rc;
    };
});
constexpr auto second_map_moves = with([](dmaudit_dma_buf& t) {
    t.map_attachment = [](void* ctx, uint64_t attachment, uint32_t direction, dmaudit_sg* sg) {
        const int rc = map(ctx, attachment, direction, sg);
        if (rc == DMAUDIT_OK && attached(self(ctx), attachment).maps > 1)
            sg->segments[0].bus += self(ctx).real->line;
        return rc;
    };
});
constexpr auto second_map_fails = with([](dmaudit_dma_buf& t) {
    t.map_attachment = [](void* ctx, uint64_t attachment, uint32_t direction, dmaudit_sg* sg) {
        return attached(self(ctx), attachment).maps ? static_cast<int>(DMAUDIT_EBUSY)
                                                    : map(ctx, attachment, direction, sg);
    };
});
constexpr auto any_direction = with([](dmaudit_dma_buf& t) {
    t.map_attachment = [](void* ctx, uint64_t attachment, uint32_t direction, dmaudit_sg* sg) {
        const int rc = map(ctx, attachment, direction, sg);
        const AttachedNote& n = attached(self(ctx), attachment);
        if (rc != DMAUDIT_EBUSY || n.maps == 0)
            return rc;
        sg->segments[0] = n.segment;
        sg->n_segments = 1;
        return static_cast<int>(DMAUDIT_OK);
    };
});
constexpr auto no_copy_back = with([](dmaudit_dma_buf& t) {
    t.unmap_attachment = [](void* ctx, uint64_t attachment, const dmaudit_sg* sg, uint32_t direction) {
        Instance& i = self(ctx);
        const AttachedNote& n = attached(i, attachment);
        const dmaudit_range at = n.maps == 1 ? slot(i, n, sg->device) : dmaudit_range{};
        auto* there = static_cast<uint8_t*>(dmaudit_cpu_of(i.real, at.phys));
        for (const int change : {0xff, 0x00}) {    // twice: what a cache finds unchanged it does not write back
            for (uint64_t k = 0; k < at.size; k++) // what will be copied back is what is there already
                there[k] = static_cast<uint8_t>(exported(i, n.buf).cpu[k] ^ change);
            if (at.size)
                i.real->clean(i.real->self, at.phys, at.size);
        }
        return unmap(ctx, attachment, sg, direction);
    };
});

// ---- the CPU

constexpr auto window_past_the_end = with([](dmaudit_dma_buf& t) {
    t.mmap = [](void* ctx, uint64_t buf, uint64_t pgoff, uint64_t pages, dmaudit_window* out) {
        const int rc = mmap(ctx, buf, pgoff, pages, out);
        if (rc != DMAUDIT_EINVAL || pages < 2 || mmap(ctx, buf, pgoff, pages - 1, out) != DMAUDIT_OK)
            return rc;
        out->size += self(ctx).real->page;
        return static_cast<int>(DMAUDIT_OK);
    };
});
constexpr auto window_wrong_page = with([](dmaudit_dma_buf& t) {
    t.mmap = [](void* ctx, uint64_t buf, uint64_t pgoff, uint64_t pages, dmaudit_window* out) {
        const int rc = mmap(ctx, buf, pgoff, pages, out);
        if (rc == DMAUDIT_OK)
            out->phys -= pgoff * self(ctx).real->page;
        return rc;
    };
});
constexpr auto kmap_wrong_page = with([](dmaudit_dma_buf& t) {
    t.kmap = [](void* ctx, uint64_t buf, uint64_t page, int atomic, void** cpu) {
        const int rc = real().kmap(to(ctx), buf, page, atomic, cpu);
        if (rc == DMAUDIT_OK)
            *cpu = static_cast<uint8_t*>(*cpu) - page * self(ctx).real->page;
        return rc;
    };
});
constexpr auto second_vmap_fails = with([](dmaudit_dma_buf& t) {
    t.vmap = [](void* ctx, uint64_t buf, void** cpu) {
        return self(ctx).vmaps ? static_cast<int>(DMAUDIT_ENOMEM) : vmap(ctx, buf, cpu);
    };
});
constexpr auto second_vmap_moves = with([](dmaudit_dma_buf& t) {
    t.vmap = [](void* ctx, uint64_t buf, void** cpu) {
        const int rc = vmap(ctx, buf, cpu);
        if (rc == DMAUDIT_OK && self(ctx).vmaps > 1)
            *cpu = static_cast<uint8_t*>(*cpu) + self(ctx).real->line;
        return rc;
    };
});

} // namespace

const dmaudit_dma_buf dma_buf_as_it_is = passed;

const Defect dma_buf_defects[dma_buf_defect_count] = {
    {.name = "broken-begin-no-invalidate",
     .summary = "does not drop lines at begin_cpu_access",
     .invalidate = [](Instance& i, dmaudit_range&) { return i.call != Call::begin_cpu_access; }},
    {.name = "broken-end-no-clean",
     .summary = "does not write lines back at end_cpu_access",
     .clean = [](Instance& i, dmaudit_range&) { return i.call != Call::end_cpu_access; }},
    {.name = "broken-attachment-no-clean",
     .summary = "does not write lines back at map_attachment",
     .clean = [](Instance& i, dmaudit_range&) { return i.call != Call::map_attachment; }},
    {.name = "broken-attachment-no-invalidate",
     .summary = "does not drop lines at unmap_attachment",
     .invalidate = [](Instance& i, dmaudit_range&) { return i.call != Call::unmap_attachment; }},
    {.name = "broken-attachment-no-copy-back",
     .summary = "does not copy the bounce buffer back at unmap_attachment",
     .dma_buf = &no_copy_back},
    {.name = "broken-fd-not-lowest",
     .summary = "gives a buffer the second lowest free descriptor",
     .dma_buf = &second_lowest_fd},
    {.name = "broken-get-other-buffer",
     .summary = "every descriptor leads to the buffer that was exported first",
     .dma_buf = &get_gives_the_first},
    {.name = "broken-get-closed-fd",
     .summary = "a descriptor that is not open leads to some buffer",
     .dma_buf = &get_of_a_closed_fd},
    {.name = "broken-close-closed-fd",
     .summary = "closes descriptors that are not open",
     .dma_buf = &close_of_a_closed_fd},
    {.name = "broken-put-takes-two", .summary = "each put gives two references up", .dma_buf = &put_takes_two},
    {.name = "broken-put-keeps-one", .summary = "keeps a reference for itself", .dma_buf = &put_keeps_one},
    {.name = "broken-release-frees-block",
     .summary = "the last put frees the block too, which is its owner's",
     .dma_buf = &release_frees_the_block},
    {.name = "broken-attachment-page-too-few",
     .summary = "leaves the last page out of a mapping",
     .dma_buf = &a_page_too_few},
    {.name = "broken-attachment-of-another",
     .summary = "gives an importer the segments of another buffer",
     .dma_buf = &segments_of_another},
    {.name = "broken-attachment-moves",
     .summary = "mapping an attachment again changes its address",
     .dma_buf = &second_map_moves},
    {.name = "broken-attachment-maps-once",
     .summary = "refuses to map a mapped attachment again",
     .dma_buf = &second_map_fails},
    {.name = "broken-attachment-any-direction",
     .summary = "accepts a direction that the mapping does not include",
     .dma_buf = &any_direction},
    {.name = "broken-attachment-stays-translated",
     .summary = "leaves the translation of an attachment behind",
     .iommu_unmap = [](Instance& i) { return i.call != Call::unmap_attachment; }},
    {.name = "broken-attachment-no-flush",
     .summary = "does not flush the IOMMU at unmap_attachment",
     .iommu_flush = [](Instance& i) { return i.call != Call::unmap_attachment; }},
    {.name = "broken-dma-buf-window-past-end",
     .summary = "a window may be one page longer than the buffer",
     .dma_buf = &window_past_the_end},
    {.name = "broken-dma-buf-window-wrong-page",
     .summary = "forgets the page offset of a window onto a dma-buf",
     .dma_buf = &window_wrong_page},
    {.name = "broken-kmap-wrong-page", .summary = "kmap gives the first page, whichever", .dma_buf = &kmap_wrong_page},
    {.name = "broken-vmap-once", .summary = "refuses a second vmap", .dma_buf = &second_vmap_fails},
    {.name = "broken-vmap-moves", .summary = "each vmap gives another address", .dma_buf = &second_vmap_moves},
};

} // namespace dmaudit::broken
