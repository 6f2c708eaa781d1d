/* What a seeded bug counts, in the manner of Magma: how often its code ran, and how often that made a difference.
 *
 * Patches call mutants::reached() where the faulty code runs and mutants::triggered() where the state becomes other than
 * the correct code would have made it. Both are told apart because they tell apart why a bug was not found: the engine
 * did not get there, did not make the condition true, or nobody looked at the consequence.
 *
 * The build includes this file in every source that it compiles for a mutant; a patch need not. */
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
/* Exported by a mutant's shared object, besides the provider's table. */
extern __attribute__((visibility("default"))) uint64_t dmaudit_mutant_reached, dmaudit_mutant_triggered;
extern __attribute__((visibility("default"))) void dmaudit_mutant_reset(void);
#ifdef __cplusplus
}

namespace mutants {

inline void reached() noexcept
{
    __atomic_fetch_add(&dmaudit_mutant_reached, 1, __ATOMIC_RELAXED);
}
inline void triggered() noexcept
{
    __atomic_fetch_add(&dmaudit_mutant_triggered, 1, __ATOMIC_RELAXED);
}
// The same, where `differs` says whether it made a difference; returns that.
inline bool triggered(bool differs) noexcept
{
    if (differs)
        triggered();
    return differs;
}

} // namespace mutants
#endif
