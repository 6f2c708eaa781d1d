// A provider on a simulated machine with nobody in between: no auditor, no executor. What a property sees here is what
// the provider's own table does; what it checks, it checks with its own eyes.
#pragma once
#include "harness/rng.hpp"
#include "harness/world.hpp"
#include "machine/machine.hpp"
#include "providers/builtin/builtin.hpp"

#include <functional>
#include <vector>

namespace dmaudit::properties {

using Bytes = std::vector<uint8_t>;

class Bare {
  public:
    // `opened` is the provider's answer; nothing else may be called unless it is DMAUDIT_OK.
    // The machine is the caller's, because one is costly to make and cheap to use again.
    Bare(Machine&, const World&, const dmaudit_provider& = builtin_provider());
    ~Bare();
    Bare(const Bare&) = delete;
    Bare& operator=(const Bare&) = delete;
    int opened = DMAUDIT_EIO;

    // ---- the table. Every call checks what holds for all of them: the answer is a code, and no lock is kept. ----
    int alloc(const dmaudit_request&, dmaudit_block&);
    int free(const dmaudit_block&);
    int map(const dmaudit_request&, void* cpu, uint32_t direction, dmaudit_mapping&);
    int unmap(const dmaudit_mapping&, uint64_t used, uint32_t attrs = 0);
    int sync(const dmaudit_mapping&, uint64_t offset, uint64_t length, uint32_t direction, uint32_t phase);
    int cache(void* cpu, uint64_t length, uint32_t op);
    int declare(uint32_t device, uint64_t phys, uint64_t bus, uint64_t size, uint32_t exclusive);
    int alloc_from(uint32_t device, uint64_t size, dmaudit_block&, int& ours);
    int release_from(uint32_t device, uint32_t order, void* cpu, int& ours);
    int mmap_from(uint32_t device, void* cpu, uint64_t size, uint64_t pgoff, uint64_t pages, dmaudit_window&,
                  int& ours);
    int release(uint32_t device);
    int mmap(const dmaudit_block&, uint64_t pgoff, uint64_t pages, dmaudit_window&);
    int alloc_noncoherent(const dmaudit_request&, uint32_t direction, dmaudit_block&);
    int free_noncoherent(const dmaudit_block&, uint32_t direction);
    int map_sg(const dmaudit_request&, dmaudit_sg&);
    int unmap_sg(const dmaudit_sg&, uint32_t attrs = 0);
    // Any other call of the table: `f(provider, ctx)`.
    template <class F> int make(F f)
    {
        return call([&] { return f(provider_, ctx_); });
    }
    // Closes the provider: metadata, uncached pages and locks are all given back.
    void close();

    // The n-th platform call that may fail, inside the next call of the table, fails. Did it happen?
    void fail_inside(uint64_t nth) { machine_.arm_fault(nth); }
    bool failed_inside() const { return machine_.fault_fired(); }

    // ---- the CPU and devices ----
    uint8_t* at(uint64_t offset) const { return machine_.door() + offset; }
    uint64_t offset(const void* cpu) const
    {
        return static_cast<uint64_t>(static_cast<const uint8_t*>(cpu) - machine_.door());
    }
    uint64_t phys(const void* cpu) const { return machine_.phys_of(offset(cpu)); }
    bool in_ram(const void* cpu, uint64_t size) const;    // of one bank
    uint8_t* client(uint64_t place, uint64_t size) const; // null: no room for that
    void cpu_write(uint8_t* to, const Bytes&);
    Bytes cpu_read(const uint8_t* from, uint64_t n) const { return {from, from + n}; }
    // As the device sees its own addresses; the property fails where it would fault.
    Bytes device_read(uint32_t device, uint64_t bus, uint64_t n) const;
    void device_write(uint32_t device, uint64_t bus, const Bytes&);
    // The adversary: a few random lines anywhere are evicted or prefetched.
    void disturb(Rng&);

    const World& world() const { return world_; }
    Machine& machine() { return machine_; }
    const dmaudit_provider& provider() const { return provider_; }
    void* ctx() const { return ctx_; }

    // What can be had from coherent allocations, greedily from the largest size on: (size, address) of each, all given
    // back.
    std::vector<std::pair<uint64_t, uint64_t>> capacity(uint32_t device);

  private:
    int answered(int code);
    void each_page(uint32_t device, uint64_t bus, uint64_t n,
                   const std::function<void(uint64_t at, uint64_t done, uint64_t bytes)>& f) const;
    template <class F> int call(F f)
    {
        machine_.begin_call();
        const int code = f();
        machine_.end_call();
        return answered(code);
    }

    World world_;
    Machine& machine_;
    const dmaudit_provider& provider_;
    void* ctx_ = nullptr;
    bool open_ = false;
};

World some_world(Rng&); // as generated cases have them
Bytes random_bytes(Rng&, uint64_t n);

// A crowd of clients that conform: blocks, pools and mappings come and go at random. A property looks at each newcomer.
class Crowd {
  public:
    struct Block {
        dmaudit_block block;
        bool pooled;
    };
    struct Mapping {
        dmaudit_mapping mapping;
        uint64_t place;                                                  // in the clients' space
        uint8_t* target() const { return static_cast<uint8_t*>(where); } // where the device's accesses go
        void* where;
        bool bounced() const { return where != mapping.cpu; }
    };
    struct Pool {
        uint32_t device;
        uint64_t phys, size;
    };

    Crowd(Bare& bare, Rng& rng) : bare_(bare), rng_(rng) {}

    // Called before the newcomer is added and before a client writes to it.
    std::function<void(const dmaudit_request&, const Block&)> on_block;
    std::function<void(const dmaudit_request&, const Mapping&)> on_mapping;

    void declare_pools();
    void step();
    void give_back_everything(); // in random order
    void release_pools();

    const std::vector<Block>& blocks() const { return blocks_; }
    const std::vector<Mapping>& mappings() const { return mappings_; }
    const std::vector<Pool>& pools() const { return pools_; }
    const Pool* pool_of(uint32_t device) const;
    dmaudit_request request();              // a random one, constraints included
    static constexpr uint8_t secret = 0xee; // what clients fill their blocks with
    uint64_t refusals = 0;

  private:
    void allocate(bool from_pool);
    void map();
    void free(size_t i);
    void unmap(size_t i);

    Bare& bare_;
    Rng& rng_;
    std::vector<Block> blocks_;
    std::vector<Mapping> mappings_;
    std::vector<Pool> pools_;
};

} // namespace dmaudit::properties
