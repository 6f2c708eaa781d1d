// The reference for ShadowMap: the same operations on a plain array, one byte at a time. Slow and obviously right;
// tests compare the two. It also checks what the fast map takes on trust, that no state is ever `mixed`.
#ifndef DMAUDIT_SHADOW_MAP_NAIVE_HPP
#define DMAUDIT_SHADOW_MAP_NAIVE_HPP

#include "shadow/map.hpp"

#include <cstddef>
#include <vector>

namespace dmaudit {

class NaiveMap {
  public:
    explicit NaiveMap(uint64_t bytes, uint8_t fill) : states_(static_cast<size_t>(bytes), state_of(fill)) {}

    std::optional<Hit> check(const Transition& transition, Range range) const
    {
        return first_in(range, transition.rule);
    }

    void apply(const Transition& transition, Range range)
    {
        require(range);
        for (uint64_t i = range.at; i < range.end(); ++i)
            states_[i] = state_of(transition.next[states_[i]]);
    }

    std::optional<Hit> check_and_apply(const Transition& transition, Range range)
    {
        require(range);
        for (uint64_t i = range.at; i < range.end(); ++i) {
            if (const uint8_t rule = transition.rule[states_[i]]; rule != 0)
                return Hit{i, states_[i], rule};
            states_[i] = state_of(transition.next[states_[i]]);
        }
        return std::nullopt;
    }

    uint8_t at(uint64_t offset) const
    {
        require({offset, 1});
        return states_[offset];
    }

    void set(Range range, uint8_t state)
    {
        require(range);
        for (uint64_t i = range.at; i < range.end(); ++i)
            states_[i] = state_of(state);
    }

    template <class F> void for_each_run(Range range, F&& f) const
    {
        require(range);
        for (uint64_t from = range.at; from < range.end();) {
            uint64_t to = from + 1;
            while (to < range.end() && states_[to] == states_[from])
                ++to;
            f(Range{from, to - from}, states_[from]);
            from = to;
        }
    }

    bool all(Range range, const uint8_t (&set)[256]) const
    {
        require(range);
        for (uint64_t i = range.at; i < range.end(); ++i)
            if (set[states_[i]] == 0)
                return false;
        return true;
    }

    std::optional<Hit> first_in(Range range, const uint8_t (&set)[256]) const
    {
        require(range);
        for (uint64_t i = range.at; i < range.end(); ++i)
            if (set[states_[i]] != 0)
                return Hit{i, states_[i], set[states_[i]]};
        return std::nullopt;
    }

    void reset(uint8_t fill) { states_.assign(states_.size(), state_of(fill)); }
    void resize(uint64_t bytes, uint8_t fill) { states_.resize(static_cast<size_t>(bytes), state_of(fill)); }
    uint64_t size() const { return states_.size(); }

  private:
    static uint8_t state_of(uint8_t value)
    {
        if (value == mixed)
            broken_precondition("the reserved value used as a state");
        return value;
    }

    void require(Range range) const
    {
        if (range.end() > size())
            broken_precondition("a range is outside the shadow map");
    }

    std::vector<uint8_t> states_;
};

} // namespace dmaudit

#endif
