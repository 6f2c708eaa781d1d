// One case while it runs: what the passes of the executor share. execute.cpp tells the story; memory, accesses and
// streaming calls are carried out in the files of these names.
#pragma once
#include "harness/execute.hpp"
#include "harness/model.hpp"
#include "harness/scope.hpp"

#include <algorithm>
#include <bitset>
#include <utility>

namespace dmaudit {

// Arguments are any integers; what does not fit stays out of range.
inline uint32_t narrow(uint64_t v)
{
    return static_cast<uint32_t>(std::min<uint64_t>(v, UINT32_MAX));
}
inline uint32_t attrs_of(uint64_t word)
{
    return word ? DMAUDIT_ATTR_SKIP_CPU_SYNC : 0u;
}

// Of an argument whose words are hints; a number may be anything.
inline uint32_t hints_of(uint64_t word)
{
    uint64_t all = 0;
    for (const Enumerator& hint : words(Shape::hint))
        all |= hint.value;
    return static_cast<uint32_t>(word & all);
}

inline uint32_t another_direction(uint64_t d)
{
    return d == DMAUDIT_TO_DEVICE ? DMAUDIT_FROM_DEVICE : DMAUDIT_TO_DEVICE;
}

// One case while it runs. Names lead to what the auditor handed out; what was never made has tag 0.
class Run {
  public:
    Run(const Case& c, Session& s, const dmaudit_provider& p, Tally& t)
        : case_(c), session_(s), machine_(s.machine()), auditor_(s.auditor()), provider_(p), tally_(t)
    {
        made_.fill({});
    }

    Skip step(const Step& s)
    {
        first_.at_step(static_cast<int>(&s - case_.steps.data()));
        op_ = s.op;
        if (atomic_ && specs()[s.op].sleeps && all_made(s)) {
            session_.fail({RuleId::sleeps_in_atomic, 0, {}, 0, "the call may sleep"});
            return Skip::illegal;
        }
        const Skip skip = Ops::visit(s.op, [&]<class Op>() { return perform(unpack<Op>(s)); });
        return skip == Skip::not_made && case_.world.strict.check_errors ? use_of_nothing(s) : skip;
    }
    void finish()
    {
        machine_.starve(false);
        if (!abrupt_)
            give_everything_back();
    }
    // Once the session is closed: is a fresh instance, opened for this, able to give more?
    void compare_capacity();
    // ... and what does an open leave behind in which a platform call fails?
    void fail_open();
    bool failed() const { return session_.violation().has_value(); }
    // What the provider's last call returned since this was asked.
    int returned() { return std::exchange(returned_, DMAUDIT_OK); }

  private:
    friend class Situation; // these two look at all of it, for exhaustive search
    friend class StateWriter;
    void give_everything_back();
    void give_back_dma_bufs();
    // ---- names ----
    bool made(uint64_t name) const { return made_[static_cast<size_t>(obj_index(name_kind(name)))][name_number(name)]; }
    bool all_made(const Step& s) const // what the step uses
    {
        const Layout& l = layouts()[s.op];
        return std::all_of(l.names.begin(), l.names.begin() + l.n_names,
                           [&](uint8_t a) { return a == l.def || made(s.arg[a]); });
    }
    void make(uint64_t name) { made_[static_cast<size_t>(obj_index(name_kind(name)))].set(name_number(name)); }
    Tag tag(uint64_t name) const
    {
        const unsigned n = name_number(name);
        switch (name_kind(name)) {
        case obj_buffer:
            return buffers_[n];
        case obj_mapping:
            return static_cast<Tag>(mappings_[n].cookie[0]);
        case obj_block:
            return static_cast<Tag>(blocks_[n].cookie[0]);
        case obj_pool:
            return pools_[n];
        case obj_sg:
            return sgs_[n];
        case obj_dma_buf:
            return refs_[n];
        case obj_attachment:
            return attachments_[n];
        default:
            return windows_[n];
        }
    }
    uint8_t* client(Range r) const { return machine_.client() + r.at; }

    // ---- calls ----
    template <class F> auto call(F f)
    {
        if (std::exchange(fails_beyond_, false))
            machine_.arm_fault(1 + fallible_[op_]);
        machine_.begin_call();
        auto rc = f();
        const unsigned fired = machine_.end_call();
        fallible_[op_] = machine_.fallible_calls();
        if (!failed() && machine_.locks_held())
            session_.fail({RuleId::no_progress,
                           0,
                           {},
                           0,
                           "the call returned and keeps a lock",
                           0,
                           machine_.locks_held(),
                           Numbers::values});
        tally_.calls++;
        tally_.evictions_inside += fired;
        tally_.faults += machine_.fault_fired();
        tally_.failures += rc > 0;
        if constexpr (std::is_same_v<decltype(rc), int>)
            returned_ = rc;
        // Minus one from the auditor means that the client was at fault, and there is a violation then.
        if constexpr (std::is_same_v<decltype(rc), int>)
            if (!failed() && (rc < 0 || rc > DMAUDIT_EBADF))
                session_.fail({RuleId::wrong_return,
                               0,
                               {},
                               0,
                               "the result is none of the DMAUDIT_ codes (which are positive, unlike those of Linux)",
                               DMAUDIT_EIO,
                               static_cast<uint64_t>(int64_t{rc}),
                               Numbers::codes});
        return rc;
    }
    uint32_t other_device(uint32_t device) const { return (device + 1) % std::max<uint32_t>(2, case_.world.n_devices); }
    Skip done(bool ok) const { return ok ? Skip::executed : failed() ? Skip::illegal : Skip::executed; }
    Skip done(int rc) const { return rc == Auditor::withheld ? Skip::illegal : Skip::executed; }
    dmaudit_block lied_block(uint64_t name, uint64_t lie) const;
    dmaudit_mapping lied_mapping(uint64_t name, uint64_t lie) const;

    // ---- the data oracle ----
    void expect_contents(Range r, bool bounced, bool handed_over);
    void check_device_read(Range original, Range target, uint32_t device, bool bounced);
    Skip bracket(uint64_t buf, uint64_t off, uint64_t len, uint64_t dir, bool begin);
    Skip window(uint64_t name, uint64_t buf, WindowRecord::Kind, uint64_t page, uint64_t pages);
    Skip new_ref(uint64_t name, Tag ref, int rc);
    void check_exported_read(Range original, uint64_t target, uint32_t device, bool bounced);
    Skip access_attachment(Tag, uint32_t device, uint64_t off, uint64_t len, bool write, uint64_t seed);
    Skip cpu_read(uint64_t object, uint64_t off, uint64_t len, bool index);
    void device_writes(uint32_t device, Range original, Range target, uint64_t seed);
    bool has_dma_buf() const; // all of it, but for exporters and windows
    void free_exported();
    Skip map_sg(const ops::MapSg&, bool table, uint64_t limit = 0, uint32_t attrs = 0);
    Skip unmap_sg(uint64_t sg, uint64_t attrs, uint64_t lie, bool table);
    Skip sync_sg(uint64_t sg, uint64_t dir, uint64_t lie, uint32_t phase, bool table = false);
    Skip map_single(uint64_t out, uint64_t buffer, uint64_t off, uint64_t dir, const dmaudit_request&);
    bool has_sg() const;
    bool has_sgtable() const;
    Skip access_sg(Tag sg, uint32_t device, uint64_t off, uint64_t len, bool write, uint64_t seed);
    Skip access(Tag t, uint32_t device, uint64_t bus, uint64_t off, uint64_t len, bool write, uint64_t seed);
    void expect_sg(Tag sg, bool handed_over);
    Skip sync_block(uint64_t block, uint64_t off, uint64_t len, uint64_t dir, uint64_t lie, uint32_t phase);
    bool noncoherent(uint64_t name) const
    {
        return name_kind(name) == obj_block && auditor_.blocks()[tag(name)].noncoherent();
    }
    Skip alloc_noncoherent(uint64_t out, uint64_t dev, uint64_t size, uint64_t dir, Auditor::Via);
    Skip free_noncoherent(uint64_t block, uint64_t lie, Auditor::Via);
    Skip declare(uint64_t out, uint64_t dev, uint64_t size, uint64_t at, uint64_t exclusive, bool managed);
    bool names_device(uint64_t device) const;
    template <class F> Skip release_managed(uint64_t device, F);
    void unbind_everything();
    void new_block(uint64_t name, const dmaudit_block& b, bool zeroed);

    Skip perform(const ops::Buffer&);
    Skip perform(const ops::FreeBuffer&);
    Skip perform(const ops::CpuRead& o) { return cpu_read(o.object.v, o.off.v, o.len.v, false); }
    Skip perform(const ops::CpuWrite&);
    Skip perform(const ops::DeviceRead&);
    Skip perform(const ops::DeviceWrite&);
    Skip perform(const ops::AllocCoherent&);
    Skip perform(const ops::FreeCoherent&);
    Skip perform(const ops::MapSingle&);
    Skip perform(const ops::UnmapSingle&);
    Skip perform(const ops::SyncForCpu& o)
    {
        return sync(o.mapping.v, o.off.v, o.len.v, o.dir.v, o.lie.v, DMAUDIT_FOR_CPU);
    }
    Skip perform(const ops::SyncForDevice& o)
    {
        return sync(o.mapping.v, o.off.v, o.len.v, o.dir.v, o.lie.v, DMAUDIT_FOR_DEVICE);
    }
    Skip perform(const ops::CacheMaintenance&);
    Skip perform(const ops::DeclarePool&);
    Skip perform(const ops::AllocFromPool&);
    Skip perform(const ops::ReleaseFromPool&);
    Skip perform(const ops::MmapFromPool&);
    Skip perform(const ops::Munmap&);
    Skip perform(const ops::ReleasePool&);
    Skip perform(const ops::Evict& o)
    {
        return adversary(Machine::Act::evict, o.object.v, o.off.v, o.len.v, o.callback.v);
    }
    Skip perform(const ops::Prefetch& o)
    {
        return adversary(Machine::Act::prefetch, o.object.v, o.off.v, o.len.v, o.callback.v);
    }
    Skip perform(const ops::AllocOpaque&);
    Skip perform(const ops::MmapCoherent&);
    Skip perform(const ops::AllocNoncoherent&);
    Skip perform(const ops::FreeNoncoherent&);
    Skip perform(const ops::MapSg& o) { return map_sg(o, false); }
    Skip perform(const ops::UnmapSg& o) { return unmap_sg(o.sg.v, o.attrs.v, o.lie.v, false); }
    Skip perform(const ops::SyncSgForCpu& o) { return sync_sg(o.sg.v, o.dir.v, o.lie.v, DMAUDIT_FOR_CPU); }
    Skip perform(const ops::SyncSgForDevice& o) { return sync_sg(o.sg.v, o.dir.v, o.lie.v, DMAUDIT_FOR_DEVICE); }
    Skip perform(const ops::ExportBlock&);
    Skip perform(const ops::ExportPages&);
    Skip perform(const ops::DmaBufFd&);
    Skip perform(const ops::DmaBufGet&);
    Skip perform(const ops::DmaBufPut&);
    Skip perform(const ops::CloseFd&);
    Skip perform(const ops::DupFd&);
    Skip perform(const ops::Attach&);
    Skip perform(const ops::Detach&);
    Skip perform(const ops::MapAttachment&);
    Skip perform(const ops::UnmapAttachment&);
    Skip perform(const ops::BeginCpuAccess& o) { return bracket(o.buf.v, o.off.v, o.len.v, o.dir.v, true); }
    Skip perform(const ops::EndCpuAccess& o) { return bracket(o.buf.v, o.off.v, o.len.v, o.dir.v, false); }
    Skip perform(const ops::Kmap&);
    Skip perform(const ops::Vmap&);
    Skip perform(const ops::MmapDmaBuf&);
    Skip perform(const ops::Bind&);
    Skip perform(const ops::Unbind&);
    Skip perform(const ops::ManagedAlloc&);
    Skip perform(const ops::ManagedFree&);
    Skip perform(const ops::ManagedAllocNoncoherent&);
    Skip perform(const ops::ManagedFreeNoncoherent&);
    Skip perform(const ops::ManagedDeclare&);
    Skip perform(const ops::ManagedRelease&);
    Skip perform(const ops::AddAction&);
    Skip perform(const ops::OpenGroup&);
    Skip perform(const ops::ReleaseGroup&);
    Skip perform(const ops::SetMask&);
    Skip perform(const ops::SetCoherentMask&);
    Skip perform(const ops::SetMinAlignMask&);
    Skip perform(const ops::MapSingleWithin&);
    Skip perform(const ops::AllocPages&);
    Skip perform(const ops::FreePages&);
    Skip perform(const ops::MapSgtable&);
    Skip perform(const ops::MapSgWithin&);
    Skip perform(const ops::UnmapSgtable& o) { return unmap_sg(o.sg.v, o.attrs.v, o.lie.v, true); }
    Skip perform(const ops::SyncSgtableForCpu& o) { return sync_sg(o.sg.v, o.dir.v, o.lie.v, DMAUDIT_FOR_CPU, true); }
    Skip perform(const ops::SyncSgtableForDevice& o)
    {
        return sync_sg(o.sg.v, o.dir.v, o.lie.v, DMAUDIT_FOR_DEVICE, true);
    }
    Skip perform(const ops::MappingError&);
    Skip use_of_nothing(const Step&);
    Skip set_mask(uint64_t device, uint64_t mask, bool coherent);
    void open_masks();
    Skip perform(const ops::AtEnd& o)
    {
        // What is freed lazily may not be back yet, and a process may have but one instance.
        constexpr uint64_t special = DMAUDIT_TRAIT_LAZY_FLUSH | DMAUDIT_TRAIT_PROCESS_WIDE;
        if (o.dev.v >= case_.world.n_devices ||
            (o.abrupt.v ? !auditor_.promises(DMAUDIT_PROMISES_TEARDOWN) : auditor_.promises(special)))
            return Skip::impossible;
        o.abrupt.v ? void(abrupt_ = true) : void(measured_.set(o.dev.v));
        return Skip::executed;
    }
    Skip perform(const ops::Fail& o)
    {
        fails_beyond_ = o.nth.v == 0;
        return machine_.arm_fault(o.nth.v), Skip::executed;
    }
    Skip perform(const ops::FailOpen& o)
    {
        if (auditor_.promises(DMAUDIT_TRAIT_PROCESS_WIDE))
            return Skip::impossible;
        fails_open_ = o.nth.v;
        return Skip::executed;
    }
    Skip perform(const ops::Barrier&) { return auditor_.barrier(), Skip::executed; }
    Skip perform(const ops::CpuIndex& o) { return cpu_read(o.object.v, o.off.v, o.len.v, true); }
    Skip perform(const ops::Context& o) { return atomic_ = o.kind.v != 0, Skip::executed; }
    Skip perform(const ops::Starve& o) { return machine_.starve(o.end.v == 0), Skip::executed; }
    Skip sync(uint64_t mapping, uint64_t off, uint64_t len, uint64_t dir, uint64_t lie, uint32_t phase);
    Skip device_access(uint64_t object, uint64_t off, uint64_t len, uint64_t lie, bool write, uint64_t seed);
    bool loses_mapped_bytes(Range r, Range buffer) const;
    Skip adversary(Machine::Act act, uint64_t object, uint64_t off, uint64_t len, uint64_t nth);

    const Case& case_;
    Session& session_;
    Machine& machine_;
    Auditor& auditor_;
    const dmaudit_provider& provider_;
    Tally& tally_;
    std::array<std::bitset<max_names>, obj_kinds> made_;
    std::bitset<max_names> failed_maps_; // single mappings that failed, and whose error was not seen yet
    // Entries are valid where made_ says so.
    std::array<Tag, max_names> buffers_, pools_, windows_, sgs_, refs_, attachments_;
    std::array<dmaudit_mapping, max_names> mappings_;
    std::array<dmaudit_block, max_names> blocks_;
    std::array<uint8_t, 4096> scratch_;
    FirstRequests first_;
    std::bitset<MachineSpec::most> measured_;                      // devices
    std::optional<uint64_t> fails_open_;                           // at which platform call
    std::array<Capacity, MachineSpec::most> capacity_{}, fresh_{}; // at the end and of a fresh instance
    uint8_t op_ = 0;                              // of the step that is carried out
    std::array<uint64_t, op_count> fallible_{};   // platform calls that may fail, inside the last call of each op
    bool fails_beyond_ = false;                   // the next one fails if it makes more
    int returned_ = DMAUDIT_OK;
    bool atomic_ = false;                                          // the context
    bool abrupt_ = false;                                          // what is alive at the end is not given back
};
} // namespace dmaudit
