#!/usr/bin/env bash
# How small do findings get? Every seeded bug of the allocator is searched for at random, and what is found is minimised as `dmaudit fuzz`
# does. A bug shows in several ways, some of which need more steps; the search ends when a finding has at most six steps, or its
# witness's plus one if that has six or more, or when RUNS cases (1,000,000) have run. A line for each bug that is not; the last line counts.
#
#   minimised.sh DMAUDIT FOLDER_OF_SHARED_OBJECTS [RUNS [SEED [ID...]]]
set -u
(($# >= 2)) && [[ -x $1 && -d $2 ]] || { echo "usage: minimised.sh DMAUDIT FOLDER_OF_SHARED_OBJECTS [RUNS [SEED [ID...]]]" >&2; exit 2; }
dmaudit=$1 objects=$2 most=${3:-1000000} seed=${4:-1}
shift $(($# < 4 ? $# : 4))
patches=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/allocator
(($# > 0)) || set -- $(cd "$patches" && printf '%s\n' *.patch | sed 's/\.patch$//')
findings=$(mktemp -d)
trap 'rm -rf "$findings"' EXIT
missed=0 cases=0 large=0 unproven=0
declare -A sizes=()
max_steps=1000 # more than a case can have
look() {
    timeout $((60 + runs / 500)) "$dmaudit" fuzz "$@" --provider "$objects/$id.so" --profile mixed --runs "$runs" --seed "$seed" \
        --findings "$findings/$id" >"$findings/out" 2>&1
}
steps_of() { # of each finding of the bug
    local case
    for case in "$findings/$id"/*.dma; do
        [[ ! -e $case ]] || grep -cvE '^(#|world |device |expect |$)' "$case"
    done
}
for id; do
    depth=$(sed -n 's/^Depth: *//p' "$patches/$id.patch")
    enough=$((depth >= 6 ? depth + 1 : 6))
    for ((runs = 100; ; runs *= 10)); do
        ((runs < most)) || runs=$most
        look || (($? < 124)) || look --isolate # only a bug that takes the process down needs children: they cost many times as much
        least=$(steps_of | sort -n | head -n 1)
        ((${least:-$max_steps} <= enough || runs >= most)) && break
    done
    for steps in $(steps_of); do
        cases=$((cases + 1)) sizes[$steps]=$((${sizes[$steps]:-0} + 1))
    done
    if [[ -z $least ]]; then
        missed=$((missed + 1))
        echo "$id: nothing found in $runs cases"
    elif ((least > enough)); then
        large=$((large + 1))
        echo "$id: $least steps, its witness has $depth"
    fi
    grep -q 'not proven' "$findings/out" && { echo "$id: not proven minimal"; unproven=$((unproven + 1)); }
done
printf 'steps: findings'
for steps in $(printf '%s\n' "${!sizes[@]}" | sort -n); do printf '  %s: %s' "$steps" "${sizes[$steps]}"; done
printf '\n%s seeded bugs, %s not found; %s findings, of %s bugs none is small enough; %s bugs with findings not proven minimal\n' \
    "$#" "$missed" "$cases" "$large" "$unproven"
((missed == 0 && large == 0))
