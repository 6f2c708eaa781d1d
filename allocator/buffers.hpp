// Ownership over the allocator's calls: what a driver in C++ holds instead of pairing them by hand. Both types are
// move-only, may be empty (moved from), and give back what they hold when they go. The allocator outlives them.
#pragma once

#include <span>
#include <utility>

#include "allocator/allocator.hpp"

namespace dmaudit::alloc {

// dma_alloc_coherent .. dma_free_coherent: the device must be at rest when this goes.
class CoherentBuffer {
  public:
    static Result<CoherentBuffer> make(Allocator& allocator, const dmaudit_request& request) noexcept
    {
        const Result<Block> block = allocator.alloc_coherent(request);
        if (!block)
            return block.error();
        return CoherentBuffer(allocator, *block);
    }
    CoherentBuffer(CoherentBuffer&& other) noexcept
        : allocator_(std::exchange(other.allocator_, nullptr)), block_(other.block_)
    {
    }
    CoherentBuffer& operator=(CoherentBuffer&& other) noexcept
    {
        std::swap(allocator_, other.allocator_);
        std::swap(block_, other.block_);
        return *this;
    }
    ~CoherentBuffer()
    {
        if (allocator_ != nullptr)
            static_cast<void>(allocator_->free_coherent(block_));
    }

    explicit operator bool() const noexcept { return allocator_ != nullptr; }
    std::span<std::byte> bytes() const noexcept
    {
        return {block_.block.cpu, static_cast<std::size_t>(block_.block.size)};
    }
    DmaAddr dma_handle() const noexcept { return block_.block.bus; }
    const Block& block() const noexcept { return block_; }

  private:
    CoherentBuffer(Allocator& allocator, const Block& block) noexcept : allocator_(&allocator), block_(block) {}
    Allocator* allocator_;
    Block block_;
};

// dma_map_single .. dma_unmap_single: while it lives the bytes are the device's, but for what for_cpu() hands back.
class StreamingMapping {
  public:
    // The request's size is that of `buffer`.
    static Result<StreamingMapping> make(Allocator& allocator, dmaudit_request request, std::span<std::byte> buffer,
                                         Direction direction) noexcept
    {
        request.size = buffer.size();
        const Result<Mapping> mapping = allocator.map_single(request, buffer.data(), direction);
        if (!mapping)
            return mapping.error();
        return StreamingMapping(allocator, *mapping);
    }
    StreamingMapping(StreamingMapping&& other) noexcept
        : allocator_(std::exchange(other.allocator_, nullptr)), mapping_(other.mapping_)
    {
    }
    StreamingMapping& operator=(StreamingMapping&& other) noexcept
    {
        std::swap(allocator_, other.allocator_);
        std::swap(mapping_, other.mapping_);
        return *this;
    }
    ~StreamingMapping()
    {
        if (allocator_ != nullptr)
            static_cast<void>(allocator_->unmap_single(mapping_, mapping_.size));
    }

    explicit operator bool() const noexcept { return allocator_ != nullptr; }
    DmaAddr dma_handle() const noexcept { return mapping_.bus; }
    const Mapping& mapping() const noexcept { return mapping_; }

    // dma_sync_single_range_for_cpu: the bytes, which the CPU may use until for_device().
    Result<std::span<std::byte>> for_cpu(std::uint64_t offset, std::uint64_t length) noexcept
    {
        const Status done = allocator_->sync(mapping_, offset, length, mapping_.direction, Phase::ForCpu);
        if (!done)
            return done.error();
        return std::span(mapping_.cpu + offset, static_cast<std::size_t>(length));
    }
    // dma_sync_single_range_for_device
    Status for_device(std::uint64_t offset, std::uint64_t length) noexcept
    {
        return allocator_->sync(mapping_, offset, length, mapping_.direction, Phase::ForDevice);
    }
    // dma_unmap_single before the end of the scope, with the bytes that the device really wrote.
    Status unmap(std::uint64_t used) noexcept
    {
        const Status done = allocator_->unmap_single(mapping_, used);
        if (done)
            allocator_ = nullptr;
        return done;
    }

  private:
    StreamingMapping(Allocator& allocator, const Mapping& mapping) noexcept : allocator_(&allocator), mapping_(mapping)
    {
    }
    Allocator* allocator_;
    Mapping mapping_;
};

} // namespace dmaudit::alloc
