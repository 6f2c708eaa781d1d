// Clients' buffers, the accesses of CPU and devices, and the data oracle: what everybody must see.
#include "harness/run.hpp"
#include "machine/bytes.hpp"

#include <cstring>

namespace dmaudit {

// ---- the data oracle ----

// After a legal call: what the CPU may read of `r` holds what it must. What the CPU wrote itself and handed over may
// have been lost with its line, which was not written back.
void Run::expect_contents(Range r, bool bounced, bool handed_over)
{
    const auto wrong = session_.first_wrong(r);
    if (!wrong)
        return;
    const bool given = cache_of(auditor_.map().at(*wrong)) != CacheState::cpu_wrote; // else nobody had to clean it
    const RuleId rule = !handed_over                     ? RuleId::corrupts_neighbour
                        : bounced                        ? RuleId::stale_bounce
                        : given && session_.lost(*wrong) ? RuleId::missing_clean
                                                         : RuleId::missing_invalidate;
    session_.fail(
        {rule,
         0,
         {*wrong, 1},
         0,
         handed_over ? "the CPU does not see what was written last" : "a byte that nobody may have touched has changed",
         *session_.contents().at(*wrong),
         machine_.door()[*wrong],
         Numbers::values});
}

void Run::check_device_read(Range original, Range target, uint32_t device, bool bounced)
{
    for (uint64_t done = 0; done < original.len;) {
        const uint64_t n = std::min<uint64_t>(original.len - done, scratch_.size());
        machine_.device_read(device, target.at + done, n, scratch_.data());
        const uint8_t* must = session_.contents().at(original.at + done);
        if (!same_bytes(scratch_.data(), must, n) && (auditor_.audits() || session_.compares_all_reads())) {
            uint64_t i = 0;
            while (scratch_[i] == must[i])
                i++;
            const bool written_back = machine_.door()[target.at + done + i] != must[i];
            session_.fail({!written_back ? RuleId::missing_clean
                           : bounced     ? RuleId::stale_bounce
                                         : RuleId::corrupts_neighbour,
                           0,
                           {original.at + done + i, 1},
                           0,
                           "the device does not read what was handed over",
                           must[i],
                           scratch_[i],
                           Numbers::values});
            return;
        }
        done += n;
    }
}

void Run::new_block(uint64_t name, const dmaudit_block& b, bool zeroed)
{
    blocks_[name_number(name)] = b;
    make(name);
    if (zeroed && !failed())
        session_.contents().set(auditor_.bytes_of(static_cast<Tag>(b.cookie[0])), 0);
}

// ---- buffers and accesses ----

Skip Run::perform(const ops::Buffer& o)
{
    const auto at = o.size.v ? client_offset(case_.world, o.at.v, o.size.v) : std::nullopt;
    if (!at || auditor_.map().first_in({*at, o.size.v}, transition(Event::buffer_alloc).rule))
        return Skip::impossible; // no room there: nobody's mistake
    const Tag t = auditor_.add_buffer({*at, o.size.v}, o.memory.v == 0);
    if (!t)
        return Skip::executed; // a violation: too many
    buffers_[name_number(o.out.v)] = t;
    make(o.out.v);
    return Skip::executed;
}

Skip Run::perform(const ops::FreeBuffer& o)
{
    if (!made(o.buffer.v))
        return Skip::not_made;
    const Tag t = tag(o.buffer.v);
    if (auditor_.alive(t))
        expect_contents(auditor_.bytes_of(t), false, false);
    return failed() ? Skip::executed : done(auditor_.remove_buffer(t));
}

Skip Run::cpu_read(uint64_t object, uint64_t off, uint64_t len, bool index)
{
    if (!made(object))
        return Skip::not_made;
    const Tag t = tag(object);
    if (!auditor_.cpu_access(t, off, len, false, index))
        return Skip::illegal;
    const Range r{auditor_.bytes_of(t).at + off, len};
    if (!session_.can_compare(r))
        return Skip::impossible;
    if (name_kind(object) != obj_window) // read through the client's own alias: AddressSanitizer looks on
        for (uint64_t i = 0; i < r.len; i += scratch_.size())
            std::memcpy(scratch_.data(), client(r) + i, std::min<uint64_t>(r.len - i, scratch_.size()));
    expect_contents(r, false, false);
    if (session_.compares_all_reads() && !same_bytes(machine_.door() + r.at, session_.contents().at(r.at), r.len))
        session_.fail({RuleId::corrupts_neighbour, 0, r, t, "the CPU does not see what was written last"});
    return Skip::executed;
}

Skip Run::perform(const ops::CpuWrite& o)
{
    if (!made(o.object.v))
        return Skip::not_made;
    const Tag t = tag(o.object.v);
    if (!auditor_.cpu_access(t, o.off.v, o.len.v, true))
        return Skip::illegal;
    const Range r{auditor_.bytes_of(t).at + o.off.v, o.len.v};
    const bool window = name_kind(o.object.v) == obj_window; // user space: another mapping of the page
    uint8_t* to = (window ? machine_.door() : machine_.client()) + r.at;
    const uint8_t* device = machine_.cache().simulated() ? machine_.cache().device_bytes() : machine_.door();
    session_.contents().fill(r, Contents::cpu, o.seed.v, machine_.door() + r.at, device + r.at, to);
    machine_.cpu_wrote(r.at, r.len);
    return Skip::executed;
}

Skip Run::device_access(uint64_t object, uint64_t off, uint64_t len, uint64_t lie, bool write, uint64_t seed)
{
    if (!made(object))
        return Skip::not_made;
    const Tag t = tag(object);
    const unsigned n = name_number(object);
    if (name_kind(object) == obj_attachment) {
        const uint32_t importer = auditor_.attachments()[t].device;
        return access_attachment(t, lie == lie_other_device ? other_device(importer) : importer, off, len, write, seed);
    }
    const bool list = name_kind(object) == obj_sg, mapping = name_kind(object) == obj_mapping;
    const uint32_t own = list ? auditor_.sgs()[t].device : mapping ? mappings_[n].device : blocks_[n].device;
    const uint32_t device = lie == lie_other_device ? other_device(own) : own;
    return list ? access_sg(t, device, off, len, write, seed)
                : access(t, device, mapping ? mappings_[n].bus : blocks_[n].bus, off, len, write, seed);
}

// The device at bytes [off, off + len) of a mapping or block that begins at `bus`.
Skip Run::access(Tag t, uint32_t device, uint64_t bus, uint64_t off, uint64_t len, bool write, uint64_t seed)
{
    const bool mapping = tag_kind(t) == Kind::mapping;
    if (auditor_.alive(t) && !(mapping ? auditor_.mappings()[t].reachable : auditor_.blocks()[t].reachable))
        return Skip::impossible; // beyond what the device can drive, and the provider never promised otherwise
    if (!mapping && auditor_.promises(DMAUDIT_TRAIT_COHERENT_NEEDS_SYNC) && !machine_.coherent(device) &&
        auditor_.alive(t) && !auditor_.blocks()[t].noncoherent())
        return Skip::impossible; // who sees what here would be settled by syncs that no call of ours stands for
    if (!auditor_.device_access(device, t, off, len, write))
        return Skip::illegal;
    if (len == 0)
        return Skip::executed;
    const bool bounced = mapping && auditor_.mappings()[t].bounced;
    const Range original{auditor_.bytes_of(t).at + off, len};
    const auto at = machine_.reach(device, bus + off, len, write ? unsigned{Iommu::write} : unsigned{Iommu::read});
    if (!at) {
        session_.fail({RuleId::wrong_translation, 0, original, t, "the device faults on a legal access", 0, bus + off,
                       Numbers::address});
        return Skip::executed;
    }
    if (!write) {
        if (!mapping && auditor_.bufs().live_count())
            check_exported_read(original, *at, device, false);
        else if (!mapping || !auditor_.mappings()[t].blind)
            check_device_read(original, {*at, len}, device, bounced);
        return Skip::executed;
    }
    device_writes(device, original, {*at, len}, seed);
    return Skip::executed;
}

// The device writes to `target` what belongs to `original`.
void Run::device_writes(uint32_t device, Range original, Range target, uint64_t seed)
{
    if (!auditor_.device_supplied(original))
        return;
    const uint8_t* device_view = machine_.cache().simulated() ? machine_.cache().device_bytes() : machine_.door();
    for (uint64_t done = 0; done < target.len;) {
        const uint64_t n = std::min<uint64_t>(target.len - done, scratch_.size());
        session_.contents().fill({original.at + done, n}, Contents::device, seed + done,
                                 machine_.door() + target.at + done, device_view + target.at + done, scratch_.data());
        machine_.device_write(device, target.at + done, n, scratch_.data());
        done += n;
    }
}

Skip Run::perform(const ops::DeviceRead& o)
{
    return device_access(o.object.v, o.off.v, o.len.v, o.lie.v, false, 0);
}
Skip Run::perform(const ops::DeviceWrite& o)
{
    return device_access(o.object.v, o.off.v, o.len.v, o.lie.v, true, o.seed.v);
}

} // namespace dmaudit
