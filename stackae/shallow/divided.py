"""Batches whose rows are divided over processes, each of which computes on its own as if it had them all.

What is drawn is drawn for the whole batch by every process, from generators that stand alike, and each takes
its own rows of it: so noise is that of one process. What is summed over a batch is summed over all processes.
Outside of `dividing` a batch is whole, and nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor


class Part(NamedTuple):
    """Which rows of a whole batch a process has: those between two neighbouring edges.

    `edges` are the numbers of each process's first row, and at the end how many rows there are.
    """

    edges: tuple[int, ...]
    rank: int

    @property
    def own(self) -> slice:
        """The process's own rows."""
        return slice(self.edges[self.rank], self.edges[self.rank + 1])

    @property
    def rows(self) -> int:
        """Number of rows of the whole batch."""
        return self.edges[-1]

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many rows each process has."""
        return tuple(upper - lower for lower, upper in zip(self.edges, self.edges[1:], strict=False))

    @property
    def processes(self) -> int:
        """Over how many processes the rows are divided."""
        return len(self.edges) - 1

    @property
    def weight(self) -> float:
        """By what a mean over the own rows counts, so that the processes' mean is that of the whole."""
        return self.sizes[self.rank] * self.processes / max(1, self.rows)

    def among(self, chosen: Tensor) -> Part:
        """Return the part of those rows of the whole batch that are chosen: (rows,) of true and false."""
        return Part(tuple(int(chosen[:edge].sum()) for edge in self.edges), self.rank)


def evenly(rows: int, processes: int, rank: int) -> Part:
    """Divide rows over so many processes; their numbers differ by one at most."""
    return Part(tuple(rows * number // processes for number in range(processes + 1)), rank)


_part: Part | None = None


class dividing:
    """While the context lasts, the rows at hand are a process's part of a batch; None: they are all of it."""

    def __init__(self, part: Part | None) -> None:
        self._given = part

    def __enter__(self) -> None:
        global _part
        self._before, _part = _part, self._given

    def __exit__(self, *fault: object) -> None:
        global _part
        _part = self._before


def are_divided() -> bool:
    """Tell whether the rows at hand are a part of a batch, be it all of them."""
    return _part is not None


def whole_rows(rows: int) -> int:
    """Return how many rows the whole batch has, of which this process has so many."""
    return rows if _part is None else _part.rows


def own_rows(rows: int) -> slice:
    """Return which rows of the whole batch this process's are."""
    return slice(0, rows) if _part is None else _part.own


def drawn(like: Tensor, draw: Callable[[Tensor], Tensor]) -> Tensor:
    """Draw what `draw` makes of a tensor (rows, *shape) like the given one: the own rows of the whole's."""
    if _part is None:
        return draw(like)
    return draw(like.new_empty(_part.rows, *like.shape[1:]))[_part.own]


def summed(values: Tensor) -> Tensor:
    """Return the sum over all processes, differentiable: each process's gradient flows back to all."""
    if _part is None:
        return values
    total: Tensor = _Sum.apply(values)  # type: ignore[no-untyped-call]
    return total


def batch_mean(values: Tensor) -> Tensor:
    """Return the mean over the rows of the whole batch, (rows, *shape) -> shape, differentiable."""
    return values.mean(0) if _part is None else summed(values.sum(0)) / _part.rows


def of_each(values: Tensor) -> Tensor:
    """Return what each process has of such values, (processes, *shape), differentiable as `summed` is."""
    if _part is None:
        return values[None]
    slots = [values if rank == _part.rank else torch.zeros_like(values) for rank in range(_part.processes)]
    return summed(torch.stack(slots))


def rows_of_each(rows: int) -> tuple[int, ...]:
    """Return how many rows of the batch each process has, of which this one has so many."""
    return (rows,) if _part is None else _part.sizes


@torch.no_grad()
def gathered(x: Tensor) -> Tensor:
    """Return the rows of the whole batch, of which x (rows, *shape) has the own ones; no gradient flows."""
    if _part is None:
        return x
    sizes = _part.sizes
    # Processes exchange tensors of one size alone.
    padded = x.new_zeros(max(sizes), *x.shape[1:])
    padded[: len(x)] = x
    every = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(every, padded)
    return torch.cat([rows[:size] for rows, size in zip(every, sizes, strict=True)])


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total: Tensor = _Sum.apply(gradients[0])  # type: ignore[no-untyped-call]
        return total
