// What a fuzzing engine calls, for every target made of cases; mutator_hooks.cpp has the rest.
#include "fuzz/engine.hpp"
#include "fuzz/hooks.hpp"

#include <string_view>

using namespace dmaudit::fuzz;

extern "C" {
int LLVMFuzzerInitialize(int* argc, char*** argv);
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
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
