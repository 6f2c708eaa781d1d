// Runs cases with parts of the harness switched off, to learn what each part is worth.
#pragma once
#include "harness/campaign.hpp"

#include <string>

namespace dmaudit {

struct Switches {
    bool shadow = true;   // off: no byte states, line rules or checks of results; what is read is still compared
    bool oracles = true;  // off: nothing counts but crashes, hangs and sanitizers (the shadow is off too)
    bool views = true;    // off: memory is one: devices see what the CPU sees
    bool swarm = true;    // off: every case prefers the same ops, and so does the mutator
    bool mutation = true; // off: libFuzzer's own mutators on bytes
    bool all_on() const { return shadow && oracles && views && swarm && mutation; }
};
struct Switch {
    std::string_view name, effect; // when off
    bool Switches::*member;
};
std::span<const Switch> switches();
// "shadow,views" turns these two off. False: there is no such switch.
bool switch_off(std::string_view names, Switches&);

class Judge {
  public:
    // `reference`: a sound provider; without the shadow it says which steps are legal (of what the subject has, too).
    Judge(const dmaudit_provider& subject, const dmaudit_provider& reference, Switches);

    // The violation that counts, if any. `cells` as for execute().
    std::optional<BugKey> run(const Case&, uint8_t* cells = nullptr);
    bool refuses_to_open() const { return open_error_ != 0; } // the last case's world

  private:
    const dmaudit_provider& subject_;
    dmaudit_provider reference_;
    Switches switches_;
    Session session_, other_; // of the subject; of the reference
    Case legal_;
    int open_error_ = 0;
};

} // namespace dmaudit
