#!/usr/bin/env bash
# Checks how the code reads: include rules, clang-format on all C++ files, and clang-tidy on those of the last 20
# commits (--all: on all). Files that were clean and have not changed are not looked at again.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh

python3 scripts/check_includes.py

mapfile -t sources < <(git ls-files '*.cc' '*.h')
clang-format --dry-run --Werror "${sources[@]}"
echo "clang-format: ${#sources[@]} files are formatted"

# What clang-tidy reads: the compile commands, and version.h, which CMake writes.
cmake --preset release >/dev/null
if [[ "${1:-}" == "--all" || $(git rev-list --count HEAD) -le 20 ]]; then
  mapfile -t files < <(git ls-files 'common/*.cc' 'worker/*.cc' 'coordinator/*.cc')
else
  mapfile -t files < <(git diff --name-only --diff-filter=d HEAD~20 HEAD -- \
    'common/*.cc' 'worker/*.cc' 'coordinator/*.cc')
fi
python3 scripts/run_clang_tidy.py --build build/release "${files[@]}"
