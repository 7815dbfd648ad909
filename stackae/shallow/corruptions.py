"""Corruptions: what is done to a unit's input while it trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Corruption(Protocol):
    """Returns a corrupted copy of `x` (rows, *shape), drawing from `rng` alone."""

    def __call__(self, x: Tensor, rng: torch.Generator) -> Tensor: ...


@dataclass(frozen=True)
class Masking:
    """Sets each input to 0 with probability `rate`, in [0, 1) (Vincent et al. 2010, section 3.3)."""

    rate: float

    def __call__(self, x: Tensor, rng: torch.Generator) -> Tensor:
        keep = torch.rand(x.shape, generator=rng, device=x.device) >= self.rate
        return x * keep


@dataclass(frozen=True)
class Gaussian:
    """Adds normal noise of standard deviation `sigma`; `clip` keeps the result in [0, 1]."""

    sigma: float
    clip: bool = False

    def __call__(self, x: Tensor, rng: torch.Generator) -> Tensor:
        noise = torch.randn(x.shape, generator=rng, device=x.device, dtype=x.dtype)
        noisy = noise.mul_(self.sigma).add_(x)
        return noisy.clamp_(0.0, 1.0) if self.clip else noisy


@dataclass(frozen=True)
class SaltPepper:
    """Sets each input, with probability `rate` in [0, 1), to 0 or to 1 with equal chances.

    For inputs in [0, 1] (Vincent et al. 2010, section 3.3).
    """

    rate: float

    def __call__(self, x: Tensor, rng: torch.Generator) -> Tensor:
        draw = torch.rand(x.shape, generator=rng, device=x.device)
        return torch.where(draw < self.rate, (draw < self.rate / 2).to(x.dtype), x)


@dataclass(frozen=True)
class Swap:
    """Replaces each input, with probability `rate` in [0, 1), by the same column's value in another row.

    The other row is drawn uniformly from the rest of the batch, for each input anew, so that every
    column keeps its distribution. A batch of one row is left as it is.
    """

    rate: float

    def __call__(self, x: Tensor, rng: torch.Generator) -> Tensor:
        swapped = x.flatten(1).clone()
        if len(x) > 1:
            # Drawing for the chosen inputs alone halves the time at low rates.
            row, column = (torch.rand(swapped.shape, generator=rng, device=x.device) < self.rate).nonzero().T
            other = torch.randint(0, len(x) - 1, row.shape, generator=rng, device=x.device)
            other += other >= row  # the own row is stepped over
            swapped[row, column] = x.flatten(1)[other, column]
        return swapped.view(x.shape)


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
        draw = torch.rand(len(x), generator=rng, device=x.device).view(-1, *[1] * (x.ndim - 1))
        # The last way takes what the others leave, so that no rounding leaves a row uncorrupted.
        mixed, upper = self.parts[-1][1](x, rng), 1.0 - self.parts[-1][0]
        for probability, corruption in reversed(self.parts[:-1]):
            mixed = torch.where(draw < upper, corruption(x, rng), mixed)
            upper -= probability
        return mixed
