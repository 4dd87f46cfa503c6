#!/usr/bin/env bash
# Runs the fuzz targets of fuzz/ over their seeds; docs/reliability.md says what they look for.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
die() { echo "fuzz: $*" >&2; exit 2; }

usage='usage: scripts/fuzz.sh [--runs N | --seconds N] [TARGET...]
  --runs N      executions of each target (default 20000)
  --seconds N   run each target for N seconds instead
Inputs that fail are left in build/fuzz/findings; run one with build/fuzz/fuzz/TARGET_fuzz FILE.'
limit=-runs=20000
while (($#)); do
  case $1 in
    -h | --help) echo "$usage"; exit 0 ;;
    --runs) limit=-runs=${2:?}; shift 2 ;;
    --seconds) limit=-max_total_time=${2:?}; shift 2 ;;
    -*) die "no option '$1'" ;;
    *) break ;;
  esac
done

build=build/fuzz
[[ -f $build/build.ninja ]] || cmake --preset fuzz >"$build.log" 2>&1 || { cat "$build.log"; exit 1; }
cmake --build $build --parallel >"$build.log" 2>&1 || { tail -40 "$build.log"; exit 1; }
if (($#)); then targets=("$@"); else targets=($(cd fuzz && ls -- *_fuzz.cpp | sed 's/_fuzz.cpp//')); fi
for target in "${targets[@]}"; do
  [[ -x $build/fuzz/${target}_fuzz ]] || die "no target '$target'"
done

mkdir -p $build/findings $build/corpus $build/logs
run_target() {
  local target=$1 limit=$2 build=$3 start=$SECONDS dictionary=()
  mkdir -p "$build/corpus/$target"
  [[ -f fuzz/$target.dict ]] && dictionary=(-dict="fuzz/$target.dict")
  # A file of a few KiB justifies neither 1 GiB of memory nor ten seconds.
  if "$build/fuzz/${target}_fuzz" "$limit" "${dictionary[@]}" -seed=1 -max_len=65536 \
    -rss_limit_mb=2048 -malloc_limit_mb=512 -timeout=10 -detect_leaks=1 -print_final_stats=1 \
    -artifact_prefix="$build/findings/$target-" "$build/corpus/$target" "fuzz/corpus/$target" \
    >"$build/logs/$target.log" 2>&1; then
    local result=passed
  else
    local result=FAILED
  fi
  local runs
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$build/logs/$target.log")
  printf '%-16s %12s executions %6s s  %s\n' "$target" "${runs:-?}" $((SECONDS - start)) $result
  [[ $result == passed ]] || { tail -30 "$build/logs/$target.log" >&2; return 1; }
}
export -f run_target
printf '%s\n' "${targets[@]}" |
  xargs -P "$(nproc)" -I{} bash -c 'run_target "$@"' _ {} "$limit" $build
