// What makes a mutant of the built-in provider a plugin.
#include "mutants/counters.h"
#include "providers/builtin/builtin.hpp"

extern "C" {

uint64_t dmaudit_mutant_reached = 0, dmaudit_mutant_triggered = 0;

void dmaudit_mutant_reset(void)
{
    dmaudit_mutant_reached = dmaudit_mutant_triggered = 0;
}

// By another name here: gcc does not like a function that hides a struct's.
__attribute__((visibility("default"))) const struct dmaudit_provider*
provider_of_the_mutant(void) __asm__(DMAUDIT_PROVIDER_SYMBOL);
const struct dmaudit_provider* provider_of_the_mutant(void)
{
    return &dmaudit::builtin_provider();
}
}
