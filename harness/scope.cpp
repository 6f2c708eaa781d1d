#include "harness/scope.hpp"
#include <algorithm>
#include <bit>

namespace dmaudit {
namespace {

std::array<Layout, op_count> make_layouts()
{
    std::array<Layout, op_count> all{};
    for (size_t op = 0; op < op_count; op++) {
        Layout& l = all[op];
        const auto fields = specs()[op].fields;
        l.n_fields = static_cast<uint8_t>(fields.size());
        const auto first = [](uint8_t& slot, uint8_t i) {
            if (slot == Layout::absent)
                slot = i;
        };
        for (uint8_t i = 0; i < l.n_fields; i++) {
            l.shapes[i] = fields[i].shape;
            l.objs[i] = fields[i].objs;
            if (fields[i].shape == Shape::def || fields[i].shape == Shape::use)
                l.names[l.n_names++] = i;
            switch (fields[i].shape) {
            case Shape::def:
                first(l.def, i);
                break;
            case Shape::use:
                first(l.use, i);
                break;
            case Shape::off:
                first(l.off, i);
                break;
            case Shape::len:
                first(l.len, i);
                break;
            case Shape::size:
                first(l.size, i);
                break;
            case Shape::pages:
                first(l.pages, i);
                break;
            case Shape::place:
                first(l.place, i);
                break;
            default:
                break;
            }
        }
        if (l.def != Layout::absent)
            l.makes = static_cast<Obj>(fields[l.def].objs);
        if (l.use != Layout::absent)
            l.needs = fields[l.use].objs;
    }
    for (Layout& l : all)
        for (size_t op = 0; op < op_count; op++)
            if (l.needs & all[op].makes)
                l.makers[l.n_makers++] = static_cast<uint8_t>(op);
    return all;
}

uint8_t device_of(uint64_t arg)
{
    return static_cast<uint8_t>(std::min<uint64_t>(arg, 0xff));
}
bool is_kind(Obj kind)
{
    return std::has_single_bit(static_cast<unsigned>(kind));
}
bool is_name(uint64_t v)
{
    return v <= name_of(obj_attachment, 0xff) && is_kind(name_kind(v));
}

} // namespace

const std::array<Layout, op_count>& layouts()
{
    static const std::array<Layout, op_count> all = make_layouts();
    return all;
}

Scope::Scope(const World& world) : world_(&world)
{
    for (unsigned b = 0; b < world.n_banks; b++) {
        const Division d = divide(world, b);
        const auto add = [](Space& s, uint64_t bytes) {
            s.start[s.parts] = s.total;
            s.bytes[s.parts++] = bytes;
            s.total += bytes;
            s.largest = std::max(s.largest, bytes);
        };
        add(clients_, d.client);
        add(pools_, d.pool);
    }
}

const Known* Scope::find(uint64_t name) const
{
    if (!is_name(name))
        return nullptr;
    const unsigned i = index_[static_cast<size_t>(obj_index(name_kind(name)))][name_number(name)];
    return i ? &objects_[i - 1] : nullptr;
}

Scope::Mask Scope::mask(uint8_t kinds, bool alive) const
{
    Mask m{};
    for (unsigned rest = kinds & ((1u << obj_kinds) - 1); rest; rest &= rest - 1)
        for (unsigned w = 0; w < m.size(); w++)
            m[w] |= masks_[alive][static_cast<size_t>(std::countr_zero(rest))][w];
    return m;
}

const Known& Scope::recent(uint8_t kinds, bool alive, unsigned k) const
{
    const Mask m = mask(kinds, alive);
    for (unsigned w = static_cast<unsigned>(m.size()); w-- > 0;)
        for (uint64_t bits = m[w]; bits; k--) {
            const unsigned top = 63 - static_cast<unsigned>(std::countl_zero(bits));
            if (k == 0)
                return objects_[w * 64 + top];
            bits &= ~(uint64_t{1} << top);
        }
    return objects_[0]; // not reached under the precondition
}

unsigned Scope::rank(const Known& object, uint8_t kinds) const
{
    const Mask m = mask(kinds, object.alive);
    unsigned younger = 0;
    for (auto i = static_cast<unsigned>(&object - objects_.data()) + 1; i < n_; i++)
        younger += static_cast<unsigned>(m[i / 64] >> i % 64 & 1);
    return younger;
}

unsigned Scope::next(Obj kind) const
{
    const auto k = static_cast<size_t>(obj_index(kind));
    if (!index_[k][next_[k]])
        return next_[k];
    unsigned n = 0; // the numbers have run over the top: take the first that is free
    while (n + 1 < max_names && index_[k][n])
        n++;
    return n;
}

void Scope::kill(const Known& object)
{
    const auto i = static_cast<unsigned>(&object - objects_.data());
    const auto kind = static_cast<size_t>(obj_index(name_kind(object.name)));
    objects_[i].alive = false;
    masks_[1][kind][i / 64] &= ~(uint64_t{1} << i % 64);
    masks_[0][kind][i / 64] |= uint64_t{1} << i % 64;
    counts_[1][kind]--;
    counts_[0][kind]++;
}

void Scope::remember(const Known& object, BytesUsed range)
{
    auto i = static_cast<unsigned>(&object - objects_.data());
    while (i < n_) { // parents are older than children: this ends
        objects_[i].last = range;
        range.off += objects_[i].base;
        i = objects_[i].parent;
    }
}

// What the driver of a device took goes with it, or with a group.
void Scope::kill_managed(const Step& step)
{
    const uint64_t device = step.arg[0];
    uint16_t first = 0;
    const bool group = step.op == Ops::index_of<ops::ReleaseGroup>();
    if (group && (first = first_of_group(device, step.arg[1])) == Known::no_parent)
        return;
    for (unsigned i = first; i < n_; i++)
        if (objects_[i].managed && objects_[i].device == device && objects_[i].alive)
            kill(objects_[i]);
    unsigned inner = group ? static_cast<unsigned>(step.arg[1]) + 1 : n_groups_; // these are closed, from the youngest
    for (unsigned i = n_groups_; i-- > 0 && inner;)
        if (groups_[i].device == device) {
            std::copy(groups_.begin() + i + 1, groups_.begin() + n_groups_, groups_.begin() + i);
            n_groups_--;
            inner--;
        }
}

void Scope::append(const Step& step)
{
    const Layout& l = layouts()[step.op];
    const Known* used = l.use == Layout::absent ? nullptr : find(step.arg[l.use]);
    const bool range = l.off != Layout::absent && l.len != Layout::absent;
    if (used && range)
        remember(*used, {step.arg[l.off], step.arg[l.len]});

    if (l.def != Layout::absent && n_ < max_steps && is_name(step.arg[l.def]) && !find(step.arg[l.def])) {
        Known& k = objects_[n_];
        k = Known{};
        k.name = step.arg[l.def];
        k.maker = step.op;
        k.managed = specs()[step.op].facets == facet_managed;
        k.device = k.managed ? device_of(step.arg[1]) : uint8_t{0};
        k.alive = true;
        k.parent = Known::no_parent;
        if (used) {
            k.parent = static_cast<uint16_t>(used - objects_.data());
            k.base = l.off == Layout::absent ? 0 : step.arg[l.off];
        }
        if (l.size != Layout::absent)
            k.length = step.arg[l.size];
        else if (l.len != Layout::absent)
            k.length = step.arg[l.len];
        else if (l.pages != Layout::absent) {
            if (__builtin_mul_overflow(step.arg[l.pages], world_->page, &k.length))
                k.length = all_ones;
        } else if (used)
            k.length = used->length; // another face of it
        k.place = l.place == Layout::absent ? 0 : step.arg[l.place];
        k.last = {0, k.length};
        const auto kind = static_cast<size_t>(obj_index(name_kind(k.name)));
        const unsigned number = name_number(k.name);
        index_[kind][number] = static_cast<uint8_t>(n_ + 1);
        next_[kind] = static_cast<uint8_t>(std::max<unsigned>(next_[kind], std::min(number + 1, max_names - 1)));
        masks_[1][kind][n_ / 64] |= uint64_t{1} << n_ % 64;
        counts_[1][kind]++;
        n_++;
    }
    if (used && specs()[step.op].ends == Ends::first_use && used->alive)
        kill(*used);
    if (specs()[step.op].ends == Ends::managed)
        kill_managed(step);
    if (step.op == Ops::index_of<ops::OpenGroup>() && n_groups_ < max_steps)
        groups_[n_groups_++] = {device_of(step.arg[0]), static_cast<uint16_t>(n_)};
}

uint64_t Scope::free_place(Obj kind, uint64_t at, uint64_t size) const
{
    const Space& s = space(kind);
    if (s.total == 0 || size > s.largest)
        return at;
    const uint64_t unit = kind == obj_pool ? world_->page : world_->line;
    at %= s.total;
    if (kind == obj_pool)
        at -= at % unit;
    const uint64_t phase = at & (unit - 1);
    unsigned part = 0;
    while (part + 1 < s.parts && at >= s.start[part + 1])
        part++;
    // The last round is the first part again, from its beginning.
    for (unsigned round = 0; round <= s.parts; round++, part = part + 1 < s.parts ? part + 1 : 0) {
        uint64_t c = round == 0 ? at : s.start[part] + phase;
        const uint64_t end = s.start[part] + s.bytes[part];
        while (c <= end && size <= end - c) {
            const Known* hit = nullptr;
            const Mask m = mask(kind, true);
            for (unsigned w = 0; w < m.size() && !hit; w++)
                for (uint64_t bits = m[w]; bits; bits &= bits - 1) {
                    const Known& k = objects_[w * 64 + static_cast<unsigned>(std::countr_zero(bits))];
                    if (k.place < c + size && c < k.place + k.length) {
                        hit = &k;
                        break;
                    }
                }
            if (!hit)
                return c;
            c = hit->place + hit->length;
            if (c > end) // also keeps the sum below from wrapping
                break;
            c += (phase - c) & (unit - 1);
        }
    }
    return at;
}

std::string case_error(const Case& c)
{
    if (std::string e = std::string(world_error(c.world)); !e.empty())
        return "world: " + e;
    const World plain;
    for (unsigned i = c.world.n_banks; i < max_banks; i++)
        if (!(c.world.banks[i] == plain.banks[i]))
            return "world: a bank beyond the number of banks is not at its default";
    for (unsigned i = c.world.n_devices; i < max_devices; i++)
        if (!(c.world.devices[i] == plain.devices[i]))
            return "world: a device beyond the number of devices is not at its default";
    if (c.world.mode != Mode::hostile && c.world.mode != Mode::conforming)
        return "world: unknown mode";
    const bool names_rule = c.expect.rule != RuleId::none && c.expect.rule < RuleId::count_;
    if (c.expect.kind > Expect::violation || (c.expect.kind == Expect::violation) != names_rule ||
        (!names_rule && c.expect.rule != RuleId::none))
        return "expect: a rule is named if and only if a violation is expected";
    if (c.count > max_steps)
        return "a case has at most " + std::to_string(max_steps) + " steps";

    Scope scope(c.world);
    for (unsigned i = 0; i < c.count; i++) {
        const Step& s = c.steps[i];
        const std::string where = "step " + std::to_string(i + 1) + ": ";
        if (s.op >= op_count)
            return where + "unknown op " + std::to_string(s.op);
        const auto fields = specs()[s.op].fields;
        for (size_t a = fields.size(); a < max_args; a++)
            if (s.arg[a])
                return where + "an argument that the op does not have is not 0";
        for (size_t a = 0; a < fields.size(); a++) {
            if (fields[a].shape == Shape::use) {
                const Known* k = scope.find(s.arg[a]);
                if (!k)
                    return where + "uses a name that is not defined";
                if (!(name_kind(s.arg[a]) & fields[a].objs))
                    return where + "uses a name of a kind that the op does not accept";
            } else if (fields[a].shape == Shape::def) {
                if (!is_name(s.arg[a]) || name_kind(s.arg[a]) != fields[a].objs)
                    return where + "defines a name of the wrong kind";
                if (scope.find(s.arg[a]))
                    return where + "defines a name for the second time";
            }
        }
        scope.append(s);
    }
    return {};
}

} // namespace dmaudit
