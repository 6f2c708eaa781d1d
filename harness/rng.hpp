// A small deterministic generator (splitmix64). The standard distributions differ between libraries, so there are none:
// the same seed gives the same case everywhere. Never draw twice in one expression: the order of evaluation is open.
#pragma once
#include <cstdint>

namespace dmaudit {

class Rng {
  public:
    explicit constexpr Rng(uint64_t seed) : state_(seed) {}

    constexpr uint64_t next()
    {
        uint64_t z = state_ += 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        return z ^ z >> 31;
    }
    // A number in [0, n); 0 if n is 0. The bias of the remainder is far below what a test could notice.
    constexpr uint64_t below(uint64_t n) { return n ? next() % n : 0; }
    constexpr bool chance(uint64_t num, uint64_t den) { return below(den) < num; }

  private:
    uint64_t state_;
};

} // namespace dmaudit
