"""What a run tells the person who started it, while it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class StageProgress(Protocol):
    """One stage's line."""

    def advance(self, epoch: int, share: float, metrics: Mapping[str, float]) -> None:
        """`epoch` epochs are done, and `share` of the rows of the next; `metrics` of the last epoch."""
        ...


class Progress(Protocol):
    """The lines of a run."""

    def stage(self, name: str, epochs: int, rows: int) -> AbstractContextManager[StageProgress]:
        """A stage of at most so many epochs of so many rows begins; it ends with the context."""
        ...

    def reused(self, name: str) -> None:
        """A stage was found finished in the store."""
        ...

    def warn(self, line: str) -> None:
        """Something that the person should know and that stops nothing."""
        ...


class NoStageProgress:
    """Says nothing."""

    def advance(self, epoch: int, share: float, metrics: Mapping[str, float]) -> None:
        pass


class NoProgress:
    """Says nothing; warnings go to Python's `warnings`."""

    @contextmanager
    def stage(self, name: str, epochs: int, rows: int) -> Iterator[StageProgress]:
        yield NoStageProgress()

    def reused(self, name: str) -> None:
        pass

    def warn(self, line: str) -> None:
        import warnings

        warnings.warn(line, stacklevel=2)
