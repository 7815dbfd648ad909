"""Sees to it that losses and weights stay numbers, and says what to do where they do not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from stackae.data.batches import Batch
from stackae.errors import TrainingError
from stackae.stage_context import StageContext


class Numbers:
    """Looks at the numbers of one fit, and raises TrainingError at the first that is none.

    `good` is the last loss that was a number, `kept` says how far the checkpoint on disk has come, if any.
    """

    def __init__(self, context: StageContext, lr: float) -> None:
        self._job, self._lr = context, lr
        self.good: float | None = None
        self.kept = ""

    def loss(self, loss: float, batch: Batch) -> None:
        """Looks at the loss of a batch, right after its step."""
        if math.isfinite(loss):
            self.good = loss
        elif batch.epoch == batch.number == 0:
            low, high = batch.x.min().item(), batch.x.max().item()
            raise TrainingError(
                f"{self._job.stage}: the loss is {loss} in epoch 1, batch 1, before any step was taken; its "
                f"input, from {low:.4g} to {high:.4g}, is likely out of scale: standardise it, or bring it "
                "into [0, 1]"
            )
        else:
            raise self._diverged(f"the loss is {loss} in epoch {batch.epoch + 1}, batch {batch.number + 1}")

    def epoch(self, row: Mapping[str, float], state: Any) -> None:
        """Looks at an epoch's means, and at the state of weights and optimisers that it ends with."""
        epoch = row["epoch"]
        if bad := next((name for name, value in row.items() if not math.isfinite(value)), None):
            raise self._diverged(f"{bad} is {row[bad]} in epoch {epoch}")
        self._look(state, f"at the end of epoch {epoch}")

    def checkpoint(self, state: Mapping[str, Any], place: str) -> None:
        """Looks at all that a checkpoint is to hold: weights, the optimiser's state, sums."""
        self._look(state, f"after {place}")

    def _look(self, state: Any, place: str) -> None:
        for name, value in _tensors(state):
            # The sum is quick to look at, but may be infinite by itself.
            if not (torch.isfinite(value.sum()) or torch.isfinite(value).all()):
                raise self._diverged(f"'{name}' holds values that are no numbers {place}")

    def _diverged(self, what: str) -> TrainingError:
        good = "none" if self.good is None else format(self.good, ".6g")
        kept = f"; what was done up to {self.kept} is kept" if self.kept else ""
        return TrainingError(
            f"{self._job.stage}: {what} (the last good loss was {good}); the learning rate {self._lr:g} is "
            f"likely too high: set {self._job.setting('lr')}={self._lr / 10:g}{kept}"
        )


def _tensors(state: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors somewhere in nested mappings and sequences, each with the innermost name it has."""
    if isinstance(state, Tensor):
        yield name, state
    elif isinstance(state, Mapping):
        for key, value in state.items():
            yield from _tensors(value, key if isinstance(key, str) else name)
    elif isinstance(state, list | tuple):
        for value in state:
            yield from _tensors(value, name)
