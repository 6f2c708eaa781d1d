// The state of a running case as 128 bits, so that a search knows where it has been.
//
// What goes in: the provider's hash of itself; of the machine all of RAM as the CPU sees it (C), as devices see it (D),
// what was last exchanged (S) and which lines are forced dirty, uncached pages, the IOMMUs with what they have not
// forgotten yet; of the auditor the state and the owner of every byte, all registries, descriptors and what is managed;
// of the harness what every defined byte must hold, and which requests it will repeat at the end.
//
// Names are left out. A tag, a cookie, a dma-buf's number or a step's `m3` only lead from one record to another; so the
// live records of each kind are put into an order that depends on their contents alone, and references are written as
// places in that order. Two states with the same words are then the same but for a renaming of live objects, and every
// legal move of the one is, renamed, a move of the other that reaches the same state again. What is dead is left out
// too: a client that conforms never names it, and no slot or number is used twice. (But for groups of managed DMA: one
// that is gone may be named, to be refused; so their numbers stay in.)
//
// Not part of a state is the order of a registry's list, which decides in which order things are given back at the end
// of a case: each state is given back in one order, that of the case that reached it first. Other orders are moves.
//
// The words are hashed, not kept. With 10^8 states the chance that any two different ones share a hash is below 10^-21
// if the hash is as good as a random function; a test compares it with the words themselves on small scopes.
#pragma once
#include "harness/run.hpp"

#include <array>
#include <optional>
#include <vector>

namespace dmaudit {

struct StateKey {
    std::array<uint64_t, 2> bits{};
    friend bool operator==(const StateKey&, const StateKey&) = default;
};

// Nothing: the provider does not offer a hash of its state. `words`: gets everything that was hashed; may be null.
std::optional<StateKey> state_key(const Run&, const Session&, std::vector<uint64_t>* words = nullptr);

} // namespace dmaudit
