#!/usr/bin/env bash
# docs/compared.md: each row's case is there and expects the rule of the row; each case of the two folders has a row; and
# they do what they expect.
#
#   compared_test.sh DMAUDIT SOURCE_DIR
set -u
(($# == 2)) && [[ -x $1 ]] || { echo "usage: compared_test.sh DMAUDIT SOURCE_DIR" >&2; exit 2; }
dmaudit=$(realpath "$1")
cd "$2/corpus/regressions" || exit 2
bad=0
complain() {
    echo "$*" >&2
    bad=1
}
declare -A named=()
rows=0
while IFS='|' read -r _ _ _ rule case _; do
    rule=${rule//[\` ]/} case=${case//[\` ]/}
    [[ $case == */* || $case == rule-* ]] || continue
    rows=$((rows + 1))
    named[$case]=1
    [[ -f $case.dma ]] || { complain "docs/compared.md: $case: no such case"; continue; }
    expected=$(sed -n 's/^expect //p' "$case.dma")
    [[ $expected == "$rule" ]] || complain "docs/compared.md says $rule of $case, which expects $expected"
done < <(grep '^|.*| `[a-z-]*` | `[a-z0-9/-]*` |$' ../../docs/compared.md)
((rows >= 70)) || complain "docs/compared.md has only $rows rows with a case"
# Every report of theirs is in one of the lists.
has() { # SECTION NUMBER
    awk -v section="$1" -v n="$2" '/^## /{on = index($0, section) > 0}
        on && /^\|/{split($0, cell, "|"); k = split(cell[2], some, /[, ]+/); for (i = 1; i <= k; i++) if (some[i] == n) found = 1}
        on && !/^\|/ && match($0, "(^|[^0-9a-zA-Z])" n "([^0-9a-zA-Z]|$)"){found = 1}
        END{exit !found}' ../../docs/compared.md
}
for n in {1..23}; do
    has 'Linux' "$n" || complain "docs/compared.md does not say what becomes of report $n of dma-debug"
done
for n in {1..20}; do
    has 'Only here' "$n" || complain "docs/compared.md does not say what becomes of $n, which dma-debug does not look at"
done
for n in 0{0..9} 0A 0B 0C 0D 0E 0F 10 11 13 14 15 16 18 19 1B 1D 1E 1F 2{0..6}; do
    has 'Windows' "0x$n" || complain "docs/compared.md does not say what becomes of code 0x$n"
done
for file in dma-debug/*.dma driver-verifier/*.dma; do
    [[ -n ${named[${file%.dma}]-} ]] || complain "docs/compared.md has no row for $file"
done
files=()
for case in "${!named[@]}"; do
    files+=("$case.dma")
done
"$dmaudit" run "${files[@]}" || complain "not all cases do what they expect"
exit $bad
