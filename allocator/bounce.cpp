#include "allocator/bounce.hpp"

namespace dmaudit::alloc {
namespace {

constexpr std::uint64_t low_bits(std::uint64_t n)
{
    return n >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << n) - 1;
}

} // namespace

Bounce::Bounce(const Platform& platform, Arenas& arenas) noexcept
    : platform_(platform), arenas_(arenas), chunks_(platform)
{
    const std::uint64_t cell = platform.page() / 64 > platform.line() ? platform.page() / 64 : platform.line();
    cell_shift_ = static_cast<unsigned>(std::countr_zero(cell));
}

// Can a slot keep the original's offset in its line and be on the alignment asked for? Partial syncs go by the lines of
// the original, so the offset is given up only where the alignment leaves no choice; a lack of room is no reason.
bool Bounce::keeps_offset(PhysAddr original, const Constraints& constraints) const noexcept
{
    const std::uint64_t grain = constraints.align < platform_.line() ? constraints.align : platform_.line();
    return grain <= 1 || ((original.value + constraints.bus_offset) & (grain - 1)) == 0;
}

// Where in the cells that begin at `cell` the slot may begin: at the original's offset in its line, or else at the
// first byte on the alignment.
bool Bounce::place(PhysAddr cell, std::uint64_t size, PhysAddr original, const Constraints& constraints,
                   std::uint64_t& offset) const noexcept
{
    offset = original.value & (platform_.line() - 1);
    if (!keeps_offset(original, constraints)) {
        offset = (std::uint64_t{0} - (cell.value + constraints.bus_offset)) & (constraints.align - 1);
        if (offset >= std::uint64_t{1} << cell_shift_)
            return false;
    }
    const PhysAddr at = cell.at(offset);
    return ((at.value ^ original.value) & constraints.keep) == 0 && constraints.admits(at, size);
}

// The first cells of a chunk that will do.
bool Bounce::carve(Handle handle, Chunk& chunk, std::uint64_t size, PhysAddr original, const Constraints& constraints,
                   BounceSlot& out) noexcept
{
    const std::uint64_t total = platform_.page() >> cell_shift_;
    for (std::uint64_t left = chunk.free; left != 0; left &= left - 1) {
        const auto first = static_cast<unsigned>(std::countr_zero(left));
        const PhysAddr cell = chunk.run.phys.at(std::uint64_t{first} << cell_shift_);
        std::uint64_t offset;
        if (!place(cell, size, original, constraints, offset))
            continue;
        const std::uint64_t cells = ((offset + size - 1) >> cell_shift_) + 1;
        if (cells > total - first)
            continue;
        const std::uint64_t wanted = low_bits(cells) << first;
        if ((chunk.free & wanted) != wanted)
            continue;
        chunk.free &= ~wanted;
        const PhysAddr at = cell.at(offset);
        out = {at, platform_.cpu_of({at, size}), chunk.run, handle, first, static_cast<std::uint32_t>(cells)};
        return true;
    }
    return false;
}

Result<BounceSlot> Bounce::take_pages(std::uint64_t size, PhysAddr original, const Constraints& constraints) noexcept
{
    const std::uint64_t congruent = original.value & ((platform_.line() - 1) | constraints.keep);
    const std::uint64_t page_or_align = constraints.align < platform_.page() ? constraints.align : platform_.page();
    const std::uint64_t on_alignment = (std::uint64_t{0} - constraints.bus_offset) & (page_or_align - 1);
    const std::uint64_t lead = keeps_offset(original, constraints) ? congruent : on_alignment;
    Result<PageRun> run = arenas_.alloc(size, constraints, lead);
    if (!run)
        return run.error();
    const PhysAddr at = run->phys.at(lead);
    return BounceSlot{at, platform_.cpu_of({at, size}), *run, {}, 0, 0};
}

Result<BounceSlot> Bounce::alloc(std::uint64_t size, PhysAddr original, const Constraints& constraints) noexcept
{
    // What is asked to be on an alignment that the kept bits of the original are not on cannot be had.
    const std::uint64_t grain = constraints.align <= constraints.keep ? constraints.align : constraints.keep + 1;
    if (((original.value + constraints.bus_offset) & (grain - 1)) != 0)
        return DmaError::AlignMismatch;
    if (size <= platform_.page()) {
        const Guard guard(platform_, lock_);
        BounceSlot slot;
        bool found = false;
        chunks_.each([&](Handle handle, Chunk& chunk) {
            found = carve(handle, chunk, size, original, constraints, slot);
            return !found;
        });
        if (found)
            return slot;
        // A new chunk, somewhere within the device's reach. The alignment matters only beyond a page: below, there is a
        // cell that has it.
        Constraints page = constraints;
        page.align = constraints.align > platform_.page() ? constraints.align : 1;
        page.boundary = 0;
        const Result<PageRun> run = arenas_.alloc(platform_.page(), page);
        bool lacking = !run && run.error() == DmaError::NoMemory;
        if (run) {
            Handle handle;
            if (chunks_.add({*run, low_bits(platform_.page() >> cell_shift_)}, handle)) {
                if (carve(handle, *chunks_.find(handle), size, original, constraints, slot))
                    return slot;
                chunks_.remove(handle);
            } else {
                lacking = true;
            }
            arenas_.free(*run);
        }
        if (lacking) {
            // Whole pages need no record; but what keeps them from the device may not have kept a cell.
            const Result<BounceSlot> pages = take_pages(size, original, constraints);
            return pages ? pages : DmaError::NoMemory;
        }
    }
    // Too large for a page, or the limit lies inside the page.
    return take_pages(size, original, constraints);
}

void Bounce::free(const BounceSlot& slot) noexcept
{
    if (slot.cells == 0) {
        arenas_.free(slot.run);
        return;
    }
    const Guard guard(platform_, lock_);
    Chunk* chunk = chunks_.find(slot.chunk);
    chunk->free |= low_bits(slot.cells) << slot.first_cell;
    if (chunk->free == low_bits(platform_.page() >> cell_shift_)) {
        chunks_.remove(slot.chunk);
        arenas_.free(slot.run);
    }
}

} // namespace dmaudit::alloc
