// Runs cases in a child process, so that a provider may crash, hang or end the process without taking the tool along.
// A child is forked for each try and makes its own world after the fork: simulated RAM is shared memory, and the
// parent's is not passed on. What the child is doing stands in memory that both see, written before each step, so a
// child that dies is known by the step that killed it.
//
// A provider that does not come back is ended: at a limit on the platform calls of one case, which is the same on every
// machine, or when it does nothing that can be seen, no step and no platform call, for so much processor time or, if it
// sleeps, for so long. A slow machine makes no provider hang: however slowly, something is done.
#pragma once
#include "harness/forked.hpp"
#include "harness/report.hpp"

#include <functional>
#include <string>

namespace dmaudit {

struct ChildLimits {
    uint64_t platform_calls = 1'000'000; // of one case
    unsigned cpu_ms = 500;               // processor time, and nothing done
    unsigned wall_ms = 20'000;           // on the clock, and nothing done
    bool quiet = true;                   // what the child prints is thrown away
};

class Child {
  public:
    explicit Child(const dmaudit_provider& provider, const ChildLimits& limits = {});
    ~Child();
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    // Does this provider say that it needs one?
    static bool needed(const dmaudit_provider&);

    // As execute(), with the rules provider-crash and no-progress for what execute() would not return from.
    Result run(const Case&, Tally* = nullptr);

    // Cases make(0), make(1), ... in one child, until one has a violation or `n` were run. A provider that is
    // process-wide gets a child for each all the same. A violation that `known` knows is counted and ends nothing.
    struct Ran {
        Result result; // of the last one
        unsigned cases = 0;
        std::array<uint64_t, rule_count> known{}; // violations that were counted, by rule
    };
    using Known = std::function<bool(const Case&, const Result&)>;
    Ran run_many(const std::function<const Case&(unsigned)>& make, unsigned n, Tally* = nullptr,
                 const Known& known = {});

    // report(), whose replay runs in a child too. Of a crash only the steps are told.
    std::string report(const Case&, const Result&, const ReportOptions&);

  private:
    struct Board; // what both processes see
    struct Counter;
    Ended forked(const std::function<void(int fd)>& work, const std::function<void(std::string_view)>& said);

    const dmaudit_provider& provider_;
    ChildLimits limits_;
    Board* board_;
};

} // namespace dmaudit
