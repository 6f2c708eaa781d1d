// dma-buf: what is exported, who refers to it, who is attached. Accesses are in auditor_dma_buf_access.cpp.
#include "shadow/auditor.hpp"

#include <algorithm>

namespace dmaudit {

int Auditor::exported(Range at, Tag of, const std::function<int(uint64_t*)>& provider, Tag* out)
{
    for (uint32_t i = 0; i < mappings_.live_count(); i++)
        if (mappings_[mappings_.live(i)].original.overlaps(at))
            return fail(RuleId::overlapping_mapping, at, of, "the memory is mapped for a device"), withheld;
    if (!judge(Event::dma_buf_export, at, of))
        return withheld;
    uint64_t buf = 0;
    const int rc = provider(&buf);
    if (violation_)
        return rc;
    if (rc != DMAUDIT_OK && (rc == DMAUDIT_EBUSY || !blamed_caller(rc, at.lines(around_.page) == at, at, of)))
        refused(false, evidence_->uncached_pages(), of);
    if (rc != DMAUDIT_OK)
        return rc;
    const Tag tag = bufs_.add({at, of, buf, 1, 0, 0, {}, 0});
    if (!tag)
        return fail(RuleId::auditor_exhausted, at, of, "too many dma-bufs in one session"), rc;
    *out = buf_refs_.add({tag});
    if (!*out)
        return fail(RuleId::auditor_exhausted, at, of, "too many references to dma-bufs in one session"), rc;
    apply(Event::dma_buf_export, at);
    mirror(at, tag_kind(of) != Kind::block || !blocks_[of].opaque);
    return rc;
}

int Auditor::export_block(const dmaudit_block& b, Tag* out)
{
    const auto tag = static_cast<Tag>(b.cookie[0]);
    if (!check_alive(tag, Kind::block, RuleId::use_after_free))
        return withheld;
    BlockRecord& rec = blocks_[tag];
    if (b.device != rec.device)
        return fail(RuleId::wrong_device, rec.at, tag, "the block was allocated for another device"), withheld;
    if (rec.noncoherent())
        return fail(RuleId::wrong_kind, rec.at, tag, "only coherent memory is exported"), withheld;
    rec.tail_open = true;
    return exported(
        rec.at, tag, [&](uint64_t* buf) { return inner_->dma_buf->export_block(ctx_, &rec.inner, "dmaudit", buf); },
        out);
}

int Auditor::export_pages(Tag buffer, uint64_t offset, uint64_t length, Tag* out)
{
    if (!check_alive(buffer, Kind::buffer, RuleId::use_after_free) ||
        !check_range(offset, length, bytes_of(buffer).len, RuleId::out_of_bounds, buffer))
        return withheld;
    const Range at{bytes_of(buffer).at + offset, length};
    if (at.empty() || at.lines(around_.page) != at)
        return fail(RuleId::bad_length, at, buffer, "a client exports whole pages"), withheld;
    return exported(
        at, buffer,
        [&](uint64_t* buf) { return inner_->dma_buf->export_pages(ctx_, door(at.at), at.len, "dmaudit", buf); }, out);
}

// ---- references and descriptors ----

bool Auditor::check_ref(Tag ref)
{
    return check_alive(ref, Kind::dma_buf, RuleId::use_after_release);
}

bool Auditor::check_fd(int fd)
{
    if (fd >= 0 && static_cast<size_t>(fd) < fds_.size() && fds_[static_cast<size_t>(fd)])
        return true;
    return false;
}

int Auditor::lowest_free_fd() const
{
    return static_cast<int>(std::find(fds_.begin(), fds_.end(), Tag{0}) - fds_.begin());
}

int Auditor::dma_buf_fd(Tag ref, int* fd)
{
    if (!check_ref(ref))
        return withheld;
    const Tag buf = buf_refs_[ref].buf;
    const int expected = lowest_free_fd();
    if (static_cast<size_t>(expected) == fds_.size())
        return fail(RuleId::auditor_exhausted, {}, buf, "too many descriptors in one session"), withheld;
    int got = -1;
    const uint64_t uncached_before = evidence_->uncached_pages();
    const int rc = inner_->dma_buf->fd(ctx_, bufs_[buf].id, &got);
    if (violation_)
        return rc;
    if (rc != DMAUDIT_OK)
        return legal_failed(rc, uncached_before, bufs_[buf].at, buf);
    if (got != expected) {
        fail(RuleId::wrong_return, {}, buf, "descriptor against the lowest free one", static_cast<uint64_t>(expected),
             static_cast<uint64_t>(got));
        return rc;
    }
    fds_[static_cast<size_t>(got)] = buf;
    buf_refs_.remove(ref); // it belongs to the descriptor now
    *fd = got;
    return rc;
}

int Auditor::dma_buf_get(int fd, Tag* out)
{
    const bool open = check_fd(fd);
    uint64_t buf = 0;
    const int rc = inner_->dma_buf->get(ctx_, fd, &buf);
    if (violation_)
        return rc;
    if (!open && rc != DMAUDIT_EBADF) {
        fail(RuleId::wrong_return, {}, 0, "a descriptor that is not open", Code{DMAUDIT_EBADF}, Code{rc});
        return rc;
    }
    if (open && rc != DMAUDIT_OK)
        fail(RuleId::wrong_return, {}, fds_[static_cast<size_t>(fd)], "a descriptor that is open", Code{DMAUDIT_OK},
             Code{rc});
    if (rc != DMAUDIT_OK)
        return refused(!open, evidence_->uncached_pages(), 0), rc;
    const Tag known = fds_[static_cast<size_t>(fd)];
    if (buf != bufs_[known].id) {
        fail(RuleId::wrong_return, bufs_[known].at, known, "the descriptor leads to another buffer", bufs_[known].id,
             buf);
        return rc;
    }
    *out = buf_refs_.add({known});
    if (!*out)
        return fail(RuleId::auditor_exhausted, {}, known, "too many references to dma-bufs in one session"), rc;
    bufs_[known].refs++;
    return rc;
}

int Auditor::dup_fd(int fd, int* copy)
{
    const bool open = check_fd(fd);
    const int expected = lowest_free_fd();
    if (open && static_cast<size_t>(expected) == fds_.size())
        return fail(RuleId::auditor_exhausted, {}, 0, "too many descriptors in one session"), withheld;
    int got = -1;
    const uint64_t uncached_before = evidence_->uncached_pages();
    const int rc = inner_->dma_buf->dup_fd(ctx_, fd, &got);
    if (violation_)
        return rc;
    if (!open && rc != DMAUDIT_EBADF) {
        fail(RuleId::wrong_return, {}, 0, "a descriptor that is not open", Code{DMAUDIT_EBADF}, Code{rc});
        return rc;
    }
    if (rc != DMAUDIT_OK)
        return open ? legal_failed(rc, uncached_before, {}, fds_[static_cast<size_t>(fd)]) : rc;
    if (got != expected) {
        fail(RuleId::wrong_return, {}, fds_[static_cast<size_t>(fd)], "descriptor against the lowest free one",
             static_cast<uint64_t>(expected), static_cast<uint64_t>(got));
        return rc;
    }
    fds_[static_cast<size_t>(got)] = fds_[static_cast<size_t>(fd)];
    bufs_[fds_[static_cast<size_t>(fd)]].refs++;
    *copy = got;
    return rc;
}

// May the last reference go?
bool Auditor::check_last(Tag buf)
{
    const BufRecord& rec = bufs_[buf];
    if (rec.refs == 1 && (rec.attachments || rec.windows || rec.n_brackets))
        return fail(RuleId::free_while_mapped, rec.at, buf,
                    "the last reference to a dma-buf goes while it is attached, mapped or being accessed"),
               false;
    return true;
}

// One reference less; with the last one the memory is as it was before the export.
void Auditor::dropped(Tag buf)
{
    BufRecord& rec = bufs_[buf];
    if (--rec.refs)
        return;
    const bool block = tag_kind(rec.of) == Kind::block;
    apply(block ? Event::dma_buf_put_block : Event::dma_buf_put_pages, rec.at);
    if (!block)
        mirror_by_state(rec.at);
    bufs_.remove(buf);
}

int Auditor::dma_buf_put(Tag ref)
{
    if (!check_alive(ref, Kind::dma_buf, RuleId::double_free))
        return illegal_put(ref);
    const Tag buf = buf_refs_[ref].buf;
    if (!check_last(buf))
        return withheld;
    const int rc = inner_->dma_buf->put(ctx_, bufs_[buf].id);
    if (violation_)
        return rc;
    if (rc != DMAUDIT_OK) {
        fail(RuleId::wrong_return, bufs_[buf].at, buf, "a legal put failed", Code{DMAUDIT_OK}, Code{rc});
        return rc;
    }
    buf_refs_.remove(ref);
    dropped(buf);
    return rc;
}

int Auditor::close_fd(int fd)
{
    const bool open = check_fd(fd);
    const Tag buf = open ? fds_[static_cast<size_t>(fd)] : 0;
    if (open && !check_last(buf))
        return withheld;
    const int rc = inner_->dma_buf->close_fd(ctx_, fd);
    if (violation_)
        return rc;
    if (rc != (open ? DMAUDIT_OK : DMAUDIT_EBADF)) {
        fail(RuleId::wrong_return, {}, buf, "closing a descriptor", Code{open ? DMAUDIT_OK : DMAUDIT_EBADF}, Code{rc});
        return rc;
    }
    if (!open)
        return rc;
    fds_[static_cast<size_t>(fd)] = 0;
    dropped(buf);
    return rc;
}

// ---- attachments ----

// Can the device get at RAM where it lies, whichever of its masks counts?
bool Auditor::reaches_in_place(uint32_t device, Range at) const
{
    const uint64_t first = evidence_->phys_of(at.at) + bus_offset(device), last = first + (at.len - 1);
    return !iommu(device) && first <= last &&
           last <= std::min({around_.devices[device].limit, drivers_[device].mask, drivers_[device].coherent_mask});
}

int Auditor::attach(Tag ref, uint32_t device, Tag* out)
{
    if (!check_ref(ref))
        return withheld;
    if (device >= around_.n_devices)
        return fail(RuleId::wrong_device, {}, ref, "no such device"), withheld;
    const Tag buf = buf_refs_[ref].buf;
    uint64_t id = 0;
    const uint64_t uncached_before = evidence_->uncached_pages();
    const int rc = inner_->dma_buf->attach(ctx_, bufs_[buf].id, device, &id);
    if (violation_)
        return rc;
    if (rc == DMAUDIT_EMASK && reaches_in_place(device, bufs_[buf].at))
        fail(RuleId::wrong_return, bufs_[buf].at, buf, "the importer reaches all of the buffer", Code{DMAUDIT_OK},
             Code{rc});
    if (rc == DMAUDIT_ENODEV || violation_) // an exporter may not want this importer
        return refused(false, uncached_before, buf), rc;
    if (rc != DMAUDIT_OK)
        return legal_failed(rc, uncached_before, bufs_[buf].at, buf);
    AttachmentRecord rec{};
    rec.buf = buf;
    rec.id = id;
    rec.device = device;
    *out = attachments_.add(rec);
    if (!*out)
        return fail(RuleId::auditor_exhausted, {}, buf, "too many attachments in one session"), rc;
    bufs_[buf].attachments++;
    return rc;
}

int Auditor::detach(Tag attachment)
{
    if (!check_alive(attachment, Kind::attachment, RuleId::double_free))
        return illegal_detach(attachment);
    const AttachmentRecord& rec = attachments_[attachment];
    if (rec.mapped)
        return fail(RuleId::free_while_mapped, bufs_[rec.buf].at, attachment, "the attachment is still mapped"),
               withheld;
    const int rc = inner_->dma_buf->detach(ctx_, bufs_[rec.buf].id, rec.id);
    if (violation_)
        return rc;
    if (rc != DMAUDIT_OK) {
        fail(RuleId::wrong_return, bufs_[rec.buf].at, attachment, "a legal detach failed", Code{DMAUDIT_OK}, Code{rc});
        return rc;
    }
    bufs_[rec.buf].attachments--;
    attachments_.remove(attachment);
    return rc;
}

// Is another importer mapped, and one of the two may write? Their copies cannot always be kept alike.
bool Auditor::others_write(Tag attachment, Direction d) const
{
    const AttachmentRecord& rec = attachments_[attachment];
    for (uint32_t i = 0; i < attachments_.live_count(); i++)
        if (const AttachmentRecord& a = attachments_[attachments_.live(i)];
            a.buf == rec.buf && a.id != rec.id && a.mapped && (a.direction != Direction::to || d != Direction::to))
            return true;
    return false;
}

int Auditor::map_attachment(Tag attachment, uint32_t direction)
{
    if (!check_alive(attachment, Kind::attachment, RuleId::use_after_free))
        return withheld;
    AttachmentRecord& rec = attachments_[attachment];
    const BufRecord& buf = bufs_[rec.buf];
    if (direction > DMAUDIT_FROM_DEVICE)
        return fail(RuleId::wrong_direction, buf.at, attachment, "no direction in which anything can be transferred"),
               withheld;
    const Direction d = direction_from(direction);
    const bool busy = rec.mapped && rec.direction != d && rec.direction != Direction::bi;
    std::array<dmaudit_sg_segment, SgRecord::most> segments{};
    dmaudit_sg sg{sizeof sg, rec.device, nullptr, segments.data(), SgRecord::most, 0, direction, 0, {0, 0}};
    const uint64_t uncached_before = evidence_->uncached_pages();
    current_ = buf.at;
    const int rc = inner_->dma_buf->map_attachment(ctx_, rec.id, direction, &sg);
    current_ = {};
    if (violation_)
        return rc;
    if (rc != DMAUDIT_OK && rec.mapped && (!busy || rc != DMAUDIT_EBUSY)) {
        fail(RuleId::wrong_return, buf.at, attachment, "an attachment that is mapped was mapped again",
             Code{busy ? DMAUDIT_EBUSY : DMAUDIT_OK}, Code{rc});
        return rc;
    }
    const bool may_be_busy = busy || others_write(attachment, d);
    if (rc != DMAUDIT_OK && ((may_be_busy && rc == DMAUDIT_EBUSY) || !blamed_caller(rc, true, buf.at, attachment)))
        refused(busy, uncached_before, attachment);
    if (rc != DMAUDIT_OK)
        return rc;
    if (busy)
        return fail(RuleId::wrong_return, buf.at, attachment,
                    "the attachment is mapped in a direction that does not include this one"),
               rc;
    if (rec.mapped) { // the same mapping once more
        if (sg.n_segments != rec.n ||
            !std::equal(segments.begin(), segments.begin() + rec.n, rec.segments.begin(),
                        [](const auto& a, const auto& b) { return a.bus == b.bus && a.length == b.length; }))
            return fail(RuleId::wrong_return, buf.at, attachment, "a mapping that is cached has changed"), rc;
        rec.mapped++;
        rec.maps[direction]++;
        confuse_open_brackets(buf);
        return rc;
    }
    rec.direction = d;
    rec.n = sg.n_segments;
    rec.segments = segments;
    rec.cookie[0] = sg.cookie[0], rec.cookie[1] = sg.cookie[1];
    if (!accept_segments(rec, attachment))
        return rc;
    rec.mapped = 1;
    rec.maps[direction] = 1;
    const bool keeps = d != Direction::from || promises(DMAUDIT_PROMISES_KEEP_UNWRITTEN);
    apply(keeps ? Event::dma_buf_map : Event::dma_buf_map_loses, buf.at);
    confuse_open_brackets(buf);
    mapped_together(attachment);
    if (d != Direction::from)
        check_importer_sees(rec, buf.at);
    marks.hit(Mark::attachment_mapped);
    return rc;
}

// Where the segments lead: the whole buffer in order, or a copy of it in the provider's own memory.
bool Auditor::accept_segments(AttachmentRecord& rec, Tag attachment)
{
    const Range whole = bufs_[rec.buf].at;
    const auto wrong = [&](RuleId rule, const char* what, auto... numbers) {
        fail(rule, whole, attachment, what, numbers...);
        return false;
    };
    if (rec.n == 0 || rec.n > SgRecord::most)
        return wrong(RuleId::wrong_return, "segments of an attachment", SgRecord::most, rec.n);
    uint64_t done = 0;
    for (uint32_t i = 0; i < rec.n; i++) {
        const auto& s = rec.segments[i];
        const uint64_t last = s.bus + (s.length - 1);
        if (s.length == 0 || s.length > whole.len - done)
            return wrong(RuleId::wrong_translation, "bytes of the segments against the buffer's", whole.len,
                         done + s.length);
        if (s.bus == DMAUDIT_NO_ADDRESS || last < s.bus)
            return wrong(RuleId::wrong_translation, "not a device address", Bus{s.bus});
        if (const uint64_t reach = reach_of(rec.device, false); last > reach)
            return wrong(RuleId::beyond_limit, "last device address of a segment against the limit", reach, last);
        const auto target = evidence_->translate(rec.device, s.bus, s.length);
        if (!target || !evidence_->reaches(rec.device, s.bus, s.length, rec.direction != Direction::from,
                                           rec.direction != Direction::to))
            return wrong(RuleId::wrong_translation, "a device address does not lead to memory that it may use",
                         Bus{s.bus});
        if (!check_rights(rec.device, s.bus, {whole.at + done, s.length}, rec.direction, attachment))
            return false;
        rec.targets[i] = {*target, s.length};
        if (*target != whole.at + done) {
            if (const auto hit = audits_ ? map_.check(transition(Event::alloc_plain), rec.targets[i]) : std::nullopt)
                return wrong(hit->state == code_of(N) ? RuleId::outside_arena
                             : direction_of(hit->state) == Direction::bi &&
                                     (owner_of(hit->state) == Owner::shared || owner_of(hit->state) == Owner::opaque)
                                 ? RuleId::wrong_translation
                                 : RuleId::overlap,
                             "the importer's addresses lead neither to the buffer nor to the provider's own memory",
                             Bus{s.bus});
            rec.bounced = true;
        }
        done += s.length;
    }
    marks.hit(Mark::bounced, rec.bounced);
    if (done != whole.len)
        return wrong(RuleId::wrong_translation, "bytes of the segments against the buffer's", whole.len, done);
    return true;
}

int Auditor::unmap_attachment(Tag attachment, uint32_t direction)
{
    if (!check_alive(attachment, Kind::attachment, RuleId::use_after_free))
        return illegal_unmap_attachment(attachment, direction);
    AttachmentRecord& rec = attachments_[attachment];
    const Range whole = bufs_[rec.buf].at;
    if (!rec.mapped)
        return fail(RuleId::double_free, whole, attachment, "the attachment is not mapped"),
               illegal_unmap_attachment(attachment, direction);
    if (direction > DMAUDIT_FROM_DEVICE || !rec.maps[direction])
        return fail(RuleId::wrong_direction, whole, attachment, "direction against that of the map",
                    linux_direction(rec.direction), direction),
               illegal_unmap_attachment(attachment, direction);
    const dmaudit_sg sg{sizeof sg, rec.device, nullptr, rec.segments.data(),           rec.n,
                        rec.n,     direction,  0,       {rec.cookie[0], rec.cookie[1]}};
    current_ = whole;
    const int rc = inner_->dma_buf->unmap_attachment(ctx_, rec.id, &sg, direction);
    current_ = {};
    if (violation_)
        return rc;
    if (rc != DMAUDIT_OK) {
        fail(RuleId::wrong_return, whole, attachment, "a legal unmap failed", Code{DMAUDIT_OK}, Code{rc});
        return rc;
    }
    rec.maps[direction]--;
    if (--rec.mapped)
        return confuse_open_brackets(bufs_[rec.buf]), rc;
    if (rec.direction != Direction::to)
        apply(Event::dma_buf_unmap, whole);
    for (uint32_t i = 0; i < rec.n && !violation_; i++)
        check_unreachable(rec.device, rec.segments[i].bus, {rec.targets[i].at, rec.segments[i].length}, attachment);
    rec.n = 0;
    rec.bounced = false;
    return rc;
}

} // namespace dmaudit
