#!/usr/bin/env bash
# Checks how the code reads: include rules, clang-format, and clang-tidy on C++ files of the last 20 commits
# (--all: on all).
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh

python3 scripts/check_includes.py

mapfile -t sources < <(git ls-files '*.cc' '*.h')
clang-format --dry-run --Werror "${sources[@]}"
echo "clang-format: ${#sources[@]} files are formatted"

[[ -f build/release/compile_commands.json ]] || cmake --preset release >/dev/null
if [[ "${1:-}" == "--all" ]]; then
  mapfile -t files < <(git ls-files 'common/*.cc' 'worker/*.cc' 'coordinator/*.cc')
else
  count=$(git rev-list --count HEAD)
  base=$(git rev-list --max-count=21 HEAD | tail -1)
  if [[ $count -le 20 ]]; then
    base=$(git hash-object -t tree /dev/null)  # Everything is new.
  fi
  mapfile -t files < <(git diff --name-only --diff-filter=d "$base" HEAD -- 'common/*.cc' 'worker/*.cc' 'coordinator/*.cc')
fi
if [[ ${#files[@]} -eq 0 ]]; then
  echo "clang-tidy: no files"
  exit 0
fi
# clang does not know two of g++'s flags.
printf '%s\0' "${files[@]}" | xargs -0 -n 2 -P "$(nproc)" clang-tidy -p build/release --quiet \
  --extra-arg=-Wno-unknown-warning-option --extra-arg=-Wno-ignored-optimization-argument
echo "clang-tidy: ${#files[@]} files are clean"
