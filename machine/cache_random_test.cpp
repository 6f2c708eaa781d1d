// The cache against three plain arrays.
#include "machine/cache_testing.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

namespace dmaudit {
namespace {

constexpr uint64_t bytes = cache_bytes;

// ---- random operations against three plain arrays

struct Naive {
    uint64_t page, line;
    std::vector<uint8_t> c, d, s;                 // each byte: the CPU's view, the device's, what was exchanged
    std::vector<bool> forced, device_wrote, bare; // each byte, of its line or page; bare: uncached
    std::vector<uint64_t> over_stale, dropped;

    Naive(uint64_t page_, uint64_t line_) : page(page_), line(line_), forced(bytes), device_wrote(bytes), bare(bytes)
    {
        for (uint64_t at = 0; at < bytes; at++)
            c.push_back(Ram::initial_page()[at % 4096]);
        d = s = c;
    }
    bool dirty(uint64_t at) const { return !bare[at] && c[at] != s[at]; }
    bool stale(uint64_t at) const { return !bare[at] && s[at] != d[at]; }
    bool line_dirty(uint64_t at) const
    {
        bool any = false;
        for (uint64_t i = at / line * line; i < at / line * line + line; i++)
            any = any || (!bare[i] && forced[i]) || dirty(i);
        return any;
    }
    template <class F> void each_line(uint64_t at, uint64_t len, F f)
    {
        for (uint64_t l = 0; l < bytes; l += line)
            if (len && l < at + len && at < l + line && !bare[l])
                f(l);
    }
    void exchanged(uint64_t l)
    {
        for (uint64_t i = l; i < l + line; i++)
            forced[i] = device_wrote[i] = false;
    }
    void clean(uint64_t at, uint64_t len)
    {
        each_line(at, len, [this](uint64_t l) {
            if (!line_dirty(l))
                return;
            if (device_wrote[l])
                over_stale.push_back(l);
            for (uint64_t i = l; i < l + line; i++)
                d[i] = s[i] = c[i];
            exchanged(l);
        });
    }
    void drop(uint64_t l)
    {
        for (uint64_t i = l; i < l + line; i++)
            c[i] = s[i] = d[i];
        exchanged(l);
    }
    void invalidate(uint64_t at, uint64_t len)
    {
        each_line(at, len, [this](uint64_t l) {
            if (line_dirty(l))
                dropped.push_back(l);
            drop(l);
        });
    }
    void evict(uint64_t at, uint64_t len)
    {
        clean(at, len);
        each_line(at, len, [this](uint64_t l) { drop(l); });
    }
    void prefetch(uint64_t at, uint64_t len)
    {
        each_line(at, len, [this](uint64_t l) {
            if (!line_dirty(l))
                drop(l);
        });
    }
    void wrote(uint64_t at, uint64_t len)
    {
        each_line(at, len, [this](uint64_t l) {
            for (uint64_t i = l; i < l + line; i++)
                forced[i] = true;
        });
    }
    void device_write(uint64_t at, const std::vector<uint8_t>& in)
    {
        for (uint64_t i = 0; i < in.size(); i++)
            (bare[at + i] ? c : d)[at + i] = in[i];
        each_line(at, in.size(), [this](uint64_t l) {
            for (uint64_t i = l; i < l + line; i++)
                device_wrote[i] = true;
        });
    }
    void coherent_write(uint64_t at, const std::vector<uint8_t>& in)
    {
        for (uint64_t i = 0; i < in.size(); i++)
            c[at + i] = d[at + i] = s[at + i] = in[i];
    }
    void set_uncached(uint64_t first, bool on)
    {
        for (uint64_t i = first; i < first + page; i++) {
            if (bare[i] == on)
                continue;
            if (on)
                c[i] = d[i];
            d[i] = s[i] = c[i];
            bare[i] = on;
            forced[i] = device_wrote[i] = false;
        }
    }
    uint8_t device_view(uint64_t at) const { return bare[at] ? c[at] : d[at]; }
};

class Dice {
  public:
    explicit Dice(uint64_t seed) : s_(seed) {}
    uint64_t below(uint64_t n)
    {
        s_ += 0x9e3779b97f4a7c15u;
        uint64_t z = s_;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return (z ^ (z >> 31)) % n;
    }

  private:
    uint64_t s_;
};

TEST_F(CacheTest, RandomOperationsAgreeWithThreePlainArrays)
{
    unsigned seen_stale = 0, seen_over_stale = 0, seen_dropped = 0, seen_uncached = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        const uint64_t line = uint64_t{16} << seed % 5;
        cache.reset();
        begin(4096, line, true);
        told = {};
        Naive naive(4096, line);
        Dice dice(seed);
        for (unsigned step = 0; step < 200; step++) {
            // A small window, so that operations meet; it lies across a page border.
            const uint64_t at = 4096 - 300 + dice.below(600), len = dice.below(4) ? dice.below(100) : dice.below(8);
            std::vector<uint8_t> data(len);
            data.reserve(1); // never a null pointer
            for (uint8_t& v : data)
                v = static_cast<uint8_t>(dice.below(3)); // few values: silent stores and A-B-A happen
            switch (dice.below(11)) {
            case 0:
            case 1:
                std::copy(data.begin(), data.end(), ram.door() + at);
                std::copy(data.begin(), data.end(), naive.c.begin() + static_cast<std::ptrdiff_t>(at));
                break;
            case 2:
                cache.wrote(at, len);
                naive.wrote(at, len);
                break;
            case 3:
                cache.clean(at, len);
                naive.clean(at, len);
                break;
            case 4:
                cache.invalidate(at, len);
                naive.invalidate(at, len);
                break;
            case 5:
                cache.evict(at, len);
                naive.evict(at, len);
                break;
            case 6:
                cache.prefetch(at, len);
                naive.prefetch(at, len);
                break;
            case 7:
            case 8:
                cache.write(at, len, data.data());
                naive.device_write(at, data);
                break;
            case 9:
                cache.coherent_write(at, len, data.data());
                naive.coherent_write(at, data);
                break;
            default: {
                if (dice.below(3))
                    break;
                const uint64_t first = at / 4096 * 4096;
                const bool on = dice.below(2) != 0;
                cache.set_uncached(first, 4096, on);
                naive.set_uncached(first, on);
                seen_uncached += on;
            }
            }
            std::vector<uint8_t> view(1024);
            cache.read(3584, view.size(), view.data());
            std::optional<uint64_t> difference, stale;
            const uint64_t part = 3584 + dice.below(900), part_end = part + dice.below(4608 - part + 1);
            for (uint64_t i = 3584; i < 3584 + 1024; i++) {
                const bool same = load(i) == naive.c[i] && view[i - 3584] == naive.device_view(i) &&
                                  cache.byte_dirty(i) == naive.dirty(i) && cache.byte_stale(i) == naive.stale(i) &&
                                  cache.uncached(i) == naive.bare[i] &&
                                  (i % line || cache.line_dirty(i) == naive.line_dirty(i));
                ASSERT_TRUE(same) << "seed " << seed << " step " << step << " at " << i;
                if (!difference && naive.c[i] != naive.device_view(i))
                    difference = i;
                if (!stale && part <= i && i < part_end && naive.stale(i))
                    stale = i;
                seen_stale += naive.stale(i);
            }
            ASSERT_EQ(cache.first_difference(3584, 1024), difference) << "seed " << seed << " step " << step;
            ASSERT_EQ(cache.first_stale(part, part_end - part), stale) << "seed " << seed << " step " << step;
            ASSERT_EQ(told.over_stale, naive.over_stale) << "seed " << seed << " step " << step;
            ASSERT_EQ(told.dropped, naive.dropped) << "seed " << seed << " step " << step;
        }
        seen_over_stale += static_cast<unsigned>(told.over_stale.size());
        seen_dropped += static_cast<unsigned>(told.dropped.size());
    }
    // It did come across what it is about.
    EXPECT_GT(seen_stale, 1000u);
    EXPECT_GT(seen_over_stale, 100u);
    EXPECT_GT(seen_dropped, 100u);
    EXPECT_GT(seen_uncached, 20u);
}

} // namespace
} // namespace dmaudit
