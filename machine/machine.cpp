#include "machine/machine.hpp"

#include "machine/bytes.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace dmaudit {

struct alignas(std::max_align_t) Machine::Meta {
    Meta *next, *prev;
    const Machine* owner; // null once given back: the heap keeps its own notes in the first words only
    size_t bytes;
    std::array<uint8_t, 16> front; // guard bytes, as there are behind
};

namespace {
// Behind each piece of metadata; AddressSanitizer has its own there.
#ifdef DMAUDIT_ASAN
constexpr size_t guard_bytes = 0;
#else
constexpr size_t guard_bytes = 16;
#endif
constexpr uint8_t guard_value = 0xa5;
} // namespace

uint8_t* Machine::guard_of(Meta* meta)
{
    return reinterpret_cast<uint8_t*>(meta + 1) + meta->bytes;
}

// What was given back is nothing that anybody could take for his own; of large pieces the beginning.
void Machine::deface(Meta* meta)
{
    if (guard_bytes)
        std::memset(static_cast<void*>(meta + 1), guard_value, std::min<size_t>(meta->bytes, 4096));
}

Machine::Machine() : cache_(ram_.door())
{
    platform_.abi = DMAUDIT_ABI;
    platform_.struct_size = sizeof platform_;
    platform_.self = this;
    platform_.banks = banks_.data();
    platform_.arenas = arenas_.data();
    platform_.devices = devices_.data();
    platform_.clean = [](void* self, uint64_t phys, uint64_t len) {
        Machine& m = of(self);
        if (const auto at = m.offset_of(phys, len)) {
            m.enter(PlatformCall::clean, *at, len);
            m.cache_.clean(*at, len);
        }
    };
    platform_.invalidate = [](void* self, uint64_t phys, uint64_t len) {
        Machine& m = of(self);
        if (const auto at = m.offset_of(phys, len)) {
            m.enter(PlatformCall::invalidate, *at, len);
            m.cache_.invalidate(*at, len);
        }
    };
    platform_.set_uncached = [](void* self, uint64_t phys, uint64_t len, int on) -> int {
        Machine& m = of(self);
        const auto at = m.offset_of(phys, len);
        if (!at || len == 0 || *at % m.spec_.page || len % m.spec_.page)
            return DMAUDIT_EINVAL;
        m.enter(PlatformCall::set_uncached, *at, len);
        if (on && m.observer_ && !m.observer_->may_uncache(*at, len))
            return DMAUDIT_EBUSY;
        if (on && m.injected())
            return DMAUDIT_ENOMEM;
        m.cache_.set_uncached(*at, len, on != 0);
        return DMAUDIT_OK;
    };
    platform_.meta_alloc = [](void* self, size_t bytes) -> void* {
        Machine& m = of(self);
        m.enter(PlatformCall::meta_alloc, 0, bytes);
        m.fault_fired_ |= m.starving_;
        if (m.injected() || m.starving_ || bytes > most_metadata - m.meta_bytes_)
            return nullptr;
        auto* meta = static_cast<Meta*>(std::malloc(sizeof(Meta) + bytes + guard_bytes));
        if (!meta)
            return nullptr;
        *meta = {m.metas_, nullptr, &m, bytes, {}};
        meta->front.fill(guard_value);
        m.meta_bytes_ += bytes;
        if (m.metas_)
            m.metas_->prev = meta;
        m.metas_ = meta;
        std::memset(guard_of(meta), guard_value, guard_bytes);
        constexpr uint8_t fresh[] = {0xff, 0, guard_value, 1}; // what was never written may be anything
        std::memset(static_cast<void*>(meta + 1), fresh[m.metas_made_++ % sizeof fresh], bytes);
        return meta + 1;
    };
    platform_.meta_free = [](void* self, void* p) {
        if (!p)
            return;
        Machine& m = of(self);
        m.enter(PlatformCall::meta_free, 0, 0);
        Meta* meta = static_cast<Meta*>(p) - 1;
        if (meta->owner != &m) { // a real heap would be damaged
            m.meta_error_ = true;
            return;
        }
        m.meta_overrun_ |=
            std::any_of(meta->front.begin(), meta->front.end(), [](uint8_t b) { return b != guard_value; }) ||
            std::any_of(guard_of(meta), guard_of(meta) + guard_bytes, [](uint8_t b) { return b != guard_value; });
        deface(meta);
        meta->owner = nullptr;
        m.meta_bytes_ -= meta->bytes;
        (meta->prev ? meta->prev->next : m.metas_) = meta->next;
        if (meta->next)
            meta->next->prev = meta->prev;
        std::free(meta);
    };
    platform_.lock = [](void* self, uint64_t* word) {
        Machine& m = of(self);
        m.enter(PlatformCall::lock, 0, 0);
        if (*word != 0)
            m.lock_error_ = true; // a real one would wait for ever
        *word = 1;
        m.locks_held_++;
    };
    platform_.unlock = [](void* self, uint64_t* word) {
        Machine& m = of(self);
        m.enter(PlatformCall::unlock, 0, 0);
        if (*word != 1)
            m.lock_error_ = true;
        else
            m.locks_held_--;
        *word = 0;
    };
    platform_.log = [](void* self, const char* text) {
        Machine& m = of(self);
        (m.log_ += text) += '\n';
        if (m.log_.size() > 4096)
            m.log_.resize(4096);
    };
    platform_.has_iommu = [](void* self, uint32_t device) -> int {
        const MachineSpec& spec = of(self).spec_;
        return device < spec.n_devices && spec.devices[device].iommu;
    };
    platform_.iommu_map = [](void* self, uint32_t device, uint64_t iova, uint64_t phys, uint64_t len, uint32_t rights) {
        return of(self).iommu_map(device, iova, phys, len, rights);
    };
    platform_.iommu_unmap = [](void* self, uint32_t device, uint64_t iova, uint64_t len) {
        return of(self).iommu_unmap(device, iova, len);
    };
    platform_.iommu_flush = [](void* self, uint32_t device) {
        Machine& m = of(self);
        m.enter(PlatformCall::iommu_flush, 0, 0);
        if (device < m.spec_.n_devices)
            m.iommus_[device].flush();
    };
}

Machine::~Machine()
{
    reset();
}

void Machine::configure(const MachineSpec& spec, MachineObserver* observer)
{
    spec_ = spec;
    observer_ = observer;
    cache_.set_observer(observer);
    platform_.page = spec.page;
    platform_.line = spec.line;
    platform_.n_banks = platform_.n_arenas = spec.n_banks;
    platform_.n_devices = spec.n_devices;
    ram_size_ = 0;
    for (unsigned i = 0; i < spec.n_banks; i++) {
        const auto& b = spec.banks[i];
        bank_at_[i] = ram_size_;
        banks_[i] = {b.phys, b.size, ram_.door() + ram_size_};
        arenas_[i] = {b.phys, b.arena};
        ram_size_ += b.size;
    }
    bool simulated = false;
    for (unsigned i = 0; i < spec.n_devices; i++) {
        const auto& d = spec.devices[i];
        devices_[i] = {sizeof(dmaudit_device), d.coherent ? 1u : 0u, d.limit, d.offset};
        simulated |= !d.coherent && !spec.one_view;
    }
    for (; filled_ < ram_size_; filled_ += 4096)
        copy_bytes(ram_.door() + filled_, Ram::initial_page(), 4096);
    cache_.configure(ram_size_, spec.page, spec.line, simulated);
    n_armed_ = fired_ = locks_held_ = 0;
    calls_ = fallible_ = fault_nth_ = 0;
    starving_ = fault_fired_ = lock_error_ = meta_error_ = meta_overrun_ = false;
    log_.clear();
}

void Machine::reset()
{
    cache_.reset();
    // A provider writes through raw pointers: only a comparison finds what it wrote.
    for (uint64_t at = 0; at < ram_size_; at += 4096)
        if (!same_page(ram_.door() + at, Ram::initial_page()))
            copy_bytes(ram_.door() + at, Ram::initial_page(), 4096);
    for (unsigned i = 0; i < spec_.n_devices; i++)
        iommus_[i].clear();
    while (metas_) {
        Meta* next = metas_->next;
        std::free(metas_);
        metas_ = next;
    }
    meta_bytes_ = metas_made_ = 0;
}

std::optional<uint64_t> Machine::offset_of(uint64_t phys, uint64_t len) const
{
    for (unsigned i = 0; i < spec_.n_banks; i++) {
        const auto& b = spec_.banks[i];
        if (phys >= b.phys && phys - b.phys < b.size && len <= b.size - (phys - b.phys))
            return bank_at_[i] + (phys - b.phys);
    }
    return {};
}

uint64_t Machine::phys_of(uint64_t offset) const
{
    unsigned i = spec_.n_banks - 1;
    while (i > 0 && offset < bank_at_[i])
        i--;
    return spec_.banks[i].phys + (offset - bank_at_[i]);
}

std::optional<uint64_t> Machine::translate(unsigned device, uint64_t bus, uint64_t len, uint8_t rights) const
{
    if (device >= spec_.n_devices || bus == DMAUDIT_NO_ADDRESS)
        return {};
    if (spec_.devices[device].iommu)
        return iommus_[device].translate(spec_.page, bus, len, rights);
    return offset_of(bus - spec_.devices[device].offset, len);
}

std::optional<uint64_t> Machine::reach(unsigned device, uint64_t bus, uint64_t len, unsigned rights) const
{
    const auto at = translate(device, bus, len, static_cast<uint8_t>(rights));
    if (!at || bus > spec_.devices[device].limit || (len && len - 1 > spec_.devices[device].limit - bus))
        return {};
    return at;
}

uint64_t Machine::translations() const
{
    uint64_t n = 0;
    for (unsigned i = 0; i < spec_.n_devices; i++)
        n += iommus_[i].pages();
    return n;
}

uint64_t Machine::stale_translations() const
{
    uint64_t n = 0;
    for (unsigned i = 0; i < spec_.n_devices; i++)
        n += iommus_[i].stale_pages();
    return n;
}

int Machine::iommu_map(unsigned device, uint64_t iova, uint64_t phys, uint64_t len, uint32_t rights)
{
    if (device >= spec_.n_devices || !spec_.devices[device].iommu)
        return DMAUDIT_ENODEV;
    const auto at = offset_of(phys, len);
    const uint64_t page = spec_.page, last = iova + (len - 1);
    if (!at || len == 0 || iova % page || phys % page || len % page || last < iova || last == DMAUDIT_NO_ADDRESS ||
        last > spec_.devices[device].limit || rights == 0 || rights > (DMAUDIT_IOMMU_READ | DMAUDIT_IOMMU_WRITE))
        return DMAUDIT_EINVAL;
    enter(PlatformCall::iommu_map, *at, len);
    if (injected())
        return DMAUDIT_ENOMEM;
    return iommus_[device].map(page, iova, *at, len, static_cast<uint8_t>(rights)) ? DMAUDIT_OK : DMAUDIT_EINVAL;
}

int Machine::iommu_unmap(unsigned device, uint64_t iova, uint64_t len)
{
    if (device >= spec_.n_devices || !spec_.devices[device].iommu)
        return DMAUDIT_ENODEV;
    if (len == 0 || iova % spec_.page || len % spec_.page || len > Ram::capacity || iova + (len - 1) < iova)
        return DMAUDIT_EINVAL;
    enter(PlatformCall::iommu_unmap, 0, len);
    return iommus_[device].unmap(spec_.page, iova, len) ? DMAUDIT_OK : DMAUDIT_EINVAL;
}

void Machine::device_read(unsigned device, uint64_t at, uint64_t len, uint8_t* out) const
{
    if (!cache_.simulated() || coherent(device))
        copy_bytes(out, ram_.door() + at, len);
    else
        cache_.read(at, len, out);
}

void Machine::device_write(unsigned device, uint64_t at, uint64_t len, const uint8_t* in)
{
    if (!cache_.simulated() || coherent(device))
        cache_.coherent_write(at, len, in);
    else
        cache_.write(at, len, in);
}

bool Machine::arm(Act act, uint64_t at, uint64_t len, uint64_t nth)
{
    if (n_armed_ == most_armed)
        return false;
    armed_[n_armed_++] = {act, at, len, nth};
    return true;
}

void Machine::arm_fault(uint64_t nth)
{
    fault_nth_ = nth;
    fault_fired_ = false;
}

unsigned Machine::end_call()
{
    const unsigned fired = fired_;
    n_armed_ = fired_ = 0;
    fault_nth_ = 0;
    return fired;
}

void Machine::enter(PlatformCall call, uint64_t at, uint64_t len)
{
    calls_++;
    for (unsigned i = 0; i < n_armed_; i++)
        if (armed_[i].nth == calls_) {
            fired_++;
            if (armed_[i].act == Act::evict)
                cache_.evict(armed_[i].at, armed_[i].len);
            else
                cache_.prefetch(armed_[i].at, armed_[i].len);
        }
    if (observer_)
        observer_->platform_call(call, at, len);
}

bool Machine::injected()
{
    if (++fallible_ != fault_nth_) // counted from 1, so 0 is never met
        return false;
    fault_fired_ = true;
    return true;
}

} // namespace dmaudit
