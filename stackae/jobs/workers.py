"""Processes that carry out orders side by side."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any

from stackae import errors
from stackae.errors import StackaeError, TrainingError
from stackae.jobs.told import Showing, Telling
from stackae.machine import signals
from stackae.machine.processes import context, hear_interrupts
from stackae.progress import Progress

# After a signal everything ends within two seconds, this process's own last words included.
PATIENCE = 1.3

Work = Callable[[Any, Progress], Any]
"""Carries out an order and returns a result, both plain data; a function of a module."""


class Workers:
    """At most so many processes that do `work`, started where there is an order for them.

    What they tell is shown by `progress`. A signal, or a failure of one, ends all of them at safe points.
    """

    def __init__(self, number: int, work: Work, progress: Progress) -> None:
        self._number, self._work, self._progress = number, work, progress
        self._workers: list[_Worker] = []

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        number = fault.number if isinstance(fault, signals.Stopped) else signal.SIGTERM
        for worker in self._workers:
            worker.stop(number)
        until = time.monotonic() + PATIENCE
        while (running := [each for each in self._workers if each.runs]) and time.monotonic() < until:
            for worker in self._ready(running, until - time.monotonic()):
                with suppress(StackaeError):
                    worker.hear()
        for worker in self._workers:
            worker.end()

    @property
    def free(self) -> bool:
        """Whether one more order can be given."""
        return any(worker.order is None for worker in self._workers) or len(self._workers) < self._number

    def give(self, order: Any) -> None:
        """Give an order to a worker that is free."""
        idle = next((worker for worker in self._workers if worker.order is None), None)
        if idle is None:
            idle = _Worker(self._work, self._progress)
            self._workers.append(idle)
        idle.give(order)

    def next(self) -> tuple[Any, Any]:
        """Wait until an order is carried out; return it and its result. Raises what its worker raised."""
        while True:
            for worker in self._ready([each for each in self._workers if each.order is not None], None):
                done = worker.hear()
                if done is not None:
                    return done

    @staticmethod
    def _ready(workers: list[_Worker], seconds: float | None) -> list[_Worker]:
        ready = wait([worker.connection for worker in workers], seconds)
        return [worker for worker in workers if worker.connection in ready]


class _Worker:
    def __init__(self, work: Work, progress: Progress) -> None:
        made = context()
        self.connection, theirs = made.Pipe()
        self._process = made.Process(target=_live, args=(theirs, work), daemon=True)
        self._process.start()
        theirs.close()
        self._showing = Showing(progress)
        self.order: Any = None
        self.runs = True

    def give(self, order: Any) -> None:
        self.order = order
        self.connection.send(order)

    def hear(self) -> tuple[Any, Any] | None:
        """Take one message; return an order that is carried out and its result, or None."""
        try:
            what, *told = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.runs = False
            self._process.join(1)
            raise TrainingError(
                f"a process of --jobs ended by itself (exit code {self._process.exitcode}), perhaps for want "
                "of memory; start again with fewer jobs: what was done is kept"
            ) from None
        if what == "failed":
            name, message = told
            kind = getattr(errors, name, None)
            raise kind(message) if kind is not None else RuntimeError(message)
        if what != "done":
            self._showing.show((what, *told))
            return None
        order, self.order = self.order, None
        return order, told[0]

    def stop(self, number: int) -> None:
        """Ask for an end: at once if there is nothing to do, else at the next safe point."""
        with suppress(OSError):
            if self.order is None:
                self.connection.send(None)
            elif self._process.pid is not None and self._process.is_alive():
                os.kill(self._process.pid, number)

    def end(self) -> None:
        self._showing.close()
        if self._process.is_alive():
            self._process.join(0.1)
            self._process.kill()
        self.connection.close()


def _live(connection: Connection, work: Work) -> None:
    # A terminal's Ctrl-C is this process's to hear of from the one that it works for, and from no other.
    if hasattr(os, "setsid"):
        os.setsid()
    hear_interrupts()
    orders: queue.SimpleQueue[Any] = queue.SimpleQueue()
    lock = threading.Lock()

    def listen() -> None:
        while True:
            try:
                orders.put(connection.recv())
            except (EOFError, OSError):
                # Whom it works for has gone. What is on disk is valid at every moment.
                os._exit(1)

    def send(message: tuple[Any, ...]) -> None:
        with lock:
            connection.send(message)

    threading.Thread(target=listen, daemon=True).start()
    telling = Telling(send)
    try:
        with signals.watched(lambda number: "", lambda stage, upto: send(("kept", stage, upto))):
            while (order := orders.get()) is not None:
                try:
                    result = work(order, telling)
                except StackaeError as fault:
                    send(("failed", type(fault).__name__, str(fault)))
                except Exception:
                    send(("failed", "", traceback.format_exc()))
                else:
                    send(("done", result))
    except signals.Stopped as stop:
        signals.end(stop.number, "")
