// Managed DMA: what a driver takes goes with it, last taken first, over all kinds; one property each, on the provider's
// own table. What is there is seen by its uncached pages or its translations, what an action sees by running it.
#include "properties/bare.hpp"
#include "properties/support.hpp"

#include <algorithm>
#include <array>
#include <gtest/gtest.h>
#include <memory>

namespace dmaudit::properties {
namespace {

// A driver of one device, and what it has taken, in order.
class Driver {
  public:
    enum class Kind { block, noncoherent, pool, action };
    struct Taken {
        Kind kind;
        dmaudit_block block{};
        uint64_t at = 0, size = 0; // in RAM
        unsigned group = 0;        // how many groups were open
        unsigned runs = 0;         // of an action
        Driver* driver = nullptr;
        size_t number = 0;
    };

    Driver(Bare& bare, uint32_t device) : bare_(bare), device_(device) {}

    const dmaudit_managed& calls() const { return *bare_.provider().managed; }
    int bind()
    {
        return bare_.make([&](auto&, void* ctx) { return calls().bind(ctx, device_); });
    }
    // The driver goes: what it has taken from `first` on is expected to go.
    int unbind()
    {
        going_ = 0;
        return end(bare_.make([&](auto&, void* ctx) { return calls().unbind(ctx, device_); }));
    }
    int open_group(uint64_t id)
    {
        const int rc = bare_.make([&](auto&, void* ctx) { return calls().open_group(ctx, device_, id); });
        if (rc == DMAUDIT_OK)
            groups_.push_back({id, taken_.size()});
        return rc;
    }
    int release_group(size_t which)
    {
        const auto [id, first] = groups_[which];
        going_ = first;
        const int rc = end(bare_.make([&, id = id](auto&, void* ctx) { return calls().release_group(ctx, device_, id); }));
        groups_.resize(which);
        return rc;
    }
    int take(Rng& rng)
    {
        auto t = std::make_unique<Taken>();
        t->kind = static_cast<Kind>(rng.below(4));
        t->driver = this;
        t->number = taken_.size();
        const World& w = bare_.world();
        const dmaudit_request r{sizeof r, device_, 1 + rng.below(2 * w.page), 0, 0, 0, DMAUDIT_ZERO, 0};
        t->block.struct_size = sizeof t->block;
        int rc = DMAUDIT_OK;
        switch (t->kind) {
        case Kind::block:
            rc = bare_.make([&](auto&, void* ctx) { return calls().alloc(ctx, &r, &t->block); });
            break;
        case Kind::noncoherent:
            rc = bare_.make([&](auto&, void* ctx) {
                return calls().alloc_noncoherent(ctx, &r, DMAUDIT_TO_DEVICE, &t->block);
            });
            break;
        case Kind::pool: {
            if (w.devices[device_].iommu)
                return DMAUDIT_OK;
            t->at = *pool_offset(w, 0, 1);
            t->size = 2 * w.page;
            uint32_t exclusive = 0;
            const uint64_t phys = bare_.machine().phys_of(t->at);
            rc = bare_.make([&](auto&, void* ctx) {
                return calls().declare(ctx, device_, phys, phys + w.devices[device_].offset, t->size, &exclusive);
            });
            break;
        }
        case Kind::action:
            rc = bare_.make([&](auto&, void* ctx) { return calls().add_action(ctx, device_, run, t.get()); });
            break;
        }
        if (t->block.cpu && rc == DMAUDIT_OK)
            t->at = bare_.offset(t->block.cpu), t->size = r.size;
        if (rc == DMAUDIT_OK)
            taken_.push_back(std::move(t));
        return rc;
    }
    // dmam_free_*: before the driver goes.
    bool give_back(size_t n)
    {
        Taken& t = *taken_[n];
        int rc = DMAUDIT_OK;
        if (t.kind == Kind::block)
            rc = bare_.make([&](auto&, void* ctx) { return calls().free(ctx, &t.block); });
        else if (t.kind == Kind::noncoherent)
            rc = bare_.make([&](auto&, void* ctx) { return calls().free_noncoherent(ctx, &t.block, DMAUDIT_TO_DEVICE); });
        else
            return false;
        RC_ASSERT(rc == DMAUDIT_OK);
        RC_ASSERT((!seen(t) || !there(t)));
        // Its node is gone with it: nobody finds it a second time.
        rc = t.kind == Kind::block ? bare_.make([&](auto&, void* ctx) { return calls().free(ctx, &t.block); })
                                   : bare_.make([&](auto&, void* ctx) {
                                         return calls().free_noncoherent(ctx, &t.block, DMAUDIT_TO_DEVICE);
                                     });
        RC_ASSERT(rc == DMAUDIT_EFAULT);
        taken_.erase(taken_.begin() + static_cast<long>(n));
        for (size_t i = 0; i < taken_.size(); i++)
            taken_[i]->number = i;
        for (auto& [id, first] : groups_)
            first -= first > n;
        return true;
    }
    bool all_there(size_t from, size_t to) const
    {
        return std::all_of(taken_.begin() + static_cast<long>(from), taken_.begin() + static_cast<long>(to),
                           [&](const auto& t) { return !seen(*t) || there(*t); });
    }
    size_t count() const { return taken_.size(); }
    size_t groups() const { return groups_.size(); }
    size_t first_of_group(size_t which) const { return groups_[which].second; }
    uint64_t actions_run = 0, wrong = 0;

  private:
    Bare& bare_;
    uint32_t device_;
    std::vector<std::unique_ptr<Taken>> taken_;
    std::vector<std::pair<uint64_t, size_t>> groups_; // id, and what had been taken when it was opened
    size_t going_ = 0;

    bool iommu() const { return bare_.world().devices[device_].iommu != 0; }
    // Does it leave a trace while it lives?
    bool seen(const Taken& t) const
    {
        if (t.kind == Kind::action)
            return false;
        const uint64_t pool = *pool_offset(bare_.world(), 0, 1);
        if (t.kind != Kind::pool && t.at >= pool && t.at < pool + 2 * bare_.world().page)
            return false; // the pool's pages are what they are as long as it stands
        return iommu() || (t.kind != Kind::noncoherent && !bare_.world().devices[device_].coherent);
    }
    bool there(const Taken& t) const
    {
        if (t.kind != Kind::noncoherent && !bare_.world().devices[device_].coherent)
            return bare_.machine().cache().all_uncached(t.at, t.size);
        return iommu() && bare_.machine().translate(device_, t.block.bus, t.size).has_value();
    }
    static void run(void* data)
    {
        auto& t = *static_cast<Taken*>(data);
        t.runs++;
        t.driver->runs(t);
    }
    // An action is to find what was taken before it, and nothing of what was taken after it.
    void runs(const Taken& t)
    {
        actions_run++;
        wrong += t.runs != 1 || t.number < going_;
        for (const auto& o : taken_) {
            if (o->kind == Kind::action)
                wrong += o->number > t.number ? o->runs != 1 : o->number < t.number && o->runs != 0;
            else if (seen(*o))
                wrong += there(*o) != (o->number < t.number);
        }
    }
    int end(int rc)
    {
        for (size_t i = going_; i < taken_.size(); i++) {
            wrong += taken_[i]->kind == Kind::action && taken_[i]->runs != 1;
            wrong += seen(*taken_[i]) && there(*taken_[i]);
        }
        taken_.resize(going_);
        return rc;
    }
};

class ManagedDma : public ::testing::Test {
  protected:
    // One device or more, each of which leaves traces: it is not coherent, or behind an IOMMU.
    static World world(Rng& rng)
    {
        World w = some_world(rng);
        for (unsigned d = 0; d < w.n_devices; d++) {
            w.devices[d].iommu = rng.chance(1, 2);
            w.devices[d].offset = 0;
            w.devices[d].limit = all_ones;
            if (!w.devices[d].iommu)
                w.devices[d].coherent = 0;
        }
        RC_ASSERT(world_error(w) == "");
        return w;
    }
    Machine machine;
};

TEST_F(ManagedDma, everything_goes_with_its_driver_last_taken_first_over_all_kinds)
{
    uint64_t actions = 0, taken = 0;
    for_all_seeds(1000, [&](uint64_t seed) {
        Rng rng(seed);
        const World w = world(rng);
        Bare bare(machine, w);
        RC_ASSERT(bare.opened == DMAUDIT_OK);
        Driver driver(bare, 0);
        const auto room = bare.capacity(0);
        RC_ASSERT(driver.bind() == DMAUDIT_OK);
        for (uint64_t n = rng.below(12); n > 0; n--) // some fail for want of room: a probe that ends early
            driver.take(rng);
        taken += driver.count();
        RC_ASSERT(driver.all_there(0, driver.count()));
        RC_ASSERT(driver.unbind() == DMAUDIT_OK);
        RC_ASSERT(driver.wrong == 0u);
        RC_ASSERT(driver.unbind() == DMAUDIT_ENODEV);
        actions += driver.actions_run;
        RC_ASSERT(machine.translations() == 0u);
        RC_ASSERT(machine.cache().uncached_pages() == 0u);
        RC_ASSERT(bare.capacity(0) == room);
        bare.close();
    });
    EXPECT_GT(actions, static_cast<uint64_t>(tries(1000)) / 2);
    EXPECT_GT(taken, static_cast<uint64_t>(tries(1000)) * 2);
}

TEST_F(ManagedDma, a_group_takes_what_was_taken_since_and_nothing_older)
{
    uint64_t released = 0;
    for_all_seeds(1000, [&](uint64_t seed) {
        Rng rng(seed);
        const World w = world(rng);
        Bare bare(machine, w);
        RC_ASSERT(bare.opened == DMAUDIT_OK);
        Driver driver(bare, 0);
        RC_ASSERT(driver.bind() == DMAUDIT_OK);
        uint64_t id = 1;
        for (uint64_t n = rng.below(20); n > 0; n--) {
            if (rng.chance(1, 4)) {
                RC_ASSERT(driver.open_group(id++) == DMAUDIT_OK);
            } else if (driver.groups() && rng.chance(1, 5)) {
                const size_t which = rng.below(driver.groups()), older = driver.first_of_group(which);
                RC_ASSERT(driver.release_group(which) == DMAUDIT_OK);
                RC_ASSERT(driver.count() == older);
                RC_ASSERT(driver.all_there(0, older));
                released++;
            } else {
                driver.take(rng);
            }
            RC_ASSERT(driver.wrong == 0u);
        }
        RC_ASSERT(driver.unbind() == DMAUDIT_OK);
        RC_ASSERT(driver.wrong == 0u);
        bare.close();
    });
    EXPECT_GT(released, static_cast<uint64_t>(tries(1000)) / 4);
}

TEST_F(ManagedDma, what_was_given_back_before_has_no_node_and_is_not_released_again)
{
    uint64_t freed = 0;
    for_all_seeds(800, [&](uint64_t seed) {
        Rng rng(seed);
        const World w = world(rng);
        Bare bare(machine, w);
        RC_ASSERT(bare.opened == DMAUDIT_OK);
        Driver driver(bare, 0);
        RC_ASSERT(driver.bind() == DMAUDIT_OK);
        std::vector<dmaudit_block> others; // of clients without a driver, mostly where managed memory was before
        for (uint64_t n = rng.below(20); n > 0; n--) {
            if (driver.count() && rng.chance(1, 3) && driver.give_back(rng.below(driver.count()))) {
                freed++;
                dmaudit_block b;
                if (bare.alloc({sizeof(dmaudit_request), 0, 1 + rng.below(w.page), 0, 0, 0, 0, 0}, b) == DMAUDIT_OK) {
                    std::fill_n(static_cast<uint8_t*>(b.cpu), b.size, uint8_t{0x77});
                    others.push_back(b);
                }
            } else if (others.empty()) { // in this order: a pool under them could not go
                driver.take(rng);
            }
        }
        RC_ASSERT(driver.all_there(0, driver.count()));
        for (const dmaudit_block& b : others) {
            const auto* cpu = static_cast<const uint8_t*>(b.cpu);
            RC_ASSERT(static_cast<uint64_t>(std::count(cpu, cpu + b.size, 0x77)) == b.size);
            RC_ASSERT(bare.free(b) == DMAUDIT_OK);
        }
        RC_ASSERT(driver.unbind() == DMAUDIT_OK);
        RC_ASSERT(driver.wrong == 0u);
        bare.close();
    });
    EXPECT_GT(freed, static_cast<uint64_t>(tries(800)) / 4);
}

// The documented contract, not that of old kernels, where release_declared forgot the memory, and declare its answer.
TEST_F(ManagedDma, declared_memory_is_released_for_good_and_answers_say_what_happened)
{
    for_all_seeds(300, [&](uint64_t seed) {
        Rng rng(seed);
        World w = world(rng);
        w.devices[0].iommu = 0;
        Bare bare(machine, w);
        RC_ASSERT(bare.opened == DMAUDIT_OK);
        const dmaudit_managed& calls = *bare.provider().managed;
        const uint64_t phys = machine.phys_of(*pool_offset(w, 0, 1));
        const auto declare = [&] {
            return bare.make([&](auto&, void* ctx) {
                uint32_t exclusive = 1;
                return calls.declare(ctx, 0, phys, phys + w.devices[0].offset, w.page, &exclusive);
            });
        };
        const auto release = [&] {
            return bare.make([&](auto&, void* ctx) { return calls.release_declared(ctx, 0); });
        };
        const auto bind = [&](bool on) {
            return bare.make([&](auto&, void* ctx) { return (on ? calls.bind : calls.unbind)(ctx, 0); });
        };
        RC_ASSERT(declare() == DMAUDIT_ENODEV);
        RC_ASSERT(bind(true) == DMAUDIT_OK);
        RC_ASSERT(release() == DMAUDIT_ENODEV);
        for (uint64_t n = 1 + rng.below(3); n > 0; n--) {
            RC_ASSERT(declare() == DMAUDIT_OK);
            RC_ASSERT(declare() == DMAUDIT_EBUSY); // and the pool that is there stays
            dmaudit_block b;
            int ours = 0;
            RC_ASSERT(bare.alloc_from(0, 1, b, ours) == DMAUDIT_OK);
            RC_ASSERT(bare.phys(b.cpu) == phys);
            RC_ASSERT(bare.release_from(0, 0, b.cpu, ours) == DMAUDIT_OK);
            if (n > 1)
                RC_ASSERT(release() == DMAUDIT_OK);
        }
        RC_ASSERT(bind(false) == DMAUDIT_OK);
        RC_ASSERT(machine.cache().uncached_pages() == 0u);
        dmaudit_block b;
        int ours = 1;
        bare.alloc_from(0, 1, b, ours);
        RC_ASSERT(ours == 0); // no pool is left
        bare.close();
    });
}

// The n-th platform call inside a managed call fails, for each n until there is none.
TEST_F(ManagedDma, a_failed_call_changes_nothing_wherever_it_fails)
{
    uint64_t failures = 0;
    for_all_seeds(500, [&](uint64_t seed) {
        bool again = true;
        for (uint64_t nth = 1; again; nth++) {
            Rng rng(seed); // the same past each time
            const World w = world(rng);
            Bare bare(machine, w);
            RC_ASSERT(bare.opened == DMAUDIT_OK);
            Driver driver(bare, 0);
            const bool binds = rng.chance(1, 5);
            if (!binds) {
                RC_ASSERT(driver.bind() == DMAUDIT_OK);
                for (uint64_t n = rng.below(6); n > 0; n--)
                    driver.take(rng);
            }
            const auto room = bare.capacity(0);
            const uint64_t uncached = machine.cache().uncached_pages(), translations = machine.translations();
            const size_t before = driver.count();
            const bool group = rng.chance(1, 5);
            bare.fail_inside(nth);
            const int rc = binds ? driver.bind() : group ? driver.open_group(99) : driver.take(rng);
            again = bare.failed_inside();
            if (rc != DMAUDIT_OK) {
                failures += again;
                RC_ASSERT(driver.count() == before);
                RC_ASSERT(driver.all_there(0, before));
                RC_ASSERT(machine.cache().uncached_pages() == uncached);
                RC_ASSERT(machine.translations() == translations);
                RC_ASSERT(bare.capacity(0) == room);
                RC_ASSERT(driver.actions_run == 0u);
                if (binds)
                    RC_ASSERT(driver.bind() == DMAUDIT_OK);
            }
            RC_ASSERT(driver.unbind() == DMAUDIT_OK);
            RC_ASSERT(driver.wrong == 0u);
            bare.close();
            RC_ASSERT(nth < 200u);
        }
    });
    EXPECT_GT(failures, static_cast<uint64_t>(tries(500)) / 2);
}

} // namespace
} // namespace dmaudit::properties
