#!/usr/bin/env bash
# What OSS-Fuzz would find wrong with our targets, without its containers: builds with build.sh as OSS-Fuzz calls it, moves
# the result elsewhere, and tries every target. No broken target is tolerated.
#
#   gate.sh SCRATCH     SCRATCH is emptied. CC, CXX, CXXFLAGS_EXTRA (OSS-Fuzz: -stdlib=libc++) may be set.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scratch=${1:?usage: gate.sh SCRATCH}
rm -rf "$scratch"
mkdir -p "$scratch"/{src,work,out}
scratch=$(cd "$scratch" && pwd)
failures=0
fail() {
    echo "gate: $1: $2" >&2
    failures=$((failures + 1))
}

# ---- build, in the environment of the contract ----
ln -s "$(dirname "$here")" "$scratch/src/dmaudit"
cp "$here/build.sh" "$scratch/src/"
sanitizer_flags="-fsanitize=address -fsanitize-address-use-after-scope"
coverage_flags="-fsanitize=fuzzer-no-link"
cflags="-O1 -fno-omit-frame-pointer -gline-tables-only -DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION $sanitizer_flags $coverage_flags"
if ! env -i PATH="$PATH" HOME="$scratch" \
    SRC="$scratch/src" WORK="$scratch/work" OUT="$scratch/out" \
    CC="${CC:-clang}" CXX="${CXX:-clang++}" CCC="${CXX:-clang++}" \
    CFLAGS="$cflags" CXXFLAGS="$cflags ${CXXFLAGS_EXTRA:-}" \
    SANITIZER=address FUZZING_ENGINE=libfuzzer ARCHITECTURE=x86_64 FUZZING_LANGUAGE=c++ \
    LIB_FUZZING_ENGINE="-fsanitize=fuzzer" \
    bash -eux "$scratch/src/build.sh" >"$scratch/build.log" 2>&1; then
    tail -40 "$scratch/build.log" >&2
    echo "gate: build.sh failed" >&2
    exit 1
fi

# ---- nothing may depend on where it was built ----
mv "$scratch/out" "$scratch/elsewhere"
rm -rf "$scratch/work" "$scratch/src"
cd "$scratch/elsewhere"

targets=()
for file in *; do
    if [[ -f $file && -x $file && $file != *.* ]] && grep -q LLVMFuzzerTestOneInput "$file"; then
        targets+=("$file")
    fi
done
for main in "$here"/../fuzz/fuzz_*.cpp; do
    [[ -x $(basename "$main" .cpp) ]] || fail "$(basename "$main" .cpp)" "was not built"
done

# What the runners set.
export ASAN_OPTIONS="handle_abort=1:handle_segv=1:detect_leaks=1:detect_stack_use_after_return=1:allocator_may_return_null=1:quarantine_size_mb=10:detect_odr_violation=0:dedup_token_length=3:abort_on_error=1"
limits=(-rss_limit_mb=2560 -timeout=25 -artifact_prefix="$scratch/")

# run TARGET WHAT ARGS...: must exit with 0.
run() {
    local target=$1 what=$2
    shift 2
    if ! timeout 120 "./$target" "${limits[@]}" "$@" >"$scratch/$target.log" 2>&1; then
        fail "$target" "$what"
        tail -40 "$scratch/$target.log" >&2
        return 1
    fi
}

# count_calls PROGRAM: calls into the runtimes of ASan, UBSan and MSan.
count_calls() {
    objdump -dC --no-show-raw-insn "$1" | awk '/\tcallq? /{a += /__asan/; u += /__ubsan/; m += /__msan/} END {print a + 0, u + 0, m + 0}'
}
# ASan's runtime brings some of UBSan's along, how many depends on the version: what an empty target has is not ours.
own_ubsan=0
if command -v objdump >/dev/null; then
    echo 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }' >"$scratch/empty.cc"
    # shellcheck disable=SC2086 # these are lists of flags
    "${CXX:-clang++}" $cflags ${CXXFLAGS_EXTRA:-} "$scratch/empty.cc" -fsanitize=fuzzer -o "$scratch/empty_target"
    read -r _ own_ubsan _ <<<"$(count_calls "$scratch/empty_target")"
fi

for target in "${targets[@]}"; do
    [[ $target =~ ^[A-Za-z0-9_-]+$ ]] || fail "$target" "its name has characters that are not allowed"
    if command -v nm >/dev/null; then
        nm "$target" 2>/dev/null | grep ' T LLVMFuzzerTestOneInput$' >/dev/null || fail "$target" "is stripped"
    fi
    if foreign=$(ldd "$target" | grep -vE 'linux-vdso|ld-linux|lib(c|m|dl|rt|pthread|resolv|gcc_s|stdc\+\+|c\+\+|c\+\+abi)\.so' | grep .); then
        fail "$target" "needs shared libraries that the runners lack: $foreign"
    fi
    if grep -qF "$scratch/out" "$target"; then
        fail "$target" "contains the path of \$OUT"
    fi

    # Start-up, and whether it is instrumented.
    if run "$target" "does not start without seeds" -seed=1337 -runs=4; then
        grep -q 'Done 4 runs' "$scratch/$target.log" || fail "$target" "did not do its 4 runs"
        ! grep -q 'no interesting inputs' "$scratch/$target.log" || fail "$target" "is not instrumented"
        edges=$(sed -nE 's/.*Loaded [0-9]+ modules +\(([0-9]+) (inline 8-bit counters|guards).*/\1/p' "$scratch/$target.log" | head -1)
        ((${edges:-0} >= 100)) || fail "$target" "has ${edges:-no} edges, fewer than 100"
    fi
    run "$target" "does not run one input without a seed" -runs=1 || true
    : >"$scratch/empty"
    run "$target" "fails on an empty input" "$scratch/empty" || true
    printf 'input\n' >"$scratch/first"
    run "$target" "fails on what other engines feed first" "$scratch/first" || true

    # Sanitizers: this one, and no other.
    calls="objdump is missing"
    if command -v objdump >/dev/null; then
        read -r asan ubsan msan <<<"$(count_calls "$target")"
        calls="$asan asan calls, $((ubsan - own_ubsan)) ubsan, $msan msan"
        ((asan >= 1000)) || fail "$target" "$calls: too few of ASan"
        ((ubsan == own_ubsan && msan <= 3)) || fail "$target" "$calls: mixed sanitizers"
    fi

    # Seeds, dictionary, options.
    rm -rf "$scratch/seeds"
    mkdir "$scratch/seeds"
    if unzip -q -o "${target}_seed_corpus.zip" -d "$scratch/seeds"; then
        [[ -z $(find "$scratch/seeds" -type f -empty) ]] || fail "$target" "has empty seeds"
        run "$target" "fails on its seeds" -runs=0 "$scratch/seeds" || true
        grep -q 'INITED' "$scratch/$target.log" || fail "$target" "did not read its seeds"
    else
        fail "$target" "has no seeds"
    fi
    more=()
    if [[ -e $target.options ]]; then
        [[ $(head -1 "$target.options") == "[libfuzzer]" ]] || fail "$target" "its options do not begin with [libfuzzer]"
        while IFS='= ' read -r key value _; do
            case $key in
            "[libfuzzer]" | "") ;;
            dict)
                more+=("-dict=$value")
                [[ -e $value ]] || fail "$target" "its dictionary $value is not there"
                ;;
            *) more+=("-$key=$value") ;;
            esac
        done <"$target.options"
    fi
    mkdir -p "$scratch/new"
    if run "$target" "fails within 3000 runs" -seed=1337 -runs=3000 "${more[@]}" "$scratch/new" "$scratch/seeds"; then
        ! grep -qi 'ParseDictionaryFile: error\|unrecognized flag' "$scratch/$target.log" || fail "$target" "its options or its dictionary are not understood"
    fi
    rm -rf "$scratch/new"
    echo "gate: $target: ${edges:-no} edges, $calls, $(find "$scratch/seeds" -type f | wc -l) seeds"
done

((${#targets[@]} > 0)) || fail gate "there is no target"

# ---- the project files ----
for key in homepage language primary_contact main_repo; do
    grep -q "^$key:" "$here/project.yaml" || fail project.yaml "lacks $key"
done
unknown=$(grep -oE '^[a-z_]+:' "$here/project.yaml" | grep -vxE '(homepage|language|primary_contact|main_repo|fuzzing_engines|sanitizers|architectures|auto_ccs|help_url):' || true)
[[ -z $unknown ]] || fail project.yaml "unknown keys: $unknown"
grep -q '^FROM gcr.io/oss-fuzz-base/base-builder' "$here/Dockerfile" || fail Dockerfile "is not made from base-builder"
grep -q 'Apache License' "$here/Dockerfile" || fail Dockerfile "lacks the licence header"

if ((failures)); then
    echo "gate: $failures failures" >&2
    exit 1
fi
echo "gate: ${#targets[@]} targets, none broken"
