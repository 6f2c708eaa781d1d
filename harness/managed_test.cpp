// Ops of managed DMA, which often name only a device, through the passes over cases.
#include "harness/binary.hpp"
#include "harness/generate.hpp"
#include "harness/minimise.hpp"
#include "harness/mutate.hpp"
#include "harness/scope.hpp"
#include "harness/text.hpp"

#include <gtest/gtest.h>

namespace dmaudit {
namespace {

constexpr std::string_view every_op = R"(# dmaudit case 1
world coherent=no page=4096 line=64 banks=1M@0x80000000 limit=0xffffffff
bind
add_action
p0 = managed_declare size=16K at=0
k0 = managed_alloc size=4096 zero=yes
open_group
k1 = managed_alloc_noncoherent size=300 dir=from_device
open_group
k2 = managed_alloc size=64
release_group nth=1
managed_free k0
managed_release p0
k3 = managed_alloc_noncoherent size=300 dir=to_device
managed_free_noncoherent k3
unbind
expect clean
)";

Case parsed(std::string_view text)
{
    const Parsed p = parse(text);
    EXPECT_TRUE(p.ok) << p.error.line << ": " << p.error.message;
    return p.value;
}

Scope scope_after(const Case& c, unsigned steps)
{
    Scope scope(c.world);
    for (unsigned i = 0; i < steps; i++)
        scope.append(c.steps[i]);
    return scope;
}

TEST(ManagedOps, SurviveTextAndBytes)
{
    const Case c = parsed(every_op);
    EXPECT_EQ(parsed(print(c)), c);
    Case back;
    decode(encode(c), back);
    EXPECT_EQ(back, c);
}

TEST(ManagedOps, AGroupEndsWhatWasTakenSince)
{
    const Case c = parsed(every_op);
    const Scope open = scope_after(c, 8), closed = scope_after(c, 9);
    EXPECT_EQ(open.open_groups(0), 2u);
    EXPECT_EQ(closed.open_groups(0), 0u);
    for (const unsigned k : {1u, 2u}) {
        EXPECT_TRUE(open.alive(name_of(obj_block, k)));
        EXPECT_FALSE(closed.alive(name_of(obj_block, k)));
    }
    EXPECT_TRUE(closed.alive(name_of(obj_block, 0)));
    EXPECT_TRUE(closed.alive(name_of(obj_pool, 0)));
}

TEST(ManagedOps, UnbindEndsWhatIsManagedOnItsDeviceOnly)
{
    const Case c = parsed(R"(# dmaudit case 1
world coherent=no page=4096 line=64 banks=1M@0x80000000 limit=0xffffffff
device
bind dev=0
bind dev=1
k0 = managed_alloc dev=0 size=64
k1 = managed_alloc dev=1 size=64
k2 = alloc_coherent dev=0 size=64
p0 = managed_declare dev=0 size=4096 at=0
open_group dev=1
unbind dev=0
expect clean
)");
    const Scope scope = scope_after(c, c.count);
    EXPECT_FALSE(scope.alive(name_of(obj_block, 0)));
    EXPECT_TRUE(scope.alive(name_of(obj_block, 1)));
    EXPECT_TRUE(scope.alive(name_of(obj_block, 2)));
    EXPECT_FALSE(scope.alive(name_of(obj_pool, 0)));
    EXPECT_EQ(scope.open_groups(1), 1u);
}

TEST(ManagedOps, GeneratedAndMutatedCasesAreValidAndSurviveBytes)
{
    Rng rng(1);
    for (uint64_t seed = 0; seed < 300; seed++) {
        Case c, back;
        generate(seed, *profile_named("managed"), c, 40);
        for (int i = 0; i < 3; i++) {
            ASSERT_EQ(case_error(c), "") << seed;
            decode(encode(c), back);
            ASSERT_EQ(back, c) << seed;
            mutate(c, rng);
        }
    }
}

TEST(ManagedOps, AreMinimisedToTheOneThatMatters)
{
    const Case c = parsed(every_op);
    const Minimised small = minimise_by(c,
                                        [](const Case& x) {
                                            for (const Step& s : x.all())
                                                if (s.op == Ops::index_of<ops::ReleaseGroup>())
                                                    return true;
                                            return false;
                                        },
                                        {});
    ASSERT_EQ(small.value.count, 1);
    EXPECT_EQ(small.value.steps[0].arg[1], 0u);
    EXPECT_TRUE(small.one_minimal);
}

} // namespace
} // namespace dmaudit
