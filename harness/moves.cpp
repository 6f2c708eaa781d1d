#include "harness/moves.hpp"

#include "harness/scope.hpp"

#include <algorithm>
#include <fmt/format.h>

namespace dmaudit {
namespace {

constexpr std::string_view scope_names[] = {"small", "deep", "iommu", "bounce"};

struct FacetName {
    std::string_view name;
    uint32_t bits;
};
constexpr FacetName facet_names[] = {{"streaming", facet_streaming},
                                     {"coherent", facet_coherent},
                                     {"pool", facet_pool},
                                     {"handles", facet_opaque},
                                     {"noncoherent", facet_noncoherent},
                                     {"scatter", facet_scatter},
                                     {"managed", facet_managed},
                                     {"dma_buf", facet_dma_buf},
                                     {"strict", facet_coherent | facet_strict},
                                     {"all", all_facets}};
constexpr auto names_of_facets = [] {
    std::array<std::string_view, std::size(facet_names)> names{};
    for (size_t i = 0; i < names.size(); i++)
        names[i] = facet_names[i].name;
    return names;
}();

// A bank of 8 pages, of which 4 are the provider's, 2 can be pools and 2 are clients'; without pools half of that. One
// device does not snoop the cache, the other does.
World small_world(uint32_t facets, std::string_view scope)
{
    World w;
    w.mode = Mode::conforming;
    const bool pages = (facets & (facet_pool | facet_managed | facet_dma_buf)) != 0;
    w.banks[0] = {0x80000000, (pages ? 8 : 4) * w.page};
    w.n_devices = 2;
    w.devices[0].coherent = 0;
    w.devices[1].coherent = 1;
    w.strict.weak_order = w.strict.single_fetch = w.strict.untrusted = (facets & facet_strict) != 0;
    if (scope == "iommu")
        w.devices[0].iommu = 1;
    if (scope == "bounce") // nothing of a client's is in reach
        w.devices[0].limit = w.devices[1].limit = w.banks[0].phys + divide(w, 0).arena - 1;
    return w;
}

} // namespace

std::span<const std::string_view> verify_scopes()
{
    return scope_names;
}

std::span<const std::string_view> verify_facets()
{
    return names_of_facets;
}

std::optional<VerifyScope> verify_scope(std::string_view scope, std::string_view facet)
{
    if (std::find(std::begin(scope_names), std::end(scope_names), scope) == std::end(scope_names))
        return {};
    for (const FacetName& f : facet_names)
        if (f.name == facet) {
            VerifyScope s;
            s.name = scope;
            s.facet = facet;
            s.facets = f.bits;
            s.world = small_world(f.bits, scope);
            s.few = scope == "deep";
            return s;
        }
    return {};
}

Adversary Adversary::at(uint64_t code)
{
    if (!code)
        return {};
    const auto kind = static_cast<Kind>((code - 1) % 3 + 1);
    const uint64_t rest = (code - kind) / 3;
    return {kind, static_cast<unsigned>(rest / 256 + 1), static_cast<unsigned>(rest % 256)};
}

// ---- which ops ----

Moves::Moves(const VerifyScope& scope) : scope_(scope)
{
    std::array<bool, op_count> in{};
    const auto makers_in = [&](uint8_t kinds) {
        for (unsigned op = 0; op < op_count; op++)
            if (in[op] && (layouts()[op].makes & kinds))
                return true;
        return false;
    };
    for (unsigned op = 0; op < op_count; op++)
        in[op] = (specs()[op].facets & scope.facets) && specs()[op].actor != Actor::machine;
    for (bool more = true; more;) { // objects that nothing makes yet, and what ends them
        more = false;
        for (unsigned op = 0; op < op_count; op++) {
            const Layout& l = layouts()[op];
            if (!in[op] || !l.needs || makers_in(l.needs) || !l.n_makers)
                continue;
            in[l.makers[0]] = more = true;
            for (unsigned end = 0; end < op_count; end++)
                if (specs()[end].ends == Ends::first_use && layouts()[end].needs == layouts()[l.makers[0]].makes) {
                    in[end] = true;
                    break;
                }
        }
    }
    for (unsigned op = 0; op < op_count; op++)
        if (in[op]) {
            ops_.push_back(static_cast<uint8_t>(op));
            auto& of = values_.emplace_back();
            for (unsigned i = 0; i < layouts()[op].n_fields; i++)
                of[i] = values(static_cast<uint8_t>(op), layouts()[op].shapes[i]);
        }
}

// ---- which values ----

Moves::Values Moves::values(uint8_t op, Shape shape) const
{
    const World& w = scope_.world;
    const bool few = scope_.few;
    const Obj makes = layouts()[op].makes;
    switch (shape) {
    case Shape::def:
    case Shape::use:
    case Shape::off:
    case Shape::len:
        return {}; // chosen by what is alive
    case Shape::device: {
        Values all;
        for (unsigned i = 0; i < w.n_devices; i++)
            all.push_back(i);
        return all;
    }
    case Shape::size:
        if (makes == obj_buffer)
            return few ? Values{2 * w.line} : Values{2 * w.line, w.line + w.line / 2};
        if (makes == obj_pool)
            return few ? Values{2 * w.page} : Values{2 * w.page, w.page};
        return few ? Values{2 * w.line} : Values{2 * w.line, 2 * w.page};
    case Shape::place: // a second buffer begins where the first one ends: in the same line, if that has one and a half
        return makes == obj_pool ? Values{0, w.page} : few ? Values{0, 2 * w.line} : Values{0, w.line + w.line / 2, 2 * w.line};
    case Shape::used:
        return few ? Values{all_ones} : Values{all_ones, w.line / 2};
    case Shape::dir:
        return {DMAUDIT_BIDIRECTIONAL, DMAUDIT_TO_DEVICE, DMAUDIT_FROM_DEVICE};
    case Shape::sync_dir:
        return few ? Values{same_direction} : Values{same_direction, DMAUDIT_TO_DEVICE, DMAUDIT_FROM_DEVICE};
    case Shape::attrs:
        return {0, 1};
    case Shape::hint:
        return {0};
    case Shape::align: // of a mapping: an alignment that only its first line has
        return few ? Values{0} : Values{0, makes == obj_mapping ? 2 * w.line : 2 * w.page};
    case Shape::limit: // the first page only
        return few ? Values{0} : Values{0, w.banks[0].phys + w.page - 1};
    case Shape::boundary: // what begins in the middle of a line crosses it
        return few ? Values{0} : Values{0, 2 * w.line};
    case Shape::mask:
        return {all_ones, w.banks[0].phys + w.page - 1};
    case Shape::low_bits:
        return few ? Values{4 * w.line - 1} : Values{0, 4 * w.line - 1};
    case Shape::flag:
        return few ? Values{0} : Values{0, 1};
    case Shape::seed:
        return {1};
    case Shape::context:
        return {0, 1};
    case Shape::lie:
    case Shape::memory:
        return {0}; // clients conform
    case Shape::cache_op:
        return {DMAUDIT_FLUSH, DMAUDIT_INVALIDATE, DMAUDIT_FLUSH_INVALIDATE};
    case Shape::pages:
        return few ? Values{1} : Values{1, 2};
    case Shape::sg_shape:
        return few ? Values{sg_adjacent} : Values{sg_adjacent, sg_line_gaps};
    case Shape::nth: // pages, descriptors, groups
        return {0, 1};
    }
    return {default_of(shape).value_or(0)};
}

// The whole object, a line of it, the rest, or half a line.
bool Moves::range(Choices& e, uint64_t length, uint64_t& off, uint64_t& len) const
{
    const uint64_t line = scope_.world.line;
    const std::pair<uint64_t, uint64_t> all[] = {{0, length}, {0, line}, {line, length - line}, {0, line / 2}};
    const uint64_t which = e.choose(scope_.few ? 2 : 4);
    std::tie(off, len) = all[which];
    return which == 0 || length > line || (which == 3 && length > line / 2);
}

bool Moves::propose(Choices& e, const Situation& s, Move& out) const
{
    out = {};
    out.n = 1;
    Step& step = out.steps[0];
    const bool lines = scope_.adversary && !s.lines().empty();
    const uint64_t which = e.choose(ops_.size() + lines);
    if (which == ops_.size()) {
        out.line_only = true;
        out.line = static_cast<unsigned>(e.choose(s.lines().size()));
        const Situation::Line& l = s.lines()[out.line];
        step = {Ops::index_of<ops::Evict>(), {l.object, l.off, l.len, 0}};
        return true;
    }
    step.op = ops_[which];
    const Layout& layout = layouts()[step.op];
    if (layout.def != Layout::absent && s.count(static_cast<uint8_t>(layout.makes)) >= scope_.most_alive)
        return false;
    if ((step.op == Ops::index_of<ops::DmaBufFd>() || step.op == Ops::index_of<ops::DupFd>()) &&
        s.descriptors() >= scope_.most_alive)
        return false;
    uint64_t length = 0;
    for (unsigned i = 0; i < layout.n_fields; i++)
        switch (layout.shapes[i]) {
        case Shape::def:
            step.arg[i] = name_of(layout.makes, s.number(layout.makes));
            break;
        case Shape::use: {
            const unsigned n = s.count(layout.objs[i]);
            if (n == 0)
                return false;
            const Situation::Object& o = s.object(layout.objs[i], e.choose(n));
            step.arg[i] = o.name;
            length = o.length;
            break;
        }
        case Shape::off:
            if (layout.len == Layout::absent || !range(e, length, step.arg[i], step.arg[layout.len]))
                return false;
            break;
        case Shape::len:
            break; // with the offset
        default:
            const Values& v = values_[which][i];
            step.arg[i] = v[v.size() == 1 ? 0 : e.choose(v.size())];
        }
    return true;
}

void Moves::arm(const Adversary& a, const Situation& s, Move& m) const
{
    if (a.kind == Adversary::none)
        return;
    m.steps[1] = m.steps[0];
    m.n = 2;
    if (a.kind == Adversary::fail) {
        m.steps[0] = {Ops::index_of<ops::Fail>(), {a.nth}};
        return;
    }
    const Situation::Line& l = s.lines()[a.line];
    m.steps[0] = {a.kind == Adversary::evict ? Ops::index_of<ops::Evict>() : Ops::index_of<ops::Prefetch>(),
                  {l.object, l.off, l.len, a.nth}};
}

std::string Moves::values_text() const
{
    std::string out;
    for (size_t k = 0; k < ops_.size(); k++) {
        const Layout& l = layouts()[ops_[k]];
        out += fmt::format("  {}", specs()[ops_[k]].name);
        for (unsigned i = 0; i < l.n_fields; i++) {
            const Field& field = specs()[ops_[k]].fields[i];
            if (i == l.off)
                out += scope_.few ? " {whole, first line}" : " {whole, first line, rest, half a line}";
            if (values_[k][i].size() < 2)
                continue;
            out += fmt::format(" {}={{", field.name);
            for (const uint64_t v : values_[k][i]) {
                std::string text = v == all_ones ? "all" : fmt::format("{}", v);
                for (const Enumerator& word : words(l.shapes[i]))
                    if (word.value == v)
                        text = word.name;
                out += (out.back() == '{' ? "" : ",") + text;
            }
            out += "}";
        }
        out += "\n";
    }
    return out;
}

} // namespace dmaudit
