// What an IOMMU lets a device do, page by page.
#include "shadow/testing_auditor.hpp"

namespace dmaudit::fakes {
namespace {

constexpr uint64_t guarded = usual | DMAUDIT_PROMISES_IOMMU | DMAUDIT_PROMISES_RIGHTS, pages = 3;

TEST(Iommu, excess_rights_on_any_page)
{
    const auto mapped = [](uint64_t open, uint32_t direction, uint64_t promises = guarded) {
        Audited t(promises);
        t.put_behind_iommu(snooping);
        t.written_buffer(0, pages * page);
        t.provider.mapping_lies([&](dmaudit_mapping& m) {
            if (open < pages)
                t.machine.give(snooping, m.bus + open * page, 1);
        });
        t.map(0, pages * page, direction, snooping);
        return t.found();
    };
    for (uint64_t open = 0; open < pages; open++)
        for (const uint32_t direction : {to, from}) {
            EXPECT_EQ(mapped(open, direction), "excess-rights") << open << ' ' << direction;
            EXPECT_EQ(mapped(open, direction, guarded & ~DMAUDIT_PROMISES_RIGHTS), "nothing") << "not promised";
        }
    for (const uint32_t direction : {to, from, bi})
        EXPECT_EQ(mapped(pages, direction), "nothing") << direction;
    EXPECT_EQ(mapped(1, bi), "nothing") << "it may do everything";
}

TEST(Iommu, still_reachable_on_any_page)
{
    const auto unmapped = [](uint64_t kept) {
        Audited t(guarded);
        t.put_behind_iommu(snooping);
        t.written_buffer(0, pages * page);
        const auto m = t.map(0, pages * page, to, snooping);
        EXPECT_EQ(t.found(), "nothing");
        if (kept < pages)
            t.machine.give(snooping, m.bus + kept * page, 1);
        t.unmap(m);
        return t.found();
    };
    for (uint64_t kept = 0; kept < pages; kept++)
        EXPECT_EQ(unmapped(kept), "still-reachable") << kept;
    EXPECT_EQ(unmapped(pages), "nothing");
}

} // namespace
} // namespace dmaudit::fakes
