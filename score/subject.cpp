#include "score/subject.hpp"

#include "harness/text.hpp"

#include <algorithm>
#include <charconv>
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

std::string_view trimmed(std::string_view s)
{
    while (!s.empty() && s.front() == ' ')
        s.remove_prefix(1);
    while (!s.empty() && (s.back() == ' ' || s.back() == '\r'))
        s.remove_suffix(1);
    return s;
}

} // namespace

bool Subject::expects(RuleId r) const
{
    return std::find(expected.begin(), expected.end(), r) != expected.end();
}

std::string read_header(const std::string& name, const std::string& text, Subject& out)
{
    std::string_view rest = text;
    for (unsigned line = 1; !rest.empty(); line++) {
        const std::string_view row = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(std::min(rest.size(), row.size() + 1));
        if (trimmed(row).empty())
            break;
        const size_t colon = row.find(':');
        if (colon == row.npos)
            return fmt::format("{}:{}: expected `Key: value`, or the empty line that ends the header", name, line);
        const std::string_view key = row.substr(0, colon);
        std::string_view value = trimmed(row.substr(colon + 1));
        if (key == "Id")
            out.id = value;
        else if (key == "Family")
            out.family = value;
        else if (key == "Real")
            out.real = value;
        else if (key == "Depth") {
            if (std::from_chars(value.data(), value.data() + value.size(), out.depth).ec != std::errc())
                return fmt::format("{}:{}: Depth: expected a number of steps, found `{}`", name, line, value);
        } else if (key == "Expect")
            while (!value.empty()) {
                const std::string_view one = value.substr(0, value.find(','));
                value.remove_prefix(std::min(value.size(), one.size() + 1));
                const auto id = rule_named(trimmed(one));
                if (!id)
                    return fmt::format("{}:{}: Expect: there is no rule `{}`", name, line, trimmed(one));
                out.expected.push_back(*id);
            }
    }
    if (out.id.empty() || out.expected.empty())
        return fmt::format("{}: the header lacks {}", name, out.id.empty() ? "Id" : "Expect");
    return {};
}

std::vector<Subject> seeded_bugs(const Places& places, std::string& error)
{
    std::vector<Subject> out;
    for (const fs::path& patch : files(places.mutants, ".patch")) {
        Subject s;
        error = read_header(patch.string(), content(patch), s);
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
