// The hooks keep libFuzzer's contract, the two copies of the codec agree, and a violation ends the process.
#include "fuzz/engine.hpp"
#include "harness/binary.hpp"
#include "harness/mutate.hpp"
#include "harness/rng.hpp"
#include "harness/scope.hpp"

#include <algorithm>
#include <gtest/gtest.h>
#include <set>
#include <vector>

// Stands for libFuzzer: what it does itself with an input.
namespace {
struct Delegated {
    unsigned calls = 0;
    size_t size = 0, max = 0;
} delegated;
} // namespace
extern "C" {
extern uint8_t __start___libfuzzer_extra_counters[], __stop___libfuzzer_extra_counters[];
extern uint64_t __start___centipede_extra_features[], __stop___centipede_extra_features[];
void CentipedeIsPresent();
void CentipedeIsPresent() {}
void __libfuzzer_is_present();
void __libfuzzer_is_present() {}
size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max);
size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max)
{
    delegated = {delegated.calls + 1, size, max};
    if (max < 3)
        return size;
    data[0] = 'a', data[1] = 'b', data[2] = 'c'; // a word of a dictionary
    return 3;
}
}

namespace dmaudit::fuzz {
namespace {

using Bytes = std::vector<uint8_t>;

Bytes random_bytes(uint64_t seed, size_t size)
{
    Rng rng(seed);
    Bytes b(size);
    for (uint8_t& byte : b)
        byte = static_cast<uint8_t>(rng.next());
    return b;
}
Bytes generated(uint64_t seed, const Target& t, unsigned steps = 32)
{
    Case c;
    generate(seed, t.profile, c, steps);
    return encode(c);
}
Case decoded(const Bytes& b, const Target& t)
{
    Case c;
    plain_decode(b, intake_of(t), c);
    return c;
}

TEST(Engine, both_copies_of_the_codec_agree)
{
    Intake everything{Mode::hostile, {}};
    everything.keeps.fill(true);
    for (uint64_t seed = 1; seed <= 300; seed++) {
        const Bytes b = seed % 2 ? generated(seed, hostile) : random_bytes(seed, seed);
        Case plain, other;
        plain_decode(b, everything, plain);
        decode(b, other);
        other.world.mode = Mode::hostile;
        other.expect = {};
        ASSERT_EQ(plain, other) << seed;
    }
}

TEST(Engine, cases_keep_to_their_target_and_are_valid)
{
    for (const Target* t : case_targets)
        for (uint64_t seed = 1; seed <= 500; seed++) {
            const Case c = decoded(random_bytes(seed, 16 + seed), *t);
            ASSERT_EQ(case_error(c), "") << t->name << seed;
            ASSERT_EQ(c.world.mode, t->profile.mode);
            for (const Step& s : c.all())
                ASSERT_TRUE(contains(t->profile, s.op)) << t->name << " " << specs()[s.op].name;
        }
}

TEST(Engine, mutating_takes_any_size_and_never_exceeds_the_most)
{
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        Rng rng(seed);
        const size_t size = rng.below(2000), max = 1 + rng.below(1500);
        Bytes b = random_bytes(seed, std::max(size, max)); // libFuzzer's buffer holds both
        const size_t n = mutate_bytes(hostile, b.data(), size, max, static_cast<unsigned>(seed));
        ASSERT_LE(n, max) << "size " << size;
    }
}

// Only libFuzzer knows its dictionary and what was compared, so it gets its turn, and what it makes is taken as it is.
TEST(Engine, one_mutation_in_eight_is_the_fuzzers_own)
{
    unsigned own = 0, payloads = 0;
    for (unsigned seed = 1; seed <= 4000; seed++) {
        Bytes b = generated(seed, hostile, 20);
        const size_t size = b.size(), max = seed % 2 ? 1024 : size / 2; // while minimising, more than may be
        b.resize(std::max(size, max));
        const unsigned before = delegated.calls;
        const size_t n = mutate_bytes(hostile, b.data(), size, max, seed);
        if (delegated.calls == before)
            continue;
        own++;
        if (delegated.max == max && delegated.size == std::min(size, max)) {
            ASSERT_EQ(std::string(b.begin(), b.begin() + static_cast<std::ptrdiff_t>(n)), "abc");
            continue;
        }
        payloads++; // of one op: nothing else is another one
        ASSERT_EQ(delegated.size, cell_bytes - 1);
        ASSERT_EQ(delegated.max, cell_bytes - 1);
        ASSERT_EQ(n, std::min(size, max));
        const Bytes old = generated(seed, hostile, 20);
        size_t changed = 0, first = n;
        for (size_t i = 0; i < n; i++)
            if (b[i] != old[i])
                first = std::min(first, i), changed++;
        ASSERT_LE(changed, 3u);
        if (changed) {
            ASSERT_GT(first, cell_bytes);
            ASSERT_LE(first % cell_bytes, 3u);
            ASSERT_NE(first % cell_bytes, 0u);
        }
    }
    EXPECT_GT(own, 400u);
    EXPECT_LT(own, 600u);
    EXPECT_GT(payloads, own / 3);
    EXPECT_LT(payloads, own * 2 / 3);
}

TEST(Engine, crossing_takes_any_size_and_never_exceeds_the_most)
{
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        Rng rng(seed);
        const size_t a = rng.below(1500), b = rng.below(1500), max = 1 + rng.below(1500);
        Bytes out(max);
        ASSERT_LE(crossover_bytes(hostile, random_bytes(seed, a), random_bytes(seed + 1, b), out.data(), max,
                                  static_cast<unsigned>(seed)),
                  max);
    }
}

TEST(Engine, mutating_changes_the_case_and_is_decided_by_the_seed)
{
    unsigned changed = 0;
    for (unsigned seed = 1; seed <= 200; seed++) {
        const Bytes before = generated(seed, hostile, 20);
        Bytes b = before, again = before;
        b.resize(1024), again.resize(1024);
        const size_t n = mutate_bytes(hostile, b.data(), before.size(), b.size(), seed);
        const size_t m = mutate_bytes(hostile, again.data(), before.size(), again.size(), seed);
        ASSERT_EQ(n, m);
        b.resize(n), again.resize(m);
        ASSERT_EQ(b, again);
        changed += !(decoded(b, hostile) == decoded(before, hostile));
    }
    EXPECT_GE(changed, 180u);
}

TEST(Engine, a_case_is_told_to_the_fuzzer_by_its_transitions)
{
    run(hostile, Bytes{});
    const auto sum = [] {
        return std::count_if(transitions().begin(), transitions().end(), [](uint8_t b) { return b != 0; });
    };
    const auto idle = sum();
    run(hostile, generated(1, hostile));
    EXPECT_GT(sum(), idle);
    run(hostile, Bytes{});
    EXPECT_EQ(sum(), idle) << "left over from the last case";
}

#ifdef __linux__
// As Centipede's runner, which is not instrumented: it reads the section, redzones and all, and clears it.
__attribute__((no_sanitize("address"))) std::set<uint64_t> take_features()
{
    std::set<uint64_t> features;
    for (volatile uint64_t* f = __start___centipede_extra_features; f != __stop___centipede_extra_features; f++) {
        if (const uint64_t feature = *f)
            features.insert(feature);
        *f = 0;
    }
    return features;
}
#endif

// libFuzzer reads a section, from its first byte to its last; Centipede another one, AFL++ calls.
TEST(Engine, the_transitions_lie_where_fuzzers_look)
{
#ifdef __linux__
    const auto inside = [](const void* from, const void* to, const void* at) { return from <= at && at < to; };
    EXPECT_TRUE(inside(__start___libfuzzer_extra_counters, __stop___libfuzzer_extra_counters, transitions().data()));
    EXPECT_TRUE(inside(__start___libfuzzer_extra_counters, __stop___libfuzzer_extra_counters, &transitions().back()));
    take_features();
    run(all, generated(1, all));
    std::set<uint64_t> expected;
    for (size_t i = 0; i < transitions().size(); i++)
        if (transitions()[i])
            expected.insert(i + 1);
    EXPECT_GT(expected.size(), 10u);
    EXPECT_EQ(take_features(), expected);
#endif
}

// The built-in provider, but devices are told of the page beside each coherent block.
int alloc_beside(void* ctx, const dmaudit_request* request, dmaudit_block* out)
{
    const int rc = builtin_provider().coherent->alloc(ctx, request, out);
    if (rc == DMAUDIT_OK)
        out->bus ^= 4096;
    return rc;
}

TEST(EngineDeathTest, a_violation_by_the_provider_ends_the_process_with_the_lines_for_triage_first)
{
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    dmaudit_coherent coherent = *builtin_provider().coherent;
    coherent.alloc = alloc_beside;
    dmaudit_provider broken = builtin_provider();
    broken.coherent = &coherent;
    const auto campaign = [&] {
        for (uint64_t seed = 1; seed <= 1000; seed++)
            run(pool, generated(seed, pool), broken);
    };
    EXPECT_DEATH(campaign(), "^dmaudit.cc:1: ASSERTION FAILED: dmaudit (wrong-translation|misaligned) "
                             ".*->alloc_coherent\nDEDUP_TOKEN: (wrong-translation|misaligned)--.*\n"
                             "(.*\n)*.*dmaudit run --provider");
}

} // namespace
} // namespace dmaudit::fuzz
