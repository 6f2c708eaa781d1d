// Where the cases of the properties come from, each stream a pure function of a seed. Without rapidcheck: the score
// draws from the same streams, in the proportions of the suite.
#pragma once
#include "harness/generate.hpp"
#include "harness/rng.hpp"

namespace dmaudit::properties {

Case generated(uint64_t seed, const Profile&, unsigned steps = 32);
Case generated(uint64_t seed, std::string_view profile, unsigned steps = 32);

// The same steps in another world: names, ranges and sizes are read again with the other world's pages, lines and
// spaces.
Case in_world(const Case&, const World&);

// The parts of a world's shape, each to be combined with every other.
namespace shapes {
constexpr uint64_t pages[] = {4096, 16384, 65536}, lines[] = {16, 32, 64, 128, 256};
enum class Coherence { all, none, mixed };
constexpr Coherence coherences[] = {Coherence::all, Coherence::none, Coherence::mixed};
enum class Banks { one, two, smallest_four };
constexpr Banks banks[] = {Banks::one, Banks::two, Banks::smallest_four};
enum class Reach { everything, last_byte, half_of_the_first_bank, through_an_iommu };
constexpr Reach reaches[] = {Reach::everything, Reach::last_byte, Reach::half_of_the_first_bank,
                             Reach::through_an_iommu};
enum class Offset { none, to_address_zero, to_the_top };
constexpr Offset offsets[] = {Offset::none, Offset::to_address_zero, Offset::to_the_top};
constexpr unsigned count = 3 * 5 * 3 * 3 * 4 * 3;

World make(uint64_t page, uint64_t line, Coherence, Banks, Reach, Offset);
} // namespace shapes

// A case of random bytes: no generator, most of it is refused.
Case of_random_bytes(uint64_t seed);

// How many cases a round of the suite takes of each, for every conforming profile; `hostile` in all.
constexpr int generated_cases = 4000, long_cases = 300, mutant_chains = 300, mutants_in_a_chain = 8,
              random_bytes_cases = 1500, hostile_cases = 8000, long_hostile_cases = 500;

std::span<const Profile* const> conforming_profiles();

// Case after case as the suite would try them, in its proportions, but shuffled: what takes turns is not tried to the
// end first.
class Streams {
  public:
    explicit Streams(uint64_t seed, bool swarm = true) : rng_(seed), swarm_(swarm) {}
    void next(Case& out);

  private:
    Rng rng_;
    bool swarm_;
    Case chain_; // of mutants
    unsigned left_ = 0;
};

} // namespace dmaudit::properties
