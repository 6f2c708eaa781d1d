// The DmaOp face of an allocator: one device, one limit, the method names of the dma-api crate. Errors are DmaError, as
// DeviceDma reports them. Unlike that trait's default methods, the bounce buffer (and not the original) is written back
// in confirm_write, a mapping is ready for the device when map_single returns, and unmap_single brings the device's
// data home: Linux' meaning throughout.
#pragma once

#include "allocator/allocator.hpp"

namespace dmaudit::alloc {

class DmaOp {
  public:
    // `mask` is the last device address allowed, inclusive; 0 leaves the device's own limit.
    DmaOp(Allocator& allocator, std::uint32_t device, std::uint64_t mask = 0) noexcept
        : allocator_(allocator), device_(device), mask_(mask)
    {
    }

    std::uint64_t page_size() const noexcept { return allocator_.page_size(); }

    Result<Mapping> map_single(void* addr, std::uint64_t size, std::uint64_t align, Direction direction) noexcept
    {
        return allocator_.map_single(request(size, align, 0), addr, direction);
    }
    Status unmap_single(const Mapping& handle) noexcept { return allocator_.unmap_single(handle, handle.size); }

    // The block reads zero, as the containers of the crate make it.
    Result<Block> alloc_coherent(std::uint64_t size, std::uint64_t align) noexcept
    {
        return allocator_.alloc_coherent(request(size, align, DMAUDIT_ZERO));
    }
    Status dealloc_coherent(const Block& handle) noexcept { return allocator_.free_coherent(handle); }

    Status flush(const void* addr, std::uint64_t size) noexcept { return allocator_.cache(addr, size, CacheOp::Flush); }
    Status invalidate(const void* addr, std::uint64_t size) noexcept
    {
        return allocator_.cache(addr, size, CacheOp::Invalidate);
    }
    Status flush_invalidate(const void* addr, std::uint64_t size) noexcept
    {
        return allocator_.cache(addr, size, CacheOp::FlushInvalidate);
    }

    Status prepare_read(const Mapping& handle, std::uint64_t offset, std::uint64_t size, Direction direction) noexcept
    {
        return allocator_.sync(handle, offset, size, direction, Phase::ForCpu);
    }
    Status confirm_write(const Mapping& handle, std::uint64_t offset, std::uint64_t size, Direction direction) noexcept
    {
        return allocator_.sync(handle, offset, size, direction, Phase::ForDevice);
    }

  private:
    dmaudit_request request(std::uint64_t size, std::uint64_t align, std::uint32_t flags) const noexcept
    {
        return {sizeof(dmaudit_request), device_, size, align, mask_, 0, flags, 0};
    }

    Allocator& allocator_;
    std::uint32_t device_;
    std::uint64_t mask_;
};

} // namespace dmaudit::alloc
