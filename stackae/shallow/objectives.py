"""Objectives: how a unit is scored. Each maps (unit, batch) to the named terms of the loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from stackae.shallow.corruptions import Corruption
from stackae.shallow.losses import Loss


class Unit(Protocol):
    """What an objective needs of a unit."""

    training: bool

    @property
    def encoder(self) -> nn.Module: ...
    @property
    def decoder(self) -> nn.Module: ...
    def encode(self, x: Tensor) -> Tensor: ...
    def decode(self, code: Tensor) -> Tensor: ...


Objective = Callable[[Unit, Tensor, torch.Generator], dict[str, Tensor]]


@dataclass(frozen=True)
class Reconstruction:
    """Reconstructs the clean input from its corrupted copy (Vincent et al. 2010, section 3.1).

    The corruption acts while the unit trains and never else, on the unit's input and never on its
    code. The sum of the returned terms is what training makes small.
    """

    loss: Loss
    corruption: Corruption | None = None

    def __call__(self, unit: Unit, x: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        seen = self.corruption(x, rng) if self.corruption is not None and unit.training else x
        # The loss is summed in float32 whatever precision the matrix products were made in.
        output = unit.decode(unit.encode(seen)).float()
        return {"reconstruction": self.loss(output, x)}
