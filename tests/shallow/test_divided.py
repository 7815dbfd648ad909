"""A batch that is divided over two processes is learnt from as if one had it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from stackae.committee import Committee
from stackae.conditioning import condition
from stackae.config import FinetuneConfig, PretrainConfig
from stackae.data.batches import Batch, Batches
from stackae.ranks.team import Team
from stackae.shallow.activations import ACTIVATIONS
from stackae.shallow.corruptions import Corruption, Gaussian, Masking, Mix, SaltPepper, Swap
from stackae.shallow.divided import dividing, evenly
from stackae.shallow.gaussian import GaussianUnit
from stackae.shallow.losses import LOSSES
from stackae.shallow.normalisation import normalise
from stackae.shallow.objectives import Reconstruction
from stackae.shallow.penalties import L1, Contractive, GaussianKL, KLSparsity
from stackae.shallow.rbm import ContrastiveDivergence
from stackae.shallow.units import DenseUnit
from stackae.stack import Classifier, Encoder
from stackae.tasks import FinetuneTask, PretrainTask, Task
from tests.ranks.pairs import pair

ROWS, WIDTH, SIZE, STEPS = 31, 6, 11, 3
Make = Callable[[], Task]


def _x() -> np.ndarray:
    return np.random.default_rng(0).random((ROWS, WIDTH), dtype=np.float32)


def _pretrain(unit: nn.Module, objective: nn.Module) -> Task:
    return PretrainTask(unit, objective, PretrainConfig(epochs=1), seed=3, steps=STEPS)


def _dense(corruption: Corruption | None = None, activation: str = "sigmoid", **penalties: nn.Module) -> Task:
    unit = DenseUnit((WIDTH,), 4, ACTIVATIONS[activation])
    normalise(unit.encoder)
    return _pretrain(unit, Reconstruction(LOSSES["squared_error"], corruption, penalties))


def _variational() -> Task:
    unit = GaussianUnit((WIDTH,), 4, ACTIVATIONS["tanh"])
    return _pretrain(unit, Reconstruction(LOSSES["bernoulli"], None, {"gaussian_kl": GaussianKL(1.0, 0.0)}))


def _machine() -> Task:
    given: dict[str, Any] = {"loss": LOSSES["bernoulli"], "visible": "binary", "hidden": "binary"}
    objective = ContrastiveDivergence(steps=2, persistent=True, batch_size=SIZE, shape=(WIDTH,), **given)
    return _pretrain(DenseUnit((WIDTH,), 4, ACTIVATIONS["sigmoid"], tied=True), objective)


def _classifier() -> Classifier:
    unit = DenseUnit((WIDTH,), 4, ACTIVATIONS["relu"])
    made = Classifier(Encoder([unit.encoder]), (4,), 3, dropout=0.3, input_dropout=0.2, inputs=WIDTH)
    nn.init.normal_(made.head.weight)
    rows = torch.from_numpy(_x())
    condition(made, rows, batch_norm=True, noise=0.3, input_noise=0.1, scale=None, pretrained=False)
    return made


def _finetune(members: int = 1) -> Task:
    network = _classifier() if members == 1 else Committee([_classifier() for _ in range(members)])
    settings = FinetuneConfig(epochs=1, label_smoothing=0.1)
    weights = torch.tensor([1.0, 2.0, 0.5])
    return FinetuneTask(network, settings, encoder_lr=0.1, seed=3, steps=STEPS, weights=weights)


class _Ones(nn.Module):
    """An activation whose slope is not to be read off the code."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sin()


def _probed() -> Task:
    task = _dense(contractive=Contractive(0.5))
    unit = task.get_submodule("unit")
    unit.encoder[-1] = _Ones()  # type: ignore[index, operator]
    return task


KINDS: dict[str, Make] = {
    "masking": lambda: _dense(Masking(0.4)),
    "masked columns": lambda: _dense(Masking(0.4, (0, 0, 1, 2, 2, 3))),
    "gaussian": lambda: _dense(Gaussian(0.3)),
    "swap": lambda: _dense(Swap(0.4)),
    "mix": lambda: _dense(Mix(((0.5, SaltPepper(0.3)), (0.5, Swap(0.4, (0, 0, 1, 2, 2, 3)))))),
    "sparse": lambda: _dense(kl=KLSparsity(4, 0.1, 2.0, running=True), l1=L1(0.1)),
    "contractive": lambda: _dense(contractive=Contractive(0.5)),
    "probed": _probed,
    "variational": _variational,
    "rbm": _machine,
    "finetune": _finetune,
    "folds": lambda: _finetune(3),
}


def _batches(kind: str) -> Batches:
    # Folds that lie together: of some a process has no row to leave in.
    fold = np.arange(ROWS) // 11 if kind == "folds" else None
    y, weight = np.arange(ROWS) % 3, np.linspace(0.5, 2, ROWS)
    return Batches(_x(), y, batch_size=SIZE, seed=5, weight=weight, fold=fold)


def _steps(kind: str, take: Callable[[Task, Batch], None], batches: Batches) -> dict[str, Any]:
    torch.manual_seed(1)
    task = KINDS[kind]().train()
    for batch in batches:
        task.zero_grad()
        take(task, batch)
        with torch.no_grad():
            for parameter in task.parameters():
                if parameter.requires_grad:
                    assert parameter.grad is not None
                    parameter -= 0.1 * parameter.grad
    state = {name: value.double().tolist() for name, value in task.state_dict().items()}
    return {"state": state, "means": task.take()}


def _alone(task: Task, batch: Batch) -> None:
    task.loss(batch).backward()


def _both(team: Team) -> dict[str, Any]:
    def take(task: Task, batch: Batch) -> None:
        task.team = team
        with dividing(batch.part):
            loss = task.loss(batch)
        loss.backward()
        for parameter in task.parameters():
            if parameter.grad is not None:
                dist.all_reduce(parameter.grad)
                parameter.grad /= team.size

    return {kind: _steps(kind, take, _batches(kind).divided(team.rank, team.size)) for kind in KINDS}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    return pair(_both, tmp_path_factory.mktemp("pair"))


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_learn_what_one_learns(kind: str, done: list[Any]) -> None:
    alone = _steps(kind, _alone, _batches(kind))

    assert done[0][kind] == done[1][kind]
    for name, value in alone["state"].items():
        np.testing.assert_allclose(done[0][kind]["state"][name], value, rtol=2e-4, atol=2e-6, err_msg=name)
    assert done[0][kind]["means"] == pytest.approx(alone["means"], rel=1e-5)


def test_rows_are_divided_into_nearly_equal_parts() -> None:
    parts = [evenly(10, 4, rank) for rank in range(4)]

    assert [range(10)[part.own] for part in parts] == [range(2), range(2, 5), range(5, 7), range(7, 10)]
    assert sum(part.weight for part in parts) == pytest.approx(4)
    chosen = torch.arange(10) % 2 == 0
    assert [part.among(chosen).edges for part in parts] == [(0, 1, 3, 4, 5)] * 4
