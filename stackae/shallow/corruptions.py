"""Corruptions: what is done to a unit's input while it trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from stackae.shallow.divided import dividing, drawn, gathered, own_rows


class Corruption(Protocol):
    """Returns a corrupted copy of `x` (rows, *shape), drawing from `rng` alone."""

    def __call__(self, x: Tensor, rng: torch.Generator) -> Tensor: ...


def survivors(like: Tensor, rate: float, rng: torch.Generator | None) -> Tensor:
    """Draw what losses at a rate leave: 0 with probability `rate` in [0, 1), else 1, in all else as `like`.

    The probability is met to 2**-17. Without `rng` the global generator draws. Four decisions come from one
    number of 64 bits, and the comparison writes numbers: a sixth of the time of `torch.rand(…) >= rate`.
    """
    return drawn(like, lambda whole: _survivors(whole, rate, rng))


def _survivors(like: Tensor, rate: float, rng: torch.Generator | None) -> Tensor:
    size = like.numel()
    draws = torch.empty(-(-size // 4), dtype=torch.int64, device=like.device)
    bits = draws.random_(-(2**63), None, generator=rng).view(torch.int16)
    if size % 4:
        bits = bits[:size]
    lost = min(round(rate * 2**16), 2**16 - 1) - 2**15
    return torch.ge(
        bits.view(like.shape), lost, out=torch.empty_like(like, memory_format=torch.contiguous_format)
    )


@dataclass(frozen=True)
class Masking:
    """Sets each input to 0 with probability `rate`, in [0, 1) (Vincent et al. 2010, section 3.3).

    `columns` has for each input of a row (features,) the index of the table's column that it comes from:
    then columns are drawn, and all inputs of one are set to 0 together.
    """

    rate: float
    columns: tuple[int, ...] | None = None

    def __call__(self, x: Tensor, rng: torch.Generator) -> Tensor:
        if self.columns is not None:
            column = torch.tensor(self.columns, device=x.device)
            kept = survivors(x.new_empty(len(x), max(self.columns) + 1), self.rate, rng)
            return x * kept.index_select(1, column)
        return survivors(x, self.rate, rng).mul_(x)


@dataclass(frozen=True)
class Gaussian:
    """Adds normal noise of standard deviation `sigma`; `clip` keeps the result in [0, 1]."""

    sigma: float
    clip: bool = False

    def __call__(self, x: Tensor, rng: torch.Generator) -> Tensor:
        noise = drawn(x, lambda rows: torch.randn(rows.shape, generator=rng, device=x.device, dtype=x.dtype))
        noisy = noise.mul_(self.sigma).add_(x)
        return noisy.clamp_(0.0, 1.0) if self.clip else noisy


@dataclass(frozen=True)
class SaltPepper:
    """Sets each input, with probability `rate` in [0, 1), to 0 or to 1 with equal probability.

    For inputs in [0, 1] (Vincent et al. 2010, section 3.3).
    """

    rate: float

    def __call__(self, x: Tensor, rng: torch.Generator) -> Tensor:
        draw = drawn(x, lambda rows: torch.rand(rows.shape, generator=rng, device=x.device))
        return torch.where(draw < self.rate, (draw < self.rate / 2).to(x.dtype), x)


@dataclass(frozen=True)
class Swap:
    """Replaces each input, with probability `rate` in [0, 1), by the same column's value in another row.

    The other row is drawn uniformly from the rest of the batch, for each input anew, so that every
    column keeps its distribution. A batch of one row is left as it is. `columns` is as for `Masking`: all
    inputs of a column of a table then come from the same other row, so that a category stays one category.
    """

    rate: float
    columns: tuple[int, ...] | None = None

    def __call__(self, x: Tensor, rng: torch.Generator) -> Tensor:
        whole, own = gathered(x), own_rows(len(x))
        # Values come from all rows of the batch, whichever process has them.
        with dividing(None):
            return self._swapped(whole, rng)[own]

    def _swapped(self, x: Tensor, rng: torch.Generator) -> Tensor:
        if len(x) == 1:
            return x.clone()
        if self.columns is not None:
            source = torch.arange(len(x), device=x.device)[:, None].repeat(1, max(self.columns) + 1)
            row, column, other = self._draw(source, rng)
            source[row, column] = other
            return x.gather(0, source.index_select(1, torch.tensor(self.columns, device=x.device)))
        swapped = x.flatten(1).clone()
        row, column, other = self._draw(swapped, rng)
        swapped[row, column] = x.flatten(1)[other, column]
        return swapped.view(x.shape)

    def _draw(self, like: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Draw row and column of each value (rows, columns) to replace, and the row of its new value."""
        # Drawing for the chosen values alone halves the time at low rates.
        row, column = (survivors(like, self.rate, rng) == 0).nonzero().T
        other = torch.randint(0, len(like) - 1, row.shape, generator=rng, device=like.device)
        return row, column, other + (other >= row)  # the row itself is stepped over


@dataclass(frozen=True)
class Mix:
    """Corrupts each row in one of several ways, drawn with the probability that stands before it.

    The probabilities add up to 1. Every way sees the whole batch, so that swap noise takes its values
    from all other rows, however they are corrupted.
    """

    parts: tuple[tuple[float, Corruption], ...]

    def __post_init__(self) -> None:
        assert abs(sum(probability for probability, _ in self.parts) - 1) <= 1e-6, self.parts

    def __call__(self, x: Tensor, rng: torch.Generator) -> Tensor:
        draw = drawn(x, lambda rows: torch.rand(len(rows), generator=rng, device=x.device))
        draw = draw.view(-1, *[1] * (x.ndim - 1))
        # The last way takes what the others leave, so that no rounding leaves a row uncorrupted.
        mixed, upper = self.parts[-1][1](x, rng), 1.0 - self.parts[-1][0]
        for probability, corruption in reversed(self.parts[:-1]):
            mixed = torch.where(draw < upper, corruption(x, rng), mixed)
            upper -= probability
        return mixed
