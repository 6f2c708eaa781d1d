#include "harness/ops.hpp"

#include <dmaudit/provider.h>

namespace dmaudit {
namespace {

template <class... Op> constexpr std::array<Spec, sizeof...(Op)> make_specs(OpList<Op...>)
{
    return {Spec{Op::name, Op::doc, Op::fields, Op::ends, Op::actor, Op::facets, Sleeps<Op>}...};
}
constexpr auto all_specs = make_specs(Ops{});

constexpr Enumerator dirs[] = {{"bidirectional", 0}, {"to_device", 1}, {"from_device", 2}, {"none", 3}};
constexpr Enumerator sync_dirs[] = {
    {"bidirectional", 0}, {"to_device", 1}, {"from_device", 2}, {"none", 3}, {"same", same_direction}};
constexpr Enumerator attr_words[] = {{"none", 0}, {"skip", 1}};
constexpr Enumerator flags[] = {{"no", 0}, {"yes", 1}};
constexpr Enumerator lies[] = {{"none", lie_none},
                               {"size-1", lie_size_less},
                               {"size+1", lie_size_more},
                               {"interior", lie_interior},
                               {"foreign", lie_foreign},
                               {"other-dir", lie_other_dir},
                               {"other-device", lie_other_device},
                               {"other-kind", lie_other_kind},
                               {"cpu-address", lie_cpu_address}};
constexpr Enumerator sg_shapes[] = {
    {"adjacent", sg_adjacent},           {"line_gaps", sg_line_gaps},         {"page_gaps", sg_page_gaps},
    {"page_segments", sg_page_segments}, {"page_boundary", sg_page_boundary}, {"two_parts", sg_two_parts},
    {"near_boundary", sg_near_boundary}, {"descending", sg_descending},       {"repeated", sg_repeated}};
constexpr Enumerator hints[] = {{"none", 0},
                                {"weak_ordering", DMAUDIT_ATTR_WEAK_ORDERING},
                                {"write_combine", DMAUDIT_ATTR_WRITE_COMBINE},
                                {"force_contiguous", DMAUDIT_ATTR_FORCE_CONTIGUOUS},
                                {"alloc_single_pages", DMAUDIT_ATTR_ALLOC_SINGLE_PAGES},
                                {"no_warn", DMAUDIT_ATTR_NO_WARN},
                                {"privileged", DMAUDIT_ATTR_PRIVILEGED}};
constexpr Enumerator memories[] = {{"kmalloc", 0}, {"stack", 1}, {"rodata", 2}, {"vmalloc", 3}};
constexpr Enumerator contexts[] = {{"task", 0}, {"atomic", 1}};
constexpr Enumerator cache_ops[] = {{"flush", 1}, {"invalidate", 2}, {"flush_invalidate", 3}};

} // namespace

const std::array<Spec, op_count>& specs()
{
    return all_specs;
}

std::optional<uint8_t> op_named(std::string_view name)
{
    for (size_t i = 0; i < op_count; i++)
        if (all_specs[i].name == name)
            return static_cast<uint8_t>(i);
    return {};
}

std::span<const Enumerator> words(Shape s)
{
    switch (s) {
    case Shape::dir:
        return dirs;
    case Shape::sync_dir:
        return sync_dirs;
    case Shape::attrs:
        return attr_words;
    case Shape::flag:
        return flags;
    case Shape::lie:
        return lies;
    case Shape::sg_shape:
        return sg_shapes;
    case Shape::cache_op:
        return cache_ops;
    case Shape::hint:
        return hints;
    case Shape::memory:
        return memories;
    case Shape::context:
        return contexts;
    default:
        return {};
    }
}

} // namespace dmaudit
