#include "allocator/arenas.hpp"

namespace dmaudit::alloc {

Arenas::Arenas(const Platform& platform, State* states) noexcept : platform_(platform), states_(states)
{
    for (std::uint32_t i = 0; i < platform_.arenas(); i++) {
        states_[i].setup = State::Setup::Pending;
        states_[i].storage = nullptr;
    }
}

Arenas::~Arenas()
{
    for (std::uint32_t i = 0; i < platform_.arenas(); i++)
        if (states_[i].storage != nullptr)
            platform_.meta_free(states_[i].storage);
}

// An arena is set up when it is first asked, so that an instance which is opened and closed pays nothing for it.
Status Arenas::set_up(std::uint32_t arena) noexcept
{
    State& state = states_[arena];
    if (state.setup == State::Setup::Ready)
        return {};
    state.range = platform_.arena(arena);
    const std::uint64_t page = platform_.page();
    const std::uint64_t pages = state.range.size / page;
    state.contiguous = pages != 0 && platform_.cpu_of(state.range) != nullptr;
    if (state.contiguous != 0) {
        // Bit 0 stands for an address aligned to the largest run that the arena can hold: then aligned bits are aligned
        // addresses. The pages between it and the arena do not exist.
        const std::uint64_t largest = page << (std::bit_width(pages) - 1);
        state.origin = {state.range.start.value & ~(largest - 1)};
        const std::uint64_t missing = (state.range.start.value - state.origin.value) / page;
        const std::size_t bytes = Bitmap::storage_bytes(missing + pages);
        if (bytes != 0 && (state.storage = platform_.meta_alloc(bytes)) == nullptr)
            return DmaError::NoMemory;
        ::new (&state.bitmap) Bitmap;
        state.bitmap.attach(missing + pages, state.storage);
        state.bitmap.reserve(0, missing);
    }
    state.setup = State::Setup::Ready;
    return {};
}

Result<PageRun> Arenas::alloc(std::uint64_t size, const Constraints& constraints, std::uint64_t lead) noexcept
{
    const Wish wish{order_of(lead + size, platform_.page_shift()), lead, size};
    const Guard guard(platform_, lock_);
    for (std::uint32_t i = 0; i < platform_.arenas(); i++)
        if (Status ready = set_up(i); !ready)
            return ready.error();
    PageRun run;
    if (!search(wish, constraints, run))
        return why_no_place(constraints, [&](const Constraints& c) { return search(wish, c, run); });
    State& state = states_[run.arena];
    state.bitmap.take((run.phys.value - state.origin.value) >> platform_.page_shift(), run.order);
    return run;
}

void Arenas::free(const PageRun& run) noexcept
{
    const Guard guard(platform_, lock_);
    State& state = states_[run.arena];
    state.bitmap.release((run.phys.value - state.origin.value) >> platform_.page_shift(), run.order);
}

bool Arenas::search(const Wish& wish, const Constraints& constraints, PageRun& out) noexcept
{
    const unsigned order = wish.order;
    for (std::uint32_t i = 0; i < platform_.arenas(); i++) {
        State& state = states_[i];
        if (state.contiguous == 0)
            continue;
        // Where device addresses are aligned as physical ones are, the bitmap knows the lowest run at once.
        if (order < 40 && aligned(constraints.bus_offset, platform_.page() << order)) {
            const std::uint64_t at = state.bitmap.find(order);
            if (at == Bitmap::kNone)
                continue;
            const PhysAddr phys = state.origin.at(at << platform_.page_shift());
            if (constraints.admits(phys.at(wish.lead), wish.size)) {
                out = {phys, i, order};
                return true;
            }
        }
        if (scan(i, wish, constraints, out))
            return true;
    }
    return false;
}

// Every place, from the lowest on: for limits, alignments beyond the run's own and unusual bus offsets.
bool Arenas::scan(std::uint32_t arena, const Wish& wish, const Constraints& constraints, PageRun& out) noexcept
{
    const unsigned order = wish.order;
    State& state = states_[arena];
    const std::uint64_t page = platform_.page();
    const std::uint64_t pages = state.bitmap.pages();
    if (order >= 40 || (pages >> order) == 0)
        return false;
    const std::uint64_t step = page << order;
    const std::uint64_t offset = aligned(constraints.bus_offset, page) ? constraints.bus_offset : 0;
    const std::uint64_t last = state.origin.value + ((pages - (std::uint64_t{1} << order)) << platform_.page_shift());
    // The first address at or above the origin whose device address is a multiple of the step.
    std::uint64_t phys = ((state.origin.value + offset + step - 1) & ~(step - 1)) - offset;
    for (; phys <= last && phys >= state.origin.value; phys += step) {
        const PhysAddr at{phys};
        if (constraints.admits(at.at(wish.lead), wish.size) &&
            state.bitmap.is_free((phys - state.origin.value) >> platform_.page_shift(), std::uint64_t{1} << order)) {
            out = {at, arena, order};
            return true;
        }
    }
    return false;
}

bool Arenas::overlaps(PhysRange range) const noexcept
{
    for (std::uint32_t i = 0; i < platform_.arenas(); i++)
        if (platform_.arena(i).overlaps(range))
            return true;
    return false;
}

} // namespace dmaudit::alloc
