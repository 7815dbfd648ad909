"""Restricted Boltzmann machines: a tied dense unit, trained by contrastive divergence."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stackae.shallow.divided import drawn, gathered, own_rows, whole_rows
from stackae.shallow.losses import Loss
from stackae.shallow.units import DenseUnit, TiedLinear, Unit

UnitType = Literal["binary", "gaussian"]
"""The distribution of a visible or hidden unit, given the other side: Bernoulli with a logistic mean, or
normal with variance 1 and a linear mean."""


def free_energy(unit: Unit, x: Tensor, visible: UnitType, hidden: UnitType) -> Tensor:
    """Compute the free energy −log Σ_h exp(−E(v, h)) of each row of x (rows, *shape): (rows,), in nats.

    W and c are the weight and bias of the unit's linear layer, b is its decoder's bias, and
    E(v, h) = −hᵀWv − c·h − b·v with binary units. Gaussian hidden units add ½‖h‖² (then −n/2 log 2π is
    left out, a constant), and Gaussian visible ones have ½‖v − b‖² instead of −b·v. Binary visible units
    take real values in [0, 1] too, as probabilities. Computed in the parameters' precision even under
    autocast, because contrastive divergence is a small difference of such sums. Raises TypeError unless
    the unit is a DenseUnit with tied weights. Hinton 2010 (A practical guide to training restricted
    Boltzmann machines), sections 13.2 and 16.1.
    """
    linear, bias = _parameters(unit)
    with torch.autocast(x.device.type, enabled=False):
        v = x.flatten(1).to(bias.dtype)
        field = linear(v)
        visible_energy = (v - bias).square().sum(1) / 2 if visible == "gaussian" else -(v @ bias)
        hidden_energy = F.softplus(field) if hidden == "binary" else field.square() / 2
        energy: Tensor = visible_energy - hidden_energy.sum(1)
        return energy


class ContrastiveDivergence(nn.Module):
    """Trains a tied DenseUnit as a restricted Boltzmann machine (Hinton 2002; Tieleman 2008).

    In training the one term is `contrastive_divergence`: the mean free energy of the data minus that of
    what `steps` steps of Gibbs sampling (at least 1) make of them. Its gradient approaches that of the
    negative log-likelihood as `steps` grow; its value says little. In eval mode the terms are
    `reconstruction`, the loss of the mean-field reconstruction, and `free_energy`, the data's mean.

    With `persistent`, the sampling goes on from where the step before left it: the buffer `chains`
    (batch_size, *shape) belongs to checkpoints. Chain i starts at the first row i that is seen, and a batch
    of fewer rows moves the first chains only; one of more than `batch_size` raises ValueError.

    `hidden` is binary for a unit with a sigmoid, Gaussian for one without activation (Hinton &
    Salakhutdinov 2006). If both sides are Gaussian the model exists only while W's singular values are below
    1: choose a small learning rate.
    """

    chains: Tensor
    started: Tensor

    def __init__(
        self,
        *,
        steps: int,
        loss: Loss,
        visible: UnitType,
        hidden: UnitType,
        persistent: bool,
        batch_size: int,
        shape: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.steps, self.loss, self.visible, self.hidden = steps, loss, visible, hidden
        self.persistent = persistent
        if persistent:
            self.register_buffer("chains", torch.zeros(batch_size, *shape))
            self.register_buffer("started", torch.zeros(batch_size, dtype=torch.bool))

    def forward(self, unit: Unit, x: Tensor, rng: torch.Generator, epoch: float) -> dict[str, Tensor]:
        data = free_energy(unit, x, self.visible, self.hidden).mean()
        if not unit.training:
            output = unit.decoder(unit.encoder(x)).float()
            return {"reconstruction": self.loss(output, x), "free_energy": data}
        with torch.no_grad():
            sample = self._continue_chains(unit, x, rng) if self.persistent else self._gibbs(unit, x, rng)
        return {"contrastive_divergence": data - free_energy(unit, sample, self.visible, self.hidden).mean()}

    def _continue_chains(self, unit: Unit, x: Tensor, rng: torch.Generator) -> Tensor:
        """Move the chains, and start at x those that have not been started: (rows, *shape)."""
        rows, own = whole_rows(len(x)), own_rows(len(x))
        if rows > len(self.chains):
            raise ValueError(
                f"a batch of {rows} rows, but batch_size, the number of chains, is {len(self.chains)}"
            )
        # Chosen row by row on the device: a test in Python would wait for it at every step.
        started = self.started[own].view(-1, *[1] * (x.ndim - 1))
        sample = self._gibbs(unit, torch.where(started, self.chains[own], x), rng)
        self.chains[:rows] = gathered(sample)
        self.started[:rows] = True
        return sample

    def _gibbs(self, unit: Unit, v: Tensor, rng: torch.Generator) -> Tensor:
        """Return the visible units after `steps` steps of Gibbs sampling from v (rows, *shape)."""
        # Hidden states must be sampled, but the last reconstruction may be the mean: it lessens the noise
        # (Hinton 2010, section 3.2; section 13.2 for Gaussian units) and compares like with like where the
        # data are probabilities themselves, as pixels or the codes of a layer below. A persistent chain must
        # be sampled throughout, else it is no sample of the model.
        linear, _ = _parameters(unit)
        for step in range(1, self.steps + 1):
            # Probabilities in the data's precision: bfloat16 would round those above 0.998 to 1.
            h = _draw(_mean(linear(v.flatten(1)).to(v.dtype), self.hidden), self.hidden, rng)
            mean = _mean(unit.decoder(h).to(v.dtype), self.visible)
            sampled = step < self.steps or self.persistent
            v = _draw(mean, self.visible, rng) if sampled else mean
        return v


def _parameters(unit: Unit) -> tuple[nn.Linear, Tensor]:
    """Return the linear layer of a tied dense unit (W and c), and the visible units' bias b."""
    if isinstance(unit, DenseUnit) and isinstance(unit.decoder[0], TiedLinear):
        return unit.linear, unit.decoder[0].bias
    raise TypeError(f"an rbm needs a DenseUnit with tied=True, and this {type(unit).__name__} is none")


def _mean(field: Tensor, units: UnitType) -> Tensor:
    return torch.sigmoid(field) if units == "binary" else field


def _draw(mean: Tensor, units: UnitType, rng: torch.Generator) -> Tensor:
    if units == "gaussian":
        return mean + drawn(mean, lambda rows: torch.randn(rows.shape, generator=rng, device=mean.device))
    # Much faster than torch.bernoulli.
    draw = drawn(mean, lambda rows: torch.rand(rows.shape, generator=rng, device=mean.device))
    return (draw < mean).to(mean.dtype)
