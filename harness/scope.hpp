// What is known about a case without running it: which names are defined, alive and dead, how long their objects are
// and which ranges were used on them, supposing that every op succeeds. All passes over cases resolve names here and
// only here, so a case means the same on every provider. Fixed arrays, no heap: it is rebuilt for every decoded case.
#pragma once
#include "harness/case.hpp"
#include <array>
#include <cstdint>
#include <string>

namespace dmaudit {

// Where an op keeps what (indices into its fields; `absent`: it has no such field). Derived from the declarations.
struct Layout {
    static constexpr uint8_t absent = 0xff;
    uint8_t n_fields = 0;
    std::array<Shape, max_args> shapes{};
    std::array<uint8_t, max_args> objs{};  // accepted kinds, of names
    std::array<uint8_t, max_args> names{}; // the fields that are names (def and use), in order
    uint8_t n_names = 0;
    uint8_t def = absent, use = absent; // the defined name; the first used name
    uint8_t off = absent, len = absent, size = absent, pages = absent, place = absent;
    Obj makes = obj_none; // kind of the defined name
    uint8_t needs = 0;    // kinds accepted as the first used name
    uint8_t n_makers = 0; // ops that define one of these kinds, in the order of the list of ops
    std::array<uint8_t, op_count> makers{};
};
const std::array<Layout, op_count>& layouts();

struct BytesUsed {
    uint64_t off, len;
    friend bool operator==(const BytesUsed&, const BytesUsed&) = default;
};

// An object that a step has defined. Without initialisers: a scope holds an array of them, most of it never used.
struct Known {
    uint64_t name;
    uint64_t length; // bytes
    uint64_t place;  // of buffers and pools: offset in their space
    uint64_t base;   // where the object begins in its parent
    BytesUsed last;  // the last range used on it or on a child; at first: all of it
    uint16_t parent; // index of the object it was made from, or none
    uint8_t maker;   // op that defined it
    uint8_t device;  // of what is managed
    bool managed;    // made by an op that only managed DMA has
    bool alive;
    static constexpr uint16_t no_parent = 0xffff;
};

class Scope {
  public:
    explicit Scope(const World& world);

    // Takes note of a step. Precondition: its op is known; names that are wrong are ignored.
    void append(const Step& step);

    const Known* find(uint64_t name) const;
    bool alive(uint64_t name) const
    {
        const Known* k = find(name);
        return k && k->alive;
    }
    // Objects of the given kinds, alive or dead; the k-th most recently defined (0 = the last). Precondition: k <
    // count.
    unsigned count(uint8_t kinds, bool alive) const
    {
        unsigned n = 0;
        for (unsigned kind = 0; kind < obj_kinds; kind++)
            n += kinds >> kind & 1 ? counts_[alive][kind] : 0u;
        return n;
    }
    const Known& recent(uint8_t kinds, bool alive, unsigned k) const;
    // The same with k modulo count; null if there are none.
    const Known* pick(uint8_t kinds, bool alive, unsigned k) const
    {
        const unsigned n = count(kinds, alive);
        return n == 0 ? nullptr : &recent(kinds, alive, k < n ? k : k % n);
    }
    // Rank of an object in that order. Precondition: the object is known.
    unsigned rank(const Known& object, uint8_t kinds) const;

    // The number that the next name of this kind gets.
    unsigned next(Obj kind) const;
    bool defined(Obj kind, unsigned number) const
    {
        return index_[static_cast<size_t>(obj_index(kind))][number & 0xff] != 0;
    }

    std::span<const Known> objects() const { return {objects_.data(), n_}; }
    const World& world() const { return *world_; }
    // Groups of managed DMA that are open on a device.
    unsigned open_groups(uint64_t device) const
    {
        unsigned n = 0;
        for (unsigned i = 0; i < n_groups_; i++)
            n += groups_[i].device == device;
        return n;
    }
    // Index of the first object that a release of the nth youngest of them ends, or no_parent: no such group.
    uint16_t first_of_group(uint64_t device, uint64_t nth) const
    {
        for (unsigned i = n_groups_; i-- > 0;)
            if (groups_[i].device == device && nth-- == 0)
                return groups_[i].first;
        return Known::no_parent;
    }

    // The spaces in which buffers (and pools) are placed: one part for each bank.
    struct Space {
        unsigned parts = 0;
        uint64_t total = 0, largest = 0;
        std::array<uint64_t, max_banks> start{}, bytes{};
    };
    const Space& space(Obj kind) const { return kind == obj_pool ? pools_ : clients_; }
    // The first place from `at` on (then in the other banks) where an object of this size overlaps no living one. Keeps
    // the place's phase modulo the line, so that neighbours share lines as often as the caller wants; pools begin on
    // pages. Without room the wish is returned.
    uint64_t free_place(Obj kind, uint64_t at, uint64_t size) const;

  private:
    using Mask = std::array<uint64_t, max_steps / 64>;
    const World* world_;
    unsigned n_ = 0;
    Space clients_, pools_;
    std::array<std::array<uint8_t, max_names>, obj_kinds> index_{}; // number -> index in objects_ + 1
    std::array<uint8_t, obj_kinds> next_{};
    std::array<std::array<Mask, obj_kinds>, 2> masks_{}; // [alive][kind]: which of objects_
    std::array<std::array<uint8_t, obj_kinds>, 2> counts_{};
    std::array<Known, max_steps> objects_;
    struct Group { // of managed DMA, open
        uint8_t device;
        uint16_t first; // of the objects made since
    };
    unsigned n_groups_ = 0;
    std::array<Group, max_steps> groups_;

    Mask mask(uint8_t kinds, bool alive) const;
    void kill(const Known& object);
    void kill_managed(const Step& step);
    void remember(const Known& object, BytesUsed range);
};

// A valid case: at most max_steps steps of known ops; a defined name is of the op's kind and was not defined before; a
// used name was defined before and is of an accepted kind (alive or dead); arguments that the op does not have are 0;
// the world can be built and entries that it does not use are at their defaults; an expected violation names a rule.
// Every other argument may be any integer. Empty if so, else what is wrong.
std::string case_error(const Case&);

} // namespace dmaudit
