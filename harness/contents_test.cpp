#include "harness/contents.hpp"
#include "harness/rng.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace dmaudit {
namespace {

std::vector<uint8_t> filled(Contents& c, uint64_t seed, const std::vector<uint8_t>& cpu,
                            const std::vector<uint8_t>& device, uint64_t at = 0, Contents::Writer who = Contents::cpu)
{
    std::vector<uint8_t> to(cpu.size() + 1, 0xee);
    c.fill({at, cpu.size()}, who, seed, cpu.data(), device.data(), to.data());
    EXPECT_EQ(to.back(), 0xee) << "one byte too many";
    to.pop_back();
    return to;
}

TEST(Contents, a_fill_differs_from_both_old_values_whatever_they_are)
{
    Contents c;
    for (const size_t n : {1u, 16u})
        for (unsigned cpu = 0; cpu < 256; cpu++)
            for (unsigned device = 0; device < 256; device++) {
                const std::vector<uint8_t> old_cpu(n, static_cast<uint8_t>(cpu)),
                    old_device(n, static_cast<uint8_t>(device));
                for (const auto who : {Contents::cpu, Contents::device}) {
                    const auto v = filled(c, cpu ^ device * 7, old_cpu, old_device, 0, who);
                    for (size_t i = 0; i < n; i++) {
                        ASSERT_TRUE(v[i] != cpu && v[i] != device) << n << ' ' << i << ' ' << cpu << ' ' << device;
                        ASSERT_EQ(Contents::by_cpu(v[i]), who == Contents::cpu) << "it says who wrote it";
                    }
                }
            }
}

TEST(Contents, filling_again_with_the_same_seed_changes_every_byte)
{
    Contents c;
    for (uint64_t seed = 0; seed < 300; seed++)
        for (const size_t n : {1u, 15u, 16u, 17u, 31u, 100u}) {
            std::vector<uint8_t> older(n, 0x81), old(n, 0x81);
            for (unsigned round = 0; round < 6; round++) {
                const auto v = filled(c, seed, old, older);
                for (size_t i = 0; i < n; i++)
                    ASSERT_TRUE(v[i] != old[i] && v[i] != older[i]) << seed << ' ' << n << ' ' << i;
                older = old;
                old = v;
            }
        }
}

TEST(Contents, a_fill_is_the_same_with_vectors_of_any_width)
{
    Contents c;
    for (const size_t n : {16u, 255u, 256u, 257u, 272u, 1000u, 4096u})
        for (uint64_t seed = 0; seed < 20; seed++) {
            const std::vector<uint8_t> old(n, 0x81); // no value of a fill: nothing has to make way
            const auto v = filled(c, seed, old, old);
            const auto key = static_cast<uint8_t>(seed * 0x9e3779b97f4a7c15u >> 56);
            for (size_t i = 0; i < n / 16 * 16; i++)
                ASSERT_EQ(v[i], ((i % 16 * 37 + i / 16 * 29 + key) & 0x3f) | 1) << n << ' ' << seed << ' ' << i;
            ASSERT_TRUE(std::equal(v.begin(), v.end(), c.at(0))) << "what is expected later is another thing";
        }
}

TEST(Contents, a_fill_is_never_zero_initial_ram_or_scribble)
{
    Contents c;
    std::array<bool, 256> seen{};
    for (uint64_t seed = 0; seed < 500; seed++) {
        Rng rng(seed);
        std::vector<uint8_t> cpu(67), device(67);
        for (auto& b : cpu)
            b = static_cast<uint8_t>(rng.next());
        for (auto& b : device)
            b = static_cast<uint8_t>(rng.next());
        for (const uint8_t v : filled(c, seed, cpu, device, 0, seed % 2 ? Contents::cpu : Contents::device))
            seen[v] = true;
    }
    EXPECT_FALSE(seen[0]);
    for (unsigned i = 0; i < 4096; i++) {
        EXPECT_FALSE(seen[Ram::initial_page()[i]]) << "initial RAM, byte " << i;
        EXPECT_FALSE(seen[Ram::scribble(i)]) << "scribble, byte " << i;
    }
    EXPECT_FALSE(Contents::by_cpu(0)) << "nobody's";
    EXPECT_GT(std::count(seen.begin(), seen.end(), true), 32) << "too few values to tell bytes apart";
}

TEST(Contents, initial_ram_zero_and_scribble_are_told_apart)
{
    for (unsigned i = 0; i < 4096; i++) {
        EXPECT_NE(Ram::initial_page()[i], 0);
        EXPECT_NE(Ram::scribble(i), 0);
        EXPECT_LT(Ram::initial_page()[i], 0xc0) << "never a scribbled value";
        EXPECT_GE(Ram::scribble(i), 0xc0);
    }
}

TEST(Contents, the_same_call_gives_the_same_bytes)
{
    Contents a, b;
    const std::vector<uint8_t> cpu(50, 3), device(50, 0x90);
    EXPECT_EQ(filled(a, 7, cpu, device, 0), filled(b, 7, cpu, device, 0));
    EXPECT_EQ(filled(a, 7, cpu, device, 0), filled(b, 7, cpu, device, 4099)) << "wherever the bytes lie";
    EXPECT_NE(filled(a, 7, cpu, device, 0), filled(b, 8, cpu, device, 0)) << "seeds differ";
}

TEST(Contents, neighbouring_bytes_differ_so_that_a_shift_shows)
{
    Contents c;
    const std::vector<uint8_t> old(64, 0x81);
    for (uint64_t seed = 0; seed < 200; seed++) {
        const auto v = filled(c, seed, old, old);
        for (const size_t by : {1u, 2u, 4u, 8u, 16u})
            ASSERT_FALSE(std::equal(v.begin(), v.end() - static_cast<std::ptrdiff_t>(by),
                                    v.begin() + static_cast<std::ptrdiff_t>(by)))
                << seed << ' ' << by;
    }
}

TEST(Contents, remembers_the_last_writer_and_nothing_beside_its_range)
{
    Contents c;
    c.set({0, 300}, 0x55);
    const std::vector<uint8_t> old(100, 0x81);
    const auto v = filled(c, 1, old, old, 50);
    for (uint64_t i = 0; i < 300; i++)
        EXPECT_EQ(*c.at(i), i < 50 || i >= 150 ? 0x55 : v[i - 50]) << i;
    c.set({50, 1}, 0);
    EXPECT_EQ(*c.at(50), 0);
    EXPECT_EQ(*c.at(51), v[1]);
}

} // namespace
} // namespace dmaudit
