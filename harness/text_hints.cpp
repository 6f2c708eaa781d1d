#include "harness/text_hints.hpp"
#include "harness/ops.hpp"

#include <algorithm>
#include <vector>

namespace dmaudit {
namespace {

unsigned distance(std::string_view a, std::string_view b) // Levenshtein; both short
{
    std::vector<unsigned> row(b.size() + 1);
    for (unsigned k = 0; k <= b.size(); k++)
        row[k] = k;
    for (unsigned i = 1; i <= a.size(); i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned k = 1; k <= b.size(); k++) {
            const unsigned above = row[k];
            row[k] = std::min({above + 1, row[k - 1] + 1, diagonal + (a[i - 1] != b[k - 1])});
            diagonal = above;
        }
    }
    return row[b.size()];
}

} // namespace

std::string quoted(std::string_view s)
{
    std::string out = "'";
    for (const char ch : s.substr(0, 40))
        out += ch >= ' ' && ch <= '~' ? ch : '?';
    return out + (s.size() > 40 ? "...'" : "'");
}

std::string suggestion(std::string_view found, std::span<const std::string_view> names)
{
    std::string_view best;
    unsigned least = static_cast<unsigned>(std::min<size_t>(found.size(), 40)) / 2 + 1;
    for (const std::string_view name : names)
        if (const unsigned d = distance(found.substr(0, 40), name); d < least) {
            least = d;
            best = name;
        }
    return best.empty() ? std::string() : " (did you mean '" + std::string(best) + "'?)";
}

std::string kinds_text(uint8_t kinds)
{
    static constexpr std::string_view names[obj_kinds] = {"a buffer (b)",  "a mapping (m)",    "a block (k)",
                                                          "a pool (p)",    "a window (w)",     "a scatterlist (g)",
                                                          "a dma-buf (x)", "an attachment (a)"};
    std::string out;
    for (unsigned k = 0; k < obj_kinds; k++)
        if (kinds >> k & 1)
            out += (out.empty() ? "" : " or ") + std::string(names[k]);
    return out;
}

} // namespace dmaudit
