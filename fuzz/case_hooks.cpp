// What a fuzzing engine calls, for every target made of cases.
#include "fuzz/engine.hpp"

#include <algorithm>
#include <string_view>

using namespace dmaudit::fuzz;

extern "C" {
int LLVMFuzzerInitialize(int* argc, char*** argv);
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t* a, size_t a_size, const uint8_t* b, size_t b_size, uint8_t* out,
                                 size_t max, unsigned seed);
}

namespace {
bool replay = false; // inputs stay as they are: what is measured then is running them
}

// `--replay`: libFuzzer takes no notice of options that begin so.
int LLVMFuzzerInitialize(int* argc, char*** argv)
{
    for (int i = 1; i < *argc; i++)
        replay |= std::string_view((*argv)[i]) == "--replay";
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size)
{
    run(target, {data, size});
    return 0;
}

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
