// Everything, on any provider, watched from outside: what `dmaudit score` runs. Clients err in the cases that say so.
//   --provider=NAME|PATH   built in, or a shared object; its coverage counts where it was compiled for that
//   --progress=FD          a shared page (harness/progress.hpp) in which the run is told
//   --without=SWITCH,...   parts of the harness that are off (harness/ablation.hpp)
#include "fuzz/engine.hpp"
#include "providers/providers.hpp"

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <sys/mman.h>

using namespace dmaudit;

const fuzz::Target& fuzz::target = fuzz::any_provider;

extern "C" {
int LLVMFuzzerInitialize(int* argc, char*** argv);
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
}

namespace {

Chosen chosen;

[[noreturn]] void refuse(const std::string& why)
{
    std::fprintf(stderr, "fuzz_provider: %s\n", why.c_str());
    std::_Exit(2);
}

Progress* page(std::string_view fd)
{
    int number = -1;
    if (std::from_chars(fd.data(), fd.data() + fd.size(), number).ec != std::errc())
        refuse("--progress: expected the number of a file descriptor");
    void* at = mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED, number, 0);
    if (at == MAP_FAILED)
        refuse("--progress: the descriptor cannot be mapped");
    return static_cast<Progress*>(at);
}

} // namespace

// Before the fuzzing begins, so that a shared object's coverage counters are known to it from the start.
int LLVMFuzzerInitialize(int* argc, char*** argv)
{
    static Progress unwatched;
    fuzz::Watch w{&unwatched, {}, nullptr, false};
    std::string provider = "builtin";
    Switches switches;
    for (int i = 1; i < *argc; i++) {
        const std::string_view arg = (*argv)[i];
        const auto value = [&](std::string_view name) {
            return arg.starts_with(name) ? std::optional(arg.substr(name.size())) : std::nullopt;
        };
        if (const auto v = value("--provider="))
            provider = *v;
        else if (const auto fd = value("--progress="))
            w.progress = page(*fd), w.quiet = true;
        else if (const auto off = value("--without="); off && !switch_off(*off, switches))
            refuse("--without: no such switch");
    }
    chosen = choose_provider(provider);
    if (!chosen.provider)
        refuse(chosen.error);
    if (chosen.plugin)
        w.canary = {static_cast<const volatile uint64_t*>(chosen.plugin->symbol(Canary::reached_symbol)),
                    static_cast<const volatile uint64_t*>(chosen.plugin->symbol(Canary::triggered_symbol))};
    if (!switches.all_on()) {
        static Judge judge(*chosen.provider, builtin_provider(), switches);
        w.judge = &judge;
    }
    fuzz::use_swarm(switches.swarm);
    fuzz::watch(w);
    w.progress->state = Progress::running;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size)
{
    fuzz::run(fuzz::target, {data, size}, *chosen.provider);
    return 0;
}
