#!/usr/bin/env bash
# Builds the optimised dmaudit and lets it fuzz: the built-in allocator for DMAUDIT_SECONDS (60), then the kernel's pools.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh
cmake --preset release
cmake --build --preset release -j "$(nproc)"

dmaudit=build/release/bin/dmaudit
"$dmaudit" fuzz --seconds "${DMAUDIT_SECONDS:-60}"
if [[ -e build/release/providers/linux/dmaudit_linux_plugin.so ]]; then
    "$dmaudit" fuzz --provider linux --profile pool --seconds "${DMAUDIT_LINUX_SECONDS:-20}"
else
    echo "run: no provider 'linux' in this build"
fi
