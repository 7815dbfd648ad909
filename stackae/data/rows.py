"""Rows as a source has them, before they are numbers: read a chunk at a time, however many there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias, Union

import numpy as np

if TYPE_CHECKING:
    from stackae.data.tables.normalised import Normalised

Raw: TypeAlias = Union[np.ndarray, "Normalised"]
"""Rows of an array (rows, *shape), or of a table, normalised."""

CHUNK = 2048
"""The most rows that are worked on at once."""
_VALUES = 1 << 24


def chunk_rows(shape: Sequence[int]) -> int:
    """Return how many rows of a shape are worked on at once: CHUNK, or fewer where rows are very large."""
    return max(1, min(CHUNK, _VALUES // max(1, int(np.prod(shape)))))


class Rows(Protocol):
    """Numbered rows from 0, of which a chunk is in memory at a time."""

    def __len__(self) -> int: ...
    def chunks(self) -> Iterator[tuple[int, Raw]]:
        """Yield all rows in their order: the number of a chunk's first row, and the chunk."""
        ...

    def take(self, rows: np.ndarray) -> Raw:
        """Return rows by their numbers, which ascend, in memory."""
        ...


class ArrayRows:
    """The rows of an array (rows, *shape), in memory or memory-mapped."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    def chunks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield all rows in their order: the number of a chunk's first row, and the chunk."""
        size = chunk_rows(self.x.shape[1:])
        for start in range(0, len(self.x), size):
            yield start, np.asarray(self.x[start : start + size])

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return rows by their numbers, in memory."""
        array: np.ndarray = np.asarray(self.x[rows])
        return array


class Joined:
    """Several rows of one kind, one after the other."""

    def __init__(self, parts: Sequence[Rows]) -> None:
        assert parts
        self.parts = tuple(parts)
        self._ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def chunks(self) -> Iterator[tuple[int, Raw]]:
        """Yield all rows of each part in turn: the number of a chunk's first row, and the chunk."""
        for part, end in zip(self.parts, self._ends, strict=True):
            for start, raw in part.chunks():
                yield int(end) - len(part) + start, raw

    def take(self, rows: np.ndarray) -> Raw:
        """Return rows by their numbers, which ascend, in memory."""
        pieces = []
        for part, end in zip(self.parts, self._ends, strict=True):
            first = int(end) - len(part)
            inside = rows[(rows >= first) & (rows < end)]
            if len(inside):
                pieces.append(part.take(inside - first))
        if not pieces:
            return self.parts[0].take(rows)
        return join(pieces)


def join(pieces: Sequence[Raw]) -> Raw:
    """Put rows of one kind one after the other; at least one piece."""
    arrays = [piece for piece in pieces if isinstance(piece, np.ndarray)]
    if arrays:
        return np.concatenate(arrays)
    from stackae.data.tables.normalised import joined

    return joined([piece for piece in pieces if not isinstance(piece, np.ndarray)])
