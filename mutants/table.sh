#!/usr/bin/env bash
# Makes docs/mutants.md from the headers of the patches; with --check, fails if it is not current.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

field() { sed -n "1,/^\$/s/^$2: *//p" "$1" | sed 's/|/\\|/g'; }

table() {
    local patch allocator=(mutants/allocator/*.patch) checker=(mutants/checker/*.patch)
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
    for patch in "${allocator[@]}"; do
        echo "| \`$(field "$patch" Id)\` | $(field "$patch" Family) | $(field "$patch" Doc) | $(field "$patch" Real) | $(field "$patch" Expect) | $(field "$patch" Depth) |"
    done | LC_ALL=C sort -t'|' -k3,3 -k2,2
    echo
    echo "## In the checker: ${#checker[@]}"
    echo
    echo "| id | what is wrong | the real bug | killed by |"
    echo "|---|---|---|---|"
    for patch in "${checker[@]}"; do
        echo "| \`$(field "$patch" Id)\` | $(field "$patch" Doc) | $(field "$patch" Real) | $(field "$patch" Killed-by) |"
    done
}

if [[ ${1-} == --check ]]; then
    table | diff -u docs/mutants.md - || { echo "docs/mutants.md is not current: mutants/table.sh > docs/mutants.md" >&2; exit 1; }
else
    table
fi
