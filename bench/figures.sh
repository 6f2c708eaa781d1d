#!/usr/bin/env bash
# Every figure of docs/figures.md but the campaigns, one after the other, each under the command that prints it; about ten
# minutes on two cores that do nothing else. Presets `release` and `fuzz` must have been built.
#
#   bench/figures.sh [PART...]     parts: audit fuzz verify map pool mapping; default: all of them
set -euo pipefail
cd "$(dirname "$0")/.."
for program in build/{release,fuzz}/bin/{audit_bench,fuzz_streaming,dmaudit}; do
    [[ -x $program ]] || { echo "figures.sh: $program is missing: build the presets release and fuzz" >&2; exit 2; }
done
(($# > 0)) || set -- audit fuzz verify map pool mapping

show() { printf '\n$ %s\n' "$*"; "$@"; }

# Executions per second of CPU time, start-up included: the best of five runs and the median.
per_second() { # target, runs, flags
    local target=$1 runs=$2 seeds times
    shift 2
    seeds=$(printf '%s,' corpus/"$target"/*)
    times=$(for _ in 1 2 3 4 5; do
        TIMEFORMAT='%U %S'
        { time "build/fuzz/bin/$target" -seed_inputs="${seeds%,}" -runs="$runs" -seed=1 -max_len=2048 "$@" >/dev/null 2>&1; } 2>&1 |
            awk '{print $1 + $2}'
    done | sort -n)
    awk -v what="$target $*" -v n="$runs" '{t[NR] = $1} END {printf "%-55s best %.0f/s, median %.0f/s\n", what, n / t[1], n / t[3]}' <<<"$times"
}

for part; do
    case $part in
    audit)
        show build/release/bin/audit_bench
        show build/fuzz/bin/audit_bench
        ;;
    fuzz)
        printf '\n$ build/fuzz/bin/TARGET -seed_inputs=$(ls corpus/TARGET/* | paste -sd,) -runs=RUNS -seed=1 -max_len=2048 FLAGS\n'
        for target in fuzz_streaming fuzz_pool fuzz_dma_buf fuzz_all; do
            per_second $target 100000 --replay -entropic=0 -reduce_inputs=0
            per_second $target 60000 -entropic=0 # as in the options files
        done
        ;;
    verify)
        printf '\n$ build/release/bin/dmaudit verify --scope SCOPE --facet FACET --depth DEPTH --threads 2\n'
        while read -r scope facet depth; do
            build/release/bin/dmaudit verify --scope "$scope" --facet "$facet" --depth "$depth" --threads 2 |
                awk -v what="$scope $facet $depth" '/states,/ || /cases\/s/ || /finding/ {line = line "  " $0} END {print what ":" line}'
        done <<'SCOPES'
small streaming 3
small coherent 3
small pool 6
small handles 5
small noncoherent 3
small scatter 3
small managed 4
small dma_buf 3
deep streaming 5
deep coherent 5
deep pool 6
deep handles 4
deep noncoherent 3
deep scatter 5
deep managed 4
deep dma_buf 4
deep all 2
iommu streaming 3
iommu coherent 3
iommu scatter 3
iommu dma_buf 2
bounce streaming 3
bounce scatter 3
bounce dma_buf 2
SCOPES
        ;;
    map) show build/release/bin/shadow_map_bench ;;
    pool) show build/release/bin/pool_bench --benchmark_min_time=0.1 ;;
    mapping) show build/release/bin/mapping_bench --benchmark_min_time=0.2 ;;
    *) echo "figures.sh: no part $part; expected audit, fuzz, verify, map, pool or mapping" >&2; exit 2 ;;
    esac
done
