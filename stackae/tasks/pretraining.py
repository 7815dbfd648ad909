"""Pretraining: one unit under its objective."""

from __future__ import annotations

from functools import reduce

import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from stackae.config import FitConfig
from stackae.data.batches import Batch
from stackae.optimizer import build_optimizer
from stackae.seeds import derive
from stackae.tasks.task import Task


class PretrainTask(Task):
    """Trains one unit, shallow or unrolled, under its objective; both are modules."""

    def __init__(
        self, unit: nn.Module, objective: nn.Module, fit: FitConfig, *, seed: int, steps: int
    ) -> None:
        super().__init__(seed)
        self.unit = unit
        self._objective = objective
        self._fit = fit
        self._steps = steps
        self._batches = steps / fit.epochs
        self._noise: torch.Generator | None = None

    def loss(self, batch: Batch) -> Tensor:
        terms = self._terms(batch)
        loss = reduce(torch.add, terms.values())
        self.sums.add(len(batch.x), {"loss": loss} | terms)
        return loss if batch.part is None else loss * batch.part.weight

    def validate(self, batch: Batch) -> None:
        # The unit is in eval mode: a clean reconstruction, comparable across corruptions.
        self.sums.add(len(batch.x), self._terms(batch))

    def validated(self, means: dict[str, float]) -> None:
        # A variational unit's bound is its reconstruction and its divergence together.
        self.score = (-(means["reconstruction"] + means.get("gaussian_kl", 0.0)),)

    def _terms(self, batch: Batch) -> dict[str, Tensor]:
        if self._noise is None or self._noise.device != batch.x.device:
            self._noise = torch.Generator(batch.x.device)
        self._noise.manual_seed(derive(self.seed, "noise", batch.epoch, batch.number))
        epoch = batch.epoch + batch.number / self._batches
        terms: dict[str, Tensor] = self._objective(self.unit, batch.x, self._noise, epoch)
        return terms

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return build_optimizer(self._fit, [(self.unit, self._fit.lr)], self._steps)
