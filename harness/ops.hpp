// Every op of a case, declared once. Adding an op: its struct in the file of its family, its name in the list at the end,
// and its `perform` in the executor.
#pragma once
#include "harness/ops_access.hpp"
#include "harness/ops_dma_buf.hpp"
#include "harness/ops_managed.hpp"
#include "harness/ops_memory.hpp"
#include "harness/ops_parameters.hpp"
#include "harness/ops_pool.hpp"
#include "harness/ops_scatter.hpp"
#include "harness/ops_streaming.hpp"
#include "harness/ops_strict.hpp"

#include <tuple>
#include <type_traits>

namespace dmaudit {

template <class... Op> struct OpList {
    static constexpr size_t count = sizeof...(Op);
    template <class T> static constexpr uint8_t index_of()
    {
        uint8_t i = 0, found = 0xff;
        ((std::is_same_v<T, Op> ? void(found = i++) : void(i++)), ...);
        return found;
    }
    // Calls f.template operator()<Op>() for the op with this index.
    template <class F> static decltype(auto) visit(uint8_t op, F&& f)
    {
        using R = decltype(f.template operator()<std::tuple_element_t<0, std::tuple<Op...>>>());
        using Fn = R (*)(F&);
        static constexpr Fn table[] = {[](F& g) -> R { return g.template operator()<Op>(); }...};
        return table[op](f);
    }
};

// Append only: cases store the index.
using Ops =
    OpList<ops::Buffer, ops::MapSingle, ops::CpuWrite, ops::CpuRead, ops::DeviceRead, ops::DeviceWrite, ops::SyncForCpu,
           ops::SyncForDevice, ops::UnmapSingle, ops::FreeBuffer, ops::AllocCoherent, ops::FreeCoherent,
           ops::DeclarePool, ops::AllocFromPool, ops::ReleaseFromPool, ops::MmapFromPool, ops::Munmap, ops::ReleasePool,
           ops::CacheMaintenance, ops::Evict, ops::Prefetch, ops::Fail, ops::AllocOpaque, ops::MmapCoherent,
           ops::AllocNoncoherent, ops::FreeNoncoherent, ops::MapSg, ops::UnmapSg, ops::SyncSgForCpu,
           ops::SyncSgForDevice, ops::ExportBlock, ops::ExportPages, ops::DmaBufFd, ops::DmaBufGet, ops::DmaBufPut,
           ops::CloseFd, ops::DupFd, ops::Attach, ops::Detach, ops::MapAttachment, ops::UnmapAttachment,
           ops::BeginCpuAccess, ops::EndCpuAccess, ops::Kmap, ops::Vmap, ops::MmapDmaBuf, ops::Bind, ops::Unbind,
           ops::ManagedAlloc, ops::ManagedFree, ops::ManagedAllocNoncoherent, ops::ManagedFreeNoncoherent,
           ops::ManagedDeclare, ops::ManagedRelease, ops::AddAction, ops::OpenGroup, ops::ReleaseGroup, ops::SetMask,
           ops::SetCoherentMask, ops::SetMinAlignMask, ops::MapSingleWithin, ops::AllocPages, ops::FreePages,
           ops::MapSgtable, ops::UnmapSgtable, ops::SyncSgtableForCpu, ops::SyncSgtableForDevice, ops::MappingError,
           ops::AtEnd, ops::MapSgWithin, ops::Starve, ops::FailOpen, ops::Barrier, ops::Context, ops::CpuIndex>;
constexpr size_t op_count = Ops::count;

// The declarations as data, indexed by Step::op.
const std::array<Spec, op_count>& specs();
std::optional<uint8_t> op_named(std::string_view name);

} // namespace dmaudit
