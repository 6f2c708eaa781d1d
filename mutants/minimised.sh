#!/usr/bin/env bash
# How small do findings get? Every seeded bug of the allocator is searched for at random, until something is found or RUNS cases
# (1,000,000) have run, and what was found is minimised as `dmaudit fuzz` does. A bug shows in several ways; it is small enough if one
# of them has at most six steps, or as many as its witness plus one. A line for each bug that is not; the last line counts.
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
look() {
    timeout 600 "$dmaudit" fuzz "$@" --provider "$objects/$id.so" --profile mixed --runs "$runs" --seed "$seed" \
        --findings "$findings/$id" >"$findings/out" 2>&1
}
for id; do
    depth=$(sed -n 's/^Depth: *//p' "$patches/$id.patch")
    for ((runs = 100; ; runs *= 10)); do
        ((runs < most)) || runs=$most
        # Children cost many times as much: they make the first cases, and later only those of a bug that takes the process down.
        if ((runs <= 1000)); then
            look --isolate
        else
            look || (($? < 124)) || look --isolate
        fi
        compgen -G "$findings/$id/*.dma" >/dev/null && break
        ((runs < most)) || { echo "$id: nothing found in $runs cases"; missed=$((missed + 1)); break; }
    done
    least=0
    for case in "$findings/$id"/*.dma; do
        [[ -e $case ]] || continue
        steps=$(grep -cvE '^(#|world |device |expect |$)' "$case")
        cases=$((cases + 1)) sizes[$steps]=$((${sizes[$steps]:-0} + 1))
        ((least > 0 && least <= steps)) || least=$steps
    done
    if ((least > 6 && least > depth + 1)); then
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
