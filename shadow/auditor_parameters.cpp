// What a driver says of its device: masks, and the address bits that a bounce buffer keeps.
#include "shadow/auditor.hpp"

#include <algorithm>

namespace dmaudit {

// The last address that mappings, or memory, of a device may have. Without the promise only the device's own counts.
uint64_t Auditor::reach_of(uint32_t device, bool memory) const
{
    const uint64_t own = around_.devices[device].limit;
    if (!promises(DMAUDIT_PROMISES_LIMIT))
        return own;
    return std::min(own, memory ? drivers_[device].coherent_mask : drivers_[device].mask);
}

template <class Call>
int Auditor::parameter(uint64_t value, bool must_refuse, bool must_accept, uint64_t& kept, Call call)
{
    const uint64_t uncached_before = evidence_->uncached_pages();
    const int rc = call();
    if (violation_)
        return rc;
    if (rc == DMAUDIT_OK && must_refuse)
        return fail(RuleId::wrong_return, {}, 0, "a mask that cannot be had must be refused"), rc;
    if (rc == DMAUDIT_OK) {
        kept = value;
        marks.hit(Mark::parameter_set);
        return rc;
    }
    if (must_accept && !evidence_->fault_injected()) {
        fail(RuleId::spurious_failure, {}, 0, "a mask that asks nothing of the provider was refused");
        return rc;
    }
    refused(must_refuse, uncached_before, 0);
    return rc;
}

int Auditor::set_mask(uint32_t device, uint64_t mask, bool coherent)
{
    if (device >= around_.n_devices)
        return fail(RuleId::wrong_device, {}, 0, "no such device"), withheld;
    Driver& driver = drivers_[device];
    const dmaudit_parameters& p = *inner_->parameters;
    return parameter(mask, mask == 0, mask != 0 && mask >= around_.devices[device].limit,
                     coherent ? driver.coherent_mask : driver.mask,
                     [&] { return (coherent ? p.set_coherent_mask : p.set_mask)(ctx_, device, mask); });
}

int Auditor::set_min_align_mask(uint32_t device, uint64_t mask)
{
    if (device >= around_.n_devices)
        return fail(RuleId::wrong_device, {}, 0, "no such device"), withheld;
    const bool formed = (mask & (mask + 1)) == 0;
    return parameter(mask, !formed, formed && mask < around_.page, drivers_[device].min_align_mask,
                     [&] { return inner_->parameters->set_min_align_mask(ctx_, device, mask); });
}

} // namespace dmaudit
