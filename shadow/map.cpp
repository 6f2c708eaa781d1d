#include "shadow/map.hpp"

#include <algorithm>
#include <utility>

namespace dmaudit {

namespace {

using shadow_tree::Ops;
using shadow_tree::page_bytes;

uint64_t checked_size(uint64_t bytes)
{
    if (bytes > ShadowMap::max_bytes)
        broken_precondition("a shadow map is too large");
    return bytes;
}

uint8_t checked_state(uint8_t state)
{
    if (state == mixed)
        broken_precondition("the reserved value used as a state");
    return state;
}

// Null if this build or this processor has not got it.
const Ops* ops_for(Isa isa)
{
    switch (isa) {
    case Isa::portable:
        return shadow_tree::portable_ops();
#if defined(__x86_64__)
    // Each names what its file is compiled with.
    case Isa::avx2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") ? shadow_tree::avx2_ops() : nullptr;
    case Isa::avx512:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("avx512f") &&
                       __builtin_cpu_supports("avx512bw")
                   ? shadow_tree::avx512_ops()
                   : nullptr;
#else
    case Isa::avx2:
    case Isa::avx512:
        return nullptr;
#endif
    case Isa::best:
        break;
    }
    for (const Isa candidate : {Isa::avx512, Isa::avx2})
        if (const Ops* ops = ops_for(candidate))
            return ops;
    return shadow_tree::portable_ops();
}

} // namespace

ShadowMap::ShadowMap(uint64_t bytes, uint8_t fill, Isa isa)
    : size_(checked_size(bytes)), tree_(bytes), ops_(ops_for(isa))
{
    if (ops_ == nullptr)
        broken_precondition("an instruction set that this processor has not got");
    reset(fill);
}

bool ShadowMap::supported(Isa isa)
{
    return ops_for(isa) != nullptr;
}

void ShadowMap::set(Range range, uint8_t state)
{
    require(range);
    checked_state(state);
    if (range.empty())
        return;
    // Whole pages need no look at what is below them; the rest is a transition of every state to this one.
    const uint64_t end = range.end();
    const uint64_t first = (range.at + page_bytes - 1) / page_bytes, last = end / page_bytes;
    if (first < last)
        std::fill_n(tree_.levels().pages + first, last - first, state);
    uint8_t next[256];
    std::fill_n(next, 256, state);
    const uint64_t head_end = std::min(end, first * page_bytes);
    if (range.at < head_end)
        ops_->apply(tree_.levels(), next, range.at, head_end);
    const uint64_t tail = std::max(head_end, last * page_bytes);
    if (tail < end)
        ops_->apply(tree_.levels(), next, tail, end);
}

bool ShadowMap::all(Range range, const uint8_t (&set)[256]) const
{
    require(range);
    return range.empty() ||
           ops_->find_not(tree_.levels(), set, range.at, range.at + range.len).at == shadow_tree::nowhere;
}

void ShadowMap::reset(uint8_t fill)
{
    tree_.reset(checked_state(fill));
}

void ShadowMap::resize(uint64_t bytes, uint8_t fill)
{
    checked_state(fill);
    shadow_tree::Tree<uint8_t> grown(checked_size(bytes));
    grown.reset(fill);
    grown.copy_from(tree_, mixed);
    tree_ = std::move(grown);
    const uint64_t before = size_;
    size_ = bytes;
    // The last page may hold old values behind the old end.
    if (bytes > before)
        set({before, bytes - before}, fill);
}

ShadowMap::Expanded ShadowMap::expanded() const
{
    const auto& levels = tree_.levels();
    Expanded count{0, 0};
    for (uint64_t page = 0; page < tree_.pages(); ++page) {
        if (levels.pages[page] != mixed)
            continue;
        ++count.pages;
        count.lines +=
            static_cast<uint64_t>(std::count(levels.lines + page * 64, levels.lines + page * 64 + 64, mixed));
    }
    return count;
}

uint64_t ShadowMap::next_run(uint64_t from, uint64_t end) const
{
    return ops_->run_end(tree_.levels(), from, end);
}

} // namespace dmaudit
