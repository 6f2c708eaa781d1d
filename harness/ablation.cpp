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

Judge::Judge(const dmaudit_provider& subject, const dmaudit_provider& reference, Switches s)
    : subject_(subject), reference_(reference), switches_(s)
{
    const auto keep = [](auto& facet, auto of_subject) {
        if (!of_subject)
            facet = nullptr;
    };
    keep(reference_.coherent, subject.coherent);
    keep(reference_.streaming, subject.streaming);
    keep(reference_.pool, subject.pool);
    keep(reference_.scatter, subject.scatter);
    keep(reference_.managed, subject.managed);
    keep(reference_.dma_buf, subject.dma_buf);
    keep(reference_.parameters, subject.parameters);
    reference_.promises &= subject.promises;
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
        const auto reaches_a_call = [&](unsigned i) { // a fault that was meant for a call which is left out must go, too
            while (i < c.count && specs()[c.steps[i].op].actor == Actor::machine)
                i++;
            return i < c.count && r.executed[i];
        };
        for (unsigned i = 0; i < c.count; i++)
            if (r.executed[i] && (specs()[c.steps[i].op].actor != Actor::machine || reaches_a_call(i)))
                legal_.steps[legal_.count++] = c.steps[i];
        run = &legal_;
    }
    const Result r = execute(*run, subject_, session_, nullptr, cells);
    open_error_ = r.open_error;
    if (!r.violation || !switches_.oracles || !counts(*run, *r.violation))
        return {};
    if (!shadow) {
        if (!session_.found_without_auditor())
            return {};
        for (unsigned i = 0; i < r.step; i++) // the subject lacks a call: what the reference holds for legal is not, then
            if (!r.executed[i])
                return {};
    }
    return key_of(*run, r);
}

} // namespace dmaudit
