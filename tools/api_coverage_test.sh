#!/usr/bin/env bash
# Holds docs/api-coverage.md against the code.
#
#   api_coverage_test.sh SOURCE_DIR
set -u
source=${1:?usage: api_coverage_test.sh SOURCE_DIR}
page=$source/docs/api-coverage.md
failures=0
fail() {
    echo "api-coverage: $1" >&2
    failures=$((failures + 1))
}
rows=$(grep '^|' "$page" | grep -v '^|---')

# Every operation of a case, and every entry of a facet, stands in the page.
operations=$(cat "$source"/harness/ops*.hpp | grep -o 'name = "[a-z_]*"' | cut -d'"' -f2)
[[ $(wc -w <<<"$operations") -ge 22 ]] || fail "the list of operations could not be read from harness/ops*.hpp"
for op in $operations; do
    grep -q "\`$op\`" <<<"$rows" || fail "the operation '$op' has no row"
done
entries=$(awk '/^struct dmaudit_(coherent|streaming|pool|scatter|managed|dma_buf|parameters) \{/ {sub("dmaudit_", "", $2); facet = $2}
               /^};/ {facet = ""}
               facet && match($0, /\(\*[a-z_]+\)\(void \*ctx/) {print facet "." substr($0, RSTART + 2, index(substr($0, RSTART), ")") - 3)}' \
          "$source/include/dmaudit/provider.h")
[[ $(wc -w <<<"$entries") -ge 40 ]] || fail "the entries of the facets could not be read from provider.h"
for entry in $entries; do
    grep -q "\`$entry\`" <<<"$rows" || fail "the entry '$entry' has no row"
done

# Every name in the page exists.
while IFS='|' read -r _ _ cpp entry op properties target _; do
    [[ -n ${target// /} && $target != *"fuzz target"* ]] || continue
    for name in $(grep -o '`[^`]*`' <<<"$cpp" | tr -d '`'); do
        grep -qE "\b${name##*::}\(" "$source"/allocator/*.hpp && grep -qE "\b(class|struct) ${name%%::*}\b" "$source"/allocator/*.hpp ||
            fail "there is no $name in allocator/"
    done
    for name in $(grep -o '`[^`]*`' <<<"$entry" | tr -d '`'); do
        [[ $name == platform.* ]] || grep -qx -- "$name" <<<"$entries" || fail "there is no entry $name in provider.h"
    done
    for name in $(grep -o '`[a-z_]*`' <<<"$op" | tr -d '`'); do
        grep -qx -- "$name" <<<"$operations" || fail "there is no operation $name"
    done
    for name in $(grep -o '`[^`]*`' <<<"$properties" | tr -d '`'); do
        grep -qE "^TEST(_[FP])?\($name," "$source"/properties/*.cpp || fail "there is no property $name"
    done
    for name in $(grep -o '`[^`]*`' <<<"$target" | tr -d '`'); do
        [[ -e $source/fuzz/$name.cpp ]] || fail "there is no fuzz target $name"
    done
done <<<"$rows"

((failures == 0)) && echo "api-coverage: $(wc -w <<<"$operations") operations, $(wc -w <<<"$entries") entries of facets"
exit $((failures != 0))
