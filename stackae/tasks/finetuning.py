"""Fine-tuning: a classifier on labelled rows, and on those beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from stackae.committee import Committee
from stackae.config import FinetuneConfig
from stackae.data.batches import Batch
from stackae.errors import DataError
from stackae.optimizer import build_optimizer
from stackae.seeds import derive
from stackae.side_by_side import SideBySide
from stackae.stack import Classifier
from stackae.tasks.cross_entropy import cross_entropy
from stackae.tasks.task import Task


class FinetuneTask(Task):
    """Trains a classifier by cross-entropy on the labelled rows, each by its weight where they have any.

    Of a committee it trains one classifier per fold, each on the rows of the other folds: all are given the
    same batches of `Batches` at the same time, and each sees what is not of its own fold.
    `weights` (classes,) say how much an error on a row of each class counts; None counts all alike. `joint`
    has the cost of the rows beside them for each network, where batches have such rows.
    """

    weights: Tensor | None

    def __init__(
        self,
        classifier: Classifier | Committee | SideBySide,
        fit: FinetuneConfig,
        *,
        encoder_lr: float,
        seed: int,
        steps: int,
        weights: Tensor | None = None,
        joint: Sequence[nn.Module] = (),
    ) -> None:
        super().__init__(seed)
        self.joint = nn.ModuleList(joint)
        self.classifier = classifier
        self._fit, self._encoder_lr, self._steps = fit, encoder_lr, steps
        self.register_buffer("weights", weights, persistent=False)

    def numbered(self, batch: Any, batch_idx: int) -> Batch:
        """Return a batch of any loader as one that knows where it stands.

        DataError without classes and, for a committee, without the rows' folds.
        """
        numbered = super().numbered(batch, batch_idx)
        if numbered.y is None:
            raise DataError("a batch without classes given; FinetuneTask takes (x, y)")
        if isinstance(self.classifier, Committee | SideBySide) and numbered.fold is None:
            raise DataError(
                "a batch without its rows' folds given; for a committee FinetuneTask takes those of "
                "stackae.data.batches.Batches with `fold`"
            )
        return numbered

    def loss(self, batch: Batch) -> Tensor:
        _seed_dropout(self, batch)
        loss, networks = cross_entropy(self.classifier, batch, self.weights, self._fit.label_smoothing)
        terms = {"loss": loss}
        if batch.beside is not None:
            terms = _with_joint(loss, [joint(batch.beside) for joint in self.joint])
        loss = terms["loss"]
        if batch.part is not None:
            networks *= batch.part.weight
        if networks != 1:
            terms = {name: term / networks for name, term in terms.items()}
        self.sums.add(len(batch.x), terms)
        return loss

    def validate(self, batch: Batch) -> None:
        assert batch.y is not None
        logits = self.classifier(batch.x).float()
        accuracy = _mean((logits.argmax(1) == batch.y).float(), batch)
        if batch.weight is None:
            nll = F.cross_entropy(logits, batch.y)
        else:
            nll = _mean(F.cross_entropy(logits, batch.y, reduction="none"), batch)
        self.sums.add(len(batch.x), {"nll": nll, "accuracy": accuracy})

    def validated(self, means: dict[str, float]) -> None:
        self.score = (means["accuracy"], -means["nll"])

    def configure_optimizers(self) -> OptimizerLRScheduler:
        network = self.classifier
        encoder: nn.Module
        outer: nn.Module
        if isinstance(network, Committee):
            encoder, outer = network.parts
        elif isinstance(network, SideBySide):
            encoder, outer = network.layers, network.outer
        else:
            encoder, outer = network.encoder, network.outer
        rate = self._fit.lr
        parts = [(encoder, self._encoder_lr), (outer, rate), (self.joint, rate)]
        return build_optimizer(self._fit, parts, self._steps)


def _with_joint(loss: Tensor, costs: list[Tensor]) -> dict[str, Tensor]:
    """Return the terms of a loss with the costs of the rows that stand beside the labelled ones."""
    cost = torch.stack(costs).sum()
    return {"loss": loss + cost, "cross_entropy": loss, "unlabelled": cost}


def _seed_dropout(task: Task, batch: Batch) -> None:
    """Seed the global generator, from which dropout draws and which no checkpoint keeps."""
    seed = derive(task.seed, "dropout", batch.epoch, batch.number)
    if task.device.type == "cpu":
        # torch.manual_seed takes a quarter of a millisecond: it sees to devices that are not there.
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def _mean(figures: Tensor, batch: Batch) -> Tensor:
    """Take the mean of a figure of each row of a batch, by the rows' weights."""
    return (figures if batch.weight is None else batch.weight * figures).mean()
