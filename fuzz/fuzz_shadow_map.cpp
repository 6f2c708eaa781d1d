// The shadow map, in every instruction set that this processor has, against the map that is obviously right. An input
// is a list of operations, eight bytes each: op, table, where (2), how long (2), state, a second table.
#include "shadow/map_naive.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>
#include <utility>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace dmaudit {
namespace {

constexpr uint64_t bytes_of_map = 5 * 4096 + 64 + 7; // whole pages, and an end that is none
constexpr size_t op_bytes = 8, max_ops = 128;
constexpr unsigned n_tables = 16;

// Few states and few refusals, so that ranges become uniform and walks go far.
const std::array<Transition, n_tables>& tables()
{
    static const auto all = [] {
        auto made = std::make_unique<std::array<Transition, n_tables>>();
        uint64_t x = 0x9e3779b97f4a7c15u;
        const auto draw = [&x](uint64_t n) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            return x % n;
        };
        for (unsigned t = 0; t < n_tables; t++)
            for (unsigned s = 0; s < 256; s++) {
                const unsigned states = t % 4 == 3 ? 255 : 2u << t % 4 * 2;
                (*made)[t].next[s] = static_cast<uint8_t>(t % 8 == 0 ? s % 255 : draw(states));
                (*made)[t].rule[s] = static_cast<uint8_t>(t >= 4 && draw(t) == 0 ? 1 + draw(200) : 0);
            }
        return made;
    }();
    return *all;
}

using Runs = std::vector<std::pair<Range, uint8_t>>;
template <class Map> Runs runs(const Map& map, Range range)
{
    Runs all;
    map.for_each_run(range, [&](Range run, uint8_t state) { all.emplace_back(run, state); });
    return all;
}

void require(bool holds, const char* what)
{
    if (holds)
        return;
    std::fprintf(stderr, "dmaudit.cc:1: ASSERTION FAILED: dmaudit shadow_map %s\nDEDUP_TOKEN: shadow_map--%s\n", what,
                 what);
    std::abort();
}

class Comparison {
  public:
    explicit Comparison(Isa isa) : fast_(bytes_of_map, 0, isa) {}

    void run(std::span<const uint8_t> bytes)
    {
        NaiveMap slow(bytes_of_map, 0);
        fast_.reset(0);
        for (size_t at = 0, n = 0; at + op_bytes <= bytes.size() && n < max_ops; at += op_bytes, n++)
            step(bytes.subspan(at, op_bytes), slow);
        require(runs(fast_, {0, bytes_of_map}) == runs(slow, {0, bytes_of_map}), "states at the end");
    }

  private:
    ShadowMap fast_;

    // Half of the ranges begin or end on a line or a page.
    static Range range(std::span<const uint8_t> op)
    {
        const auto word = [&](size_t i) { return static_cast<uint64_t>(op[i] | op[i + 1] << 8); };
        const uint64_t unit = op[0] & 0x80 ? op[0] & 0x40 ? 4096 : 64 : 1;
        const uint64_t from = word(2) % (bytes_of_map + 1) / unit * unit;
        const uint64_t most = op[0] & 0x20 ? 200 : bytes_of_map;
        return {from, std::min(word(4) % (most + 1) / unit * unit, bytes_of_map - from)};
    }

    void step(std::span<const uint8_t> op, NaiveMap& slow)
    {
        const Transition& t = tables()[op[1] % n_tables];
        const Range r = range(op);
        const auto state = static_cast<uint8_t>(op[6] % 255);
        switch (op[0] % 8) {
        case 0:
            fast_.set(r, state);
            slow.set(r, state);
            break;
        case 1: {
            const auto hit = fast_.check(t, r);
            require(hit == slow.check(t, r), "check");
            if (hit)
                break;
            fast_.apply(t, r);
            slow.apply(t, r);
            break;
        }
        case 2:
            require(fast_.check(t, r) == slow.check(t, r), "check");
            break;
        case 3:
        case 4:
            require(fast_.check_and_apply(t, r) == slow.check_and_apply(t, r), "check_and_apply");
            break;
        case 5:
            require(fast_.first_in(r, tables()[op[7] % n_tables].rule) ==
                        slow.first_in(r, tables()[op[7] % n_tables].rule),
                    "first_in");
            require(fast_.all(r, t.rule) == slow.all(r, t.rule), "all");
            break;
        case 6:
            require(runs(fast_, r) == runs(slow, r), "runs");
            if (!r.empty())
                require(fast_.at(r.at) == slow.at(r.at), "at");
            break;
        default:
            if (op[1] % 16) { // rarely: it forgets everything
                fast_.set({r.at, std::min<uint64_t>(r.len, 1)}, state);
                slow.set({r.at, std::min<uint64_t>(r.len, 1)}, state);
            } else {
                fast_.reset(state);
                slow.reset(state);
            }
        }
    }
};

} // namespace
} // namespace dmaudit

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size)
{
    using namespace dmaudit;
    static std::vector<Comparison> all = [] {
        std::vector<Comparison> made;
        for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512})
            if (ShadowMap::supported(isa))
                made.emplace_back(isa);
        return made;
    }();
    for (Comparison& c : all)
        c.run({data, size});
    return 0;
}
