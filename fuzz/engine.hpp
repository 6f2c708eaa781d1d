// The bench that the targets made of cases share: bytes -> case -> execute -> verdict. One session for the process,
// made at the first input: after a fork of the engine, never before.
#pragma once
#include "fuzz/targets.hpp"
#include "harness/ablation.hpp"
#include "harness/progress.hpp"
#include "providers/builtin/builtin.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

namespace dmaudit::fuzz {

// Each target program defines which it is.
extern const Target& target;

// Runs a case. A violation by the provider or the tool ends the process: report on stderr, then abort(). So does one by
// the client in a conforming target; in a hostile one it is what is expected. One target for the life of the process.
void run(const Target&, std::span<const uint8_t> bytes, const dmaudit_provider& provider = builtin_provider());

// Somebody watches: run() counts in the shared page, and says there what it found before the process ends.
struct Watch {
    Progress* progress = nullptr;
    Canary canary;
    Judge* judge = nullptr; // null: nothing is switched off
    bool quiet = false;     // the page says it all: no report
};
void watch(const Watch&);
void use_swarm(bool on); // in the mutator; at first it is on

// Same contract as the hooks of libFuzzer; any size, also greater than `max`.
size_t mutate_bytes(const Target&, uint8_t* data, size_t size, size_t max, unsigned seed);
size_t crossover_bytes(const Target&, std::span<const uint8_t> a, std::span<const uint8_t> b, uint8_t* out, size_t max,
                       unsigned seed);

// What run() tells the fuzzer besides coverage: for each (event, state class before) of the last case, bits.
std::span<const uint8_t> transitions();

} // namespace dmaudit::fuzz
