#include "tools/catalogue.hpp"

#include "shadow/classes.hpp"
#include "tools/files.hpp"

#include <algorithm>
#include <fmt/core.h>
#include <fstream>
#include <utility>

namespace dmaudit {
namespace {

// `# near miss of: a, b`; empty: no such line.
std::string near_miss_line(const std::string& path)
{
    constexpr std::string_view mark = "# near miss of: ";
    std::ifstream in(path);
    for (std::string line; std::getline(in, line);)
        if (line.starts_with(mark))
            return line.substr(mark.size());
    return {};
}

// The longest rule with whose name `rest` begins.
const Rule* rule_at(std::string_view rest)
{
    const Rule* found = nullptr;
    for (const Rule& r : rules())
        if (rest.starts_with(r.name) && (rest.size() == r.name.size() || rest[r.name.size()] == '-') &&
            (!found || r.name.size() > found->name.size()))
            found = &r;
    return found;
}

std::string file_name(const std::string& path)
{
    const size_t from = path.rfind('/') + 1;
    return path.substr(from, path.rfind('.') - from);
}

// What stands between the rule and `ending` in the name of a case, "-" if nothing does; empty: it is not named so.
std::string variant(const std::string& path, const Rule& r, std::string_view ending)
{
    const std::string name = file_name(path), begin = fmt::format("rule-{}", r.name);
    return name.starts_with(begin) && name.ends_with(ending) && name.size() > begin.size() + ending.size()
               ? name.substr(begin.size(), name.size() - begin.size() - ending.size())
               : std::string();
}

// The two to show, of many: a pair by their names, the plain one if there is such a one; else what is named after the
// rule.
std::pair<std::string, std::string> shown(const CasesOf& c, const Rule& r)
{
    const auto named = [&](const std::vector<std::string>& cases, std::string_view ending, std::string_view wanted) {
        return std::find_if(cases.begin(), cases.end(), [&](const std::string& path) {
            const std::string v = variant(path, r, ending);
            return !v.empty() && (wanted.empty() || v == wanted);
        });
    };
    auto broken = named(c.breaking, "broken", "-"), near = named(c.near, "near", "-");
    for (auto b = c.breaking.begin(); b != c.breaking.end() && (broken == c.breaking.end() || near == c.near.end());
         b++)
        if (const std::string v = variant(*b, r, "broken"); !v.empty())
            if (const auto n = named(c.near, "near", v); n != c.near.end())
                broken = b, near = n;
    if (broken == c.breaking.end())
        broken = named(c.breaking, "broken", "");
    if (near == c.near.end())
        near = named(c.near, "near", "");
    const auto link = [](const std::vector<std::string>& cases, std::vector<std::string>::const_iterator at) {
        if (cases.empty())
            return std::string("-");
        const std::string& path = at == cases.end() ? cases.front() : *at;
        return fmt::format("[`{0}`](../corpus/regressions/{0}.dma)", path.substr(0, path.rfind('.')));
    };
    return {link(c.breaking, broken), link(c.near, near)};
}

std::string numbers(uint64_t set, std::string_view prefix)
{
    std::string out;
    for (unsigned i = 1; i < 64; i++)
        if (set >> i & 1)
            out += fmt::format("{}{}{}", out.empty() ? "" : ", ", prefix, i);
    return out;
}

std::string linked(std::string_view names)
{
    std::string out;
    for_each_name(names, [&](std::string_view n) { out += fmt::format("{}`{}`", out.empty() ? "" : ", ", n); });
    return out;
}

} // namespace

Catalogue catalogue_of(const std::string& folder)
{
    Catalogue out;
    std::vector<std::string> files;
    if (std::string error; !list_files({folder}, files, error)) {
        out.complaints.push_back(error);
        return out;
    }
    for (const std::string& path : files) {
        const Loaded loaded = load_case(path);
        if (!loaded.ok) {
            out.complaints.push_back(loaded.error);
            continue;
        }
        const std::string below = path.substr(folder.size() + (folder.ends_with('/') ? 0 : 1));
        const Expect& e = loaded.value.expect;
        if (e.kind == Expect::violation)
            out.of[static_cast<size_t>(e.rule)].breaking.push_back(below);
        std::string near = near_miss_line(path);
        const std::string name = file_name(path);
        if (near.empty() && name.starts_with("rule-") && name.ends_with("-near")) {
            const Rule* r = rule_at(std::string_view(name).substr(5));
            near = r ? r->name : name;
        }
        for_each_name(near, [&](std::string_view n) {
            const auto id = rule_named(n);
            if (!id)
                out.complaints.push_back(fmt::format("{}: a near miss of '{}', which is no rule", path, n));
            else if (e.kind != Expect::clean)
                out.complaints.push_back(fmt::format("{}: a near miss must expect clean", path));
            else
                out.of[static_cast<size_t>(*id)].near.push_back(below);
        });
    }
    for (const Rule& r : rules()) {
        const CasesOf& c = out.of[static_cast<size_t>(r.id)];
        if (r.id != RuleId::none && c.breaking.empty())
            out.complaints.push_back(fmt::format("{}: no case breaks it", r.name));
        if (r.id != RuleId::none && c.near.empty())
            out.complaints.push_back(fmt::format("{}: no case is a near miss of it", r.name));
    }
    return out;
}

std::string rules_page(const Catalogue& catalogue)
{
    std::string out =
        "# Rules\n\n"
        "Written by `dmaudit explain --markdown rules --cases corpus/regressions > docs/rules.md`, from the tables in\n"
        "`shadow/rules.cpp` and `shadow/classes.cpp` and from the cases; a test compares. Which rule a violation names "
        "when\n"
        "several are broken: [precedence.md](precedence.md). What the numbers in the second column stand for:\n"
        "[classes.md](classes.md). `dmaudit explain RULE` says the same for one rule.\n\n"
        "Names are stable for ever, and so are their numbers, which binary cases carry. Each rule has a case that "
        "breaks it\n"
        "and a near miss that does not, many have several; one of each is shown. All are replayed by `ctest`, each "
        "with the\n"
        "provider that it names.\n";
    constexpr struct {
        Fault fault;
        std::string_view title;
    } groups[] = {{Fault::provider, "The provider's fault"},
                  {Fault::client, "The client's fault"},
                  {Fault::tool, "The tool's own"}};
    for (const auto& g : groups) {
        out += fmt::format("\n## {}\n\n| rule | classes | CWE | broken when | look for | broken by | near miss |\n"
                           "|---|---|---|---|---|---|---|\n",
                           g.title);
        for (const Rule& r : rules()) {
            if (r.fault != g.fault || r.id == RuleId::none)
                continue;
            const CasesOf& c = catalogue.of[static_cast<size_t>(r.id)];
            const auto [broken, near] = shown(c, r);
            const std::string classes = numbers(classes_of(r.id), ""), held = numbers(invariants_of(r.id), "I");
            out += fmt::format("| `{}` | {}{}{} | {} | {} | {} | {} | {} |\n", r.name, classes,
                               classes.empty() || held.empty() ? "" : "; ", held, r.cwe, r.meaning, r.advice, broken,
                               near);
        }
    }
    return out;
}

std::string classes_page()
{
    std::string out =
        "# Classes of error, and invariants\n\n"
        "Written by `dmaudit explain --markdown classes > docs/classes.md` from `shadow/classes.cpp`; a test compares, "
        "and\n"
        "another holds that each class and each invariant has a rule, or an answer why not, and that its cases break "
        "one of its rules.\n\n"
        "The first list is what the checkers for DMA that are known to us look for, put together: Linux' `dma-debug` "
        "and its\n"
        "`dmapool` checks, Windows' Driver Verifier, the bounce and ownership checks of the BSDs and of macOS, "
        "AddressSanitizer\n"
        "and MemorySanitizer, IOMMUs, and what papers on drivers and devices report; with it what none of them sees. "
        "The second\n"
        "is what must hold of an allocator and mapping layer whatever happens. Both are a map from what can go wrong "
        "to what\n"
        "dmaudit says: the [rules](rules.md) are the mechanism.\n\n"
        "## 42 classes\n\n| # | what goes wrong | rules | broken by | what has no rule, and why; modes "
        "|\n|---|---|---|---|---|\n";
    for (const ErrorClass& c : error_classes())
        out +=
            fmt::format("| {} | {} | {} | {} | {} |\n", c.number, c.title, linked(c.rules), linked(c.cases), c.answer);
    out += "\n## 20 invariants\n\n| # | what must hold | rules | broken by |\n|---|---|---|---|\n";
    for (const Invariant& i : invariants())
        out += fmt::format("| I{} | {} | {} | {} |\n", i.number, i.text, linked(i.rules), linked(i.cases));
    return out;
}

} // namespace dmaudit
