// Cases survive every form they are written in, and what changes them keeps them valid.
#include "harness/binary.hpp"
#include "harness/mutate.hpp"
#include "harness/scope.hpp"
#include "harness/scope_testing.hpp"
#include "harness/text.hpp"
#include "properties/support.hpp"

#include <gtest/gtest.h>

namespace dmaudit::properties {
namespace {

// The shape of the generator's cases, or arguments that are any integers at all.
Case some_case(Rng& rng, const Profile& profile)
{
    if (rng.chance(1, 3))
        return testing::wild_case(rng);
    const uint64_t seed = rng.next();
    const auto steps = static_cast<unsigned>(rng.below(max_steps + 1));
    return generated(seed, profile, steps);
}

class CasesOf : public ::testing::TestWithParam<Profile> {};
INSTANTIATE_TEST_SUITE_P(Profiles, CasesOf, ::testing::ValuesIn(profiles().begin(), profiles().end()),
                         [](const auto& p) { return std::string(p.param.name); });

TEST_P(CasesOf, parse_of_print_is_the_case)
{
    for_all_seeds(250, [&](uint64_t seed) {
        Rng rng(seed);
        const Case c = some_case(rng, GetParam());
        RC_ASSERT(case_error(c) == "");
        const std::string text = print(c);
        const Parsed back = parse(text);
        if (!back.ok || !(back.value == c))
            RC_FAIL(text + "line " + std::to_string(back.error.line) + ": " + back.error.message);
        RC_ASSERT(print(back.value) == text);
    });
}

TEST_P(CasesOf, decode_of_encode_is_the_case)
{
    for_all_seeds(250, [&](uint64_t seed) {
        Rng rng(seed);
        const Case c = some_case(rng, GetParam());
        const std::vector<uint8_t> bytes = encode(c);
        RC_ASSERT(!bytes.empty());
        RC_ASSERT(bytes.size() <= max_encoded);
        Case back;
        decode(bytes, back);
        if (!(back == c))
            RC_FAIL(print(c) + "became\n" + print(back));
        RC_ASSERT(encode(back) == bytes);
    });
}

TEST_P(CasesOf, mutants_and_crossings_are_valid_and_survive_both_forms)
{
    for_all_seeds(100, [&](uint64_t seed) {
        Rng rng(seed);
        Case c = some_case(rng, GetParam());
        const Case other = some_case(rng, GetParam());
        for (unsigned i = 0; i < 8; i++) {
            if (rng.chance(1, 3)) {
                Case child;
                crossover(c, other, rng, child);
                c = child;
            } else {
                mutate(c, rng);
            }
            RC_ASSERT(case_error(c) == "");
            Case back;
            decode(encode(c), back);
            RC_ASSERT(back == c);
            const Parsed parsed = parse(print(c));
            RC_ASSERT(parsed.ok);
            RC_ASSERT(parsed.value == c);
        }
    });
}

TEST(Bytes, every_byte_string_decodes_to_a_valid_case_with_one_canonical_form)
{
    for_all_seeds(800, [](uint64_t seed) {
        Rng rng(seed);
        std::vector<uint8_t> bytes(rng.below(64 * cell_bytes));
        for (uint8_t& b : bytes)
            b = static_cast<uint8_t>(rng.next());
        if (!bytes.empty() && rng.chance(3, 4))
            bytes[0] = rng.chance(1, 8) ? 'L' : 1;
        Case c, back;
        decode(bytes, c);
        RC_ASSERT(case_error(c) == "");
        decode(encode(c), back);
        RC_ASSERT(back == c);
        RC_ASSERT(encode(back) == encode(c));
    });
}

TEST(Bytes, a_trailing_partial_cell_changes_nothing)
{
    for_all_seeds(400, [](uint64_t seed) {
        Rng rng(seed);
        const Case c = generated(rng.next(), "all", 20);
        std::vector<uint8_t> bytes = encode(c);
        const uint64_t more = 1 + rng.below(cell_bytes - 1);
        for (uint64_t i = 0; i < more; i++)
            bytes.push_back(static_cast<uint8_t>(rng.next()));
        Case back;
        decode(bytes, back);
        RC_ASSERT(back == c);
    });
}

TEST(Text, damaged_text_is_refused_or_means_a_valid_case)
{
    for_all_seeds(500, [](uint64_t seed) {
        Rng rng(seed);
        std::string text = print(generated(rng.next(), "all", 12));
        for (uint64_t n = 1 + rng.below(6); n > 0 && !text.empty(); n--) {
            const uint64_t at = rng.below(text.size()), what = rng.below(3);
            const auto letter = static_cast<char>(rng.below(256));
            if (what == 0)
                text[at] = letter;
            else if (what == 1)
                text.erase(at, 1 + rng.below(20));
            else
                text.insert(at, 1, letter);
        }
        const Parsed p = parse(text);
        if (p.ok)
            RC_ASSERT(case_error(p.value) == "");
        else
            RC_ASSERT(p.error.line >= 1u);
    });
}

} // namespace
} // namespace dmaudit::properties
