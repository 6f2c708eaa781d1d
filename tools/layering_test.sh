#!/usr/bin/env bash
# Reads the includes of all sources and fails if a folder uses one that stands above it.
#
#   layering_test.sh SOURCE_DIR
#
# From the ground up: include < machine < shadow < allocator < harness < providers < properties < fuzz < corpus < score < tools <
# bench < mutants. A file may include its own folder and those before it, and besides:
#   include       nothing of the project but itself
#   machine       only the header and itself
#   shadow        only the header, itself and the comparisons in machine/bytes.hpp
#   allocator     only the header and itself: neither machine nor shadow
#   providers/X   only the header and X; builtin also allocator; broken also allocator and builtin
#   providers     (the files directly in it) the header and every provider
# Tests (*_test.*) and their helpers (testing_*, *_testing.*) may include harness and providers from wherever they stand:
# they need cases and something to run them on. Nothing else may reach up, tests included.
# An include is resolved as the compiler does it: beside the file, then from the top, then from include/. Only what is found
# there counts, so libraries and the sources of Linux are not looked at.
set -u

layers=(include machine shadow allocator harness providers properties fuzz corpus score tools bench mutants)
# Folders that hold no code of the project's own, or code that is not built with it.
others=" build cmake docs oss-fuzz scripts "

rank() {
    local i
    for i in "${!layers[@]}"; do
        [[ ${layers[i]} == "$1" ]] && { echo "$i"; return; }
    done
    echo -1
}

is_test() {
    case ${1##*/} in
    *_test.* | testing_* | *_testing.*) return 0 ;;
    esac
    return 1
}

# allowed FILE INCLUDED: both from the top.
allowed() {
    local from=$1 to=$2 own=${1%%/*} other=${2%%/*}
    [[ $other == include ]] && return 0
    if is_test "$from" && [[ $other == harness || $other == providers ]]; then
        return 0
    fi
    case $own in
    include) return 1 ;;
    shadow) [[ $other == shadow || $to == machine/bytes.hpp ]] ;;
    machine | allocator) [[ $other == "$own" ]] ;;
    providers)
        [[ ${from#providers/} == */* ]] || { [[ $other == providers ]]; return; }
        local mine=${from#providers/}
        mine=providers/${mine%%/*}
        case $mine:$to in
        "$mine:$mine"/*) return 0 ;;
        providers/builtin:allocator/* | providers/broken:allocator/* | providers/broken:providers/builtin/*) return 0 ;;
        esac
        return 1
        ;;
    *) (($(rank "$other") >= 0 && $(rank "$other") <= $(rank "$own"))) ;;
    esac
}

# Prints each include that is not allowed; the number of includes looked at goes to stderr.
check_tree() {
    local root=$1 file line name target folder n=0 quoted='["<]([^">]+)[">]'
    cd "$root" || return
    for folder in */; do
        folder=${folder%/}
        (($(rank "$folder") >= 0)) || [[ $others == *" $folder "* || $folder == build* ]] && continue
        [[ -n $(find "$folder" -name '*.[ch]' -o -name '*.[ch]pp' | head -n 1) ]] && echo "$folder: a folder with sources that stands in no layer"
    done
    while IFS=: read -r file line name; do
        [[ $name =~ $quoted ]] || continue
        name=${BASH_REMATCH[1]}
        if [[ -f ${file%/*}/$name ]]; then
            target=$(realpath --relative-to=. "${file%/*}/$name")
        elif [[ -f $name ]]; then
            target=$name
        elif [[ -f include/$name ]]; then
            target=include/$name
        else
            continue
        fi
        n=$((n + 1))
        allowed "$file" "$target" || echo "$file:$line: includes $target, which does not stand before ${file%/*}"
    done < <(for folder in "${layers[@]}"; do
        [[ -d $folder ]] && grep -rHn --include='*.[ch]' --include='*.[ch]pp' -E '^[[:space:]]*#[[:space:]]*include[[:space:]]*["<]' "$folder"
    done | LC_ALL=C sort)
    echo "$n includes" >&2
}

# The test of the test: in a small tree, exactly these lines are found.
self_test() {
    local t
    t=$(mktemp -d) || return 1
    mkdir -p "$t"/{include/dmaudit,machine,shadow,allocator,harness,providers/{builtin,broken,other},tools,bench,strange}
    local f
    for f in include/dmaudit/provider.h machine/a.hpp shadow/a.hpp allocator/a.hpp harness/a.hpp providers/builtin/a.hpp providers/other/a.hpp tools/a.hpp; do
        : >"$t/$f"
    done
    local good='#include "dmaudit/provider.h"'
    printf '%s\n#include "machine/a.hpp"\n#include <shadow/a.hpp>\n' "$good" >"$t/machine/b.cpp"                          # 1
    printf '%s\n  #  include "../harness/a.hpp"\n#include "a.hpp"\n#include <vector>\n' "$good" >"$t/shadow/b.cpp"           # 1
    printf '#include "machine/a.hpp"\n#include "shadow/a.hpp"\n' >"$t/allocator/b.cpp"                                       # 2
    printf '#include "shadow/a.hpp"\n#include "allocator/a.hpp"\n#include "tools/a.hpp"\n' >"$t/harness/b.cpp"                # 1
    printf '#include "providers/builtin/a.hpp"\n#include "tools/a.hpp"\n' >"$t/harness/b_test.cpp"                           # 1
    printf '#include "allocator/a.hpp"\n#include "providers/other/a.hpp"\n' >"$t/providers/builtin/b.cpp"                    # 1
    printf '#include "allocator/a.hpp"\n#include "providers/builtin/a.hpp"\n#include "harness/a.hpp"\n' >"$t/providers/broken/b.cpp" # 1
    printf '#include "allocator/a.hpp"\n#include "a.hpp"\n' >"$t/providers/other/b.cpp"                                      # 1
    printf '#include "providers/other/a.hpp"\n#include "allocator/a.hpp"\n' >"$t/providers/b.cpp"                            # 1
    printf '#include "tools/a.hpp"\n#include "machine/a.hpp"\n' >"$t/bench/b.cpp"                                            # 0
    printf '#include "machine/a.hpp"\n' >"$t/include/dmaudit/more.h"                                                         # 1
    printf '\n' >"$t/strange/b.cpp"                                                                                          # 1
    local found
    found=$( (check_tree "$t") 2>/dev/null)
    rm -rf "$t"
    [[ $(wc -l <<<"$found") == 12 ]] && return 0
    printf 'the test itself is broken: 12 violations were planted, these were found:\n%s\n' "$found"
    return 1
}

(($# == 1)) && [[ -d $1/include ]] || { echo "usage: layering_test.sh SOURCE_DIR" >&2; exit 2; }
self_test || exit 1
found=$( (check_tree "$1"))
[[ -z $found ]] && exit 0
printf '%s\n' "$found"
exit 1
