// dma-buf: exporters, importers, descriptors, brackets and windows.
#include "harness/run.hpp"

namespace dmaudit {

bool Run::has_dma_buf() const
{
    if (!DMAUDIT_HAS(&provider_, dma_buf))
        return false;
    const dmaudit_dma_buf* d = provider_.dma_buf;
    return DMAUDIT_HAS(d, fd) && DMAUDIT_HAS(d, close_fd) && DMAUDIT_HAS(d, dup_fd) && DMAUDIT_HAS(d, get) &&
           DMAUDIT_HAS(d, put) && DMAUDIT_HAS(d, attach) && DMAUDIT_HAS(d, detach) && DMAUDIT_HAS(d, map_attachment) &&
           DMAUDIT_HAS(d, unmap_attachment) && DMAUDIT_HAS(d, begin_cpu_access) && DMAUDIT_HAS(d, end_cpu_access);
}

Skip Run::new_ref(uint64_t name, Tag ref, int rc)
{
    if (ref && !failed()) {
        refs_[name_number(name)] = ref;
        make(name);
    }
    return done(rc);
}

Skip Run::perform(const ops::ExportBlock& o)
{
    if (!has_dma_buf() || !DMAUDIT_HAS(provider_.dma_buf, export_block))
        return Skip::impossible;
    if (!made(o.block.v))
        return Skip::not_made;
    Tag ref = 0;
    const int rc = call([&] { return auditor_.export_block(blocks_[name_number(o.block.v)], &ref); });
    return new_ref(o.out.v, ref, rc);
}

// The exporter's pages are nobody else's: they come with the export and go with the last reference.
Skip Run::perform(const ops::ExportPages& o)
{
    if (!has_dma_buf() || !DMAUDIT_HAS(provider_.dma_buf, export_pages))
        return Skip::impossible;
    const uint64_t page = case_.world.page, most = max_ram / page;
    if (o.pages.v == 0 || o.pages.v > most || o.at.v > most)
        return Skip::impossible;
    const auto at = client_offset(case_.world, o.at.v * page, o.pages.v * page);
    if (!at || auditor_.map().first_in({*at, o.pages.v * page}, transition(Event::buffer_alloc).rule))
        return Skip::impossible; // no room there: nobody's mistake
    const Tag buffer = auditor_.add_buffer({*at, o.pages.v * page});
    if (!buffer)
        return Skip::executed; // a violation: too many
    Tag ref = 0;
    const int rc = call([&] { return auditor_.export_pages(buffer, 0, o.pages.v * page, &ref); });
    if (!ref && !failed())
        auditor_.remove_buffer(buffer);
    return new_ref(o.out.v, ref, rc);
}

// Pages that are exported no more.
void Run::free_exported()
{
    for (uint32_t i = 0; i < auditor_.buffers().live_count() && !failed();) {
        const Tag t = auditor_.buffers().live(i);
        bool named = false, used = false;
        for (unsigned n = 0; n < max_names && !named; n++)
            named = made(name_of(obj_buffer, n)) && buffers_[n] == t;
        for (uint32_t k = 0; k < auditor_.bufs().live_count() && !used; k++)
            used = auditor_.bufs()[auditor_.bufs().live(k)].of == t;
        if (named || used) {
            i++;
            continue;
        }
        expect_contents(auditor_.bytes_of(t), false, false);
        if (!failed())
            auditor_.remove_buffer(t);
    }
}

Skip Run::perform(const ops::DmaBufFd& o)
{
    if (!made(o.buf.v))
        return Skip::not_made;
    int fd = -1;
    return done(call([&] { return auditor_.dma_buf_fd(tag(o.buf.v), &fd); }));
}

Skip Run::perform(const ops::DmaBufGet& o)
{
    if (!has_dma_buf())
        return Skip::impossible;
    Tag ref = 0;
    const int rc = call([&] { return auditor_.dma_buf_get(static_cast<int>(narrow(o.fd.v)), &ref); });
    return new_ref(o.out.v, ref, rc);
}

Skip Run::perform(const ops::DmaBufPut& o)
{
    if (!made(o.buf.v))
        return Skip::not_made;
    const int rc = call([&] { return auditor_.dma_buf_put(tag(o.buf.v)); });
    if (rc == DMAUDIT_OK)
        free_exported();
    return done(rc);
}

Skip Run::perform(const ops::CloseFd& o)
{
    if (!has_dma_buf())
        return Skip::impossible;
    const int rc = call([&] { return auditor_.close_fd(static_cast<int>(narrow(o.fd.v))); });
    if (rc == DMAUDIT_OK)
        free_exported();
    return done(rc);
}

Skip Run::perform(const ops::DupFd& o)
{
    if (!has_dma_buf())
        return Skip::impossible;
    int copy = -1;
    return done(call([&] { return auditor_.dup_fd(static_cast<int>(narrow(o.fd.v)), &copy); }));
}

Skip Run::perform(const ops::Attach& o)
{
    if (!made(o.buf.v))
        return Skip::not_made;
    if (o.dev.v >= case_.world.n_devices && case_.world.mode == Mode::conforming)
        return Skip::impossible;
    Tag t = 0;
    const int rc = call([&] { return auditor_.attach(tag(o.buf.v), narrow(o.dev.v), &t); });
    if (t) {
        attachments_[name_number(o.out.v)] = t;
        make(o.out.v);
    }
    return done(rc);
}

Skip Run::perform(const ops::Detach& o)
{
    if (!made(o.attachment.v))
        return Skip::not_made;
    return done(call([&] { return auditor_.detach(tag(o.attachment.v)); }));
}

Skip Run::perform(const ops::MapAttachment& o)
{
    if (!made(o.attachment.v))
        return Skip::not_made;
    return done(call([&] { return auditor_.map_attachment(tag(o.attachment.v), narrow(o.dir.v)); }));
}

Skip Run::perform(const ops::UnmapAttachment& o)
{
    if (!made(o.attachment.v))
        return Skip::not_made;
    const Tag t = tag(o.attachment.v);
    const AttachmentRecord before = auditor_.attachments()[t];
    uint32_t own = linux_direction(before.direction);
    for (uint32_t d = 0; d < before.maps.size(); d++)
        if (before.maps[d])
            own = d;
    const int rc =
        call([&] { return auditor_.unmap_attachment(t, o.lie.v == lie_other_dir ? another_direction(own) : own); });
    if (rc == DMAUDIT_OK && !failed())
        expect_contents(auditor_.bytes_of(t), before.bounced, true);
    return done(rc);
}

Skip Run::bracket(uint64_t buf, uint64_t off, uint64_t len, uint64_t dir, bool begin)
{
    if (!made(buf))
        return Skip::not_made;
    const Tag ref = tag(buf);
    const int rc = call([&] { return auditor_.cpu_bracket(ref, off, len, narrow(dir), begin); });
    if (rc == DMAUDIT_OK && !failed())
        expect_contents(auditor_.bytes_of(ref), false, true);
    return done(rc);
}

Skip Run::window(uint64_t name, uint64_t buf, WindowRecord::Kind kind, uint64_t page, uint64_t pages)
{
    if (!made(buf))
        return Skip::not_made;
    const dmaudit_dma_buf* d = provider_.dma_buf;
    if (kind == WindowRecord::mmapped   ? !DMAUDIT_HAS(d, mmap)
        : kind == WindowRecord::vmapped ? !DMAUDIT_HAS(d, vmap) || !DMAUDIT_HAS(d, vunmap)
                                        : !DMAUDIT_HAS(d, kmap) || !DMAUDIT_HAS(d, kunmap))
        return Skip::impossible;
    Tag t = 0;
    const int rc = call([&] { return auditor_.open_window(tag(buf), kind, page, pages, &t); });
    if (t) {
        windows_[name_number(name)] = t;
        make(name);
    }
    return done(rc);
}

Skip Run::perform(const ops::Kmap& o)
{
    return window(o.out.v, o.buf.v, o.atomic.v ? WindowRecord::kmapped_atomic : WindowRecord::kmapped, o.page.v, 1);
}
Skip Run::perform(const ops::Vmap& o)
{
    return window(o.out.v, o.buf.v, WindowRecord::vmapped, 0, 0);
}
Skip Run::perform(const ops::MmapDmaBuf& o)
{
    return window(o.out.v, o.buf.v, WindowRecord::mmapped, o.pgoff.v, o.pages.v);
}

// The importer's device walks the segments.
Skip Run::access_attachment(Tag t, uint32_t device, uint64_t off, uint64_t len, bool write, uint64_t seed)
{
    if (!auditor_.importer_access(device, t, off, len, write))
        return Skip::illegal;
    const AttachmentRecord& rec = auditor_.attachments()[t];
    const Range whole = auditor_.bytes_of(t);
    uint64_t begin = 0;
    for (uint32_t i = 0; i < rec.n && !failed(); i++) {
        const Range mine = Range{begin, rec.segments[i].length}.intersect({off, len});
        const uint64_t into = mine.at - begin;
        begin += rec.segments[i].length;
        if (mine.empty())
            continue;
        const Range original{whole.at + mine.at, mine.len};
        const auto at = machine_.reach(device, rec.segments[i].bus + into, mine.len,
                                       write ? unsigned{Iommu::write} : unsigned{Iommu::read});
        if (!at) {
            session_.fail({RuleId::wrong_translation, 0, original, t, "the device faults on a legal access", 0,
                           rec.segments[i].bus + into, Numbers::address});
            return Skip::executed;
        }
        if (write)
            device_writes(device, original, {*at, mine.len}, seed + i);
        else if (rec.alone) // what one sees of what another writes nobody promises
            check_exported_read(original, *at, device, rec.bounced);
    }
    return Skip::executed;
}

// Of exported bytes only what has been handed over has a value that a device must see.
void Run::check_exported_read(Range original, uint64_t target, uint32_t device, bool bounced)
{
    if (auditor_.audits())
        auditor_.map().for_each_run(original, [&](Range run, uint8_t s) {
            if (is_initialised(s) && cache_of(s) == CacheState::in_step && !failed())
                check_device_read(run, {target + (run.at - original.at), run.len}, device, bounced);
        });
}

} // namespace dmaudit
