"""Reconstruction losses: a sum over an example's features, a mean over the rows of a batch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Loss(Protocol):
    """How far a decoder's output is from its target.

    `low` and `high` bound the targets it is defined for. `weight` weighs each feature of each row.
    """

    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    def __call__(self, output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor: ...
    def each(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss of every row by itself, (rows,)."""
        ...

    def inverse(self, mean: Tensor) -> Tensor:
        """Return the decoder's output that stands for a reconstruction, kept finite."""
        ...

    def activation(self) -> nn.Module:
        """Return the module from the decoder's output to the reconstruction, in the target's units."""
        ...


@dataclass(frozen=True)
class Bernoulli:
    """Cross-entropy of targets in [0, 1] against logits, in nats per row."""

    low: float = 0.0
    high: float = 1.0

    def __call__(self, output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        total = F.binary_cross_entropy_with_logits(output, target, weight, reduction="sum")
        return total / len(target)

    def each(self, output: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(output, target, reduction="none").flatten(1).sum(1)

    def inverse(self, mean: Tensor) -> Tensor:
        return torch.logit(mean, eps=0.01)

    def activation(self) -> nn.Module:
        return nn.Sigmoid()


@dataclass(frozen=True)
class SquaredError:
    """Squared error, summed over the features of a row."""

    low: float = -math.inf
    high: float = math.inf

    def __call__(self, output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        if weight is None:
            return F.mse_loss(output, target, reduction="sum") / len(target)
        return (weight * (output - target).square()).sum() / len(target)

    def each(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).square().flatten(1).sum(1)

    def inverse(self, mean: Tensor) -> Tensor:
        return mean

    def activation(self) -> nn.Module:
        return nn.Identity()


LOSSES: dict[str, Loss] = {"bernoulli": Bernoulli(), "squared_error": SquaredError()}
