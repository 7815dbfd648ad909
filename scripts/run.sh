#!/usr/bin/env bash
# Carries out a configuration, by default configs/digits.yaml: bash scripts/run.sh [CONFIG [key=value …]]
# Makes .venv first where there is none, with ${PYTHON:-python3}.
set -uo pipefail
here="${BASH_SOURCE[0]%/*}"
[[ -d "$here" ]] || here=.
source "$here/venv.sh" || exit

ready_venv runtime || exit
if (($# == 0)); then set -- "$root/configs/digits.yaml"; fi
exec "$venv/bin/stackae" run "$@"
