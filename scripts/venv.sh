# Sourced by run.sh and test.sh: makes the project's virtual environment, and keeps it as pyproject.toml says.
#
#   ready_venv runtime|dev    0: $venv is ready. 1: pip failed. 2: there is no Python that will do.
#
# In .venv, `stackae-runtime` and `stackae-dev` tell what each set was installed from; `stackae-unfinished`
# stands while an installation is under way, so that one cut short is told from one that is done.

root="$(cd "${BASH_SOURCE[0]%/*}/.." && pwd -P)"
venv="$root/.venv"

say() { printf '%s\n' "$*" >&2; }

# With `write`: notes that the set is installed. With `read`: prints `ready`, `outdated`, or, where .venv has to
# be made anew, `broken` (or nothing, if even its Python does not start).
stamp() { # read|write, set
  "$venv/bin/python" -I - "$1" "$2" "$root" "$venv" 2>/dev/null <<'PYTHON'
import hashlib, sys
from importlib.util import find_spec
from pathlib import Path

MODULES = {
    "runtime": ["stackae", "torch", "pytorch_lightning"],
    "dev": ["stackae", "torch", "pytorch_lightning", "pytest", "xdist", "hypothesis", "ruff", "mypy"],
}
action, wanted_set, root, venv = sys.argv[1:]
# The place counts, because the scripts of a virtual environment carry absolute paths.
made = "Python %d.%d in %s" % (*sys.version_info[:2], root)
asked = [Path(root, name).read_bytes() for name in ("pyproject.toml", "constraints.txt")]
wanted = [made, *(hashlib.sha256(content).hexdigest() for content in asked)]
if action == "write":
    Path(venv, "stackae-" + wanted_set).write_text("\n".join(wanted), encoding="utf-8")
    sys.exit()

state = "outdated"
if Path(venv, "stackae-unfinished").exists() or sys.version_info < (3, 11) or not find_spec("pip"):
    state = "broken"
for name, modules in MODULES.items():
    note = Path(venv, "stackae-" + name)
    if note.exists():
        found = note.read_text(encoding="utf-8").split("\n")
        if found[0] != made or not all(map(find_spec, modules)):
            state = "broken"
        elif name == wanted_set and found == wanted and state == "outdated":
            state = "ready"
print(state)
PYTHON
}

# Prints the state of .venv for a set, as `stamp read` does; one of another version than $PYTHON's is `broken`.
state() { # set
  local version='import sys; print(sys.version_info[:2])'
  if [[ -n "${PYTHON:-}" && "$("$PYTHON" -c "$version" 2>&1)" != "$("$venv/bin/python" -c "$version" 2>&1)" ]]; then
    echo broken
  else
    stamp read "$1" || echo broken
  fi
}

# Says in one line why this Python cannot make .venv, if it cannot.
check_python() { # python
  local version
  if ! command -v "$1" >/dev/null 2>&1; then
    say "stackae needs Python 3.11 or newer, but '$1' was not found: install it, or set PYTHON to its path."
  elif ! version="$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)"; then
    say "stackae needs Python 3.11 or newer, but '$1' does not start: set PYTHON to the path of one that does."
  elif ! "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    say "stackae needs Python 3.11 or newer, but '$1' is Python $version: set PYTHON to the path of a newer one."
  elif ! "$1" -c 'import venv, ensurepip' 2>/dev/null; then
    say "'$1' lacks the venv module: install it (Debian, Ubuntu: apt install python$version-venv), or set PYTHON."
  else
    return 0
  fi
  return 2
}

# Runs a command whose output is of interest only if it fails.
quietly() { # what it does, command…
  local output
  if ! output="$("${@:2}" 2>&1)"; then
    say "$output"
    say "$1 failed, for the reason above; the next start makes .venv anew."
    return 1
  fi
}

install() { # set
  local extras="" python="${PYTHON:-python3}"
  if [[ "$1" == dev ]]; then extras="[dev]"; fi
  if [[ "$(state "$1")" == outdated ]]; then
    say "Bringing .venv up to date."
    touch "$venv/stackae-unfinished" || return 1
  else
    check_python "$python" || return
    say "Making .venv in $root: this takes some minutes, once."
    rm -rf "$venv" && mkdir "$venv" && touch "$venv/stackae-unfinished" || return 1
    quietly "Making .venv" "$python" -m venv "$venv" || return
  fi
  (cd "$root" && quietly "Installing stackae" "$venv/bin/python" -m pip install \
    --disable-pip-version-check --no-input -c constraints.txt -e ".$extras") || return
  # What dev asks for includes what runtime asks for. A set that was not installed now is not vouched for.
  rm -f "$venv/stackae-runtime" "$venv/stackae-dev"
  stamp write runtime || return 1
  if [[ "$1" == dev ]]; then stamp write dev || return 1; fi
  rm "$venv/stackae-unfinished"
}

ready_venv() { # runtime|dev
  [[ "$(state "$1")" == ready ]] && return
  (
    # Two starts at once: the second waits, and then finds the work done. Any file that stays will do to lock.
    if command -v flock >/dev/null && ! flock -n 9; then
      say "Waiting for another start, which is making .venv."
      flock 9
    fi
    [[ "$(state "$1")" == ready ]] || install "$1"
  ) 9<"$root/pyproject.toml"
}
