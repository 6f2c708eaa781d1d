#!/usr/bin/env bash
# Installs the packages of packages.txt that are missing. Does nothing, quickly, if none is.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "setup: this is not Debian. Install what stands in $here/packages.txt by hand." >&2
    exit 1
fi

wanted=()
while read -r package _; do
    [[ -z $package || $package == \#* ]] || wanted+=("$package")
done <"$here/packages.txt"

# One line for each package that is installed; dpkg-query fails if it does not know one, and lists the others.
declare -A installed=()
while read -r package status; do
    [[ $status != installed ]] || installed[$package]=1
done < <(dpkg-query -W -f '${binary:Package} ${db:Status-Status}\n' "${wanted[@]}" 2>/dev/null | sed 's/:[^ ]*//')

missing=()
for package in "${wanted[@]}"; do
    [[ -n ${installed[$package]:-} ]] || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
    exit 0
fi

root=()
if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
        echo "setup: not root, and there is no sudo. As root: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    root=(sudo)
fi
echo "setup: installing ${missing[*]}"
"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q </dev/null
"${root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends "${missing[@]}" </dev/null
