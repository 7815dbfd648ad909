"""Checkpoints within a stage: written every so often and before a stop, whole or not at all."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from stackae.data.batches import Batch
from stackae.errors import TrainingError
from stackae.machine import signals
from stackae.machine.disk import replacing
from stackae.stage_context import StageContext
from stackae.tasks import SUMS
from stackae.training.agreement import Agreement
from stackae.training.divergence import DivergenceGuard

CHECKPOINT = "checkpoint.ckpt"
# Saving takes at most one part in so many of the time.
TIME_PER_SAVING = 20


class Autosave(Checkpoint):
    """Writes a checkpoint every so many seconds, and at once where a signal asks for an end, which follows.

    A `Checkpoint`, because Lightning calls those after all other callbacks.
    """

    def __init__(
        self, context: StageContext, guard: DivergenceGuard, durable: Durable, agreement: Agreement
    ) -> None:
        self._context, self._guard, self._durable, self._agreement = context, guard, durable, agreement
        self._restore_handlers = signals.save_handlers()
        self._due = time.monotonic() + context.autosave
        self._epoch = self._batch = 0
        self._warned = False

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self._epoch, "batch": self._batch}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Lightning has just taken SIGTERM for itself, and would turn it into an exit without a word.
        self._restore_handlers()

    def stepped(self, trainer: pl.Trainer, batch: Batch, batches: int) -> None:
        """Save after a step where it is due, on one of so many batches of the epoch."""
        # At the last batch the epoch's validation is still to come: that moment is left to the epoch's end.
        if batch.number + 1 < batches:
            self._at_safe_point(trainer, batch.epoch + 1, batch.number + 1)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.should_stop:
            self._at_safe_point(trainer, trainer.current_epoch + 1, 0)

    def _at_safe_point(self, trainer: pl.Trainer, epoch: int, batch: int) -> None:
        if self._agreement.reached(due=time.monotonic() >= self._due, ends=not batch):
            self._epoch, self._batch = epoch, batch
            self._save(trainer)
        self._agreement.stop()

    def _save(self, trainer: pl.Trainer) -> None:
        started = time.monotonic()
        try:
            trainer.save_checkpoint(self._context.folder / CHECKPOINT)
            self._durable.settle()
        except OSError as fault:
            self._warn(fault)
        else:
            self._guard.kept_place = describe_place(self._epoch, self._batch)
            signals.keep(self._context.called, self._guard.kept_place)
        ended = time.monotonic()
        if self._context.autosave:
            self._due = ended + max(self._context.autosave, TIME_PER_SAVING * (ended - started))

    def _warn(self, fault: OSError) -> None:
        if not self._warned:
            self._warned = True
            last = self._guard.kept_place or "its start"
            self._context.progress.warn(
                f"{self._context.called}: no checkpoint could be written ({fault.strerror or fault}: "
                f"'{self._context.folder}'); training goes on, but a stop would lose what comes after {last}"
            )


class Durable(TorchCheckpointIO):
    """Writes a checkpoint so that the one before it stays until the new one is whole and on the disk."""

    def __init__(self, context: StageContext, guard: DivergenceGuard) -> None:
        self._team, self._guard = context.team, guard
        self._fault: OSError | TrainingError | None = None

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        try:
            self._write(checkpoint, path)
        except (OSError, TrainingError) as fault:
            if self._team.size == 1:
                raise
            # The others of a team wait for the leader's writing, and not for its failure.
            self._fault = fault

    def settle(self) -> None:
        """Raise, in all processes, what the last writing failed of: OSError or TrainingError."""
        fault, self._fault = self._fault, None
        told = self._team.tell(fault and [isinstance(fault, OSError), str(fault)])
        if fault is not None:
            raise fault
        if told is not None:
            raise OSError(told[1]) if told[0] else TrainingError(told[1])

    def _write(self, checkpoint: dict[str, Any], path: str | os.PathLike[str]) -> None:
        self._guard.check_state(checkpoint, _place_of(checkpoint))
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as part, part.open("xb") as file:
            _dump(checkpoint, file)


def _dump(checkpoint: dict[str, Any], file: BinaryIO) -> None:
    try:
        torch.save(checkpoint, file)
    except RuntimeError as fault:
        # torch's error for a full disk, raised on top of the disk's own.
        if isinstance(fault.__context__, OSError):
            raise fault.__context__ from None
        raise


def usable_checkpoint(context: StageContext, guard: DivergenceGuard) -> Path | None:
    """Return the path of a checkpoint to resume from, or None; remove a damaged one. Tells of either.

    All of a team take the leader's word for it, who looks first.
    """
    team = context.team
    if not team.tell(_usable(context, guard) is not None if team.leads else None):
        return None
    return context.folder / CHECKPOINT if team.leads else _usable(context, guard)


def _usable(context: StageContext, guard: DivergenceGuard) -> Path | None:
    path = context.folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        with warnings.catch_warnings(action="ignore"):  # torch's remarks on what is no checkpoint of ours
            checkpoint: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        place = _place_of(checkpoint)
        complete = {"state_dict", "loops", "optimizer_states"} <= checkpoint.keys()
        processes = len(list(checkpoint[SUMS]))
    except Exception:  # whatever a damaged file makes the reader raise
        complete = False
    if complete:
        guard.kept_place = place
        signals.keep(context.called, place)
        context.progress.resumed(context.called, place)
        if processes != context.team.size:
            context.progress.warn(
                f"{context.called}: was begun by {processes} process{'es' * (processes > 1)} and goes on "
                f"with {context.team.size}; it ends as with either, but for rounding"
            )
        return path
    context.progress.warn(f"{context.called}: the checkpoint {path} is damaged; this stage starts anew")
    path.unlink()
    return None


def describe_place(epoch: int, batch: int) -> str:
    """Describe how far training has come: to a batch of an epoch, both from 1; batch 0 is the epoch's end."""
    return f"epoch {epoch:d}, batch {batch:d}" if batch else f"the end of epoch {epoch:d}"


def _place_of(checkpoint: Mapping[str, Any]) -> str:
    return describe_place(**checkpoint["callbacks"]["Autosave"])
