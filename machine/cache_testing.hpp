// What the tests of the cache share: a small cache over RAM, and an observer that takes note.
#pragma once
#include "machine/cache.hpp"
#include "machine/ram.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace dmaudit {
constexpr uint64_t cache_bytes = 4 * 4096;

struct CacheTold : CacheObserver {
    std::vector<uint64_t> over_stale, dropped;
    uint64_t at = 0, len = 0;
    void writeback_over_stale(uint64_t line_at) override { over_stale.push_back(line_at); }
    void drops_dirty(uint64_t line_at, uint64_t from, uint64_t n) override
    {
        dropped.push_back(line_at);
        at = from;
        len = n;
    }
};

class CacheTest : public ::testing::Test {
  protected:
    CacheTest() { begin(4096, 64, true); }

    void begin(uint64_t page, uint64_t line, bool simulated)
    {
        for (uint64_t p = 0; p < 2 * cache_bytes; p += 4096)
            std::memcpy(ram.door() + p, Ram::initial_page(), 4096);
        cache.configure(cache_bytes, page, line, simulated);
        cache.set_observer(&told);
    }

    // A raw store: nobody tells the cache.
    void store(uint64_t at, uint8_t v) { ram.door()[at] = v; }
    void tell_store(uint64_t at, uint8_t v)
    {
        store(at, v);
        cache.wrote(at, 1);
    }
    uint8_t load(uint64_t at) const { return ram.door()[at]; }
    void device_write(uint64_t at, uint8_t v) { cache.write(at, 1, &v); }
    uint8_t device_read(uint64_t at) const
    {
        uint8_t v = 0;
        cache.read(at, 1, &v);
        return v;
    }
    static uint8_t initial(uint64_t at) { return Ram::initial_page()[at % 4096]; }

    Ram ram;
    Cache cache{ram.door()};
    CacheTold told;
};

} // namespace dmaudit
