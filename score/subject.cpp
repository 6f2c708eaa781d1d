#include "score/subject.hpp"

#include "harness/text.hpp"
#include "score/patch_header.hpp"

#include <algorithm>
#include <filesystem>
#include <fmt/core.h>
#include <fstream>
#include <iterator>
#include <map>

namespace dmaudit::score {
namespace fs = std::filesystem;
namespace {

std::string content(const fs::path& path)
{
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<fs::path> files(const std::string& folder, std::string_view ending)
{
    std::vector<fs::path> out;
    std::error_code ec;
    for (const auto& entry : fs::directory_iterator(folder, ec))
        if (entry.path().extension() == ending)
            out.push_back(entry.path());
    std::sort(out.begin(), out.end());
    return out;
}

} // namespace

bool Subject::expects(RuleId r) const
{
    return std::find(expected.begin(), expected.end(), r) != expected.end();
}

std::string take_header(const std::string& name, const std::string& text, Subject& out)
{
    const PatchHeader header = read_patch_header(name, text);
    if (!header.error.empty())
        return header.error;
    out.id = header.id;
    out.family = header.family;
    out.real = header.real;
    out.depth = header.depth;
    for (const std::string& one : header.expect) {
        const auto id = rule_named(one);
        if (!id)
            return fmt::format("{}: Expect: there is no rule `{}`", name, one);
        out.expected.push_back(*id);
    }
    return {};
}

std::vector<Subject> seeded_bugs(const Places& places, std::string& error)
{
    std::vector<Subject> out;
    for (const fs::path& patch : files(places.mutants, ".patch")) {
        Subject s;
        error = take_header(patch.string(), content(patch), s);
        if (!error.empty())
            return {};
        s.provider = (fs::path(places.objects) / (s.id + ".so")).string();
        std::error_code ec;
        if (!fs::exists(s.provider, ec))
            s.problem = s.provider + " is not built";
        out.push_back(std::move(s));
    }
    return out;
}

std::vector<Subject> broken_providers_of(const Places& places, std::string& error)
{
    std::map<std::string, Subject> by_name;
    for (const fs::path& file : files(places.broken, ".dma")) {
        const std::string text = content(file);
        constexpr std::string_view comment = "\n# provider: ";
        const size_t at = text.find(comment);
        const Parsed parsed = parse(text);
        if (!parsed.ok) {
            error = fmt::format("{}:{}: {}", file.string(), parsed.error.line, parsed.error.message);
            return {};
        }
        if (at == text.npos || parsed.value.expect.kind != Expect::violation ||
            rule(parsed.value.expect.rule).fault == Fault::client)
            continue;
        const std::string name = text.substr(at + comment.size(), text.find('\n', at + 1) - at - comment.size());
        Subject& s = by_name[name];
        s.id = s.provider = name;
        s.family = "boundary";
        if (!s.expects(parsed.value.expect.rule))
            s.expected.push_back(parsed.value.expect.rule);
        s.depth = s.depth ? std::min<unsigned>(s.depth, parsed.value.count) : parsed.value.count;
    }
    std::vector<Subject> out;
    for (auto& [name, s] : by_name)
        out.push_back(std::move(s));
    return out;
}

} // namespace dmaudit::score
