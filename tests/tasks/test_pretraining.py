"""The task of pretraining: its noise, its score, and what its objective is told."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from stackae.config import PretrainConfig
from stackae.data.batches import Batch
from stackae.shallow.activations import ACTIVATIONS
from stackae.shallow.corruptions import Masking
from stackae.shallow.losses import LOSSES
from stackae.shallow.objectives import Reconstruction
from stackae.shallow.units import DenseUnit
from stackae.tasks import PretrainTask

X = torch.rand(8, 6, generator=torch.Generator().manual_seed(0))


def pretrain_task(*, seed: int = 3, rate: float = 0.5) -> PretrainTask:
    torch.manual_seed(0)
    unit = DenseUnit((6,), 4, ACTIVATIONS["sigmoid"], tied=False)
    objective = Reconstruction(LOSSES["squared_error"], Masking(rate))
    return PretrainTask(unit, objective, PretrainConfig(epochs=1), seed=seed, steps=1)


def test_noise_is_keyed_on_seed_epoch_and_batch_and_on_nothing_else() -> None:
    def loss(seed: int, epoch: int, number: int) -> float:
        task = pretrain_task(seed=seed)
        torch.manual_seed(number + 10 * epoch)
        return task.loss(Batch(X, None, epoch, number)).item()

    first = loss(3, 1, 2)
    task = pretrain_task()
    for at in (0, 1, 2):  # whatever was drawn before
        found = task.loss(Batch(X, None, 1, at)).item()
    assert found == first
    assert len({first, loss(4, 1, 2), loss(3, 2, 2), loss(3, 1, 3), loss(3, 2, 1)}) == 5


def test_noise_leaves_the_global_generator_alone() -> None:
    task, state = pretrain_task(), torch.get_rng_state()
    task.loss(Batch(X, None, 0, 0))
    assert torch.equal(torch.get_rng_state(), state)


def test_pretraining_scores_a_clean_reconstruction_and_less_is_better() -> None:
    task = pretrain_task().eval()
    with torch.no_grad():
        task.validation_step(Batch(X, None, 0, 0), 0)
        output = task.unit.decoder(task.unit.encoder(X))
    means = task.take()
    assert means["reconstruction"] == pytest.approx(((output - X) ** 2).sum(1).mean().item(), rel=1e-5)
    task.validated(means)
    better = list(task.score)
    task.validated({"reconstruction": means["reconstruction"] + 1})
    assert list(task.score) < better


def test_a_bound_is_scored_as_a_whole() -> None:
    task = pretrain_task()
    task.validated({"reconstruction": 3.0, "gaussian_kl": 2.0})
    bound = list(task.score)
    task.validated({"reconstruction": 2.0, "gaussian_kl": 4.0})
    assert list(task.score) < bound


def test_the_objective_is_told_the_finished_epochs_with_their_fraction_and_its_terms_are_added() -> None:
    told: list[float] = []

    class Told(nn.Module):
        def forward(
            self, unit: nn.Module, x: Tensor, rng: torch.Generator, epoch: float
        ) -> dict[str, Tensor]:
            told.append(epoch)
            return {"one": torch.tensor(2.0), "other": torch.tensor(0.5)}

    task = PretrainTask(nn.Linear(1, 1), Told(), PretrainConfig(epochs=5), seed=0, steps=20)
    for epoch, number in ((0, 0), (2, 1), (4, 3)):
        assert task.loss(Batch(X, None, epoch, number)).item() == 2.5
    assert told == [0.0, 2.25, 4.75]
    assert task.take() == {"loss": 2.5, "one": 2.0, "other": 0.5}


def test_means_are_taken_over_rows_and_begin_anew() -> None:
    task = pretrain_task()
    task.sums.add(3, {"loss": torch.tensor(1.0)})
    task.sums.add(1, {"loss": torch.tensor(5.0)})
    assert task.take() == {"loss": 2.0}
    task.sums.add(2, {"loss": torch.tensor(7.0)})
    assert task.take() == {"loss": 7.0}
