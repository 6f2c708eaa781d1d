// A session: one machine, one provider opened on it, and the auditor between it and the client. Machines are costly to
// make and cheap to reset, so a session object is used for case after case.
#pragma once
#include "harness/contents.hpp"
#include "harness/world.hpp"
#include "machine/machine.hpp"
#include "shadow/auditor.hpp"

#include <vector>

namespace dmaudit {

class Session final : MachineObserver, Evidence {
  public:
    Session();
    ~Session() override;

    // Build the world and open the provider on it. Returns the provider's code. `failing`: which platform call of those
    // that may fail fails (0: none). What a provider leaves behind that could not be opened is a violation.
    int open(const World&, const dmaudit_provider&, uint64_t failing = 0);
    // Close the provider; the machine is reset. What the provider did not give back is a violation.
    void close();
    bool is_open() const { return provider_ != nullptr; }

    // Ablation, for the next sessions. `shadow` off: the auditor only passes calls on and remembers them; what the CPU
    // and devices read is still compared, which takes a case that is legal. `views` off: memory has one view, as if
    // every device snooped (what providers are told does not change).
    void ablate(bool shadow, bool views)
    {
        auditor_.audit(shadow);
        blind_reads_ = !shadow;
        one_view_ = !views;
    }
    bool compares_all_reads() const { return blind_reads_; }
    // Takes CPU reads for impossible where not every byte is known: what remains can be compared without a shadow.
    void only_known_reads(bool on) { only_known_ = on; }
    bool can_compare(Range r) const { return !only_known_ || all_known(r); }
    // Was the violation found by something else than the auditor: data, capacity, locks, what close left behind?
    bool found_without_auditor() const { return by_session_; }

    Machine& machine() { return machine_; }
    const Machine& machine() const { return machine_; }
    Auditor& auditor() { return auditor_; }
    const Auditor& auditor() const { return auditor_; }
    Contents& contents() { return contents_; }
    const Contents& contents() const { return contents_; }
    const World& world() const { return world_; }

    // Violations by the machine itself or by the data oracle land beside the auditor's; the first one counts.
    const std::optional<Violation>& violation() const { return auditor_.violation() ? auditor_.violation() : own_; }
    void fail(const Violation& v);
    // Only the auditor's verdict on the client is taken back.
    void forgive() { auditor_.forgive(); }

    // Told of each platform call before it takes effect. May be null.
    struct Probe {
        virtual ~Probe() = default;
        virtual void platform_call() = 0;
    }* probe = nullptr;

    // The provider's hash of its own state; false: it has none.
    bool provider_hash(uint64_t hash[2]) const
    {
        return DMAUDIT_HAS(provider_, state_hash) && provider_->state_hash(ctx_, hash) == DMAUDIT_OK;
    }

    // Bytes that the CPU may read, are defined, and do not hold what they must: the first one.
    std::optional<uint64_t> first_wrong(Range) const;
    // Was the line of this byte dropped when nobody but the cache knew what the CPU had written in it?
    bool lost(uint64_t at) const;

  private:
    void note_lost(uint64_t line_at);
    void look_behind(uint64_t promises, bool opening);

    // MachineObserver
    void platform_call(PlatformCall, uint64_t, uint64_t) override
    {
        if (probe)
            probe->platform_call();
    }
    bool may_uncache(uint64_t at, uint64_t len) override;
    void writeback_over_stale(uint64_t line_at) override
    {
        if (is_open())
            auditor_.writeback_over_stale(line_at);
    }
    void drops_dirty(uint64_t line_at, uint64_t, uint64_t) override
    {
        if (!is_open())
            return;
        auditor_.drops_dirty(line_at);
        note_lost(line_at);
    }
    // Evidence
    std::optional<uint64_t> translate(unsigned device, uint64_t bus, uint64_t len) const override
    {
        return machine_.translate(device, bus, len);
    }
    bool reaches(unsigned device, uint64_t bus, uint64_t len, bool reads, bool writes) const override
    {
        const unsigned rights = (reads ? unsigned{Iommu::read} : 0u) | (writes ? unsigned{Iommu::write} : 0u);
        return machine_.reach(device, bus, len, rights).has_value();
    }
    std::optional<uint64_t> offset_of(uint64_t phys, uint64_t len) const override
    {
        return machine_.offset_of(phys, len);
    }
    uint64_t phys_of(uint64_t offset) const override { return machine_.phys_of(offset); }
    std::optional<uint64_t> first_difference(Range r) const override
    {
        return machine_.cache().first_difference(r.at, r.len);
    }
    std::optional<uint64_t> first_dirty(Range r) const override { return machine_.cache().first_dirty(r.at, r.len); }
    bool byte_dirty(uint64_t at) const override { return machine_.cache().byte_dirty(at); }
    std::optional<uint64_t> first_stale(Range r) const override { return machine_.cache().first_stale(r.at, r.len); }
    bool uncached(Range r) const override { return machine_.cache().all_uncached(r.at, r.len); }
    uint64_t uncached_pages() const override { return machine_.cache().uncached_pages(); }
    uint64_t translations_added() const override { return machine_.translations_added(); }
    bool fault_injected() const override { return machine_.fault_fired(); }
    void reload(Range r) override { machine_.cache().prefetch(r.at, r.len); }
    void wrote(Range r) override { machine_.cpu_wrote(r.at, r.len); }

    Machine machine_;
    Auditor auditor_;
    Contents contents_;
    World world_;
    const dmaudit_provider* provider_ = nullptr;
    void* ctx_ = nullptr;
    bool all_known(Range) const;
    bool only_known_ = false, one_view_ = false, blind_reads_ = false, by_session_ = false;
    std::optional<Violation> own_;
    std::vector<uint64_t> lost_; // lines; some of them, if there are many
};

} // namespace dmaudit
