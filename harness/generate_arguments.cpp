// The arguments of a step: which object, which of its bytes, which numbers.
#include "harness/binary_values.hpp"
#include "harness/generator.hpp"

#include <algorithm>
#include <bit>

namespace dmaudit {

uint64_t Generator::root(uint64_t name) const
{
    const Known* k = scope_.find(name);
    while (k && k->parent != Known::no_parent)
        k = &scope_.objects()[k->parent];
    return k ? k->name : 0;
}

// Stays with the same memory half of the time, else prefers young objects.
const Known* Generator::object(uint8_t kinds, bool dead)
{
    const unsigned n = scope_.count(kinds, !dead);
    if (n == 0)
        return nullptr;
    const bool stay = rng_.chance(1, 2) || loyal_;
    const auto first = static_cast<unsigned>(rng_.below(n)), second = static_cast<unsigned>(rng_.below(n));
    if (stay)
        for (unsigned k = 0; k < n; k++)
            if (const Known& o = scope_.recent(kinds, !dead, (first + k) % n); root(o.name) == focus_)
                return &o;
    return &scope_.recent(kinds, !dead, first < second ? first : second);
}

// The CPU writes all of a new buffer or block: most of what can be done with one needs that.
bool Generator::fill(Step& s)
{
    const Layout& l = layouts()[out_.steps[out_.count - 1u].op];
    constexpr uint8_t op = is<ops::CpuWrite>;
    if (!(l.makes & (obj_buffer | obj_block)))
        return false;
    const Known* k = scope_.find(out_.steps[out_.count - 1u].arg[l.def]);
    s = propose(op, false);
    s.arg[layouts()[op].use] = k->name;
    s.arg[layouts()[op].off] = 0;
    s.arg[layouts()[op].len] = k->length;
    return phases_.legal(s);
}

// Where errors count, the client tests a new mapping for one.
bool Generator::test(Step& s)
{
    const Step& last = out_.steps[out_.count - 1u];
    const Layout& l = layouts()[last.op];
    if (l.makes != obj_mapping)
        return false;
    s = Step{};
    s.op = is<ops::MappingError>;
    s.arg[0] = last.arg[l.def];
    return true;
}

// All that there can be of what the op makes, in bytes.
uint64_t Generator::all_of(uint8_t op, const Known* used)
{
    const World& w = scope_.world();
    const Division d = divide(w, static_cast<unsigned>(rng_.below(w.n_banks)));
    const Obj made = layouts()[op].makes;
    return used ? used->length : made == obj_buffer ? d.client : made == obj_pool ? d.pool : d.arena;
}

// All of it, a half or a quarter, a power of two of pages or any number of them, and about so much.
uint64_t Generator::many(uint8_t op, const Known* used)
{
    const uint64_t all = all_of(op, used), page = scope_.world().page, pages = all / page;
    switch (rng_.below(8)) {
    case 0:
        return pages ? page << rng_.below(static_cast<uint64_t>(std::bit_width(pages))) : all;
    case 1:
        return pages ? page * (1 + rng_.below(pages)) : all;
    case 2:
        return all - std::min(all, page * rng_.below(4));
    case 3:
        return (all >> rng_.below(3)) + rng_.below(3) - 1;
    default:
        return all >> rng_.below(3);
    }
}

// The last address of a device that has just room for the like of something there is.
uint64_t Generator::just_room(uint64_t device)
{
    const World& w = scope_.world();
    const DeviceSpec& d = w.devices[std::min<uint64_t>(device, w.n_devices - 1u)];
    const Known* k = object(obj_buffer | obj_block | obj_mapping, rng_.chance(1, 4));
    const uint64_t pages = k && k->length ? (k->length - 1) / w.page + 1 : 1;
    return (d.iommu ? w.page : w.banks[0].phys + d.offset) + pages * w.page - 1;
}

// Bytes before or behind the range that was used last, or that the CPU wrote: what a line, a page or a copy that is too
// long touches.
Interval Generator::next_to_last_range(const Known& k, bool before)
{
    const Interval wrote = phases_.wrote(k);
    const Interval last = !wrote.empty() && rng_.chance(2, 3) ? wrote : Interval{k.last.off, k.last.off + k.last.len};
    const uint64_t line = scope_.world().line, lengths[] = {1, line / 2, line, 2 * line, last.to - last.from};
    const uint64_t len = lengths[rng_.below(5)];
    if (before)
        return {last.from - std::min(len, last.from), last.from};
    return {last.to, last.to + (k.length > last.to ? std::min(len, k.length - last.to) : 0)};
}

// A few bytes of the range that was used last.
Interval Generator::in_last_range(const Known& k)
{
    const BytesUsed last = k.last.off < k.length ? k.last : BytesUsed{0, k.length};
    const uint64_t len = std::min(last.len, k.length - last.off), off = rng_.below(len);
    return {last.off + off, last.off + off + 1 + rng_.below(std::min(len - off, scope_.world().line))};
}

// Numbers at the ends of the numbers, and such that are refused: none is a client's mistake, and many a test of them is
// wrong.
void Generator::odd_number(Step& s)
{
    const auto fields = specs()[s.op].fields;
    std::array<size_t, max_args> numbers{};
    unsigned n = 0;
    for (size_t a = 0; a < fields.size(); a++)
        switch (fields[a].shape) {
        case Shape::size:
        case Shape::align:
        case Shape::limit:
        case Shape::pages:
        case Shape::nth:
        case Shape::boundary:
        case Shape::mask:
        case Shape::low_bits:
            numbers[n++] = a;
            break;
        default:
            break;
        }
    if (n == 0 || specs()[s.op].actor == Actor::machine)
        return;
    uint64_t& v = s.arg[numbers[rng_.below(n)]];
    switch (rng_.below(4)) {
    case 0:
        v = rng_.below(16);
        break;
    case 1:
        v = 0 - rng_.below(16);
        break;
    case 2:
        v += rng_.chance(1, 2) ? 1 : all_ones;
        break;
    default:
        v = (uint64_t{1} << rng_.below(64)) + rng_.below(3) - 1;
    }
}

// The object that the step is about, or another that it needs.
uint64_t Generator::pick(Draft& d, size_t field)
{
    const uint8_t op = d.step.op, objs = specs()[op].fields[field].objs;
    const bool dead = d.err && rng_.chance(1, 4);
    const Known* k = dead ? object(objs, true) : nullptr;
    for (unsigned tries = 0; !k && tries < 6; tries++)
        if (k = object(objs, false); k && tries < 5 && d.picky && !Phases::fits(op, *k))
            k = nullptr;
    if (field != layouts()[op].use)
        return k ? k->name : 0;
    d.used = k;
    if (loyal_ && op == is<ops::BeginCpuAccess> && rng_.chance(1, 2))
        d.mode = Draft::whole; // as most drivers do
    // A handover beside bytes that only the cache knows, more often than not.
    const bool hands_over = op == is<ops::SyncForCpu> || op == is<ops::SyncForDevice>;
    if (k && k->alive && hands_over && !phases_.wrote(*k).empty() && rng_.chance(3, 4))
        d.mode = Draft::before_last + (d.mode & 1);
    if (k && d.mode >= Draft::in_last && d.mode < Draft::last)
        d.range = d.mode < Draft::before_last ? in_last_range(*k) : next_to_last_range(*k, d.mode == Draft::before_last);
    else if (k && d.mode >= Draft::last) {
        const bool last = d.mode < Draft::whole_too && k->last.off <= k->length && k->last.len <= k->length - k->last.off;
        d.range = last ? Interval{k->last.off, k->last.off + k->last.len} : Interval{0, k->length};
    }
    return k ? k->name : 0;
}

// A page from which on so many are neither in a buffer nor exported; 0 if a few looks find none.
uint64_t Generator::free_page(uint64_t pages)
{
    const uint64_t page = scope_.world().page;
    uint64_t at = rng_.below(8);
    for (unsigned looks = 0; looks < 24; looks++, at++) {
        if (!client_offset(scope_.world(), at * page, pages * page)) {
            at = ~uint64_t{0}; // behind the last one is the first one
            continue;
        }
        const auto taken = [&](const Known& k) {
            const Step& s = out_.steps[made_at_[static_cast<size_t>(&k - scope_.objects().data())]];
            const uint64_t from = s.op == is<ops::ExportPages> ? unpack<ops::ExportPages>(s).at.v * page : k.place;
            return k.alive && (s.op == is<ops::ExportPages> || name_kind(k.name) == obj_buffer) &&
                   from < (at + pages) * page && at * page < from + k.length;
        };
        if (std::none_of(scope_.objects().begin(), scope_.objects().end(), taken))
            return at;
    }
    return 0;
}

// One argument of the step; those before it are there.
uint64_t Generator::argument(Draft& d, size_t field)
{
    const uint8_t op = d.step.op;
    const Layout& l = layouts()[op];
    const Field& f = specs()[op].fields[field];
    auto code = static_cast<uint16_t>(rng_.below(codes::code_literal));
    switch (f.shape) {
    case Shape::def:
        return name_of(static_cast<Obj>(f.objs), scope_.next(static_cast<Obj>(f.objs)));
    case Shape::use:
        return pick(d, field);
    case Shape::lie:
        if (d.err)
            return rng_.chance(1, 3) ? 1 + rng_.below(lie_count - 1) : 0;
        break;
    case Shape::used:
        if (d.err && d.used && rng_.chance(1, 3))
            return d.used->length + 1 + rng_.below(scope_.world().page); // more than was mapped
        break;
    case Shape::place: // on a line of its own mostly; else wherever the code says
        if (rng_.chance(3, 4))
            code = static_cast<uint16_t>(0x2000 | (code & 0xfff));
        if (const Known* k = crowded_ && rng_.chance(1, 2) ? object(l.makes, false) : nullptr)
            return k->place + k->length;
        break;
    case Shape::attrs:
        if (skips_)
            return words(Shape::attrs).back().value;
        break;
    case Shape::mask:
    case Shape::limit:
        if (rng_.chance(1, f.shape == Shape::mask ? 8 : 32)) {
            const auto fields = specs()[op].fields;
            const auto device =
                std::find_if(fields.begin(), fields.end(), [](const Field& g) { return g.shape == Shape::device; });
            return just_room(device == fields.end() ? 0 : d.step.arg[static_cast<size_t>(device - fields.begin())]);
        }
        break;
    case Shape::size:
        if (rng_.chance(1, large_ ? 2 : 16))
            return many(op, d.used);
        break;
    case Shape::nth:
        if (op == is<ops::ExportPages> && rng_.chance(3, 4))
            return free_page(std::min<uint64_t>(d.step.arg[l.pages], 8));
        break;
    default:
        break;
    }
    const bool of_range = (field == l.off || field == l.len) && l.off != Layout::absent && l.len != Layout::absent;
    if (d.used && d.mode >= Draft::in_last && of_range)
        return field == l.off ? d.range.from : d.range.to - d.range.from;
    return codes::value_of({scope_, d.step, l, d.used}, field, code);
}

// A scatterlist of whole pages: behind an IOMMU they can lie side by side, wherever they come from.
void Generator::whole_pages(Step& s)
{
    const Layout& l = layouts()[s.op];
    const auto fields = specs()[s.op].fields;
    const auto cut =
        std::find_if(fields.begin(), fields.end(), [](const Field& f) { return f.shape == Shape::sg_shape; });
    const Known* k = cut == fields.end() ? nullptr : scope_.find(s.arg[l.use]);
    if (!k || !rng_.chance(1, 4))
        return;
    const uint64_t page = scope_.world().page, first = (page - k->place % page) % page;
    const uint64_t pages = k->length > first ? (k->length - first) / page : 0;
    if (pages < 2)
        return;
    const uint64_t parts = 2 + rng_.below(std::min<uint64_t>(pages, 8) - 1), each = 1 + rng_.below(pages / parts);
    s.arg[l.off] = first;
    s.arg[l.len] = parts * each * page;
    s.arg[l.pages] = parts;
    if (rng_.chance(1, 2))
        s.arg[static_cast<size_t>(cut - fields.begin())] = sg_descending;
}

// Random arguments, by the same tables as random bytes.
Step Generator::propose(uint8_t op, bool err)
{
    Draft d;
    d.step.op = op;
    d.mode = static_cast<unsigned>(rng_.below(16));
    d.err = err;
    d.picky = !err || rng_.chance(3, 4);
    for (size_t a = 0; a < specs()[op].fields.size(); a++)
        d.step.arg[a] = argument(d, a);
    if (!err)
        whole_pages(d.step), phases_.complete(d.step);
    if (op == is<ops::Fail> && d.step.arg[0] == 0)
        d.step.arg[0] = 1 + rng_.below(8);
    return d.step;
}

} // namespace dmaudit
