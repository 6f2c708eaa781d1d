// Where a pool puts a block, told by a model too simple to be wrong: the lowest free run of 2^n pages that begins on a
// multiple of its own length, counted from the start of the pool.
#include "properties/bare.hpp"
#include "properties/support.hpp"

#include <algorithm>
#include <bit>
#include <gtest/gtest.h>
#include <optional>

namespace dmaudit::properties {
namespace {

class NaivePool {
  public:
    explicit NaivePool(uint64_t pages) : used_(pages) {}

    // The first page of the run; nothing: no room. `admits` says whether the device reaches a run.
    std::optional<uint64_t> alloc(uint64_t run, const std::function<bool(uint64_t first)>& admits)
    {
        for (uint64_t first = 0; run <= used_.size() && first <= used_.size() - run; first += run)
            if (is_free(first, run) && admits(first)) {
                set(first, run, true);
                return first;
            }
        return {};
    }
    void free(uint64_t first, uint64_t run) { set(first, run, false); }

  private:
    bool is_free(uint64_t first, uint64_t run) const
    {
        for (uint64_t i = first; i < first + run; i++)
            if (used_[i])
                return false;
        return true;
    }
    void set(uint64_t first, uint64_t run, bool used)
    {
        for (uint64_t i = first; i < first + run; i++)
            used_[i] = used;
    }
    std::vector<bool> used_;
};

struct Placed {
    dmaudit_block block;
    uint64_t first, run;
};

TEST(PoolModel, every_block_lies_where_first_fit_puts_it)
{
    Machine machine;
    uint64_t placed = 0, full = 0, beyond = 0;
    for_all_seeds(1500, [&](uint64_t seed) {
        Rng rng(seed);
        World w = some_world(rng);
        w.n_devices = 1;
        for (unsigned d = 1; d < max_devices; d++)
            w.devices[d] = {};
        w.devices[0].limit = all_ones;
        w.devices[0].iommu = 0;
        // The largest part of the pools' space that one bank holds, or some of it.
        const Division d = divide(w, 0);
        const uint64_t most = d.pool / w.page, pages = rng.chance(1, 3) ? most : 1 + rng.below(most);
        const uint64_t phys = w.banks[0].phys + d.arena, bus = phys + w.devices[0].offset;
        const bool exclusive = rng.chance(1, 2);
        if (rng.chance(1, 3)) // the limit lies inside the pool
            w.devices[0].limit = bus + rng.below(pages * w.page);
        Bare bare(machine, w);
        RC_ASSERT(bare.declare(0, phys, bus, pages * w.page, exclusive) == DMAUDIT_OK);
        NaivePool model(pages);
        std::vector<Placed> live;
        for (unsigned i = 0; i < 120; i++) {
            int ours = -1;
            if (!live.empty() && rng.chance(2, 5)) {
                const size_t k = rng.below(live.size());
                const Placed gone = live[k];
                live.erase(live.begin() + static_cast<ptrdiff_t>(k));
                if (rng.chance(1, 2))
                    RC_ASSERT(bare.free(gone.block) == DMAUDIT_OK);
                else
                    RC_ASSERT(bare.release_from(0, static_cast<uint32_t>(std::countr_zero(gone.run)), gone.block.cpu,
                                                ours) == DMAUDIT_OK);
                model.free(gone.first, gone.run);
                continue;
            }
            const uint64_t size = 1 + rng.below(rng.chance(3, 4) ? 3 * w.page : (pages + 2) * w.page);
            const uint64_t run = std::bit_ceil((size - 1) / w.page + 1);
            bool unreachable = false;
            const auto expected = model.alloc(run, [&](uint64_t first) {
                const bool within = bus + first * w.page + (size - 1) <= w.devices[0].limit;
                unreachable |= !within;
                return within;
            });
            dmaudit_block b;
            const int code = bare.alloc_from(0, size, b, ours);
            if (!expected) {
                (unreachable ? beyond : full)++;
                RC_ASSERT(ours == (exclusive ? 1 : 0));
                if (ours)
                    RC_ASSERT(code == (unreachable ? DMAUDIT_EMASK : DMAUDIT_ENOMEM));
                continue;
            }
            RC_ASSERT(code == DMAUDIT_OK);
            RC_ASSERT(ours == 1);
            RC_ASSERT(bare.phys(b.cpu) == phys + *expected * w.page);
            RC_ASSERT(b.bus == bus + *expected * w.page);
            RC_ASSERT(b.granted == run * w.page);
            live.push_back({b, *expected, run});
            placed++;
        }
    });
    EXPECT_GT(placed, 10000u);
    EXPECT_GT(full, 1000u);
    EXPECT_GT(beyond, 100u);
}

} // namespace
} // namespace dmaudit::properties
