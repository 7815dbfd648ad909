"""A fit of a task that does what a script says, and who is told of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from stackae import training
from stackae.config import FitConfig
from stackae.data.batches import Batch, Batches
from stackae.machine.hardware import Hardware
from stackae.progress import NoProgress
from stackae.stage_context import StageContext
from stackae.tasks import Task

CPU = Hardware("cpu", "auto", "32-true")
ROWS, BATCH = 7, 3
STEPS = 3  # an epoch: batches of 3, 3 and 1 rows

# What a job finds in its environment there.
SLURM = {
    "SLURM_JOB_ID": "77",
    "SLURM_JOB_NAME": "stackae",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
    "SLURM_NODELIST": "node1",
}


class Scripted(Task):
    """Its one weight counts its steps, and the validation after each epoch says what the script says."""

    def __init__(self, script: list[float], during: Callable[[int], float] = lambda step: 1.0) -> None:
        super().__init__(seed=0)
        self.steps = nn.Parameter(torch.zeros(()))
        self.script, self.during = script, during
        self.batches: list[int] = []

    def loss(self, batch: Batch) -> Tensor:
        self.batches.append(len(batch.x))
        # The gradient is -1 and the learning rate 1, so that the weight grows by 1.
        loss = self.steps.detach() - self.steps + self.during(len(self.batches))
        self.sums.add(len(batch.x), {"loss": loss})
        return loss

    def validate(self, batch: Batch) -> None:
        score = self.script[round(self.steps.item()) // STEPS - 1]
        self.sums.add(len(batch.x), {"score": torch.tensor(score)})

    def validated(self, means: dict[str, float]) -> None:
        self.score = (means["score"],)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)


class Told(NoProgress):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, int, int]] = []
        self.epochs: list[tuple[int, float, dict[str, float]]] = []
        self.places: list[tuple[str, str]] = []
        self.warnings: list[str] = []

    @contextmanager
    def stage(
        self, name: str, steps: int, rows: int = 0, step: str = "epoch", threads: int = 0
    ) -> Iterator[Told]:
        self.begun.append((name, steps, rows))
        yield self

    def advance(self, done: int, share: float, metrics: Mapping[str, float]) -> None:
        self.epochs.append((done, share, dict(metrics)))

    def resumed(self, name: str, place: str) -> None:
        self.places.append((name, place))

    def warn(self, line: str) -> None:
        self.warnings.append(line)


def fit(
    task: Task,
    folder: Path,
    settings: FitConfig,
    *,
    keep_best: bool = True,
    told: NoProgress | None = None,
    autosave: float = 30.0,
    stage: str = "pretrain-2",
    section: str = "layers.1",
) -> training.Fitted:
    """Fits the task to seven rows."""
    x = np.random.default_rng(0).random((ROWS, 4), dtype=np.float32)
    context = StageContext(stage, section, folder, 0, CPU, False, told or NoProgress(), autosave)
    train = Batches(x, batch_size=BATCH, seed=1)
    return training.fit(context, task, train, Batches(x, batch_size=5), settings, keep_best=keep_best)
