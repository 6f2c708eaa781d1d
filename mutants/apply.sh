#!/bin/sh
# Copies the files that a patch touches from SOURCE to OUT and patches the copies.
#
#   apply.sh PATCH SOURCE OUT FILE...
#
# A patch that does not fit exactly fails the build: no fuzz, no reversed or half applied hunks.
set -eu
patch=$1 source=$2 out=$3
shift 3
for file; do
    mkdir -p "$out/$(dirname "$file")"
    cp "$source/$file" "$out/$file"
done
if ! said=$(patch -p1 --fuzz=0 --forward --batch --no-backup-if-mismatch --reject-file=- -d "$out" -i "$patch"); then
    echo "$patch: does not apply:" >&2
    echo "$said" >&2
    exit 1
fi
