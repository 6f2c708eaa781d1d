// The modes of strictness that concern memory: what the CPU stored and read in coherent memory since the last barrier,
// and what a device wrote anywhere.
#include "shadow/auditor.hpp"

namespace dmaudit {
namespace {

uint64_t first_of(const Pieces& in, Range r)
{
    const bool begins = in.touches({r.at, 1});
    return begins ? r.at : in.next_edge(r.at, r.end());
}

} // namespace

bool Auditor::strict_cpu_access(Range r, bool write, bool index, Tag object)
{
    if (index && supplied_.touches(r)) {
        const uint64_t at = first_of(supplied_, r);
        return fail(RuleId::unchecked_index, {at, r.end() - at}, object,
                    "the device wrote it, and nobody has looked whether it is in bounds"),
               false;
    }
    bool room = true;
    if (!write && supplied_.touches(r)) // looked at where no device can change it any more: that was the check
        map_.for_each_run(r, [&](Range run, uint8_t s) {
            if (owner_of(s) == Owner::cpu && direction_of(s) == Direction::none)
                room &= supplied_.remove(run);
        });
    if (!room)
        return exhausted_by(r, object);
    // Exported memory is left to its brackets, which order accesses.
    if (!(strict_.weak_order || strict_.single_fetch) || r.empty() || (map_.at(r.at) & ~initialised) != code_of(S))
        return true;
    if (!write && strict_.single_fetch && fetched_.touches(r)) {
        const uint64_t at = first_of(fetched_, r);
        return fail(RuleId::double_fetch, {at, r.end() - at}, object,
                    "read before, and the device may have changed it since; no barrier says that this is meant"),
               false;
    }
    if (strict_.single_fetch) // what it wrote itself it does not take for what it has read
        room &= write ? fetched_.remove(r) : fetched_.add(r);
    if (strict_.weak_order && write)
        room &= unordered_.add(r);
    return room || exhausted_by(r, object);
}

bool Auditor::strict_device_read(Range r, Tag block)
{
    if (!strict_.weak_order || !unordered_.touches(r))
        return true;
    const uint64_t at = first_of(unordered_, r);
    return fail(RuleId::missing_barrier, {at, r.end() - at}, block,
                "the CPU's store may reach memory after the device has looked: nothing orders the two"),
           false;
}

bool Auditor::device_supplied(Range r)
{
    return !strict_.untrusted || supplied_.add(r) || exhausted_by(r, 0);
}

bool Auditor::exhausted_by(Range r, Tag object)
{
    return fail(RuleId::auditor_exhausted, r, object, "too many pieces of memory to remember in a strict world"), false;
}

} // namespace dmaudit
