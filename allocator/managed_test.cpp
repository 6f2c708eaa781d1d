#include "allocator/managed.hpp"

#include <atomic>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "allocator/allocator.hpp"
#include "allocator/testing_platform.hpp"

namespace dmaudit::alloc {
namespace {

using dmaudit::testing::TestPlatform;

constexpr std::uint64_t kPage = 4096;

dmaudit_request request(std::uint32_t device, std::uint64_t size, std::uint32_t attrs = 0)
{
    return {sizeof(dmaudit_request), device, size, 0, 0, 0, DMAUDIT_ZERO, attrs};
}

// What an action does when its turn comes.
struct Step {
    std::string* log;
    char name;
    static void run(void* data)
    {
        const Step* step = static_cast<Step*>(data);
        step->log->push_back(step->name);
    }
};

// Device 0 is coherent, device 1 is not: its live blocks are seen as uncached pages. Arena: pages 0 to 7.
class ManagedTest : public ::testing::Test {
  protected:
    ManagedTest() : machine(32, 8), allocator(std::move(*Allocator::open(machine.raw))), managed(allocator->managed())
    {
    }
    ~ManagedTest() override
    {
        allocator.reset();
        EXPECT_EQ(machine.meta_live, 0);
        EXPECT_TRUE(machine.uncached.empty());
    }
    Status act(std::uint32_t device, Step& step) { return managed.add_action(device, Step::run, &step); }
    bool arena_is_free()
    {
        const Result<Block> all = allocator->alloc_coherent(request(0, 8 * kPage));
        return all && allocator->free_coherent(*all);
    }
    // The test's count of metadata is not made for threads, but for what is live.
    void metadata_from_any_thread()
    {
        machine.raw.meta_alloc = [](void* self, std::size_t bytes) {
            static_cast<TestPlatform*>(self)->meta_live++;
            return std::malloc(bytes);
        };
    }
    static PhysAddr pool_at(std::uint64_t page) { return {TestPlatform::kBase + page * kPage}; }
    Status declare(std::uint32_t device, std::uint64_t page = 16)
    {
        return managed.declare_coherent_memory(device, pool_at(page), {pool_at(page).value}, 2 * kPage, true);
    }

    TestPlatform machine;
    Allocator::Owner allocator;
    Managed& managed;
    std::string log;
    Step a{&log, 'a'}, b{&log, 'b'}, c{&log, 'c'}, d{&log, 'd'};
};

TEST_F(ManagedTest, OnlyABoundDeviceTakesAnything)
{
    EXPECT_EQ(managed.bind(9).error(), DmaError::NoSuchDevice);
    EXPECT_EQ(managed.unbind(1).error(), DmaError::NoSuchDevice);
    ASSERT_TRUE(managed.bind(0));
    EXPECT_EQ(managed.bind(0).error(), DmaError::Busy);
    EXPECT_EQ(managed.alloc(request(1, 1)).error(), DmaError::NoSuchDevice);
    EXPECT_EQ(managed.alloc_noncoherent(request(1, 1), Direction::ToDevice).error(), DmaError::NoSuchDevice);
    EXPECT_EQ(declare(1).error(), DmaError::NoSuchDevice);
    EXPECT_EQ(managed.release_declared_memory(1).error(), DmaError::NoSuchDevice);
    EXPECT_EQ(act(1, a).error(), DmaError::NoSuchDevice);
    EXPECT_EQ(managed.add_action(0, nullptr, &a).error(), DmaError::NullPointer);
    EXPECT_EQ(managed.open_group(1, 1).error(), DmaError::NoSuchDevice);
    EXPECT_EQ(managed.release_group(1, 1).error(), DmaError::NoSuchDevice);
    EXPECT_EQ(managed.release_group(0, 1).error(), DmaError::BadArgument);
    ASSERT_TRUE(managed.unbind(0));
    EXPECT_EQ(managed.unbind(0).error(), DmaError::NoSuchDevice);
    EXPECT_EQ(log, "");
    ASSERT_TRUE(managed.bind(0)) << "once more";
    EXPECT_TRUE(arena_is_free());
}

// Actions and device memory, in turns; what an action sees of the memory tells the order.
TEST_F(ManagedTest, UnbindReleasesInReverseOrderOverAllKinds)
{
    struct Look {
        TestPlatform* machine;
        std::vector<std::size_t>* seen;
        static void run(void* data)
        {
            const Look* look = static_cast<Look*>(data);
            look->seen->push_back(look->machine->uncached.size());
        }
    };
    std::vector<std::size_t> seen;
    Look look{&machine, &seen};
    ASSERT_TRUE(managed.bind(1));
    ASSERT_TRUE(managed.add_action(1, Look::run, &look)); // released last: nothing is left
    ASSERT_TRUE(managed.alloc(request(1, kPage)));
    ASSERT_TRUE(managed.add_action(1, Look::run, &look)); // one block
    ASSERT_TRUE(managed.alloc(request(1, 2 * kPage)));
    ASSERT_TRUE(managed.add_action(1, Look::run, &look)); // three pages
    ASSERT_TRUE(declare(1));
    ASSERT_TRUE(managed.add_action(1, Look::run, &look)); // and the pool's two
    ASSERT_TRUE(managed.alloc(request(1, kPage))) << "out of the pool: goes before the pool does";
    ASSERT_TRUE(managed.unbind(1));
    EXPECT_EQ(seen, (std::vector<std::size_t>{5, 3, 1, 0}));
    EXPECT_EQ(machine.meta_live, 1) << "the instance's own";
    EXPECT_TRUE(arena_is_free());
}

TEST_F(ManagedTest, DevicesAreIndependent)
{
    ASSERT_TRUE(managed.bind(0));
    ASSERT_TRUE(managed.bind(1));
    ASSERT_TRUE(act(0, a));
    ASSERT_TRUE(act(1, b));
    ASSERT_TRUE(act(0, c));
    const Block kept = *managed.alloc(request(1, 1));
    ASSERT_TRUE(managed.unbind(0));
    EXPECT_EQ(log, "ca");
    EXPECT_TRUE(managed.free(kept)) << "the other device's";
    ASSERT_TRUE(managed.unbind(1));
    EXPECT_EQ(log, "cab");
}

TEST_F(ManagedTest, AFreedBlockIsNotReleasedAgain)
{
    ASSERT_TRUE(managed.bind(1));
    const Block first = *managed.alloc(request(1, kPage, DMAUDIT_ATTR_WEAK_ORDERING));
    const Block second = *managed.alloc(request(1, kPage));
    ASSERT_TRUE(managed.free(first)) << "with the attributes it was allocated with";
    EXPECT_EQ(machine.uncached.size(), 1u);
    const Block other = *allocator->alloc_coherent(request(1, kPage, DMAUDIT_ATTR_WEAK_ORDERING));
    ASSERT_EQ(other.block, first.block) << "the place of the first";
    EXPECT_EQ(managed.free(first).error(), DmaError::IllegalCall);
    EXPECT_EQ(managed.free(other).error(), DmaError::IllegalCall);
    ASSERT_TRUE(managed.unbind(1));
    EXPECT_EQ(machine.uncached.size(), 1u) << "not the place's new owner";
    EXPECT_EQ(managed.free(second).error(), DmaError::IllegalCall);
    EXPECT_TRUE(allocator->free_coherent(other));
}

TEST_F(ManagedTest, ABlockThatIsNotManagedIsRefusedAndNotFreed)
{
    ASSERT_TRUE(managed.bind(0));
    const Block plain = *allocator->alloc_coherent(request(0, 100));
    const Block block = *managed.alloc(request(0, 100));
    EXPECT_EQ(managed.free(plain).error(), DmaError::IllegalCall);
    const auto refused = [&](const Block& lie) {
        const Status status = managed.free(lie);
        return !status && status.error() == DmaError::IllegalCall;
    };
    Block lie = block;
    lie.block.size++;
    EXPECT_TRUE(refused(lie));
    lie = block;
    lie.block.bus.value += kPage;
    EXPECT_TRUE(refused(lie));
    lie = block;
    lie.block.attrs ^= DMAUDIT_ATTR_NO_WARN;
    EXPECT_TRUE(refused(lie));
    lie = block;
    lie.block.device = 1;
    EXPECT_TRUE(refused(lie));
    lie = block;
    lie.block.device = 99;
    EXPECT_TRUE(refused(lie));
    lie = block;
    lie.handle.generation++;
    EXPECT_TRUE(refused(lie));
    lie = block;
    lie.pooled = true;
    EXPECT_TRUE(refused(lie));
    EXPECT_EQ(managed.free_noncoherent(block, Direction::ToDevice).error(), DmaError::IllegalCall) << "another kind";
    EXPECT_TRUE(allocator->free_coherent(plain)) << "it was not freed";
    EXPECT_TRUE(managed.free(block)) << "nor was this";
    EXPECT_TRUE(managed.unbind(0));
    EXPECT_TRUE(arena_is_free());
}

TEST_F(ManagedTest, GroupsNest)
{
    ASSERT_TRUE(managed.bind(0));
    ASSERT_TRUE(act(0, a));
    ASSERT_TRUE(managed.open_group(0, 1));
    ASSERT_TRUE(act(0, b));
    ASSERT_TRUE(managed.open_group(0, 2));
    const Block inner = *managed.alloc(request(0, 8 * kPage));
    ASSERT_TRUE(act(0, c));
    ASSERT_TRUE(managed.release_group(0, 2));
    EXPECT_EQ(log, "c");
    EXPECT_EQ(managed.free(inner).error(), DmaError::IllegalCall);
    EXPECT_TRUE(arena_is_free());
    EXPECT_EQ(managed.release_group(0, 2).error(), DmaError::BadArgument) << "gone";
    ASSERT_TRUE(managed.open_group(0, 3));
    ASSERT_TRUE(act(0, d));
    ASSERT_TRUE(managed.release_group(0, 1)) << "and with it the group inside";
    EXPECT_EQ(log, "cdb");
    EXPECT_EQ(managed.release_group(0, 3).error(), DmaError::BadArgument);
    ASSERT_TRUE(managed.unbind(0));
    EXPECT_EQ(log, "cdba");
}

TEST_F(ManagedTest, OfGroupsOfOneNameTheLatestIsReleased)
{
    ASSERT_TRUE(managed.bind(0));
    ASSERT_TRUE(managed.open_group(0, 0));
    ASSERT_TRUE(act(0, a));
    ASSERT_TRUE(managed.open_group(0, 0));
    ASSERT_TRUE(act(0, b));
    ASSERT_TRUE(managed.release_group(0, 0));
    EXPECT_EQ(log, "b");
    ASSERT_TRUE(managed.release_group(0, 0));
    EXPECT_EQ(log, "ba");
    ASSERT_TRUE(managed.open_group(0, 5));
    ASSERT_TRUE(act(0, c));
    ASSERT_TRUE(managed.unbind(0)) << "an open group does not stop it";
    EXPECT_EQ(log, "bac");
}

TEST_F(ManagedTest, ADeclaredPoolGoesWithItsDriver)
{
    ASSERT_TRUE(managed.bind(1));
    ASSERT_TRUE(declare(1));
    EXPECT_EQ(declare(1).error(), DmaError::Busy);
    EXPECT_TRUE(allocator->alloc_coherent(request(1, 1))->pooled);
    ASSERT_TRUE(managed.unbind(1));
    EXPECT_TRUE(machine.uncached.empty());
    ASSERT_TRUE(managed.bind(1));
    ASSERT_TRUE(declare(1)) << "the pool itself went, so there is room for another";
    ASSERT_TRUE(managed.release_declared_memory(1));
    EXPECT_TRUE(machine.uncached.empty());
    EXPECT_EQ(managed.release_declared_memory(1).error(), DmaError::NoSuchDevice);
    // A declaration that failed leaves no node that would release another's pool.
    ASSERT_TRUE(allocator->declare_coherent_memory(1, pool_at(16), {pool_at(16).value}, kPage, true));
    EXPECT_EQ(declare(1, 20).error(), DmaError::Busy);
    EXPECT_EQ(managed.release_declared_memory(1).error(), DmaError::NoSuchDevice) << "declared, but not so";
    ASSERT_TRUE(managed.unbind(1));
    EXPECT_EQ(machine.uncached.size(), 1u);
    EXPECT_TRUE(allocator->release_coherent_memory(1));
}

// Metadata runs out at each position in turn: of binding, node, pool, records. Whatever fails leaves nothing.
TEST_F(ManagedTest, AFailureLeavesNothing)
{
    const std::int64_t idle = machine.meta_live;
    for (std::int64_t budget = 0; budget < 24; budget++) {
        SCOPED_TRACE(budget);
        log.clear();
        machine.meta_budget = budget;
        std::vector<Block> blocks;
        if (const Status bound = managed.bind(1); !bound) {
            EXPECT_EQ(bound.error(), DmaError::NoMemory);
            EXPECT_EQ(budget, 0);
            EXPECT_EQ(machine.meta_live, idle);
            continue;
        }
        const bool acted = !!act(1, a);
        std::int64_t before = machine.meta_live;
        const Status declared = managed.declare_coherent_memory(1, pool_at(16), {pool_at(16).value}, kPage, false);
        if (!declared) {
            EXPECT_EQ(declared.error(), DmaError::NoMemory);
            EXPECT_EQ(machine.meta_live, before) << "node and pool, or neither";
            EXPECT_TRUE(machine.uncached.empty());
        }
        const bool grouped = !!managed.open_group(1, 7);
        for (int i = 0; i < 10; i++) { // more than there are records in place
            before = machine.meta_live;
            const std::size_t pages = machine.uncached.size();
            const Result<Block> block = managed.alloc(request(1, 1));
            if (block) {
                blocks.push_back(*block);
            } else {
                EXPECT_EQ(block.error(), DmaError::NoMemory);
                EXPECT_EQ(machine.uncached.size(), pages);
                EXPECT_EQ(machine.meta_live, before);
            }
        }
        machine.meta_budget = INT64_MAX;
        EXPECT_EQ(managed.release_group(1, 7).code(), grouped ? DMAUDIT_OK : DMAUDIT_EINVAL);
        ASSERT_TRUE(managed.unbind(1));
        EXPECT_EQ(log, acted ? "a" : "");
        EXPECT_TRUE(machine.uncached.empty());
        for (const Block& block : blocks)
            EXPECT_EQ(allocator->free_coherent(block).error(), DmaError::IllegalCall);
        EXPECT_TRUE(arena_is_free());
        EXPECT_LE(machine.meta_live, idle + 1) << "records of blocks stay with the instance";
    }
}

TEST_F(ManagedTest, NoMemoryLeavesNoNode)
{
    ASSERT_TRUE(managed.bind(0));
    const std::int64_t before = machine.meta_live;
    EXPECT_EQ(managed.alloc(request(0, 9 * kPage)).error(), DmaError::NoMemory);
    EXPECT_EQ(managed.alloc(request(0, 0)).error(), DmaError::ZeroSizedBuffer);
    EXPECT_EQ(machine.meta_live, before);
    EXPECT_TRUE(managed.unbind(0));
}

TEST_F(ManagedTest, UnbindGoesOnAfterAFailureAndReportsTheFirst)
{
    ASSERT_TRUE(managed.bind(1));
    ASSERT_TRUE(act(1, a));
    ASSERT_TRUE(declare(1));
    ASSERT_TRUE(act(1, b));
    const Block stray = *managed.alloc(request(1, 1));
    ASSERT_TRUE(stray.pooled);
    ASSERT_TRUE(act(1, c));
    ASSERT_TRUE(allocator->free_coherent(stray)) << "on the unmanaged way";
    machine.uncached_off_answer = DMAUDIT_ENOMEM;
    EXPECT_EQ(managed.unbind(1).error(), DmaError::IllegalCall) << "the first, not the pool's";
    EXPECT_EQ(log, "cba");
    EXPECT_EQ(managed.unbind(1).error(), DmaError::NoSuchDevice);
    EXPECT_EQ(machine.uncached.size(), 2u) << "the pool is alive, and nobody's business here";
    machine.uncached_off_answer = DMAUDIT_OK;
    EXPECT_TRUE(allocator->release_coherent_memory(1));
    ASSERT_TRUE(managed.bind(1));
    const Block block = *managed.alloc(request(1, 1));
    machine.uncached_off_answer = DMAUDIT_ENOMEM;
    EXPECT_EQ(managed.unbind(1).error(), DmaError::NoMemory);
    machine.uncached_off_answer = DMAUDIT_OK;
    EXPECT_TRUE(allocator->free_coherent(block)) << "still alive, no longer managed";
}

TEST_F(ManagedTest, AFailedFreeLeavesTheBlockManagedInItsPlace)
{
    ASSERT_TRUE(managed.bind(1));
    ASSERT_TRUE(managed.open_group(1, 1));
    const Block block = *managed.alloc(request(1, 8 * kPage));
    ASSERT_TRUE(managed.open_group(1, 2));
    machine.uncached_off_answer = DMAUDIT_ENOMEM;
    EXPECT_EQ(managed.free(block).error(), DmaError::NoMemory);
    machine.uncached_off_answer = DMAUDIT_OK;
    ASSERT_TRUE(managed.release_group(1, 2));
    EXPECT_FALSE(arena_is_free()) << "it is older than this group";
    ASSERT_TRUE(managed.release_group(1, 1));
    EXPECT_TRUE(arena_is_free());
    ASSERT_TRUE(declare(1));
    machine.uncached_off_answer = DMAUDIT_ENOMEM;
    EXPECT_EQ(managed.release_declared_memory(1).error(), DmaError::NoMemory);
    machine.uncached_off_answer = DMAUDIT_OK;
    EXPECT_TRUE(managed.release_declared_memory(1));
    ASSERT_TRUE(managed.unbind(1));
}

TEST_F(ManagedTest, ActionsMayCallBackWithNoLockHeld)
{
    struct Caller {
        Managed* managed;
        Block older;
        int checks;
        static void run(void* data)
        {
            Caller& me = *static_cast<Caller*>(data);
            Managed& m = *me.managed;
            me.checks += m.bind(1).code() == DMAUDIT_EBUSY;
            me.checks += m.unbind(1).code() == DMAUDIT_ENODEV;
            me.checks += m.release_group(1, 1).code() == DMAUDIT_ENODEV;
            me.checks += m.alloc(request(1, 1)).code() == DMAUDIT_ENODEV;
            me.checks += m.add_action(1, run, data).code() == DMAUDIT_ENODEV;
            me.checks += m.free(me.older).code() == DMAUDIT_EFAULT; // its turn comes
            me.checks += m.bind(0).code() == DMAUDIT_OK;            // another device
        }
    };
    ASSERT_TRUE(managed.bind(1));
    Caller caller{&managed, *managed.alloc(request(1, 1)), 0};
    ASSERT_TRUE(managed.add_action(1, Caller::run, &caller));
    ASSERT_TRUE(managed.unbind(1));
    EXPECT_EQ(caller.checks, 7);
    EXPECT_TRUE(managed.bind(1));
    EXPECT_TRUE(arena_is_free());
}

TEST_F(ManagedTest, ClosingForgetsWithoutCallingActions)
{
    ASSERT_TRUE(managed.bind(1));
    ASSERT_TRUE(act(1, a));
    ASSERT_TRUE(managed.alloc(request(1, 1)));
    allocator.reset();
    EXPECT_EQ(log, "");
    // The fixture looks at metadata and uncached pages.
}

TEST_F(ManagedTest, NoncoherentBlocksAreManagedToo)
{
    ASSERT_TRUE(managed.bind(1));
    const Result<Block> block = managed.alloc_noncoherent(request(1, 100), Direction::FromDevice);
    ASSERT_TRUE(block);
    EXPECT_EQ(managed.free(*block).error(), DmaError::IllegalCall) << "another kind";
    EXPECT_EQ(managed.free_noncoherent(*block, Direction::ToDevice).error(), DmaError::IllegalCall);
    ASSERT_TRUE(managed.free_noncoherent(*block, Direction::FromDevice)) << "once, and it says so";
    EXPECT_EQ(managed.free_noncoherent(*block, Direction::FromDevice).error(), DmaError::IllegalCall);
    ASSERT_TRUE(managed.alloc_noncoherent(request(1, 100), Direction::ToDevice));
    ASSERT_TRUE(managed.unbind(1));
    EXPECT_TRUE(arena_is_free());
}

// One thread frees, others take: the node of a freed block never stands for the block that got its place (the
// order that CVE-2024-43856 is about).
TEST_F(ManagedTest, FreesAndAllocationsOnSeveralThreads)
{
    metadata_from_any_thread();
    ASSERT_TRUE(managed.bind(0));
    std::atomic<int> mistakes = 0;
    const auto work = [&] {
        for (int i = 0; i < 3000; i++) {
            const Result<Block> block = managed.alloc(request(0, 1));
            if (!block)
                continue;
            mistakes += !managed.free(*block);
            mistakes += managed.free(*block).code() != DMAUDIT_EFAULT;
        }
    };
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++)
        threads.emplace_back(work);
    for (std::thread& thread : threads)
        thread.join();
    EXPECT_EQ(mistakes, 0);
    ASSERT_TRUE(managed.unbind(0));
    EXPECT_TRUE(arena_is_free());
}

// A driver that goes while others still take: everything is released, by unbind or by the call that came too late.
TEST_F(ManagedTest, UnbindAgainstLateCalls)
{
    metadata_from_any_thread();
    std::atomic<bool> stop = false;
    std::atomic<int> mistakes = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; i++)
        threads.emplace_back([&] {
            while (!stop) {
                const Result<Block> block = managed.alloc(request(0, 1));
                if (block)
                    static_cast<void>(managed.free(*block)); // unbind may have been faster
                else
                    mistakes += block.error() != DmaError::NoSuchDevice && block.error() != DmaError::NoMemory;
            }
        });
    for (int i = 0; i < 2000; i++) {
        mistakes += !managed.bind(0);
        std::this_thread::yield();
        mistakes += !managed.unbind(0);
    }
    stop = true;
    for (std::thread& thread : threads)
        thread.join();
    EXPECT_EQ(mistakes, 0);
    EXPECT_TRUE(arena_is_free());
    EXPECT_EQ(machine.meta_live, 1);
}

} // namespace
} // namespace dmaudit::alloc
