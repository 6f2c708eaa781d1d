// The lines `Key: value` at the head of a seeded bug's patch, up to the first empty line.
#pragma once
#include <charconv>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace dmaudit {

struct PatchHeader {
    std::string id, family, real, doc;
    std::vector<std::string> expect; // rules, any of which is right
    unsigned depth = 0;              // steps of the witness
    std::string error;               // what is wrong, with file and line; the rest is void then
};

inline std::string trimmed(std::string_view s)
{
    const size_t first = s.find_first_not_of(' '), last = s.find_last_not_of(' ');
    return first == s.npos ? std::string() : std::string(s.substr(first, last - first + 1));
}

// `name` stands for the text in what is said of it.
inline PatchHeader read_patch_header(const std::string& name, const std::string& text)
{
    PatchHeader h;
    std::istringstream in(text);
    constexpr std::string_view keys[] = {"Id", "Family", "Real", "Doc", "Expect", "Depth"};
    std::string line;
    unsigned n = 0;
    for (const std::string_view key : keys) {
        n++;
        const std::string at = name + ":" + std::to_string(n) + ": expected ";
        if (!std::getline(in, line) || !line.starts_with(std::string(key) + ": ")) {
            h.error = at + "`" + std::string(key) + ": ...`, found `" + line + "`";
            return h;
        }
        const std::string value = trimmed(std::string_view(line).substr(key.size() + 2));
        if (value.empty()) {
            h.error = at + "a value";
            return h;
        }
        if (key == "Id")
            h.id = value;
        else if (key == "Family")
            h.family = value;
        else if (key == "Real")
            h.real = value;
        else if (key == "Doc")
            h.doc = value;
        else if (key == "Depth") {
            const auto [end, bad] = std::from_chars(value.data(), value.data() + value.size(), h.depth);
            if (bad != std::errc() || end != value.data() + value.size() || h.depth == 0)
                h.error = at + "a number of steps, found `" + value + "`";
        } else
            for (size_t from = 0; from <= value.size();) {
                const size_t comma = std::min(value.find(',', from), value.size());
                h.expect.push_back(trimmed(std::string_view(value).substr(from, comma - from)));
                from = comma + 1;
            }
        if (key == "Family" && (value[0] < 'A' || value[0] > 'K' || value.size() < 3 || value[1] != ' '))
            h.error = at + "a letter from A to K and words, found `" + value + "`";
        if (!h.error.empty())
            return h;
    }
    if (!std::getline(in, line) || !line.empty())
        h.error = name + ":" + std::to_string(n + 1) + ": expected an empty line after the header";
    return h;
}

inline PatchHeader read_patch_header(const std::string& path)
{
    std::ifstream in(path, std::ios::binary);
    PatchHeader unread;
    unread.error = path + ": cannot be read";
    return in ? read_patch_header(path, {std::istreambuf_iterator<char>(in), {}}) : unread;
}

} // namespace dmaudit
