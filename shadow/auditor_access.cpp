// Accesses of the CPU and of devices.
#include "shadow/auditor.hpp"

namespace dmaudit {

bool Auditor::cpu_access(Tag object, uint64_t offset, uint64_t length, bool write, bool index)
{
    const Kind kind = tag_kind(object);
    const bool window = kind == Kind::window;
    if (!alive(object))
        return fail(RuleId::use_after_free, bytes_of(object), object, "the CPU uses memory that was given back"), false;
    const Range whole = bytes_of(object);
    if (!check_range(offset, length, whole.len, RuleId::out_of_bounds, object))
        return false;
    const Range r{whole.at + offset, length};
    const Event e = window  ? (write ? Event::window_write : Event::window_read)
                    : write ? Event::cpu_write
                            : Event::cpu_read;
    const bool noncoherent = blocks_.known(object) && blocks_[object].noncoherent();
    if (blocks_.known(object) && !noncoherent && !write && promises(DMAUDIT_TRAIT_COHERENT_NEEDS_SYNC) &&
        !coherent(blocks_[object].device))
        return true; // contents are between client and provider: nothing to judge
    if (!judge(e, r, object))
        return false;
    if (audits_ && bufs_.live_count() && !exported_access(r, write, object))
        return false;
    if (audits_ && !strict_cpu_access(r, write, index, object))
        return false;
    if (!write || !audits_)
        return true;
    // Bytes under several mappings may be written once every mapping has handed them over.
    bool denied = false;
    if (kind == Kind::buffer && mappings_.live_count() > 1)
        map_.for_each_run(r, [&](Range run, uint8_t s) {
            if (denied || owner_of(s) != Owner::device || direction_of(s) != Direction::none)
                return;
            for (uint32_t i = 0; i < mappings_.live_count() && !denied; i++) {
                const Tag t = mappings_.live(i);
                const Range part = mappings_[t].original.intersect(run);
                if (part.empty() || mappings_[t].held.covers(part))
                    continue;
                denied = true;
                fail(RuleId::cpu_write_of_device_bytes, {part.at, 1}, t, "one of several mappings still has the bytes");
            }
        });
    if (denied || ((kind == Kind::buffer || noncoherent) && !lines_at_cpu_write(r)))
        return false;
    const bool held = mappings_.live_count() && !r.empty() && owner_of(map_.at(r.at)) == Owner::cpu &&
                      direction_of(map_.at(r.at)) != Direction::none;
    marks.hit(Mark::held_write, held);
    apply(e, r);
    return supplied_.remove(r) || exhausted_by(r, object);
}

bool Auditor::device_access(uint32_t device, Tag object, uint64_t offset, uint64_t length, bool write)
{
    const Event e = write ? Event::device_write : Event::device_read;
    const Range whole = bytes_of(object);
    if (!alive(object)) {
        // Has the memory got a new owner since?
        uint64_t taken = whole.end();
        const bool mapping = tag_kind(object) == Kind::mapping;
        const Tag former = mapping ? mappings_[object].object : object;
        if (!whole.empty())
            identity_.for_each_run(whole, [&](Range run, uint32_t tag) {
                if (tag != IdentityMap::nobody && tag != former && run.at < taken)
                    taken = run.at;
            });
        if (taken != whole.end())
            fail(RuleId::wrong_identity, {taken, 1}, object,
                 "the device uses memory that belongs to another owner by now");
        else
            fail(mapping ? RuleId::use_after_unmap : RuleId::use_after_free, whole, object,
                 "the device uses memory that was taken back");
        return false;
    }
    if (tag_kind(object) == Kind::block) {
        if (device != blocks_[object].device)
            return fail(RuleId::wrong_device, whole, object, "the block was allocated for another device"), false;
        if (!check_range(offset, length, whole.len, RuleId::out_of_bounds, object))
            return false;
        const Range r{whole.at + offset, length};
        if (!write && !blocks_[object].noncoherent() && promises(DMAUDIT_TRAIT_COHERENT_NEEDS_SYNC) &&
            !coherent(device))
            return true;
        if (!judge(e, r, object) || (audits_ && !write && !strict_device_read(r, object)))
            return false;
        apply(e, r);
        // An importer that writes to a copy will have it copied back: which of the two is last nobody promises. One
        // that reads a copy sees nothing of it until the CPU hands all of the buffer over.
        for (uint32_t i = 0; write && i < attachments_.live_count(); i++)
            if (AttachmentRecord& a = attachments_[attachments_.live(i)];
                a.mapped && a.bounced && bufs_[a.buf].of == object) {
                if (a.direction == Direction::to)
                    a.alone = false;
                else
                    apply(Event::dma_buf_confused, r);
            }
        return true;
    }
    const MappingRecord& m = mappings_[object];
    if (!check_tested(object))
        return false;
    if (device != m.device)
        return fail(RuleId::device_access_denied, whole, object, "the mapping belongs to another device"), false;
    if (!check_range(offset, length, whole.len, RuleId::device_access_denied, object))
        return false;
    const Range r{whole.at + offset, length};
    if (!judge(e, r, object))
        return false;
    if (!write && m.held.touches(r)) {
        uint64_t at = r.at;
        while (!m.held.touches({at, 1}))
            at++;
        const bool wrote = cache_of(map_.at(at)) == CacheState::cpu_wrote;
        return fail(wrote ? RuleId::dirty_device_read : RuleId::device_access_denied, {at, r.end() - at}, object,
                    "this mapping has handed the bytes to the CPU"),
               false;
    }
    apply(e, r);
    return true;
}

} // namespace dmaudit
