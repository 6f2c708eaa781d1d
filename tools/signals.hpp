// Signals: those that end a search with its summary, and those that a provider dies of.
#pragma once
#include <csignal>
#include <string_view>
#include <unistd.h>

namespace dmaudit {

inline volatile sig_atomic_t stopped_by = 0; // the signal's number; 0: none came

// Ctrl-C and the like end what runs at the next point where it can stop; a second Ctrl-C ends the process. SIGTERM may
// come twice for one stop: timeout(1) sends it to its child, and then to the child's group. A provider that hangs in
// this process is waited for ten seconds; in a child it has a limit of its own.
inline void stop_at_signals(bool in_children = false)
{
    struct sigaction stop {};
    stop.sa_handler = [](int number) { stopped_by = number; };
    if (!in_children)
        stop.sa_handler = [](int number) {
            stopped_by = number;
            alarm(10);
        };
    sigaction(SIGTERM, &stop, nullptr);
    stop.sa_flags = static_cast<int>(SA_RESETHAND);
    sigaction(SIGINT, &stop, nullptr);
}

// A provider that dies takes this process along.
inline void hint_at_crash()
{
    for (const int number : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) {
        struct sigaction now {};
        if (sigaction(number, nullptr, &now) != 0 || now.sa_handler != SIG_DFL)
            continue; // a sanitizer has more to say
        now.sa_flags = static_cast<int>(SA_RESETHAND);
        now.sa_handler = [](int caught) {
            constexpr std::string_view text = "dmaudit: a signal ends the run, most likely in the provider: with "
                                              "`--isolate` it becomes a finding\n";
            [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
            raise(caught);
        };
        sigaction(number, &now, nullptr);
    }
}

} // namespace dmaudit
