"""Whole batches of rows, from a place that is known, so that a killed run goes on exactly there."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from stackae.data.read_ahead import ReadAhead
from stackae.seeds import derive
from stackae.shallow.divided import Part, evenly

# Rows are read for several batches at once, of so many bytes: each reading has a price of its own.
AHEAD = 1 << 20


class Indexed(Protocol):
    """Rows (rows, *shape) that are taken by their numbers."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __len__(self) -> int: ...
    def take(self, rows: np.ndarray, axis: Literal[0]) -> np.ndarray: ...


class Batch(NamedTuple):
    """Rows x (rows, *shape), their classes y (rows,) or None, and where in training they stand.

    `weight` (rows,) says how much each row counts, on average 1 over all rows; None where all count alike.
    """

    x: Tensor
    y: Tensor | None
    epoch: int
    number: int
    weight: Tensor | None = None
    fold: Tensor | None = None
    """The fold of each row (rows,), where there are folds."""
    beside: Tensor | None = None
    """Rows without labels (any number, *shape) that are learnt from in the same step."""
    part: Part | None = None
    """Which rows of a batch that is divided over processes these are; None where they are all of it."""
    whole_fold: Tensor | None = None
    """The folds of all rows of a batch that is divided, on the CPU."""

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device, without waiting for it."""
        beside = None if self.beside is None else _to(self.beside, device)
        return self._each(lambda tensor: _to(tensor, device))._replace(beside=beside)

    def select(self, rows: slice | Tensor) -> Batch:
        """Return some of its rows, by a slice or by their numbers; those beside them stay."""
        return self._each(lambda tensor: tensor[rows])

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        y, weight, fold = (
            None if each is None else change(each) for each in (self.y, self.weight, self.fold)
        )
        return self._replace(x=change(self.x), y=y, weight=weight, fold=fold)


def _to(tensor: Tensor, device: torch.device) -> Tensor:
    if device.type == "cuda" and tensor.is_cpu:
        # From memory that may be moved the host would wait until all is copied.
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


class Batches:
    """Batches of an array's rows; with a seed in an order that depends on (seed, epoch) alone.

    `balanced`, which needs a seed and classes, draws as many rows instead, each of any class with equal
    probability and then any row of that class: rows of rare classes come several times, others not at all.
    `weight` says how much each row of `x` counts, in proportion to the others of `rows`.
    Reads a memory map as well as an array in memory. Batches of an epoch differ by a row at most, so that
    none is too small for statistics of its own. Its state is the position within the epoch, which moves
    along. Lightning saves and restores it, and supplies the epoch through `sampler.set_epoch`, which is why
    `sampler` is the loader itself.
    """

    # Lightning asks every loader with a sampler for it.
    batch_sampler = None

    def __init__(
        self,
        x: Indexed,
        y: np.ndarray | None = None,
        *,
        batch_size: int,
        rows: np.ndarray | None = None,
        seed: int | None = None,
        balanced: bool = False,
        weight: np.ndarray | None = None,
        fold: np.ndarray | None = None,
    ) -> None:
        assert not balanced or (y is not None and seed is not None)
        # Not as a memory map: every operation on one makes another of its kind.
        self._x: Indexed = np.asarray(x) if isinstance(x, np.ndarray) else x
        # Rows in the file's order are read ahead by the system itself.
        self._ahead = ReadAhead(x if seed is not None else None)
        self._y, self._fold = y, fold
        self._rows = np.arange(len(x)) if rows is None else rows
        self._weight = None if weight is None else (weight / weight[self._rows].mean()).astype(np.float32)
        self._seed = seed
        self._balanced = balanced
        self._epoch = self._position = 0
        self._rank, self._processes = 0, 1
        self._held: tuple[np.ndarray, Tensor] | None = None
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self._rows) // self.batch_size)

    @property
    def rows(self) -> int:
        """Number of rows in an epoch."""
        return len(self._rows)

    def head(self, rows: int) -> Batch:
        """Return the first rows, in no random order."""
        return self._batch(self._rows[:rows], 0)._replace(epoch=0)

    @property
    def sampler(self) -> Batches:
        """The loader itself, whose `set_epoch` Lightning calls."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, on which the order of the rows depends."""
        self._epoch = epoch

    def state_dict(self) -> dict[str, int]:
        """Return the position within the epoch, in batches."""
        return {"position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from a position that `state_dict` returned."""
        self._position = state["position"]

    def divided(self, rank: int, processes: int) -> Batches:
        """Return the same batches, of each of which this one of so many processes has its part."""
        other = copy.copy(self)
        other._rank, other._processes = rank, processes
        return other

    def held(self, device: torch.device, most: int) -> Batches:
        """Return the same batches of rows on a device, or these where that takes over `most` bytes."""
        numbers = np.unique(self._rows)
        if 4 * len(numbers) * math.prod(self._x.shape[1:]) > most:
            return self
        x = torch.empty(len(numbers), *self._x.shape[1:], device=device)
        size = max(1, AHEAD // max(1, 4 * math.prod(self._x.shape[1:])))
        for start in range(0, len(numbers), size):
            chunk = slice(start, start + size)
            x[chunk] = torch.from_numpy(self._x.take(numbers[chunk], axis=0))
        other = copy.copy(self)
        other._held = numbers, x
        return other

    @property
    def smallest(self) -> int:
        """Number of rows of the smallest batch."""
        return len(self._rows) // len(self)

    @property
    def numbers(self) -> np.ndarray:
        """The numbers of the rows, in no random order."""
        return self._rows

    def __iter__(self) -> Iterator[Batch]:
        # The end of an epoch is the start of the next: whoever counts batches never exhausts this iterator,
        # so nothing after the loop could be relied upon to turn the position back.
        first = self._position % len(self)
        for batch in self._read(self._order(), first):
            self._position = batch.number + 1
            yield batch

    def _read(self, order: np.ndarray, first: int) -> Iterator[Batch]:
        """Read rows in an order, from the batch of this number on."""
        edges = [len(order) * number // len(self) for number in range(len(self) + 1)]
        row_bytes = 4 * math.prod(self._x.shape[1:])
        ahead = max(1, AHEAD * self._processes // max(1, self.batch_size * row_bytes))
        asked = edges[first]
        for start in range(first, len(self), ahead):
            numbers = range(start, min(start + ahead, len(self)))
            low = edges[start]
            self._ahead.ask_for(order[asked : edges[numbers.stop] + self._ahead.rows])
            asked = edges[numbers.stop] + self._ahead.rows
            rows = order[low : edges[numbers.stop]].copy()
            parts = [slice(edges[number] - low, edges[number + 1] - low) for number in numbers]
            for part in parts:
                # Reading in the file's order is faster, and a batch has no order of its own.
                rows[part].sort()
            if self._processes > 1:
                yield from self._read_parts(start, [rows[part] for part in parts])
                continue
            every = self._batch(rows, start)
            for number, part in zip(numbers, parts, strict=True):
                # A copy, at an address that torch chose: to which bits a product is rounded depends on how
                # its factors lie in memory, and that must not depend on where the reading began.
                x = every.x[part].clone()
                y, weight, fold = (
                    None if each is None else each[part] for each in (every.y, every.weight, every.fold)
                )
                yield Batch(x, y, every.epoch, number, weight, fold)

    def _read_parts(self, start: int, batches: Sequence[np.ndarray]) -> Iterator[Batch]:
        """Read the own part of each of some batches, the first of which has the number `start`."""
        parts = [evenly(len(rows), self._processes, self._rank) for rows in batches]
        own = [rows[part.own] for rows, part in zip(batches, parts, strict=True)]
        every, first = self._batch(np.concatenate(own), start), 0
        for number, (rows, part) in enumerate(zip(batches, parts, strict=True), start):
            here = slice(first, first := first + len(own[number - start]))
            fold = None if self._fold is None else torch.from_numpy(self._fold[rows])
            batch = every.select(here)._replace(number=number, part=part, whole_fold=fold)
            yield batch._replace(x=batch.x.clone())

    def _batch(self, rows: np.ndarray, number: int) -> Batch:
        y, weight, fold = (
            None if each is None else torch.from_numpy(each[rows])
            for each in (self._y, self._weight, self._fold)
        )
        return Batch(self._take(rows), y, self._epoch, number, weight, fold)

    def _take(self, rows: np.ndarray) -> Tensor:
        if self._held is None:
            return torch.from_numpy(self._x.take(rows, axis=0))
        numbers, x = self._held
        return x[_to(torch.from_numpy(np.searchsorted(numbers, rows)), x.device)]

    def _order(self) -> np.ndarray:
        if self._seed is None:
            return self._rows
        rng = torch.Generator().manual_seed(derive(self._seed, "order", self._epoch))
        if self._balanced:
            return self._draw(rng)
        order: np.ndarray = self._rows[torch.randperm(len(self._rows), generator=rng).numpy()]
        return order

    def _draw(self, rng: torch.Generator) -> np.ndarray:
        """Draw as many rows as there are, with every class that occurs among them equally likely."""
        assert self._y is not None
        _, classes, sizes = np.unique(self._y[self._rows], return_inverse=True, return_counts=True)
        by_class = self._rows[np.argsort(classes, kind="stable")]
        draws = torch.randint(len(sizes), (len(self._rows),), generator=rng).numpy()
        share = torch.rand(len(self._rows), generator=rng, dtype=torch.float64).numpy()
        starts = np.cumsum(sizes) - sizes
        order: np.ndarray = by_class[starts[draws] + (share * sizes[draws]).astype(np.int64)]
        return order
