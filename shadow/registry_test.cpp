// The sets and slots of the registry, against naive ones.
#include "shadow/registry.hpp"

#include <gtest/gtest.h>

#include <bitset>
#include <random>
#include <set>
#include <vector>

namespace dmaudit {
namespace {

constexpr uint64_t span_bytes = 192;
constexpr unsigned room = 32; // separate ranges that a set holds

struct Bitmap {
    std::bitset<span_bytes + 2> bits; // bit i + 1 is byte i; the ends are clear
    void set(Range r, bool on)
    {
        for (uint64_t i = r.at; i < r.end(); i++)
            bits[i + 1] = on;
    }
    bool in(uint64_t i) const { return bits[i + 1]; }
    unsigned runs() const
    {
        unsigned n = 0;
        for (size_t i = 1; i < bits.size(); i++)
            n += bits[i] && !bits[i - 1];
        return n;
    }
    bool all(Range r) const
    {
        for (uint64_t i = r.at; i < r.end(); i++)
            if (!in(i))
                return false;
        return true;
    }
    bool any(Range r) const
    {
        for (uint64_t i = r.at; i < r.end(); i++)
            if (in(i))
                return true;
        return false;
    }
    uint64_t edge(uint64_t from, uint64_t end) const
    {
        for (uint64_t i = from + 1; i < end; i++)
            if (bits[i] != bits[i + 1])
                return i;
        return end;
    }
};

class Random {
  public:
    explicit Random(uint32_t seed) : engine_(seed) {}
    uint64_t below(uint64_t n) { return engine_() % n; }
    Range range(uint64_t longest)
    {
        const uint64_t len = below(longest + 1);
        const uint64_t at = below(span_bytes - len + 1);
        return {at, len};
    }

  private:
    std::mt19937 engine_;
};

TEST(Held, answers_like_a_bitmap)
{
    unsigned full = 0;
    for (uint32_t seed = 0; seed < 400; seed++) {
        Random random(seed);
        Held held;
        Bitmap naive;
        const uint64_t longest = 1 + random.below(20);
        for (unsigned step = 0; step < 200; step++) {
            const Range r = random.range(longest);
            const bool add = random.below(2);
            Bitmap after = naive;
            after.set(r, add);
            const bool fits = add ? held.add(r) : held.remove(r);
            if (!fits) { // the auditor gives up then: what the set holds does not matter any more
                full++;
                held.clear();
                naive = {};
                continue;
            }
            naive = after;
            ASSERT_LE(naive.runs(), room);
            const Range q = random.range(30);
            ASSERT_EQ(held.covers(q), naive.all(q)) << seed << ' ' << step;
            ASSERT_EQ(held.touches(q), naive.any(q)) << seed << ' ' << step;
            if (!q.empty()) {
                ASSERT_EQ(held.next_edge(q.at, q.end()), naive.edge(q.at, q.end())) << seed << ' ' << step;
            }
        }
    }
    EXPECT_GT(full, 0u) << "the limit was never met";
}

TEST(Held, has_room_for_so_many_separate_ranges_and_says_when_it_has_none)
{
    Held held;
    for (uint64_t i = 0; i < room; i++)
        ASSERT_TRUE(held.add({i * 4, 2}));
    EXPECT_FALSE(held.add({room * 4, 2}));

    Held one;
    ASSERT_TRUE(one.add({0, span_bytes}));
    for (uint64_t i = 0; i < room - 1; i++)
        ASSERT_TRUE(one.remove({i * 4 + 2, 2})) << i;
    EXPECT_FALSE(one.remove({room * 4, 2}));
}

TEST(Held, joins_neighbours_so_that_a_hand_over_byte_by_byte_fits)
{
    Held held;
    for (uint64_t i = 0; i < span_bytes; i++)
        ASSERT_TRUE(held.add({i, 1}));
    EXPECT_TRUE(held.covers({0, span_bytes}));
    Held backwards;
    for (uint64_t i = span_bytes; i-- > 0;)
        ASSERT_TRUE(backwards.add({i, 1}));
    EXPECT_TRUE(backwards.covers({0, span_bytes}));
    Held odd_first;
    for (uint64_t i = 0; i < 2 * room; i += 2)
        ASSERT_TRUE(odd_first.add({i, 1}));
    for (uint64_t i = 1; i < 2 * room; i += 2)
        ASSERT_TRUE(odd_first.add({i, 1}));
    EXPECT_TRUE(odd_first.covers({0, 2 * room}));
}

TEST(Held, a_full_set_takes_again_what_it_holds)
{
    Held held;
    for (uint64_t i = 0; i < room; i++)
        ASSERT_TRUE(held.add({i * 6, 4}));
    EXPECT_TRUE(held.add({6, 4})) << "the whole of a range";
    EXPECT_TRUE(held.add({7, 2})) << "bytes inside a range";
    EXPECT_TRUE(held.covers({6, 4}));
}

TEST(Held, empty_ranges_change_nothing)
{
    Held held;
    EXPECT_TRUE(held.add({5, 0}));
    EXPECT_FALSE(held.touches({0, span_bytes}));
    EXPECT_TRUE(held.covers({5, 0}));
    ASSERT_TRUE(held.add({4, 4}));
    EXPECT_TRUE(held.remove({6, 0}));
    EXPECT_TRUE(held.covers({4, 4}));
    EXPECT_FALSE(held.touches({6, 0}));
    held.clear();
    EXPECT_FALSE(held.touches({4, 4}));
}

TEST(Tags, name_kind_and_slot_and_are_never_zero)
{
    for (const Kind k : {Kind::buffer, Kind::mapping, Kind::block, Kind::pool, Kind::window})
        for (const uint32_t slot : {0u, 1u, 1023u}) {
            const Tag t = make_tag(k, slot);
            EXPECT_NE(t, 0u);
            EXPECT_EQ(tag_kind(t), k);
            EXPECT_EQ(tag_slot(t), slot);
        }
}

using Buffers = Slots<BufferRecord, Kind::buffer>;

TEST(Slots, remember_what_lives_and_what_is_dead)
{
    for (uint32_t seed = 0; seed < 50; seed++) {
        Random random(seed);
        Buffers slots;
        std::set<Tag> living, dead;
        for (unsigned step = 0; step < 600; step++) {
            if (living.empty() || random.below(3)) {
                const Tag t = slots.add({{step, 1}});
                ASSERT_NE(t, 0u);
                ASSERT_TRUE(!living.contains(t) && !dead.contains(t)) << "a slot was used twice";
                living.insert(t);
                ASSERT_EQ(slots[t].at.at, step);
            } else {
                const Tag t = slots.live(static_cast<uint32_t>(random.below(slots.live_count())));
                ASSERT_EQ(living.erase(t), 1u);
                dead.insert(t);
                slots.remove(t);
            }
            ASSERT_EQ(slots.live_count(), living.size());
        }
        std::set<Tag> listed;
        for (uint32_t i = 0; i < slots.live_count(); i++)
            listed.insert(slots.live(i));
        EXPECT_EQ(listed, living);
        for (const Tag t : living)
            EXPECT_TRUE(slots.alive(t) && slots.known(t));
        for (const Tag t : dead)
            EXPECT_TRUE(!slots.alive(t) && slots.known(t));
    }
}

TEST(Slots, run_out_instead_of_using_a_slot_twice)
{
    Buffers slots;
    for (uint32_t i = 0; i < Buffers::capacity; i++) {
        const Tag t = slots.add({});
        ASSERT_NE(t, 0u);
        if (i % 2)
            slots.remove(t);
    }
    EXPECT_EQ(slots.add({}), 0u);
    EXPECT_EQ(slots.live_count(), Buffers::capacity / 2);
    slots.clear();
    EXPECT_EQ(slots.live_count(), 0u);
    EXPECT_FALSE(slots.known(make_tag(Kind::buffer, 0)));
    EXPECT_NE(slots.add({}), 0u);
}

TEST(Slots, know_neither_nobody_nor_other_kinds_nor_what_was_never_made)
{
    Buffers slots;
    const Tag t = slots.add({});
    EXPECT_TRUE(slots.known(t));
    EXPECT_FALSE(slots.known(0));
    EXPECT_FALSE(slots.known(make_tag(Kind::block, tag_slot(t))));
    EXPECT_FALSE(slots.known(make_tag(Kind::buffer, 1)));
    EXPECT_FALSE(slots.alive(make_tag(Kind::buffer, Buffers::capacity)));
}

} // namespace
} // namespace dmaudit
