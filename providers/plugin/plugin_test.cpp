// SPDX-License-Identifier: MIT
#include "providers/plugin/plugin.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <variant>

namespace {

using dmaudit::Plugin;

std::string error_of(const std::string& path)
{
    const auto result = Plugin::open(path);
    const auto* error = std::get_if<std::string>(&result);
    return error != nullptr ? *error : "no error";
}

bool contains(const std::string& text, const std::string& part)
{
    return text.find(part) != text.npos;
}

TEST(Plugin, LoadsTheExample)
{
    auto result = Plugin::open(EXAMPLE);
    ASSERT_TRUE(std::holds_alternative<Plugin>(result)) << std::get<std::string>(result);
    const Plugin plugin = std::move(std::get<Plugin>(result)); // still loaded when moved
    EXPECT_STREQ(plugin.provider().name, "example");
    EXPECT_EQ(plugin.path(), EXAMPLE);
}

TEST(Plugin, NamesTheFileThatCannotBeLoaded)
{
    EXPECT_TRUE(contains(error_of("/nowhere/provider.so"), "/nowhere/provider.so: expected a shared object"));
    EXPECT_TRUE(contains(error_of("libc.so.6"), "libc.so.6: expected a shared object")) << "no search path";

    const std::string text = testing::TempDir() + "plugin_test_text.so";
    std::ofstream(text) << "not a shared object\n";
    EXPECT_TRUE(contains(error_of(text), text + ": expected a shared object"));
    EXPECT_TRUE(contains(error_of(testing::TempDir()), "expected a shared object"));
}

TEST(Plugin, SaysWhatIsMissing)
{
    EXPECT_TRUE(contains(error_of(NO_SYMBOL), "expected the symbol dmaudit_provider, found none"))
        << error_of(NO_SYMBOL);
    EXPECT_EQ(error_of(WRONG_ABI), WRONG_ABI ": abi is 7, expected 1");
    EXPECT_EQ(error_of(NO_FACET), NO_FACET ": no facet is set, expected at least one of coherent, streaming, pool, scatter, managed, dma_buf");
}

TEST(Plugin, ChecksEveryMemberThatIsRequired)
{
    static const dmaudit_coherent coherent{sizeof coherent, 0, nullptr, nullptr};
    dmaudit_provider good{};
    good.abi = DMAUDIT_ABI;
    good.struct_size = sizeof good;
    good.name = "a-1";
    good.summary = "";
    good.open = [](const dmaudit_platform*, void**) -> int { return DMAUDIT_OK; };
    good.close = [](void*) {};
    good.coherent = &coherent;
    EXPECT_EQ(dmaudit::complaint(&good), "");

    const auto complaint = [&](auto&& spoil) {
        dmaudit_provider bad = good;
        spoil(bad);
        return dmaudit::complaint(&bad);
    };
    EXPECT_EQ(complaint([](auto& p) { p.struct_size *= 2; }), "") << "newer tables are longer";
    constexpr uint32_t first = offsetof(dmaudit_provider, pool) + sizeof good.pool; // as the first version had it
    EXPECT_EQ(complaint([](auto& p) { p.struct_size = first; }), "") << "older ones are shorter";
    EXPECT_TRUE(contains(complaint([](auto& p) { p.struct_size = first - 1; }), "struct_size is "));
    EXPECT_TRUE(contains(complaint([](auto& p) { p.abi = 0; }), "abi is 0, expected 1"));
    EXPECT_TRUE(contains(complaint([](auto& p) { p.name = nullptr; }), "name is null"));
    for (const char* name : {"", "Upper", "under_score", "two words", "a/b"})
        EXPECT_TRUE(contains(complaint([&](auto& p) { p.name = name; }), "name is \"")) << name;
    EXPECT_TRUE(contains(complaint([](auto& p) { p.summary = nullptr; }), "summary is null"));
    EXPECT_TRUE(contains(complaint([](auto& p) { p.summary = "two\nlines"; }), "summary is \"two?lines\""));
    EXPECT_TRUE(contains(complaint([](auto& p) { p.name = "\x1b[2J"; }), "name is \"?[2J\""));
    EXPECT_TRUE(contains(complaint([](auto& p) { p.open = nullptr; }), "open is null"));
    EXPECT_TRUE(contains(complaint([](auto& p) { p.close = nullptr; }), "close is null"));
    EXPECT_TRUE(contains(complaint([](auto& p) { p.coherent = nullptr; }), "no facet"));
    EXPECT_TRUE(contains(dmaudit::complaint(nullptr), "returned null"));
}

// Two arenas of four pages, the second out of the reach of 16 MiB; device 0 does not snoop.
class Example : public testing::Test {
  protected:
    static constexpr uint64_t page = 4096;

    void SetUp() override
    {
        auto result = Plugin::open(EXAMPLE);
        ASSERT_TRUE(std::holds_alternative<Plugin>(result));
        plugin_ = std::make_unique<Plugin>(std::move(std::get<Plugin>(result)));
        platform_.abi = DMAUDIT_ABI;
        platform_.struct_size = sizeof platform_;
        platform_.self = this;
        platform_.page = page;
        platform_.line = 64;
        platform_.n_banks = platform_.n_arenas = platform_.n_devices = 2;
        platform_.banks = banks_;
        platform_.arenas = arenas_;
        platform_.devices = devices_;
        platform_.clean = [](void*, uint64_t, uint64_t) {};
        platform_.set_uncached = [](void* self, uint64_t phys, uint64_t len, int on) -> int {
            auto& uncached = static_cast<Example*>(self)->uncached_;
            for (uint64_t at = phys; at < phys + len; at += page)
                EXPECT_EQ(on ? uncached.insert(at).second : uncached.erase(at) == 1, true) << at;
            return DMAUDIT_OK;
        };
        platform_.meta_alloc = [](void* self, size_t bytes) -> void* {
            auto& t = *static_cast<Example*>(self);
            return t.meta_live_ < 0 ? nullptr : (t.meta_live_++, std::malloc(bytes));
        };
        platform_.meta_free = [](void* self, void* p) {
            static_cast<Example*>(self)->meta_live_--;
            std::free(p);
        };
        std::memset(ram_, 0xa5, sizeof ram_);
        ASSERT_EQ(provider().open(&platform_, &ctx_), DMAUDIT_OK);
    }

    void TearDown() override
    {
        provider().close(ctx_);
        EXPECT_EQ(meta_live_, 0);
        EXPECT_TRUE(uncached_.empty());
    }

    const dmaudit_provider& provider() const { return plugin_->provider(); }

    int alloc(dmaudit_request request, dmaudit_block& out)
    {
        request.struct_size = sizeof request;
        out = {};
        out.struct_size = sizeof out;
        return provider().coherent->alloc(ctx_, &request, &out);
    }
    int free(const dmaudit_block& block) { return provider().coherent->free(ctx_, &block); }

    static dmaudit_request asking(uint32_t device, uint64_t size)
    {
        dmaudit_request r{};
        r.device = device;
        r.size = size;
        return r;
    }

    alignas(page) unsigned char ram_[2][4 * page];
    dmaudit_bank banks_[2] = {{0x10000, 4 * page, ram_[0]}, {0x1000000, 4 * page, ram_[1]}};
    dmaudit_range arenas_[2] = {{0x10000, 4 * page}, {0x1000000, 4 * page}};
    dmaudit_device devices_[2] = {{sizeof(dmaudit_device), 0, UINT64_MAX, 0x100000000},
                                  {sizeof(dmaudit_device), 1, 0xffffff, 0}};
    dmaudit_platform platform_{};
    std::set<uint64_t> uncached_;
    int meta_live_ = 0;
    std::unique_ptr<Plugin> plugin_;
    void* ctx_ = nullptr;
    dmaudit_block a_{}, b_{}, c_{};
};

TEST_F(Example, BlocksAreFirstFitAndZeroToTheEndOfTheirPages)
{
    ASSERT_EQ(alloc(asking(1, 10), a_), DMAUDIT_OK);
    ASSERT_EQ(alloc(asking(1, page + 1), b_), DMAUDIT_OK);
    EXPECT_EQ(a_.bus, 0x10000u);
    EXPECT_EQ(b_.bus, 0x10000u + page);
    EXPECT_EQ(b_.cpu, ram_[0] + page);
    EXPECT_EQ(b_.granted, 2 * page);
    for (uint64_t i = 0; i < 3 * page; i++)
        ASSERT_EQ(ram_[0][i], 0);
    EXPECT_EQ(ram_[0][3 * page], 0xa5);
    EXPECT_EQ(free(a_), DMAUDIT_OK);
    EXPECT_EQ(free(a_), DMAUDIT_EFAULT);
    ASSERT_EQ(alloc(asking(1, page), c_), DMAUDIT_OK);
    EXPECT_EQ(c_.bus, a_.bus);
}

TEST_F(Example, LimitAlignmentAndBoundaryAreHonouredOrRefused)
{
    ASSERT_EQ(alloc(asking(1, 4 * page), a_), DMAUDIT_OK);
    EXPECT_EQ(alloc(asking(1, 1), b_), DMAUDIT_EMASK) << "only the second arena is left";
    EXPECT_EQ(alloc(asking(0, 1), b_), DMAUDIT_OK);
    EXPECT_EQ(b_.bus, 0x101000000u);
    auto request = asking(0, page);
    request.align = 2 * page;
    EXPECT_EQ(alloc(request, c_), DMAUDIT_OK);
    EXPECT_EQ(c_.bus, 0x101002000u);
    EXPECT_EQ(free(c_), DMAUDIT_OK);
    request.align = 0x10000000;
    EXPECT_EQ(alloc(request, c_), DMAUDIT_EALIGN);
    request = asking(0, 2 * page);
    request.boundary = 2 * page;
    EXPECT_EQ(alloc(request, c_), DMAUDIT_OK);
    EXPECT_EQ(c_.bus, 0x101002000u);
    EXPECT_EQ(alloc(asking(0, 2 * page), b_), DMAUDIT_ENOMEM);
}

TEST_F(Example, ImpossibleRequestsAreRefused)
{
    EXPECT_EQ(alloc(asking(2, 1), a_), DMAUDIT_ENODEV);
    EXPECT_EQ(alloc(asking(0, 0), a_), DMAUDIT_EZERO);
    EXPECT_EQ(alloc(asking(0, UINT64_MAX), a_), DMAUDIT_ENOMEM);
    EXPECT_EQ(alloc(asking(0, 5 * page), a_), DMAUDIT_ENOMEM) << "arenas are not joined";
    auto request = asking(0, 1);
    request.align = 3;
    EXPECT_EQ(alloc(request, a_), DMAUDIT_EINVAL);
    meta_live_ = -1;
    void* ctx = nullptr;
    EXPECT_EQ(provider().open(&platform_, &ctx), DMAUDIT_ENOMEM);
    meta_live_ = 1;
}

TEST_F(Example, PagesAreUncachedForDevicesThatDoNotSnoopUntilFreedOrClosed)
{
    ASSERT_EQ(alloc(asking(0, 3 * page), a_), DMAUDIT_OK);
    EXPECT_EQ(uncached_, (std::set<uint64_t>{0x10000, 0x11000, 0x12000}));
    ASSERT_EQ(alloc(asking(1, page), b_), DMAUDIT_OK);
    EXPECT_EQ(uncached_.size(), 3u);
    EXPECT_EQ(free(a_), DMAUDIT_OK);
    EXPECT_TRUE(uncached_.empty());
    ASSERT_EQ(alloc(asking(0, 4 * page), c_), DMAUDIT_OK); // in the second arena, and never freed
    EXPECT_EQ(uncached_.size(), 4u);
}

} // namespace
