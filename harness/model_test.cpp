// When must an allocation succeed?
#include "harness/execute.hpp"
#include "harness/model.hpp"
#include "harness/text.hpp"
#include "providers/builtin/builtin.hpp"

#include <gtest/gtest.h>

#include <string>

namespace dmaudit {
namespace {

std::string run(const std::string& text, const dmaudit_provider& provider)
{
    const Parsed p =
        parse("world banks=64K@0x80000000 limit=0x8000bfff\n" + text); // a pool space of 4 pages; buffers are bounced
    EXPECT_TRUE(p.ok) << p.error.line << ": " << p.error.message;
    Session session;
    const Result r = execute(p.value, provider, session);
    return r.violation ? std::string(rule(r.violation->rule).name) : "clean";
}

// The built-in provider, whose pools refuse everything beyond a page.
struct Stingy {
    dmaudit_pool pool = *builtin_provider().pool;
    dmaudit_coherent coherent = *builtin_provider().coherent;
    dmaudit_provider provider = builtin_provider();
    Stingy()
    {
        pool.alloc_from = [](void* ctx, uint32_t device, uint64_t size, dmaudit_block* out, int* ours) -> int {
            if (size <= 4096)
                return builtin_provider().pool->alloc_from(ctx, device, size, out, ours);
            *ours = 0;
            return DMAUDIT_ENOMEM;
        };
        coherent.alloc = [](void* ctx, const dmaudit_request* r, dmaudit_block* out) -> int {
            return r->size <= 4096 ? builtin_provider().coherent->alloc(ctx, r, out) : static_cast<int>(DMAUDIT_ENOMEM);
        };
        provider.pool = &pool;
        provider.coherent = &coherent;
    }
    Stingy(const Stingy&) = delete;
};

const std::string pool = "p0 = declare_pool size=16K\n";
const std::string four_pages = pool + "k0 = alloc_from_pool p0 size=1\nk1 = alloc_from_pool p0 size=1\nk2 = "
                                      "alloc_from_pool p0 size=1\nk3 = alloc_from_pool p0 size=1\n";

TEST(Exhaustion, a_refusal_although_a_free_aligned_run_exists_is_spurious)
{
    Stingy s;
    EXPECT_EQ(run(pool + "k0 = alloc_from_pool p0 size=8K\n", s.provider), "spurious-failure");
    EXPECT_EQ(run(pool + "k0 = alloc_from_pool p0 size=4097\n", s.provider), "spurious-failure");
    EXPECT_EQ(run(pool + "k0 = alloc_from_pool p0 size=16K\n", s.provider), "spurious-failure");
    EXPECT_EQ(run(pool + "k0 = alloc_from_pool p0 size=4096\n", s.provider), "clean");
    EXPECT_EQ(
        run(four_pages + "release_from_pool k0\nrelease_from_pool k1\nk4 = alloc_from_pool p0 size=8K\n", s.provider),
        "spurious-failure")
        << "pages 0 and 1";
    EXPECT_EQ(run(pool + "k0 = alloc_coherent size=8K\n", s.provider), "spurious-failure")
        << "the generic call asks the pool first";
}

TEST(Exhaustion, a_refusal_for_want_of_a_run_is_right)
{
    Stingy s;
    EXPECT_EQ(run(pool + "k0 = alloc_from_pool p0 size=16385\n", s.provider), "clean") << "larger than the pool";
    EXPECT_EQ(run(pool + "k0 = alloc_from_pool p0 size=0xffffffffffffffff\n", s.provider), "clean");
    EXPECT_EQ(run(pool + "k0 = alloc_from_pool p0 size=0\n", s.provider), "clean");
    EXPECT_EQ(run(four_pages + "k4 = alloc_from_pool p0 size=8K\n", s.provider), "clean") << "full";
    EXPECT_EQ(
        run(four_pages + "release_from_pool k1\nrelease_from_pool k2\nk4 = alloc_from_pool p0 size=8K\n", s.provider),
        "clean")
        << "pages 1 and 2 are no aligned run";
    EXPECT_EQ(run("p0 = declare_pool size=12K\nk0 = alloc_from_pool p0 size=12K\n", s.provider), "clean")
        << "three pages need four";
    for (const char* text : {"k4 = alloc_from_pool p0 size=8K\n",
                             "release_from_pool k1\nrelease_from_pool k2\nk4 = alloc_from_pool p0 size=8K\n",
                             "release_from_pool k3\nrelease_from_pool k2\nk4 = alloc_from_pool p0 size=8K\n"})
        EXPECT_EQ(run(four_pages + text, builtin_provider()), "clean");
}

TEST(Exhaustion, is_not_judged_without_the_promise_or_after_a_fault)
{
    const std::string text = pool + "k0 = alloc_from_pool p0 size=8K\n";
    Stingy s;
    s.provider.promises &= ~DMAUDIT_PROMISES_FIRST_FIT;
    EXPECT_EQ(run(text, s.provider), "clean");
    EXPECT_EQ(run(pool + "fail nth=1\nk0 = alloc_from_pool p0 size=8K\n", builtin_provider()), "clean");
}

TEST(Exhaustion, a_fault_excuses_only_the_call_in_which_it_fired)
{
    Stingy s;
    EXPECT_EQ(run(pool + "fail nth=1\nb0 = buffer size=64\nm0 = map_single b0 len=64 dir=to_device\nk0 = "
                         "alloc_from_pool p0 size=8K\n",
                  s.provider),
              "spurious-failure")
        << "it did not fire";
    EXPECT_EQ(run("fail nth=1\np1 = declare_pool size=4K\n" + pool + "k0 = alloc_from_pool p0 size=8K\n", s.provider),
              "spurious-failure")
        << "it fired in the declaration";
}

TEST(Conservation, of_a_bounced_mapping)
{
    const std::string text = "b0 = buffer size=8K\ncpu_write b0 len=8K\nm0 = map_single b0 len=8K "
                             "dir=to_device\ndevice_read m0 len=8K\nunmap_single m0\n";
    EXPECT_EQ(run(text, builtin_provider()), "clean");
    // Slots that are never given back: the same mapping again and again must fail some time, and that is found.
    struct Keeps {
        dmaudit_streaming streaming = *builtin_provider().streaming;
        dmaudit_provider provider = builtin_provider();
        Keeps()
        {
            streaming.unmap_single = [](void*, const dmaudit_mapping*, uint64_t, uint32_t) -> int {
                return DMAUDIT_OK;
            };
            provider.streaming = &streaming;
        }
        Keeps(const Keeps&) = delete;
    } keeps;
    std::string many = "b0 = buffer size=8K\ncpu_write b0 len=8K\n";
    for (unsigned i = 0; i < 20; i++)
        many += "m" + std::to_string(i) + " = map_single b0 len=8K dir=to_device\nunmap_single m" + std::to_string(i) +
                "\n";
    EXPECT_EQ(run(many, keeps.provider), "spurious-failure") << "nothing lives, so there is room";
    keeps.provider.promises &= ~uint64_t{DMAUDIT_PROMISES_COMPLETE};
    EXPECT_EQ(run(many, keeps.provider), "lost-capacity");
    EXPECT_EQ(run(many, builtin_provider()), "clean");
}

// The built-in provider, which serves only so many requests, of coherent and non-coherent memory or of mappings.
struct Tired {
    static int& left()
    {
        static int n = 0;
        return n;
    }
    dmaudit_coherent coherent = *builtin_provider().coherent;
    dmaudit_streaming streaming = *builtin_provider().streaming;
    dmaudit_provider provider = builtin_provider();
    explicit Tired(int most)
    {
        left() = most;
        coherent.alloc = [](void* ctx, const dmaudit_request* r, dmaudit_block* out) -> int {
            return left()-- > 0 ? builtin_provider().coherent->alloc(ctx, r, out) : int{DMAUDIT_ENOMEM};
        };
        coherent.alloc_noncoherent = [](void* ctx, const dmaudit_request* r, uint32_t direction,
                                        dmaudit_block* out) -> int {
            return left()-- > 0 ? builtin_provider().coherent->alloc_noncoherent(ctx, r, direction, out)
                                : int{DMAUDIT_ENOMEM};
        };
        streaming.map_single = [](void* ctx, const dmaudit_request* r, void* cpu, uint32_t direction,
                                  dmaudit_mapping* m) -> int {
            return left()-- > 0 ? builtin_provider().streaming->map_single(ctx, r, cpu, direction, m)
                                : int{DMAUDIT_ENOMEM};
        };
        provider.coherent = &coherent;
        provider.streaming = &streaming;
    }
    Tired(const Tired&) = delete;
};

TEST(Conservation, of_a_mapping_that_took_device_addresses)
{
    const auto run_with = [](const char* device, const dmaudit_provider& provider) {
        const Parsed p = parse("world banks=256K@0x80000000 " + std::string(device) +
                               "\nb0 = buffer size=8K\ncpu_write b0 len=8K\nm0 = map_single b0 len=8K dir=to_device\n");
        EXPECT_TRUE(p.ok) << p.error.line << ": " << p.error.message;
        Session session;
        const Result r = execute(p.value, provider, session);
        return r.violation ? std::string(rule(r.violation->rule).name) : "clean";
    };
    EXPECT_EQ(run_with("iommu=yes", Tired(1).provider), "lost-capacity") << "there are no addresses for a second";
    EXPECT_EQ(run_with("iommu=yes", Tired(2).provider), "clean");
    EXPECT_EQ(run_with("iommu=no", Tired(1).provider), "clean") << "mapped in place, it took nothing";
}

TEST(Conservation, of_whatever_was_had_once)
{
    for (const char* text : {"k0 = alloc_coherent size=4K\n", "k0 = alloc_opaque size=4K\n",
                             "k0 = alloc_noncoherent size=4K dir=to_device\n"}) {
        EXPECT_EQ(run(text, Tired(1).provider), "lost-capacity") << text;
        EXPECT_EQ(run(text, Tired(2).provider), "clean") << text;
    }
}

TEST(Codes, a_result_that_is_none_of_them_is_a_wrong_return)
{
    static int code = 0;
    dmaudit_coherent coherent = *builtin_provider().coherent;
    coherent.alloc = [](void*, const dmaudit_request*, dmaudit_block*) -> int { return code; };
    dmaudit_provider provider = builtin_provider();
    provider.coherent = &coherent;
    for (const int wrong : {-12, -1, DMAUDIT_EBADF + 1, 1000}) {
        code = wrong;
        EXPECT_EQ(run("k0 = alloc_coherent size=4K\n", provider), "wrong-return") << wrong;
    }
    for (const int right : {DMAUDIT_ENOMEM, DMAUDIT_EIO, DMAUDIT_EBUSY}) {
        code = right;
        EXPECT_NE(run("fail nth=1\nk0 = alloc_coherent size=4K\n", provider), "wrong-return") << right;
    }
}

TEST(Conservation, is_judged_only_of_what_once_succeeded)
{
    EXPECT_EQ(run("k0 = alloc_coherent size=1M\n", builtin_provider()), "clean");
    EXPECT_EQ(
        run(pool + "k0 = alloc_from_pool p0 size=16K\nrelease_from_pool k0\nrelease_pool p0\n", builtin_provider()),
        "clean")
        << "the pool is gone";
    EXPECT_EQ(run("k0 = alloc_coherent size=16K\n" + pool + "k1 = alloc_coherent size=16K\n", builtin_provider()),
              "clean")
        << "a pool has taken over";
}

} // namespace
} // namespace dmaudit
