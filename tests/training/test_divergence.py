"""NaN and infinity stop a fit, in one line that says where and what to do; no checkpoint holds it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Cli
from scripted import CPU, STEPS, Scripted, fit
from torch import Tensor

from stackae.config import FitConfig, PretrainConfig
from stackae.data.batches import Batch
from stackae.errors import TrainingError
from stackae.machine.hardware import Hardware
from stackae.progress import NoProgress, NoStageProgress
from stackae.shallow.activations import ACTIVATIONS
from stackae.shallow.losses import LOSSES
from stackae.shallow.objectives import Reconstruction
from stackae.shallow.units import DenseUnit
from stackae.stage_context import StageContext
from stackae.tasks import PretrainTask
from stackae.training.agreement import Agreement
from stackae.training.divergence import DivergenceGuard
from stackae.training.fit import LOOK_EVERY, Recorder


class Breaking(Scripted):
    """Its weight is broken by one of its steps, whose loss is a number all the same."""

    def __init__(self, at: int, poison: float = math.inf) -> None:
        super().__init__([])
        self.at, self.poison = at, poison
        self.steps.register_hook(self.broken)

    def broken(self, gradient: Tensor) -> Tensor:
        return torch.full_like(gradient, self.poison) if len(self.batches) == self.at else gradient

    def loss(self, batch: Batch) -> Tensor:
        # Does not depend on the weight, as if the next batch did not come.
        super().loss(batch)
        return 0.0 * torch.nan_to_num(self.steps) + 1.0

    def validate(self, batch: Batch) -> None:
        self.sums.add(len(batch.x), {"score": torch.tensor(1.0)})


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_at_its_batch_with_the_last_good_loss_and_a_remedy(
    bad: float, tmp_path: Path
) -> None:
    task = Scripted([1, 2, 3, 4], during=lambda step: bad if step == 2 * STEPS + 2 else 0.75)
    with pytest.raises(TrainingError) as error:
        fit(task, tmp_path, FitConfig(epochs=4, lr=0.5))
    assert str(error.value) == (
        f"pretrain-2: the loss is {bad} in epoch 3, batch 2 (the last good loss was 0.75); "
        "the learning rate 0.5 is likely too high: set layers.1.lr=0.05"
    )
    assert len(task.batches) == 2 * STEPS + 2


def test_a_loss_that_never_was_a_number_is_put_down_to_the_input(tmp_path: Path) -> None:
    task = Scripted([1], during=lambda step: math.nan)
    with pytest.raises(TrainingError) as error:
        fit(task, tmp_path, FitConfig(epochs=1))
    assert str(error.value).startswith(
        "pretrain-2: the loss is nan in epoch 1, batch 1, before any step was taken; its input, from 0."
    )
    assert "standardise" in str(error.value)
    assert "learning rate" not in str(error.value)


def test_a_validation_that_is_no_number_stops_too(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="val_score is nan in epoch 2"):
        fit(Scripted([1, math.nan, 1]), tmp_path, FitConfig(epochs=3))


@pytest.mark.parametrize(
    ("stage", "section"), [("pretrain-12", "layers.11"), ("unroll", "unroll"), ("scratch", "finetune")]
)
def test_the_setting_to_change_is_the_stages_own(stage: str, section: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    unit = DenseUnit((4,), 3, ACTIVATIONS["linear"], tied=False)
    settings = PretrainConfig(epochs=30, lr=1e8, optimizer="sgd")
    task = PretrainTask(unit, Reconstruction(LOSSES["squared_error"]), settings, seed=3, steps=90)
    with pytest.raises(TrainingError, match=rf"^{stage}: .* too high: set {section}.lr=1e\+07"):
        fit(task, tmp_path, settings, keep_best=False, stage=stage, section=section)


@pytest.mark.parametrize("poison", [math.inf, math.nan])
def test_the_last_step_of_all_cannot_break_the_weights_unnoticed(poison: float, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="'steps' holds NaN or infinity at the end of epoch 2"):
        fit(Breaking(2 * STEPS, poison), tmp_path, FitConfig(epochs=2))


def test_no_checkpoint_holds_broken_weights_and_the_one_before_is_kept(tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as error:
        fit(Breaking(STEPS + 2), tmp_path, FitConfig(epochs=2, lr=0.5), autosave=0.0)
    assert "'steps' holds NaN or infinity after epoch 2, batch 2" in str(error.value)
    assert str(error.value).endswith("; what was done up to epoch 2, batch 1 is kept")
    kept = torch.load(tmp_path / "checkpoint.ckpt", weights_only=True)
    assert torch.isfinite(kept["state_dict"]["steps"])
    assert kept["callbacks"]["Autosave"] == {"epoch": 2, "batch": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.ckpt", "threads.json"]


def test_large_weights_whose_sum_is_infinite_are_numbers(tmp_path: Path) -> None:
    guard = DivergenceGuard(
        StageContext("finetune", "finetune", tmp_path, 0, CPU, False, NoProgress(), 30.0), 0.5
    )
    guard.check_state({"weights": torch.full((10,), 1e38)}, "epoch 1, batch 1")
    with pytest.raises(TrainingError, match="'weights'"):
        guard.check_state({"weights": torch.tensor([math.inf, -math.inf, 1.0])}, "epoch 1, batch 1")


class Overflowing(Breaking):
    """Under Adam the square of a gradient can be infinite while gradient and weight are not."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1.0)


@pytest.mark.parametrize("autosave", [0.0, 30.0])
def test_an_optimiser_whose_state_is_no_number_is_noticed(autosave: float, tmp_path: Path) -> None:
    task = Overflowing(STEPS + 2, poison=1e25)
    with pytest.raises(TrainingError, match="'exp_avg_sq' holds NaN or infinity"):
        fit(task, tmp_path, FitConfig(epochs=90), autosave=autosave)
    assert math.isfinite(task.steps.item())
    # Before a checkpoint, else at the end of the first epoch after fifty steps.
    assert len(task.batches) == (STEPS + 2 if autosave == 0 else 51)


def test_an_optimiser_whose_state_is_no_number_is_noticed_after_the_last_step(tmp_path: Path) -> None:
    task = Overflowing(STEPS + 2, poison=1e25)
    with pytest.raises(TrainingError, match="'exp_avg_sq' holds NaN or infinity at the end of epoch 2"):
        fit(task, tmp_path, FitConfig(epochs=2))


class Waiting(Tensor):
    """A loss that is not there yet."""

    def item(self) -> float:  # type: ignore[override]
        raise AssertionError("waited for the device")


def test_on_an_accelerator_the_sum_so_far_is_looked_at_now_and_then(tmp_path: Path) -> None:
    context = StageContext(
        "finetune", "finetune", tmp_path, 0, Hardware("gpu", "auto", "32-true"), False, NoProgress(), 30.0
    )
    agreement = Agreement(context.team, always=False)
    recorder = Recorder(context, NoStageProgress(), DivergenceGuard(context, 0.5), None, agreement)
    task = Scripted([])
    ended = []

    def train() -> None:
        for number in range(1000):
            task.sums.add(2, {"loss": torch.tensor(math.inf if number == LOOK_EVERY + 3 else 1.0)})
            batch = Batch(torch.zeros(2, 4), None, 0, number)
            recorder.stepped(task, batch, 1000, torch.zeros(()).as_subclass(Waiting))
            ended.append(number)

    with pytest.raises(TrainingError, match=f"epoch 1, batch {2 * LOOK_EVERY + 1} "):
        train()
    assert ended[-1] == 2 * LOOK_EVERY - 1


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("pretrain.lr=1e30", ["pretrain-1: the loss is ", "epoch 1, batch 2 ", "set layers.0.lr=1e+29"]),
        ("layers.1.lr=1e30", ["pretrain-2: the loss is ", "set layers.1.lr=1e+29"]),
        ("finetune.lr=1e38", ["finetune: ", "set finetune.lr=1e+37"]),
    ],
)
def test_a_run_says_it_in_one_line(word: str, said: list[str], tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "tiny.yaml").write_text(
        "data: {source: digits, labels: 300}\nlayers: [{width: 8}, {width: 4}]\npretrain: {epochs: 1}\n"
        "finetune: {epochs: 1}\ncompare: {probe: false}\ntracking: {wandb: disabled}\n"
        "trainer: {precision: 32-true}\n"
    )
    done = cli(["run", "tiny.yaml", word], tmp_path)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert all(part in last for part in said), last


def test_input_that_no_loss_can_hold_is_named(tmp_path: Path, cli: Cli) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", x=(1e25 * rng.normal(size=(60, 4))).astype(np.float32), y=np.arange(60) % 2)
    (tmp_path / "wide.yaml").write_text(
        "data: {source: x.npz}\nlayers: [{width: 4}]\ntracking: {wandb: disabled}\n"
    )
    done = cli(["run", "wide.yaml"], tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("pretrain-1: the loss is inf in epoch 1, batch 1, before any step was taken")
    assert "e+25" in line
