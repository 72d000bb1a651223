#!/usr/bin/env bash
# Sets up, builds a release and runs the tests: unit, golden, MPI and end to end. --long adds what takes
# longer (label slow).
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh

scripts/setup.sh
cmake --workflow --preset release
if [[ "${1:-}" == "--long" ]]; then
  ctest --test-dir build/release --output-on-failure -j "$(nproc)"
else
  ctest --test-dir build/release --output-on-failure -j "$(nproc)" -LE slow
fi
