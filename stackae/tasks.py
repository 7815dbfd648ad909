"""The Lightning modules of the stages. Each keeps its own sums and logs their means once per epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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
from stackae.errors import DataError
from stackae.machine.memory import by_chunks
from stackae.optimizer import build_optimizer
from stackae.ranks.team import ALONE, Team
from stackae.seeds import derive
from stackae.shallow.divided import dividing
from stackae.shallow.normalisation import Normalisation, measure
from stackae.side_by_side import SideBySide
from stackae.stack import Classifier
from stackae.sums import Sums

SUMS = "sums"
"""Where in a checkpoint the epoch's sums are: those of each process."""


class Task(pl.LightningModule):
    """What training needs of a stage: the epoch's sums, kept in checkpoints, and keyed randomness.

    It takes batches of `Batches` and of any other loader: x, or (x, y). After each epoch it logs `train_loss`
    and the terms of the loss, after each validation its means, named `val_…`; callbacks can monitor them all.
    `score` is what early stopping makes large: a tuple, compared from the left. `stage` is the stage of the
    run that it trains for, as `pretrain-1`; empty outside of a run.

    Lightning takes the optimiser steps. Without its `automatic_optimization`, as in a run, each of its steps
    is an epoch of batches, and `stepped` is called after each of these, with the batch and its loss.
    """

    score: tuple[float, ...] = ()
    stage = ""
    recorded = False
    """Whether somebody hands the epochs' means to the loggers already."""
    watched = True
    """Whether there may be callbacks that ask for means or steps: only then are they told to Lightning."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.team: Team = ALONE
        self.stepped: Callable[[Batch, Tensor], object] = lambda batch, loss: None
        self.sums = Sums()
        self._trained = self.sums
        self._val_means: dict[str, float] = {}
        # In a tuple, which hides the network from torch: it is a part of what is trained already.
        self._measured: tuple[nn.Module, Tensor] | None = None

    def measure_before_validation(self, network: nn.Module, rows: Tensor) -> None:
        """Before each validation set the statistics of the normalisations of a network to those of rows."""
        self._measured = (network, rows)

    def on_validation_start(self) -> None:
        if self._measured is not None:
            network, rows = self._measured
            measure(network, rows.to(self.device))

    def numbered(self, batch: Any, batch_idx: int) -> Batch:
        """Return a batch of any loader, x or (x, y), as one that knows where in training it stands.

        DataError where it is neither.
        """
        if isinstance(batch, Batch):
            return batch
        x, y = (*batch, None)[:2] if isinstance(batch, list | tuple) and 0 < len(batch) < 3 else (batch, None)
        if not isinstance(x, Tensor) or not isinstance(y, Tensor | None):
            raise DataError(
                f"a batch of type {type(batch).__name__} given; {type(self).__name__} takes tensors: x, or "
                "(x, y)"
            )
        return Batch(x, y if y is None else y.long(), self.current_epoch, batch_idx)

    def training_step(self, given: Any, batch_idx: int) -> Tensor | None:
        if self.automatic_optimization:
            return self.loss(self.numbered(given, batch_idx))
        self._take_steps(given)
        return None

    def _take_steps(self, batches: Iterable[Batch]) -> None:
        """Take an optimiser step on each batch; Lightning's loop costs as much as a small layer's step."""
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        device, optimizer, schedule = self.device, self.trainer.optimizers[0], self.lr_schedulers()
        of_lightning = self.optimizers()
        assert not isinstance(schedule, list)
        assert not isinstance(of_lightning, list)
        # Gradients that are scaled, as those of float16, are Lightning's to unscale.
        scaled, watched, together = self.trainer.scaler is not None, self.watched, self.team.size > 1
        for batch in batches:
            moved = batch if device.type == "cpu" else batch.to(device)
            optimizer.zero_grad()
            with dividing(batch.part):
                loss = self.loss(moved)
            if scaled:
                self.manual_backward(loss)
                of_lightning.step()
            else:
                if together:
                    # Lightning's, because it has the processes' gradients averaged.
                    self.manual_backward(loss)
                else:
                    loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                if watched:
                    # As Lightning counts its own: callbacks ask how many steps there were.
                    progress.increment_ready()
                    progress.increment_completed()
            # Autocast keeps the weights that it has cast, which this step has changed.
            torch.clear_autocast_cache()
            if schedule is not None:
                schedule.step()
            self.stepped(batch, loss)

    def loss(self, batch: Batch) -> Tensor:
        """Return what a step on a batch makes small, and add its terms to the sums.

        Of a batch that is divided it is such that the mean over the processes is that of the whole.
        """
        raise NotImplementedError

    def take(self) -> dict[str, float]:
        """Return the means over the rows since the last call, and start the sums anew."""
        sums, self.sums = self.sums, Sums()
        return Sums.joined(self.team.gather(sums.state())).means()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        whole = self.numbered(batch, batch_idx)

        def validate_chunk(rows: slice) -> None:
            self.validate(whole.select(rows))

        by_chunks(len(whole.x), len(whole.x), validate_chunk)

    def validate(self, batch: Batch) -> None:
        """Add a validation batch's terms to the sums, last of all."""
        raise NotImplementedError

    def validated(self, means: dict[str, float]) -> None:
        """Set the score from the means of a validation."""
        raise NotImplementedError

    def on_validation_epoch_start(self) -> None:
        # Lightning may validate at any moment of an epoch.
        self._trained, self.sums = self.sums, Sums()

    def on_validation_epoch_end(self) -> None:
        means = self.take()
        self.sums = self._trained
        self.validated(means)
        self._val_means = {f"val_{name}": value for name, value in means.items()}
        self._log(self._val_means)

    def on_train_epoch_end(self) -> None:
        if not self.recorded:
            self.close_epoch()

    def close_epoch(self) -> dict[str, float]:
        """Log the means of the epoch's training and return them, and after them those of its validation."""
        means = self.take()
        means = {"train_loss": means.pop("loss")} | means
        self._log(means)
        means |= self._val_means
        self._val_means = {}
        return means

    def _log(self, means: Mapping[str, float]) -> None:
        if self.watched:
            logger = False if self.recorded else None
            self.log_dict(dict(means), logger=logger, batch_size=1, sync_dist=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[SUMS] = self.team.gather(self.sums.state())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        states = checkpoint[SUMS]
        if len(states) == self.team.size:
            self.sums = Sums.joined([states[self.team.rank]])
        else:  # begun by another number of processes, whose sums are together what they were
            self.sums = Sums.joined(states if self.team.leads else [])


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
        loss, networks = self._cross_entropy(batch)
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

    def _cross_entropy(self, batch: Batch) -> tuple[Tensor, float]:
        """Return the sum over the networks of each one's mean over its own rows, and how many there are.

        With the sum each learns as if it were alone.
        """
        network, weights, smoothing = self.classifier, self.weights, self._fit.label_smoothing
        if isinstance(network, Classifier):
            return _mean_loss(network, batch, weights, smoothing), 1
        # What is not learnt from is not seen either: it would have a part in the batch's statistics.
        assert batch.fold is not None
        if isinstance(network, SideBySide):
            numbers, present = network.own_rows(batch.fold)
            own = batch.select(numbers)
            losses = _losses(network(own.x, present), own, weights, smoothing) * present
            return (losses.sum(1) / present.sum(1).clamp(min=1)).sum(), len(network)
        means = []
        for number, member in enumerate(network.members):
            own = batch.select((batch.fold != number).nonzero().squeeze(1))
            if batch.part is not None:
                assert batch.whole_fold is not None
                own = own._replace(part=batch.part.among(batch.whole_fold != number))
            means.append(_mean_loss(member, own, weights, smoothing))
        return reduce(torch.add, means), len(means)

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


def _mean_loss(network: nn.Module, batch: Batch, weights: Tensor | None, smoothing: float) -> Tensor:
    """Return the mean cross-entropy of a batch; it is 0 where there are no rows."""
    assert batch.y is not None
    with dividing(batch.part):
        logits = _logits(network, batch).float()
    if weights is None and batch.weight is None and batch.part is None and len(logits):
        return F.cross_entropy(logits, batch.y, label_smoothing=smoothing)
    losses = _losses(logits, batch, weights, smoothing)
    # Divided by the rows, not by their weights as PyTorch does: a batch without a rare class would otherwise
    # count as much as one with it, and the classes would not weigh alike.
    if batch.part is not None:
        return losses.sum() * (batch.part.processes / max(1, batch.part.rows))
    return losses.sum() / max(1, len(losses))


def _logits(network: nn.Module, batch: Batch) -> Tensor:
    """Return the logits of a batch's rows, which are normalised together with those beside them.

    Apart, a network may learn to tell labelled rows by their statistics, and to say the same of all others.
    Not so a ladder's, which alone normalises its logits: what it says of the others it cannot neglect, as it
    denoises them (Rasmus et al. 2015 keep the statistics apart).
    """
    if batch.beside is None or isinstance(network.top, Normalisation):
        logits: Tensor = network(batch.x)
        return logits
    together: Tensor = network(torch.cat([batch.x, batch.beside]))
    return together[: len(batch.x)]


def _losses(logits: Tensor, batch: Batch, weights: Tensor | None, smoothing: float) -> Tensor:
    """Return the cross-entropy of each row (*rows, classes), times its weight and that of its class."""
    assert batch.y is not None
    flat, y = logits.float().flatten(0, -2), batch.y.flatten()
    losses = F.cross_entropy(flat, y, label_smoothing=smoothing, reduction="none").view_as(batch.y)
    if weights is not None:
        losses = weights[batch.y] * losses
    return losses if batch.weight is None else batch.weight * losses


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
