#include "harness/binary.hpp"
#include "harness/generate.hpp"
#include "harness/mutate.hpp"
#include "harness/scope_testing.hpp"
#include "harness/text.hpp"
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <map>

namespace dmaudit {
namespace {

TEST(Mutate, results_are_valid_whatever_the_case)
{
    Rng rng(31);
    for (int i = 0; i < 300; i++) {
        Case c;
        if (rng.chance(1, 2))
            c = testing::wild_case(rng);
        else
            generate(rng.next(), profiles()[static_cast<size_t>(i) % profiles().size()], c);
        for (int k = 0; k < 20; k++) {
            mutate(c, rng);
            ASSERT_EQ(case_error(c), "") << print(c);
        }
    }
}

TEST(Mutate, a_change_is_small_and_nearly_every_call_makes_one)
{
    Rng rng(32);
    unsigned same = 0, kept = 0, all = 0;
    for (int i = 0; i < 1000; i++) {
        Case c, before;
        generate(rng.next(), *profile_named("all"), before);
        c = before;
        mutate(c, rng);
        same += c == before;
        std::array<unsigned, op_count> ops{};
        for (const Step& s : before.all())
            ops[s.op]++;
        for (const Step& s : c.all())
            if (ops[s.op]) {
                ops[s.op]--;
                kept++;
            }
        all += before.count;
    }
    std::printf("[ measured ] %u of 1000 calls changed nothing, %u %% of the ops are kept\n", same, kept * 100 / all);
    EXPECT_LT(same, 50u);
    EXPECT_GT(kept * 100, all * 80);
}

TEST(Mutate, every_kind_of_change_happens)
{
    Rng rng(33);
    bool longer = false, shorter = false, other_world = false, other_mode = false, other_value = false;
    for (int i = 0; i < 2000; i++) {
        Case before;
        generate(rng.next(), *profile_named("all"), before, 16);
        Case c = before;
        mutate(c, rng);
        longer |= c.count > before.count;
        shorter |= c.count < before.count;
        other_mode |= c.world.mode != before.world.mode;
        before.world.mode = c.world.mode;
        other_world |= !(c.world == before.world);
        bool same_ops = c.count == before.count;
        for (unsigned k = 0; same_ops && k < c.count; k++)
            same_ops = c.steps[k].op == before.steps[k].op;
        other_value |= same_ops && !(c == before);
    }
    EXPECT_TRUE(longer && shorter && other_world && other_mode && other_value);
}

// Swarm: one call in so many stays with a few families, and kinds of change, where else all of them come.
TEST(Mutate, some_calls_prefer_a_few_families)
{
    const Case none;
    const auto narrow = [&](bool swarm) { // of calls that insert much, those with two families at most
        Rng rng(38);
        unsigned many = 0, few = 0;
        for (int i = 0; i < 20000; i++) {
            Case c = none;
            mutate(c, rng, swarm);
            std::array<unsigned, 8> in_family{};
            unsigned own = 0; // ops of one family only: makers of what is missing are of several, mostly
            for (const Step& s : c.all())
                if (const uint32_t f = specs()[s.op].facets; std::has_single_bit(f) && f != facet_strict)
                    in_family[static_cast<size_t>(std::countr_zero(f))]++, own++;
            std::sort(in_family.rbegin(), in_family.rend());
            many += own >= 6;
            few += own >= 6 && in_family[0] + in_family[1] == own;
        }
        return few * 1000 / std::max(many, 1u);
    };
    const unsigned with = narrow(true), without = narrow(false);
    std::printf("[ measured ] of 1000 calls that insert much, %u are about two families; without swarm %u\n", with,
                without);
    EXPECT_GE(2 * with, 3 * without + 20);
}

TEST(Mutate, a_full_case_stays_within_its_limit)
{
    Rng rng(34);
    Case c;
    generate(1, *profile_named("all"), c, max_steps);
    for (int i = 0; i < 2000; i++) {
        mutate(c, rng);
        ASSERT_LE(c.count, max_steps);
    }
}

TEST(Mutate, an_unchanged_prefix_keeps_its_names)
{
    // Renumbering would change every later reference: the case would be another one.
    Rng rng(35);
    const Parsed p = parse("b3 = buffer size=64\nb7 = buffer size=64 at=64\ncpu_write b3\ncpu_write b7\nm9 = "
                           "map_single b7 dir=to_device\n");
    ASSERT_TRUE(p.ok);
    unsigned kept = 0;
    for (int i = 0; i < 200; i++) {
        Case c = p.value;
        mutate(c, rng);
        kept += c.count > 1 && c.steps[0].op == 0 && c.steps[0].arg[0] == name_of(obj_buffer, 3);
    }
    EXPECT_GT(kept, 100u);
}

// Numbers come from where something ends: bytes that a caller got wrong by one lie there.
TEST(Mutate, values_are_those_of_lines_pages_powers_of_two_and_limits_and_pairs_that_overflow)
{
    const Parsed p = parse("world page=4096 line=128 banks=256K@0x40000000 coherent=no limit=0x7fffffff\n"
                           "b0 = buffer size=1000\nm0 = map_single b0 off=100 len=300 dir=bidirectional\n"
                           "sync_single_for_cpu m0 off=20 len=30\nk0 = alloc_coherent size=5000\n");
    ASSERT_TRUE(p.ok) << p.error.message;
    std::map<uint64_t, unsigned> seen;
    unsigned overflows = 0, behind = 0;
    Rng rng(37);
    for (int i = 0; i < 150000; i++) {
        Case c = p.value;
        mutate(c, rng);
        for (unsigned k = 0; k < std::min(c.count, p.value.count); k++) {
            const Step &now = c.steps[k], &before = p.value.steps[k];
            if (now.op != before.op)
                break;
            const Layout& l = layouts()[now.op];
            for (size_t a = 0; a < l.n_fields; a++)
                if (now.arg[a] != before.arg[a] && l.shapes[a] != Shape::use && l.shapes[a] != Shape::def)
                    seen[now.arg[a]]++;
            if (l.off == Layout::absent || l.len == Layout::absent || now.arg[l.off] == before.arg[l.off])
                continue;
            overflows += now.arg[l.off] + now.arg[l.len] < now.arg[l.off];
            behind += now.arg[l.off] == 300; // where what was mapped ends
        }
    }
    for (const uint64_t edge : {uint64_t{128}, uint64_t{4096}, uint64_t{0x7fffffff}, uint64_t{0x40000000} + (256 << 10)})
        for (const uint64_t v : {edge - 1, edge, edge + 1})
            EXPECT_GT(seen[v], 0u) << v;
    for (unsigned n = 0; n < 64; n++) {
        const uint64_t power = uint64_t{1} << n;
        EXPECT_GT(seen[power - 1] + seen[power] + seen[power + 1], 0u) << n;
    }
    EXPECT_GT(seen[0] + seen[1], 100u);
    EXPECT_GT(seen[all_ones], 0u);
    EXPECT_GT(overflows, 100u);
    EXPECT_GT(behind, 10u);
}

TEST(Crossover, the_head_of_one_and_the_tail_of_another_make_a_valid_case)
{
    Rng rng(36);
    unsigned steps = 0, taken = 0;
    for (int i = 0; i < 1000; i++) {
        const Case a = testing::wild_case(rng);
        Case b, out;
        generate(rng.next(), *profile_named("all"), b);
        crossover(a, b, rng, out);
        ASSERT_EQ(case_error(out), "") << print(out);
        World full = out.world; // a large one may have been made smaller
        full.banks = (out.world.devices == a.world.devices && out.world.page == a.world.page ? a : b).world.banks;
        ASSERT_TRUE(full == a.world || full == b.world);
        crossover(b, b, rng, out);
        ASSERT_EQ(case_error(out), "") << print(out);
        steps += b.count;
        taken += out.count;
    }
    EXPECT_GT(taken * 100, steps * 70) << "half of one and half of the other, most of it usable";
}

// Numbers mean nothing across cases: a name that the tail has lost its maker of becomes one of the living of the head.
TEST(Crossover, what_the_tail_uses_is_found_among_the_living_of_the_head)
{
    const auto parsed = [](const char* text) {
        const Parsed p = parse(text);
        EXPECT_TRUE(p.ok) << p.error.message;
        return p.value;
    };
    const Case head = parsed("world mode=conforming\nb0 = buffer size=64\nfree_buffer b0\nb1 = buffer size=64\n"),
               tail = parsed("world mode=conforming\nb0 = buffer size=128\ncpu_write b0 len=64 seed=9\n");
    Rng rng(37);
    unsigned met = 0;
    for (int i = 0; i < 200; i++) {
        Case out;
        crossover(head, tail, rng, out);
        if (out.count != 4 || specs()[out.steps[3].op].name != "cpu_write")
            continue;
        met++;
        EXPECT_EQ(out.steps[3].arg[0], name_of(obj_buffer, 1)) << print(out);
    }
    EXPECT_GT(met, 5u);
}

} // namespace
} // namespace dmaudit
