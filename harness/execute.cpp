#include "harness/execute.hpp"

#include "harness/model.hpp"
#include "machine/bytes.hpp"

#include <bitset>
#include <cstring>

namespace dmaudit {
namespace {

// Arguments are any integers; what does not fit stays out of range.
uint32_t narrow(uint64_t v)
{
    return static_cast<uint32_t>(std::min<uint64_t>(v, UINT32_MAX));
}
uint32_t attrs_of(uint64_t word)
{
    return word ? DMAUDIT_ATTR_SKIP_CPU_SYNC : 0u;
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
        return Ops::visit(s.op, [&]<class Op>() { return perform(unpack<Op>(s)); });
    }
    void give_everything_back();
    bool failed() const { return session_.violation().has_value(); }

  private:
    // ---- names ----
    bool made(uint64_t name) const { return made_[static_cast<size_t>(obj_index(name_kind(name)))][name_number(name)]; }
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
        default:
            return windows_[n];
        }
    }
    uint8_t* client(Range r) const { return machine_.client() + r.at; }

    // ---- calls ----
    template <class F> auto call(F f)
    {
        machine_.begin_call();
        auto rc = f();
        const unsigned fired = machine_.end_call();
        tally_.evictions_inside += fired;
        tally_.faults += machine_.fault_fired();
        tally_.failures += rc > 0;
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
    void new_block(uint64_t name, const dmaudit_block& b, bool zeroed);

    Skip perform(const ops::Buffer&);
    Skip perform(const ops::FreeBuffer&);
    Skip perform(const ops::CpuRead&);
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
    Skip perform(const ops::Fail& o) { return machine_.arm_fault(o.nth.v), Skip::executed; }
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
    // Entries are valid where made_ says so.
    std::array<Tag, max_names> buffers_, pools_, windows_;
    std::array<dmaudit_mapping, max_names> mappings_;
    std::array<dmaudit_block, max_names> blocks_;
    std::array<uint8_t, 4096> scratch_;
    FirstRequests first_;
};

// ---- the data oracle ----

// After a legal call: what the CPU may read of `r` holds what it must.
void Run::expect_contents(Range r, bool bounced, bool handed_over)
{
    const auto wrong = session_.first_wrong(r);
    if (!wrong)
        return;
    const RuleId rule = !handed_over ? RuleId::corrupts_neighbour
                        : bounced    ? RuleId::stale_bounce
                                     : RuleId::missing_invalidate;
    session_.fail(
        {rule,
         0,
         {*wrong, 1},
         0,
         handed_over ? "the CPU does not see what was written last" : "a byte that nobody may have touched has changed",
         *session_.contents().at(*wrong),
         machine_.door()[*wrong],
         true});
}

void Run::check_device_read(Range original, Range target, uint32_t device, bool bounced)
{
    for (uint64_t done = 0; done < original.len;) {
        const uint64_t n = std::min<uint64_t>(original.len - done, scratch_.size());
        machine_.device_read(device, target.at + done, n, scratch_.data());
        const uint8_t* must = session_.contents().at(original.at + done);
        if (!same_bytes(scratch_.data(), must, n) && auditor_.audits()) {
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
                           true});
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
    const Tag t = auditor_.add_buffer({*at, o.size.v});
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

Skip Run::perform(const ops::CpuRead& o)
{
    if (!made(o.object.v))
        return Skip::not_made;
    const Tag t = tag(o.object.v);
    if (!auditor_.cpu_access(t, o.off.v, o.len.v, false))
        return Skip::illegal;
    const Range r{auditor_.bytes_of(t).at + o.off.v, o.len.v};
    if (name_kind(o.object.v) != obj_window) // read through the client's own alias: AddressSanitizer looks on
        for (uint64_t i = 0; i < r.len; i += scratch_.size())
            std::memcpy(scratch_.data(), client(r) + i, std::min<uint64_t>(r.len - i, scratch_.size()));
    expect_contents(r, false, false);
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
    session_.contents().fill(r, o.seed.v, machine_.door() + r.at, device + r.at, to);
    machine_.cpu_wrote(r.at, r.len);
    return Skip::executed;
}

Skip Run::device_access(uint64_t object, uint64_t off, uint64_t len, uint64_t lie, bool write, uint64_t seed)
{
    if (!made(object))
        return Skip::not_made;
    const Tag t = tag(object);
    const bool mapping = name_kind(object) == obj_mapping;
    const uint32_t own = mapping ? mappings_[name_number(object)].device : blocks_[name_number(object)].device;
    const uint32_t device = lie == lie_other_device ? other_device(own) : own;
    if (auditor_.alive(t) && !(mapping ? auditor_.mappings()[t].reachable : auditor_.blocks()[t].reachable))
        return Skip::impossible; // beyond what the device can drive, and the provider never promised otherwise
    if (!auditor_.device_access(device, t, off, len, write))
        return Skip::illegal;
    if (len == 0)
        return Skip::executed;
    const bool bounced = mapping && auditor_.mappings()[t].bounced;
    const Range original{auditor_.bytes_of(t).at + off, len};
    const uint64_t bus = (mapping ? mappings_[name_number(object)].bus : blocks_[name_number(object)].bus) + off;
    const auto at = machine_.reach(device, bus, len);
    if (!at) {
        session_.fail({RuleId::wrong_translation, 0, original, t, "the device faults on a legal access", 0, bus, true});
        return Skip::executed;
    }
    if (!write) {
        if (!mapping || !auditor_.mappings()[t].blind)
            check_device_read(original, {*at, len}, device, bounced);
        return Skip::executed;
    }
    const uint8_t* device_view = machine_.cache().simulated() ? machine_.cache().device_bytes() : machine_.door();
    for (uint64_t done = 0; done < len;) {
        const uint64_t n = std::min<uint64_t>(len - done, scratch_.size());
        session_.contents().fill({original.at + done, n}, seed + done, machine_.door() + *at + done,
                                 device_view + *at + done, scratch_.data());
        machine_.device_write(device, *at + done, n, scratch_.data());
        done += n;
    }
    return Skip::executed;
}

Skip Run::perform(const ops::DeviceRead& o)
{
    return device_access(o.object.v, o.off.v, o.len.v, o.lie.v, false, 0);
}
Skip Run::perform(const ops::DeviceWrite& o)
{
    return device_access(o.object.v, o.off.v, o.len.v, o.lie.v, true, o.seed.v);
}

// ---- coherent ----

dmaudit_block Run::lied_block(uint64_t name, uint64_t lie) const
{
    dmaudit_block b{};
    if (name_kind(name) == obj_mapping) { // freed with the wrong function
        const dmaudit_mapping& m = mappings_[name_number(name)];
        b = {sizeof b, m.device, m.cpu, m.bus, m.size, m.size, 0, 0, {m.cookie[0], 0}};
    } else
        b = blocks_[name_number(name)];
    const uint64_t page = case_.world.page;
    switch (lie) {
    case lie_size_less:
        b.size = b.size > page ? b.size / 2 : b.size - 1;
        break;
    case lie_size_more:
        b.size = b.size + (b.size + page - 1) / page * page;
        break;
    case lie_interior:
        b.cpu = static_cast<uint8_t*>(b.cpu) + case_.world.line, b.bus += case_.world.line;
        break;
    case lie_foreign:
        b.cpu = machine_.client() + (machine_.ram_size() - page), b.bus ^= page;
        break;
    case lie_other_device:
        b.device = other_device(b.device);
        break;
    default:
        break;
    }
    return b;
}

Skip Run::perform(const ops::AllocCoherent& o)
{
    if (!DMAUDIT_HAS(provider_.coherent, alloc))
        return Skip::impossible;
    if (o.dev.v >= case_.world.n_devices && case_.world.mode == Mode::conforming)
        return Skip::impossible;
    dmaudit_request req{sizeof req, narrow(o.dev.v), o.size.v, o.align.v, o.limit.v, 0, o.zero.v ? DMAUDIT_ZERO : 0u,
                        0};
    dmaudit_block b{};
    b.struct_size = sizeof b;
    const int rc = call([&] { return auditor_.alloc_coherent(req, &b); });
    if (rc != DMAUDIT_OK || failed())
        return rc == DMAUDIT_ENOMEM && !failed()
               ? check_exhaustion(session_, auditor_.pool_of(req.device),
                                  o.align.v > case_.world.page || o.limit.v ? 0 : o.size.v),
               Skip::executed : done(rc);
    const Tag pool = auditor_.blocks()[static_cast<Tag>(b.cookie[0])].pool;
    new_block(o.out.v, b, auditor_.promises(DMAUDIT_PROMISES_ZEROING) && (pool || o.zero.v));
    first_.coherent(req, pool, auditor_);
    return Skip::executed;
}

Skip Run::perform(const ops::FreeCoherent& o)
{
    if (!DMAUDIT_HAS(provider_.coherent, free))
        return Skip::impossible;
    if (!made(o.block.v))
        return Skip::not_made;
    if (o.lie.v == lie_other_kind) // the handle goes to dma_unmap_single
        return done(call([&] {
            const dmaudit_block& b = blocks_[name_number(o.block.v)];
            return auditor_.unmap_single(
                {sizeof(dmaudit_mapping), b.device, b.cpu, b.bus, b.size, DMAUDIT_BIDIRECTIONAL, 0, {b.cookie[0], 0}},
                every_byte, 0);
        }));
    const Tag t = tag(o.block.v);
    if (auditor_.alive(t))
        expect_contents(auditor_.bytes_of(t), false, false);
    return failed() ? Skip::executed
                    : done(call([&] { return auditor_.free_coherent(lied_block(o.block.v, o.lie.v)); }));
}

// ---- streaming ----

dmaudit_mapping Run::lied_mapping(uint64_t name, uint64_t lie) const
{
    dmaudit_mapping m{};
    if (name_kind(name) == obj_block) { // dma_sync_single on a coherent block
        const dmaudit_block& b = blocks_[name_number(name)];
        m = {sizeof m, b.device, b.cpu, b.bus, b.size, DMAUDIT_BIDIRECTIONAL, 0, {b.cookie[0], 0}};
    } else
        m = mappings_[name_number(name)];
    switch (lie) {
    case lie_size_less:
        m.size--;
        break;
    case lie_size_more:
        m.size++;
        break;
    case lie_interior:
        m.bus += 4;
        break;
    case lie_foreign:
        m.bus ^= case_.world.page;
        break;
    case lie_other_device:
        m.device = other_device(m.device);
        break;
    default:
        break;
    }
    return m;
}

uint32_t another_direction(uint64_t d)
{
    return d == DMAUDIT_TO_DEVICE ? DMAUDIT_FROM_DEVICE : DMAUDIT_TO_DEVICE;
}

Skip Run::perform(const ops::MapSingle& o)
{
    if (!DMAUDIT_HAS(provider_.streaming, map_single))
        return Skip::impossible;
    if (!made(o.buffer.v))
        return Skip::not_made;
    if (o.dev.v >= case_.world.n_devices && case_.world.mode == Mode::conforming)
        return Skip::impossible;
    const Tag t = tag(o.buffer.v);
    const Range whole = auditor_.bytes_of(t);
    if (o.off.v > machine_.ram_size() - whole.at)
        return Skip::impossible; // no such pointer
    const bool lives = auditor_.alive(t);
    if (lives && (o.off.v + o.len.v < o.off.v || o.off.v + o.len.v > whole.len) && case_.world.mode == Mode::conforming)
        return Skip::illegal;
    const Range r{whole.at + o.off.v, o.len.v};
    dmaudit_request req{sizeof req, narrow(o.dev.v), o.len.v, o.align.v, 0, 0, 0, attrs_of(o.attrs.v)};
    dmaudit_mapping m{};
    m.struct_size = sizeof m;
    const int rc = call([&] { return auditor_.map_single(req, client(r), narrow(o.dir.v), &m); });
    if (rc == DMAUDIT_OK && !failed()) {
        mappings_[name_number(o.out.v)] = m;
        make(o.out.v);
        if (auditor_.mappings()[static_cast<Tag>(m.cookie[0])].bounced)
            first_.bounce(req, r.at, narrow(o.dir.v));
    }
    if (lives && rc != Auditor::withheld)
        expect_contents(whole, false, false);
    return done(rc);
}

Skip Run::perform(const ops::UnmapSingle& o)
{
    if (!DMAUDIT_HAS(provider_.streaming, unmap_single))
        return Skip::impossible;
    if (!made(o.mapping.v))
        return Skip::not_made;
    if (o.lie.v == lie_other_kind) {
        if (!DMAUDIT_HAS(provider_.coherent, free))
            return Skip::impossible;
        return done(call([&] { return auditor_.free_coherent(lied_block(o.mapping.v, lie_none)); }));
    }
    dmaudit_mapping m = lied_mapping(o.mapping.v, o.lie.v);
    if (o.lie.v == lie_other_dir)
        m.direction = another_direction(m.direction);
    const Tag t = tag(o.mapping.v);
    const bool bounced = auditor_.mappings()[t].bounced;
    const int rc = call([&] { return auditor_.unmap_single(m, o.used.v, attrs_of(o.attrs.v)); });
    if (rc == DMAUDIT_OK && !failed()) {
        expect_contents(auditor_.bytes_of(t), bounced, true);
        expect_contents(auditor_.bytes_of(auditor_.mappings()[t].object), false, false);
    }
    return done(rc);
}

Skip Run::sync(uint64_t mapping, uint64_t off, uint64_t len, uint64_t dir, uint64_t lie, uint32_t phase)
{
    if (!DMAUDIT_HAS(provider_.streaming, sync))
        return Skip::impossible;
    if (!made(mapping))
        return Skip::not_made;
    const dmaudit_mapping m = lied_mapping(mapping, lie);
    uint32_t d = dir == same_direction ? m.direction : narrow(dir);
    if (lie == lie_other_dir)
        d = another_direction(d);
    if (lie == lie_size_more)
        len++;
    const int rc = call([&] { return auditor_.sync(m, off, len, d, phase); });
    if (rc == DMAUDIT_OK && !failed()) {
        const Tag t = tag(mapping);
        expect_contents({auditor_.bytes_of(t).at + off, len}, auditor_.mappings()[t].bounced, true);
        expect_contents(auditor_.bytes_of(auditor_.mappings()[t].object), false, false);
    }
    return done(rc);
}

// Mapped bytes that were never written back, because a bounce buffer or a coherent device has them: what an invalidate
// does to them differs between the copies, and no rule speaks of it.
bool Run::loses_mapped_bytes(Range r, Range buffer) const
{
    if (r.at + r.len < r.at || !buffer.contains(r) || r.empty())
        return false;
    bool loses = false;
    const Range lines = r.lines(case_.world.line).intersect(buffer);
    auditor_.map().for_each_run(lines, [&](Range run, uint8_t s) {
        const bool mapped =
            owner_of(s) == Owner::device || (owner_of(s) == Owner::cpu && direction_of(s) != Direction::none);
        for (uint64_t at = run.at; mapped && !loses && at < run.end(); at++)
            loses = machine_.cache().byte_dirty(at);
    });
    return loses;
}

Skip Run::perform(const ops::CacheMaintenance& o)
{
    if (!DMAUDIT_HAS(provider_.streaming, cache))
        return Skip::impossible;
    if (!made(o.buffer.v))
        return Skip::not_made;
    const Tag t = tag(o.buffer.v);
    if (o.op.v < DMAUDIT_FLUSH || o.op.v > DMAUDIT_FLUSH_INVALIDATE)
        return Skip::impossible; // no such operation
    if (o.op.v == DMAUDIT_INVALIDATE &&
        loses_mapped_bytes({auditor_.bytes_of(t).at + o.off.v, o.len.v}, auditor_.bytes_of(t)))
        return Skip::impossible;
    const int rc = call([&] { return auditor_.cache(t, o.off.v, o.len.v, narrow(o.op.v)); });
    if (rc == DMAUDIT_OK && !failed())
        expect_contents(auditor_.bytes_of(t), false, false);
    return done(rc);
}

// ---- pools ----

Skip Run::perform(const ops::DeclarePool& o)
{
    if (!DMAUDIT_HAS(provider_.pool, declare))
        return Skip::impossible;
    const auto at = pool_offset(case_.world, o.at.v, o.size.v);
    if (!at || o.dev.v >= case_.world.n_devices ||
        auditor_.map().first_in({*at, o.size.v}, transition(Event::pool_declare).rule))
        return Skip::impossible;
    const auto& d = case_.world.devices[o.dev.v];
    if (o.size.v && machine_.phys_of(*at) + d.offset + (o.size.v - 1) > d.limit)
        return Skip::impossible; // no client declares memory that its device cannot reach
    uint32_t exclusive = o.exclusive.v != 0;
    Tag t = 0;
    const int rc = call([&] { return auditor_.declare_pool(narrow(o.dev.v), {*at, o.size.v}, &exclusive, &t); });
    if (rc == DMAUDIT_OK && t) {
        pools_[name_number(o.out.v)] = t;
        make(o.out.v);
    }
    return done(rc);
}

Skip Run::perform(const ops::AllocFromPool& o)
{
    if (!DMAUDIT_HAS(provider_.pool, alloc_from))
        return Skip::impossible;
    if (!made(o.pool.v))
        return Skip::not_made;
    const Tag pool = tag(o.pool.v);
    dmaudit_block b{};
    int ours = 0;
    const int rc = call([&] { return auditor_.alloc_from_pool(pool, o.size.v, &b, &ours); });
    if (rc == Auditor::withheld || failed())
        return done(rc);
    if (ours && rc == DMAUDIT_OK) {
        new_block(o.out.v, b, auditor_.promises(DMAUDIT_PROMISES_ZEROING));
        first_.from_pool(pool, o.size.v);
    } else
        check_exhaustion(session_, pool, o.size.v);
    return Skip::executed;
}

Skip Run::perform(const ops::ReleaseFromPool& o)
{
    if (!DMAUDIT_HAS(provider_.pool, release_from))
        return Skip::impossible;
    if (!made(o.block.v))
        return Skip::not_made;
    const Tag t = tag(o.block.v);
    if (auditor_.alive(t))
        expect_contents(auditor_.bytes_of(t), false, false);
    if (failed())
        return Skip::executed;
    int ours = 0;
    return done(call([&] { return auditor_.release_from_pool(lied_block(o.block.v, o.lie.v), &ours); }));
}

Skip Run::perform(const ops::MmapFromPool& o)
{
    if (!DMAUDIT_HAS(provider_.pool, mmap_from))
        return Skip::impossible;
    if (!made(o.block.v))
        return Skip::not_made;
    Tag t = 0;
    int ours = 0;
    const int rc =
        call([&] { return auditor_.mmap_from_pool(lied_block(o.block.v, o.lie.v), o.pgoff.v, o.pages.v, &t, &ours); });
    if (t) {
        windows_[name_number(o.out.v)] = t;
        make(o.out.v);
    }
    return done(rc);
}

Skip Run::perform(const ops::Munmap& o)
{
    return made(o.window.v) ? done(auditor_.munmap(tag(o.window.v))) : Skip::not_made;
}

Skip Run::perform(const ops::ReleasePool& o)
{
    if (!DMAUDIT_HAS(provider_.pool, release))
        return Skip::impossible;
    if (!made(o.pool.v))
        return Skip::not_made;
    const int rc = call([&] { return auditor_.release_pool(tag(o.pool.v)); });
    return done(rc);
}

// ---- the adversary ----

Skip Run::adversary(Machine::Act act, uint64_t object, uint64_t off, uint64_t len, uint64_t nth)
{
    if (!made(object))
        return Skip::not_made;
    const Tag t = tag(object);
    if (!auditor_.alive(t))
        return Skip::impossible;
    Range r = name_kind(object) == obj_mapping ? auditor_.mappings()[t].target : auditor_.bytes_of(t);
    if (off > r.len || len > r.len - off)
        return Skip::impossible;
    r = {r.at + off, len};
    if (nth)
        return machine_.arm(act, r.at, r.len, nth) ? Skip::executed : Skip::impossible;
    act == Machine::Act::evict ? machine_.cache().evict(r.at, r.len) : machine_.cache().prefetch(r.at, r.len);
    return Skip::executed;
}

// ---- the end of a clean run ----

void Run::give_everything_back()
{
    machine_.arm_fault(0);
    for (uint32_t i = 0; i < auditor_.buffers().live_count() && !failed(); i++)
        expect_contents(auditor_.buffers()[auditor_.buffers().live(i)].at, false, false);
    for (uint32_t i = 0; i < auditor_.blocks().live_count() && !failed(); i++)
        expect_contents(auditor_.blocks()[auditor_.blocks().live(i)].at, false, false);
    while (!failed() && auditor_.mappings().live_count()) {
        const Tag t = auditor_.mappings().live(0);
        dmaudit_mapping m = auditor_.mappings()[t].inner;
        m.cookie[0] = t;
        m.device = auditor_.mappings()[t].device;
        m.size = auditor_.mappings()[t].original.len;
        const Range r = auditor_.mappings()[t].original;
        const bool bounced = auditor_.mappings()[t].bounced;
        int rc = call([&] { return auditor_.unmap_single(m, every_byte, 0); });
        if (rc == Auditor::withheld) { // the CPU wrote bytes that an unmap would throw away
            session_.forgive();
            rc = call([&] { return auditor_.unmap_single(m, every_byte, DMAUDIT_ATTR_SKIP_CPU_SYNC); });
        }
        if (!failed())
            expect_contents(r, bounced, true);
    }
    while (!failed() && auditor_.windows().live_count())
        auditor_.munmap(auditor_.windows().live(0));
    while (!failed() && auditor_.blocks().live_count()) {
        const Tag t = auditor_.blocks().live(0);
        const BlockRecord& rec = auditor_.blocks()[t];
        dmaudit_block b = rec.inner;
        b.cookie[0] = t;
        b.cpu = client(rec.at);
        b.size = rec.at.len;
        b.device = rec.device;
        int ours = 0;
        if (rec.pool && DMAUDIT_HAS(provider_.pool, release_from))
            call([&] { return auditor_.release_from_pool(b, &ours); });
        else
            call([&] { return auditor_.free_coherent(b); });
    }
    if (!failed())
        first_.repeat(session_);
    while (!failed() && auditor_.pools().live_count())
        call([&] { return auditor_.release_pool(auditor_.pools().live(0)); });
    while (!failed() && auditor_.buffers().live_count())
        auditor_.remove_buffer(auditor_.buffers().live(0));
}

} // namespace

bool Result::as_expected(const Expect& e) const
{
    if (open_error)
        return false;
    return e.kind == Expect::violation ? violation && violation->rule == e.rule : !violation;
}

void Tally::add(const Tally& o)
{
    const auto sum = [](auto& into, const auto& from) {
        for (size_t i = 0; i < into.size(); i++)
            into[i] += from[i];
    };
    cases += o.cases, steps += o.steps, executed += o.executed, not_made += o.not_made, illegal += o.illegal,
        impossible += o.impossible;
    sum(by_op, o.by_op);
    sum(skipped_by, o.skipped_by);
    evictions_inside += o.evictions_inside, faults += o.faults, failures += o.failures;
    marks.add(o.marks);
}

Result execute(const Case& c, const dmaudit_provider& provider, Session& session, Tally* tally, uint8_t* cells,
               Auditor::Trace* trace)
{
    Tally unused;
    Tally& t = tally ? *tally : unused;
    t.cases++;
    Result result;
    if ((result.open_error = session.open(c.world, provider)) != DMAUDIT_OK)
        return result;
    Auditor& auditor = session.auditor();
    const bool conforming = c.world.mode == Mode::conforming;
    auditor.forward_illegal(!conforming);
    auditor.cells = cells;
    auditor.trace = trace;
    auto* steps = dynamic_cast<StepTrace*>(trace);
    {
        Run run(c, session, provider, t);
        for (; result.step < c.count && !run.failed(); result.step++) {
            if (steps)
                steps->step(result.step);
            const Skip skip = run.step(c.steps[result.step]);
            t.steps++;
            switch (skip) {
            case Skip::executed:
                t.executed++, t.by_op[c.steps[result.step].op]++;
                break;
            case Skip::not_made:
                t.not_made++;
                break;
            case Skip::impossible:
                t.impossible++;
                break;
            case Skip::illegal:
                t.illegal++;
                if (conforming && auditor.violation() && rule(auditor.violation()->rule).fault == Fault::client) {
                    t.skipped_by[static_cast<size_t>(auditor.violation()->rule)]++;
                    session.forgive();
                }
                break;
            }
            if (run.failed())
                break;
        }
        if (!run.failed()) {
            if (steps)
                steps->step(c.count);
            run.give_everything_back();
        }
        if (steps && run.failed())
            steps->stopped(session);
    }
    t.marks.add(auditor.marks);
    session.close();
    result.violation = session.violation();
    return result;
}

} // namespace dmaudit
