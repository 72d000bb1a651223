#!/usr/bin/env bash
# Runs the same requests in many layouts and settings and requires the same result bytes.
#
#   scripts/check_invariance.sh [--full] [--tandem BINARY] [--model DIR] [--requests FILE] [--hostfile FILE]
#
# The default takes about 24 runs a dtype's pair; --full the whole product over tensor-parallel degrees, layouts,
# batch sizes, threads and orders. --hostfile is passed on to mpirun, for hosts of one kind.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
source "$root/scripts/environment.sh"
exec python3 "$root/scripts/check_invariance.py" "$@"
