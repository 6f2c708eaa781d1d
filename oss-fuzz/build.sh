#!/bin/bash -eu
# Builds the fuzz targets into $OUT, with the compiler, flags and engine that the environment names. Needs CMake, Ninja and
# the headers of {fmt}; no network.
source=$SRC/dmaudit
build=$WORK/dmaudit

# Only the allocators are looked at; MemorySanitizer must see every write.
sanitize_harness=OFF
[[ ${SANITIZER:-} != memory ]] || sanitize_harness=ON

# The flags come from $CFLAGS and $CXXFLAGS alone (no build type), the engine from $LIB_FUZZING_ENGINE.
cmake -G Ninja -S "$source" -B "$build" \
    -DCMAKE_C_COMPILER="$CC" -DCMAKE_CXX_COMPILER="$CXX" -DCMAKE_BUILD_TYPE= \
    -DDMAUDIT_FUZZING_ENGINE="$LIB_FUZZING_ENGINE" -DDMAUDIT_FUZZ=ON -DDMAUDIT_SANITIZE_HARNESS=$sanitize_harness \
    -DDMAUDIT_TESTS=OFF -DDMAUDIT_BENCH=OFF -DDMAUDIT_LINUX=OFF -DDMAUDIT_TOOLS=OFF -DDMAUDIT_WERROR=OFF
cmake --build "$build" --target fuzz_targets

for main in "$source"/fuzz/fuzz_*.cpp; do
    target=$(basename "$main" .cpp)
    cp "$build/bin/$target" "$OUT/"
    for beside in options dict; do
        [[ ! -e $source/fuzz/$target.$beside ]] || cp "$source/fuzz/$target.$beside" "$OUT/"
    done
    seeds=("$source/corpus/$target"/*)
    if [[ $target == fuzz_case_text ]]; then # what once failed, as text
        seeds+=("$source"/corpus/regressions/*.dma)
    fi
    existing=()
    for seed in "${seeds[@]}"; do
        [[ ! -s $seed ]] || existing+=("$seed")
    done
    rm -f "$OUT/${target}_seed_corpus.zip"
    zip -q -X -j "$OUT/${target}_seed_corpus.zip" "${existing[@]}"
done
