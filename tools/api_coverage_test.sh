#!/usr/bin/env bash
# Holds docs/api-coverage.md against the code: what is there has a row, in the column where it belongs, and what stands in the
# page is there.
#
#   api_coverage_test.sh SOURCE_DIR
set -u
source=${1:?usage: api_coverage_test.sh SOURCE_DIR}
page=$source/docs/api-coverage.md header=$source/include/dmaudit/provider.h
failures=0
fail() {
    echo "api-coverage: $1" >&2
    failures=$((failures + 1))
}
names() { grep -o '`[^`]*`' | tr -d '`' | sort -u; }
# 2: the call, 3: C++, 4: the entry, 5: the operation, 6: properties, 7: the fuzz target. A table of two columns: what, operation.
column() { awk -F'|' -v n="$1" '/^\|/ && !/^\|---/ {print (NF > 4 ? $n : n == 5 ? $3 : "")}' "$page" | names; }
# every WHAT LIST COLUMN: each name of the list stands in the column.
every() {
    local missing
    missing=$(comm -23 <(sort -u <<<"$2") <(column "$3"))
    for name in $missing; do fail "$1 '$name' has no row"; done
}
# known WHAT LIST COLUMN: each name of the column is one of the list.
known() {
    local unknown
    unknown=$(comm -13 <(sort -u <<<"$2") <(column "$3"))
    while read -r name; do [[ -z $name ]] || fail "there is no $1 $name"; done <<<"$unknown"
}
enough() { (($(wc -w <<<"$2") >= $3)) || fail "the list of $1 could not be read"; }

operations=$(cat "$source"/harness/ops*.hpp | grep -o 'name = "[a-z_]*"' | cut -d'"' -f2)
entries=$(awk '/^struct dmaudit_(coherent|streaming|pool|scatter|managed|dma_buf|parameters) \{/ {sub("dmaudit_", "", $2); facet = $2}
               /^};/ {facet = ""}
               facet && match($0, /\(\*[a-z_]+\)\(void \*ctx/) {print facet "." substr($0, RSTART + 2, index(substr($0, RSTART), ")") - 3)}' \
          "$header")
# Public functions, as Class::function.
functions=$(awk 'FNR == 1 {class = ""}
                 /^(template <[^>]*> )?(class|struct) [A-Za-z]+( final)?( :.*)? \{/ {class = $0; sub(/^.*(class|struct) /, "", class); sub(/[ :{].*/, "", class); open = !/class/}
                 /^};/ {class = ""}
                 /^  (public|private|protected):/ {open = /public/}
                 class && open && /^    [^ \/]/ && match($0, /[A-Za-z_]+\(/) && substr($0, RSTART, RLENGTH - 1) != class {print class "::" substr($0, RSTART, RLENGTH - 1)}' \
            "$source"/allocator/*.hpp)
# Of the sources: what the header says it stands for, and the trait.
calls=$(grep -oE '\b(dma|dmam|devm|devres)_[a-z_]+[a-z]\b' "$header" | grep -vxE 'dma_buf|dma_data_direction')
trait=$(sed -n 's/^DmaOp:://p' <<<"$functions")
suites=$(grep -ohE '^(TEST(_[FP])?|class [A-Za-z]+ : public ::testing::TestWithParam.*)\(?[A-Za-z]*' "$source"/properties/*_test.cpp | sed -E 's/.*\(//; s/^class ([A-Za-z]+).*/\1/')
targets=$(basename -as .cpp "$source"/fuzz/fuzz_*.cpp)
enough operations "$operations" 22
enough entries "$entries" 40
enough functions "$functions" 80
enough calls "$calls" 40
enough "functions of the trait" "$trait" 9

every 'the operation' "$operations" 5
every 'the entry' "$entries" 4
every 'the call' "$calls" 2
every "the trait's" "$trait" 2
every 'the function' "$(grep -E '^(CoherentHandle::alloc|CoherentArray::zeroed|Managed::|DmaBufs::(attach|detach|map_attachment|unmap_attachment|begin|end|kmap|kunmap|mmap|vmap|vunmap|fd|get|put|close|dup|export))' <<<"$functions" |
    grep -vE '::(find|state_hash|Managed|info|exporters|hash_state)')" 3
known 'operation' "$(printf '%s\n' "$operations" page= iommu= limit= coherent=)" 5
known 'function' "$functions" 3
known 'entry' "$(printf '%s\n' "$entries" platform.page)" 4
known 'property' "$suites" 6
known 'fuzz target' "$targets" 7

# A suite and a target have something to do with the facet of their row: those that make cases of every kind do with each.
general='Conforming Marks Faults Mixed'
declare -A suites_of=([streaming]='Invariants Data FailedCall Parameters Access' [coherent]='Invariants Data FailedCall Facets Parameters'
    [pool]='Invariants Data FailedCall PoolModel' [scatter]='Facets Parameters' [managed]=ManagedDma [dma_buf]=DmaBuf [parameters]=Parameters)
declare -A targets_of=([streaming]=fuzz_streaming [coherent]='fuzz_pool fuzz_handles' [pool]=fuzz_pool [scatter]=fuzz_scatter
    [managed]=fuzz_managed [dma_buf]=fuzz_dma_buf [parameters]='fuzz_streaming fuzz_handles')
while IFS='|' read -r _ call _ entry _ properties target _; do
    facet=${entry#*\`} facet=${facet%%[.\`]*}
    [[ $facet =~ ^[a-z_]+$ && -n ${suites_of[$facet]:-} ]] || continue
    for name in ${properties//\`/}; do
        [[ " $general ${suites_of[$facet]} " == *" $name "* ]] || fail "$call: the property $name is about something else"
    done
    for name in ${target//\`/}; do
        [[ " ${targets_of[$facet]} " == *" $name "* ]] || fail "$call: the fuzz target $name is about something else"
    done
    [[ -n ${properties// /} && -n ${target// /} ]] || fail "$call: no property or no fuzz target"
done < <(grep '^|' "$page")

((failures == 0)) && echo "api-coverage: $(wc -w <<<"$operations") operations, $(wc -w <<<"$entries") entries of facets, $(sort -u <<<"$calls" | wc -l) calls of the sources"
exit $((failures != 0))
