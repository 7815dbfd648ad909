"""A fit that died anywhere and was started again ends with the very weights of one that never died."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from stackae import training
from stackae.committee import Committee
from stackae.config import FinetuneConfig, FitConfig, PretrainConfig
from stackae.data.batches import Batch, Batches
from stackae.machine.hardware import Hardware
from stackae.progress import NoProgress
from stackae.shallow.activations import ACTIVATIONS
from stackae.shallow.corruptions import Masking
from stackae.shallow.losses import LOSSES
from stackae.shallow.objectives import Reconstruction
from stackae.shallow.penalties import KLSparsity
from stackae.shallow.rbm import ContrastiveDivergence
from stackae.shallow.units import DenseUnit
from stackae.stack import Classifier, Encoder, Unrolled
from stackae.stage_context import StageContext
from stackae.tasks import FinetuneTask, PretrainTask, Task

HARDWARE = Hardware("cpu", "auto", "32-true")
EPOCHS = 4
SETTINGS = FitConfig(epochs=EPOCHS)


class Died(Exception):
    """Stands for a kill: nothing after it runs."""


class Mortal(Batches):
    """Batches that die when the n-th of them is asked for."""

    left = 10**9

    def __iter__(self) -> Iterator[Batch]:
        for batch in super().__iter__():
            if self.left == 0:
                raise Died
            self.left -= 1
            yield batch


def _data(rows: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random((rows, 6), dtype=np.float32), rng.integers(0, 3, rows)


def _pretrain(rows: int) -> tuple[Task, Mortal]:
    torch.manual_seed(1)
    unit = DenseUnit((6,), 4, ACTIVATIONS["relu"], tied=False)
    objective = Reconstruction(LOSSES["bernoulli"], Masking(0.5))
    return _without_labels(unit, objective, rows)


def _unroll(rows: int) -> tuple[Task, Mortal]:
    """A penalty with a running mean, which the objective keeps."""
    torch.manual_seed(1)
    units = [DenseUnit((6,), 5, ACTIVATIONS["relu"]), DenseUnit((5,), 4, ACTIVATIONS["sigmoid"])]
    penalty = KLSparsity(4, 0.1, 2.0, running=True)
    objective = Reconstruction(LOSSES["bernoulli"], Masking(0.5), {"kl": penalty})
    return _without_labels(Unrolled(units, [nn.Hardtanh(0, math.inf)]), objective, rows)


def _persistent(rows: int) -> tuple[Task, Mortal]:
    """Gibbs chains that go on from batch to batch, which the objective keeps."""
    torch.manual_seed(1)
    unit = DenseUnit((6,), 4, ACTIVATIONS["sigmoid"], tied=True)
    objective = ContrastiveDivergence(
        steps=2,
        loss=LOSSES["bernoulli"],
        visible="binary",
        hidden="binary",
        persistent=True,
        batch_size=5,
        shape=(6,),
    )
    return _without_labels(unit, objective, rows)


def _without_labels(unit: nn.Module, objective: nn.Module, rows: int) -> tuple[Task, Mortal]:
    x, _ = _data(rows)
    loader = Mortal(x, batch_size=5, seed=7)
    settings = PretrainConfig(epochs=EPOCHS, schedule="cosine", warmup=1)
    return PretrainTask(unit, objective, settings, seed=3, steps=EPOCHS * len(loader)), loader


def _finetune(rows: int) -> tuple[Task, Mortal]:
    torch.manual_seed(1)
    unit = DenseUnit((6,), 4, ACTIVATIONS["relu"], tied=False)
    classifier = Classifier(Encoder([unit.encoder]), (4,), 3, dropout=0.5, input_dropout=0.2)
    x, y = _data(rows)
    loader = Mortal(x, y, batch_size=5, seed=7)
    settings = FinetuneConfig(epochs=EPOCHS, schedule="one_cycle")
    return FinetuneTask(classifier, settings, encoder_lr=1e-3, seed=3, steps=EPOCHS * len(loader)), loader


def _folds(rows: int) -> tuple[Task, Mortal]:
    torch.manual_seed(1)
    members = []
    for _ in range(3):
        unit = DenseUnit((6,), 4, ACTIVATIONS["relu"], tied=False)
        members.append(Classifier(Encoder([unit.encoder]), (4,), 3, dropout=0.5, input_dropout=0.2))
    x, y = _data(rows)
    loader = Mortal(x, y, batch_size=5, seed=7, fold=np.arange(rows) % 3)
    settings = FinetuneConfig(epochs=EPOCHS, schedule="cosine")
    steps = EPOCHS * len(loader)
    return FinetuneTask(Committee(members), settings, encoder_lr=1e-3, seed=3, steps=steps), loader


def _fit(task: Task, train: Batches, folder: Path, *, keep_best: bool) -> training.Fitted:
    x, y = _data(11)
    context = StageContext("stage", "stage", folder, 0, HARDWARE, False, NoProgress(), 0.0)
    val = None if isinstance(getattr(task, "classifier", None), Committee) else Batches(x, y, batch_size=4)
    return training.fit(context, task, train, val, SETTINGS, keep_best=keep_best)


@pytest.mark.parametrize(
    ("make", "rows"),
    [
        # One, two and three batches an epoch.
        *[(make, rows) for make in (_pretrain, _finetune, _folds) for rows in (4, 8, 13)],
        (_unroll, 8),
        (_persistent, 8),
    ],
)
def test_a_fit_that_died_at_any_batch_ends_the_same(make, rows: int, tmp_path: Path) -> None:
    keep_best = make is _finetune
    whole, loader = make(rows)
    (tmp_path / "whole").mkdir()
    fitted = _fit(whole, loader, tmp_path / "whole", keep_best=keep_best)
    for dies_at in range(1, EPOCHS * len(loader)):
        folder = tmp_path / str(dies_at)
        folder.mkdir()
        task, loader = make(rows)
        loader.left = dies_at
        with pytest.raises(Died):
            _fit(task, loader, folder, keep_best=keep_best)
        assert (folder / training.CHECKPOINT).exists()
        task, loader = make(rows)
        again = _fit(task, loader, folder, keep_best=keep_best)
        for name, tensor in whole.state_dict().items():
            assert torch.equal(tensor, task.state_dict()[name]), f"died at {dies_at}: {name} differs"
        strip = [{k: v for k, v in row.items() if k != "seconds"} for row in fitted.history]
        assert strip == [{k: v for k, v in row.items() if k != "seconds"} for row in again.history]
        assert again.kept_epoch == fitted.kept_epoch


def test_what_an_objective_keeps_is_part_of_the_tasks_state() -> None:
    assert "_objective.penalties.kl.running_mean" in _unroll(8)[0].state_dict()
    assert "_objective.chains" in _persistent(8)[0].state_dict()


def test_a_damaged_checkpoint_is_not_used(tmp_path: Path) -> None:
    whole, loader = _pretrain(13)
    (tmp_path / "whole").mkdir()
    _fit(whole, loader, tmp_path / "whole", keep_best=False)
    (tmp_path / training.CHECKPOINT).write_bytes(b"not a checkpoint")
    task, loader = _pretrain(13)
    with pytest.warns(UserWarning, match="damaged"):
        _fit(task, loader, tmp_path, keep_best=False)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, task.state_dict()[name])
