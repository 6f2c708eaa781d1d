// What each kind of memory is for, turn by turn: how a driver uses it from its making to its end.
#include "harness/generator.hpp"

#include <algorithm>

namespace dmaudit {
namespace {

// One step of a protocol: either of two ops.
struct Turn {
    uint8_t one, other;
};
template <class A, class B = A> constexpr Turn turn{is<A>, is<B>};

constexpr Turn streaming[] = {turn<ops::Buffer>,
                              turn<ops::CpuWrite>,
                              turn<ops::MapSingle, ops::MapSingleWithin>,
                              turn<ops::DeviceWrite, ops::DeviceRead>,
                              turn<ops::SyncForCpu>,
                              turn<ops::CpuWrite, ops::CpuRead>,
                              turn<ops::SyncForCpu>,
                              turn<ops::SyncForDevice>,
                              turn<ops::DeviceRead, ops::DeviceWrite>,
                              turn<ops::UnmapSingle, ops::SyncForCpu>,
                              turn<ops::CpuRead>};
// The same by a client that does the cache work itself.
constexpr Turn by_hand[] = {turn<ops::Buffer>,
                            turn<ops::CpuWrite>,
                            turn<ops::CacheMaintenance>,
                            turn<ops::MapSingle, ops::MapSg>,
                            turn<ops::DeviceWrite, ops::DeviceRead>,
                            turn<ops::SyncForCpu, ops::DeviceWrite>,
                            turn<ops::UnmapSingle, ops::UnmapSg>,
                            turn<ops::CacheMaintenance>,
                            turn<ops::CpuWrite, ops::CpuRead>};
constexpr Turn scatter[] = {turn<ops::Buffer>,
                            turn<ops::CpuWrite>,
                            turn<ops::MapSg, ops::MapSgtable>,
                            turn<ops::DeviceWrite, ops::DeviceRead>,
                            turn<ops::SyncSgForCpu, ops::SyncSgtableForCpu>,
                            turn<ops::CpuRead, ops::CpuWrite>,
                            turn<ops::SyncSgForDevice, ops::SyncSgtableForDevice>,
                            turn<ops::DeviceRead, ops::DeviceWrite>,
                            turn<ops::UnmapSg, ops::UnmapSgtable>,
                            turn<ops::CpuRead>};
constexpr Turn noncoherent[] = {turn<ops::AllocNoncoherent, ops::AllocPages>,
                                turn<ops::CpuWrite>,
                                turn<ops::SyncForDevice>,
                                turn<ops::DeviceRead, ops::DeviceWrite>,
                                turn<ops::SyncForCpu>,
                                turn<ops::CpuWrite, ops::CpuRead>,
                                turn<ops::SyncForCpu, ops::SyncForDevice>,
                                turn<ops::DeviceRead, ops::DeviceWrite>,
                                turn<ops::FreeNoncoherent, ops::FreePages>};
constexpr Turn dma_buf[] = {turn<ops::ExportPages, ops::ExportBlock>,
                            turn<ops::Attach>,
                            turn<ops::MapAttachment>,
                            turn<ops::DeviceWrite, ops::DeviceRead>,
                            turn<ops::Vmap, ops::Kmap>,
                            turn<ops::BeginCpuAccess>,
                            turn<ops::CpuWrite, ops::CpuRead>,
                            turn<ops::EndCpuAccess>,
                            turn<ops::DeviceRead, ops::DeviceWrite>,
                            turn<ops::BeginCpuAccess, ops::UnmapAttachment>,
                            turn<ops::CpuRead>,
                            turn<ops::EndCpuAccess>,
                            turn<ops::UnmapAttachment>,
                            turn<ops::Detach>};
// An importer that comes again: what an exporter keeps from one map to the next has to fit what has changed meanwhile.
constexpr Turn remapped[] = {turn<ops::ExportPages, ops::ExportBlock>,
                             turn<ops::Attach>,
                             turn<ops::MapAttachment>,
                             turn<ops::DeviceWrite, ops::DeviceRead>,
                             turn<ops::UnmapAttachment>,
                             turn<ops::Vmap, ops::Kmap>,
                             turn<ops::BeginCpuAccess, ops::SetMask>,
                             turn<ops::CpuWrite>,
                             turn<ops::EndCpuAccess>,
                             turn<ops::MapAttachment>,
                             turn<ops::DeviceWrite, ops::DeviceRead>,
                             turn<ops::UnmapAttachment>,
                             turn<ops::BeginCpuAccess>,
                             turn<ops::CpuRead>,
                             turn<ops::EndCpuAccess>,
                             turn<ops::Detach>};
constexpr Turn coherent[] = {turn<ops::AllocCoherent, ops::AllocFromPool>,
                             turn<ops::CpuWrite>,
                             turn<ops::DeviceRead, ops::DeviceWrite>,
                             turn<ops::MmapCoherent, ops::MmapFromPool>,
                             turn<ops::CpuRead, ops::CpuWrite>,
                             turn<ops::Munmap>,
                             turn<ops::FreeCoherent, ops::ReleaseFromPool>};
constexpr Turn descriptors[] = {turn<ops::ExportPages, ops::ExportBlock>,
                                turn<ops::DmaBufFd>,
                                turn<ops::DupFd, ops::DmaBufGet>,
                                turn<ops::CloseFd, ops::DupFd>,
                                turn<ops::DmaBufGet, ops::Attach>,
                                turn<ops::CloseFd, ops::DmaBufPut>};
constexpr Turn pools[] = {turn<ops::DeclarePool>,
                          turn<ops::AllocFromPool, ops::AllocCoherent>,
                          turn<ops::AllocFromPool, ops::AllocCoherent>,
                          turn<ops::CpuWrite>,
                          turn<ops::ReleaseFromPool, ops::FreeCoherent>,
                          turn<ops::AllocFromPool, ops::AllocCoherent>,
                          turn<ops::ReleaseFromPool, ops::FreeCoherent>,
                          turn<ops::ReleasePool>};
constexpr Turn managed[] = {turn<ops::Bind>,
                            turn<ops::ManagedDeclare, ops::OpenGroup>,
                            turn<ops::ManagedAlloc, ops::ManagedAllocNoncoherent>,
                            turn<ops::OpenGroup, ops::AddAction>,
                            turn<ops::ManagedAlloc, ops::ManagedAllocNoncoherent>,
                            turn<ops::ManagedFree, ops::ManagedFreeNoncoherent>,
                            turn<ops::ReleaseGroup, ops::AddAction>,
                            turn<ops::ManagedRelease, ops::ReleaseGroup>,
                            turn<ops::Unbind, ops::ManagedRelease>};
constexpr std::span<const Turn> protocols[] = {streaming, by_hand,  scatter,     noncoherent, dma_buf,
                                               remapped,  coherent, descriptors, pools,       managed};

} // namespace

// What one kind of memory is for, from its making to its end; now and then something is left out.
void Generator::protocol()
{
    std::array<std::span<const Turn>, std::size(protocols)> mine;
    unsigned n = 0;
    for (const auto& p : protocols) {
        const auto has = [&](const Turn& t) { return contains(profile_, t.one) || contains(profile_, t.other); };
        if (std::all_of(p.begin(), p.end(), has))
            mine[n++] = p;
    }
    if (n == 0)
        return;
    const auto& chosen = mine[rng_.below(n)];
    const bool from_start = rng_.chance(3, 4); // else with what there is
    loyal_ = true;
    skips_ = chosen.data() == by_hand;
    for (size_t i = 0; i < chosen.size() && !full(); i++) {
        if (i == 0 ? !from_start : rng_.chance(1, 8))
            continue;
        if (i && rng_.chance(1, 12)) // something else comes between
            step(false);
        if (full())
            break;
        const bool first = rng_.chance(1, 2);
        for (const uint8_t op : {first ? chosen[i].one : chosen[i].other, first ? chosen[i].other : chosen[i].one}) {
            if (!contains(profile_, op) || (i ? !attempt(op) : !attempt_with_objects(op)))
                continue;
            if (i == 0 && layouts()[op].makes) // a driver makes none
                focus_ = root(scope_.objects().back().name);
            break;
        }
    }
    loyal_ = skips_ = false;
}

} // namespace dmaudit
