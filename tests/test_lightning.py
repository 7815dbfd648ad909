"""The tasks in a trainer of one's own: any loader's batches, logged under the names of the results."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from conftest import REPOSITORY
from documents import executed
from pytorch_lightning.callbacks import EarlyStopping
from torch.utils.data import DataLoader, TensorDataset

from stackae.committee import Committee
from stackae.config import FinetuneConfig, PretrainConfig
from stackae.data.batches import Batch, Batches
from stackae.errors import DataError
from stackae.shallow.activations import ACTIVATIONS
from stackae.shallow.corruptions import Masking
from stackae.shallow.losses import LOSSES
from stackae.shallow.objectives import Reconstruction
from stackae.shallow.penalties import L1
from stackae.shallow.units import DenseUnit
from stackae.stack import Classifier, Encoder
from stackae.tasks import FinetuneTask, PretrainTask

X = torch.rand(22, 6, generator=torch.Generator().manual_seed(0))
Y = (torch.arange(22) % 3).int()
STILL: dict[str, Any] = {"optimizer": "sgd", "lr": 1e-30}


def pretrain(rate: float = 0.5, **settings: Any) -> PretrainTask:
    torch.manual_seed(0)
    unit = DenseUnit((6,), 4, ACTIVATIONS["sigmoid"], tied=False)
    objective = Reconstruction(LOSSES["squared_error"], Masking(rate), {"l1": L1(0.5)})
    return PretrainTask(unit, objective, PretrainConfig(epochs=10, **settings), seed=3, steps=30)


def finetune(**settings: Any) -> FinetuneTask:
    torch.manual_seed(0)
    unit = DenseUnit((6,), 4, ACTIVATIONS["sigmoid"], tied=False)
    classifier = Classifier(Encoder([unit.encoder]), (4,), 3, dropout=0.0, input_dropout=0.0)
    return FinetuneTask(classifier, FinetuneConfig(epochs=3, **settings), encoder_lr=1e-30, seed=3, steps=30)


def trainer(**settings: Any) -> pl.Trainer:
    quiet: dict[str, Any] = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return pl.Trainer(accelerator="cpu", **quiet | settings)


def loader(*tensors: torch.Tensor, size: int = 8) -> DataLoader[tuple[torch.Tensor, ...]]:
    return DataLoader(TensorDataset(*tensors), batch_size=size)


@pytest.mark.parametrize("form", [lambda x: x, lambda x: [x], lambda x: (x, Y)])
def test_a_batch_of_any_loader_is_trained_on_like_one_of_ours_of_the_same_number(form: Any) -> None:
    ours = pretrain().training_step(Batch(X, None, 0, 5), 99)
    assert pretrain().training_step(form(X), 5).item() == ours.item()
    assert pretrain().training_step(form(X), 6).item() != ours.item()


@pytest.mark.parametrize("batch", [{"x": X}, [X, Y, Y], [X, "a"], []])
def test_a_batch_that_is_none_is_refused_in_a_line(batch: Any) -> None:
    with pytest.raises(DataError, match=r"PretrainTask takes tensors: x, or \(x, y\)$"):
        pretrain().training_step(batch, 0)


def test_fine_tuning_needs_classes() -> None:
    with pytest.raises(DataError, match="without classes"):
        trainer(max_epochs=1).fit(finetune(), loader(X))


def test_a_committee_needs_folds() -> None:
    member = finetune().classifier
    assert isinstance(member, Classifier)
    task = FinetuneTask(
        Committee([member, member]), FinetuneConfig(epochs=1), encoder_lr=0.1, seed=0, steps=9
    )
    with pytest.raises(DataError, match="rows' folds"):
        trainer(max_epochs=1).fit(task, loader(X, Y))


@pytest.mark.parametrize("interval", [1.0, 0.5])
def test_what_is_logged_are_means_over_all_rows_however_often_one_validates(interval: float) -> None:
    """Validating at the middle of an epoch must not take away the sums of its first half."""
    task, fit = pretrain(rate=0.0, **STILL), trainer(max_epochs=2, val_check_interval=interval)
    fit.fit(task, loader(X), loader(X[:5], size=2))
    unit = task.unit
    assert isinstance(unit, DenseUnit)
    with torch.no_grad():
        code = unit.encoder(X)
        each = ((unit.decoder(code) - X) ** 2).sum(1)
        l1 = 0.5 * code.abs().sum(1)
    assert {name: value.item() for name, value in fit.callback_metrics.items()} == {
        "train_loss": pytest.approx((each + l1).mean().item(), rel=1e-5),
        "reconstruction": pytest.approx(each.mean().item(), rel=1e-5),
        "l1": pytest.approx(l1.mean().item(), rel=1e-5),
        "val_reconstruction": pytest.approx(each[:5].mean().item(), rel=1e-5),
    }


def test_a_classifier_logs_its_loss_accuracy_and_likelihood() -> None:
    task, fit = finetune(**STILL), trainer(max_epochs=1)
    fit.fit(task, loader(X, Y), loader(X[:5], Y[:5], size=2))
    with torch.no_grad():
        logits = task.classifier.eval()(X)
    assert {name: value.item() for name, value in fit.callback_metrics.items()} == {
        "train_loss": pytest.approx(F.cross_entropy(logits, Y.long()).item(), rel=1e-5),
        "val_nll": pytest.approx(F.cross_entropy(logits[:5], Y[:5].long()).item(), rel=1e-5),
        "val_accuracy": pytest.approx((logits[:5].argmax(1) == Y[:5]).float().mean().item()),
    }


def test_loggers_get_each_epoch_once(tmp_path: Path) -> None:
    from pytorch_lightning.loggers import CSVLogger

    logger = CSVLogger(tmp_path, "", "")
    fit = trainer(max_epochs=3, logger=logger, log_every_n_steps=1)
    fit.fit(pretrain(), loader(X), loader(X))
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    place = lines[0].split(",").index("train_loss")
    assert len([line for line in lines[1:] if line.split(",")[place]]) == 3


def test_early_stopping_sees_the_validation() -> None:
    stop = EarlyStopping("val_reconstruction", patience=1, min_delta=1e9)
    fit = trainer(max_epochs=9, callbacks=[stop])
    fit.fit(pretrain(), loader(X), loader(X))
    assert fit.current_epoch == 2


def test_a_fit_with_an_ordinary_loader_ends_with_the_weights_of_one_with_ours() -> None:
    def weights(batches: Any) -> list[torch.Tensor]:
        task = pretrain()
        trainer(max_epochs=3).fit(task.train(), batches)
        return list(task.state_dict().values())

    # Ours would share out what is left of the rows among all batches.
    ours = weights(Batches(X[:16].numpy(), batch_size=8))
    for found, expected in zip(weights(loader(X[:16])), ours, strict=True):
        assert torch.equal(found, expected)


def test_the_page_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.chdir(tmp_path):
        names = executed(REPOSITORY / "docs/lightning.md")
    with torch.no_grad():
        found = names["classifier"](names["x_test"]).argmax(1) == names["y_test"]
    assert np.mean(found.numpy()) > 0.7
    assert len(list((tmp_path / "checkpoints").rglob("*.ckpt"))) == 3
    said = capsys.readouterr().out.splitlines()
    stages = [line.split()[0] for line in said if line[0].isalpha()]
    assert stages == ["accuracy", "pretrain-1", "length", "finetune", "scratch-length", "scratch"]
