#!/usr/bin/env bash
# Makes docs/mutants.md from the headers of the patches; with --check, fails if it is not current.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# rows FORMAT PATCH...: a row for each, in which `Key:` is what the header says.
rows() {
    awk -v format="$1" 'FNR == 1 {if (row != "") print row; row = format; header = 1}
                        /^$/ {header = 0}
                        header && match($0, /^[A-Za-z-]+: */) {
                            key = substr($0, 1, index($0, ":")); value = substr($0, RLENGTH + 1)
                            gsub(/\|/, "\\|", value)
                            while ((at = index(row, key)) != 0) {
                                done = done substr(row, 1, at - 1) value; row = substr(row, at + length(key))
                            }
                            row = done row; done = ""
                        }
                        END {print row}' "${@:2}"
}

table() {
    local allocator=(mutants/allocator/*.patch) checker=(mutants/checker/*.patch)
    echo "# Seeded bugs"
    echo
    echo "Made from the headers of the patches by \`mutants/table.sh > docs/mutants.md\`; [mutants/README.md](../mutants/README.md) says what they are for."
    echo
    echo "## In the allocator: ${#allocator[@]}"
    echo
    echo "The witness fails by one of the rules, in so many steps."
    echo
    echo "| id | family | what is wrong | the real bug | rules | steps |"
    echo "|---|---|---|---|---|---|"
    rows '| `Id:` | Family: | Doc: | Real: | Expect: | Depth: |' "${allocator[@]}" | LC_ALL=C sort -t'|' -k3,3 -k2,2
    echo
    echo "## In the checker: ${#checker[@]}"
    echo
    echo "| id | what is wrong | the real bug | killed by |"
    echo "|---|---|---|---|"
    rows '| `Id:` | Doc: | Real: | Killed-by: |' "${checker[@]}"
}

if [[ ${1-} == --check ]]; then
    table | diff -u docs/mutants.md - || { echo "docs/mutants.md is not current: mutants/table.sh > docs/mutants.md" >&2; exit 1; }
else
    table
fi
