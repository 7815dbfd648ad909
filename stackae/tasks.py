"""The Lightning modules of the stages. Each keeps its own sums and logs once per epoch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from stackae.committee import Committee
from stackae.config import FinetuneConfig, FitConfig
from stackae.data.batches import Batch
from stackae.machine.memory import by_chunks
from stackae.seeds import derive
from stackae.stack import Classifier


class Task(pl.LightningModule):
    """What training needs of a stage: the epoch's sums, kept in checkpoints, and keyed randomness.

    `score` is what early stopping makes large: a tuple, compared from the left.
    """

    score: tuple[float, ...] = ()

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self._sums: dict[str, Tensor] = {}
        self._rows = 0

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning notes the running hook's name some forty times per step, and a Module's way is slow.
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def add(self, rows: int, terms: Mapping[str, Tensor]) -> None:
        """Add a batch's mean terms to the epoch's sums, without waiting for the device."""
        self._rows += rows
        for name, term in terms.items():
            self._sums[name] = self._sums.get(name, 0.0) + term.detach() * rows

    def take(self) -> dict[str, float]:
        """Return the means over the rows since the last call, and start the sums anew."""
        means = {name: total.item() / self._rows for name, total in self._sums.items()}
        self._sums, self._rows = {}, 0
        return means

    def mean_loss(self) -> float:
        """Return the mean loss over the rows since the last `take`."""
        return self._sums["loss"].item() / self._rows

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        def validate_chunk(rows: slice) -> None:
            self.validate(batch.apply(lambda each: each[rows]))

        by_chunks(len(batch.x), len(batch.x), validate_chunk)

    def validate(self, batch: Batch) -> None:
        """Add a validation batch's terms to the sums, last of all."""
        raise NotImplementedError

    def validated(self, means: dict[str, float]) -> None:
        """Set the score from the means of a validation."""
        raise NotImplementedError

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["sums"], checkpoint["rows"] = dict(self._sums), self._rows

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._sums, self._rows = checkpoint["sums"], checkpoint["rows"]


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

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        terms = self._terms(batch)
        loss = reduce(torch.add, terms.values())
        self.add(len(batch.x), {"loss": loss} | terms)
        return loss

    def validate(self, batch: Batch) -> None:
        # The unit is in eval mode: a clean reconstruction, comparable across corruptions.
        self.add(len(batch.x), self._terms(batch))

    def validated(self, means: dict[str, float]) -> None:
        # A variational unit's bound is its reconstruction and its divergence together.
        self.score = (-(means["reconstruction"] + means.get("gaussian_kl", 0.0)),)

    def _terms(self, batch: Batch) -> dict[str, Tensor]:
        rng = torch.Generator(self.device)
        rng.manual_seed(derive(self.seed, "noise", batch.epoch, batch.number))
        epoch = batch.epoch + batch.number / self._batches
        terms: dict[str, Tensor] = self._objective(self.unit, batch.x, rng, epoch)
        return terms

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return build_optimizer(self._fit, [(self.unit, self._fit.lr)], self._steps)


class FinetuneTask(Task):
    """Trains a classifier by cross-entropy on the labelled rows, each by its weight where they have any.

    `weights` (classes,) say how much an error on a row of each class counts; None counts all alike.
    """

    weights: Tensor | None

    def __init__(
        self,
        classifier: Classifier,
        fit: FinetuneConfig,
        *,
        encoder_lr: float,
        seed: int,
        steps: int,
        weights: Tensor | None = None,
    ) -> None:
        super().__init__(seed)
        self.classifier = classifier
        self._fit = fit
        self._smoothing = fit.label_smoothing
        self._encoder_lr = encoder_lr
        self._steps = steps
        self.register_buffer("weights", weights, persistent=False)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        _seed_dropout(self, batch)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        assert batch.y is not None
        logits = self.classifier(batch.x).float()
        if self.weights is None and batch.weight is None:
            loss = F.cross_entropy(logits, batch.y, label_smoothing=self._smoothing)
        else:
            # Divided by the rows, not by their weights as PyTorch does: a batch without a rare class would
            # otherwise count as much as one with it, and the classes would not weigh alike.
            row_losses = F.cross_entropy(logits, batch.y, label_smoothing=self._smoothing, reduction="none")
            if self.weights is not None:
                row_losses = self.weights[batch.y] * row_losses
            loss = _mean(row_losses, batch)
        self.add(len(batch.x), {"loss": loss})
        return loss

    def validate(self, batch: Batch) -> None:
        assert batch.y is not None
        logits = self.classifier(batch.x).float()
        accuracy = _mean((logits.argmax(1) == batch.y).float(), batch)
        if batch.weight is None:
            nll = F.cross_entropy(logits, batch.y)
        else:
            nll = _mean(F.cross_entropy(logits, batch.y, reduction="none"), batch)
        self.add(len(batch.x), {"nll": nll, "accuracy": accuracy})

    def validated(self, means: dict[str, float]) -> None:
        self.score = (means["accuracy"], -means["nll"])

    def configure_optimizers(self) -> OptimizerLRScheduler:
        parts: list[tuple[nn.Module, float]] = [
            (self.classifier.encoder, self._encoder_lr),
            (self.classifier.head, self._fit.lr),
        ]
        return build_optimizer(self._fit, parts, self._steps)


class FoldsTask(Task):
    """Trains one classifier per fold by cross-entropy, each on the labelled rows of the other folds.

    All see the same batches at the same time; a row counts for nothing where it is of the network's own fold.
    Nothing is validated on the way, since nothing is decided by it.
    """

    weights: Tensor | None

    def __init__(
        self,
        committee: Committee,
        fit: FinetuneConfig,
        *,
        encoder_lr: float,
        seed: int,
        steps: int,
        weights: Tensor | None = None,
    ) -> None:
        super().__init__(seed)
        self.committee = committee
        self._fit, self._encoder_lr, self._steps = fit, encoder_lr, steps
        self.register_buffer("weights", weights, persistent=False)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        _seed_dropout(self, batch)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        assert batch.y is not None
        assert batch.fold is not None
        logits = self.committee.each(batch.x).float()  # (networks, rows, classes)
        y = batch.y.expand(len(logits), -1)
        smoothing = self._fit.label_smoothing
        losses = F.cross_entropy(
            logits.flatten(0, 1), y.flatten(), label_smoothing=smoothing, reduction="none"
        )
        learnt = batch.fold != torch.arange(len(logits), device=batch.fold.device)[:, None]
        counted = losses.view_as(y) * learnt
        if self.weights is not None:
            counted = counted * self.weights[batch.y]
        if batch.weight is not None:
            counted = counted * batch.weight
        # Each network's mean over its own rows, and the sum of these: each learns as if it were alone.
        means = counted.sum(1) / learnt.sum(1).clamp(min=1)
        self.add(len(batch.x), {"loss": means.mean()})
        return means.sum()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        encoders, heads = self.committee.parts
        parts: list[tuple[nn.Module, float]] = [(encoders, self._encoder_lr), (heads, self._fit.lr)]
        return build_optimizer(self._fit, parts, self._steps)


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


def build_optimizer(fit: FitConfig, parts: list[tuple[nn.Module, float]], steps: int) -> OptimizerLRScheduler:
    """Build an optimiser and its schedule over so many steps for modules, each with its learning rate.

    They come in the form that Lightning takes. Biases are not decayed, and frozen parameters are left out.
    """
    groups = []
    for module, lr in parts:
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        weights = [parameter for parameter in trained if parameter.ndim > 1]
        biases = [parameter for parameter in trained if parameter.ndim <= 1]
        groups += [
            {"params": params, "lr": lr, "weight_decay": decay}
            for params, decay in ((weights, fit.weight_decay), (biases, 0.0))
            if params
        ]
    optimizer: torch.optim.Optimizer
    if fit.optimizer == "sgd":
        optimizer = torch.optim.SGD(groups, momentum=fit.momentum, fused=True)
    else:
        optimizer = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[fit.optimizer](groups, fused=True)
    schedule = _schedule(fit, optimizer, steps)
    if schedule is None:
        return optimizer
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _schedule(
    fit: FitConfig, optimizer: torch.optim.Optimizer, steps: int
) -> torch.optim.lr_scheduler.LRScheduler | None:
    schedulers = torch.optim.lr_scheduler
    peak_rates = [group["lr"] for group in optimizer.param_groups]
    if fit.schedule == "one_cycle":
        # By default it cycles the momentum too, over the configured one.
        return schedulers.OneCycleLR(optimizer, peak_rates, total_steps=steps, cycle_momentum=False)
    warmup = round(min(fit.warmup * steps / fit.epochs, steps - 1))
    rise = schedulers.LinearLR(optimizer, 1 / (warmup + 1), 1.0, total_iters=warmup) if warmup else None
    if fit.schedule == "constant":
        return rise
    fall = schedulers.CosineAnnealingLR(optimizer, T_max=steps - warmup)
    return schedulers.SequentialLR(optimizer, [rise, fall], milestones=[warmup]) if rise else fall
