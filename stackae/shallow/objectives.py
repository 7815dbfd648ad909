"""Objectives: how a unit is scored. Each maps a unit and a batch to the named terms of the loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from stackae.shallow.corruptions import Corruption
from stackae.shallow.losses import Loss
from stackae.shallow.units import Trace, Unit


class Objective(Protocol):
    """Scores a unit on a batch x (rows, *shape).

    While the unit trains, the sum of the returned terms is what is made small. In eval mode the terms
    hold `reconstruction`, the loss of the clean reconstruction. `epoch` counts finished epochs and may
    be a fraction; randomness comes from `rng` alone.
    """

    def __call__(self, unit: Unit, x: Tensor, rng: torch.Generator, epoch: float) -> dict[str, Tensor]: ...


class Penalty(Protocol):
    """A term added to the reconstruction loss while the unit trains: a mean over the rows of a batch.

    `evaluated` says that it is a part of the bound that validation reports, and so computed there too.
    """

    @property
    def evaluated(self) -> bool: ...

    def __call__(self, unit: Unit, trace: Trace, rng: torch.Generator, epoch: float) -> Tensor: ...


@dataclass(frozen=True)
class Emphasis:
    """Weights of the loss on inputs that were corrupted (alpha) and on the others (beta).

    Vincent et al. 2010, section 4.3 (emphasised denoising autoencoder).
    """

    alpha: float
    beta: float


class Reconstruction(nn.Module):
    """Reconstructs the clean input from its corrupted copy (Vincent et al. 2010, section 3.1).

    The corruption acts while the unit trains and never else, on the unit's input and never on its
    code; so do the penalties. A module, because a penalty may keep a running mean that checkpoints must hold.
    """

    def __init__(
        self,
        loss: Loss,
        corruption: Corruption | None = None,
        penalties: Mapping[str, nn.Module] | None = None,
        emphasis: Emphasis | None = None,
    ) -> None:
        super().__init__()
        self.loss, self.corruption, self.emphasis = loss, corruption, emphasis
        self.penalties = nn.ModuleDict(penalties or {})

    def forward(self, unit: Unit, x: Tensor, rng: torch.Generator, epoch: float) -> dict[str, Tensor]:
        seen = self.corruption(x, rng) if self.corruption is not None and unit.training else x
        trace = unit.trace(seen, rng)
        # The loss is summed in float32 whatever precision the matrix products were made in.
        output = unit.decoder(trace.code).float()
        weight = None
        if self.emphasis is not None and unit.training:
            weight = torch.where(seen != x, self.emphasis.alpha, self.emphasis.beta)
        terms = {"reconstruction": self.loss(output, x, weight)}
        for name, penalty in self.penalties.items():
            if unit.training or penalty.evaluated:
                terms[name] = penalty(unit, trace, rng, epoch)
        return terms
