#include "properties/bare.hpp"

#include "properties/support.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace dmaudit::properties {

Bare::Bare(Machine& machine, const World& w, const dmaudit_provider& provider)
    : world_(w), machine_(machine), provider_(provider)
{
    MachineSpec spec;
    spec.page = w.page;
    spec.line = w.line;
    spec.n_banks = w.n_banks;
    spec.n_devices = w.n_devices;
    for (unsigned i = 0; i < w.n_banks; i++)
        spec.banks[i] = {w.banks[i].phys, w.banks[i].size, divide(w, i).arena};
    for (unsigned i = 0; i < w.n_devices; i++)
        spec.devices[i] = {w.devices[i].limit, w.devices[i].offset, w.devices[i].coherent != 0,
                           w.devices[i].iommu != 0};
    machine_.configure(spec, nullptr);
    opened = provider_.open(&machine_.platform(), &ctx_);
    open_ = opened == DMAUDIT_OK;
}

Bare::~Bare()
{
    if (open_)
        provider_.close(ctx_);
    machine_.reset();
}

int Bare::mmap(const dmaudit_block& b, uint64_t pgoff, uint64_t pages, dmaudit_window& w)
{
    w = {};
    w.struct_size = sizeof w;
    return call([&] { return provider_.coherent->mmap(ctx_, &b, pgoff, pages, &w); });
}
int Bare::alloc_noncoherent(const dmaudit_request& r, uint32_t direction, dmaudit_block& b)
{
    b = {};
    b.struct_size = sizeof b;
    return call([&] { return provider_.coherent->alloc_noncoherent(ctx_, &r, direction, &b); });
}
int Bare::free_noncoherent(const dmaudit_block& b, uint32_t direction)
{
    return call([&] { return provider_.coherent->free_noncoherent(ctx_, &b, direction); });
}
int Bare::map_sg(const dmaudit_request& r, dmaudit_sg& sg)
{
    return call([&] { return provider_.scatter->map_sg(ctx_, &r, &sg); });
}
int Bare::unmap_sg(const dmaudit_sg& sg, uint32_t attrs)
{
    return call([&] { return provider_.scatter->unmap_sg(ctx_, &sg, sg.n_entries, attrs); });
}
void Bare::close()
{
    provider_.close(ctx_);
    open_ = false;
    RC_ASSERT(!machine_.metadata_kept());
    RC_ASSERT(machine_.cache().uncached_pages() == 0u);
    RC_ASSERT(machine_.locks_held() == 0u);
    RC_ASSERT(!machine_.lock_error());
}

int Bare::answered(int code)
{
    RC_ASSERT(code >= DMAUDIT_OK);
    RC_ASSERT(code <= DMAUDIT_EIO);
    RC_ASSERT(machine_.locks_held() == 0u);
    RC_ASSERT(!machine_.lock_error());
    return code;
}

int Bare::alloc(const dmaudit_request& r, dmaudit_block& out)
{
    out = {};
    out.struct_size = sizeof out;
    return call([&] { return provider_.coherent->alloc(ctx_, &r, &out); });
}
int Bare::free(const dmaudit_block& b)
{
    return call([&] { return provider_.coherent->free(ctx_, &b); });
}
int Bare::map(const dmaudit_request& r, void* cpu, uint32_t direction, dmaudit_mapping& out)
{
    out = {};
    out.struct_size = sizeof out;
    return call([&] { return provider_.streaming->map_single(ctx_, &r, cpu, direction, &out); });
}
int Bare::unmap(const dmaudit_mapping& m, uint64_t used, uint32_t attrs)
{
    return call([&] { return provider_.streaming->unmap_single(ctx_, &m, used, attrs); });
}
int Bare::sync(const dmaudit_mapping& m, uint64_t offset, uint64_t length, uint32_t direction, uint32_t phase)
{
    return call([&] { return provider_.streaming->sync(ctx_, &m, offset, length, direction, phase); });
}
int Bare::cache(void* cpu, uint64_t length, uint32_t op)
{
    return call([&] { return provider_.streaming->cache(ctx_, cpu, length, op); });
}
int Bare::declare(uint32_t device, uint64_t phys, uint64_t bus, uint64_t size, uint32_t exclusive)
{
    return call([&] { return provider_.pool->declare(ctx_, device, phys, bus, size, &exclusive); });
}
int Bare::alloc_from(uint32_t device, uint64_t size, dmaudit_block& out, int& ours)
{
    out = {};
    out.struct_size = sizeof out;
    ours = -1;
    const int code = call([&] { return provider_.pool->alloc_from(ctx_, device, size, &out, &ours); });
    RC_ASSERT((ours == 0 || ours == 1));
    return code;
}
int Bare::release_from(uint32_t device, uint32_t order, void* cpu, int& ours)
{
    ours = -1;
    const int code = call([&] { return provider_.pool->release_from(ctx_, device, order, cpu, &ours); });
    RC_ASSERT((ours == 0 || ours == 1));
    return code;
}
int Bare::mmap_from(uint32_t device, void* cpu, uint64_t size, uint64_t pgoff, uint64_t pages, dmaudit_window& out,
                    int& ours)
{
    out = {};
    out.struct_size = sizeof out;
    ours = -1;
    const int code =
        call([&] { return provider_.pool->mmap_from(ctx_, device, cpu, size, pgoff, pages, &out, &ours); });
    RC_ASSERT((ours == 0 || ours == 1));
    return code;
}
int Bare::release(uint32_t device)
{
    return call([&] { return provider_.pool->release(ctx_, device); });
}

bool Bare::in_ram(const void* cpu, uint64_t size) const
{
    const auto* p = static_cast<const uint8_t*>(cpu);
    for (const dmaudit_bank* b = machine_.platform().banks; b < machine_.platform().banks + machine_.platform().n_banks;
         b++) {
        const auto* base = static_cast<const uint8_t*>(b->cpu);
        if (p >= base && p < base + b->size)
            return size <= b->size - static_cast<uint64_t>(p - base);
    }
    return false;
}

uint8_t* Bare::client(uint64_t place, uint64_t size) const
{
    const auto offset = client_offset(world_, place, size);
    return offset ? at(*offset) : nullptr;
}

void Bare::cpu_write(uint8_t* to, const Bytes& bytes)
{
    if (bytes.empty())
        return;
    std::memcpy(to, bytes.data(), bytes.size());
    machine_.cpu_wrote(offset(to), bytes.size());
}

Bytes Bare::device_read(uint32_t device, uint64_t bus, uint64_t n) const
{
    Bytes out(n);
    each_page(device, bus, n, [&](uint64_t at, uint64_t done, uint64_t bytes) {
        machine_.device_read(device, at, bytes, out.data() + done);
    });
    return out;
}

void Bare::device_write(uint32_t device, uint64_t bus, const Bytes& bytes)
{
    each_page(device, bus, bytes.size(), [&](uint64_t at, uint64_t done, uint64_t n) {
        machine_.device_write(device, at, n, bytes.data() + done);
    });
}

// A segment that an IOMMU merged need not be in one piece in memory, as when one of its entries is bounced.
void Bare::each_page(uint32_t device, uint64_t bus, uint64_t n,
                     const std::function<void(uint64_t at, uint64_t done, uint64_t bytes)>& f) const
{
    for (uint64_t done = 0; done < n;) {
        const uint64_t bytes = std::min(n - done, world_.page - (bus + done) % world_.page);
        const auto at = machine_.reach(device, bus + done, bytes);
        RC_ASSERT(at.has_value());
        f(*at, done, bytes);
        done += bytes;
    }
}

void Bare::disturb(Rng& rng)
{
    for (uint64_t n = rng.below(4); n > 0; n--) {
        const uint64_t lines = machine_.ram_size() / world_.line, first = rng.below(lines), most = lines - first;
        const uint64_t count = 1 + rng.below(std::min<uint64_t>(most, rng.chance(1, 2) ? 2 : most));
        if (rng.chance(1, 2))
            machine_.cache().evict(first * world_.line, count * world_.line);
        else
            machine_.cache().prefetch(first * world_.line, count * world_.line);
    }
}

std::vector<std::pair<uint64_t, uint64_t>> Bare::capacity(uint32_t device)
{
    std::vector<std::pair<uint64_t, uint64_t>> out;
    std::vector<dmaudit_block> taken;
    for (uint64_t size = std::bit_ceil(machine_.ram_size()); size >= world_.page; size /= 2)
        for (;;) {
            dmaudit_block b;
            if (alloc({sizeof(dmaudit_request), device, size, 0, 0, 0, 0, 0}, b) != DMAUDIT_OK)
                break;
            out.emplace_back(size, b.bus);
            taken.push_back(b);
        }
    for (const dmaudit_block& b : taken)
        RC_ASSERT(free(b) == DMAUDIT_OK);
    return out;
}

World some_world(Rng& rng)
{
    return generated(rng.next(), "all", 0).world;
}

Bytes random_bytes(Rng& rng, uint64_t n)
{
    Bytes out(n);
    for (uint8_t& b : out)
        b = static_cast<uint8_t>(rng.next());
    return out;
}

// ---- the crowd ----

void Crowd::declare_pools()
{
    const World& w = bare_.world();
    const uint64_t pages = pool_space(w) / w.page;
    uint64_t next = 0;
    for (uint32_t device = 0; device < w.n_devices; device++) {
        const uint64_t size = 1 + rng_.below(pages);
        const uint32_t exclusive = rng_.chance(1, 2);
        const auto at = pool_offset(w, next * w.page, size * w.page);
        if (!at || rng_.chance(1, 4) || w.devices[device].iommu)
            continue;
        const uint64_t phys = bare_.machine().phys_of(*at);
        RC_ASSERT(bare_.declare(device, phys, phys + w.devices[device].offset, size * w.page, exclusive) == DMAUDIT_OK);
        pools_.push_back({device, phys, size * w.page});
        next += size;
    }
}

const Crowd::Pool* Crowd::pool_of(uint32_t device) const
{
    for (const Pool& p : pools_)
        if (p.device == device)
            return &p;
    return nullptr;
}

dmaudit_request Crowd::request()
{
    const World& w = bare_.world();
    dmaudit_request r{};
    r.struct_size = sizeof r;
    r.device = static_cast<uint32_t>(rng_.below(w.n_devices));
    r.size = rng_.chance(1, 2) ? 1 + rng_.below(w.page) : 1 + rng_.below(5 * w.page);
    if (rng_.chance(1, 3))
        r.align = uint64_t{1} << rng_.below(20);
    if (rng_.chance(1, 4))
        r.boundary = std::bit_ceil(r.size) << rng_.below(4);
    if (rng_.chance(1, 3)) {
        const BankSpec& bank = w.banks[rng_.below(w.n_banks)];
        r.limit = bank.phys + w.devices[r.device].offset + rng_.below(bank.size);
        if (rng_.chance(1, 3))
            r.limit |= w.page - 1;  // the last byte of a page
        else if (rng_.chance(1, 2)) // at the end of what begins with a page, or one byte short of it
            r.limit = (r.limit & ~(w.page - 1)) + r.size - 1 - rng_.below(2);
    }
    r.flags = rng_.chance(1, 2) ? DMAUDIT_ZERO : 0u;
    return r;
}

void Crowd::allocate(bool from_pool)
{
    dmaudit_request r = request();
    Block b;
    if (from_pool) {
        r.align = r.limit = r.boundary = 0; // the call has no room for them
        r.flags = DMAUDIT_ZERO;
        int ours = 0;
        if (bare_.alloc_from(r.device, r.size, b.block, ours) != DMAUDIT_OK || !ours) {
            refusals++;
            return;
        }
        RC_ASSERT(pool_of(r.device) != nullptr);
    } else if (bare_.alloc(r, b.block) != DMAUDIT_OK) {
        refusals++;
        return;
    }
    RC_ASSERT(bare_.in_ram(b.block.cpu, b.block.granted));
    const Pool* pool = pool_of(r.device);
    const uint64_t phys = bare_.phys(b.block.cpu);
    b.pooled = pool && phys >= pool->phys && phys - pool->phys < pool->size;
    RC_ASSERT((b.pooled || !from_pool));
    if (on_block)
        on_block(r, b);
    blocks_.push_back(b);
    bare_.cpu_write(static_cast<uint8_t*>(b.block.cpu), Bytes(b.block.granted, secret));
}

void Crowd::map()
{
    const World& w = bare_.world();
    dmaudit_request r = request();
    r.flags = 0;
    r.attrs = rng_.chance(1, 8) ? DMAUDIT_ATTR_SKIP_CPU_SYNC : 0u;
    const uint64_t place = rng_.below(client_space(w));
    uint8_t* cpu = bare_.client(place, r.size);
    for (const Mapping& m : mappings_) // lines of one mapping are no other's
        if (place / w.line <= (m.place + m.mapping.size - 1) / w.line &&
            m.place / w.line <= (place + r.size - 1) / w.line)
            cpu = nullptr;
    const auto direction = static_cast<uint32_t>(rng_.below(3));
    if (!cpu)
        return;
    Mapping m{};
    m.place = place;
    if (bare_.map(r, cpu, direction, m.mapping) != DMAUDIT_OK) {
        refusals++;
        return;
    }
    const auto target = bare_.machine().translate(r.device, m.mapping.bus, r.size);
    RC_ASSERT(target.has_value());
    m.where = bare_.at(*target);
    if (on_mapping)
        on_mapping(r, m);
    mappings_.push_back(m);
}

void Crowd::free(size_t i)
{
    const Block b = blocks_[i];
    blocks_.erase(blocks_.begin() + static_cast<ptrdiff_t>(i));
    if (b.pooled && rng_.chance(1, 2)) {
        int ours = 0;
        const uint64_t pages = (b.block.size - 1) / bare_.world().page + 1;
        RC_ASSERT(bare_.release_from(b.block.device, static_cast<uint32_t>(std::bit_width(pages - 1)), b.block.cpu,
                                     ours) == DMAUDIT_OK);
        RC_ASSERT(ours == 1);
    } else {
        RC_ASSERT(bare_.free(b.block) == DMAUDIT_OK);
    }
}

void Crowd::unmap(size_t i)
{
    const Mapping m = mappings_[i];
    mappings_.erase(mappings_.begin() + static_cast<ptrdiff_t>(i));
    const uint64_t used = rng_.chance(3, 4) ? m.mapping.size : rng_.below(m.mapping.size + 1);
    const uint32_t attrs = rng_.chance(1, 8) ? DMAUDIT_ATTR_SKIP_CPU_SYNC : 0u;
    RC_ASSERT(bare_.unmap(m.mapping, used, attrs) == DMAUDIT_OK);
}

void Crowd::step()
{
    const uint64_t what = rng_.below(10);
    if (what < 3)
        allocate(false);
    else if (what < 5)
        allocate(!pools_.empty());
    else if (what < 7)
        map();
    else if (what < 9 && !blocks_.empty())
        free(rng_.below(blocks_.size()));
    else if (!mappings_.empty())
        unmap(rng_.below(mappings_.size()));
}

void Crowd::give_back_everything()
{
    while (!blocks_.empty() || !mappings_.empty())
        if (rng_.below(blocks_.size() + mappings_.size()) < blocks_.size())
            free(rng_.below(blocks_.size()));
        else
            unmap(rng_.below(mappings_.size()));
}

void Crowd::release_pools()
{
    for (const Pool& p : pools_)
        RC_ASSERT(bare_.release(p.device) == DMAUDIT_OK);
    pools_.clear();
}

} // namespace dmaudit::properties
