// Illegal calls by a client: found by the auditor, and passed on all the same to a provider that promises to detect
// them. It must refuse, and what it does then must be nothing; the case ends there, so whatever was changed shows when
// everything is given back.
#include "shadow/auditor.hpp"

#include <algorithm>

namespace dmaudit {

// Is the violation one of these, and a promise that the provider sees it, too?
bool Auditor::passes_on(std::initializer_list<RuleId> mistakes) const
{
    return forward_illegal_ && audits_ && promises(DMAUDIT_PROMISES_DETECTION_OF_MAPPINGS) &&
           std::find(mistakes.begin(), mistakes.end(), violation_->rule) != mistakes.end();
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

// A provider that uses its cookies again cannot tell a dead mapping from one that lives with the same numbers.
bool Auditor::names_a_live_mapping(const dmaudit_mapping& claimed) const
{
    for (uint32_t i = 0; i < mappings_.live_count(); i++) {
        const dmaudit_mapping& m = mappings_[mappings_.live(i)].inner;
        if (m.device == claimed.device && m.cpu == claimed.cpu && m.bus == claimed.bus && m.size == claimed.size &&
            m.direction == claimed.direction && m.cookie[0] == claimed.cookie[0] && m.cookie[1] == claimed.cookie[1])
            return true;
    }
    return false;
}

int Auditor::illegal_unmap(const dmaudit_mapping& m, uint64_t used, uint32_t attrs)
{
    const auto t = static_cast<Tag>(m.cookie[0]);
    if (!passes_on({RuleId::double_free, RuleId::free_mismatch, RuleId::wrong_device, RuleId::bad_length,
                    RuleId::wrong_direction}) ||
        !mappings_.known(t) || mappings_[t].sg)
        return withheld;
    const dmaudit_mapping claimed = as_claimed(m);
    if (violation_->rule != RuleId::bad_length && names_a_live_mapping(claimed))
        return withheld;
    return must_refuse(t, inner_->streaming->unmap_single(ctx_, &claimed, used == every_byte ? m.size : used, attrs));
}

int Auditor::illegal_sync(const dmaudit_mapping& m, uint64_t offset, uint64_t length, uint32_t direction, uint32_t phase)
{
    const auto t = static_cast<Tag>(m.cookie[0]);
    if (!passes_on({RuleId::use_after_unmap, RuleId::sync_outside, RuleId::wrong_device, RuleId::wrong_direction}) ||
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
    if (!passes_on({RuleId::double_free, RuleId::use_after_unmap, RuleId::wrong_device, RuleId::wrong_count,
                    RuleId::wrong_direction}) ||
        !sgs_.known(t) || (table && violation_->rule == RuleId::wrong_count))
        return false;
    SgRecord& rec = sgs_[t];
    out = {sizeof out, device, rec.inner_entries.data(), rec.segments.data(), rec.n, rec.n_segments,
           direction,  0,      {rec.cookie[0], rec.cookie[1]}};
    return true;
}

int Auditor::illegal_unmap_sg(Tag t, uint32_t device, uint32_t n_entries, uint32_t direction, uint32_t attrs, bool table)
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
    if (!passes_on({RuleId::double_free}) || !buf_refs_.known(ref))
        return withheld;
    const Tag buf = buf_refs_[ref].buf;
    for (uint32_t i = 0; i < buf_refs_.live_count(); i++)
        if (buf_refs_[buf_refs_.live(i)].buf == buf)
            return withheld;
    return must_refuse(buf, inner_->dma_buf->put(ctx_, bufs_[buf].id));
}

int Auditor::illegal_detach(Tag attachment)
{
    if (!passes_on({RuleId::double_free}) || !attachments_.known(attachment))
        return withheld;
    const AttachmentRecord& rec = attachments_[attachment];
    return must_refuse(rec.buf, inner_->dma_buf->detach(ctx_, bufs_[rec.buf].id, rec.id));
}

int Auditor::illegal_unmap_attachment(Tag attachment, uint32_t direction)
{
    if (!passes_on({RuleId::use_after_free, RuleId::double_free, RuleId::wrong_direction}) ||
        !attachments_.known(attachment))
        return withheld;
    AttachmentRecord& rec = attachments_[attachment];
    const dmaudit_sg sg{sizeof sg, rec.device, nullptr, rec.segments.data(),           rec.n,
                        rec.n,     direction,  0,       {rec.cookie[0], rec.cookie[1]}};
    return must_refuse(rec.buf, inner_->dma_buf->unmap_attachment(ctx_, rec.id, &sg, direction));
}

} // namespace dmaudit
