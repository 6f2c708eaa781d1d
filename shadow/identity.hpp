// Who owns each byte of an arena: a tag (allocation id and generation) for every byte, 0 for nobody. Beside the byte
// states this catches "the right state, but of another allocation".
//
// The same three levels as ShadowMap (page, line, byte, 64-way, nodes that become uniform collapse), with 32-bit tags.
// A line may be split between owners. Not thread-safe; nothing allocates but the constructor and resize().
#ifndef DMAUDIT_SHADOW_IDENTITY_HPP
#define DMAUDIT_SHADOW_IDENTITY_HPP

#include "shadow/map_tree.hpp"
#include "shadow/range.hpp"

#include <cstdint>
#include <optional>

namespace dmaudit {

class IdentityMap {
  public:
    static constexpr uint32_t nobody = 0;
    // Reserved: in a summary it says "look below". Never a tag.
    static constexpr uint32_t mixed_tag = UINT32_MAX;
    static constexpr uint64_t max_bytes = uint64_t{64} << 20;

    // Every byte belongs to nobody.
    explicit IdentityMap(uint64_t bytes);

    // All ranges must lie inside [0, size()); that is checked in every build. Empty ranges are legal and do nothing.
    void set(Range range, uint32_t tag);

    uint32_t at(uint64_t offset) const
    {
        require({offset, 1});
        return tree_.at(offset, mixed_tag);
    }

    // The first byte of the range with another tag, if there is one.
    std::optional<uint64_t> first_other(Range range, uint32_t tag) const;

    // f(Range run, uint32_t tag) for each maximal run of equal tags inside the range, ascending. f may change the tags
    // of the run that it is given and of those before it.
    template <class F> void for_each_run(Range range, F&& f) const
    {
        require(range);
        const uint64_t end = range.end();
        for (uint64_t from = range.at; from < end;) {
            const uint32_t tag = tree_.at(from, mixed_tag);
            const uint64_t to = first_other({from, end - from}, tag).value_or(end);
            f(Range{from, to - from}, tag);
            from = to;
        }
    }

    // Every byte belongs to nobody again; costs one memset of size() / 1024 bytes.
    void reset() { tree_.reset(nobody); }

    // Grows or shrinks; new bytes belong to nobody, the others keep their tag. Allocates.
    void resize(uint64_t bytes);

    uint64_t size() const { return size_; }

    // How many pages and lines are mixed. Walks the tree, for tests and reports.
    struct Expanded {
        uint64_t pages;
        uint64_t lines;
        friend constexpr bool operator==(const Expanded&, const Expanded&) = default;
    };
    Expanded expanded() const;

  private:
    void require(Range range) const
    {
        if (range.at > size_ || range.len > size_ - range.at) [[unlikely]]
            broken_precondition("a range is outside the identity map");
    }

    uint64_t size_;
    shadow_tree::Tree<uint32_t> tree_;
};

} // namespace dmaudit

#endif
