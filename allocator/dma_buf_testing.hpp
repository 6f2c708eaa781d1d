// An exporter for tests: counts its calls, answers what it is told to, and may call back.
#pragma once

#include <functional>
#include <string>

#include "allocator/dma_buf.hpp"

namespace dmaudit::testing {

struct FakeExporter {
    int attached = 0, detached = 0, mapped = 0, unmapped = 0, released = 0, begun = 0, ended = 0, kmapped = 0,
        kunmapped = 0, windows = 0, vmapped = 0, vunmapped = 0;
    alloc::Direction unmap_direction{}; // of the last unmap
    bool fails = false;                 // every call that can
    bool empty = false;                 // map answers an empty table, kmap and vmap a null pointer
    std::function<void()> calls_back;   // during every call
    alloc::DmaSegment segments[2] = {{{0x1000}, 4096}, {{0x8000}, 904}};
    std::byte memory[8192];

    alloc::Status step(int& count)
    {
        count++;
        if (const auto call = calls_back) // a copy: it may disarm itself
            call();
        return fails ? alloc::Status(alloc::DmaError::PlatformError) : alloc::Status();
    }
    static FakeExporter& of(void* priv) { return *static_cast<FakeExporter*>(priv); }

    // The full table; what is optional can be taken out of the copy.
    static alloc::DmaBufOps table()
    {
        using namespace alloc;
        DmaBufOps ops{};
        ops.attach = [](void* p, const Device&, void** cookie) noexcept {
            *cookie = p;
            return of(p).step(of(p).attached);
        };
        ops.detach = [](void* p, const Device&, void*) noexcept { static_cast<void>(of(p).step(of(p).detached)); };
        ops.map = [](void* p, const Device&, void*, Direction, const CpuHeld&) noexcept -> Result<DmaBufTable> {
            if (const Status done = of(p).step(of(p).mapped); !done)
                return done.error();
            return DmaBufTable{of(p).segments, of(p).empty ? 0u : 2u};
        };
        ops.unmap = [](void* p, const Device&, void*, Direction direction, const CpuHeld&) noexcept {
            of(p).unmap_direction = direction;
            return of(p).step(of(p).unmapped);
        };
        ops.release = [](void* p) noexcept { static_cast<void>(of(p).step(of(p).released)); };
        ops.begin_cpu_access = [](void* p, std::uint64_t, std::uint64_t, Direction, const CpuHeld&) noexcept {
            return of(p).step(of(p).begun);
        };
        ops.end_cpu_access = [](void* p, std::uint64_t, std::uint64_t, Direction) noexcept {
            return of(p).step(of(p).ended);
        };
        ops.kmap = [](void* p, std::uint64_t page) noexcept -> Result<std::byte*> {
            if (const Status done = of(p).step(of(p).kmapped); !done)
                return done.error();
            return of(p).empty ? nullptr : of(p).memory + page * 4096;
        };
        ops.kunmap = [](void* p, std::uint64_t, std::byte*) noexcept {
            static_cast<void>(of(p).step(of(p).kunmapped));
        };
        ops.mmap = [](void* p, std::uint64_t pgoff, std::uint64_t pages) noexcept -> Result<Window> {
            if (const Status done = of(p).step(of(p).windows); !done)
                return done.error();
            return Window{{pgoff * 4096}, pages * 4096};
        };
        ops.vmap = [](void* p) noexcept -> Result<std::byte*> {
            if (const Status done = of(p).step(of(p).vmapped); !done)
                return done.error();
            return of(p).empty ? nullptr : of(p).memory;
        };
        ops.vunmap = [](void* p, std::byte*) noexcept { static_cast<void>(of(p).step(of(p).vunmapped)); };
        return ops;
    }
    // What an exporter has to have, and no more.
    static alloc::DmaBufOps least()
    {
        alloc::DmaBufOps ops{};
        const alloc::DmaBufOps full = table();
        ops.map = full.map;
        ops.unmap = full.unmap;
        ops.release = full.release;
        return ops;
    }
};

} // namespace dmaudit::testing
