#!/usr/bin/env bash
# The main job, from a fresh clone: sets up, builds a release, and has mpirun start four ranks (a coordinator, an
# encoder group of one, a decoder group of two) on the demo model and examples/requests.jsonl. Then shows
# the first results beside their prompts.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh

scripts/setup.sh
cmake --preset release
cmake --build --preset release --target tandem

mkdir -p build/demo
echo
echo "demo: 4 ranks answer $(grep -c . examples/requests.jsonl) requests"
mpirun --oversubscribe -np 4 build/release/tandem generate \
  --model models/demo --input examples/requests.jsonl --output build/demo/results.jsonl --overwrite \
  --coordinator own --encoder-tp 1 --decoder-tp 2 --threads 1
echo
python3 scripts/show_results.py examples/requests.jsonl build/demo/results.jsonl --first 12
echo "demo: all results are in build/demo/results.jsonl, what the job was in build/demo/results.jsonl.run.json"
