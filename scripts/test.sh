#!/usr/bin/env bash
# Builds everything with ASan and UBSan and runs the tests. Arguments go to ctest, as in: test.sh -R pool
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh
cmake --preset dev
SECONDS=0
cmake --build --preset dev -j "$(nproc)"
echo "test: built in $SECONDS s"
ctest --preset dev -j "$(nproc)" "$@"
