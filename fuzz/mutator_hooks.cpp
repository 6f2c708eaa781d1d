// The structured mutator, as a fuzzing engine calls it. A target without this file is fuzzed by the engine's own.
#include "fuzz/engine.hpp"
#include "fuzz/hooks.hpp"

#include <algorithm>

using namespace dmaudit::fuzz;

extern "C" {
size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t* a, size_t a_size, const uint8_t* b, size_t b_size, uint8_t* out,
                                 size_t max, unsigned seed);
}

bool dmaudit::fuzz::replay = false;

size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max, unsigned seed)
{
    return replay && size && size <= max ? size : mutate_bytes(target, data, size, max, seed);
}

size_t LLVMFuzzerCustomCrossOver(const uint8_t* a, size_t a_size, const uint8_t* b, size_t b_size, uint8_t* out,
                                 size_t max, unsigned seed)
{
    if (replay && a_size && a_size <= max)
        return static_cast<size_t>(std::copy_n(a, a_size, out) - out);
    return crossover_bytes(target, {a, a_size}, {b, b_size}, out, max, seed);
}
