// What makes a mutant of the built-in provider a plugin.
#include "mutants/counters.h"
#include "providers/builtin/builtin.hpp"

extern "C" {

uint64_t dmaudit_mutant_reached = 0, dmaudit_mutant_triggered = 0;

void dmaudit_mutant_reset(void)
{
    dmaudit_mutant_reached = dmaudit_mutant_triggered = 0;
}

__attribute__((visibility("default"))) const dmaudit_provider* dmaudit_provider(void);
const struct dmaudit_provider* dmaudit_provider(void)
{
    return &dmaudit::builtin_provider();
}
}
