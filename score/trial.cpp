#include "score/trial.hpp"

#include "harness/report.hpp"

#include <chrono>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <fmt/core.h>
#include <map>
#include <new>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace dmaudit::score {
namespace {

using Clock = std::chrono::steady_clock;
double since(Clock::time_point t)
{
    return std::chrono::duration<double>(Clock::now() - t).count();
}

// A child and what it shares with us.
struct Child {
    size_t job = 0;
    pid_t pid = -1;
    int ended = -1;  // a descriptor that can be read when it has ended
    int page = -1;   // of the progress
    int output = -1; // what it printed
    Progress* progress = nullptr;
    Clock::time_point begun, moved; // ... and when `executions` last changed
    uint64_t executions = 0;
    enum { alive, too_long, hangs } killed = alive;
};

[[noreturn]] void be(const Job& job, const Child& c)
{
    const int nothing = open("/dev/null", O_RDWR);
    dup2(nothing, STDIN_FILENO);
    dup2(c.output, STDOUT_FILENO);
    dup2(c.output, STDERR_FILENO);
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
    const rlimit no_core{0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    job.engine->run(job, *c.progress, c.page);
    _exit(0);
}

std::string last_line(int fd)
{
    char text[2048];
    const off_t size = lseek(fd, 0, SEEK_END);
    const off_t from = size > off_t{sizeof text} ? size - off_t{sizeof text} : 0;
    const ssize_t n = pread(fd, text, sizeof text, from);
    std::string_view all(text, n > 0 ? static_cast<size_t>(n) : 0);
    while (all.ends_with('\n'))
        all.remove_suffix(1);
    const size_t at = all.rfind('\n');
    return std::string(at == all.npos ? all : all.substr(at + 1));
}

// A program that ended by itself before its first execution, without a word of the subject: its own trouble.
bool never_ran(const Progress& p, int status)
{
    return WIFEXITED(status) && WEXITSTATUS(status) != 0 && p.executions == 0 && p.reached == 0;
}

Trial verdict(const Child& c, uint64_t budget, int status, const rusage& used)
{
    const Progress& p = *c.progress;
    Trial t;
    t.executions = p.executions;
    t.first_reached = p.first_reached, t.first_triggered = p.first_triggered;
    t.reached = p.reached, t.triggered = p.triggered;
    const auto seconds = [](const timeval& v) {
        return static_cast<double>(v.tv_sec) + static_cast<double>(v.tv_usec) * 1e-6;
    };
    t.seconds = seconds(used.ru_utime) + seconds(used.ru_stime);
    if (p.state == Progress::found) {
        const BugKey key{static_cast<RuleId>(p.rule), p.byte_state, p.op};
        t.outcome = Trial::violation;
        t.rule = key.rule;
        const std::string lines = key_lines(key);
        constexpr std::string_view token = "DEDUP_TOKEN: ";
        if (const size_t at = lines.find(token); at != lines.npos)
            t.key = lines.substr(at + token.size(), lines.find('\n', at) - at - token.size());
    } else if (c.killed == Child::hangs) {
        t.outcome = Trial::hung;
        t.rule = RuleId::no_progress;
    } else if (c.killed == Child::too_long) {
        t.outcome = Trial::cut_short;
    } else if (p.state == Progress::unusable || (WIFEXITED(status) && WEXITSTATUS(status) == 2) ||
               p.state == Progress::begun || never_ran(p, status)) {
        t.outcome = Trial::unusable;
        t.problem = last_line(c.output);
        if (t.problem.empty())
            t.problem = "ended before it began";
    } else if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && (p.state == Progress::over || p.executions >= budget)) {
        t.outcome = Trial::missed;
    } else {
        t.outcome = Trial::crashed;
        t.problem = WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : last_line(c.output);
        if (t.problem.empty())
            t.problem = "the process ended in the middle";
    }
    return t;
}

} // namespace

void run_trials(const std::vector<Job>& jobs, unsigned at_once, const Limits& limits,
                const std::function<void(size_t, const Trial&)>& done, const std::function<bool()>& stop)
{
    std::map<pid_t, Child> children;
    size_t next = 0;
    const auto start = [&] {
        Child c;
        c.job = next++;
        const Job& job = jobs[c.job];
        if (const std::string problem = engine_problem(job); !problem.empty()) {
            Trial t;
            t.problem = problem;
            return done(c.job, t);
        }
        c.page = memfd_create("progress", 0); // inherited by programs too
        c.output = memfd_create("output", MFD_CLOEXEC);
        if (c.page < 0 || c.output < 0 || ftruncate(c.page, sizeof(Progress)) != 0)
            throw std::bad_alloc();
        void* at = mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED, c.page, 0);
        if (at == MAP_FAILED)
            throw std::bad_alloc();
        c.progress = new (at) Progress;
        std::fflush(nullptr); // else the child prints it again
        c.begun = c.moved = Clock::now();
        c.pid = fork();
        if (c.pid == 0)
            be(job, c);
        if (c.pid < 0)
            throw std::bad_alloc();
        c.ended = static_cast<int>(syscall(SYS_pidfd_open, c.pid, 0)); // the C library has it from 2.36 on
        children[c.pid] = c;
    };
    const auto finish = [&](Child& c) {
        int status = 0;
        rusage used{};
        wait4(c.pid, &status, 0, &used);
        const Trial t = verdict(c, jobs[c.job].budget, status, used);
        munmap(c.progress, sizeof(Progress));
        for (const int fd : {c.page, c.output, c.ended})
            close(fd);
        done(c.job, t);
    };
    while (!stop() && (next < jobs.size() || !children.empty())) {
        while (next < jobs.size() && children.size() < at_once)
            start();
        std::vector<pollfd> ends;
        for (const auto& [pid, c] : children)
            ends.push_back({c.ended, POLLIN, 0});
        poll(ends.data(), ends.size(), 500);
        size_t i = 0;
        for (auto it = children.begin(); it != children.end(); i++) {
            Child& c = it->second;
            if (ends[i].revents) {
                finish(c);
                it = children.erase(it);
                continue;
            }
            if (c.progress->executions != c.executions)
                c.executions = c.progress->executions, c.moved = Clock::now();
            if (c.killed == Child::alive && (since(c.moved) > limits.hang || since(c.begun) > limits.trial)) {
                c.killed = since(c.moved) > limits.hang ? Child::hangs : Child::too_long;
                kill(c.pid, SIGKILL);
            }
            ++it;
        }
    }
    const auto interrupted = [&](size_t job) {
        Trial t;
        t.problem = Trial::interrupted;
        done(job, t);
    };
    for (auto& [pid, c] : children) {
        kill(pid, SIGKILL);
        waitpid(pid, nullptr, 0);
        munmap(c.progress, sizeof(Progress));
        for (const int fd : {c.page, c.output, c.ended})
            close(fd);
        interrupted(c.job);
    }
    while (next < jobs.size())
        interrupted(next++);
}

} // namespace dmaudit::score
