#!/usr/bin/env bash
# Installs the Debian 12 packages that tandem is built and tested with. As root or with sudo; where
# nothing is missing it does nothing.
set -euo pipefail

packages=(
  g++ cmake ninja-build git python3
  libabsl-dev libcxxopts-dev libspdlog-dev libyaml-cpp-dev nlohmann-json3-dev libxxhash-dev libhwloc-dev
  libopenmpi-dev openmpi-bin
  libgtest-dev libgmock-dev libbenchmark-dev
)
# What only the checks of .ci/run and scripts/lint.sh need.
if [[ "${1:-}" == "--lint" ]]; then
  packages+=(clang clang-format clang-tidy)
fi

missing=()
for package in "${packages[@]}"; do
  state=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
  [[ "$state" == "install ok installed" ]] || missing+=("$package")
done
if [[ ${#missing[@]} -eq 0 ]]; then
  echo "setup: all packages are there"
  exit 0
fi
echo "setup: installing ${missing[*]}"
sudo=()
if [[ $(id -u) -ne 0 ]]; then
  command -v sudo >/dev/null || { echo "setup: run it as root, or install sudo" >&2; exit 1; }
  sudo=(sudo)
fi
"${sudo[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
echo "setup: done"
