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

from stackae.machine import signals
from stackae.machine.disk import replacing
from stackae.stage_context import StageContext
from stackae.training.divergence import Numbers

CHECKPOINT = "checkpoint.ckpt"
# At most one part in so many of the time goes into saving.
SHARE = 20


class Autosave(Checkpoint):
    """Writes a checkpoint every so many seconds, and at once where a signal asks for an end, which follows.

    A `Checkpoint`, because Lightning calls those after all other callbacks.
    """

    def __init__(self, context: StageContext, numbers: Numbers) -> None:
        self._job, self._numbers = context, numbers
        self._give_back = signals.holders()
        self._due = time.monotonic() + context.autosave
        self._epoch = self._batch = 0
        self._failed = False

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self._epoch, "batch": self._batch}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Lightning has just taken SIGTERM for itself, and would turn it into an exit without a word.
        self._give_back()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # At the last batch the epoch's validation is still to come: that moment is left to the epoch's end.
        if batch.number + 1 < trainer.num_training_batches:
            self._reached(trainer, batch.epoch + 1, batch.number + 1)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.should_stop:
            self._reached(trainer, trainer.current_epoch + 1, 0)

    def _reached(self, trainer: pl.Trainer, epoch: int, batch: int) -> None:
        if signals.asked() or time.monotonic() >= self._due:
            self._epoch, self._batch = epoch, batch
            self._save(trainer)
        signals.check()

    def _save(self, trainer: pl.Trainer) -> None:
        started = time.monotonic()
        try:
            trainer.save_checkpoint(self._job.folder / CHECKPOINT)
        except OSError as fault:
            self._warn(fault)
        else:
            self._numbers.kept = place(self._epoch, self._batch)
            signals.keep(self._job.stage, self._numbers.kept)
        ended = time.monotonic()
        if self._job.autosave:
            self._due = ended + max(self._job.autosave, SHARE * (ended - started))

    def _warn(self, fault: OSError) -> None:
        if not self._failed:
            self._failed = True
            last = self._numbers.kept or "its start"
            self._job.progress.warn(
                f"{self._job.stage}: no checkpoint could be written ({fault.strerror or fault}: "
                f"'{self._job.folder}'); training goes on, but a stop would lose what comes after {last}"
            )


class Durable(TorchCheckpointIO):
    """Writes a checkpoint so that the one before it stays until the new one is whole and on the disk."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        self._numbers.checkpoint(checkpoint, _place_of(checkpoint))
        whole = Path(path)
        whole.parent.mkdir(parents=True, exist_ok=True)
        with replacing(whole) as part, part.open("xb") as file:
            _write(checkpoint, file)


def _write(checkpoint: dict[str, Any], file: BinaryIO) -> None:
    try:
        torch.save(checkpoint, file)
    except RuntimeError as fault:
        # What torch says of a disk that is full, on top of what the disk said.
        if isinstance(fault.__context__, OSError):
            raise fault.__context__ from None
        raise


def usable(context: StageContext, numbers: Numbers) -> Path | None:
    """The path of a checkpoint that can be gone on from, or None; removes a broken one. Says either."""
    path = context.folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        with warnings.catch_warnings(action="ignore"):  # torch's remarks on what is no checkpoint of ours
            state: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        done = _place_of(state)
        complete = {"state_dict", "loops", "optimizer_states"} <= state.keys()
    except Exception:  # whatever a damaged file makes the reader raise
        complete = False
    if complete:
        numbers.kept = done
        signals.keep(context.stage, done)
        context.progress.resumed(context.stage, done)
        return path
    context.progress.warn(f"{context.stage}: the checkpoint {path} is damaged; this stage starts anew")
    path.unlink()
    return None


def place(epoch: int, batch: int) -> str:
    """How far training has come: after so many batches of an epoch, from 1 on; 0 is the epoch's end."""
    return f"epoch {epoch:d}, batch {batch:d}" if batch else f"the end of epoch {epoch:d}"


def _place_of(checkpoint: Mapping[str, Any]) -> str:
    return place(**checkpoint["callbacks"]["Autosave"])
