#!/usr/bin/env bash
# Fingerprints what the commands do, so that a refactor can be shown to change nothing.
# usage: scripts/behaviour.sh [--bin DIR] [--out FILE] [--keep DIR] [--compare FILE] [--only GROUP...]
#   scripts/behaviour.sh --out before.txt --keep before        before the refactor, then
#   scripts/behaviour.sh --compare before.txt --keep after     after it and after a build
# The second call names the items that changed; `diff -r before after` shows how.
set -euo pipefail

exec python3 "$(dirname "${BASH_SOURCE[0]}")/behaviour.py" "$@"
