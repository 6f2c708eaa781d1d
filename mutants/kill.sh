#!/usr/bin/env bash
# Every seeded bug of the checker must be noticed: each test program that a patch names has to fail with it.
#
#   kill.sh SOURCE_DIR FOLDER_OF_PROGRAMS
set -u
source=$1
programs=$2
killed=0 all=0 bad=0
for patch in "$source"/mutants/checker/*.patch; do
    id=$(basename "$patch" .patch)
    killers=$(sed -n 's/^Killed-by: *//p' "$patch")
    for killer in ${killers//,/ }; do
        all=$((all + 1))
        program=$programs/$id.$killer
        [[ -x $program ]] || { echo "$patch: no program $program" >&2; bad=1; continue; }
        if [[ $killer == regressions ]]; then
            run=("$source/corpus/replay.sh" "$program" "$source/corpus/regressions")
        elif [[ $killer == mutant_prove ]]; then
            run=("$program" "$source/mutants/allocator" "$(dirname "$programs")")
        else
            run=("$program" --gtest_brief=1)
        fi
        timeout 60 "${run[@]}" >/dev/null 2>&1
        code=$?
        case $code in
        0) echo "$patch: survives $killer" >&2; bad=1 ;;
        2 | 124 | 126 | 127) echo "$patch: $killer ended with code $code, which shows nothing" >&2; bad=1 ;;
        *) killed=$((killed + 1)) ;;
        esac
    done
done
echo "$killed of $all killed"
exit "$bad"
