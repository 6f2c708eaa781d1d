// dmaudit explain and providers
#include "providers/providers.hpp"
#include "shadow/rules.hpp"
#include "tools/verbs.hpp"

#include <fmt/core.h>

namespace dmaudit {
namespace {

std::string_view fault_text(Fault f)
{
    return f == Fault::provider ? "provider" : f == Fault::client ? "client" : "tool";
}

int explain(const std::string& name)
{
    if (name.empty()) {
        for (const Rule& r : rules())
            if (r.id != RuleId::none)
                fmt::print("{:<30} {:<9} {}\n", r.name, fault_text(r.fault), r.meaning);
        return exit_ok;
    }
    const auto id = rule_named(name);
    if (!id) {
        fmt::print(stderr, "dmaudit: {}: no such rule; `dmaudit explain` lists them\n", name);
        return exit_unusable;
    }
    const Rule& r = rule(*id);
    fmt::print("{}\n  {}\n  whose fault: the {}'s; nearest CWE: CWE-{}\n\n  {}\n", r.name, r.meaning,
               fault_text(r.fault), r.cwe, r.advice);
    return exit_ok;
}

struct Bit {
    uint64_t bit;
    std::string_view name;
};
constexpr Bit bits[] = {{DMAUDIT_PROMISES_ALIGNMENT, "alignment"},
                        {DMAUDIT_PROMISES_LIMIT, "limit"},
                        {DMAUDIT_PROMISES_BOUNDARY, "boundary"},
                        {DMAUDIT_PROMISES_ZEROING, "zeroing"},
                        {DMAUDIT_PROMISES_NATURAL_ALIGNMENT, "natural alignment"},
                        {DMAUDIT_PROMISES_FIRST_FIT, "complete first fit"},
                        {DMAUDIT_PROMISES_BOUNCE, "bounce"},
                        {DMAUDIT_PROMISES_EDGE_BOUNCE, "edge bounce"},
                        {DMAUDIT_PROMISES_MAP_SYNC, "map syncs"},
                        {DMAUDIT_PROMISES_KEEP_UNWRITTEN, "keeps unwritten bytes"},
                        {DMAUDIT_PROMISES_DETECTION, "detects illegal frees"},
                        {DMAUDIT_PROMISES_THREAD_SAFETY, "thread safety"},
                        {DMAUDIT_PROMISES_NO_KERNEL_MAPPING, "opaque handles"},
                        {DMAUDIT_PROMISES_IOMMU, "IOMMU"},
                        {DMAUDIT_PROMISES_MIN_ALIGN_MASK, "min_align_mask"},
                        {DMAUDIT_PROMISES_RIGHTS, "rights per direction"},
                        {DMAUDIT_PROMISES_ISOLATION, "isolation of neighbours"},
                        {DMAUDIT_TRAIT_LAZY_FLUSH, "(lazy flush)"},
                        {DMAUDIT_TRAIT_IN_BAND, "(in-band metadata)"},
                        {DMAUDIT_TRAIT_PROCESS_WIDE, "(process-wide)"},
                        {DMAUDIT_TRAIT_MAY_ABORT, "(may abort)"},
                        {DMAUDIT_TRAIT_COHERENT_NEEDS_SYNC, "(coherent needs sync)"}};

int providers()
{
    for (const dmaudit_provider* p : all_providers()) {
        fmt::print("{}: {}\n  facets:  {}{}{}{}{}{}{}\n  promises:", p->name, p->summary, p->coherent ? " coherent" : "",
                   p->streaming ? " streaming" : "", p->pool ? " pool" : "", p->scatter ? " scatter" : "",
                   p->managed ? " managed" : "", p->dma_buf ? " dma-buf" : "",
                   DMAUDIT_HAS(p, parameters) ? " parameters" : "");
        std::string_view between = " ";
        for (const Bit& b : bits)
            if (p->promises & b.bit) {
                fmt::print("{}{}", between, b.name);
                between = ", ";
            }
        fmt::print("\n");
    }
    return exit_ok;
}

} // namespace

Action add_explain(CLI::App& app)
{
    auto name = std::make_shared<std::string>();
    app.add_option("rule", *name, "a rule's name; without it: all of them, a line each");
    return [name] { return explain(*name); };
}

Action add_providers(CLI::App&)
{
    return [] { return providers(); };
}

} // namespace dmaudit
