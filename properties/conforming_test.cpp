// A client that conforms never sees a violation, whatever the machine is like: no false alarm, no defect of the
// provider.
#include "harness/binary.hpp"
#include "harness/mutate.hpp"
#include "properties/support.hpp"

#include <cstdio>
#include <gtest/gtest.h>

namespace dmaudit::properties {
namespace {

std::vector<Profile> conforming_profiles()
{
    std::vector<Profile> out;
    for (const Profile& p : profiles())
        if (p.mode == Mode::conforming)
            out.push_back(p);
    return out;
}

class Conforming : public ::testing::TestWithParam<Profile> {
  protected:
    void TearDown() override
    {
        const uint64_t percent = tally.executed * 100 / std::max<uint64_t>(1, tally.steps);
        std::printf("[ measured ] %llu cases, %llu %% of the steps executed\n",
                    static_cast<unsigned long long>(tally.cases), static_cast<unsigned long long>(percent));
        if (!HasFailure()) {
            EXPECT_GE(percent, least_executed) << "what is skipped shows nothing";
        }
    }

    Checker checker;
    Tally tally;
    unsigned least_executed = 70;
};
INSTANTIATE_TEST_SUITE_P(Profiles, Conforming, ::testing::ValuesIn(conforming_profiles()),
                         [](const auto& p) { return std::string(p.param.name); });

TEST_P(Conforming, generated_cases_never_violate)
{
    for_all_seeds(4000, [&](uint64_t seed) { checker.expect_no_violation(generated(seed, GetParam()), &tally); });
}

TEST_P(Conforming, long_cases_never_violate)
{
    least_executed = 50; // small pools and small worlds fill up
    for_all_seeds(300,
                  [&](uint64_t seed) { checker.expect_no_violation(generated(seed, GetParam(), max_steps), &tally); });
}

// The parts of a world's shape, each to be combined with every other.
constexpr uint64_t pages[] = {4096, 16384, 65536}, lines[] = {16, 32, 64, 128, 256};
enum class Coherence { all, none, mixed };
constexpr Coherence coherences[] = {Coherence::all, Coherence::none, Coherence::mixed};
enum class Banks { one, two, smallest_four };
constexpr Banks banks[] = {Banks::one, Banks::two, Banks::smallest_four};
enum class Reach { everything, last_byte, half_of_the_first_bank };
constexpr Reach reaches[] = {Reach::everything, Reach::last_byte, Reach::half_of_the_first_bank};
enum class Offset { none, to_address_zero, to_the_top };
constexpr Offset offsets[] = {Offset::none, Offset::to_address_zero, Offset::to_the_top};

World shape(uint64_t page, uint64_t line, Coherence coherence, Banks layout, Reach reach, Offset offset)
{
    World w;
    w.page = page;
    w.line = line;
    w.mode = Mode::conforming;
    w.n_banks = layout == Banks::one ? 1 : layout == Banks::two ? 2 : 4;
    const uint64_t in_bank = layout == Banks::one   ? (page == 4096 ? 64 : 16)
                             : layout == Banks::two ? 12
                                                    : 5,
                   first = 0x7ff00000;
    for (unsigned i = 0; i < w.n_banks; i++) // alternately adjacent and apart
        w.banks[i] = {first + i * in_bank * page + i / 2 * 0x40000000, in_bank * page};
    const BankSpec& last = w.banks[w.n_banks - 1u];
    const uint64_t last_byte = last.phys + last.size - 1;
    w.n_devices = coherence == Coherence::mixed ? 2 : 1;
    for (unsigned d = 0; d < w.n_devices; d++) {
        DeviceSpec& device = w.devices[d];
        device.coherent = coherence == Coherence::all || (coherence == Coherence::mixed && d == 0);
        device.offset = offset == Offset::none              ? 0
                        : offset == Offset::to_address_zero ? 0 - first
                                                            : all_ones - 1 - last_byte;
        // A second device sees it all: one of both may have to bounce.
        device.limit = d == 1 || reach == Reach::everything
                           ? all_ones
                           : (reach == Reach::last_byte ? last_byte : first + w.banks[0].size / 2 - 1) + device.offset;
    }
    return w;
}

TEST_P(Conforming, every_shape_of_world_is_free_of_violations)
{
    least_executed = 30; // the cases were made for other worlds, and where a device does not reach a pool there is none
    unsigned shapes = 0;
    const int rounds = tries(1);
    for_all_seeds(1, [&](uint64_t seed) {
        Rng rng(seed);
        for (int round = 0; round < rounds; round++)
            for (const uint64_t page : pages)
                for (const uint64_t line : lines)
                    for (const Coherence coherence : coherences)
                        for (const Banks layout : banks)
                            for (const Reach reach : reaches)
                                for (const Offset offset : offsets) {
                                    const World w = shape(page, line, coherence, layout, reach, offset);
                                    RC_ASSERT(world_error(w) == "");
                                    const Case c = in_world(generated(rng.next(), GetParam()), w);
                                    RC_ASSERT(c.world == w);
                                    checker.expect_no_violation(c, &tally);
                                    shapes++;
                                }
    });
    EXPECT_EQ(shapes % 1215, 0u);
}

TEST_P(Conforming, mutants_never_violate)
{
    least_executed = 45;
    for_all_seeds(300, [&](uint64_t seed) {
        Rng rng(seed);
        Case c = generated(rng.next(), GetParam());
        for (unsigned i = 0; i < 8; i++) {
            mutate(c, rng);
            c.world.mode = Mode::conforming;
            checker.expect_no_violation(c, &tally);
        }
    });
}

TEST_P(Conforming, random_bytes_never_violate)
{
    least_executed = 40; // no generator: most of it is refused
    for_all_seeds(1500, [&](uint64_t seed) {
        Rng rng(seed);
        std::vector<uint8_t> bytes((1 + 48) * cell_bytes);
        for (uint8_t& b : bytes)
            b = static_cast<uint8_t>(rng.next());
        bytes[0] = 1;
        Case c;
        decode(bytes, c);
        c.world.mode = Mode::conforming;
        checker.expect_no_violation(c, &tally);
    });
}

} // namespace
} // namespace dmaudit::properties
