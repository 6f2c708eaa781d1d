// Illegal calls by a client: found by the auditor, and passed on all the same to a provider that promises to detect
// them. It must refuse, and what it does then must be nothing; the case goes on as that of a client that conforms, so
// whatever was changed shows.
#include "shadow/auditor.hpp"

#include <algorithm>

namespace dmaudit {

namespace {

// Does a live one look like this? A provider that uses its cookies and numbers again cannot tell it from a dead one.
template <class Records, class Same> bool one_lives(const Records& records, Same same)
{
    for (uint32_t i = 0; i < records.live_count(); i++)
        if (same(records[records.live(i)]))
            return true;
    return false;
}

} // namespace

// Is the violation one of these, and a promise that the provider sees it, too? No call names a device that does not
// exist.
bool Auditor::passes_on(uint32_t device, std::initializer_list<RuleId> mistakes) const
{
    return forward_illegal_ && audits_ && promises(DMAUDIT_PROMISES_DETECTION_OF_MAPPINGS) &&
           device < around_.n_devices &&
           std::find(mistakes.begin(), mistakes.end(), violation_->rule) != mistakes.end();
}

// Is a free of it also what a legal one might look like? One of a live block with a size of as many pages, or of a dead
// one whose like lives at its place and under its cookie. And by which of its two addresses a provider knows a block is
// its own affair.
bool Auditor::cannot_be_told(const dmaudit_block& claimed, std::optional<uint32_t> direction) const
{
    const auto pages = [this](uint64_t size) { return (size + around_.page - 1) / around_.page; };
    return one_lives(blocks_, [&](const BlockRecord& rec) {
        const dmaudit_block& b = rec.inner;
        const bool cpu = b.cpu == claimed.cpu, bus = b.bus == claimed.bus,
                   cookie = b.cookie[0] == claimed.cookie[0] && b.cookie[1] == claimed.cookie[1];
        return b.device == claimed.device && (cpu && bus ? cookie : cpu || bus) &&
               pages(b.size) == pages(claimed.size) &&
               (!direction || (rec.noncoherent() && linux_direction(rec.direction) == *direction));
    });
}

int Auditor::must_refuse(Tag t, int rc)
{
    if (rc != DMAUDIT_OK) {
        refused_illegal_ = true;
        return withheld;
    }
    violation_.reset();
    fail(RuleId::wrong_return, bytes_of(t), t, "an illegal call was promised to be detected, and succeeded");
    return rc;
}

// The provider's own record of the mapping, with what the client says of it.
dmaudit_mapping Auditor::as_claimed(const dmaudit_mapping& m) const
{
    dmaudit_mapping out = mappings_[static_cast<Tag>(m.cookie[0])].inner;
    out.device = m.device;
    out.bus = m.bus;
    out.size = m.size;
    out.direction = m.direction;
    return out;
}

bool Auditor::names_a_live_mapping(const dmaudit_mapping& claimed) const
{
    return one_lives(mappings_, [&](const MappingRecord& rec) {
        const dmaudit_mapping& m = rec.inner;
        return m.device == claimed.device && m.bus == claimed.bus && m.size == claimed.size &&
               m.direction == claimed.direction && m.cookie[0] == claimed.cookie[0] && m.cookie[1] == claimed.cookie[1];
    });
}

int Auditor::illegal_unmap(const dmaudit_mapping& m, uint64_t used, uint32_t attrs)
{
    const auto t = static_cast<Tag>(m.cookie[0]);
    if (!passes_on(m.device, {RuleId::double_free, RuleId::free_mismatch, RuleId::wrong_device, RuleId::bad_length,
                              RuleId::wrong_direction}) ||
        !mappings_.known(t) || mappings_[t].sg)
        return withheld;
    const dmaudit_mapping claimed = as_claimed(m);
    if (violation_->rule != RuleId::bad_length && names_a_live_mapping(claimed))
        return withheld;
    return must_refuse(t, inner_->streaming->unmap_single(ctx_, &claimed, used == every_byte ? m.size : used, attrs));
}

int Auditor::illegal_sync(const dmaudit_mapping& m, uint64_t offset, uint64_t length, uint32_t direction,
                          uint32_t phase)
{
    const auto t = static_cast<Tag>(m.cookie[0]);
    if (!passes_on(m.device,
                   {RuleId::use_after_unmap, RuleId::sync_outside, RuleId::wrong_device, RuleId::wrong_direction}) ||
        !mappings_.known(t) || mappings_[t].sg || length == 0)
        return withheld;
    const dmaudit_mapping claimed = as_claimed(m);
    if (violation_->rule == RuleId::use_after_unmap && names_a_live_mapping(claimed))
        return withheld;
    return must_refuse(t, inner_->streaming->sync(ctx_, &claimed, offset, length, direction, phase));
}

// The list as the provider knows it, with what the client says of it. A table has its count of entries in itself.
bool Auditor::claimed_list(Tag t, uint32_t device, uint32_t direction, bool table, dmaudit_sg& out)
{
    if (!passes_on(device, {RuleId::double_free, RuleId::use_after_unmap, RuleId::wrong_device, RuleId::wrong_count,
                            RuleId::wrong_direction}) ||
        !sgs_.known(t) || (table && violation_->rule == RuleId::wrong_count))
        return false;
    SgRecord& rec = sgs_[t];
    const auto entries = [](const dmaudit_sg_entry& a, const dmaudit_sg_entry& b) {
        return a.cpu == b.cpu && a.length == b.length;
    };
    const auto segments = [](const dmaudit_sg_segment& a, const dmaudit_sg_segment& b) {
        return a.bus == b.bus && a.length == b.length;
    };
    if (violation_->rule != RuleId::wrong_count && one_lives(sgs_, [&](const SgRecord& o) {
            return o.cookie[0] == rec.cookie[0] && o.cookie[1] == rec.cookie[1] && o.device == device && o.n == rec.n &&
                   linux_direction(o.direction) == direction && o.n_segments == rec.n_segments &&
                   std::equal(o.inner_entries.begin(), o.inner_entries.begin() + o.n, rec.inner_entries.begin(),
                              entries) &&
                   std::equal(o.segments.begin(), o.segments.begin() + o.n_segments, rec.segments.begin(), segments);
        }))
        return false;
    out = {sizeof out, device, rec.inner_entries.data(),      rec.segments.data(), rec.n, rec.n_segments,
           direction,  0,      {rec.cookie[0], rec.cookie[1]}};
    return true;
}

int Auditor::illegal_unmap_sg(Tag t, uint32_t device, uint32_t n_entries, uint32_t direction, uint32_t attrs,
                              bool table)
{
    dmaudit_sg sg;
    if (!claimed_list(t, device, direction, table, sg))
        return withheld;
    return must_refuse(t, table ? inner_->scatter->unmap_sgtable(ctx_, &sg, attrs)
                                : inner_->scatter->unmap_sg(ctx_, &sg, n_entries, attrs));
}

int Auditor::illegal_sync_sg(Tag t, uint32_t device, uint32_t n_entries, uint32_t direction, uint32_t phase, bool table)
{
    dmaudit_sg sg;
    if (!sgs_.known(t) || !claimed_list(t, device, linux_direction(sgs_[t].direction), table, sg))
        return withheld;
    return must_refuse(t, table ? inner_->scatter->sync_sgtable(ctx_, &sg, direction, phase)
                                : inner_->scatter->sync_sg(ctx_, &sg, n_entries, direction, phase));
}

// All references of callers have one name at the provider: only without any is a put one too many.
int Auditor::illegal_put(Tag ref)
{
    if (!passes_on(0, {RuleId::double_free}) || !buf_refs_.known(ref))
        return withheld;
    const Tag buf = buf_refs_[ref].buf;
    const uint64_t id = bufs_[buf].id;
    if (one_lives(buf_refs_, [&](const BufRefRecord& r) { return bufs_[r.buf].id == id; }))
        return withheld;
    return must_refuse(buf, inner_->dma_buf->put(ctx_, id));
}

int Auditor::illegal_detach(Tag attachment)
{
    if (!passes_on(0, {RuleId::double_free}) || !attachments_.known(attachment))
        return withheld;
    const AttachmentRecord& rec = attachments_[attachment];
    const uint64_t id = bufs_[rec.buf].id;
    if (one_lives(attachments_, [&](const AttachmentRecord& a) { return a.id == rec.id && bufs_[a.buf].id == id; }))
        return withheld;
    return must_refuse(rec.buf, inner_->dma_buf->detach(ctx_, id, rec.id));
}

// An attachment has one mapping, and who knows the widest direction only does not tell its users apart.
int Auditor::illegal_unmap_attachment(Tag attachment, uint32_t direction)
{
    if (!passes_on(0, {RuleId::use_after_free, RuleId::double_free, RuleId::wrong_direction}) ||
        !attachments_.known(attachment))
        return withheld;
    AttachmentRecord& rec = attachments_[attachment];
    if (one_lives(attachments_, [&](const AttachmentRecord& a) {
            return a.id == rec.id && a.mapped &&
                   (a.direction == Direction::bi || linux_direction(a.direction) == direction);
        }))
        return withheld;
    const dmaudit_sg sg{sizeof sg, rec.device, nullptr, rec.segments.data(),           rec.n,
                        rec.n,     direction,  0,       {rec.cookie[0], rec.cookie[1]}};
    return must_refuse(rec.buf, inner_->dma_buf->unmap_attachment(ctx_, rec.id, &sg, direction));
}

} // namespace dmaudit
