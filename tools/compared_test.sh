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
for file in dma-debug/*.dma driver-verifier/*.dma; do
    [[ -n ${named[${file%.dma}]-} ]] || complain "docs/compared.md has no row for $file"
done
files=()
for case in "${!named[@]}"; do
    files+=("$case.dma")
done
"$dmaudit" run "${files[@]}" || complain "not all cases do what they expect"
exit $bad
