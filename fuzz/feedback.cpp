#include "fuzz/feedback.hpp"

#include <array>
#include <cstddef>
#include <iterator>
#include <utility>

// Of Centipede's runner, where the target is linked with it.
extern "C" __attribute__((weak)) void CentipedeIsPresent();

#ifdef __AFL_COMPILER
extern "C" void __afl_coverage_interesting(uint8_t value, uint32_t id);
#endif

namespace dmaudit::fuzz {
namespace {

// Centipede takes every value in this section for a feature (domain << 32 | id), zeros aside, and clears it after each
// input.
#ifdef __linux__
__attribute__((used, section("__centipede_extra_features")))
#endif
uint64_t features[1024];

#ifdef __AFL_COMPILER
// AFL++'s compiler gives each call of the function an id of its own, whatever the argument says: so it takes as many
// calls as there are places to mark.
constexpr size_t places = 512;
template <size_t> __attribute__((noinline)) void mark()
{
    __afl_coverage_interesting(1, 0);
}
template <size_t... I> constexpr std::array<void (*)(), sizeof...(I)> marks_of(std::index_sequence<I...>)
{
    return {mark<I>...};
}
constexpr auto marks = marks_of(std::make_index_sequence<places>());
#endif

} // namespace

void tell_engine(std::span<const uint8_t> cells)
{
#ifdef __AFL_COMPILER
    for (size_t i = 0; i < cells.size(); i++)
        if (cells[i])
            marks[i * 0x9e3779b1u % places]();
#endif
    if (!CentipedeIsPresent)
        return;
    size_t n = 0;
    for (size_t i = 0; i < cells.size() && n < std::size(features); i++)
        if (cells[i])
            features[n++] = i + 1;
}

} // namespace dmaudit::fuzz
