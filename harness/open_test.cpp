// An open in which a platform call fails: it leaves nothing behind, and the next one is like any other.
#include "harness/execute_testing.hpp"

namespace dmaudit {
namespace {

// Opens in three steps, each a platform call that may fail: metadata, pages that become uncached, metadata again.
struct Opens : Table {
    enum Mistake { none, keeps_metadata, keeps_uncached, keeps_lock, remembers, copes };
    inline static Mistake mistake;
    inline static bool failed_once;
    inline static const dmaudit_platform* platform;
    inline static void *first, *second;
    inline static uint64_t lock;

    explicit Opens(Mistake m)
    {
        mistake = m;
        failed_once = false;
        lock = 0;
        provider.open = [](const dmaudit_platform* p, void** ctx) -> int {
            platform = p;
            if (mistake == remembers && failed_once)
                return DMAUDIT_EBUSY;
            int rc = take();
            if (rc == DMAUDIT_OK && (rc = builtin_provider().open(p, ctx)) != DMAUDIT_OK)
                give();
            failed_once |= rc != DMAUDIT_OK;
            return rc;
        };
        provider.close = [](void* ctx) {
            builtin_provider().close(ctx);
            give();
        };
    }
    static void give()
    {
        platform->meta_free(platform->self, second);
        platform->set_uncached(platform->self, bank(), platform->page, 0);
        platform->meta_free(platform->self, first);
    }
    static uint64_t bank() { return platform->arenas[0].phys; }
    static int take()
    {
        if (mistake == keeps_lock)
            platform->lock(platform->self, &lock);
        first = platform->meta_alloc(platform->self, 8);
        if (!first)
            return DMAUDIT_ENOMEM;
        const int rc = platform->set_uncached(platform->self, bank(), platform->page, 1);
        if (rc == DMAUDIT_OK || mistake == copes) {
            second = platform->meta_alloc(platform->self, 8);
            if (second || mistake == copes) {
                if (mistake == keeps_lock)
                    platform->unlock(platform->self, &lock);
                return DMAUDIT_OK;
            }
            if (mistake != keeps_uncached)
                platform->set_uncached(platform->self, bank(), platform->page, 0);
        }
        if (mistake != keeps_metadata)
            platform->meta_free(platform->self, first);
        return DMAUDIT_ENOMEM;
    }
    std::string found(unsigned nth)
    {
        return run("world mode=conforming banks=64K@0x80000000\nfail_open nth=" + std::to_string(nth) + "\n", provider)
            .found();
    }
};

TEST(FailOpen, leaves_nothing_behind)
{
    for (unsigned nth = 0; nth < 6; nth++) {
        EXPECT_EQ(run("fail_open nth=" + std::to_string(nth) + "\n").found(), "clean") << nth;
        EXPECT_EQ(Opens(Opens::none).found(nth), "clean") << nth;
        EXPECT_EQ(Opens(Opens::copes).found(nth), "clean") << nth << ": it may do without";
    }
    EXPECT_EQ(Opens(Opens::keeps_metadata).found(1), "clean") << "there is none";
    EXPECT_EQ(Opens(Opens::keeps_metadata).found(2), "lost-capacity");
    EXPECT_EQ(Opens(Opens::keeps_metadata).found(3), "lost-capacity");
    EXPECT_EQ(Opens(Opens::keeps_uncached).found(2), "clean") << "they are not";
    EXPECT_EQ(Opens(Opens::keeps_uncached).found(3), "lost-capacity");
    EXPECT_EQ(Opens(Opens::keeps_lock).found(1), "no-progress");
    EXPECT_EQ(Opens(Opens::keeps_lock).found(0), "clean") << "nothing fails";
}

TEST(FailOpen, the_next_open_is_like_any_other)
{
    EXPECT_EQ(Opens(Opens::remembers).found(1), "spurious-failure");
    EXPECT_EQ(Opens(Opens::remembers).found(9), "clean") << "nothing failed";
    Opens alone(Opens::remembers);
    alone.provider.promises |= DMAUDIT_TRAIT_PROCESS_WIDE;
    EXPECT_EQ(alone.found(1), "clean") << "a process has one instance of it";
}

// The first open of a case is not judged: a provider that cannot have a world says so.
TEST(FailOpen, is_said_by_the_case)
{
    Table refuses;
    refuses.provider.open = [](const dmaudit_platform* p, void**) -> int {
        p->meta_alloc(p->self, 8);
        return DMAUDIT_EINVAL;
    };
    const Ran r = run("fail_open nth=1\n", refuses.provider);
    EXPECT_EQ(r.result.open_error, DMAUDIT_EINVAL);
    EXPECT_FALSE(r.result.violation);
}

} // namespace
} // namespace dmaudit
