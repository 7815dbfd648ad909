#!/usr/bin/env bash
# Runs ruff, mypy and the tests, all of them even where one fails: bash scripts/test.sh [pytest arguments]
# Makes .venv first where there is none, with ${PYTHON:-python3}.
set -uo pipefail
here="${BASH_SOURCE[0]%/*}"
[[ -d "$here" ]] || here=.
source "$here/venv.sh" || exit

ready_venv dev || exit
cd "$root" || exit

# Two workers with many threads each would only wait for each other.
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE
export NO_COLOR=1
unset WANDB_MODE FORCE_COLOR CLICOLOR_FORCE PY_COLORS MYPY_FORCE_COLOR
# Else every worker and every run in a process of its own would compile the project and the tests anew.
unset PYTHONDONTWRITEBYTECODE

# Tests write and sync 1 GB, mostly small files. A folder in memory, where there is one with room from which programs
# can be started, saves a fifth of their time.
if [[ -z "${TMPDIR:-}" && -w /dev/shm ]] && (($(df --output=avail -k /dev/shm | tail -n 1) > 4 << 20)); then
  memory="$(mktemp -d /dev/shm/stackae-tests.XXXXXX)" || exit
  trap 'rm -rf "$memory"' EXIT
  # A database server that a test starts as another user, if root tests, has its folder in there.
  chmod 711 "$memory"
  printf '#!/bin/sh\n' >"$memory/program"
  chmod +x "$memory/program"
  if "$memory/program" 2>/dev/null; then export TMPDIR="$memory"; fi
fi

failed=()
check() { # name, command…
  printf '== %s\n' "$1"
  "$venv/bin/python" -m "${@:2}" || failed+=("$1")
}

check "ruff check" ruff check
check "ruff format" ruff format --check
check "mypy" mypy --no-color-output
if ((${#failed[@]})); then printf '== failed so far: %s\n' "$(IFS=,; echo "${failed[*]}")"; fi
check "pytest" pytest -n 2 --color=no "$@"
((${#failed[@]} == 0))
