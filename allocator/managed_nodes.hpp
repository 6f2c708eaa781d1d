// The records of managed DMA, for the files that look into them.
#pragma once

#include "allocator/allocator.hpp"

namespace dmaudit::alloc {

struct Managed::Node {
    enum class Kind : std::uint8_t { Coherent, Noncoherent, Declared, Action, Group } kind;
    bool claimed;  // somebody is giving the resource back: not to be found any more
    bool orphaned; // claimed, and no longer in any list: the claimer frees the node
    Direction direction;
    std::uint32_t device;
    Node* older;
    Block block;
    Managed::Action action;
    void* data;
    std::uint64_t id; // of a group
};

struct Managed::Binding {
    Binding* next;
    std::uint32_t device;
    bool ending;          // unbind is at work
    std::uint64_t serial; // of this binding: a device may be bound again
    Node* latest;
};

} // namespace dmaudit::alloc
