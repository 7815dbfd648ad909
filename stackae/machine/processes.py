"""How many processes work side by side, and the one that they are forked from."""

from __future__ import annotations

import multiprocessing
import os
import signal
from typing import Any, Literal

# What takes seconds to import is imported once, in the process that all others are forked from.
LIBRARIES = [
    *("pytorch_lightning", "sklearn.linear_model", "sklearn.ensemble", "scipy.stats", "pandas"),
    "stackae.jobs.stage_work",
]


def count(jobs: int | Literal["auto"]) -> int:
    """Return how many processes that makes: with `auto` one for each core."""
    if jobs != "auto":
        return jobs
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def prepare(jobs: int | Literal["auto"]) -> None:
    """Start the process that others are forked from, if there are to be any.

    It imports what they need while this one imports it too, which spares them to wait for it later. Those
    that are forked from it are to `hear_interrupts`.
    """
    if count(jobs) == 1 or not _forks():
        return
    from multiprocessing import forkserver, resource_tracker

    context()
    # Which unblocks interrupts when it has started.
    resource_tracker.ensure_running()
    # A terminal's Ctrl-C while it imports is not its own to end by. What is blocked here is so in it, too.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def hear_interrupts() -> None:
    """Undo in a process that was forked what `prepare` did for the one that it was forked from."""
    if _forks():
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def context() -> Any:
    """Return what makes processes."""
    made: Any = multiprocessing.get_context("forkserver" if _forks() else "spawn")
    if _forks():
        made.set_forkserver_preload(LIBRARIES)
    return made


def _forks() -> bool:
    return "forkserver" in multiprocessing.get_all_start_methods()
