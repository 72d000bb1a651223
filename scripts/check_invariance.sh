#!/usr/bin/env bash
# Runs the same requests in many layouts and settings and requires the same result bytes.
#
#   scripts/check_invariance.sh [--full] [--model DIR] [--requests FILE] [--hostfile FILE] ...
#
# Without flags: 24 runs on the demo model. --full: the whole product of tensor-parallel degrees, layouts, batch
# sizes, threads, orders and dtypes. --help lists the rest: other launchers, several hosts, another binary.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
source "$root/scripts/environment.sh"
exec python3 "$root/scripts/check_invariance.py" "$@"
