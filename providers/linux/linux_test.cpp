// SPDX-License-Identifier: MIT
#include "providers/linux/linux.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr uint32_t snoops_not = 0, snoops = 1; // the devices
constexpr uint64_t bank_phys = 0x8000'0000, bus_base = 0x1'0000;

// A machine that keeps accounts and can refuse metadata memory and uncached pages.
class Machine {
  public:
    explicit Machine(uint64_t page, uint64_t pages = 64)
        : ram_(static_cast<unsigned char*>(std::aligned_alloc(page, page * pages)), &std::free)
    {
        std::memset(ram_.get(), 0xa5, page * pages);
        bank_ = {bank_phys, page * pages, ram_.get()};
        arena_ = {bank_phys, page * pages};
        for (uint32_t i = 0; i < 2; i++)
            devices_[i] = {sizeof(dmaudit_device), i == snoops, UINT64_MAX, 0};
        platform.abi = DMAUDIT_ABI;
        platform.struct_size = sizeof platform;
        platform.self = this;
        platform.page = page;
        platform.line = 64;
        platform.n_banks = 1;
        platform.n_arenas = 1;
        platform.n_devices = 2;
        platform.banks = &bank_;
        platform.arenas = &arena_;
        platform.devices = devices_;
        platform.clean = [](void* self, uint64_t phys, uint64_t len) {
            auto& m = *static_cast<Machine*>(self);
            for (uint64_t at = phys; at < phys + len; at += m.platform.page)
                m.cleaned.insert(at);
        };
        platform.invalidate = [](void*, uint64_t, uint64_t) {};
        platform.set_uncached = [](void* self, uint64_t phys, uint64_t len, int on) {
            return static_cast<Machine*>(self)->set_uncached(phys, len, on != 0);
        };
        platform.meta_alloc = [](void* self, size_t bytes) -> void* {
            auto& m = *static_cast<Machine*>(self);
            const std::lock_guard guard(m.mutex_);
            if (m.fail_meta_at >= 0 && m.fail_meta_at-- == 0)
                return nullptr;
            m.meta_live++;
            void* p = std::malloc(bytes);
            std::memset(p, 0xcd, bytes);
            return p;
        };
        platform.meta_free = [](void* self, void* p) {
            auto& m = *static_cast<Machine*>(self);
            const std::lock_guard guard(m.mutex_);
            m.meta_live--;
            std::free(p);
        };
        platform.lock = [](void* self, uint64_t*) { static_cast<Machine*>(self)->spin_.lock(); };
        platform.unlock = [](void* self, uint64_t*) { static_cast<Machine*>(self)->spin_.unlock(); };
        platform.log = [](void* self, const char* text) { static_cast<Machine*>(self)->logged.emplace_back(text); };
    }

    unsigned char* at(uint64_t phys) { return ram_.get() + (phys - bank_phys); }

    dmaudit_platform platform{};
    std::set<uint64_t> uncached, cleaned, refused; // pages
    std::vector<std::string> logged;
    int fail_meta_at = -1;
    int meta_live = 0;

  private:
    int set_uncached(uint64_t phys, uint64_t len, bool on)
    {
        if (phys % platform.page || len % platform.page || !len)
            return DMAUDIT_EINVAL;
        for (uint64_t p = phys; p < phys + len; p += platform.page) {
            if (on && refused.contains(p))
                return DMAUDIT_EBUSY;
            EXPECT_EQ(uncached.contains(p), !on) << "page " << p << " is so already";
            EXPECT_TRUE(!on || cleaned.contains(p)) << "page " << p << " may be dirty";
        }
        for (uint64_t p = phys; p < phys + len; p += platform.page) {
            if (on)
                uncached.insert(p);
            else
                uncached.erase(p);
        }
        return DMAUDIT_OK;
    }

    std::unique_ptr<unsigned char, decltype(&std::free)> ram_;
    dmaudit_bank bank_{};
    dmaudit_range arena_{};
    dmaudit_device devices_[2]{};
    std::mutex mutex_, spin_;
};

// One open instance.
class Linux {
  public:
    explicit Linux(Machine& m) : machine_(m)
    {
        EXPECT_EQ(dmaudit_linux_provider()->open(&m.platform, &ctx_), DMAUDIT_OK);
    }
    ~Linux() { dmaudit_linux_provider()->close(ctx_); }
    Linux(const Linux&) = delete;
    Linux& operator=(const Linux&) = delete;

    int declare(uint32_t device, uint64_t phys, uint64_t bus, uint64_t size)
    {
        uint32_t exclusive = 0;
        const int result = pool().declare(ctx_, device, phys, bus, size, &exclusive);
        EXPECT_EQ(exclusive, result == DMAUDIT_OK ? 1u : 0u);
        return result;
    }
    int declare_pages(uint32_t device, uint64_t first, uint64_t pages)
    {
        const uint64_t page = machine_.platform.page;
        return declare(device, bank_phys + first * page, bus_base * page, pages * page);
    }
    int alloc(uint32_t device, uint64_t size, dmaudit_block& block, int& ours)
    {
        block = {};
        block.struct_size = sizeof block;
        return pool().alloc_from(ctx_, device, size, &block, &ours);
    }
    // 1 or 0: ours or not
    int release(uint32_t device, uint32_t order, void* cpu)
    {
        int ours = -1;
        pool().release_from(ctx_, device, order, cpu, &ours);
        return ours;
    }
    int mmap(uint32_t device, void* cpu, uint64_t size, uint64_t off, uint64_t pages, dmaudit_window& out, int& ours)
    {
        out = {};
        out.struct_size = sizeof out;
        return pool().mmap_from(ctx_, device, cpu, size, off, pages, &out, &ours);
    }
    int release_pool(uint32_t device) { return pool().release(ctx_, device); }

  private:
    static const dmaudit_pool& pool() { return *dmaudit_linux_provider()->pool; }
    Machine& machine_;
    void* ctx_ = nullptr;
};

class EachPageSize : public testing::TestWithParam<uint64_t> {
  protected:
    uint64_t page = GetParam();
    Machine machine{page};
    dmaudit_block block{};
    dmaudit_window window{};
    int ours = -1;
};
INSTANTIATE_TEST_SUITE_P(, EachPageSize, testing::Values(4096, 16384, 65536));

TEST_P(EachPageSize, BlocksAreFilledInRoundedUpAndZero)
{
    Linux l(machine);
    ASSERT_EQ(l.declare_pages(snoops, 8, 16), DMAUDIT_OK);
    ASSERT_EQ(l.alloc(snoops, 1, block, ours), DMAUDIT_OK);
    EXPECT_EQ(ours, 1);
    EXPECT_EQ(block.granted, page);
    ASSERT_EQ(l.alloc(snoops, 2 * page + 1, block, ours), DMAUDIT_OK);
    EXPECT_EQ(block.device, snoops);
    EXPECT_EQ(block.cpu, machine.at(bank_phys + 12 * page)); // the lowest free multiple of four pages
    EXPECT_EQ(block.bus, bus_base * page + 4 * page);
    EXPECT_EQ(block.size, 2 * page + 1);
    EXPECT_EQ(block.granted, 4 * page);
    EXPECT_EQ(block.struct_size, sizeof block);
    for (uint64_t i = 0; i < block.size; i++)
        ASSERT_EQ(static_cast<unsigned char*>(block.cpu)[i], 0) << i;
    EXPECT_EQ(static_cast<unsigned char*>(block.cpu)[block.size], 0xa5) << "the tail is not promised, and not cleared";
}

TEST_P(EachPageSize, AFullPoolIsFinalAndADeviceWithoutPoolIsNot)
{
    Linux l(machine);
    ASSERT_EQ(l.declare_pages(snoops, 0, 3), DMAUDIT_OK);
    EXPECT_EQ(l.alloc(snoops, 2 * page, block, ours), DMAUDIT_OK);
    EXPECT_EQ(l.alloc(snoops, 2 * page, block, ours), DMAUDIT_ENOMEM); // page 2 has no page 3
    EXPECT_EQ(ours, 1);
    EXPECT_EQ(l.alloc(snoops, 4 * page, block, ours), DMAUDIT_ENOMEM);
    EXPECT_EQ(l.alloc(snoops, UINT64_MAX, block, ours), DMAUDIT_ENOMEM);
    EXPECT_EQ(l.alloc(snoops, uint64_t{1} << 63, block, ours), DMAUDIT_ENOMEM);
    EXPECT_EQ(l.alloc(snoops, 0, block, ours), DMAUDIT_EZERO);
    EXPECT_EQ(ours, 1);
    EXPECT_EQ(l.alloc(snoops, page, block, ours), DMAUDIT_OK);
    for (const uint32_t other : {snoops_not, 7u}) {
        EXPECT_NE(l.alloc(other, page, block, ours), DMAUDIT_EFAULT);
        EXPECT_EQ(ours, 0);
        EXPECT_NE(l.alloc(other, 0, block, ours), DMAUDIT_EFAULT);
        EXPECT_EQ(ours, 0);
        EXPECT_EQ(l.release(other, 0, machine.at(bank_phys)), 0);
    }
}

TEST_P(EachPageSize, ReleaseTellsWhoseMemoryItIs)
{
    Linux l(machine);
    ASSERT_EQ(l.declare_pages(snoops, 4, 4), DMAUDIT_OK);
    ASSERT_EQ(l.alloc(snoops, 4 * page, block, ours), DMAUDIT_OK);
    EXPECT_EQ(l.release(snoops, 2, machine.at(bank_phys + 4 * page) - 1), 0);
    EXPECT_EQ(l.release(snoops, 2, machine.at(bank_phys + 8 * page)), 0);
    EXPECT_EQ(l.release(snoops, 2, block.cpu), 1);
    EXPECT_EQ(l.alloc(snoops, 4 * page, block, ours), DMAUDIT_OK);
}

TEST_P(EachPageSize, DeclareRefusesWhatItDocuments)
{
    Linux l(machine);
    EXPECT_EQ(l.declare(snoops, bank_phys, 0, 0), DMAUDIT_EINVAL);
    EXPECT_EQ(l.declare(snoops, 0x1000, 0, page), DMAUDIT_EINVAL); // not RAM
    EXPECT_EQ(l.declare(snoops, bank_phys + 63 * page, 0, 2 * page), DMAUDIT_EINVAL);
    EXPECT_EQ(l.declare(snoops, bank_phys, 0, UINT64_MAX), DMAUDIT_EINVAL);
    EXPECT_EQ(l.declare(7, bank_phys, 0, page), DMAUDIT_ENODEV);
    ASSERT_EQ(l.declare_pages(snoops, 0, 2), DMAUDIT_OK);
    EXPECT_EQ(l.declare_pages(snoops, 2, 2), DMAUDIT_EBUSY);
    EXPECT_EQ(l.release_pool(snoops), DMAUDIT_OK);
    EXPECT_EQ(l.release_pool(snoops), DMAUDIT_OK); // may be repeated
    EXPECT_EQ(l.declare_pages(snoops, 2, 2), DMAUDIT_OK);
}

TEST_P(EachPageSize, APoolOfLessThanAPageHasNoRoom)
{
    Linux l(machine);
    ASSERT_EQ(l.declare(snoops_not, bank_phys, 0, page - 1), DMAUDIT_OK);
    EXPECT_EQ(machine.uncached.size(), 1u);
    EXPECT_EQ(l.alloc(snoops_not, 1, block, ours), DMAUDIT_ENOMEM);
    EXPECT_EQ(ours, 1);
}

TEST_P(EachPageSize, WindowsEndWithTheBlock)
{
    Linux l(machine);
    ASSERT_EQ(l.declare_pages(snoops, 8, 8), DMAUDIT_OK);
    ASSERT_EQ(l.alloc(snoops, page, block, ours), DMAUDIT_OK);
    ASSERT_EQ(l.alloc(snoops, 3 * page, block, ours), DMAUDIT_OK);
    const uint64_t size = 2 * page + 1; // three pages
    EXPECT_EQ(l.mmap(snoops, block.cpu, size, 0, 3, window, ours), DMAUDIT_OK);
    EXPECT_EQ(ours, 1);
    EXPECT_EQ(window.phys, bank_phys + 12 * page);
    EXPECT_EQ(window.size, 3 * page);
    EXPECT_EQ(l.mmap(snoops, block.cpu, size, 2, 1, window, ours), DMAUDIT_OK);
    EXPECT_EQ(window.phys, bank_phys + 14 * page);
    for (const auto& [off, pages] : std::vector<std::pair<uint64_t, uint64_t>>{
             {0, 4}, {2, 2}, {3, 1}, {UINT64_MAX, 1}, {0, UINT64_MAX}, {1, uint64_t{1} << 63}}) {
        EXPECT_EQ(l.mmap(snoops, block.cpu, size, off, pages, window, ours), DMAUDIT_ENXIO) << off << ' ' << pages;
        EXPECT_EQ(ours, 1);
        EXPECT_EQ(window.size, 0u);
    }
    EXPECT_EQ(l.mmap(snoops, block.cpu, size, 0, 0, window, ours), DMAUDIT_EINVAL);
    EXPECT_EQ(ours, 1);
    l.mmap(snoops, machine.at(bank_phys), page, 0, 1, window, ours);
    EXPECT_EQ(ours, 0);
    l.mmap(snoops, block.cpu, 9 * page, 0, 1, window, ours); // reaches beyond the pool
    EXPECT_EQ(ours, 0);
    l.mmap(snoops_not, block.cpu, size, 0, 1, window, ours);
    EXPECT_EQ(ours, 0);
}

TEST_P(EachPageSize, PoolsAreUncachedForDevicesThatDoNotSnoop)
{
    Linux l(machine);
    ASSERT_EQ(l.declare_pages(snoops, 0, 4), DMAUDIT_OK);
    EXPECT_TRUE(machine.uncached.empty());
    ASSERT_EQ(l.declare_pages(snoops_not, 8, 4), DMAUDIT_OK);
    const std::set<uint64_t> pages{bank_phys + 8 * page, bank_phys + 9 * page, bank_phys + 10 * page,
                                   bank_phys + 11 * page};
    EXPECT_EQ(machine.uncached, pages);
    EXPECT_EQ(l.declare_pages(snoops_not, 8, 4), DMAUDIT_EBUSY);  // where the first one is
    EXPECT_EQ(l.declare_pages(snoops_not, 6, 10), DMAUDIT_EBUSY); // around it
    EXPECT_EQ(l.declare_pages(snoops_not, 10, 1), DMAUDIT_EBUSY);
    EXPECT_EQ(machine.uncached, pages);
    EXPECT_EQ(l.release_pool(snoops_not), DMAUDIT_OK);
    EXPECT_TRUE(machine.uncached.empty());
}

TEST_P(EachPageSize, PagesThatCannotBecomeUncachedMakeNoPool)
{
    Linux l(machine);
    ASSERT_EQ(l.declare_pages(snoops_not, 2, 1), DMAUDIT_OK);
    machine.refused.insert(bank_phys + 4 * page);
    const auto before = machine.uncached;
    EXPECT_EQ(l.declare_pages(snoops_not, 0, 8), DMAUDIT_EINVAL); // memremap's failure is -EINVAL in coherent.c
    EXPECT_EQ(machine.uncached, before);
}

TEST_P(EachPageSize, MetadataFailuresLeaveNothingBehind)
{
    {
        machine.fail_meta_at = 0;
        void* ctx = nullptr;
        EXPECT_EQ(dmaudit_linux_provider()->open(&machine.platform, &ctx), DMAUDIT_ENOMEM);
        Linux l(machine);
        const int live = machine.meta_live;
        for (int n = 0; n < 2; n++) {
            machine.fail_meta_at = n;
            EXPECT_EQ(l.declare_pages(snoops_not, 0, 4), DMAUDIT_ENOMEM);
            EXPECT_EQ(machine.meta_live, live);
            EXPECT_TRUE(machine.uncached.empty());
            l.alloc(snoops_not, page, block, ours);
            EXPECT_EQ(ours, 0);
        }
        EXPECT_EQ(machine.logged.size(), 2u);
        EXPECT_EQ(machine.logged[0],
                  "linux: Reserved memory: failed to init DMA memory pool at 0x0000000080000000, size 0 MiB");
        machine.fail_meta_at = 2;
        EXPECT_EQ(l.declare_pages(snoops_not, 0, 4), DMAUDIT_OK);
        EXPECT_EQ(machine.fail_meta_at, 0) << "a pool is made of two pieces";
        machine.fail_meta_at = -1;
    }
    EXPECT_EQ(machine.meta_live, 0);
    EXPECT_TRUE(machine.uncached.empty());
}

TEST_P(EachPageSize, InstancesAreIndependent)
{
    Machine other(4096);
    Linux a(machine), b(machine), c(other);
    ASSERT_EQ(a.declare_pages(snoops, 0, 4), DMAUDIT_OK);
    ASSERT_EQ(a.alloc(snoops, 4 * page, block, ours), DMAUDIT_OK);
    b.alloc(snoops, page, block, ours);
    EXPECT_EQ(ours, 0);
    ASSERT_EQ(b.declare_pages(snoops, 4, 4), DMAUDIT_OK);
    ASSERT_EQ(c.declare_pages(snoops, 0, 4), DMAUDIT_OK);
    EXPECT_EQ(b.alloc(snoops, 4 * page, block, ours), DMAUDIT_OK);
    EXPECT_EQ(c.alloc(snoops, 4 * 4096, block, ours), DMAUDIT_OK);
    EXPECT_EQ(block.cpu, other.at(bank_phys));
}

TEST_P(EachPageSize, PoolsAreFirstFit)
{
    constexpr uint64_t pool_pages = 57; // neither a power of two nor a word of the bitmap
    Linux l(machine);
    ASSERT_EQ(l.declare_pages(snoops, 3, pool_pages), DMAUDIT_OK);
    unsigned char* const base = machine.at(bank_phys + 3 * page);

    std::vector<bool> used(pool_pages);              // the model
    std::vector<std::pair<uint64_t, uint32_t>> live; // first page, order
    std::minstd_rand random(static_cast<unsigned>(page));
    int refused = 0;
    for (int i = 0; i < 100'000; i++) {
        if (random() % 100 < 52) {
            const auto order = static_cast<uint32_t>(random() % 7);
            const uint64_t run = uint64_t{1} << order;
            // Mostly small sizes of that order: 2^(order - 1) pages and a bit
            const uint64_t size = order == 0 ? 1 + random() % page : (run / 2) * page + 1 + random() % 8;
            uint64_t expect = 0;
            while (expect + run <= pool_pages) {
                bool free = true;
                for (uint64_t p = expect; p < expect + run; p++)
                    free = free && !used[p];
                if (free)
                    break;
                expect += run;
            }
            const int result = l.alloc(snoops, size, block, ours);
            ASSERT_EQ(ours, 1);
            if (expect + run > pool_pages) {
                ASSERT_EQ(result, DMAUDIT_ENOMEM) << i;
                refused++;
                continue;
            }
            ASSERT_EQ(result, DMAUDIT_OK) << i;
            ASSERT_EQ(block.cpu, base + expect * page) << i;
            ASSERT_EQ(block.bus, bus_base * page + expect * page);
            ASSERT_EQ(block.granted, run * page);
            for (uint64_t p = expect; p < expect + run; p++)
                used[p] = true;
            live.emplace_back(expect, order);
        } else if (!live.empty()) {
            const size_t pick = random() % live.size();
            const auto [first, order] = live[pick];
            live[pick] = live.back();
            live.pop_back();
            ASSERT_EQ(l.release(snoops, order, base + first * page), 1);
            for (uint64_t p = first; p < first + (uint64_t{1} << order); p++)
                used[p] = false;
        }
    }
    EXPECT_GT(refused, 1000);
}

TEST_P(EachPageSize, ThreadsMayShareAPool)
{
    Linux l(machine);
    ASSERT_EQ(l.declare_pages(snoops, 0, 16), DMAUDIT_OK);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; t++) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < 2000; i++) {
                dmaudit_block mine{};
                int flag = 0;
                if (l.alloc(snoops, 2 * page, mine, flag) != DMAUDIT_OK)
                    continue;
                auto* bytes = static_cast<unsigned char*>(mine.cpu);
                bytes[0] = bytes[page] = static_cast<unsigned char>(t + 1);
                EXPECT_EQ(bytes[0], t + 1);
                EXPECT_EQ(l.release(snoops, 1, mine.cpu), 1);
            }
        });
    }
    for (auto& thread : threads)
        thread.join();
    EXPECT_EQ(l.alloc(snoops, 16 * page, block, ours), DMAUDIT_OK) << "nothing was lost";
}

TEST(LinuxProvider, RefusesPagesThatTheKernelWasNotBuiltFor)
{
    Machine machine(8192);
    void* ctx = nullptr;
    EXPECT_EQ(dmaudit_linux_provider()->open(&machine.platform, &ctx), DMAUDIT_EINVAL);
    EXPECT_EQ(machine.meta_live, 0);
}

} // namespace
