// One thread's part of a search: from one state, which other cases are there, and what comes of them?
#pragma once
#include "harness/state_key.hpp"
#include "harness/verify.hpp"

#include <optional>
#include <unordered_set>

namespace dmaudit {

// What came of the moves from a few states.
struct Reached {
    struct State {
        StateKey key;
        uint64_t code; // of the move
        uint32_t parent;
        bool fails; // when everything is given back: it is not continued
    };
    std::vector<State> states; // new ones, in the order of the search
    struct Failure {
        Case value; // of the first
        BugKey key;
        uint64_t cases;
    };
    std::vector<Failure> failures;
    VerifyLevel counts; // `states` is not counted here
    std::array<uint64_t, op_count> by_op{};
    uint64_t executions = 0, strayed = 0, refused_with_effect = 0;

    void add(const Failure&);
};

// What a walker is at, where another process can see it (verify_child.cpp), should this one end.
struct AtWork {
    static constexpr uint64_t on_the_way = ~uint64_t{0};
    volatile bool busy = false;
    volatile uint32_t node = 0;          // from which state
    volatile uint64_t code = on_the_way; // the move that was tried, and what the adversary does; or it was going there
    volatile uint64_t steps = 0;         // grows while it works
    Case value;
};
// A move that ended the process, or did not end. It is not tried again.
struct Deadly {
    uint32_t node;
    uint64_t code; // on_the_way: the state was not reached a second time
    Reached::Failure failure;
};

// States that were reached before.
class KnownStates {
  public:
    virtual ~KnownStates() = default;
    virtual bool known(const StateKey&) const = 0;
};

class Walker final : Session::Probe {
  public:
    // `at` and `deadly` stay the caller's.
    Walker(const VerifyScope&, const VerifyLimits&, const Moves&, const dmaudit_provider&, AtWork& at,
           const std::vector<Deadly>& deadly);

    // The case without moves: opens the provider. Its code, and what is found when nothing was done.
    int start(bool merge, StateKey& key, Reached&);
    // Every move from the state with this key that these moves lead to. `known`: null without merging, and no keys then.
    void expand(std::span<const uint64_t> path, uint32_t parent, const StateKey&, const KnownStates* known, Reached& out);
    // Between states of one chunk: forgets which states it has reached itself.
    void begin_chunk() { mine_.clear(); }
    // The state at the end of a path, to compare.
    StateKey key_at(std::span<const uint64_t> path);

  private:
    enum class Ran : uint8_t { refused, done, failed };
    void platform_call() override;
    bool open(Reached&);
    bool follow(std::span<const uint64_t> path, Reached&); // false: it leads elsewhere now
    void again(Reached&);
    Ran make(const Move&);
    void close(bool give_back);
    void judge(Ran, uint64_t code, uint32_t parent, const KnownStates*, Reached&);
    void failed(Reached&);
    const Deadly* deadly(uint32_t node, uint64_t code) const;

    const VerifyScope& scope_;
    const VerifyLimits& limits_;
    const Moves& moves_;
    const dmaudit_provider& provider_;
    AtWork& at_;
    const std::vector<Deadly>& deadly_;
    Case& case_ = at_.value;
    Session session_;
    std::optional<Run> run_;
    Tally tally_;
    Situation situation_;                        // after the path
    std::array<uint8_t, obj_kinds> defined_{}, defined_by_path_{};
    std::vector<Step> path_;
    std::optional<Violation> violation_; // of the case that was just made
    uint16_t at_step_ = 0;
    std::vector<Adversary> chances_; // what could happen inside the op that was just made
    struct Hash {
        size_t operator()(const StateKey& k) const { return k.bits[0]; }
    };
    std::unordered_set<StateKey, Hash> mine_;
};

} // namespace dmaudit
