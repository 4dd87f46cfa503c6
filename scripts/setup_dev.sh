#!/usr/bin/env bash
# Makes .venv-dev (git-ignored): the Python that regenerates test fixtures. Several GB; never needed
# to build, test or run Lowbank.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
say() { echo "setup_dev: $*"; }
die() { echo "setup_dev: $*" >&2; exit 1; }

case ${1:-} in
  "") ;;
  -h | --help) echo "usage: scripts/setup_dev.sh   then: .venv-dev/bin/python tests/.../make_x.py"; exit 0 ;;
  *) die "takes no arguments, got '$1'" ;;
esac

requirements=scripts/requirements-dev.txt venv=.venv-dev
if cmp -s "$requirements" "$venv/.stamp"; then
  say "everything is in place"
  exit 0
fi
python=/usr/bin/python3
[[ -x $python ]] || python=python3
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
  die "$python cannot make virtual environments; run scripts/setup.sh first (package python3-venv)"
[[ -x $venv/bin/python ]] || "$python" -m venv --clear "$venv"
say "fetching the packages of $requirements"
# pip unpacks under TMPDIR, and /tmp may be small.
mkdir -p "$venv/tmp"
TMPDIR=$PWD/$venv/tmp "$venv/bin/python" -m pip install --no-cache-dir --no-input -q \
  --disable-pip-version-check -r "$requirements" || die "pip could not install $requirements"
rm -rf "$venv/tmp"
"$venv/bin/python" -c 'import torch, transformers, peft, gguf, safetensors, tbparse' ||
  die "the packages are installed but do not import"
cp "$requirements" "$venv/.stamp"
say "ready: $venv/bin/python"
