// The IOMMU of one device: whole pages, rights in each direction, and a translation cache that forgets only when it is
// told to. What was unmapped stays usable, and hides what is mapped in its place, until a flush: the worst that hardware
// may do.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

namespace dmaudit {

class Iommu {
  public:
    enum Rights : uint8_t { read = 1, write = 2 };
    struct Page {
        uint64_t iova; // of its first byte
        uint64_t at;   // offset into RAM
        uint8_t rights;
    };

    // All addresses and lengths are multiples of `page`. false, and nothing changed: a page of it is mapped.
    bool map(uint64_t page, uint64_t iova, uint64_t at, uint64_t len, uint8_t rights);
    // false, and nothing changed: a page of it is not mapped.
    bool unmap(uint64_t page, uint64_t iova, uint64_t len);
    void flush() { cached_.clear(); }
    void clear()
    {
        table_.clear();
        cached_.clear();
    }

    // What the device gets to at [bus, bus + len): nothing unless all of it is translated, to one range of RAM, with
    // these rights.
    std::optional<uint64_t> translate(uint64_t page, uint64_t bus, uint64_t len, uint8_t rights) const;
    uint64_t pages() const { return table_.size(); }
    uint64_t stale_pages() const { return cached_.size(); } // unmapped, not flushed
    // All of it: f(Page, bool still usable though unmapped), by address.
    template <class F> void each(F&& f) const
    {
        for (const Page& p : table_)
            f(p, false);
        for (const Page& p : cached_)
            f(p, true);
    }

  private:
    using Pages = std::vector<Page>; // by iova
    static const Page* find(const Pages&, uint64_t iova);
    static void insert(Pages&, const Page&);
    Pages table_, cached_; // cached_: unmapped, not flushed
};

} // namespace dmaudit
