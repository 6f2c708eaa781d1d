// The generator's rough idea of a running case: for each object which bytes are initialised, which of a mapping are
// with the CPU and which the device has written, each as one interval. It may be wrong: it steers, the auditor judges.
#pragma once
#include "harness/scope.hpp"

namespace dmaudit {

template <class Op> constexpr uint8_t is = Ops::index_of<Op>();

struct Interval {
    uint64_t from = 0, to = 0;
    bool empty() const { return from >= to; }
    bool contains(Interval i) const { return i.empty() || (from <= i.from && i.to <= to); }
    bool meets(Interval i) const { return !empty() && !i.empty() && from < i.to && i.from < to; }
    Interval shifted(uint64_t by) const { return {from + by, to + by}; }
    Interval common(Interval i) const { return {from > i.from ? from : i.from, to < i.to ? to : i.to}; }
    void add(Interval);    // the union if they touch, else the longer one
    void remove(Interval); // the longer of what remains
};

class Phases {
  public:
    explicit Phases(const Scope& scope) : scope_(scope) {}
    // May buffers share a line with others?
    void crowd(bool on) { crowded_ = on; }

    // Arguments that only one value fits get it: the end of a bracket is that of its begin.
    void complete(Step&) const;
    // Would a conforming client do this now?
    bool legal(const Step&) const;
    // Is this an op for what was made so?
    static bool fits(uint8_t op, const Known&);
    // Is this an op of managed DMA that no device has a driver for?
    bool lacks_driver(uint8_t op) const;
    // Is this an op for a descriptor, and nothing was given one?
    bool lacks_descriptor(uint8_t op) const;
    // What the CPU wrote in a mapping that it has not handed over since, if that is known.
    Interval wrote(const Known& k) const { return of(k).dirty ? of(k).wrote : Interval{}; }
    // Takes note of a step. Call it before the scope's append(), with the same step.
    void append(const Step&);

  private:
    enum Dir : uint64_t { bidirectional, to_device, from_device };
    struct Phase {
        Interval ready;      // bytes with a known value; of a mapping: those that the device has written
        Interval cpu;        // of a mapping: bytes handed back to the CPU; of a dma-buf: those of the latest bracket
        bool tested = false; // a single mapping, for its error
        bool dirty = false;  // of a mapping: the CPU wrote since then
        Interval wrote;      // and where, at most; empty: anywhere
        uint64_t dir = 0, device = 0;
        struct Bracket {
            Interval at;
            uint64_t dir;
        };
        std::array<Bracket, 3> outer{}; // brackets of a dma-buf that were opened before the latest
        unsigned n_outer = 0;
        void wrote_in(Interval r)
        {
            if (dirty && wrote.empty())
                return; // anywhere, as before
            wrote = dirty ? Interval{wrote.from < r.from ? wrote.from : r.from, wrote.to > r.to ? wrote.to : r.to} : r;
            dirty = true;
        }
    };
    const Scope& scope_;
    std::array<Phase, max_steps> phases_{};
    bool crowded_ = false;
    uint64_t descriptors_ = 0; // that were opened, at the lowest numbers
    std::array<bool, max_devices> bound_{};
    std::array<uint64_t, max_devices> coherent_mask_{all_ones, all_ones, all_ones, all_ones};

    size_t index(const Known& k) const { return static_cast<size_t>(&k - scope_.objects().data()); }
    const Phase& of(const Known& k) const { return phases_[index(k)]; }
    Phase& of(const Known& k) { return phases_[index(k)]; }
    const Known* parent(const Known& k) const
    {
        return k.parent == Known::no_parent ? nullptr : &scope_.objects()[k.parent];
    }
    bool has_living_child(const Known&) const;
    Interval lines(Interval, const Known&) const;
    bool coherent_world() const;

    uint64_t pages(uint64_t size) const;
    bool has_room(const Known& pool, uint64_t size) const;
    bool has_room(uint64_t device, uint64_t size, uint64_t limit) const;
    bool can_map(const Known& buffer, Interval, uint64_t dir, uint64_t dev) const;
    bool can_touch(const Known& buffer, Interval, bool write) const; // the CPU, a client's buffer
    bool is_exported(const Known&) const;
    bool in_bracket(const Known& buf, bool write) const;
    bool legal_on_dma_buf(const Step&, const Known&, Interval) const;
    std::optional<bool> legal_managed(const Step&, const Known* used) const;
    bool can_let_go(uint64_t device, unsigned first, bool driver) const;
    void append_managed(const Step&);
    bool noncoherent(const Known&) const;
    bool legal_on_noncoherent(const Step&, const Known&, Interval) const;
    bool legal_on_mapping(const Step&, const Known&, Interval) const;
};

} // namespace dmaudit
