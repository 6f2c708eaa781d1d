// Signals: those that end a search with its summary, and those that a provider dies of.
#pragma once
#include <csignal>
#include <string_view>
#include <unistd.h>

namespace dmaudit {

inline volatile sig_atomic_t stopped_by = 0; // the signal's number; 0: none came

// Ctrl-C and the like end what runs at the next point where it can stop; a second one ends the process.
inline void stop_at_signals()
{
    struct sigaction stop {};
    stop.sa_flags = static_cast<int>(SA_RESETHAND);
    stop.sa_handler = [](int number) { stopped_by = number; };
    for (const int number : {SIGINT, SIGTERM})
        sigaction(number, &stop, nullptr);
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
            constexpr std::string_view text = "dmaudit: a signal ends the run, most likely in the provider: with `fuzz "
                                              "--isolate` it becomes a finding\n";
            [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
            raise(caught);
        };
        sigaction(number, &now, nullptr);
    }
}

} // namespace dmaudit
