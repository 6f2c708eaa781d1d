#!/usr/bin/env bash
# Replays every regression case with the provider it is for; each must end as its `expect` says.
# usage: replay.sh DMAUDIT REGRESSIONS
set -euo pipefail
dmaudit=$1
folder=$2
failed=0
"$dmaudit" run "$folder"/*.dma || failed=1
count=0
for case in "$folder"/*/*.dma; do
    provider=$(sed -n 's/^# provider: //p' "$case" | head -n 1)
    if [[ -z $provider ]]; then
        echo "$case: the comment '# provider: NAME' is missing" >&2
        failed=1
        continue
    fi
    if [[ $provider == linux ]] && ! "$dmaudit" providers | grep -q '^linux:'; then
        echo "$case: skipped, this build has no provider 'linux'"
        continue
    fi
    "$dmaudit" run -q --provider "$provider" "$case" || failed=1
    count=$((count + 1))
done
echo "$count cases for other providers"
exit "$failed"
