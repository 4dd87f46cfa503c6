#!/usr/bin/env bash
# Builds Lowbank into build/release (binaries in build/release/bin); sets up first if needed.
# usage: scripts/build.sh [cmake options, as -DLOWBANK_MPI=ON]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh --quiet
if [[ -z ${CMAKE_BUILD_PARALLEL_LEVEL:-} ]]; then
  # One compiler per core, but no more than the memory carries: a torch file takes up to 2 GB.
  jobs=$(nproc)
  memory_gb=$(awk '/^MemAvailable:/ { print int($2 / 1048576) }' /proc/meminfo)
  ((jobs * 2 <= memory_gb)) || jobs=$((memory_gb / 2 > 1 ? memory_gb / 2 : 1))
  export CMAKE_BUILD_PARALLEL_LEVEL=$jobs
fi
cmake --preset release --log-level=WARNING "$@" >/dev/null
export NINJA_STATUS="build [%f/%t] "
if [[ $(ninja -C build/release -n | tail -n 1) != "ninja: no work to do." ]]; then
  cmake --build --preset release
fi
