"""How many threads a fit computes with on the CPU: one, unless all are clearly faster."""

from __future__ import annotations

import copy
import json
import os
import statistics
import time
from contextlib import suppress
from pathlib import Path

import torch

from stackae.data.paired import TrainingBatches
from stackae.machine.disk import write_atomically
from stackae.machine.memory import ran_out
from stackae.machine.threads import threads
from stackae.stage_context import StageContext
from stackae.store import THREADS
from stackae.tasks import Task
from stackae.training.trial import steps_on_trial

# Steps that are timed with each number, at most so long, and no more than a small part of the fit's steps.
TRIALS, SECONDS, PART = 8, 0.3, 20
# All threads have to be so much faster: those that one leaves alone are others' to use.
CLEARLY = 1.2


def choose_threads(
    context: StageContext, task: Task, train: TrainingBatches, steps: int, *, resumes: bool
) -> int:
    """Return the number of threads of a fit of so many steps, and note it in the stage's folder.

    It is the configured one. Where that is `auto`, a copy of the task takes a few steps with one thread and
    with all. A fit that resumes takes the number that it began with, so that it goes on bit by bit.
    """
    noted = context.folder / THREADS
    number = None
    if context.team.leads:
        number = _read(noted) if resumes else None
        if number is None:
            number = context.hardware.threads or _fastest(context, task, train, steps)
            write_atomically(noted, json.dumps({"threads": number}))
    return int(context.team.tell(number))


def _read(path: Path) -> int | None:
    with suppress(OSError, ValueError, KeyError, TypeError):
        number = json.loads(path.read_text())["threads"]
        return number if isinstance(number, int) and number > 0 else None
    return None


def _crowded() -> bool:
    """Tell whether more is going on than there are cores.

    Then a moment's lead of several threads says little, and waiting for each other they take ten times as
    long as one.
    """
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > (os.cpu_count() or 1) + 0.5


def _fastest(context: StageContext, task: Task, train: TrainingBatches, steps: int) -> int:
    every, trials = torch.get_num_threads(), min(TRIALS, steps // PART)
    if context.hardware.accelerator != "cpu" or every == 1:
        return every
    if not trials or _crowded():
        return 1
    try:
        rows = -(-train.batch_size // context.team.size)
        step = steps_on_trial(context, copy.deepcopy(task), train.head(rows))
        seconds: dict[int, list[float]] = {1: [], every: []}
        began = time.monotonic()
        # In turn, so that what else the machine does is the same for both; the first of each warms up.
        while len(seconds[every]) <= trials and (
            len(seconds[every]) < 2 or time.monotonic() - began < SECONDS
        ):
            for number, taken in seconds.items():
                with threads(number):
                    started = time.monotonic()
                    step()
                    taken.append(time.monotonic() - started)
    except (RuntimeError, MemoryError) as fault:
        if not ran_out(fault):
            raise
        # The fit itself will say so.
        return 1
    one, all_of_them = (statistics.median(taken[1:]) for taken in seconds.values())
    return every if one > CLEARLY * all_of_them else 1
