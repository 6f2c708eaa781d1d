// AFL++'s view of the mutator: a shared object that makes cases of the target that it was told.
#include "fuzz/targets.hpp"
#include "harness/binary.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <dlfcn.h>
#include <set>
#include <vector>

namespace dmaudit::fuzz {
namespace {

using Bytes = std::vector<uint8_t>;

struct Library {
    void* const handle = dlopen(DMAUDIT_AFL_MUTATOR, RTLD_NOW);
    template <class F> F* symbol(const char* name) const { return reinterpret_cast<F*>(dlsym(handle, name)); }
    void* (*const init)(void*, unsigned) = symbol<void*(void*, unsigned)>("afl_custom_init");
    size_t (*const fuzz)(void*, uint8_t*, size_t, uint8_t**, uint8_t*, size_t, size_t) =
        symbol<size_t(void*, uint8_t*, size_t, uint8_t**, uint8_t*, size_t, size_t)>("afl_custom_fuzz");
    void (*const deinit)(void*) = symbol<void(void*)>("afl_custom_deinit");
};

const Library& library()
{
    static const Library l;
    return l;
}

// `n` inputs, each made of the one before and, every other time, the one before that.
std::vector<Bytes> inputs(const char* target, unsigned seed, unsigned n, size_t max)
{
    setenv("DMAUDIT_FUZZ_TARGET", target, 1);
    void* m = library().init(nullptr, seed);
    EXPECT_NE(m, nullptr);
    std::vector<Bytes> made{{0}, {0}};
    while (m && made.size() < n + 2) {
        Bytes last = made.back(), other = made[made.size() - 2];
        const Bytes was = last;
        uint8_t* out = nullptr;
        const bool two = made.size() % 2;
        const size_t got = library().fuzz(m, last.data(), last.size(), &out, two ? other.data() : nullptr,
                                          two ? other.size() : 0, max);
        EXPECT_EQ(last, was) << "the input is AFL++'s";
        EXPECT_LE(got, max);
        made.emplace_back(out, out + got);
    }
    library().deinit(m);
    return made;
}

TEST(AflMutator, makes_cases_of_its_target)
{
    ASSERT_NE(library().handle, nullptr) << dlerror();
    ASSERT_TRUE(library().init && library().fuzz && library().deinit);
    std::vector<const Target*> targets(std::begin(case_targets), std::end(case_targets));
    targets.push_back(&any_provider);
    for (const Target* t : targets) {
        std::set<uint8_t> ops;
        std::set<Bytes> different;
        for (const Bytes& b : inputs(t->name.data(), 1, 1000, 2048)) {
            Case c;
            decode(b, c);
            for (unsigned i = 0; i < c.count; i++)
                ops.insert(c.steps[i].op);
            different.insert(b);
        }
        EXPECT_GT(different.size(), 900u) << t->name;
        EXPECT_GT(ops.size(), 5u) << t->name;
        for (const uint8_t op : ops)
            EXPECT_TRUE(contains(t->profile, op)) << t->name << ": " << specs()[op].name;
    }
}

TEST(AflMutator, keeps_to_the_room_that_there_is)
{
    for (const size_t max : {1u, 15u, 16u, 100u, 1u << 20})
        EXPECT_EQ(inputs("fuzz_all", 3, 200, max).size(), 202u);
}

TEST(AflMutator, the_same_seed_makes_the_same_inputs)
{
    EXPECT_EQ(inputs("fuzz_streaming", 7, 100, 2048), inputs("fuzz_streaming", 7, 100, 2048));
    EXPECT_NE(inputs("fuzz_streaming", 7, 100, 2048), inputs("fuzz_streaming", 8, 100, 2048));
}

TEST(AflMutator, says_which_targets_there_are)
{
    for (const char* name : {"", "fuzz_nothing", "fuzz_case_text"}) {
        setenv("DMAUDIT_FUZZ_TARGET", name, 1);
        EXPECT_EXIT(library().init(nullptr, 1), testing::ExitedWithCode(2), "expected one of fuzz_provider fuzz_pool");
    }
}

} // namespace
} // namespace dmaudit::fuzz
