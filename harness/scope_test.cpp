#include "harness/scope.hpp"
#include "harness/scope_testing.hpp"
#include "harness/text.hpp"
#include <gtest/gtest.h>

namespace dmaudit {
namespace {

Case of(std::string_view text)
{
    const Parsed p = parse(text);
    EXPECT_TRUE(p.ok) << p.error.line << ": " << p.error.message;
    return p.value;
}
Scope after(const Case& c)
{
    Scope s(c.world);
    for (const Step& step : c.all())
        s.append(step);
    return s;
}
constexpr uint64_t b(unsigned n)
{
    return name_of(obj_buffer, n);
}
constexpr uint64_t m(unsigned n)
{
    return name_of(obj_mapping, n);
}

TEST(Scope, an_object_dies_with_the_op_that_ends_it)
{
    const Case c =
        of("b0 = buffer size=300\nb1 = buffer size=8 at=512\nm0 = map_single b0 dir=to_device\nfree_buffer b0\n");
    const Scope s = after(c);
    EXPECT_FALSE(s.alive(b(0)));
    EXPECT_TRUE(s.alive(b(1)));
    EXPECT_TRUE(s.alive(m(0)));
    EXPECT_EQ(s.find(m(1)), nullptr);
    EXPECT_EQ(s.count(obj_buffer, false), 1u);
    EXPECT_EQ(s.recent(obj_buffer | obj_mapping, true, 0).name, m(0));
    EXPECT_EQ(s.recent(obj_buffer | obj_mapping, true, 1).name, b(1));
}

TEST(Scope, lengths_come_from_size_len_or_pages)
{
    const Case c = of("b0 = buffer size=300\nm0 = map_single b0 off=20 len=100 dir=to_device\nk0 = alloc_coherent "
                      "size=9000\nw0 = mmap_from_pool k0 pages=2\n");
    const Scope s = after(c);
    EXPECT_EQ(s.find(b(0))->length, 300u);
    EXPECT_EQ(s.find(m(0))->length, 100u);
    EXPECT_EQ(s.find(name_of(obj_block, 0))->length, 9000u);
    EXPECT_EQ(s.find(name_of(obj_window, 0))->length, 8192u);
}

TEST(Scope, a_range_used_on_a_mapping_is_also_the_last_of_its_buffer)
{
    const Case c =
        of("b0 = buffer size=300\nm0 = map_single b0 off=20 len=100 dir=from_device\ndevice_write m0 off=3 len=7\n");
    const Scope s = after(c);
    EXPECT_EQ(s.find(m(0))->last, (BytesUsed{3, 7}));
    EXPECT_EQ(s.find(b(0))->last, (BytesUsed{23, 7}));
}

TEST(Scope, the_rank_is_where_recent_finds_the_object)
{
    Rng rng(5);
    for (int i = 0; i < 300; i++) {
        const Case c = testing::wild_case(rng);
        const Scope s = after(c);
        for (const Known& k : s.objects()) {
            const uint8_t kinds = static_cast<uint8_t>(name_kind(k.name) | rng.below(32));
            ASSERT_EQ(s.recent(kinds, k.alive, s.rank(k, kinds)).name, k.name);
        }
    }
}

TEST(Scope, next_is_a_number_that_is_not_taken)
{
    const Case c = of("b7 = buffer size=1\nb255 = buffer size=1 at=64\n");
    const Scope s = after(c);
    EXPECT_EQ(s.next(obj_buffer), 0u);
    EXPECT_EQ(s.next(obj_mapping), 0u);
}

TEST(Scope, a_taken_place_moves_behind_its_neighbour_and_keeps_its_phase)
{
    const Case c = of("b0 = buffer size=300 at=16\n");
    const Scope s = after(c);
    EXPECT_EQ(s.free_place(obj_buffer, 16, 8), 336u);
    EXPECT_EQ(s.free_place(obj_buffer, 60, 8), 316u) << "shares a line with the neighbour";
    EXPECT_EQ(s.free_place(obj_buffer, 8, 8), 8u);
    EXPECT_EQ(s.free_place(obj_pool, 5000, 4096), 4096u);
}

TEST(Scope, places_do_not_straddle_banks)
{
    const Case c = of("world banks=16K@0x0,16K@0x100000\n"); // 4 KiB for clients in each
    const Scope s = after(c);
    EXPECT_EQ(s.free_place(obj_buffer, 4000, 200), 4096u + 4000 % 64);
    EXPECT_EQ(s.free_place(obj_buffer, 8190, 100), 8190u % 64) << "the last bank is followed by the first";
}

TEST(Scope, free_place_ends_for_objects_at_the_top_of_the_integers)
{
    const Case c = of("b0 = buffer size=0xffffffffffffffff at=0\nb1 = buffer size=0xfffffffffffffff0 at=0x8\n");
    EXPECT_EQ(after(c).free_place(obj_buffer, 16, 8), 16u);
}

TEST(CaseError, says_what_is_wrong)
{
    const Case good = of("b0 = buffer size=300\ncpu_write b0\n");
    EXPECT_EQ(case_error(good), "");
    Case c = good;
    c.steps[1].op = op_count;
    EXPECT_EQ(case_error(c), "step 2: unknown op " + std::to_string(op_count));
    c = good;
    c.steps[1].arg[0] = b(1);
    EXPECT_EQ(case_error(c), "step 2: uses a name that is not defined");
    c = of("b0 = buffer size=300\nm0 = map_single b0 dir=to_device\ncpu_write b0\n");
    c.steps[2].arg[0] = m(0);
    EXPECT_EQ(case_error(c), "step 3: uses a name of a kind that the op does not accept");
    c = good;
    c.steps[1] = c.steps[0];
    EXPECT_EQ(case_error(c), "step 2: defines a name for the second time");
    c.steps[1].arg[0] = m(0);
    EXPECT_EQ(case_error(c), "step 2: defines a name of the wrong kind");
    c = good;
    c.steps[0].arg[7] = 1;
    EXPECT_EQ(case_error(c), "step 1: an argument that the op does not have is not 0");
    c = good;
    c.world.banks[1].size = 4096;
    EXPECT_EQ(case_error(c), "world: a bank beyond the number of banks is not at its default");
    c = good;
    c.expect = {Expect::clean, RuleId::overlap};
    EXPECT_NE(case_error(c), "");
    c = good;
    c.world.line = 48;
    EXPECT_NE(case_error(c), "");
}

TEST(CaseError, wild_cases_are_valid)
{
    Rng rng(1);
    for (int i = 0; i < 500; i++)
        ASSERT_EQ(case_error(testing::wild_case(rng)), "");
}

} // namespace
} // namespace dmaudit
