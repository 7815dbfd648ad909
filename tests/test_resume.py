"""A fit that died anywhere and was started again ends with the very weights of one that never died."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from stackae import training
from stackae.config import FinetuneConfig, FitConfig, MaskingConfig, PretrainConfig
from stackae.data.batches import Batch, Batches
from stackae.hardware import Hardware
from stackae.kinds import build_corruption
from stackae.progress import NoProgress
from stackae.shallow.activations import ACTIVATIONS
from stackae.shallow.losses import LOSSES
from stackae.shallow.objectives import Reconstruction
from stackae.shallow.units import DenseUnit
from stackae.stack import Classifier, Encoder
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
    objective = Reconstruction(LOSSES["bernoulli"], build_corruption(MaskingConfig(rate=0.5)))
    x, _ = _data(rows)
    loader = Mortal(x, batch_size=5, seed=7)
    settings = PretrainConfig(epochs=EPOCHS, schedule="cosine", warmup=1)
    return PretrainTask(unit, objective, settings, seed=3, steps=EPOCHS * len(loader)), loader


def _finetune(rows: int) -> tuple[Task, Mortal]:
    torch.manual_seed(1)
    unit = DenseUnit((6,), 4, ACTIVATIONS["relu"], tied=False)
    classifier = Classifier(Encoder([unit.encoder]), 4, 3, dropout=0.5, input_dropout=0.2)
    x, y = _data(rows)
    loader = Mortal(x, y, batch_size=5, seed=7)
    settings = FinetuneConfig(epochs=EPOCHS, schedule="one_cycle")
    return FinetuneTask(classifier, settings, encoder_lr=1e-3, seed=3, steps=EPOCHS * len(loader)), loader


def _fit(task: Task, train: Batches, folder: Path, *, keep_best: bool) -> training.Fitted:
    x, y = _data(11)
    job = training.Job("stage", folder, 0, HARDWARE, False, NoProgress())
    return training.fit(job, task, train, Batches(x, y, batch_size=4), SETTINGS, keep_best=keep_best)


@pytest.mark.parametrize("make", [_pretrain, _finetune])
@pytest.mark.parametrize("rows", [4, 8, 13])  # one, two and three batches an epoch
def test_a_fit_that_died_at_any_batch_ends_the_same(
    make, rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "AUTOSAVE_SECONDS", 0.0)
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
