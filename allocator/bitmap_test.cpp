#include "allocator/bitmap.hpp"

#include <map>
#include <vector>

#include <gtest/gtest.h>

namespace dmaudit::alloc {
namespace {

// The specification: a vector of flags and Linux' walk over aligned positions.
class Naive {
  public:
    explicit Naive(std::uint64_t pages) : used_(pages, false) {}
    std::uint64_t find(unsigned order) const
    {
        const std::uint64_t run = std::uint64_t{1} << order;
        for (std::uint64_t pos = 0; pos + run <= used_.size(); pos += run)
            if (is_free(pos, run))
                return pos;
        return Bitmap::kNone;
    }
    bool is_free(std::uint64_t first, std::uint64_t count) const
    {
        for (std::uint64_t i = first; i < first + count; i++)
            if (i >= used_.size() || used_[i])
                return false;
        return true;
    }
    void set(std::uint64_t first, std::uint64_t count, bool used)
    {
        for (std::uint64_t i = first; i < first + count; i++)
            used_[i] = used;
    }

  private:
    std::vector<bool> used_;
};

struct Fixture {
    explicit Fixture(std::uint64_t pages) : storage(Bitmap::storage_bytes(pages) / 8 + 1)
    {
        bitmap.attach(pages, storage.data());
    }
    std::vector<std::uint64_t> storage;
    Bitmap bitmap;
};

class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(seed * 2 + 1) {}
    std::uint64_t below(std::uint64_t n)
    {
        state_ = state_ * 6364136223846793005u + 1442695040888963407u;
        return (state_ >> 33) % n;
    }

  private:
    std::uint64_t state_;
};

class BitmapSizes : public testing::TestWithParam<std::uint64_t> {};

TEST_P(BitmapSizes, PlacesEveryBlockWhereTheNaiveWalkDoes)
{
    const std::uint64_t pages = GetParam();
    Fixture f(pages);
    Naive naive(pages);
    std::map<std::uint64_t, unsigned> live;
    Random random(pages);
    for (int step = 0; step < 4000; step++) {
        if (random.below(100) < 55) {
            // Mostly small orders, sometimes one that fills half of the pool or cannot fit at all.
            const unsigned order = static_cast<unsigned>(random.below(4) != 0 ? random.below(3) : random.below(18));
            const std::uint64_t expected = naive.find(order);
            ASSERT_EQ(f.bitmap.find(order), expected) << "order " << order << " step " << step;
            ASSERT_EQ(f.bitmap.alloc(order), expected);
            if (expected != Bitmap::kNone) {
                naive.set(expected, std::uint64_t{1} << order, true);
                live[expected] = order;
            }
        } else if (!live.empty()) {
            auto it = live.lower_bound(random.below(pages));
            if (it == live.end())
                it = live.begin();
            ASSERT_TRUE(f.bitmap.release(it->first, it->second));
            naive.set(it->first, std::uint64_t{1} << it->second, false);
            live.erase(it);
        }
    }
    for (const auto& [page, order] : live)
        ASSERT_TRUE(f.bitmap.release(page, order));
    EXPECT_TRUE(f.bitmap.is_free(0, pages));
    for (unsigned order = 0; (pages >> order) != 0; order++)
        EXPECT_EQ(f.bitmap.find(order), 0u) << order;
}

INSTANTIATE_TEST_SUITE_P(Sizes, BitmapSizes,
                         testing::Values(1, 2, 3, 20, 63, 64, 65, 127, 128, 511, 512, 513, 1000, 4096, 4097, 16384,
                                         40000));

TEST(Bitmap, TakesRunsThatAreNotAligned)
{
    for (std::uint64_t pages : {60u, 700u, 5000u}) {
        Fixture f(pages);
        Naive naive(pages);
        std::map<std::uint64_t, unsigned> live;
        Random random(pages + 1);
        for (int step = 0; step < 3000; step++) {
            const std::uint64_t page = random.below(pages);
            const unsigned order = static_cast<unsigned>(random.below(9));
            const bool free = naive.is_free(page, std::uint64_t{1} << order);
            ASSERT_EQ(f.bitmap.is_free(page, std::uint64_t{1} << order), free);
            if (free) {
                f.bitmap.take(page, order);
                naive.set(page, std::uint64_t{1} << order, true);
                live[page] = order;
            } else if (!live.empty() && random.below(3) == 0) {
                ASSERT_TRUE(f.bitmap.release(live.begin()->first, live.begin()->second));
                naive.set(live.begin()->first, std::uint64_t{1} << live.begin()->second, false);
                live.erase(live.begin());
            }
            for (unsigned o = 0; o < 10; o++)
                ASSERT_EQ(f.bitmap.find(o), naive.find(o)) << pages << " pages, order " << o << ", step " << step;
        }
    }
}

TEST(Bitmap, RefusesIllegalReleasesAndChangesNothing)
{
    for (std::uint64_t pages : {40u, 1000u}) {
        Fixture f(pages);
        const std::uint64_t a = f.bitmap.alloc(0);
        const std::uint64_t b = f.bitmap.alloc(2);
        ASSERT_EQ(a, 0u);
        ASSERT_EQ(b, 4u);
        EXPECT_FALSE(f.bitmap.release(b, 0)) << "wrong order";
        EXPECT_FALSE(f.bitmap.release(b, 3)) << "wrong order";
        EXPECT_FALSE(f.bitmap.release(b + 1, 0)) << "interior page";
        EXPECT_FALSE(f.bitmap.release(a, 1)) << "would free a neighbour";
        EXPECT_FALSE(f.bitmap.release(pages, 0)) << "outside";
        EXPECT_FALSE(f.bitmap.release(Bitmap::kNone, 0));
        EXPECT_FALSE(f.bitmap.release(0, 255));
        EXPECT_FALSE(f.bitmap.release(20, 0)) << "never taken";
        EXPECT_EQ(f.bitmap.find(0), 1u);
        EXPECT_EQ(f.bitmap.find(2), 8u);
        EXPECT_TRUE(f.bitmap.release(b, 2));
        EXPECT_FALSE(f.bitmap.release(b, 2)) << "double release";
        EXPECT_TRUE(f.bitmap.release(a, 0));
    }
}

TEST(Bitmap, FindsTheBlockThatAPageLiesIn)
{
    Fixture f(1000);
    ASSERT_EQ(f.bitmap.alloc(0), 0u);
    ASSERT_EQ(f.bitmap.alloc(7), 128u);
    EXPECT_EQ(f.bitmap.block_of(0), 0u);
    EXPECT_EQ(f.bitmap.block_of(1), Bitmap::kNone);
    EXPECT_EQ(f.bitmap.block_of(128), 128u);
    EXPECT_EQ(f.bitmap.block_of(255), 128u);
    EXPECT_EQ(f.bitmap.block_of(256), Bitmap::kNone);
    EXPECT_EQ(f.bitmap.block_of(5000), Bitmap::kNone);
}

TEST(Bitmap, NeverHandsOutReservedPages)
{
    Fixture f(24);
    f.bitmap.reserve(0, 5);
    EXPECT_EQ(f.bitmap.alloc(2), 8u);
    EXPECT_EQ(f.bitmap.alloc(0), 5u);
    EXPECT_FALSE(f.bitmap.release(0, 0));
}

TEST(Bitmap, RefusesOrdersBeyondAnyPool)
{
    Fixture small(5);
    Fixture large(5000);
    for (unsigned order : {13u, 40u, 52u, 63u, 64u, 200u}) {
        EXPECT_EQ(small.bitmap.alloc(order), Bitmap::kNone);
        EXPECT_EQ(large.bitmap.alloc(order), Bitmap::kNone);
    }
    EXPECT_EQ(small.bitmap.alloc(3), Bitmap::kNone) << "8 pages of 5";
}

} // namespace
} // namespace dmaudit::alloc
