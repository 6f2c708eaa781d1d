// Work in a child process that may die without taking this one along.
#pragma once
#include <cstdint>
#include <functional>
#include <string_view>

namespace dmaudit {

struct Forked {
    unsigned tick_ms = 60'000; // real time; see run_forked
    bool quiet = true;         // what the child prints is thrown away
};
struct Ended {
    bool stopped; // by `go_on`
    int status;   // of waitpid
};

// The exit code of a child in which somebody called exit(), of which no handler of the parent's runs.
constexpr int ended_itself = 125;

// Runs `work` in a child, with a file descriptor; what it writes there arrives in `said`, part by part. After each tick
// without a word `go_on` is asked, and ends the child with false. The child dies of its signals, at once and in the same way
// with and without sanitizers, and with its parent. Aborts if there can be no child.
Ended run_forked(const Forked&, const std::function<void(int fd)>& work,
                 const std::function<void(std::string_view)>& said, const std::function<bool()>& go_on);

// Somebody counts what he does. Who looks now and then knows that it has come to a standstill, on a slow machine as on
// a fast one: slowness moves on.
class Standstill {
  public:
    static constexpr unsigned looks = 8; // at the same count, one after the other
    bool look(uint64_t count)
    {
        same_ = count == seen_ ? same_ + 1 : 0;
        seen_ = count;
        return same_ >= looks;
    }

  private:
    uint64_t seen_ = 0;
    unsigned same_ = 0;
};

// In a child, once: SIGPROF ends it when it has used so much processor time, in milliseconds, and `count` stood still.
void end_at_standstill(const volatile uint64_t& count, unsigned cpu_ms);

// In a child: writes all of it, or as much as can be.
void write_all(int fd, std::string_view);

// Memory of so many bytes, all zero, that a child shares with its parent. Aborts if there is none.
void* shared_memory(size_t bytes);

} // namespace dmaudit
