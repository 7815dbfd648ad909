"""The progress of a run, told to the person who started it while it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class StageProgress(Protocol):
    """One stage's line."""

    def advance(self, done: int, share: float, metrics: Mapping[str, float]) -> None:
        """Tell that `done` steps are done, and `share` of the next; `metrics` are those of the last."""
        ...


class Progress(Protocol):
    """The lines of a run."""

    def stage(
        self, name: str, steps: int, rows: int = 0, step: str = "epoch", threads: int = 0
    ) -> AbstractContextManager[StageProgress]:
        """Tell that a stage of at most so many steps begins; it ends with the context.

        A step is called `step` and goes through `rows` rows; 0 where a rate would mean nothing. It computes
        with so many threads; 0 where that is nothing to tell.
        """
        ...

    def reused(self, name: str) -> None:
        """Tell that a stage is taken from the store, finished."""
        ...

    def restored(self, name: str) -> None:
        """Tell that a finished stage's features, which had been removed, were made again."""
        ...

    def resumed(self, name: str, place: str) -> None:
        """Tell that a stopped stage goes on from its checkpoint; `place` says how far that had come."""
        ...

    def warn(self, line: str) -> None:
        """Warn, in one line, of something that the person should know and that stops nothing."""
        ...


class NoStageProgress:
    """Says nothing."""

    def advance(self, done: int, share: float, metrics: Mapping[str, float]) -> None:
        pass


class NoProgress:
    """Says nothing; warnings go to Python's `warnings`, unless another process `warns` of the same."""

    def __init__(self, *, warns: bool = True) -> None:
        self._warns = warns

    @contextmanager
    def stage(
        self, name: str, steps: int, rows: int = 0, step: str = "epoch", threads: int = 0
    ) -> Iterator[StageProgress]:
        yield NoStageProgress()

    def reused(self, name: str) -> None:
        pass

    def restored(self, name: str) -> None:
        pass

    def resumed(self, name: str, place: str) -> None:
        pass

    def warn(self, line: str) -> None:
        import warnings

        if self._warns:
            warnings.warn(line, stacklevel=2)
