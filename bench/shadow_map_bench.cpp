// What the shadow map costs, as a ratio to memset of the same range in the same process: ratios compare between
// machines, nanoseconds do not. One table for each build of the loops that this processor has.
//
// Offsets are random over a 16 MiB arena. A case is 50 operations and begins with a reset, as in fuzzing; the reset is
// part of the time. "No reset" is the opposite: every range overlaps many others, and the states that follow each other
// in a circle never let a broken node heal. A figure is the median of nine samples; the candidates take turns inside a
// sample, so that a change of clock speed hits all of them.
#include "shadow/identity.hpp"
#include "shadow/map.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

namespace {

using namespace dmaudit;

constexpr uint64_t arena = uint64_t{16} << 20;
constexpr std::array<uint64_t, 4> lengths{64, 4096, 65536, uint64_t{1} << 20};
constexpr size_t offsets = 1000;
constexpr size_t case_length = 50;

// Keeps the compiler from dropping work whose result nobody uses.
template <class T> void keep(const T& value)
{
    asm volatile("" : : "g"(&value) : "memory");
}

// Three states that follow each other and one that would be refused: the transitions of a buffer's life.
Transition cycle()
{
    Transition transition{};
    for (unsigned s = 0; s < 255; ++s)
        transition.next[s] = static_cast<uint8_t>(s);
    transition.next[1] = 2;
    transition.next[2] = 3;
    transition.next[3] = 1;
    transition.rule[200] = 9;
    return transition;
}

double nanoseconds(const std::function<void()>& work)
{
    const auto begin = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin).count();
}

struct Candidate {
    const char* name;
    std::function<void()> prepare; // before each sample, not timed
    std::function<void()> begin;   // of each case, timed
    std::function<void(const Range&)> run;
};

// The median time of one run() over `ranges`, for each candidate.
std::vector<double> measure(const std::vector<Candidate>& candidates, const std::vector<Range>& ranges, size_t rounds)
{
    constexpr size_t samples = 9;
    std::vector<std::array<double, samples>> times(candidates.size());
    for (size_t sample = 0; sample < samples; ++sample) {
        for (size_t i = 0; i < candidates.size(); ++i) {
            const Candidate& candidate = candidates[i];
            candidate.prepare();
            const auto round = [&] {
                for (size_t first = 0; first < ranges.size(); first += case_length) {
                    candidate.begin();
                    for (size_t k = first; k < std::min(first + case_length, ranges.size()); ++k)
                        candidate.run(ranges[k]);
                }
            };
            round(); // warm up
            const double total = nanoseconds([&] {
                for (size_t n = 0; n < rounds; ++n)
                    round();
            });
            times[i][sample] = total / static_cast<double>(rounds * ranges.size());
        }
    }
    std::vector<double> medians;
    for (auto& row : times) {
        std::nth_element(row.begin(), row.begin() + samples / 2, row.end());
        medians.push_back(row[samples / 2]);
    }
    return medians;
}

std::vector<Range> random_ranges(uint64_t length, bool odd)
{
    std::vector<Range> ranges;
    uint64_t seed = 12345;
    const uint64_t len = odd ? length + 1 : length;
    for (size_t i = 0; i < offsets; ++i) {
        seed = seed * 6364136223846793005 + 1442695040888963407;
        const uint64_t at = (seed >> 20) % ((arena - len - 64) / 64) * 64;
        ranges.push_back({odd ? at + 1 + (seed >> 60) * 2 : at, len});
    }
    return ranges;
}

// Three runs in every line: no node can collapse and every byte has to be looked at.
void fragment(ShadowMap& map, uint64_t bytes)
{
    map.reset(1);
    for (uint64_t line = 0; line < bytes; line += 64) {
        map.set({line + 7, 20}, 2);
        map.set({line + 40, 10}, 3);
    }
}

struct Bench {
    std::unique_ptr<unsigned char[]> memory = std::make_unique<unsigned char[]>(arena);
    Transition transition = cycle();
    ShadowMap map;
    IdentityMap identity{arena};
    uint32_t tag = 0;

    explicit Bench(Isa isa) : map(arena, 1, isa) {}

    static void nothing() {}

    Candidate data()
    {
        return {"memset", nothing, nothing, [this](const Range& r) {
                    std::memset(memory.get() + r.at, 0x5A, r.len);
                    keep(memory[r.at]);
                }};
    }

    using Action = std::function<void()>;

    std::vector<Candidate> candidates(const Action& prepare, const Action& begin)
    {
        return {
            data(),
            {"check + apply", prepare, begin,
             [this](const Range& r) {
                 if (!map.check(transition, r))
                     map.apply(transition, r);
             }},
            {"check_and_apply", prepare, begin, [this](const Range& r) { keep(map.check_and_apply(transition, r)); }},
            {"apply", prepare, begin, [this](const Range& r) { map.apply(transition, r); }},
            // On what the rows above left.
            {"check", nothing, nothing, [this](const Range& r) { keep(map.check(transition, r)); }}};
    }

    void table(const char* title, const Action& prepare, const Action& begin, bool odd)
    {
        std::vector<std::vector<double>> columns;
        const auto rows = candidates(prepare, begin);
        for (const uint64_t length : lengths)
            columns.push_back(measure(rows, random_ranges(length, odd), length > 65536 ? 1 : 4));
        print(title, rows, columns);
    }

    static void print(const char* title, const std::vector<Candidate>& rows,
                      const std::vector<std::vector<double>>& columns)
    {
        std::printf("  %-28s %14s %14s %14s %14s\n", title, "64 B", "4 KiB", "64 KiB", "1 MiB");
        for (size_t row = 0; row < rows.size(); ++row) {
            std::printf("    %-26s", rows[row].name);
            for (const auto& column : columns)
                std::printf(" %7.4f [%5.*f]", column[row] / column[0], column[row] < 1000 ? 1 : 0, column[row]);
            std::printf("\n");
        }
    }

    void run()
    {
        const Action fresh = [this] { map.reset(1); };
        table("64-byte aligned", fresh, fresh, false);
        table("odd", fresh, fresh, true);
        table("no reset, 64-byte aligned", fresh, nothing, false);
        table(
            "worst: 3 runs in every line", [this] { fragment(map, arena); }, nothing, false);
        identities();
        resets();
    }

    void identities()
    {
        const Action fresh = [this] { identity.reset(); };
        std::vector<std::vector<double>> columns;
        const std::vector<Candidate> rows{
            data(),
            {"set", fresh, fresh, [this](const Range& r) { identity.set(r, ++tag & 0xFFFF); }},
            {"first_other, of nobody", fresh, nothing,
             [this](const Range& r) { keep(identity.first_other(r, IdentityMap::nobody)); }}};
        for (const uint64_t length : lengths)
            columns.push_back(measure(rows, random_ranges(length, false), length > 65536 ? 1 : 4));
        print("identity, 64-byte aligned", rows, columns);
    }

    void resets()
    {
        const auto times = measure({{"map", nothing, nothing, [this](const Range&) { map.reset(1); }},
                                    {"identity", nothing, nothing, [this](const Range&) { identity.reset(); }}},
                                   random_ranges(64, false), 4);
        std::printf("  reset of 16 MiB: states %.0f ns, identity %.0f ns\n\n", times[0], times[1]);
    }
};

} // namespace

int main()
{
    std::printf("ratio to memset of the same range [ns]\n\n");
    constexpr std::pair<Isa, const char*> variants[] = {
        {Isa::portable, "portable"}, {Isa::avx2, "AVX2"}, {Isa::avx512, "AVX-512"}};
    for (const auto& [isa, name] : variants) {
        if (!ShadowMap::supported(isa)) {
            std::printf("%s: not in this build or processor\n\n", name);
            continue;
        }
        std::printf("%s\n", name);
        Bench(isa).run();
    }
}
