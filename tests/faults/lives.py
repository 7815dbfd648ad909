"""The lives of a run's processes: each of its own, or forked where seconds count."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from . import victim
from .forked import PATIENCE, Forked
from .place import Place
from .victim import Orders

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code (-9: killed), what it printed, its start and its length."""

    code: int
    said: str
    started: float
    seconds: float


class Life(Protocol):
    def __call__(
        self, place: Place, words: Sequence[str], orders: Orders | None = None, until: float | None = None
    ) -> Ended: ...


def real_life(
    place: Place, words: Sequence[str], orders: Orders | None = None, until: float | None = None
) -> Ended:
    """The command line in a process of its own; without orders unwatched, killed after `until` seconds."""
    program = ["-m", "stackae"] if orders is None else [victim.__file__, json.dumps(orders)]
    said = place.folder / "said.txt"
    with said.open("w") as file:
        started = time.time()
        process = subprocess.Popen(
            [sys.executable, *program, *words],
            cwd=place.folder,
            env=_environment(place.folder),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
        try:
            process.wait(until or PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            if until is None:
                raise
        finally:
            seconds = time.time() - started
            with suppress(ProcessLookupError):  # W&B's own process, if it has not noticed yet
                os.killpg(process.pid, signal.SIGKILL)
    return Ended(process.returncode, said.read_text(), started, seconds)


def forked_life(
    place: Place, words: Sequence[str], orders: Orders | None = None, until: float | None = None
) -> Ended:
    """The same, forked from a process that has imported the libraries, which takes seconds."""
    assert orders is not None
    assert until is None
    return begin_forked_life(place, words, orders)()


def begin_forked_life(place: Place, words: Sequence[str], orders: Orders) -> Callable[[], Ended]:
    """Starts a forked life; what is returned waits for its end."""
    said = Path(orders.log).with_suffix(".txt")
    started = time.time()
    process = Forked(victim.live_in, place.folder, orders, list(words), output=(said, said))

    def end() -> Ended:
        code = process.wait()
        return Ended(code, said.read_text(), started, time.time() - started)

    return end


def _environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "XDG_"))}
    return kept | {
        "HOME": str(home),
        "PYTHONPATH": str(REPOSITORY),
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "NO_COLOR": "1",
    }
