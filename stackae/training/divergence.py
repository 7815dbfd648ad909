"""The check that losses and weights stay finite, and the errors that say what to do where they do not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from stackae.data.batches import Batch
from stackae.errors import TrainingError
from stackae.stage_context import StageContext


class DivergenceGuard:
    """Checks the losses and the state of one fit, and raises TrainingError at the first NaN or infinity.

    `last_loss` is the last finite loss; `kept_place` says how far the checkpoint on disk has come, if any.
    """

    def __init__(self, context: StageContext, lr: float) -> None:
        self._context, self._lr = context, lr
        self.last_loss: float | None = None
        self.kept_place = ""

    def check_loss(self, loss: float, batch: Batch) -> None:
        """Check that the loss of a batch is finite, right after its step."""
        if math.isfinite(loss):
            self.last_loss = loss
        elif batch.epoch == batch.number == 0:
            low, high = batch.x.min().item(), batch.x.max().item()
            raise TrainingError(
                f"{self._context.called}: the loss is {loss} in epoch 1, batch 1, before any step was taken; "
                f"its input, from {low:.4g} to {high:.4g}, is likely out of scale: standardise it, or bring "
                "it into [0, 1]"
            )
        else:
            raise self._diverged(f"the loss is {loss} in epoch {batch.epoch + 1}, batch {batch.number + 1}")

    def check_means(self, row: Mapping[str, float]) -> None:
        """Check an epoch's means."""
        for name, value in row.items():
            if not math.isfinite(value):
                raise self._diverged(f"{name} is {value} in epoch {row['epoch']}")

    def check_epoch(self, epoch: int, state: Any) -> None:
        """Check the `state` of weights and optimisers that an epoch ends with."""
        self._check_tensors(state, f"at the end of epoch {epoch}")

    def check_state(self, state: Mapping[str, Any], place: str) -> None:
        """Check all that a checkpoint is to hold: weights, the optimiser's state, sums."""
        # A callback may well begin with infinity as its best score.
        trained = {name: value for name, value in state.items() if name != "callbacks"}
        self._check_tensors(trained, f"after {place}")

    def _check_tensors(self, state: Any, place: str) -> None:
        for name, tensor in _tensors(state):
            # The sum is quick to check, but may be infinite by itself.
            if not (torch.isfinite(tensor.sum()) or torch.isfinite(tensor).all()):
                raise self._diverged(f"'{name}' holds NaN or infinity {place}")

    def _diverged(self, symptom: str) -> TrainingError:
        last_loss = "none" if self.last_loss is None else format(self.last_loss, ".6g")
        kept = f"; what was done up to {self.kept_place} is kept" if self.kept_place else ""
        return TrainingError(
            f"{self._context.called}: {symptom} (the last good loss was {last_loss}); the learning rate "
            f"{self._lr:g} is likely too high: set {self._context.setting('lr')}={self._lr / 10:g}{kept}"
        )


def _tensors(state: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors in nested mappings and sequences, each with the innermost name it has."""
    if isinstance(state, Tensor):
        yield name, state
    elif isinstance(state, Mapping):
        for key, value in state.items():
            yield from _tensors(value, key if isinstance(key, str) else name)
    elif isinstance(state, list | tuple):
        for value in state:
            yield from _tensors(value, name)
