"""A run's progress, told in one process and shown in another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import count
from typing import Any

from stackae.machine import signals
from stackae.progress import Progress, StageProgress

Send = Callable[[tuple[Any, ...]], object]


class Telling:
    """Sends what it is told, as tuples of plain data."""

    def __init__(self, send: Send) -> None:
        self._send, self._numbers = send, count()

    @contextmanager
    def stage(
        self, name: str, steps: int, rows: int = 0, step: str = "epoch", threads: int = 0
    ) -> Iterator[StageProgress]:
        send, number = self._send, next(self._numbers)
        send(("begin", number, name, steps, rows, step, threads))

        class Line:
            def advance(self, done: int, share: float, metrics: Mapping[str, float]) -> None:
                send(("advance", number, done, share, dict(metrics)))

        try:
            yield Line()
        except BaseException:
            send(("break", number))
            raise
        send(("end", number))

    def reused(self, name: str) -> None:
        self._send(("reused", name))

    def restored(self, name: str) -> None:
        self._send(("restored", name))

    def resumed(self, name: str, place: str) -> None:
        self._send(("resumed", name, place))

    def warn(self, line: str) -> None:
        self._send(("warn", line))


class Showing:
    """Shows what one process sends, with what else is shown."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._stages: dict[int, tuple[AbstractContextManager[StageProgress], StageProgress]] = {}

    def show(self, told: tuple[Any, ...]) -> None:
        match told:
            case ("begin", number, *given):
                stage = self._progress.stage(*given)
                self._stages[number] = (stage, stage.__enter__())
            case ("advance", number, done, share, metrics):
                self._stages[number][1].advance(done, share, metrics)
            case ("end", number):
                self._stages.pop(number)[0].__exit__(None, None, None)
            case ("break", number):
                self._break(self._stages.pop(number)[0])
            case ("kept", stage, upto):
                signals.keep(stage, upto)
            case (what, *given):
                getattr(self._progress, what)(*given)

    def close(self) -> None:
        """End the lines of stages that have not ended."""
        for stage, _ in self._stages.values():
            self._break(stage)
        self._stages.clear()

    def _break(self, stage: AbstractContextManager[StageProgress]) -> None:
        with suppress(_Broken):
            stage.__exit__(_Broken, _Broken(), None)


class _Broken(Exception):
    """A stage came to no end."""
