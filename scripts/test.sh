#!/usr/bin/env bash
# Builds Lowbank and runs its tests; sets up first if needed.
# usage: scripts/test.sh [ctest options]     -L unit: one label;  -R name: one test;  -L slow: the
# slow ones, which are left out unless -L, -LE or -R chooses.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/build.sh
choice=(-LE '^slow$')
for arg in "$@"; do
  case $arg in -L* | -R* | --label-* | --tests-regex*) choice=() ;; esac
done
# Larger public data sets, for the tests that use them where they are at hand.
if [[ -z ${LOWBANK_SHARED_DATA:-} && -d ../shared/data ]]; then
  LOWBANK_SHARED_DATA=$(cd ../shared/data && pwd)
  export LOWBANK_SHARED_DATA
fi
exec ctest --test-dir build/release --output-on-failure --no-tests=error -j "$(nproc)" \
  "${choice[@]}" "$@"
