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
# ... once, and says in its first lines which row it is of.
declare -A bodies=()
number=
while IFS='|' read -r _ row _ _ case _; do
    case=${case//[\` ]/}
    [[ -n ${row// /} ]] && number=${row// /}
    [[ $case == dma-debug/* || $case == driver-verifier/* ]] || continue
    about=$(grep '^#' "$case.dma" | sed 1d | tr '\n' ' ')
    case $case in
    dma-debug/only-here-*) wanted="by dma-debug, $number:" ;;
    dma-debug/*) wanted="dma-debug, report" ;;
    *) wanted="code ${number//(/ (}" ;;
    esac
    [[ $about == *"$wanted"* ]] || complain "docs/compared.md has $case in row $number; the case says:$about"
    [[ $case == dma-debug/only-here-* || $case != dma-debug/* ]] ||
        [[ " ${about//[,:]/ } " == *" ${number%%,*} "* ]] || complain "docs/compared.md has $case in row $number; the case says:$about"
    kind=${case##*only-here*} body=${kind:+${case%%/*}}$(grep -v "^#" "$case.dma")
    [[ -z ${bodies[$body]-} ]] || complain "$case is the same case as ${bodies[$body]}"
    bodies[$body]=$case
done < <(grep '^|.*| `[a-z-]*` | `[a-z0-9/-]*` |$' ../../docs/compared.md)
# docs/classes.md: each class's cases break one of its rules.
classes=0
while IFS='|' read -r _ row _ rules cases _; do
    for case in ${cases//[\`,]/ }; do
        classes=$((classes + 1)) named[$case]=1
        [[ -f $case.dma ]] || { complain "docs/classes.md: $case: no such case"; continue; }
        expected=$(sed -n 's/^expect //p' "$case.dma")
        [[ " ${rules//[\`,]/ } " == *" $expected "* ]] || complain "docs/classes.md, ${row// /}: $case expects $expected, which is none of:$rules"
    done
done < <(grep -E '^\| I?[0-9]+ \|' ../../docs/classes.md)
((classes >= 62)) || complain "docs/classes.md names only $classes cases"
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
