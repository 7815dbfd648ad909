"""What the Lightning modules have in common: sums, steps, validation, checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from stackae.data.batches import Batch
from stackae.errors import DataError
from stackae.machine.memory import by_chunks
from stackae.ranks.team import ALONE, Team
from stackae.shallow.divided import dividing
from stackae.shallow.normalisation import measure
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
