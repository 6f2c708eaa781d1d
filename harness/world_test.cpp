#include "harness/rng.hpp"
#include "harness/scope_testing.hpp"
#include "harness/world.hpp"

#include <gtest/gtest.h>

#include <string>

namespace dmaudit {
namespace {

World with_pages(uint64_t pages, uint64_t page = 4096)
{
    World w;
    w.page = page;
    w.banks[0] = {0x80000000, pages * page};
    return w;
}

TEST(World, a_bank_is_divided_into_arena_pools_and_clients_without_rest)
{
    for (const uint64_t page : {4096u, 16384u, 65536u})
        for (uint64_t pages = 4; pages < 40; pages++) {
            const World w = with_pages(pages, page);
            const Division d = divide(w, 0);
            EXPECT_EQ(d.arena + d.pool + d.client, pages * page);
            EXPECT_EQ(d.arena % page + d.pool % page + d.client % page, 0u) << "whole pages";
            EXPECT_EQ(d.arena, (pages + 1) / 2 * page) << "the first half, rounded up";
            EXPECT_GT(d.pool, 0u);
            EXPECT_GE(d.client, d.pool);
            EXPECT_LE(d.client - d.pool, page);
        }
}

TEST(World, spaces_are_the_parts_of_all_banks_one_after_the_other)
{
    World w = with_pages(8); // 4 arena, 2 pool, 2 client
    w.n_banks = 2;
    w.banks[1] = {0x1000000, 16 * 4096}; // 8, 4, 4
    ASSERT_EQ(world_error(w), "");
    EXPECT_EQ(client_space(w), 6u * 4096);
    EXPECT_EQ(pool_space(w), 6u * 4096);
    EXPECT_EQ(client_offset(w, 0, 1), 6u * 4096);
    EXPECT_EQ(client_offset(w, 2 * 4096, 4 * 4096), 8u * 4096 + 12 * 4096) << "the second bank";
    EXPECT_EQ(pool_offset(w, 0, 2 * 4096), 4u * 4096);
    EXPECT_EQ(pool_offset(w, 2 * 4096, 4096), 8u * 4096 + 8 * 4096);
}

TEST(World, a_place_must_lie_in_one_bank)
{
    World w = with_pages(8);
    w.n_banks = 2;
    w.banks[1] = {0x1000000, 8 * 4096};
    EXPECT_TRUE(client_offset(w, 4096, 4096));
    EXPECT_FALSE(client_offset(w, 4096, 4097)) << "into the next bank";
    EXPECT_FALSE(client_offset(w, client_space(w), 1));
    EXPECT_FALSE(client_offset(w, ~uint64_t{0}, 1));
    EXPECT_FALSE(client_offset(w, 0, ~uint64_t{0}));
    EXPECT_TRUE(client_offset(w, client_space(w) - 1, 1));
    EXPECT_FALSE(pool_offset(w, pool_space(w) - 1, 2));
}

TEST(World, no_two_places_are_the_same_byte)
{
    for (uint64_t seed = 0; seed < 200; seed++) {
        Rng rng(seed);
        const World w = testing::wild_world(rng);
        std::vector<int> used(16 * 40 * 4, 0); // pages; all worlds of this generator are smaller
        for (uint64_t p = 0; p < client_space(w); p += w.page)
            used.at(*client_offset(w, p, w.page) / w.page)++;
        for (uint64_t p = 0; p < pool_space(w); p += w.page)
            used.at(*pool_offset(w, p, w.page) / w.page)++;
        uint64_t at = 0;
        for (unsigned b = 0; b < w.n_banks; b++) {
            for (uint64_t p = 0; p < divide(w, b).arena; p += w.page)
                used.at((at + p) / w.page)++;
            at += w.banks[b].size;
        }
        for (uint64_t i = 0; i < at / w.page; i++)
            ASSERT_EQ(used[i], 1) << "seed " << seed << " page " << i;
    }
}

TEST(WorldError, the_default_world_and_the_extremes_can_be_built)
{
    EXPECT_EQ(world_error(World{}), "");
    World w = with_pages(4);
    EXPECT_EQ(world_error(w), "");
    w.banks[0].size = max_ram;
    EXPECT_EQ(world_error(w), "");
    w = with_pages(4);
    w.banks[0].phys = 0;
    w.devices[0].limit = 0;
    EXPECT_EQ(world_error(w), "") << "address 0 is a place like any other";
    w.banks[0].phys = ~uint64_t{0} - 5 * 4096 + 1;
    EXPECT_EQ(world_error(w), "");
}

template <class F> std::string_view error_after(F change)
{
    World w = with_pages(8);
    change(w);
    return world_error(w);
}

TEST(WorldError, says_what_is_wrong)
{
    const auto mentions = [](std::string_view error, std::string_view word) { return error.find(word) != error.npos; };
    EXPECT_TRUE(mentions(error_after([](World& w) { w.page = 8192; }), "page"));
    EXPECT_TRUE(mentions(error_after([](World& w) { w.page = 0; }), "page"));
    for (const uint64_t line : {0u, 8u, 24u, 512u})
        EXPECT_TRUE(mentions(error_after([line](World& w) { w.line = line; }), "line")) << line;
    for (const uint8_t n : {uint8_t{0}, uint8_t{5}})
        EXPECT_TRUE(mentions(error_after([n](World& w) { w.n_banks = n; }), "banks"));
    for (const uint8_t n : {uint8_t{0}, uint8_t{5}})
        EXPECT_TRUE(mentions(error_after([n](World& w) { w.n_devices = n; }), "devices"));
    EXPECT_TRUE(mentions(error_after([](World& w) { w.banks[0].phys = 100; }), "page boundaries"));
    EXPECT_TRUE(mentions(error_after([](World& w) { w.banks[0].size += 1; }), "page boundaries"));
    EXPECT_TRUE(mentions(error_after([](World& w) { w.banks[0].size = 3 * 4096; }), "at least 4 pages"));
    EXPECT_TRUE(mentions(error_after([](World& w) { w.banks[0].size = 0; }), "at least 4 pages"));
    EXPECT_TRUE(mentions(error_after([](World& w) { w.banks[0].size = max_ram + 4096; }), "8 MiB"));
    EXPECT_TRUE(mentions(error_after([](World& w) { w.banks[0].phys = ~uint64_t{0} - 8 * 4096 + 1; }), "top"));
    EXPECT_TRUE(mentions(error_after([](World& w) { w.devices[0].coherent = 2; }), "coherent"));
}

TEST(WorldError, of_several_banks)
{
    const auto two = [](uint64_t phys, uint64_t pages) {
        return error_after([=](World& w) {
            w.n_banks = 2;
            w.banks[1] = {phys, pages * 4096};
        });
    };
    EXPECT_EQ(two(0x80000000 + 8 * 4096, 8), "") << "one behind the other";
    EXPECT_EQ(two(0x80000000 - 8 * 4096, 8), "");
    EXPECT_NE(two(0x80000000 + 7 * 4096, 8), "");
    EXPECT_NE(two(0x80000000 - 7 * 4096, 8), "");
    EXPECT_NE(two(0x80000000, 4), "");
    EXPECT_NE(two(0x90000000, max_ram / 4096), "") << "8 MiB in all";
    EXPECT_NE(two(0x90000000, ~uint64_t{0} / 4096), "");
}

TEST(WorldError, a_device_must_see_every_bank_without_wrapping_and_never_at_all_ones)
{
    const auto offset = [](uint64_t phys, uint64_t off) {
        return error_after([=](World& w) {
            w.banks[0].phys = phys;
            w.devices[0].offset = off;
        });
    };
    constexpr uint64_t size = 8 * 4096;
    EXPECT_EQ(offset(0x80000000, 0 - uint64_t{0x80000000}), "") << "the bank begins at device address 0";
    EXPECT_NE(offset(0x80000000, 0 - uint64_t{0x80001000}), "") << "it wraps";
    EXPECT_EQ(offset(0, 0 - size - 4096), "") << "the page below the top";
    EXPECT_NE(offset(0, 0 - size), "") << "all ones is no address";
    EXPECT_NE(offset(0, 0 - size + 4096), "");
}

} // namespace
} // namespace dmaudit
