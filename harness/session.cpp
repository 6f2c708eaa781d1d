#include "harness/session.hpp"

#include "machine/bytes.hpp"

#include <algorithm>

namespace dmaudit {

Session::Session() = default;

Session::~Session()
{
    if (is_open())
        close();
}

int Session::open(const World& w, const dmaudit_provider& provider, uint64_t failing)
{
    world_ = w;
    own_.reset();
    lost_.clear();
    by_session_ = false;
    MachineSpec spec;
    spec.page = w.page;
    spec.line = w.line;
    spec.n_banks = w.n_banks;
    spec.n_devices = w.n_devices;
    spec.one_view = one_view_;
    Surroundings around;
    std::array<Range, max_banks> arenas;
    uint64_t at = 0;
    for (unsigned i = 0; i < w.n_banks; i++) {
        const uint64_t arena = divide(w, i).arena;
        spec.banks[i] = {w.banks[i].phys, w.banks[i].size, arena};
        arenas[i] = {at, arena};
        at += w.banks[i].size;
    }
    for (unsigned i = 0; i < w.n_devices; i++) {
        DeviceSpec d = w.devices[i];
        if (!(provider.promises & DMAUDIT_PROMISES_IOMMU))
            d.iommu = 0;
        spec.devices[i] = {d.limit, d.offset, d.coherent != 0, d.iommu != 0};
        around.devices[i] = {d.limit, d.offset, d.coherent != 0, d.iommu != 0};
    }
    machine_.configure(spec, this);
    around.ram = machine_.ram_size();
    around.page = w.page;
    around.line = w.line;
    around.n_devices = w.n_devices;
    around.provider_view = machine_.door();
    around.client_view = machine_.client();
    machine_.arm_fault(failing);
    machine_.begin_call();
    const int rc = provider.open(&machine_.platform(), &ctx_);
    machine_.end_call();
    if (rc != DMAUDIT_OK) {
        look_behind(provider.promises, true);
        machine_.reset();
        return rc;
    }
    provider_ = &provider;
    auditor_.begin(around, *this, provider, ctx_, {arenas.data(), w.n_banks});
    return rc;
}

void Session::close()
{
    const bool sound = !violation();
    machine_.begin_call();
    auditor_.begin_close();
    provider_->close(ctx_);
    machine_.end_call();
    if (sound)
        look_behind(provider_->promises, false);
    if (auditor_.violation())
        own_ = auditor_.violation();
    auditor_.end();
    auditor_.forgive();
    machine_.reset();
    provider_ = nullptr;
}

// What nobody can give back any more when a provider was closed, or could not be opened.
void Session::look_behind(uint64_t promises, bool opening)
{
    const auto left = [&](RuleId rule, const char* by_open, const char* by_close, uint64_t count) {
        if (count)
            fail({rule, 0, {}, 0, opening ? by_open : by_close, 0, count, Numbers::values});
    };
    if (machine_.lock_error() || machine_.locks_held())
        fail({RuleId::no_progress,
              0,
              {},
              0,
              "a lock was taken twice, given back twice or kept",
              0,
              machine_.locks_held(),
              Numbers::values});
    if (machine_.meta_error())
        fail({RuleId::provider_crash, 0, {}, 0, "meta_free of what meta_alloc did not give, or twice"});
    if (machine_.meta_overrun())
        fail({RuleId::provider_crash, 0, {}, 0, "bytes before or behind what meta_alloc gave were written"});
    if (machine_.metadata_kept())
        fail({RuleId::lost_capacity,
              0,
              {},
              0,
              opening ? "open failed and left metadata memory behind" : "close left metadata memory behind"});
    left(RuleId::lost_capacity, "open failed and left pages mapped in an IOMMU", "close left pages mapped in an IOMMU",
         machine_.translations());
    if (!(promises & DMAUDIT_TRAIT_LAZY_FLUSH))
        left(RuleId::still_reachable,
             "open failed and left pages that a device still reaches: they were unmapped and not flushed",
             "close left pages that a device still reaches: they were unmapped and not flushed",
             machine_.stale_translations());
    left(RuleId::lost_capacity, "open failed and left pages uncached", "close left pages uncached",
         machine_.cache().uncached_pages());
}

void Session::fail(const Violation& v)
{
    if (violation())
        return;
    by_session_ = true;
    if (!is_open()) {
        own_ = v;
        return;
    }
    Violation seen = v;
    if (v.bytes.at < auditor_.map().size())
        seen.state = auditor_.map().at(v.bytes.at);
    auditor_.found(seen);
}

bool Session::may_uncache(uint64_t at, uint64_t len)
{
    if (is_open() && !auditor_.may_uncache({at, len})) // while it is opened nobody but the provider owns anything
        return false;
    if (const auto dirty = machine_.cache().first_dirty(at, len))
        fail({RuleId::missing_clean, 0, {*dirty, 1}, 0, "pages become uncached while a line in them is dirty"});
    return true;
}

namespace {

// By state: is the byte known to hold what was written last?
const std::array<bool, 256>& known()
{
    static const auto set_of = [] { // defined, and the CPU may read it, opaque memory through a window
        std::array<bool, 256> set{};
        for (unsigned i = 0; i < 256; i++) {
            const auto state = static_cast<uint8_t>(i);
            const Event read = owner_of(state) == Owner::opaque ? Event::window_read : Event::cpu_read;
            const bool waits = owner_of(state) != Owner::device && cache_of(state) == CacheState::device_wrote;
            set[i] =
                is_initialised(state) && owner_of(state) != Owner::guard && !waits && transition(read).rule[i] == 0;
        }
        return set;
    }();
    return set_of;
}

} // namespace

void Session::note_lost(uint64_t line_at)
{
    const uint8_t *cpu = machine_.door(), *device = machine_.cache().device_bytes();
    for (uint64_t at = line_at; at < line_at + world_.line && lost_.size() < 64; at++)
        if (const uint8_t must = *contents_.at(at); Contents::by_cpu(must) && cpu[at] == must && device[at] != must)
            return lost_.push_back(line_at);
}

bool Session::lost(uint64_t at) const
{
    return std::find(lost_.begin(), lost_.end(), at - at % world_.line) != lost_.end();
}

bool Session::all_known(Range r) const
{
    bool all = true;
    auditor_.map().for_each_run(r, [&](Range, uint8_t s) { all &= known()[s]; });
    return all;
}

std::optional<uint64_t> Session::first_wrong(Range r) const
{
    const uint8_t* ram = machine_.door();
    if (!auditor_.audits()) { // nobody knows what is defined: the same work, without a verdict
        [[maybe_unused]] volatile bool unused = false;
        const uint8_t* volatile same = ram + r.at;
        unused = same_bytes(ram + r.at, same, r.len);
        return {};
    }
    std::optional<uint64_t> wrong;
    if (same_bytes(ram + r.at, contents_.at(r.at), r.len)) // nearly always, whatever is known of them
        return wrong;
    auditor_.map().for_each_run(r, [&](Range run, uint8_t s) {
        if (wrong || !known()[s] || same_bytes(ram + run.at, contents_.at(run.at), run.len))
            return;
        uint64_t at = run.at;
        while (ram[at] == *contents_.at(at))
            at++;
        wrong = at;
    });
    return wrong;
}

} // namespace dmaudit
