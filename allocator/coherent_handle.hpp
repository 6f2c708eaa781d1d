// The abstractions of Rust for Linux over dma_alloc_attrs, in C++: CoherentHandle, memory that only a
// device uses, and CoherentArray<T> (kernel::dma::Coherent), typed memory that the CPU shares with it.
//
// Both are move-only, may be empty (moved from), and free what they hold exactly once, with the device, size, handle
// and attributes it was allocated with. The device must be at rest then, and the allocator outlives them. Their calls
// know two errors only: BadArgument (-EINVAL) for what is malformed, NoMemory (-ENOMEM) for every other failure. They
// may be made on any thread; an object is the property of one thread at a time.
#pragma once

#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>

#include "allocator/allocator.hpp"

namespace dmaudit::alloc {

// A live block and the duty to free it: what both types below hold.
class OwnedBlock {
  public:
    // BadArgument: no bytes; nothing is touched then. NoMemory: anything else.
    static Result<OwnedBlock> make(Allocator& allocator, std::uint32_t device, std::uint64_t size, std::uint32_t flags,
                                   std::uint32_t attrs) noexcept
    {
        if (size == 0)
            return DmaError::BadArgument;
        const Result<Block> block =
            allocator.alloc_coherent({sizeof(dmaudit_request), device, size, 0, 0, 0, flags, attrs});
        if (!block)
            return DmaError::NoMemory;
        return OwnedBlock(allocator, *block);
    }
    OwnedBlock(OwnedBlock&& other) noexcept
        : allocator_(std::exchange(other.allocator_, nullptr)), block_(std::exchange(other.block_, Block{}))
    {
    }
    OwnedBlock& operator=(OwnedBlock&& other) noexcept
    {
        std::swap(allocator_, other.allocator_);
        std::swap(block_, other.block_);
        return *this;
    }
    ~OwnedBlock()
    {
        if (allocator_ != nullptr)
            static_cast<void>(allocator_->free_coherent(block_));
    }

    bool holds() const noexcept { return allocator_ != nullptr; }
    const CoherentBlock& operator*() const noexcept { return block_.block; }

  private:
    OwnedBlock(Allocator& allocator, const Block& block) noexcept : allocator_(&allocator), block_(block) {}
    Allocator* allocator_;
    Block block_;
};

// Memory without a CPU mapping: a device address, a size, and no pointer of any kind. What it holds is undefined.
class CoherentHandle {
  public:
    // CoherentHandle::alloc
    static Result<CoherentHandle> alloc(Allocator& allocator, std::uint32_t device, std::uint64_t size) noexcept
    {
        return alloc_with_attrs(allocator, device, size, 0);
    }
    // CoherentHandle::alloc_with_attrs: NO_KERNEL_MAPPING is always one of the attributes.
    static Result<CoherentHandle> alloc_with_attrs(Allocator& allocator, std::uint32_t device, std::uint64_t size,
                                                   std::uint32_t attrs) noexcept
    {
        Result<OwnedBlock> block = OwnedBlock::make(allocator, device, size, 0, attrs | DMAUDIT_ATTR_NO_KERNEL_MAPPING);
        if (!block)
            return block.error();
        return CoherentHandle(std::move(*block));
    }

    explicit operator bool() const noexcept { return block_.holds(); }
    DmaAddr dma_handle() const noexcept { return (*block_).bus; }
    std::uint64_t size() const noexcept { return (*block_).size; }   // bytes, as asked for
    std::uint32_t attrs() const noexcept { return (*block_).attrs; } // those used: free has to repeat them

  private:
    explicit CoherentHandle(OwnedBlock block) noexcept : block_(std::move(block)) {}
    OwnedBlock block_;
};

// An array of T that reads zero at first, for the CPU and a device: kernel::dma::Coherent<T> for one element,
// Coherent<[T]> for more. (`Coherent` itself is the name of the block allocator here.) The CPU address is part of it,
// so NO_KERNEL_MAPPING is BadArgument.
template <class T> class CoherentArray {
    static_assert(std::is_trivially_copyable_v<T> && std::is_same_v<T, std::remove_cv_t<T>>);
    static_assert(alignof(T) <= 4096, "blocks are aligned to a page, not further");

  public:
    // Coherent::zeroed, zeroed_with_attrs
    static Result<CoherentArray> zeroed(Allocator& allocator, std::uint32_t device, std::uint32_t attrs = 0) noexcept
    {
        return zeroed_slice(allocator, device, 1, attrs);
    }
    // Coherent::zeroed_slice, zeroed_slice_with_attrs. BadArgument: no elements. NoMemory: also if their size
    // overflows.
    static Result<CoherentArray> zeroed_slice(Allocator& allocator, std::uint32_t device, std::uint64_t length,
                                              std::uint32_t attrs = 0) noexcept
    {
        if (length == 0 || (attrs & DMAUDIT_ATTR_NO_KERNEL_MAPPING) != 0)
            return DmaError::BadArgument;
        if (length > UINT64_MAX / sizeof(T))
            return DmaError::NoMemory;
        Result<OwnedBlock> block = OwnedBlock::make(allocator, device, length * sizeof(T), DMAUDIT_ZERO, attrs);
        if (!block)
            return block.error();
        return CoherentArray(std::move(*block));
    }

    explicit operator bool() const noexcept { return block_.holds(); }
    std::uint64_t length() const noexcept { return size() / sizeof(T); } // elements
    std::uint64_t size() const noexcept { return (*block_).size; }       // bytes

    // The elements. The device sees and changes them too: who may touch them when is the driver's protocol.
    std::span<T> span() noexcept { return {reinterpret_cast<T*>((*block_).cpu), static_cast<std::size_t>(length())}; }
    std::span<const T> span() const noexcept
    {
        return {reinterpret_cast<const T*>((*block_).cpu), static_cast<std::size_t>(length())};
    }

    DmaAddr dma_handle() const noexcept { return (*block_).bus; }
    // Device address of element `i`. BadArgument: there is none.
    Result<DmaAddr> dma_handle(std::uint64_t i) const noexcept
    {
        if (i >= length())
            return DmaError::BadArgument;
        return DmaAddr{(*block_).bus.value + i * sizeof(T)};
    }

  private:
    explicit CoherentArray(OwnedBlock block) noexcept : block_(std::move(block)) {}
    OwnedBlock block_;
};

} // namespace dmaudit::alloc
