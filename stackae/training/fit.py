"""One fit of one task: Lightning's Trainer with what every stage needs and nothing per step that costs."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment  # type: ignore[attr-defined]

from stackae.config import FitConfig
from stackae.data.batches import Batch, Batches
from stackae.data.paired import Paired, TrainingBatches
from stackae.errors import ConfigError, TrainingError
from stackae.machine import signals
from stackae.machine.memory import ran_out
from stackae.machine.threads import threads
from stackae.progress import StageProgress
from stackae.ranks.start import ddp
from stackae.stage_context import StageContext
from stackae.tasks import Task
from stackae.tracking.logger import StageLogger
from stackae.training.agreement import Agreement
from stackae.training.batch_size import batch_size_error
from stackae.training.checkpoint import Autosave, Durable, usable_checkpoint
from stackae.training.divergence import DivergenceGuard
from stackae.training.threads import choose_threads

Pictures = Callable[[], Mapping[str, np.ndarray]]
"""Draws pictures of what is being trained, by name, as bytes."""

# In batches: reading the loss waits for the device to come so far, which on the CPU it has in any case, and
# looking at all weights takes as long as a small network's step.
LOOK_EVERY = 50


@dataclass(frozen=True)
class Fitted:
    """What a fit left behind: a row of metrics per epoch, the epoch kept (from 1), its time, its threads."""

    history: list[dict[str, float]]
    kept_epoch: int
    seconds: float
    threads: int

    @property
    def metrics(self) -> dict[str, int | float]:
        """What a stage's manifest says of its fit."""
        return {
            "epochs": len(self.history),
            "kept_epoch": self.kept_epoch,
            "seconds": self.seconds,
            "threads": self.threads,
        }


class Recorder(pl.Callback):
    """Gathers each epoch's means, hands them to logger and progress line, stops at NaN and infinity."""

    def __init__(
        self,
        context: StageContext,
        line: StageProgress,
        guard: DivergenceGuard,
        pictures: Pictures | None,
        agreement: Agreement,
    ) -> None:
        self._line, self._guard, self._pictures, self._agreement = line, guard, pictures, agreement
        self._asynchronous = context.hardware.accelerator != "cpu"
        self.history: list[dict[str, float]] = []
        self._earlier_seconds, self._started = 0.0, time.monotonic()
        self._shown = self._started
        self._unchecked = 0

    @property
    def seconds(self) -> float:
        """Seconds spent in this fit, those before a kill included."""
        return self._earlier_seconds + time.monotonic() - self._started

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history, self._earlier_seconds = state_dict["history"], state_dict["seconds"]

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        _task(pl_module).recorded = True

    def stepped(self, task: Task, batch: Batch, batches: int, loss: torch.Tensor) -> None:
        """Look at the loss of a step, on one of so many batches."""
        try:
            if not self._asynchronous:
                self._guard.check_loss(loss.item(), batch)
            elif batch.number % LOOK_EVERY == 0:
                self._guard.check_loss(task.sums.mean("loss"), batch)
        except TrainingError as fault:
            self._agreement.hold(fault)
        self._unchecked += 1
        now = time.monotonic()
        if now - self._shown > 0.2:
            self._shown = now
            share = (batch.number + 1) / batches
            self._line.advance(batch.epoch, share, self.history[-1] if self.history else {})

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        self._agreement.reached(due=False, ends=True)
        row: dict[str, float] = {"epoch": epoch} | _task(pl_module).close_epoch()
        self._guard.check_means(row)
        if self._unchecked >= LOOK_EVERY or epoch == trainer.max_epochs:
            states = [pl_module.state_dict(), *(optimizer.state_dict() for optimizer in trainer.optimizers)]
            self._guard.check_epoch(epoch, states)
            self._unchecked = 0
        row["seconds"] = self.seconds
        self.history.append(row)
        for logger in trainer.loggers:
            logger.log_metrics(row, step=epoch)
        album = [each for each in trainer.loggers if isinstance(each, StageLogger) and each.takes_pictures]
        # At powers of two: often while much changes, and never so often that it costs.
        if album and self._pictures is not None and epoch & (epoch - 1) == 0:
            pictures = self._pictures()
            for logger in album:
                logger.log_pictures(pictures, epoch)
        self._line.advance(epoch, 0.0, row)


class KeepBest(pl.Callback):
    """Keeps the weights with the best score; with `patience`, stops after so many epochs without a better."""

    def __init__(self, patience: int | None) -> None:
        self._patience = patience
        self._score: list[float] = []
        self.epoch = 0
        self.weights: dict[str, torch.Tensor] = {}

    def state_dict(self) -> dict[str, Any]:
        return {"score": self._score, "epoch": self.epoch, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._score, self.epoch = state_dict["score"], state_dict["epoch"]
        self.weights = state_dict["weights"]

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        epoch, score = trainer.current_epoch + 1, list(_task(pl_module).score)
        if score > self._score:
            self._score, self.epoch = score, epoch
            self.weights = {name: value.clone() for name, value in pl_module.state_dict().items()}
        elif self._patience is not None and epoch - self.epoch >= self._patience:
            trainer.should_stop = True


def fit(
    context: StageContext,
    task: Task,
    train: TrainingBatches,
    val: Batches | None,
    settings: FitConfig,
    *,
    keep_best: bool,
    pictures: Pictures | None = None,
) -> Fitted:
    """Train `task` in place; go on from the checkpoint in the context's folder if a stopped run left one.

    With `keep_best` the task ends with its best-scored weights, else with its last. Where the stage is
    logged, `pictures` are drawn after epochs 1, 2, 4, 8 and so on. Raises TrainingError where a loss or a
    weight is NaN or infinite and where memory runs out, and at a signal what `signals.watched` says, or
    KeyboardInterrupt.
    """
    if context.team.size > 1:
        train, val = _divided(context, train, val)
    if context.hardware.accelerator == "gpu":
        # Half of what is free, together: the rest is for the network.
        most = torch.cuda.mem_get_info()[0] // 4
        device = context.hardware.device
        train, val = train.held(device, most), val and val.held(device, most)
    guard = DivergenceGuard(context, settings.lr)
    checkpoint = usable_checkpoint(context, guard)
    steps = settings.epochs * len(train)
    number = choose_threads(context, task, train, steps, resumes=checkpoint is not None)
    with (
        threads(number),
        context.progress.stage(context.called, settings.epochs, train.rows, threads=number) as line,
        _QuietLightning(),
    ):
        agreement = Agreement(context.team, always=context.autosave == 0)
        recorder = Recorder(context, line, guard, pictures, agreement)
        best = KeepBest(settings.patience) if keep_best else None
        durable = Durable(context, guard)
        autosave = Autosave(context, guard, durable, agreement)
        environment = context.team.environment or LightningEnvironment()
        trainer = pl.Trainer(
            accelerator=context.hardware.accelerator,
            devices=context.hardware.devices,
            num_nodes=context.hardware.nodes,
            strategy=ddp() if context.team.size > 1 else context.hardware.strategy,
            precision=context.hardware.precision,  # type: ignore[arg-type]  # one of the config's literals
            max_epochs=settings.epochs,
            callbacks=[recorder, *([best] if best else []), *context.callbacks, autosave],
            # Under SLURM, Lightning would otherwise take its signals for itself and queue the job anew.
            plugins=[durable, environment],
            logger=context.logger,
            enable_checkpointing=True,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            default_root_dir=context.folder,
        )

        def stepped(batch: Batch, loss: torch.Tensor) -> None:
            recorder.stepped(task, batch, len(train), loss)
            autosave.stepped(trainer, batch, len(train))

        task.stage, task.stepped = context.called, stepped
        task.watched = bool(context.callbacks)
        task.team = context.team
        task.automatic_optimization = False
        with signals.deferred():
            completed = _run(trainer, task, train, val, checkpoint)
        if not completed:
            raise batch_size_error(context, task, train)
    if best is not None:
        task.load_state_dict(best.weights)
    task.cpu().eval()
    kept_epoch = best.epoch if best else len(recorder.history)
    return Fitted(recorder.history, kept_epoch, recorder.seconds, number)


def _divided(
    context: StageContext, train: TrainingBatches, val: Batches | None
) -> tuple[Batches, Batches | None]:
    """Return this process's parts of the batches; ConfigError where there are more processes than rows."""
    team = context.team
    assert not isinstance(train, Paired)
    if train.smallest < team.size:
        raise ConfigError(
            f"{context.called}: batches of {train.smallest} rows cannot be divided over {team.size} "
            f"processes; set trainer.devices lower, or {context.setting('batch_size')} higher"
        )
    return train.divided(team.rank, team.size), val and val.divided(team.rank, team.size)


def _run(
    trainer: pl.Trainer, task: Task, train: TrainingBatches, val: Batches | None, checkpoint: Path | None
) -> bool:
    """Train to the end; return False where memory ran out, with nothing left of the optimiser's."""
    restore_handlers = signals.save_handlers()
    # Lightning leaves each module in the mode it finds it in; units come from the store in eval mode.
    task.train()
    try:
        trainer.fit(task, _Epochs(train), val, ckpt_path=checkpoint, weights_only=True)
    except SystemExit as stop:
        # Lightning answers Ctrl-C with exit code 1 and leaves the signal ignored.
        raise KeyboardInterrupt from stop
    except (RuntimeError, MemoryError) as fault:
        if not ran_out(fault):
            raise
        for optimizer in trainer.optimizers:
            optimizer.state.clear()
        return False
    finally:
        restore_handlers()
    return True


def _task(module: pl.LightningModule) -> Task:
    assert isinstance(module, Task)
    return module


class _Epochs:
    """Epochs of batches as Lightning takes them: each is one item, the iterator over what is left of it.

    Lightning saves and restores the position through `state_dict`, and supplies the epoch through
    `sampler.set_epoch`.
    """

    # Lightning asks every loader with a sampler for it.
    batch_sampler = None

    def __init__(self, batches: TrainingBatches) -> None:
        self.sampler = batches
        self.state_dict, self.load_state_dict = batches.state_dict, batches.load_state_dict

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Iterator[Batch]]:
        yield iter(self.sampler)


class _QuietLightning(warnings.catch_warnings):
    """Hides Lightning's remarks on devices and loaders: the hardware and the loader are chosen on purpose."""

    def __enter__(self) -> None:
        super().__enter__()
        logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
        warnings.filterwarnings(
            "ignore", module=r"pytorch_lightning|lightning_fabric|torch\.optim\.lr_scheduler"
        )
