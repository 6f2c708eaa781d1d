// What a small scope lets happen next: which worlds, which ops and which few values of each argument. Everything is
// derived from the declarations of the ops, so that an op that is added is enumerated without a change here.
//
// A move is one op, or one cache line that is evicted, or an op with one thing of the adversary's inside it: a fault, or
// the eviction or prefetch of a line, at its n-th platform call.
#pragma once
#include "harness/enumerate.hpp"
#include "harness/situation.hpp"

#include <string>
#include <vector>

namespace dmaudit {

struct VerifyScope {
    std::string name, facet;
    World world;
    uint32_t facets = 0;
    unsigned most_alive = 2; // objects of one kind, and descriptors
    bool few = false;        // fewer values: what reaches deeper
    bool adversary = true;   // faults, evictions and prefetches inside ops, evictions between them
};
// The scopes by name (small, deep, iommu, bounce) and the facets that they are for (streaming, ..., all).
std::span<const std::string_view> verify_scopes();
std::span<const std::string_view> verify_facets();
// Nothing: no such scope or facet.
std::optional<VerifyScope> verify_scope(std::string_view scope, std::string_view facet);

struct Adversary {
    enum Kind : uint8_t { none, fail, evict, prefetch } kind = none;
    unsigned nth = 0;  // platform call inside the op, from 1; of a fault: of those that may fail
    unsigned line = 0; // index of Situation::lines()
    uint64_t code() const { return kind == none ? 0 : kind + 3 * (line + uint64_t{256} * (nth - 1)); }
    static Adversary at(uint64_t code);
};

struct Move {
    std::array<Step, 2> steps{}; // the last one is the move; before it the adversary is armed
    unsigned n = 0;
    bool line_only = false; // a line is evicted
    unsigned line = 0;
};

class Moves {
  public:
    explicit Moves(const VerifyScope&);

    // One move without an adversary inside; false: these choices make none.
    bool propose(Choices&, const Situation&, Move&) const;
    void arm(const Adversary&, const Situation&, Move&) const;

    // The ops of the scope: those of its facets, and what makes and ends the objects that they need.
    std::span<const uint8_t> ops() const { return ops_; }
    // The values that an argument can have, as text, for the reader of a result.
    std::string values_text() const;

  private:
    using Values = std::vector<uint64_t>;
    bool range(Choices&, uint64_t length, uint64_t& off, uint64_t& len) const;
    Values values(uint8_t op, Shape) const;

    VerifyScope scope_;
    std::vector<uint8_t> ops_;
    std::vector<std::array<Values, max_args>> values_; // by position in ops_ and field
};

} // namespace dmaudit
