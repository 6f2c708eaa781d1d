// Proves the seeded bugs of the allocator: the witness of each fails on it, by the rule that was declared, and not on
// the unpatched code; the faulty code was reached, and made a difference.
// No step of the witness can be left out.
//
//   mutant_prove FOLDER_OF_PATCHES FOLDER_OF_SHARED_OBJECTS [ID...]
#include "harness/report.hpp"
#include "harness/smaller.hpp"
#include "providers/builtin/builtin.hpp"
#include "providers/plugin/plugin.hpp"
#include "score/patch_header.hpp"
#include "tools/files.hpp"

#include <algorithm>
#include <dlfcn.h>
#include <filesystem>
#include <fmt/core.h>
#include <optional>
#include <sys/wait.h>
#include <unistd.h>

namespace dmaudit {
namespace {

constexpr unsigned most_seconds = 30; // for one witness: a mutant that hangs is a mutant that is found by nobody

// The counters are the shared object's own: see counters.h.
struct Counters {
    uint64_t *reached, *triggered;
    void (*reset)();
    explicit Counters(const std::string& path)
    {
        void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL); // loaded already: the same object
        reached = static_cast<uint64_t*>(dlsym(handle, "dmaudit_mutant_reached"));
        triggered = static_cast<uint64_t*>(dlsym(handle, "dmaudit_mutant_triggered"));
        reset = std::bit_cast<void (*)()>(dlsym(handle, "dmaudit_mutant_reset"));
    }
};

bool by_client(const Result& r)
{
    return r.violation && rule(r.violation->rule).fault == Fault::client;
}

std::string_view found(const Result& r)
{
    return r.open_error ? "a provider that does not open" : r.violation ? rule(r.violation->rule).name : "no violation";
}

// Does the case break a rule that was declared, and the unpatched code none but by a mistake of the client?
bool shows(const Case& c, const PatchHeader& header, const dmaudit_provider& mutant, Session& session)
{
    const Result wrong = execute(c, mutant, session);
    if (!wrong.violation || by_client(wrong) ||
        std::find(header.expect.begin(), header.expect.end(), rule(wrong.violation->rule).name) == header.expect.end())
        return false;
    const Result right = execute(c, builtin_provider(), session);
    return !right.violation || by_client(right);
}

// A step without which the case shows the bug too, or nothing. Each try in a process of its own: what the bug destroys
// there is not what the witness is for.
std::optional<unsigned> superfluous(const Case& c, const PatchHeader& header, const dmaudit_provider& mutant,
                                    Session& session)
{
    for (unsigned i = 0; i < c.count; i++) {
        std::fflush(nullptr);
        const pid_t child = fork();
        if (child == 0) {
            close(STDERR_FILENO);
            _exit(shows(without(c, i, 1), header, mutant, session) ? 10 : 0);
        }
        int status = 0;
        waitpid(child, &status, 0);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 10)
            return i;
    }
    return {};
}

// What is wrong with a mutant, or nothing.
std::string complaint(const std::string& patch, const std::string& object)
{
    const std::string id = std::filesystem::path(patch).stem(),
                      witness = std::filesystem::path(patch).replace_extension(".dma");
    const PatchHeader header = read_patch_header(patch);
    if (!header.error.empty())
        return header.error;
    if (header.id != id)
        return fmt::format("Id is {}, expected {}", header.id, id);
    const Loaded loaded = load_case(witness);
    if (!loaded.ok)
        return loaded.error;
    const Case& c = loaded.value;
    if (c.expect.kind != Expect::violation ||
        std::find(header.expect.begin(), header.expect.end(), rule(c.expect.rule).name) == header.expect.end())
        return "the witness expects none of the rules in Expect";
    if (c.count != header.depth)
        return fmt::format("Depth is {}, and the witness has {} steps", header.depth, c.count);

    Session session;
    // The witness may contain a mistake of the client, which the provider promises to detect.
    if (const Result right = execute(c, builtin_provider(), session);
        right.open_error || (right.violation && !by_client(right)))
        return fmt::format("the unpatched code: expected nothing by the provider, found {}", found(right));
    auto opened = Plugin::open(object);
    if (const auto* error = std::get_if<std::string>(&opened))
        return *error;
    const dmaudit_provider& provider = std::get<Plugin>(opened).provider();
    const Counters counters(object);
    for (int again = 0; again < 2; again++) {
        counters.reset();
        const Result wrong = execute(c, provider, session);
        if (!wrong.as_expected(c.expect))
            return fmt::format("the mutant: expected {}, found {}", rule(c.expect.rule).name, found(wrong));
        if (*counters.reached == 0 || *counters.triggered == 0)
            return fmt::format("reached {} times and triggered {} times, expected both", *counters.reached,
                               *counters.triggered);
    }
    if (const auto step = superfluous(c, header, provider, session))
        return fmt::format("the witness fails without its step {} too", *step);
    return {};
}

// In a process of its own: what a mutant destroys is nobody else's.
bool proves(const std::string& patch, const std::string& object)
{
    std::fflush(nullptr);
    const pid_t child = fork();
    if (child == 0) {
        alarm(most_seconds);
        const std::string bad = complaint(patch, object);
        if (!bad.empty())
            fmt::print("{}: {}\n", patch, bad);
        std::fflush(nullptr);
        _exit(bad.empty() ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status))
        fmt::print("{}: died of signal {}\n", patch, WTERMSIG(status));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int prove(int argc, char** argv)
{
    if (argc < 3) {
        fmt::print(stderr, "usage: mutant_prove FOLDER_OF_PATCHES FOLDER_OF_SHARED_OBJECTS [ID...]\n");
        return 2;
    }
    std::vector<std::string> ids(argv + 3, argv + argc);
    if (ids.empty()) {
        for (const auto& entry : std::filesystem::directory_iterator(argv[1]))
            if (entry.path().extension() == ".patch")
                ids.push_back(entry.path().stem());
            else if (!std::filesystem::exists(std::filesystem::path(entry.path()).replace_extension(".patch"))) {
                fmt::print("{}: a witness without its patch\n", entry.path().string());
                return 1;
            }
        std::sort(ids.begin(), ids.end());
    }
    size_t proven = 0;
    for (const std::string& id : ids)
        proven += proves(fmt::format("{}/{}.patch", argv[1], id), fmt::format("{}/{}.so", argv[2], id));
    fmt::print("{} of {} seeded bugs proven\n", proven, ids.size());
    return proven == ids.size() && proven != 0 ? 0 : 1;
}

} // namespace
} // namespace dmaudit

int main(int argc, char** argv)
{
    return dmaudit::prove(argc, argv);
}
