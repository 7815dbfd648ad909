"""One fit: it stops when it should, keeps the best weights, uses every row, and leaves things in order."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from scripted import CPU, ROWS, SLURM, STEPS, Scripted, Told, fit
from torch import Tensor

from stackae import training
from stackae.build import build_corruption
from stackae.config import FitConfig, MaskingConfig, PretrainConfig
from stackae.data.batches import Batches
from stackae.errors import TrainingError
from stackae.progress import NoProgress
from stackae.shallow.activations import ACTIVATIONS
from stackae.shallow.gaussian import GaussianUnit
from stackae.shallow.losses import LOSSES
from stackae.shallow.objectives import Reconstruction
from stackae.shallow.units import DenseUnit
from stackae.stack import Unrolled
from stackae.stage_context import StageContext
from stackae.tasks import PretrainTask

# ---- early stopping


def test_it_stops_after_so_many_epochs_without_a_better_and_keeps_the_best_weights(tmp_path: Path) -> None:
    task = Scripted([1, 2, 5, 4, 5, 99, 99])
    fitted = fit(task, tmp_path, FitConfig(epochs=7, patience=2))
    assert [row["epoch"] for row in fitted.history] == [1, 2, 3, 4, 5]
    assert len(task.batches) == 5 * STEPS
    assert fitted.kept_epoch == 3
    assert task.steps.item() == 3 * STEPS


def test_a_better_epoch_in_time_keeps_it_going(tmp_path: Path) -> None:
    task = Scripted([5, 4, 6, 5, 7, 6])
    fitted = fit(task, tmp_path, FitConfig(epochs=6, patience=2))
    assert len(fitted.history) == 6
    assert (fitted.kept_epoch, task.steps.item()) == (5, 5 * STEPS)


def test_without_patience_it_never_stops_early_and_still_keeps_the_best(tmp_path: Path) -> None:
    task = Scripted([9, 1, 1, 1, 1])
    fitted = fit(task, tmp_path, FitConfig(epochs=5, patience=None))
    assert len(fitted.history) == 5
    assert (fitted.kept_epoch, task.steps.item()) == (1, STEPS)


def test_without_keeping_the_best_the_last_weights_stay(tmp_path: Path) -> None:
    task = Scripted([9, 1, 1])
    fitted = fit(task, tmp_path, FitConfig(epochs=3), keep_best=False)
    assert (fitted.kept_epoch, task.steps.item()) == (3, 3 * STEPS)


def test_the_earlier_of_two_equal_epochs_is_kept(tmp_path: Path) -> None:
    task = Scripted([1, 4, 4])
    assert fit(task, tmp_path, FitConfig(epochs=3)).kept_epoch == 2


def test_a_fit_ends_in_eval_mode(tmp_path: Path) -> None:
    task = Scripted([1])
    fit(task, tmp_path, FitConfig(epochs=1))
    assert not task.training


# ---- every row counts


def test_every_row_is_used(tmp_path: Path) -> None:
    task = Scripted([1, 2])
    fit(task, tmp_path, FitConfig(epochs=2))
    assert task.batches == [2, 2, 3, 2, 2, 3]


def _unit_task(settings: PretrainConfig, *, activation: str = "relu", rate: float = 0.0) -> PretrainTask:
    torch.manual_seed(1)
    unit = DenseUnit((4,), 3, ACTIVATIONS[activation], tied=False)
    objective = Reconstruction(LOSSES["squared_error"], build_corruption(MaskingConfig(rate=rate)))
    return PretrainTask(unit, objective, settings, seed=3, steps=settings.epochs)


def test_fewer_rows_than_a_batch_are_trained_on(tmp_path: Path) -> None:
    settings = PretrainConfig(epochs=2, batch_size=100)
    task = _unit_task(settings, activation="linear")
    before = {name: tensor.clone() for name, tensor in task.state_dict().items()}
    x = np.random.default_rng(0).random((5, 4), dtype=np.float32)
    context = StageContext("pretrain-1", "layers.0", tmp_path, 0, CPU, False, NoProgress(), 30.0)
    loader = Batches(x, batch_size=100, seed=1)
    training.fit(context, task, loader, Batches(x, batch_size=5), settings, keep_best=False)
    assert all(not torch.equal(before[name], tensor) for name, tensor in task.state_dict().items())


def test_an_epochs_means_weigh_every_row_alike(tmp_path: Path) -> None:
    """With next to no learning, the means over batches of 3, 3 and 1 rows are those over all 7 rows."""
    settings = PretrainConfig(epochs=1, lr=1e-30, optimizer="sgd")
    task = _unit_task(settings)
    (row,) = fit(task, tmp_path, settings, keep_best=False).history
    x = torch.from_numpy(np.random.default_rng(0).random((ROWS, 4), dtype=np.float32))
    with torch.no_grad():
        output = task.unit.decoder(task.unit.encoder(x))
    expected = ((output - x) ** 2).sum(1).mean().item()
    assert row["train_loss"] == pytest.approx(expected, rel=1e-5)
    assert row["reconstruction"] == pytest.approx(expected, rel=1e-5)
    assert row["val_reconstruction"] == pytest.approx(expected, rel=1e-5)


def test_training_sees_noise_and_validation_does_not(tmp_path: Path) -> None:
    settings = PretrainConfig(epochs=1, lr=1e-30, optimizer="sgd")
    (clean,) = fit(_unit_task(settings), tmp_path, settings, keep_best=False).history
    (noisy,) = fit(_unit_task(settings, rate=0.9), tmp_path, settings, keep_best=False).history
    assert noisy["train_loss"] != pytest.approx(clean["train_loss"], rel=0.01)
    assert noisy["val_reconstruction"] == clean["val_reconstruction"]


def test_a_unit_that_comes_in_eval_mode_is_trained_in_training_mode(tmp_path: Path) -> None:
    """Units come from the store in eval mode, where a Gaussian one would decode its mean without noise."""
    settings = PretrainConfig(epochs=1, lr=1e-30, optimizer="sgd")
    torch.manual_seed(1)
    inner = GaussianUnit((4,), 3, ACTIVATIONS["linear"]).eval()
    task = PretrainTask(
        Unrolled([inner], []), Reconstruction(LOSSES["squared_error"]), settings, seed=3, steps=3
    )
    (row,) = fit(task, tmp_path, settings, keep_best=False).history
    assert row["train_loss"] > 1.5 * row["val_reconstruction"]


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    settings = PretrainConfig(epochs=60, lr=0.01)
    history = fit(_unit_task(settings, activation="linear"), tmp_path, settings, keep_best=False).history
    assert history[-1]["val_reconstruction"] < 0.5 * history[0]["val_reconstruction"]


def test_what_was_drawn_before_changes_nothing_and_the_seed_does(tmp_path: Path) -> None:
    settings = PretrainConfig(epochs=2)

    def weights(seed: int, drawn: int) -> list[Tensor]:
        task = _unit_task(settings, rate=0.5)
        task.seed = seed
        torch.manual_seed(drawn)
        fit(task, tmp_path, settings, keep_best=False)
        return [tensor.clone() for tensor in task.state_dict().values()]

    first, again, other = weights(3, 0), weights(3, 1), weights(4, 0)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


# ---- what is told


def test_the_progress_line_hears_of_every_epoch(tmp_path: Path) -> None:
    told = Told()
    fitted = fit(Scripted([1, 2]), tmp_path, FitConfig(epochs=2), told=told)
    assert told.begun == [("pretrain-2", 2, ROWS)]
    ended = [(epoch, metrics) for epoch, share, metrics in told.epochs if share == 0 and metrics]
    assert [epoch for epoch, _ in ended] == [1, 2]
    assert [metrics["val_score"] for _, metrics in ended] == [1, 2]
    assert [row["val_score"] for row in fitted.history] == [1, 2]


# ---- signals


@contextmanager
def handling(handler: Callable[..., None]) -> Iterator[None]:
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def interrupting(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def test_ctrl_c_is_a_keyboard_interrupt_and_the_signals_handler_comes_back(tmp_path: Path) -> None:
    def press(step: int) -> float:
        if step == 2:
            signal.raise_signal(signal.SIGINT)
        return 1.0

    task = Scripted([1, 2], during=press)
    with handling(interrupting):
        with pytest.raises(KeyboardInterrupt):
            fit(task, tmp_path, FitConfig(epochs=2))
        assert signal.getsignal(signal.SIGINT) is interrupting
    assert len(task.batches) == 2


class InterruptedAtTheStart(Scripted):
    def setup(self, stage: str) -> None:
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_before_the_first_step_gives_the_handler_back_too(tmp_path: Path) -> None:
    with handling(interrupting):
        with pytest.raises(KeyboardInterrupt):
            fit(InterruptedAtTheStart([1]), tmp_path, FitConfig(epochs=1))
        assert signal.getsignal(signal.SIGINT) is interrupting


def test_a_fit_that_ends_well_or_fails_leaves_the_signals_handler_too(tmp_path: Path) -> None:
    with handling(interrupting):
        fit(Scripted([1]), tmp_path, FitConfig(epochs=1))
        assert signal.getsignal(signal.SIGINT) is interrupting
        with pytest.raises(TrainingError):
            fit(Scripted([math.nan]), tmp_path, FitConfig(epochs=1))
        assert signal.getsignal(signal.SIGINT) is interrupting


class Asked(Exception):
    """What a program that uses stackae makes of a signal."""


def test_a_signal_that_means_nothing_to_whoever_calls_stops_nothing(tmp_path: Path) -> None:
    def during(step: int) -> float:
        if step == 2:
            signal.raise_signal(signal.SIGTERM)
        return 1.0

    heard: list[int] = []
    task = Scripted([1, 2], during=during)
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        fit(task, tmp_path, FitConfig(epochs=2))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]
    assert len(task.batches) == 2 * STEPS


@pytest.mark.parametrize("cluster", [False, True])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
def test_whoever_calls_keeps_his_signals(
    number: int, cluster: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left to itself, Lightning makes an exit of SIGTERM, and under SLURM queues the job anew at SIGUSR1."""
    if cluster:
        for name, value in SLURM.items():
            monkeypatch.setenv(name, value)

    def asked(given: int, frame: object) -> None:
        raise Asked

    def during(step: int) -> float:
        if step == 2:
            signal.raise_signal(number)
        return 1.0

    task, before = Scripted([1, 2], during=during), signal.signal(number, asked)
    try:
        with pytest.raises(Asked):
            fit(task, tmp_path, FitConfig(epochs=2))
        assert signal.getsignal(number) is asked
    finally:
        signal.signal(number, before)
    assert len(task.batches) == 2
