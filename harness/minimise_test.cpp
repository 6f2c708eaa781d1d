#include "harness/generate.hpp"
#include "harness/minimise.hpp"
#include "harness/rng.hpp"
#include "harness/scope.hpp"
#include "harness/smaller.hpp"
#include "harness/text.hpp"
#include <gtest/gtest.h>

#include <algorithm>

namespace dmaudit {
namespace {

// Stands for a bug: the device writes at least `least` bytes through a mapping whose buffer the CPU reads later.
bool fails(const Case& c, uint64_t least)
{
    Scope scope(c.world);
    std::array<bool, max_names> written{};
    for (const Step& s : c.all()) {
        if (s.op == Ops::index_of<ops::DeviceWrite>()) {
            const auto w = unpack<ops::DeviceWrite>(s);
            const Known* k = scope.find(w.object.v);
            if (k && k->alive && k->parent != Known::no_parent && w.len.v >= least)
                written[name_number(scope.objects()[k->parent].name)] = true;
        } else if (s.op == Ops::index_of<ops::CpuRead>()) {
            const uint64_t name = unpack<ops::CpuRead>(s).object.v;
            if (name_kind(name) == obj_buffer && written[name_number(name)])
                return true;
        }
        scope.append(s);
    }
    return false;
}

TEST(Minimise, finds_the_four_steps_of_a_bug_and_their_smallest_values)
{
    unsigned found = 0, tries = 0;
    Case c;
    for (uint64_t seed = 0; seed < 2000 && found < 50; seed++) {
        generate(seed, *profile_named("streaming"), c, 64);
        if (!fails(c, 40))
            continue;
        found++;
        const Minimised m = minimise(c, [](const Case& k) { return fails(k, 40); });
        tries += m.tries;
        ASSERT_TRUE(m.one_minimal);
        ASSERT_TRUE(fails(m.value, 40));
        World plain;
        plain.mode = Mode::conforming;
        plain.banks[0].size = 16384;
        EXPECT_EQ(m.value.world, plain);
        ASSERT_EQ(m.value.count, 4) << print(m.value);
        EXPECT_EQ(print(m.value.steps[0]), "b0 = buffer size=0");
        EXPECT_EQ(print(m.value.steps[1]), "m0 = map_single b0 len=0 dir=bidirectional");
        EXPECT_EQ(print(m.value.steps[2]), "device_write m0 len=40");
        EXPECT_EQ(print(m.value.steps[3]), "cpu_read b0 len=0");
    }
    ASSERT_EQ(found, 50u);
    std::printf("[ measured ] %u tries for a case\n", tries / found);
}

TEST(Minimise, every_accepted_case_is_valid_and_cheaper)
{
    Case c;
    generate(3, *profile_named("all"), c, 60);
    Cost last = cost_of(c);
    Rng rng(1);
    minimise(c,
             [&](const Case& k) {
                 EXPECT_EQ(case_error(k), "");
                 EXPECT_LT(cost_of(k), last);
                 if (rng.chance(1, 2))
                     return false;
                 last = cost_of(k);
                 return true;
             },
             {20000, 0});
}

// The bug: a pool is released by the call that belongs to the one that declared it.
TEST(Minimise, a_plainer_op_takes_with_it_the_one_that_gives_back)
{
    const Parsed p = parse("bind\np0 = managed_declare size=4096\nmanaged_release p0\n");
    ASSERT_TRUE(p.ok) << p.error.message;
    const auto released = [](const Case& c) {
        const auto has = [&](std::string_view op) {
            return std::any_of(c.all().begin(), c.all().end(), [&](const Step& s) { return specs()[s.op].name == op; });
        };
        return (has("bind") && has("managed_declare") && has("managed_release")) ||
               (has("declare_pool") && has("release_pool"));
    };
    const Minimised m = minimise(p.value, released);
    ASSERT_EQ(m.value.count, 2) << print(m.value);
    EXPECT_EQ(print(m.value.steps[1]), "release_pool p0");
}

// The bug: 16 KiB of coherent memory are taken.
TEST(Minimise, one_object_takes_the_room_of_several)
{
    const Parsed p = parse("k0 = alloc_coherent size=4096\nk1 = alloc_coherent size=1\nk2 = alloc_coherent size=4096\n"
                           "k3 = alloc_coherent size=4000\n");
    ASSERT_TRUE(p.ok) << p.error.message;
    const Minimised m = minimise(p.value, [](const Case& c) {
        uint64_t pages = 0;
        for (const Step& s : c.all())
            pages += (s.arg[layouts()[s.op].size] + 4095) / 4096;
        return pages >= 4;
    });
    ASSERT_EQ(m.value.count, 1) << print(m.value);
}

TEST(Minimise, a_plainer_op_takes_the_place_of_one_that_makes_the_same)
{
    const Parsed p = parse("b0 = buffer size=64\nm0 = map_single_within b0 off=8 len=8 dir=to_device limit=4096\n"
                           "cpu_read b0 len=1\n");
    ASSERT_TRUE(p.ok) << p.error.message;
    const Minimised m = minimise(p.value, [](const Case& c) { // any map, of the bytes from 8 on
        return c.count == 3 && c.steps[1].arg[2] == 8;
    });
    EXPECT_EQ(print(m.value.steps[1]), "m0 = map_single b0 off=8 len=0 dir=bidirectional");
}

TEST(Minimise, what_does_not_fail_each_time_is_left_as_it_is)
{
    Case c;
    generate(3, *profile_named("all"), c, 60);
    for (unsigned fails_in = 0; fails_in < 3; fails_in++) { // the first so many runs
        unsigned runs = 0;
        const Minimised m = minimise(c, [&](const Case&) { return runs++ < fails_in; });
        EXPECT_FALSE(m.deterministic);
        EXPECT_FALSE(m.one_minimal);
        EXPECT_EQ(m.value, c);
        EXPECT_EQ(m.tries, fails_in + 1);
    }
    EXPECT_TRUE(minimise(c, [](const Case&) { return true; }).deterministic);
}

TEST(Minimise, without_unrelated_keeps_what_the_last_step_depends_on)
{
    const Parsed p = parse("b0 = buffer size=64\nb1 = buffer size=64 at=64\nfail nth=1\nm0 = map_single b0 "
                           "dir=to_device\nm1 = map_single b1 dir=to_device\ncpu_read b1 len=1\ncpu_read b0 "
                           "len=1\nunmap_single m1\nunmap_single m0\n");
    ASSERT_TRUE(p.ok);
    std::string left;
    const Case kept = without_unrelated(p.value);
    for (const Step& s : kept.all())
        left += print(s) + "; ";
    EXPECT_EQ(left, "b0 = buffer size=64; fail nth=1; m0 = map_single b0 len=64 dir=to_device; cpu_read b0 len=1; "
                    "unmap_single m0; ");
    EXPECT_EQ(without_unrelated(Case{}), Case{});
}

TEST(Minimise, a_spent_budget_gives_the_best_so_far_and_claims_nothing)
{
    Case c;
    uint64_t seed = 0;
    do
        generate(seed++, *profile_named("streaming"), c, 64);
    while (!fails(c, 40));
    for (const unsigned tries : {0u, 1u, 5u, 20u}) {
        const Minimised m = minimise(c, [](const Case& k) { return fails(k, 40); }, {tries});
        EXPECT_LE(m.tries, tries);
        EXPECT_TRUE(m.deterministic);
        EXPECT_TRUE(fails(m.value, 40));
        EXPECT_FALSE(m.one_minimal);
    }
}

TEST(Minimise, one_minimal_is_true_only_if_no_step_can_go)
{
    // Needs an odd number of `fail` steps: removing any one breaks it, removing two does not.
    const Parsed p = parse("fail\nfail\nfail\n");
    const Minimised m = minimise(p.value, [](const Case& k) { return k.count % 2 == 1; });
    EXPECT_EQ(m.value.count, 1);
    EXPECT_TRUE(m.one_minimal);
}

// Cases whose steps all are needed, with an object too many.
TEST(Minimise, one_object_takes_the_place_of_two)
{
    const auto left = [](const char* text, auto still_fails) {
        const Parsed p = parse(text);
        EXPECT_TRUE(p.ok) << p.error.message;
        EXPECT_TRUE(still_fails(p.value));
        const Minimised m = minimise(p.value, still_fails);
        EXPECT_TRUE(m.one_minimal);
        std::string out;
        for (const Step& s : m.value.all())
            out += print(s) + "; ";
        return out;
    };
    const auto steps = [](const Case& c, auto op) {
        const auto is = [&](const Step& s) { return s.op == op; };
        return std::count_if(c.all().begin(), c.all().end(), is);
    };
    constexpr auto unmap = Ops::index_of<ops::UnmapSingle>(), free = Ops::index_of<ops::FreeBuffer>(),
                   write = Ops::index_of<ops::CpuWrite>();
    // Of whichever buffers, each use is needed.
    EXPECT_EQ(left("b0 = buffer size=64\nb1 = buffer size=64 at=64\nm0 = map_single b0 dir=to_device\nunmap_single "
                   "m0\nm1 = map_single b1 dir=to_device\nunmap_single m1\n",
                   [&](const Case& c) { return steps(c, unmap) == 2; }),
              "b0 = buffer size=0; m0 = map_single b0 len=0 dir=bidirectional; unmap_single m0; unmap_single m0; ");
    // The later one is the one that is needed: 32 bytes from 64 on.
    EXPECT_EQ(left("b0 = buffer size=8\nb1 = buffer size=32 at=64\ncpu_write b0 len=1\ncpu_write b1 len=1\n",
                   [&](const Case& c) {
                       const auto needed = [](const Step& s) { return print(s).ends_with("size=32 at=64"); };
                       return steps(c, write) == 2 && std::any_of(c.all().begin(), c.all().end(), needed);
                   }),
              "b0 = buffer size=32 at=64; cpu_write b0 len=0; cpu_write b0 len=0; ");
    // Both were given back, but nobody may do that twice: the steps between would have to stay without.
    EXPECT_EQ(left("b0 = buffer size=64\nb1 = buffer size=64 at=64\ncpu_write b0\ncpu_write b1\nfree_buffer "
                   "b0\nfree_buffer b1\n",
                   [&](const Case& c) { return steps(c, write) >= 1 && steps(c, free) == 1 + (steps(c, write) == 2); }),
              "b0 = buffer size=0; cpu_write b0 len=0; free_buffer b0; ");
    // Two are needed, but not of the same step.
    EXPECT_EQ(left("b0 = buffer size=64\nb1 = buffer size=64 at=64\ncpu_write b0\ncpu_write b1\nfree_buffer b1\n",
                   [&](const Case& c) {
                       Scope scope(c.world);
                       for (const Step& s : c.all())
                           scope.append(s);
                       return scope.objects().size() == 2 && steps(c, free) == 1;
                   }),
              "b0 = buffer size=0; b1 = buffer size=0; free_buffer b0; ");
}

TEST(Minimise, stopped_from_outside_it_gives_the_best_so_far)
{
    Case c;
    generate(3, *profile_named("all"), c, 60);
    unsigned runs = 0;
    Budget budget;
    budget.stop = [&] { return runs >= 10; };
    const Minimised m = minimise(
        c, [&](const Case& k) { return ++runs, k.count > 0; }, budget);
    EXPECT_EQ(runs, 10u);
    EXPECT_TRUE(m.deterministic);
    EXPECT_FALSE(m.one_minimal);
    EXPECT_LT(cost_of(m.value), cost_of(c));
}

TEST(Minimise, without_removes_what_depends)
{
    const Parsed p = parse("b0 = buffer size=64\nb1 = buffer size=64 at=64\nm0 = map_single b0 dir=to_device\ncpu_read "
                           "b1\nunmap_single m0\n");
    ASSERT_TRUE(p.ok);
    EXPECT_EQ(without(p.value, 0, 1).count, 2);
    EXPECT_EQ(without(p.value, 2, 1).count, 3);
    EXPECT_EQ(without(p.value, 4, 1).count, 4);
    EXPECT_EQ(without(p.value, 0, 5).count, 0);
}

} // namespace
} // namespace dmaudit
