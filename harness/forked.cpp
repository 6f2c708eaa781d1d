#include "harness/forked.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

namespace dmaudit {
namespace {

[[noreturn]] void give_up(const char* what)
{
    std::perror(what);
    std::abort();
}

void let_die(bool quiet)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0);
    for (const int s : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS, SIGALRM, SIGPROF, SIGTERM})
        std::signal(s, SIG_DFL);
    std::atexit([] { _exit(ended_itself); });
    if (quiet)
        if (const int null = open("/dev/null", O_WRONLY | O_CLOEXEC); null >= 0) {
            dup2(null, STDOUT_FILENO);
            dup2(null, STDERR_FILENO);
        }
}

const volatile uint64_t* counted;
Standstill standstill;

} // namespace

Ended run_forked(const Forked& forked, const std::function<void(int)>& work,
                 const std::function<void(std::string_view)>& said, const std::function<bool()>& go_on)
{
    std::fflush(nullptr); // else the child would own a copy of what waits
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        give_up("dmaudit: no pipe to a child process");
    const pid_t child = fork();
    if (child < 0)
        give_up("dmaudit: no child process");
    if (child == 0) {
        close(ends[0]);
        let_die(forked.quiet);
        work(ends[1]);
        _exit(0);
    }
    close(ends[1]);
    // The pipe is closed when the child is gone, whatever it died of.
    Ended ended{};
    pollfd wait{ends[0], POLLIN, 0};
    char part[4096];
    for (;;) {
        const int n = poll(&wait, 1, static_cast<int>(forked.tick_ms));
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0 && go_on())
            continue;
        if (n <= 0) {
            ended.stopped = true;
            kill(-child, SIGKILL);
            kill(child, SIGKILL);
            break;
        }
        const ssize_t got = read(ends[0], part, sizeof part);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        said({part, static_cast<size_t>(got)});
    }
    close(ends[0]);
    while (waitpid(child, &ended.status, 0) < 0 && errno == EINTR)
        ;
    return ended;
}

void end_at_standstill(const volatile uint64_t& count, unsigned cpu_ms)
{
    counted = &count;
    struct sigaction look {};
    look.sa_flags = SA_RESTART;
    look.sa_handler = [](int) {
        if (standstill.look(*counted)) {
            std::signal(SIGPROF, SIG_DFL);
            raise(SIGPROF); // when this returns
        }
    };
    sigaction(SIGPROF, &look, nullptr);
    const unsigned us = std::max(1u, cpu_ms * 1000 / Standstill::looks);
    const timeval every{us / 1'000'000, static_cast<suseconds_t>(us % 1'000'000)};
    const itimerval t{every, every};
    setitimer(ITIMER_PROF, &t, nullptr);
}

void write_all(int fd, std::string_view text)
{
    while (!text.empty()) {
        const ssize_t n = write(fd, text.data(), text.size());
        if (n < 0 && errno != EINTR)
            return;
        text.remove_prefix(n > 0 ? static_cast<size_t>(n) : 0);
    }
}

void* shared_memory(size_t bytes)
{
    void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        give_up("dmaudit: no memory to share with a child process");
    return p;
}

} // namespace dmaudit
