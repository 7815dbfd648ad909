"""A run that is watched from inside and dies where it is told to: `victim.py ORDERS run CONFIG …`.

ORDERS is the JSON of an `Orders`. The hooks sit at low-level points of Python and of the libraries, and at
nothing of stackae's own, so that they stay where they are whatever is changed there. They watch only: short
of its end, a run with hooks does what one without does.
"""

from __future__ import annotations

import builtins
import io
import json
import os
import re
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Literal, NamedTuple

STAGE_FILE = re.compile(r"([^/]+)-[0-9a-f]{16}(?:(\.lock)|/(.*))?")
UNLIKE = re.compile(r"[0-9a-f]{16,}")  # what is in no two runs the same


class Point(NamedTuple):
    """The n-th time, from 1, that something happens in a stage; without a stage, a process's n-th event."""

    n: int
    stage: str = ""
    kind: str = ""

    def __str__(self) -> str:
        return f"{self.stage}: {self.kind} {self.n}" if self.stage else f"event {self.n}"


class Orders(NamedTuple):
    """Where a run writes, where its events are noted, and what is to happen when."""

    log: str
    store: str
    out: str
    point: Point | None = None
    action: Literal["kill", "vanish"] = "kill"  # vanish: the store is deleted, and the run left alive
    clock: Literal["forwards", "backwards"] = "forwards"

    @classmethod
    def parse(cls, text: str) -> Orders:
        log, store, out, point, action, clock = json.loads(text)
        return cls(log, store, out, Point(*point) if point else None, action, clock)


class Watch:
    """Notes what happens in which stage, and carries out the orders."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._log = os.open(orders.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._counts: Counter[tuple[str, str]] = Counter()
        self._stage = "start"
        self._done = False

    def event(self, kind: str, stage: str = "", spoil: Callable[[], object] | None = None) -> None:
        """Notes one event; at the point of death does `spoil` first: what a kill in its middle leaves."""
        if self._done:
            return
        stage = stage or self._stage
        self._counts[stage, kind] += 1
        count = self._counts[stage, kind]
        line = {"stage": stage, "kind": kind, "n": count, "t": time.monotonic()}
        os.write(self._log, json.dumps(line).encode() + b"\n")
        if self._orders.point in (Point(count, stage, kind), Point(self._counts.total())):
            self._done = True
            if self._orders.action == "vanish":
                shutil.rmtree(self._orders.store)
                return
            if spoil is not None:
                spoil()
            os.kill(os.getpid(), signal.SIGKILL)

    def file(self, doing: str, path: str, spoil: Callable[[], object] | None = None) -> None:
        """Notes what is done to a file of the store or of the run's folder; other files are no matter."""
        path = os.path.abspath(path)
        if path.startswith(self._orders.store + os.sep):
            inside = path[len(self._orders.store) + 1 :]
            stage = self._stage
            if found := STAGE_FILE.fullmatch(inside):
                stage, lock, name = found.groups()
                self._stage = stage if lock else self._stage
                inside = name or ("lock" if lock else "folder")
            self.event(f"{doing} {UNLIKE.sub('*', inside)}", stage, spoil)
        elif path.startswith(self._orders.out + os.sep):
            name = path[len(self._orders.out) + 1 :]
            if not name.startswith("wandb"):
                self.event(f"{doing} {name}", "results", spoil)


def hook_files(watch: Watch) -> None:
    """Events where files are opened for writing, half written, forced to the disk, put in place, removed."""
    writing = os.O_WRONLY | os.O_RDWR
    real_open, sync = io.open, os.fsync

    def audit(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(args[0], str | os.PathLike) and args[2] & writing:
            watch.file("open", os.fspath(args[0]))
        elif event == "os.remove":
            watch.file("remove", os.fspath(args[0]))

    @wraps(real_open)
    def opened(file: Any, mode: str = "r", *rest: Any, **options: Any) -> Any:
        made = real_open(file, mode, *rest, **options)
        if isinstance(file, str | os.PathLike) and not {"w", "a", "x", "+"}.isdisjoint(mode):
            path, close = os.fspath(file), made.close

            def closed() -> None:
                if not made.closed:
                    close()
                    watch.file("half", path, lambda: os.truncate(path, os.path.getsize(path) // 2))

            made.close = closed  # type: ignore[method-assign]
        return made

    def moving(move: Callable[..., None]) -> Callable[..., None]:
        @wraps(move)
        def moved(source: str, target: str, **options: Any) -> None:
            watch.file("replace", target)
            move(source, target, **options)
            watch.file("replaced", target)

        return moved

    def fsync(handle: Any) -> None:
        watch.file("sync", os.readlink(f"/proc/self/fd/{handle}"))
        sync(handle)

    sys.addaudithook(audit)
    io.open = builtins.open = opened
    os.replace, os.rename, os.fsync = moving(os.replace), moving(os.rename), fsync  # type: ignore[assignment]


def hook_memory_maps(watch: Watch) -> None:
    """Events before, in the middle and after each chunk of an array that is written in place.

    To be called before stackae is imported, which takes the function by its name.
    """
    import numpy as np

    create = np.lib.format.open_memmap

    class Watched(np.memmap):
        def __setitem__(self, rows: Any, values: Any) -> None:
            def half() -> None:
                first = np.arange(len(self))[rows]
                all_values = np.broadcast_to(values, (len(first), *self.shape[1:]))
                first = first[: len(first) // 2]
                super(Watched, self).__setitem__(first, all_values[: len(first)])

            path = os.fspath(self.filename or "")
            watch.file("half chunk", path, half)
            super().__setitem__(rows, values)
            watch.file("chunk", path)

    def open_memmap(filename: Any, mode: str = "r+", *rest: Any, **options: Any) -> Any:
        made = create(filename, mode, *rest, **options)
        return made if mode == "r" else made.view(Watched)

    np.lib.format.open_memmap = open_memmap


def hook_training(watch: Watch) -> None:
    """Events before and after a step, and all that is done at the end of an epoch and of a probe's fit."""
    import pytorch_lightning as pl
    from sklearn.linear_model import LogisticRegression
    from torch.optim import optimizer

    class First(pl.Callback):
        def on_validation_start(self, *_: Any) -> None:
            watch.event("validation")

        def on_train_epoch_end(self, *_: Any) -> None:
            watch.event("epoch")

    class Last(pl.Callback):
        def on_train_epoch_end(self, *_: Any) -> None:
            watch.event("epoch over")

    fit, regress = pl.Trainer.fit, LogisticRegression.fit

    def watched_fit(self: Any, *given: Any, **named: Any) -> None:
        self.callbacks[:] = [First(), *self.callbacks, Last()]
        fit(self, *given, **named)
        watch.event("fit over")

    def watched_regress(self: Any, *given: Any, **named: Any) -> Any:
        watch.event("regression")
        return regress(self, *given, **named)

    optimizer.register_optimizer_step_pre_hook(lambda *_: watch.event("step"))
    optimizer.register_optimizer_step_post_hook(lambda *_: watch.event("batch"))
    pl.Trainer.fit, LogisticRegression.fit = watched_fit, watched_regress  # type: ignore[method-assign]


def turn_back_the_clock() -> None:
    """From now on the time of day runs backwards, an hour for each second."""
    real, start = time.time, time.time()
    time.time = lambda: start - 3600 * (real() - start)


def live(orders: Orders, words: Sequence[str]) -> None:
    """Carries out `stackae WORDS` under the orders; ends with SystemExit, or not at all."""
    watch = Watch(orders)
    hook_files(watch)
    hook_memory_maps(watch)
    hook_training(watch)
    if orders.clock == "backwards":
        turn_back_the_clock()
    from stackae.cli import main

    sys.argv = ["stackae", *words]
    main()


def live_in(folder: Path, orders: Orders, words: Sequence[str]) -> None:
    """As `live`, in `folder`, for a process that was forked."""
    os.chdir(folder)
    live(orders, words)


if __name__ == "__main__":
    live(Orders.parse(sys.argv[1]), sys.argv[2:])
