// The IOMMU: what is translated, with which rights, what hides behind a flush that was not made, and what is refused.
#include "machine/machine.hpp"

#include <gtest/gtest.h>

namespace dmaudit {
namespace {

constexpr uint64_t page = 4096, bank = 16 * page, phys = 0x80000000, second = 0x90000000;
constexpr uint32_t behind = 0, direct = 1, also_behind = 2; // devices
constexpr uint64_t limit = 0xffffff;
constexpr uint32_t reads = DMAUDIT_IOMMU_READ, writes = DMAUDIT_IOMMU_WRITE, both = reads | writes;

class IommuTest : public ::testing::Test {
  protected:
    IommuTest() { configure(); }
    void configure()
    {
        MachineSpec spec;
        spec.n_banks = 2;
        spec.banks[0] = {phys, bank, bank / 2};
        spec.banks[1] = {second, bank, bank / 2};
        spec.n_devices = 3;
        spec.devices[behind] = {limit, 0, true, true};
        spec.devices[direct] = {~uint64_t{0}, 0, true, false};
        spec.devices[also_behind] = {~uint64_t{0}, 0, true, true};
        machine.configure(spec, nullptr);
    }
    int map(uint64_t iova, uint64_t at, uint64_t len = page, uint32_t rights = both, uint32_t device = behind)
    {
        return platform.iommu_map(platform.self, device, iova, phys + at, len, rights);
    }
    int unmap(uint64_t iova, uint64_t len = page, uint32_t device = behind)
    {
        return platform.iommu_unmap(platform.self, device, iova, len);
    }
    void flush(uint32_t device = behind) { platform.iommu_flush(platform.self, device); }
    std::optional<uint64_t> at(uint64_t bus, uint64_t len = 1, uint32_t device = behind) const
    {
        return machine.translate(device, bus, len);
    }
    static constexpr std::optional<uint64_t> nowhere = std::nullopt;

    Machine machine;
    const dmaudit_platform& platform = machine.platform();
};

TEST_F(IommuTest, says_which_devices_are_behind_one)
{
    EXPECT_TRUE(platform.has_iommu(platform.self, behind));
    EXPECT_FALSE(platform.has_iommu(platform.self, direct));
    EXPECT_FALSE(platform.has_iommu(platform.self, 3)) << "no such device";
    EXPECT_EQ(map(0, 0, page, both, direct), DMAUDIT_ENODEV);
    EXPECT_EQ(map(0, 0, page, both, 3), DMAUDIT_ENODEV);
    EXPECT_EQ(unmap(0, page, direct), DMAUDIT_ENODEV);
    EXPECT_EQ(unmap(0, page, 3), DMAUDIT_ENODEV);
    flush(3); // nobody's
}

TEST_F(IommuTest, translates_what_is_mapped_for_this_device_and_nothing_else)
{
    EXPECT_EQ(at(phys), nowhere) << "a physical address means nothing";
    EXPECT_EQ(map(0x4000, 2 * page, 2 * page), DMAUDIT_OK);
    EXPECT_EQ(at(0x4000), 2 * page);
    EXPECT_EQ(at(0x5fff), 4 * page - 1);
    EXPECT_EQ(at(0x4010, 2 * page - 0x10), 2 * page + 0x10);
    EXPECT_EQ(at(0x4010, 2 * page - 0xf), nowhere) << "one byte too many";
    EXPECT_EQ(at(0x3fff), nowhere);
    EXPECT_EQ(at(0x3fff, 2), nowhere);
    EXPECT_EQ(at(0x6000), nowhere);
    EXPECT_EQ(at(0x4000, 1, also_behind), nowhere) << "of the other device";
    EXPECT_EQ(at(0x4000, 0), 2 * page) << "no bytes still have a place";
    EXPECT_EQ(at(DMAUDIT_NO_ADDRESS), nowhere);
    EXPECT_EQ(at(0x4001, ~uint64_t{0}), nowhere) << "a length that wraps";
    EXPECT_EQ(machine.translations(), 2u);
}

TEST_F(IommuTest, a_range_is_translated_only_if_it_stays_one_range)
{
    ASSERT_EQ(map(0x4000, 2 * page), DMAUDIT_OK);
    ASSERT_EQ(map(0x5000, 4 * page), DMAUDIT_OK);
    EXPECT_EQ(at(0x4fff, 1), 3 * page - 1);
    EXPECT_EQ(at(0x4fff, 2), nowhere);
    ASSERT_EQ(map(0x6000, 5 * page), DMAUDIT_OK);
    EXPECT_EQ(at(0x5000, 2 * page), 4 * page) << "mapped apart, side by side all the same";
    ASSERT_EQ(platform.iommu_map(platform.self, behind, 0x8000, second, page, both), DMAUDIT_OK);
    EXPECT_EQ(at(0x8001), bank + 1) << "the second bank";
}

TEST_F(IommuTest, rights_are_the_devices)
{
    ASSERT_EQ(map(0x1000, 0, page, reads), DMAUDIT_OK);
    ASSERT_EQ(map(0x2000, page, page, writes), DMAUDIT_OK);
    ASSERT_EQ(map(0x3000, 2 * page, page, both), DMAUDIT_OK);
    const auto can = [&](uint64_t bus, unsigned rights, uint64_t len = 1) {
        return machine.reach(behind, bus, len, rights).has_value();
    };
    EXPECT_TRUE(can(0x1000, Iommu::read));
    EXPECT_FALSE(can(0x1000, Iommu::write));
    EXPECT_FALSE(can(0x1000, Iommu::read | Iommu::write));
    EXPECT_FALSE(can(0x2000, Iommu::read));
    EXPECT_TRUE(can(0x2000, Iommu::write));
    EXPECT_TRUE(can(0x3000, Iommu::read | Iommu::write));
    EXPECT_FALSE(can(0x2fff, Iommu::read, 2)) << "of every page";
    EXPECT_TRUE(can(0x2fff, Iommu::write, 2));
    EXPECT_EQ(at(0x1000, 3 * page), 0u) << "where it lies, whatever the rights";
    EXPECT_EQ(map(0x4000, 3 * page, page, 0), DMAUDIT_EINVAL);
    EXPECT_EQ(map(0x4000, 3 * page, page, both + 1), DMAUDIT_EINVAL);
}

TEST_F(IommuTest, what_is_misaligned_or_no_ram_or_beyond_the_limit_is_refused)
{
    EXPECT_EQ(map(0x1001, 0), DMAUDIT_EINVAL);
    EXPECT_EQ(map(0x1000, 1), DMAUDIT_EINVAL);
    EXPECT_EQ(map(0x1000, 0, page + 1), DMAUDIT_EINVAL);
    EXPECT_EQ(map(0x1000, 0, 0), DMAUDIT_EINVAL);
    EXPECT_EQ(map(0x1000, bank), DMAUDIT_EINVAL) << "behind the bank";
    EXPECT_EQ(map(0x1000, bank - page, 2 * page), DMAUDIT_EINVAL) << "past its end";
    EXPECT_EQ(map(limit + 1, 0), DMAUDIT_EINVAL);
    EXPECT_EQ(map(limit + 1 - page, 0, 2 * page), DMAUDIT_EINVAL);
    EXPECT_EQ(map(limit + 1 - page, 0), DMAUDIT_OK) << "the last page within it";
    const uint64_t top = ~uint64_t{0} - (page - 1);
    EXPECT_EQ(map(top, 0, 2 * page, both, also_behind), DMAUDIT_EINVAL) << "wraps";
    EXPECT_EQ(map(top, 0, page, both, also_behind), DMAUDIT_EINVAL) << "its last byte has no address";
    EXPECT_EQ(map(top - page, 0, page, both, also_behind), DMAUDIT_OK);
    EXPECT_EQ(at(top - page + 1, 1, also_behind), 1u);
    EXPECT_EQ(map(0, page, page, both, also_behind), DMAUDIT_OK);
    EXPECT_EQ(unmap(top, 2 * page, also_behind), DMAUDIT_EINVAL) << "wraps";
    EXPECT_EQ(unmap(1), DMAUDIT_EINVAL);
    EXPECT_EQ(unmap(0, 1), DMAUDIT_EINVAL);
    EXPECT_EQ(unmap(0, 0), DMAUDIT_EINVAL);
    EXPECT_EQ(unmap(0, uint64_t{1} << 40, also_behind), DMAUDIT_EINVAL);
    EXPECT_EQ(machine.translations(), 3u);
}

TEST_F(IommuTest, a_page_is_mapped_once_and_a_refusal_changes_nothing)
{
    ASSERT_EQ(map(0x5000, 0), DMAUDIT_OK);
    EXPECT_EQ(map(0x5000, page), DMAUDIT_EINVAL);
    EXPECT_EQ(map(0x4000, page, 2 * page), DMAUDIT_EINVAL);
    EXPECT_EQ(at(0x5000), 0u);
    EXPECT_EQ(at(0x4000), nowhere);
    EXPECT_EQ(machine.translations(), 1u);
    EXPECT_EQ(unmap(0x4000), DMAUDIT_EINVAL);
    EXPECT_EQ(unmap(0x5000, 2 * page), DMAUDIT_EINVAL);
    EXPECT_EQ(machine.translations(), 1u) << "nothing of it went";
    EXPECT_EQ(unmap(0x5000), DMAUDIT_OK);
    EXPECT_EQ(unmap(0x5000), DMAUDIT_EINVAL) << "twice";
    EXPECT_EQ(map(0x6000, 0), DMAUDIT_OK) << "the same memory at two addresses is legal";
    EXPECT_EQ(map(0x7000, 0), DMAUDIT_OK);
}

TEST_F(IommuTest, what_was_unmapped_stays_usable_until_a_flush)
{
    ASSERT_EQ(map(0x5000, 0, 2 * page), DMAUDIT_OK);
    ASSERT_EQ(unmap(0x5000), DMAUDIT_OK);
    EXPECT_EQ(machine.translations(), 1u);
    EXPECT_EQ(at(0x5000), 0u);
    flush(also_behind);
    EXPECT_EQ(at(0x5000), 0u) << "the flush of another device";
    flush();
    EXPECT_EQ(at(0x5000), nowhere);
    EXPECT_EQ(at(0x6000), page) << "what is mapped stays";
}

TEST_F(IommuTest, a_stale_translation_hides_the_new_one)
{
    ASSERT_EQ(map(0x5000, 0, page, reads), DMAUDIT_OK);
    ASSERT_EQ(unmap(0x5000), DMAUDIT_OK);
    ASSERT_EQ(map(0x5000, page, page, both), DMAUDIT_OK);
    EXPECT_EQ(at(0x5000), 0u);
    EXPECT_FALSE(machine.reach(behind, 0x5000, 1, Iommu::write)) << "its rights as well";
    ASSERT_EQ(unmap(0x5000), DMAUDIT_OK);
    EXPECT_EQ(at(0x5000), 0u) << "the oldest of two";
    ASSERT_EQ(map(0x5000, 2 * page), DMAUDIT_OK);
    flush();
    EXPECT_EQ(at(0x5000), 2 * page);
}

TEST_F(IommuTest, reach_ends_at_the_devices_limit)
{
    ASSERT_EQ(map(limit + 1 - page, 0), DMAUDIT_OK);
    EXPECT_TRUE(machine.reach(behind, limit, 1));
    EXPECT_FALSE(machine.reach(behind, limit, 2));
    EXPECT_FALSE(machine.reach(behind, limit + 1, 1));
}

TEST_F(IommuTest, a_map_may_be_made_to_fail)
{
    machine.begin_call();
    machine.arm_fault(2);
    EXPECT_EQ(map(0x1000, 0), DMAUDIT_OK);
    EXPECT_EQ(map(0x2000, 0), DMAUDIT_ENOMEM);
    EXPECT_TRUE(machine.fault_fired());
    EXPECT_EQ(at(0x2000), nowhere);
    EXPECT_EQ(map(0x2000, 0), DMAUDIT_OK) << "once";
    machine.end_call();
    machine.begin_call();
    machine.arm_fault(1);
    EXPECT_EQ(map(0x3001, 0), DMAUDIT_EINVAL);
    EXPECT_FALSE(machine.fault_fired()) << "a malformed call is refused before it could fail";
    EXPECT_EQ(unmap(0x2000), DMAUDIT_OK);
    flush();
    EXPECT_FALSE(machine.fault_fired()) << "unmap and flush never fail so";
    machine.end_call();
}

TEST_F(IommuTest, the_observer_is_told_of_calls_that_are_made)
{
    struct Notes final : MachineObserver {
        std::vector<PlatformCall> calls;
        void platform_call(PlatformCall c, uint64_t, uint64_t) override { calls.push_back(c); }
        bool may_uncache(uint64_t, uint64_t) override { return true; }
        void writeback_over_stale(uint64_t) override {}
        void drops_dirty(uint64_t, uint64_t, uint64_t) override {}
    } notes;
    MachineSpec spec = machine.spec();
    machine.reset();
    machine.configure(spec, &notes);
    map(0x1000, 0);
    map(0x1001, 0);
    unmap(0x1000);
    flush();
    EXPECT_EQ(notes.calls,
              (std::vector{PlatformCall::iommu_map, PlatformCall::iommu_unmap, PlatformCall::iommu_flush}));
    machine.reset();
    machine.configure(spec, nullptr);
}

TEST_F(IommuTest, accesses_go_where_the_translation_leads)
{
    ASSERT_EQ(map(0x5000, 3 * page), DMAUDIT_OK);
    const uint8_t bytes[] = {1, 2, 3};
    machine.device_write(behind, *machine.reach(behind, 0x5010, 3, Iommu::write), 3, bytes);
    EXPECT_EQ(machine.door()[3 * page + 0x11], 2);
}

TEST_F(IommuTest, reset_forgets_everything)
{
    ASSERT_EQ(map(0x5000, 0, 2 * page), DMAUDIT_OK);
    ASSERT_EQ(unmap(0x5000), DMAUDIT_OK);
    ASSERT_EQ(map(0, 0, page, both, also_behind), DMAUDIT_OK);
    machine.reset();
    configure();
    EXPECT_EQ(machine.translations(), 0u);
    EXPECT_EQ(at(0x5000), nowhere) << "the stale one";
    EXPECT_EQ(at(0x6000), nowhere);
    EXPECT_EQ(at(0, 1, also_behind), nowhere);
    EXPECT_EQ(map(0x6000, 0), DMAUDIT_OK);
}

} // namespace
} // namespace dmaudit
