#include "machine/iommu.hpp"

#include <algorithm>

namespace dmaudit {
namespace {

constexpr auto before = [](const Iommu::Page& p, uint64_t iova) { return p.iova < iova; };

} // namespace

const Iommu::Page* Iommu::find(const Pages& pages, uint64_t iova)
{
    const auto at = std::lower_bound(pages.begin(), pages.end(), iova, before);
    return at != pages.end() && at->iova == iova ? &*at : nullptr;
}

void Iommu::insert(Pages& pages, const Page& page)
{
    const auto at = std::lower_bound(pages.begin(), pages.end(), page.iova, before);
    if (at != pages.end() && at->iova == page.iova)
        return; // the older translation is the one that hurts
    pages.insert(at, page);
}

bool Iommu::map(uint64_t page, uint64_t iova, uint64_t at, uint64_t len, uint8_t rights)
{
    auto place = std::lower_bound(table_.begin(), table_.end(), iova, before);
    if (place != table_.end() && place->iova - iova < len)
        return false;
    place = table_.insert(place, len / page, {});
    for (uint64_t i = 0; i < len; i += page)
        *place++ = {iova + i, at + i, rights};
    return true;
}

bool Iommu::unmap(uint64_t page, uint64_t iova, uint64_t len)
{
    const auto first = std::lower_bound(table_.begin(), table_.end(), iova, before);
    auto last = first;
    for (uint64_t i = 0; i < len; i += page, ++last)
        if (last == table_.end() || last->iova != iova + i)
            return false;
    for (auto p = first; p != last; ++p)
        insert(cached_, *p);
    table_.erase(first, last);
    return true;
}

std::optional<uint64_t> Iommu::translate(uint64_t page, uint64_t bus, uint64_t len, uint8_t rights) const
{
    std::optional<uint64_t> first;
    const uint64_t begin = bus & ~(page - 1), bytes = (bus - begin) + std::max<uint64_t>(len, 1);
    if (bytes < len)
        return {};
    for (uint64_t iova = begin; iova - begin < bytes; iova += page) {
        const Page* p = find(cached_, iova);
        if (!p)
            p = find(table_, iova);
        if (!p || (p->rights & rights) != rights)
            return {};
        if (!first)
            first = p->at;
        else if (p->at != *first + (iova - begin))
            return {};
    }
    return *first + (bus - begin);
}

} // namespace dmaudit
