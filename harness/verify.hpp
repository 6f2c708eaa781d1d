// Exhaustive small scopes: every case up to a stated number of moves over a small world is run, on any provider.
//
// Breadth first: level n holds the states that n legal moves reach. A state is known by the moves that lead to it and
// is reached again by making them (resetting a session costs less than copying one). From each state every move of the
// scope is tried. A move that the client may not make, or that cannot be made, leaves no trace, so the next one is
// tried in the same session; one that is carried out makes a new case, at the end of which everything is given back.
// What the adversary does inside a call is enumerated from what the call without it showed: at each of its platform
// calls that can fail, a fault; at each at which a line is dirty or stale, its eviction or reload. Anything else would
// change nothing.
//
// Where the provider offers a hash of its state, a state that was reached before, by other moves, is not continued a
// second time (`merged`): see state_key.hpp for what that means.
//
// With `isolate` a provider may crash or hang: what it did not survive is found like any other violation.
//
// What is found does not depend on the number of threads, nor on where a search was interrupted and resumed.
#pragma once
#include "harness/moves.hpp"
#include "harness/report.hpp"

#include <functional>
#include <iosfwd>
#include <memory>

namespace dmaudit {

struct VerifyLimits {
    unsigned depth = 3;
    unsigned threads = 1;
    bool merge = true;            // where the provider can
    uint64_t executions = 0;      // stop after about so many (at the end of a batch); 0: no limit
    uint64_t states = 1ull << 26; // stop before more are held
    unsigned findings = 0;        // stop after so many different ones; 0: no limit
    // Each batch in a child process: a provider that crashes or hangs becomes a finding, and the search goes on without
    // that move. A move hangs if nothing happened in so much real time and, alone, it does not end either.
    bool isolate = false;
    unsigned patience_ms = 2000;
    uint64_t deaths = 100;        // stop after so many of them (a move that hangs counts as ten); 0: no limit
    std::function<bool()> stop;   // asked after each batch; may be empty
    // For tests. Sees each case after its last move, before everything is given back; from one thread at a time only
    // with one thread. And is the state after a move that was refused the state before it?
    std::function<void(const Run&, const Session&)> look;
    bool check_refused = false;
};

struct VerifyLevel { // of the moves from the states of one level to the next
    uint64_t cases = 0;   // moves carried out
    uint64_t refused = 0; // moves that the client may not make, or that cannot be made
    uint64_t states = 0;  // different ones reached (without merging: one for each sound case)
    uint64_t merged = 0;  // cases that reached a state that was known
    uint64_t violations = 0;
    uint64_t faults = 0, evictions = 0; // cases with one of them inside a call, or between calls
    friend bool operator==(const VerifyLevel&, const VerifyLevel&) = default;
};

struct VerifyFinding {
    Case value; // as found: the first in the order of the search, so of the least depth
    BugKey key;
    unsigned depth = 0;
    uint64_t cases = 0; // with this key
};

struct VerifyResult {
    std::vector<VerifyLevel> levels; // of those that were begun
    unsigned complete = 0;           // levels that were finished
    bool merging = false;
    uint64_t executions = 0; // sessions that were opened
    uint64_t refused_with_effect = 0; // with check_refused
    uint64_t strayed = 0; // states that the same moves did not lead to a second time, or that could not be hashed
    std::array<uint64_t, op_count> by_op{}; // cases by their last op
    std::vector<VerifyFinding> findings;
    int open_error = 0; // the provider does not open in this world
    uint64_t deaths = 0; // moves that the process did not survive
    enum class End : uint8_t { complete, executions, states, findings, stopped, deaths } end = End::complete;
    VerifyLevel total() const;
};

class Verifier {
  public:
    Verifier(const VerifyScope&, const dmaudit_provider&, const VerifyLimits&);
    ~Verifier();
    Verifier(const Verifier&) = delete;
    Verifier& operator=(const Verifier&) = delete;

    // Goes on until a limit is met or all is done; may be called again, with other limits.
    const VerifyResult& run();
    const VerifyResult& result() const;
    VerifyLimits& limits();

    // All that is known, as bytes; between two runs. Another search takes them up if it has the same scope, provider and
    // ops; else, or if they are damaged, the error says why, and nothing has changed. A few states are reached again and
    // compared: a provider that was changed meanwhile is noticed, as far as it shows in them.
    std::string save() const;
    std::string load(std::string_view bytes);

  private:
    struct Search;
    std::unique_ptr<Search> search_;
};

VerifyResult verify(const VerifyScope&, const dmaudit_provider&, const VerifyLimits& = {});

} // namespace dmaudit
