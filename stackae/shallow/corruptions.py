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
