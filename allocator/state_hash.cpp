// What each part of the allocator adds to a hash of its state.
#include "allocator/state_hash.hpp"

#include "allocator/allocator.hpp"
#include "allocator/managed_nodes.hpp"

namespace dmaudit::alloc {
namespace {

constexpr std::uint64_t kNothing = ~std::uint64_t{0};

// Host addresses differ between instances; what they lead to does not.
std::uint64_t place_of(const Platform& platform, const std::byte* cpu)
{
    const std::optional<PhysAddr> phys = platform.phys_of(cpu, 0);
    return cpu != nullptr && phys ? phys->value : kNothing;
}

void mix(StateHash& hash, const PageRun& run)
{
    hash.add(run.phys.value);
    hash.add(run.arena);
    hash.add(run.order);
}

// As it was when it was attached: its masks may have changed since.
void mix(StateHash& hash, const Device& device)
{
    hash.add(device.index);
    hash.add(device.limit);
    hash.add(device.min_align_mask);
}

void mix(StateHash& hash, const Platform& platform, const CoherentBlock& block)
{
    hash.add(block.device);
    hash.add(block.attrs);
    hash.add(place_of(platform, block.cpu));
    hash.add(block.bus.value);
    hash.add(block.size);
}

void mix(StateHash& hash, const Platform& platform, const Mapping& mapping)
{
    hash.add(mapping.device);
    hash.add(static_cast<std::uint64_t>(mapping.direction));
    hash.add(place_of(platform, mapping.cpu));
    hash.add(mapping.bus.value);
    hash.add(mapping.size);
}

} // namespace

// Where a search finds a run follows from the pages alone; the rest are shortcuts.
void Bitmap::hash_state(StateHash& hash) const noexcept
{
    hash.add(pages_);
    for (std::uint64_t page = 0; page < pages_; page++)
        hash.add(is_free(page, 1) ? kNothing : static_cast<std::uint64_t>(order_at(page) + 1));
}

void Parameters::hash_state(StateHash& hash) const noexcept
{
    for (std::uint32_t i = 0; i < known_; i++) {
        hash.add(states_[i].mask);
        hash.add(states_[i].coherent_mask);
        hash.add(states_[i].min_align_mask);
    }
}

void Arenas::hash_state(StateHash& hash) const noexcept
{
    for (std::uint32_t i = 0; i < platform_.arenas(); i++) {
        const State& state = states_[i];
        hash.add(static_cast<std::uint64_t>(state.setup));
        if (state.setup == State::Setup::Ready && state.contiguous != 0)
            state.bitmap.hash_state(hash);
    }
}

void Iommu::hash_state(StateHash& hash) const noexcept
{
    for (const Space* space = first_; space != nullptr; space = space->next) {
        hash.add(space->device);
        space->bitmap.hash_state(hash);
    }
    hash.add(kNothing);
}

void Pools::hash_state(StateHash& hash) const noexcept
{
    SetHash pools; // none is preferred to another
    for (const Pool* pool = first_; pool != nullptr; pool = pool->next) {
        StateHash one;
        one.add(pool->device);
        one.add(pool->exclusive);
        one.add(pool->uncached);
        one.add(pool->range.start.value);
        one.add(pool->range.size);
        one.add(pool->bus.value);
        pool->bitmap.hash_state(one);
        for (std::uint64_t page = 0; page < pool->bitmap.pages(); page++)
            if (pool->bitmap.order_at(page) >= 0)
                one.add(pool->live[page].size);
        pools.add(one);
    }
    pools.into(hash);
}

void Coherent::hash_state(StateHash& hash) const noexcept
{
    live_.hash_set(hash, [this](StateHash& one, const Live& live) {
        mix(one, platform_, live.block);
        mix(one, live.run);
        one.add(live.uncached);
        one.add(live.iommu);
        one.add(live.cached);
        one.add(live.snooped);
        one.add(static_cast<std::uint64_t>(live.direction));
    });
}

// The first chunk with room is taken, so their order counts.
void Bounce::hash_state(StateHash& hash) const noexcept
{
    chunks_.hash_slots(hash, [](StateHash& one, const Chunk& chunk) {
        mix(one, chunk.run);
        one.add(chunk.free);
    });
}

void Streaming::hash_state(StateHash& hash) const noexcept
{
    bounce_.hash_state(hash);
    live_.hash_set(hash, [this](StateHash& one, const Live& live) {
        one.add(place_of(platform_, live.cpu));
        one.add(live.phys.value);
        one.add(live.bus.value);
        one.add(live.size);
        one.add(live.device);
        one.add(static_cast<std::uint64_t>(live.direction));
        one.add(live.coherent);
        one.add(live.iommu);
        one.add(live.bounced);
        if (live.bounced) {
            one.add(live.slot.phys.value);
            mix(one, live.slot.run);
            one.add(live.slot.cells);
            if (live.slot.cells != 0) {
                one.add(live.slot.chunk.index);
                one.add(live.slot.first_cell);
            }
        }
    });
}

void Scatter::hash_state(StateHash& hash) const noexcept
{
    live_.hash_set(hash, [this](StateHash& one, const Live& live) {
        one.add(live.device);
        one.add(static_cast<std::uint64_t>(live.direction));
        one.add(live.n_entries);
        one.add(live.n_segments);
        for (std::uint32_t i = 0; i < live.n_entries; i++)
            mix(one, platform_, live.mappings[i]);
    });
}

// Last taken, first released: in order. Groups are told apart by their place, which is enough where their names differ;
// an action by its place as well.
void Managed::hash_state(StateHash& hash) const noexcept
{
    SetHash bindings;
    for (const Binding* binding = first_; binding != nullptr; binding = binding->next) {
        StateHash one;
        one.add(binding->device);
        one.add(binding->ending);
        for (const Node* node = binding->latest; node != nullptr; node = node->older) {
            one.add(static_cast<std::uint64_t>(node->kind));
            one.add(node->claimed);
            one.add(node->orphaned);
            if (node->kind != Node::Kind::Coherent && node->kind != Node::Kind::Noncoherent)
                continue;
            one.add(static_cast<std::uint64_t>(node->direction));
            mix(one, platform_, node->block.block);
            one.add(node->block.granted);
            one.add(node->block.pooled);
        }
        bindings.add(one);
    }
    bindings.into(hash);
}

void DmaBufExporters::hash_state(StateHash& hash, const void* priv) const noexcept
{
    const auto& of = *static_cast<const Exported*>(priv);
    hash.add(of.is_block);
    hash.add(of.key.device);
    hash.add(of.key.pooled);
    hash.add(of.place.range.start.value);
    hash.add(of.place.range.size);
    hash.add(place_of(platform_, of.place.cpu));
    hash.add(of.place.uncached);
    for (const Importer* i = of.importers; i != nullptr; i = i->next) {
        std::uint64_t before = 0; // syncs go in the order in which they were mapped
        for (const Importer* k = of.importers; k != nullptr; k = k->next)
            before += k->state == Importer::State::Live && k->serial < i->serial;
        mix(hash, i->device);
        hash.add(static_cast<std::uint64_t>(i->state));
        hash.add(i->pins);
        if (i->state == Importer::State::Idle)
            continue;
        hash.add(static_cast<std::uint64_t>(i->direction));
        hash.add(i->bounced);
        hash.add(before);
        hash.add(i->segment.bus.value);
        hash.add(i->segment.length);
        if (!of.is_block)
            mix(hash, platform_, i->mapping);
    }
}

void DmaBufs::hash_state(StateHash& hash, const DmaBufExporters& exporters) const noexcept
{
    bufs_.hash_set(hash, [&](StateHash& one, const Buf& buf) {
        exporters.hash_state(one, buf.priv);
        one.add(buf.size);
        one.add(buf.references);
        one.add(buf.descriptors);
        one.add(buf.vmaps);
        one.add(buf.kmaps);
        one.add(buf.vmaps != 0 ? place_of(platform_, buf.vmap_cpu) : kNothing);
        for (const Attachment* a = buf.attachments; a != nullptr; a = a->next) {
            mix(one, a->device);
            for (const std::uint64_t n : a->maps)
                one.add(n);
            if (!a->mapped())
                continue;
            one.add(static_cast<std::uint64_t>(a->direction));
            for (std::uint32_t i = 0; i < a->table.n; i++) {
                one.add(a->table.segments[i].bus.value);
                one.add(a->table.segments[i].length);
            }
        }
        one.add(kNothing);
        for (const Access* a = buf.accesses; a != nullptr; a = a->next) {
            one.add(a->start);
            one.add(a->length);
            one.add(static_cast<std::uint64_t>(a->direction));
        }
        one.add(kNothing);
        for (std::uint64_t page = 0; buf.pages != nullptr && page < pages_touched(buf.size); page++) {
            one.add(place_of(platform_, buf.pages[page].cpu));
            one.add(buf.pages[page].count[0]);
            one.add(buf.pages[page].count[1]);
        }
        for (std::uint32_t fd = 0; fd < fds_.capacity(); fd++)
            if (fds_.find(static_cast<int>(fd)) == buf.self)
                one.add(fd);
    });
    const auto nothing = [](StateHash&, const auto&) {}; // they are in the buffers' lists
    attachments_.hash_set(hash, nothing);
    accesses_.hash_set(hash, nothing);
    hash.add(fds_.capacity());
}

void Allocator::hash_state(StateHash& hash) const noexcept
{
    parameters_.hash_state(hash);
    arenas_.hash_state(hash);
    iommu_.hash_state(hash);
    pools_.hash_state(hash);
    coherent_.hash_state(hash);
    streaming_.hash_state(hash);
    scatter_.hash_state(hash);
    managed_.hash_state(hash);
    dma_bufs_.hash_state(hash, exporters_);
}

} // namespace dmaudit::alloc
