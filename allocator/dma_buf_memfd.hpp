// An exporter on real memory, for Linux in user space: a memfd, sealed against shrinking (as udmabuf asks, or a mapped
// page could vanish under its importer). Where the simulated machine has physical addresses this has offsets in the
// file: a device that is a program gets the descriptor, and maps what its segments and windows name. The kernel keeps
// all mappings of the file in step, so nothing is to be done for coherence.
//
// The object is `priv`; it outlives the buffer, and is closed by release. Not copied, not moved.
#pragma once

#ifdef __linux__

#include <cerrno>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "allocator/dma_buf.hpp"

namespace dmaudit::alloc {

class MemfdExporter {
  public:
    explicit MemfdExporter(const Platform& platform) noexcept : platform_(platform) {}
    ~MemfdExporter() { close(); }
    MemfdExporter(const MemfdExporter&) = delete;
    MemfdExporter& operator=(const MemfdExporter&) = delete;

    // Makes the file and exports it. BadArgument: not whole pages, or open already. NoMemory, PlatformError: what the
    // kernel or the export says; the file is gone then.
    Result<DmaBufId> open(DmaBufs& bufs, std::uint64_t size, const char* name) noexcept
    {
        if (file_ >= 0 || size == 0 || !aligned(size, platform_.page()) || size > INT64_MAX)
            return DmaError::BadArgument;
        file_ = memfd_create(name != nullptr ? name : "dma-buf", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (file_ < 0)
            return failure();
        size_ = size;
        if (ftruncate(file_, static_cast<off_t>(size)) != 0 || fcntl(file_, F_ADD_SEALS, F_SEAL_SHRINK) != 0 ||
            (pages_ = map_file()) == nullptr) {
            const DmaError why = failure();
            close();
            return why;
        }
        const Result<DmaBufId> id = bufs.export_named(kOps, this, size, name);
        if (!id)
            close();
        return id;
    }

    // The file, for a device that is a program; -1 after release.
    int file() const noexcept { return file_; }

  private:
    static DmaError failure() noexcept { return errno == ENOMEM ? DmaError::NoMemory : DmaError::PlatformError; }
    static MemfdExporter& of(void* priv) noexcept { return *static_cast<MemfdExporter*>(priv); }

    std::byte* map_file() const noexcept
    {
        void* cpu = ::mmap(nullptr, static_cast<std::size_t>(size_), PROT_READ | PROT_WRITE, MAP_SHARED, file_, 0);
        return cpu == MAP_FAILED ? nullptr : static_cast<std::byte*>(cpu);
    }
    void close() noexcept
    {
        if (pages_ != nullptr)
            ::munmap(pages_, static_cast<std::size_t>(size_));
        if (file_ >= 0)
            ::close(file_);
        pages_ = nullptr;
        file_ = -1;
    }

    // One segment for each attachment, the whole file, if the device can count that far.
    static Status attach(void* priv, const Device& device, void** cookie) noexcept
    {
        MemfdExporter& self = of(priv);
        if (!reach_of(device).within_limit({0}, self.size_))
            return DmaError::DmaMaskNotMatch;
        auto* segment = static_cast<DmaSegment*>(self.platform_.meta_alloc(sizeof(DmaSegment)));
        if (segment == nullptr)
            return DmaError::NoMemory;
        *cookie = ::new (segment) DmaSegment{device.bus_of({0}), self.size_};
        return {};
    }
    static void detach(void* priv, const Device&, void* cookie) noexcept { of(priv).platform_.meta_free(cookie); }
    static Result<DmaBufTable> map(void*, const Device&, void* cookie, Direction, const CpuHeld&) noexcept
    {
        return DmaBufTable{static_cast<const DmaSegment*>(cookie), 1};
    }
    static Status unmap(void*, const Device&, void*, Direction, const CpuHeld&) noexcept { return {}; }
    static void release(void* priv) noexcept { of(priv).close(); }
    static Result<std::byte*> kmap(void* priv, std::uint64_t page) noexcept
    {
        return of(priv).pages_ + (page << of(priv).platform_.page_shift());
    }
    static Result<Window> mmap(void* priv, std::uint64_t pgoff, std::uint64_t pages) noexcept
    {
        const unsigned shift = of(priv).platform_.page_shift();
        return Window{{pgoff << shift}, pages << shift};
    }
    // A mapping of its own, really made and really undone.
    static Result<std::byte*> vmap(void* priv) noexcept
    {
        std::byte* cpu = of(priv).map_file();
        return cpu != nullptr ? Result<std::byte*>(cpu) : Result<std::byte*>(failure());
    }
    static void vunmap(void* priv, std::byte* cpu) noexcept { ::munmap(cpu, static_cast<std::size_t>(of(priv).size_)); }
    static constexpr DmaBufOps kOps{attach,  detach, map,     unmap, release, nullptr,
                                    nullptr, kmap,   nullptr, mmap,  vmap,    vunmap};

    Platform platform_;
    int file_ = -1;
    std::uint64_t size_ = 0;
    std::byte* pages_ = nullptr;
};

} // namespace dmaudit::alloc

#endif
