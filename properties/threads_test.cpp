// One allocator, several threads: nobody meets another's bytes, and what is given back is all there again. Built with
// ThreadSanitizer it also shows that there is no data race.
#include "harness/rng.hpp"
#include "properties/support.hpp"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <gtest/gtest.h>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace dmaudit::properties {
namespace {

// A flat machine that several threads may use: plain memory, devices that snoop, a mutex for each lock word.
class FlatPlatform {
  public:
    static constexpr uint64_t page = 4096, base = 0x80000000, arena_pages = 256, pool_pages = 64, client_pages = 192;
    static constexpr uint64_t pages = arena_pages + pool_pages + client_pages;

    FlatPlatform() : memory_(static_cast<uint8_t*>(std::aligned_alloc(page, pages * page)))
    {
        std::memset(memory_.get(), 0xa5, pages * page);
        bank_ = {base, pages * page, memory_.get()};
        arena_ = {base, arena_pages * page};
        // Device 0 reaches everything, device 1 only the arena and the pool: what it maps is bounced. Device 2 has the
        // pool.
        const uint64_t all = base + pages * page - 1, low = base + (arena_pages + pool_pages) * page - 1;
        devices_[0] = {sizeof(dmaudit_device), 1, all, 0};
        devices_[1] = {sizeof(dmaudit_device), 1, low, 0};
        devices_[2] = {sizeof(dmaudit_device), 1, all, 0};
        devices_[3] = {sizeof(dmaudit_device), 0, low, 0};
        raw.abi = DMAUDIT_ABI;
        raw.struct_size = sizeof raw;
        raw.self = this;
        raw.page = page;
        raw.line = 64;
        raw.n_banks = raw.n_arenas = 1;
        raw.n_devices = 4;
        raw.banks = &bank_;
        raw.arenas = &arena_;
        raw.devices = devices_;
        raw.clean = [](void*, uint64_t, uint64_t) {}; // one view: there is nothing to do
        raw.invalidate = [](void*, uint64_t, uint64_t) {};
        raw.set_uncached = [](void* self, uint64_t, uint64_t len, int on) {
            of(self).uncached += (on ? 1 : -1) * static_cast<int64_t>(len / page);
            return static_cast<int>(DMAUDIT_OK);
        };
        raw.meta_alloc = [](void* self, size_t bytes) {
            of(self).metas++;
            return std::malloc(bytes);
        };
        raw.meta_free = [](void* self, void* p) {
            of(self).metas -= p != nullptr;
            std::free(p);
        };
        raw.lock = [](void* self, uint64_t* word) { of(self).mutex(word).lock(); };
        raw.unlock = [](void* self, uint64_t* word) { of(self).mutex(word).unlock(); };
        raw.log = [](void*, const char*) {};
    }

    uint8_t* client(uint64_t page_number) { return memory_.get() + (arena_pages + pool_pages + page_number) * page; }
    uint8_t* at(uint64_t bus) { return memory_.get() + (bus - base); } // all devices count alike
    uint64_t pool_phys() const { return base + arena_pages * page; }

    dmaudit_platform raw{};
    std::atomic<int64_t> uncached = 0, metas = 0;

  private:
    static FlatPlatform& of(void* self) { return *static_cast<FlatPlatform*>(self); }
    // The word is zero at first, and belongs to the platform: it becomes the number of a mutex.
    std::mutex& mutex(uint64_t* word)
    {
        std::atomic_ref<uint64_t> number(*word);
        uint64_t n = number.load(std::memory_order_acquire);
        if (n == 0) {
            const std::lock_guard<std::mutex> guard(making_);
            n = number.load(std::memory_order_acquire);
            if (n == 0) {
                n = ++made_;
                EXPECT_LT(n, most);
                number.store(n, std::memory_order_release);
            }
        }
        return mutexes_[n];
    }

    struct Free {
        void operator()(uint8_t* p) const { std::free(p); }
    };
    static constexpr uint64_t most = 64;
    std::unique_ptr<uint8_t, Free> memory_;
    dmaudit_bank bank_;
    dmaudit_range arena_;
    dmaudit_device devices_[4];
    std::mutex making_, mutexes_[most];
    uint64_t made_ = 0;
};

// One thread's client. It keeps to pages of its own, and everything that it owns is filled with a pattern of its own.
class Client {
  public:
    Client(FlatPlatform& platform, void* ctx, unsigned number, uint64_t first_page, uint64_t n_pages)
        : platform_(platform), ctx_(ctx), rng_(1000 + number), number_(number), first_page_(first_page),
          n_pages_(n_pages)
    {
    }

    void work(unsigned steps)
    {
        for (unsigned i = 0; i < steps && wrong == nullptr; i++) {
            const uint64_t what = rng_.below(8);
            if (what < 2)
                allocate(false);
            else if (what < 3)
                allocate(true);
            else if (what < 5)
                map();
            else if (what < 7 && !blocks_.empty())
                free(rng_.below(blocks_.size()));
            else if (!mappings_.empty())
                unmap(rng_.below(mappings_.size()));
        }
        while (!blocks_.empty() && wrong == nullptr)
            free(blocks_.size() - 1);
        while (!mappings_.empty() && wrong == nullptr)
            unmap(mappings_.size() - 1);
    }
    const char* wrong = nullptr;
    uint64_t allocated = 0, mapped = 0, bounced = 0;

  private:
    static const dmaudit_provider& provider() { return builtin_provider(); }
    struct Owned {
        dmaudit_block block;
        uint8_t pattern;
        bool pooled;
    };
    struct Lent {
        dmaudit_mapping mapping;
        uint64_t slot; // of this client's memory
        uint8_t pattern;
    };
    uint8_t pattern() { return static_cast<uint8_t>(number_ << 5 | rng_.below(32)); } // no other client has it
    void expect(bool right, const char* what)
    {
        if (!right && wrong == nullptr)
            wrong = what;
    }
    static bool filled(const uint8_t* p, uint64_t n, uint8_t with)
    {
        for (uint64_t i = 0; i < n; i++)
            if (p[i] != with)
                return false;
        return true;
    }

    void allocate(bool from_pool)
    {
        dmaudit_block b{};
        b.struct_size = sizeof b;
        const uint64_t size = 1 + rng_.below(3 * FlatPlatform::page);
        int ours = 1, code;
        if (from_pool) {
            code = provider().pool->alloc_from(ctx_, 2, size, &b, &ours);
        } else {
            const auto device = static_cast<uint32_t>(rng_.below(4));
            const dmaudit_request r{sizeof r, device, size, 0, 0, 0, DMAUDIT_ZERO, 0};
            code = provider().coherent->alloc(ctx_, &r, &b);
        }
        if (code != DMAUDIT_OK || !ours)
            return;
        allocated++;
        expect(filled(static_cast<uint8_t*>(b.cpu), size, 0), "a new block does not read zero");
        const uint8_t with = pattern();
        std::memset(b.cpu, with, size);
        blocks_.push_back({b, with, from_pool});
    }
    void free(size_t i)
    {
        const Owned o = blocks_[i];
        blocks_.erase(blocks_.begin() + static_cast<ptrdiff_t>(i));
        expect(filled(static_cast<uint8_t*>(o.block.cpu), o.block.size, o.pattern), "a block holds another's bytes");
        if (o.pooled && rng_.chance(1, 2)) {
            int ours = 0;
            const uint64_t n = (o.block.size - 1) / FlatPlatform::page + 1;
            const uint32_t order = n == 1 ? 0 : n == 2 ? 1 : 2;
            expect(provider().pool->release_from(ctx_, 2, order, o.block.cpu, &ours) == DMAUDIT_OK && ours == 1,
                   "a legal release fails");
            return;
        }
        expect(provider().coherent->free(ctx_, &o.block) == DMAUDIT_OK, "a legal free fails");
        if (rng_.chance(1, 8)) // somebody else may have the place by now: that must not matter
            expect(provider().coherent->free(ctx_, &o.block) != DMAUDIT_OK, "a second free succeeds");
    }
    void map()
    {
        if (mappings_.size() == n_pages_)
            return;
        uint64_t slot = rng_.below(n_pages_);
        for (bool taken = true; taken;) {
            slot = (slot + 1) % n_pages_;
            taken = false;
            for (const Lent& l : mappings_)
                taken |= l.slot == slot;
        }
        const uint64_t off = rng_.below(200), size = 1 + rng_.below(FlatPlatform::page - off);
        uint8_t* cpu = platform_.client(first_page_ + slot) + off;
        const uint8_t with = pattern();
        std::memset(cpu, with, size);
        const auto device = static_cast<uint32_t>(rng_.below(4)), direction = static_cast<uint32_t>(rng_.below(3));
        const dmaudit_request r{sizeof r, device, size, 0, 0, 0, 0, 0};
        dmaudit_mapping m{};
        m.struct_size = sizeof m;
        if (provider().streaming->map_single(ctx_, &r, cpu, direction, &m) != DMAUDIT_OK)
            return;
        mapped++;
        bounced += platform_.at(m.bus) != cpu;
        if (direction != DMAUDIT_FROM_DEVICE)
            expect(filled(platform_.at(m.bus), size, with), "the device does not see what was mapped");
        mappings_.push_back({m, slot, with});
    }
    void unmap(size_t i)
    {
        Lent l = mappings_[i];
        mappings_.erase(mappings_.begin() + static_cast<ptrdiff_t>(i));
        const bool writes = l.mapping.direction != DMAUDIT_TO_DEVICE;
        if (!writes)
            expect(filled(platform_.at(l.mapping.bus), l.mapping.size, l.pattern), "a mapping shows another's bytes");
        if (writes) {
            l.pattern = pattern();
            std::memset(platform_.at(l.mapping.bus), l.pattern, l.mapping.size); // the device
            if (rng_.chance(1, 2)) {
                const uint64_t n = 1 + rng_.below(l.mapping.size);
                expect(provider().streaming->sync(ctx_, &l.mapping, 0, n, l.mapping.direction, DMAUDIT_FOR_CPU) ==
                           DMAUDIT_OK,
                       "a legal sync fails");
                expect(filled(static_cast<uint8_t*>(l.mapping.cpu), n, l.pattern),
                       "the CPU does not see what the device wrote");
            }
        }
        expect(provider().streaming->unmap_single(ctx_, &l.mapping, l.mapping.size, 0) == DMAUDIT_OK,
               "a legal unmap fails");
        expect(filled(static_cast<uint8_t*>(l.mapping.cpu), l.mapping.size, l.pattern),
               "a buffer holds another's bytes after unmap");
    }

    FlatPlatform& platform_;
    void* ctx_;
    Rng rng_;
    unsigned number_;
    uint64_t first_page_, n_pages_;
    std::vector<Owned> blocks_;
    std::vector<Lent> mappings_;
};

TEST(Threads, clients_never_meet_and_everything_comes_back)
{
    constexpr unsigned n_threads = 6;
    const auto steps = static_cast<unsigned>(20000 * scale());
    const dmaudit_provider& p = builtin_provider();
    ASSERT_NE(p.promises & DMAUDIT_PROMISES_THREAD_SAFETY, 0u);
    FlatPlatform platform;
    void* ctx = nullptr;
    ASSERT_EQ(p.open(&platform.raw, &ctx), DMAUDIT_OK);
    uint32_t exclusive = 1;
    ASSERT_EQ(p.pool->declare(ctx, 2, platform.pool_phys(), platform.pool_phys(),
                              FlatPlatform::pool_pages * FlatPlatform::page, &exclusive),
              DMAUDIT_OK);

    std::vector<Client> clients;
    for (unsigned i = 0; i < n_threads; i++)
        clients.emplace_back(platform, ctx, i, i * (FlatPlatform::client_pages / n_threads),
                             FlatPlatform::client_pages / n_threads);
    std::vector<std::thread> threads;
    for (Client& c : clients)
        threads.emplace_back([&c, steps] { c.work(steps); });
    for (std::thread& t : threads)
        t.join();
    uint64_t bounced = 0;
    for (const Client& c : clients) {
        EXPECT_EQ(c.wrong, nullptr) << c.wrong;
        EXPECT_GT(c.allocated, steps / 20);
        EXPECT_GT(c.mapped, steps / 20);
        bounced += c.bounced;
    }
    EXPECT_GT(bounced, 100u);

    // All arenas and the whole pool can be had again, in one piece each.
    EXPECT_EQ(platform.uncached, 0);
    dmaudit_block whole{}, pool{};
    whole.struct_size = pool.struct_size = sizeof whole;
    const dmaudit_request r{sizeof r, 0, FlatPlatform::arena_pages * FlatPlatform::page, 0, 0, 0, 0, 0};
    int ours = 0;
    EXPECT_EQ(p.coherent->alloc(ctx, &r, &whole), DMAUDIT_OK);
    EXPECT_EQ(p.pool->alloc_from(ctx, 2, FlatPlatform::pool_pages * FlatPlatform::page, &pool, &ours), DMAUDIT_OK);
    EXPECT_EQ(ours, 1);
    EXPECT_EQ(p.coherent->free(ctx, &whole), DMAUDIT_OK);
    EXPECT_EQ(p.coherent->free(ctx, &pool), DMAUDIT_OK);
    EXPECT_EQ(p.pool->release(ctx, 2), DMAUDIT_OK);
    p.close(ctx);
    EXPECT_EQ(platform.metas, 0);
    EXPECT_EQ(platform.uncached, 0);
}

// Instances share nothing: each thread has its own.
TEST(Threads, instances_are_independent)
{
    std::vector<std::thread> threads;
    std::atomic<unsigned> right = 0;
    constexpr unsigned n_threads = 4;
    for (unsigned i = 0; i < n_threads; i++)
        threads.emplace_back([i, &right] {
            FlatPlatform platform;
            void* ctx = nullptr;
            if (builtin_provider().open(&platform.raw, &ctx) != DMAUDIT_OK)
                return;
            Client c(platform, ctx, i, 0, FlatPlatform::client_pages);
            c.work(1500);
            builtin_provider().close(ctx);
            right += c.wrong == nullptr && platform.metas == 0 && platform.uncached == 0;
        });
    for (std::thread& t : threads)
        t.join();
    EXPECT_EQ(right, n_threads);
}

} // namespace
} // namespace dmaudit::properties
