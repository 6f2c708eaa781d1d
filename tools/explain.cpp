// dmaudit explain and providers
#include "harness/ops.hpp"
#include "providers/providers.hpp"
#include "shadow/classes.hpp"
#include "shadow/rules.hpp"
#include "tools/catalogue.hpp"
#include "tools/verbs.hpp"

#include <fmt/core.h>

namespace dmaudit {
namespace {

std::string_view fault_text(Fault f)
{
    return f == Fault::provider ? "provider" : f == Fault::client ? "client" : "tool";
}

// How a step with this op is written; what may be left out stands in brackets.
std::string usage(const Spec& op)
{
    const auto kinds = [](uint8_t objs) {
        std::string out;
        for (unsigned k = 0; k < obj_kinds; k++)
            if (objs >> k & 1)
                out += std::string(out.empty() ? "" : "|") + obj_prefix[k] + "N";
        return out;
    };
    std::string made, rest;
    for (const Field& f : op.fields) {
        std::string words_of;
        for (const Enumerator& e : words(f.shape))
            words_of += (words_of.empty() ? "" : "|") + std::string(e.name);
        const std::string value = std::string(f.name) + "=" + (f.shape == Shape::flag ? "yes" : words_of);
        if (f.shape == Shape::def)
            made = kinds(f.objs) + " = ";
        else if (f.name.empty())
            rest += " " + kinds(f.objs);
        else if (f.shape == Shape::len || default_of(f.shape)) // a length is the rest of the object
            rest += " [" + value + "]";
        else
            rest += " " + value;
    }
    return made + std::string(op.name) + rest;
}

int explain_ops()
{
    for (const Spec& op : specs())
        fmt::print("{}\n    {}\n", usage(op), op.doc);
    return exit_ok;
}

int explain(const std::string& name)
{
    if (name == "ops")
        return explain_ops();
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
    fmt::print("{}\n  {}\n  whose fault: the {}'s; nearest CWE: CWE-{}\n", r.name, r.meaning, fault_text(r.fault),
               r.cwe);
    for (const ErrorClass& c : error_classes())
        if (classes_of(r.id) >> c.number & 1)
            fmt::print("  class {}: {}\n", c.number, c.title);
    for (const Invariant& i : invariants())
        if (invariants_of(r.id) >> i.number & 1)
            fmt::print("  invariant I{}: {}\n", i.number, i.text);
    fmt::print("\n  {}\n", r.advice);
    return exit_ok;
}

int page(const std::string& which, const std::string& cases)
{
    if (which == "classes") {
        fmt::print("{}", classes_page());
        return exit_ok;
    }
    const Catalogue catalogue = catalogue_of(cases);
    fmt::print("{}", rules_page(catalogue));
    for (const std::string& complaint : catalogue.complaints)
        fmt::print(stderr, "dmaudit: {}\n", complaint);
    return catalogue.complaints.empty() ? exit_ok : exit_violation;
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
                        {DMAUDIT_PROMISES_COMPLETE, "complete search"},
                        {DMAUDIT_PROMISES_TEARDOWN, "teardown"},
                        {DMAUDIT_PROMISES_DETECTION_OF_MAPPINGS, "detection-of-mappings"},
                        {DMAUDIT_PROMISES_PROMPT, "prompt"},
                        {DMAUDIT_PROMISES_COMPLETE_IOVA, "complete-iova"},
                        {DMAUDIT_PROMISES_LOWEST_RUN, "lowest-run"},
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
    struct Options {
        std::string name, page, cases;
    };
    auto o = std::make_shared<Options>();
    app.add_option("rule", o->name,
                   "a rule's name, or `ops`: how each step of a case is written; without it: all rules, a line each");
    auto* cases = app.add_option("--cases", o->cases, "folder of the cases that break rules, for the page of rules");
    app.add_option("--markdown", o->page, "write the page of `rules` (with the cases below --cases) or of `classes`")
        ->check(CLI::IsMember({"rules", "classes"}));
    return [o, cases] {
        if (o->page == "rules" && !cases->count()) {
            fmt::print(stderr, "dmaudit: explain: --markdown rules needs --cases FOLDER\n");
            return exit_unusable;
        }
        return o->page.empty() ? explain(o->name) : page(o->page, o->cases);
    };
}

Action add_providers(CLI::App&)
{
    return [] { return providers(); };
}

} // namespace dmaudit
