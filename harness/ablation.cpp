#include "harness/ablation.hpp"

namespace dmaudit {
namespace {

constexpr Switch all_switches[] = {
    {"shadow", "no byte states, line rules or checks of results; reads are still compared", &Switches::shadow},
    {"oracles", "nothing counts but crashes, hangs and sanitizers", &Switches::oracles},
    {"views", "memory is one: devices see what the CPU sees", &Switches::views},
    {"swarm", "every case prefers the same ops", &Switches::swarm},
    {"mutation", "libFuzzer's own mutators, on bytes", &Switches::mutation},
};

} // namespace

std::span<const Switch> switches()
{
    return all_switches;
}

bool switch_off(std::string_view names, Switches& s)
{
    while (!names.empty()) {
        const std::string_view name = names.substr(0, names.find(','));
        names.remove_prefix(std::min(names.size(), name.size() + 1));
        bool known = false;
        for (const Switch& w : all_switches)
            if (w.name == name)
                known = true, s.*w.member = false;
        if (!known)
            return false;
    }
    return true;
}

std::optional<BugKey> Judge::run(const Case& c, uint8_t* cells)
{
    const bool shadow = switches_.shadow && switches_.oracles;
    session_.ablate(shadow, switches_.views);
    const Case* run = &c;
    if (!shadow) { // nobody would skip what is illegal
        legal_ = c;
        legal_.world.mode = Mode::conforming;
        other_.only_known_reads(true);
        const Result r = execute(legal_, reference_, other_);
        legal_.count = 0;
        for (unsigned i = 0; i < c.count; i++)
            if (r.executed[i])
                legal_.steps[legal_.count++] = c.steps[i];
        run = &legal_;
    }
    const Result r = execute(*run, subject_, session_, nullptr, cells);
    open_error_ = r.open_error;
    if (!r.violation || !switches_.oracles || !counts(*run, *r.violation))
        return {};
    if (!shadow && !session_.found_without_auditor())
        return {};
    return key_of(*run, r);
}

} // namespace dmaudit
