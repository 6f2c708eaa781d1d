// What a driver says of its device: masks.
#include "harness/room.hpp"
#include "harness/run.hpp"

namespace dmaudit {

Skip Run::set_mask(uint64_t device, uint64_t mask, bool coherent)
{
    const bool has =
        DMAUDIT_HAS(&provider_, parameters) &&
        (coherent ? DMAUDIT_HAS(provider_.parameters, set_coherent_mask) : DMAUDIT_HAS(provider_.parameters, set_mask));
    if (!has || !names_device(device))
        return Skip::impossible;
    const int rc = call([&] { return auditor_.set_mask(narrow(device), mask, coherent); });
    if (rc > DMAUDIT_OK)
        check_mask(session_, narrow(device), mask);
    return done(rc);
}

Skip Run::perform(const ops::SetMask& o)
{
    return set_mask(o.dev.v, o.mask.v, false);
}

Skip Run::perform(const ops::SetCoherentMask& o)
{
    return set_mask(o.dev.v, o.mask.v, true);
}

Skip Run::perform(const ops::SetMinAlignMask& o)
{
    if (!DMAUDIT_HAS(&provider_, parameters) || !DMAUDIT_HAS(provider_.parameters, set_min_align_mask) ||
        !names_device(o.dev.v))
        return Skip::impossible;
    return done(call([&] { return auditor_.set_min_align_mask(narrow(o.dev.v), o.mask.v); }));
}

// At the end of a case, before its first requests are repeated: what they could have then they can have now.
void Run::open_masks()
{
    for (uint32_t device = 0; device < case_.world.n_devices; device++) {
        const Auditor::Driver driver = auditor_.driver(device);
        if (driver.mask != all_ones && !failed())
            call([&] { return auditor_.set_mask(device, all_ones, false); });
        if (driver.coherent_mask != all_ones && !failed())
            call([&] { return auditor_.set_mask(device, all_ones, true); });
        if (driver.min_align_mask && !failed())
            call([&] { return auditor_.set_min_align_mask(device, 0); });
    }
}

} // namespace dmaudit
