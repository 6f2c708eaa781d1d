// Accesses to a dma-buf: brackets of the CPU, its windows, and the importers' devices.
#include "machine/bytes.hpp"
#include "shadow/auditor.hpp"

#include <algorithm>

namespace dmaudit {

// An importer was mapped. What each of them sees is known as long as no other that is mapped may write: then nothing
// but hand-overs and its own writes matter. Of two that write nothing is known, not even to the CPU: fences decide.
void Auditor::mapped_together(Tag newcomer)
{
    const Tag buf = attachments_[newcomer].buf;
    unsigned writers = 0;
    const auto each_mapped = [&](auto f) {
        for (uint32_t i = 0; i < attachments_.live_count(); i++)
            if (AttachmentRecord& a = attachments_[attachments_.live(i)]; a.buf == buf && a.mapped)
                f(a);
    };
    each_mapped([&](AttachmentRecord& a) { writers += a.direction != Direction::to; });
    attachments_[newcomer].alone = true;
    each_mapped([&](AttachmentRecord& a) { a.alone &= writers == (a.direction != Direction::to ? 1u : 0u); });
    if (writers > 1)
        apply(Event::dma_buf_confused, bufs_[buf].at);
}

// The CPU has handed all of the buffer over, and nobody who is mapped may write: all see the same from now on.
void Auditor::handed_to_readers(Tag buf)
{
    for (int pass = 0; pass < 2; pass++)
        for (uint32_t i = 0; i < attachments_.live_count(); i++) {
            AttachmentRecord& a = attachments_[attachments_.live(i)];
            if (a.buf != buf || !a.mapped)
                continue;
            if (a.direction != Direction::to)
                return;
            a.alone |= pass == 1;
        }
}

// After a hand-over to the devices: the importer sees what the CPU sees, where that is known.
bool Auditor::check_importer_sees(const AttachmentRecord& rec, Range r)
{
    if (!audits_)
        return true;
    const Range whole = bufs_[rec.buf].at;
    uint64_t begin = whole.at;
    for (uint32_t i = 0; i < rec.n && !violation_; i++) {
        const Range mine = Range{begin, rec.segments[i].length}.intersect(r);
        const uint64_t shift = rec.targets[i].at - begin; // wraps
        begin += rec.segments[i].length;
        if (mine.empty())
            continue;
        const bool copy = shift != 0, nc = !coherent(rec.device);
        if ((!copy || same_bytes(door(mine.at), door(mine.at + shift), mine.len)) &&
            (!nc || !evidence_->first_difference({mine.at + shift, mine.len})))
            continue;
        map_.for_each_run(mine, [&](Range run, uint8_t s) {
            if (!is_initialised(s) || cache_of(s) != CacheState::in_step || owner_of(s) != Owner::shared)
                return;
            for (uint64_t at = run.at; at < run.end() && !violation_; at++)
                if (copy && *door(at) != *door(at + shift))
                    fail(RuleId::stale_bounce, {at, 1}, rec.buf,
                         "the importer's copy does not hold what was handed over");
                else if (nc && evidence_->first_difference({at + shift, 1}))
                    fail(RuleId::missing_clean, {at, 1}, rec.buf,
                         "the importer does not see what was handed over: the line was not written back");
        });
    }
    return !violation_;
}

int Auditor::cpu_bracket(Tag ref, uint64_t offset, uint64_t length, uint32_t direction, bool begin)
{
    if (!check_ref(ref))
        return withheld;
    const Tag buf = buf_refs_[ref].buf;
    BufRecord& rec = bufs_[buf];
    if (offset + length < offset || offset + length > rec.at.len)
        return fail(RuleId::bad_length, rec.at, buf, "the range ends beyond the buffer", rec.at.len, offset + length),
               withheld;
    if (direction > DMAUDIT_FROM_DEVICE)
        return fail(RuleId::wrong_direction, rec.at, buf, "no direction in which anything can be transferred"),
               withheld;
    const BracketRecord bracket{{rec.at.at + offset, length}, direction_from(direction)};
    const auto open = std::find(rec.brackets.begin(), rec.brackets.begin() + rec.n_brackets, bracket);
    if (begin && rec.n_brackets == rec.brackets.size())
        return fail(RuleId::auditor_exhausted, rec.at, buf, "too many brackets on one dma-buf"), withheld;
    if (!begin && open == rec.brackets.begin() + rec.n_brackets)
        return fail(RuleId::cpu_access_bracket, bracket.at, buf, "an end without its begin"), withheld;
    const bool reads = bracket.direction != Direction::to, writes = bracket.direction != Direction::from;
    const uint64_t uncached_before = evidence_->uncached_pages();
    current_ = rec.at; // the exporter may do the whole buffer
    const int rc = begin ? inner_->dma_buf->begin_cpu_access(ctx_, rec.id, offset, length, direction)
                         : inner_->dma_buf->end_cpu_access(ctx_, rec.id, offset, length, direction);
    current_ = {};
    if (violation_)
        return rc;
    if (rc != DMAUDIT_OK) {
        if (!begin)
            fail(RuleId::wrong_return, bracket.at, buf, "a legal end failed", Code{DMAUDIT_OK}, Code{rc});
        else if (rc != DMAUDIT_EBUSY) // who may hold the buffer meanwhile is the exporter's
            return legal_failed(rc, uncached_before, bracket.at, buf);
        return refused(false, uncached_before, buf), rc;
    }
    if (begin) {
        rec.brackets[rec.n_brackets++] = bracket;
        if (reads)
            apply(Event::dma_buf_begin, bracket.at);
        marks.hit(Mark::bracket);
        return rc;
    }
    *open = rec.brackets[--rec.n_brackets];
    if (!writes)
        return rc;
    apply(Event::dma_buf_end, bracket.at);
    if (bracket.at == rec.at)
        handed_to_readers(buf);
    for (uint32_t i = 0; i < attachments_.live_count() && !violation_; i++) {
        const AttachmentRecord& a = attachments_[attachments_.live(i)];
        if (a.buf == buf && a.mapped && a.direction != Direction::from && a.alone)
            check_importer_sees(a, bracket.at);
    }
    return rc;
}

// Every byte must lie in a bracket of this kind. Ranges of brackets may be side by side.
bool Auditor::check_bracket(const BufRecord& rec, Range r, bool write, Tag object)
{
    for (uint64_t at = r.at; at < r.end();) {
        uint64_t next = at;
        for (uint32_t i = 0; i < rec.n_brackets; i++) {
            const BracketRecord& b = rec.brackets[i];
            if (b.at.contains(at) && b.direction != (write ? Direction::from : Direction::to))
                next = std::max(next, b.at.end());
        }
        if (next == at)
            return fail(RuleId::cpu_access_bracket, {at, 1}, object, "the CPU uses a dma-buf outside of a bracket"),
                   false;
        at = next;
    }
    return true;
}

// A line that is older than what a device wrote would be written back over it, also if only bytes beside the buffer are
// written: the tail of a block through a window. Inside of a bracket for writing the exporter sees to that, when it
// begins; outside nobody has asked for it. Bytes that are written have nothing to lose.
bool Auditor::check_write_loses_nothing(const BufRecord& rec, Range r, Tag object)
{
    const Range lines = rec.at.intersect(r.lines(around_.line));
    if (!evidence_->first_stale(lines))
        return true;
    std::optional<uint64_t> bracketed, other;
    map_.for_each_run(lines, [&](Range run, uint8_t s) {
        for (uint64_t at = run.at; at < run.end() && cache_of(s) == CacheState::device_wrote; at++) {
            if (r.contains(at) || !evidence_->first_stale({at, 1}))
                continue;
            // What a device wrote while the bracket was open is undefined.
            const bool inside =
                is_initialised(s) &&
                std::any_of(rec.brackets.begin(), rec.brackets.begin() + rec.n_brackets,
                            [&](const auto& b) { return b.at.contains(at) && b.direction != Direction::from; });
            if (auto& lost = inside ? bracketed : other; !lost)
                lost = at;
        }
    });
    if (other)
        fail(RuleId::dirty_line_over_device_data, {*other, 1}, object,
             "the CPU dirties a line that holds what a device wrote and nobody has synced");
    else if (bracketed)
        fail(RuleId::missing_invalidate, {*bracketed, 1}, object,
             "the bracket has begun, and a line in it is older than what a device wrote: a write beside it would go "
             "over that");
    return !other && !bracketed;
}

// The CPU at exported bytes, through whatever pointer.
bool Auditor::exported_access(Range r, bool write, Tag object)
{
    for (uint32_t i = 0; i < bufs_.live_count(); i++) {
        const BufRecord& rec = bufs_[bufs_.live(i)];
        const Range mine = rec.at.intersect(r);
        if (!mine.empty() && !check_bracket(rec, mine, write, object))
            return false;
        if (write && !check_write_loses_nothing(rec, r, object))
            return false;
    }
    return true;
}

int Auditor::open_window(Tag ref, WindowRecord::Kind kind, uint64_t page, uint64_t pages, Tag* out)
{
    if (!check_ref(ref))
        return withheld;
    const Tag buf = buf_refs_[ref].buf;
    BufRecord& rec = bufs_[buf];
    const uint64_t whole = rec.at.len / around_.page;
    bool refuse = false;
    Range at;
    int rc = 0;
    if (kind == WindowRecord::mmapped) {
        refuse = pages == 0 || page >= whole || pages > whole - page;
        dmaudit_window w{};
        w.struct_size = sizeof w;
        rc = inner_->dma_buf->mmap(ctx_, rec.id, page, pages, &w);
        const auto offset = evidence_->offset_of(w.phys, w.size);
        at = rc == DMAUDIT_OK && offset ? Range{*offset, w.size} : Range{};
    } else {
        const bool opaque = tag_kind(rec.of) == Kind::block && blocks_[rec.of].opaque;
        void* cpu = nullptr;
        refuse = opaque || (kind != WindowRecord::vmapped && page >= (rec.at.len + around_.page - 1) / around_.page);
        rc = kind == WindowRecord::vmapped
                 ? inner_->dma_buf->vmap(ctx_, rec.id, &cpu)
                 : inner_->dma_buf->kmap(ctx_, rec.id, page, kind == WindowRecord::kmapped_atomic, &cpu);
        const auto* p = static_cast<const uint8_t*>(cpu);
        const uint64_t offset = static_cast<uint64_t>(p - around_.provider_view);
        const uint64_t len = kind == WindowRecord::vmapped
                                 ? rec.at.len
                                 : std::min(around_.page, rec.at.len - std::min(rec.at.len, page * around_.page));
        at = rc == DMAUDIT_OK && p >= around_.provider_view && offset < around_.ram ? Range{offset, len} : Range{};
        page = kind == WindowRecord::vmapped ? 0 : page;
        pages = 0;
    }
    if (violation_)
        return rc;
    bool cpu_maps = kind == WindowRecord::mmapped; // there are such windows onto this buffer
    for (uint32_t i = 0; rc != DMAUDIT_OK && i < windows_.live_count(); i++) {
        const WindowRecord& w = windows_[windows_.live(i)];
        if (w.buf == buf && w.kind == kind && kind == WindowRecord::vmapped)
            return fail(RuleId::wrong_return, rec.at, buf, "a vmap of what is vmapped already", Code{DMAUDIT_OK},
                        Code{rc}),
                   rc;
        cpu_maps |= w.buf == buf && w.kind != WindowRecord::mmapped;
    }
    if (rc != DMAUDIT_OK) {
        if (refuse && kind != WindowRecord::vmapped && rc != DMAUDIT_EINVAL)
            return fail(RuleId::wrong_return, rec.at, buf, "a window that the buffer does not have",
                        Code{DMAUDIT_EINVAL}, Code{rc}),
                   rc;
        // A last page in part may be none.
        if (!refuse && blamed_caller(rc, cpu_maps && (kind == WindowRecord::vmapped || page < whole), rec.at, buf))
            return rc;
        return refused(refuse, evidence_->uncached_pages(), buf), rc;
    }
    if (refuse) {
        fail(RuleId::mmap_window, rec.at, buf,
             "a window of no pages, beyond the buffer's whole pages, or onto an opaque one, was not refused",
             Code{DMAUDIT_EINVAL}, Code{rc});
        return rc;
    }
    if (at.at != rec.at.at + page * around_.page || (pages && at.len != pages * around_.page)) {
        fail(RuleId::mmap_window, rec.at, buf, "a window shows other bytes than those of the buffer",
             rec.at.at + page * around_.page, at.at);
        return rc;
    }
    WindowRecord w{at, 0};
    w.buf = buf;
    w.kind = kind;
    w.page = page;
    *out = windows_.add(w);
    if (!*out)
        return fail(RuleId::auditor_exhausted, at, buf, "too many windows in one session"), rc;
    rec.windows++;
    marks.hit(Mark::window);
    return rc;
}

// munmap, dma_buf_vunmap, dma_buf_kunmap of a window onto a dma-buf.
int Auditor::close_window(Tag window)
{
    const WindowRecord& w = windows_[window];
    BufRecord& rec = bufs_[w.buf];
    int rc = DMAUDIT_OK;
    if (w.kind == WindowRecord::vmapped)
        rc = inner_->dma_buf->vunmap(ctx_, rec.id, door(rec.at.at));
    else if (w.kind != WindowRecord::mmapped)
        rc = inner_->dma_buf->kunmap(ctx_, rec.id, w.page, w.kind == WindowRecord::kmapped_atomic, door(w.at.at));
    if (violation_)
        return rc;
    if (rc != DMAUDIT_OK) {
        fail(RuleId::wrong_return, w.at, window, "closing a legal window failed", Code{DMAUDIT_OK}, Code{rc});
        return rc;
    }
    rec.windows--;
    windows_.remove(window);
    return rc;
}

// A map or unmap may move bytes to and fro: what the CPU has written in a bracket that is still open is lost, handed
// over or neither.
void Auditor::confuse_open_brackets(const BufRecord& buf)
{
    for (uint32_t i = 0; i < buf.n_brackets; i++)
        if (buf.brackets[i].direction != Direction::from)
            apply(Event::dma_buf_confused, buf.brackets[i].at);
}

// The first and the last line of a buffer may hold bytes beside it, which the CPU may have dirtied through a window
// onto the block. Whether such a line goes over what the device writes now is nobody's promise.
void Auditor::confuse_edges(Range written, Range buffer)
{
    for (const uint64_t at : {buffer.at, buffer.end() - 1}) {
        const Range line = Range{at, 1}.lines(around_.line);
        if (!line.overlaps(written))
            continue;
        bool dirty = false;
        for (uint64_t i = line.at; i < line.end(); i++)
            dirty |= !buffer.contains(i) && evidence_->byte_dirty(i);
        if (dirty)
            apply(Event::dma_buf_confused, line.intersect(written));
    }
}

bool Auditor::importer_access(uint32_t device, Tag attachment, uint64_t offset, uint64_t length, bool write)
{
    const AttachmentRecord& rec = attachments_[attachment];
    const Range whole = bytes_of(attachment);
    if (!attachments_.alive(attachment) || !rec.mapped)
        return fail(attachments_.alive(attachment) ? RuleId::device_access_denied : RuleId::use_after_unmap, whole,
                    attachment, "the attachment is not mapped"),
               false;
    if (device != rec.device)
        return fail(RuleId::device_access_denied, whole, attachment, "the attachment is another device's"), false;
    if (!check_range(offset, length, whole.len, RuleId::device_access_denied, attachment))
        return false;
    if (rec.direction == (write ? Direction::to : Direction::from))
        return fail(RuleId::device_wrong_direction, whole, attachment, "the mapping is for the other direction"), false;
    const Range r{whole.at + offset, length};
    const Event e = write ? Event::device_write : Event::device_read;
    // A coherent device that works on the buffer itself sees what the CPU is writing; fences say when it may look.
    const bool snoops = coherent(device) && !rec.bounced;
    if (!snoops ? !judge(e, r, attachment) : false)
        return false;
    if (write) {
        apply(e, r);
        if (!rec.alone)
            apply(Event::dma_buf_confused, r);
        const BufRecord& buf = bufs_[rec.buf];
        const bool in_place = !coherent(device) && !rec.bounced;
        for (uint32_t i = 0; i < buf.n_brackets; i++) { // fences say who is first, of whole lines where the CPU writes
            const BracketRecord& b = buf.brackets[i];
            const bool lines = in_place && b.direction != Direction::from;
            apply(Event::dma_buf_confused, (lines ? b.at.lines(around_.line) : b.at).intersect(r));
        }
        if (in_place)
            confuse_edges(r, whole);
    }
    return true;
}

} // namespace dmaudit
