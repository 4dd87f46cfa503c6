#!/usr/bin/env bash
# The whole pipeline on a small trained model; sets up and builds first if needed.
# usage: scripts/demo.sh [options of `lowbank run`]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/build.sh
exec build/release/bin/lowbank run configs/recipes/demo.json "$@"
