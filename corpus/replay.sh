#!/usr/bin/env bash
# Replays every regression case with the provider that it names (built in: none named); each must end as its `expect` says.
# usage: replay.sh DMAUDIT REGRESSIONS
set -euo pipefail
dmaudit=$1
folder=$2
folders=("$folder"/*.dma "$folder"/broken "$folder"/dma-debug "$folder"/driver-verifier)
providers=$("$dmaudit" providers)
if [[ $providers == *"linux: "* ]]; then
    folders+=("$folder"/linux)
else
    echo "this build has no provider 'linux': its cases are left out"
fi
exec "$dmaudit" run "${folders[@]}"
