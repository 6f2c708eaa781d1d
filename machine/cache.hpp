// The write-back CPU cache, by value. Three values of a byte: what the CPU sees (C, the RAM object), what a
// non-coherent device sees (D) and what the two last exchanged (S, kept only for lines that such a device has written
// since; elsewhere it equals D). A line is dirty if the harness saw a write to it or if C differs from S: code that
// nobody instrumented behaves as on real hardware. Lines count as always present, so a missing invalidate always shows.
// Offsets are bytes into RAM; every operation treats the lines that a range touches as a whole. Not thread-safe.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace dmaudit {

// Told what the cache is about to destroy.
class CacheObserver {
  public:
    virtual ~CacheObserver() = default;
    // A dirty line is written back over device data that the CPU has not seen.
    virtual void writeback_over_stale(uint64_t line_at) = 0;
    // A dirty line is dropped. `at`, `len`: the range that was asked for.
    virtual void drops_dirty(uint64_t line_at, uint64_t at, uint64_t len) = 0;
};

class Cache {
  public:
    explicit Cache(uint8_t* cpu_view) : c_(cpu_view) {}

    // Begin with RAM of `bytes` in which both views hold the same. `simulated` = false: all devices are coherent, there
    // is no second view and every operation is free.
    void configure(uint64_t bytes, uint64_t page, uint64_t line, bool simulated);
    // Restore the device's view of what was touched. The CPU's view is RAM's own business.
    void reset();

    void set_observer(CacheObserver* o) { observer_ = o; }

    void clean(uint64_t at, uint64_t len);
    void invalidate(uint64_t at, uint64_t len);
    void evict(uint64_t at, uint64_t len);                 // clean, then invalidate
    void prefetch(uint64_t at, uint64_t len);              // reload lines that are not dirty
    void set_uncached(uint64_t at, uint64_t len, bool on); // whole pages
    bool uncached(uint64_t at) const { return uncached_[at >> page_shift_]; }
    bool all_uncached(uint64_t at, uint64_t len) const;
    uint64_t uncached_pages() const { return n_uncached_; }

    // The harness wrote [at, at + len) of C: the lines are dirty even if the values are those that were there.
    void wrote(uint64_t at, uint64_t len);
    // First byte of the lines of the range that is dirty: differs from what was exchanged, or begins a line that was
    // written with the value it had.
    std::optional<uint64_t> first_dirty(uint64_t at, uint64_t len) const;
    bool line_dirty(uint64_t at) const;
    bool line_stale(uint64_t at) const; // a byte of it is stale
    bool byte_dirty(uint64_t at) const;
    bool byte_stale(uint64_t at) const; // a device wrote it and the CPU has not seen that
    std::optional<uint64_t> first_stale(uint64_t at, uint64_t len) const;

    // Memory as a non-coherent device sees it, and its writes.
    void read(uint64_t at, uint64_t len, uint8_t* out) const;
    void write(uint64_t at, uint64_t len, const uint8_t* in);
    // First byte in which a non-coherent device's view differs from C.
    std::optional<uint64_t> first_difference(uint64_t at, uint64_t len) const;
    // A coherent device wrote: both views change.
    void coherent_write(uint64_t at, uint64_t len, const uint8_t* in);
    const uint8_t* device_bytes() const { return d_.get(); }
    // To look at all of it: S where a device has written since the last exchange, and the flags of a line.
    const uint8_t* exchanged_bytes() const { return s_.get(); }
    bool device_wrote_line(uint64_t at) const { return saved_[at >> line_shift_] != 0; }
    bool forced_dirty(uint64_t at) const { return forced_[at >> line_shift_] != 0; }
    static constexpr uint64_t block_bytes = 4096;
    // Of a block of so many bytes: D or a flag may have changed since configure.
    bool touched(uint64_t at) const { return touched_[at / block_bytes] != 0; }
    bool simulated() const { return simulated_; }
    uint64_t line() const { return line_; }

  private:
    const uint8_t* exchanged(uint64_t line_at) const
    {
        return saved_[line_at >> line_shift_] ? s_.get() + line_at : d_.get() + line_at;
    }
    template <class F> void each_part(uint64_t at, uint64_t len, F f) const;
    bool any_flag(const std::vector<uint8_t>& flags, uint64_t from, uint64_t end) const; // of the lines of one part
    bool same_views(uint64_t from, uint64_t end) const;
    bool settled(uint64_t from, uint64_t end) const;
    void touch_device(uint64_t at, uint64_t len);
    void writeback(uint64_t line_at);
    void drop(uint64_t line_at);

    uint8_t* c_;
    std::unique_ptr<uint8_t[]> d_, s_;
    uint64_t filled_ = 0; // d_ holds the initial pattern up to here
    uint64_t bytes_ = 0, line_ = 64;
    unsigned page_shift_ = 12, line_shift_ = 6;
    bool simulated_ = false;
    CacheObserver* observer_ = nullptr;
    std::vector<uint8_t> saved_, forced_; // a flag for each line
    std::vector<uint8_t> uncached_;       // a flag for each page
    std::vector<uint8_t> touched_;        // a flag for each 4 KiB whose d_, saved_ or forced_ changed
    uint64_t n_uncached_ = 0;
    bool any_uncached_ = false; // since configure
};

} // namespace dmaudit
