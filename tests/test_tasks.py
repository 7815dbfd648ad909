"""Tasks against optimiser steps and schedules by hand, and against what they were given."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stackae.committee import Committee
from stackae.conditioning import condition
from stackae.config import FinetuneConfig, FitConfig, PretrainConfig
from stackae.data.batches import Batch
from stackae.optimizer import build_optimizer
from stackae.shallow.activations import ACTIVATIONS
from stackae.shallow.corruptions import Masking
from stackae.shallow.losses import LOSSES
from stackae.shallow.objectives import Reconstruction
from stackae.shallow.units import DenseUnit
from stackae.stack import Classifier, Encoder
from stackae.tasks import FinetuneTask, PretrainTask

# ---- schedules


def rates(fit: FitConfig, steps: int, lrs: tuple[float, ...] = (0.5,)) -> np.ndarray:
    """The learning rate of each part's weights at each of `steps` steps, (steps, parts)."""
    parts: list[tuple[nn.Module, float]] = [(nn.Linear(2, 2, bias=False), lr) for lr in lrs]
    made = build_optimizer(fit, parts, steps)
    used = made["optimizer"] if isinstance(made, dict) else made
    schedule = made["lr_scheduler"]["scheduler"] if isinstance(made, dict) else None
    if isinstance(made, dict):
        assert made["lr_scheduler"]["interval"] == "step"
    found = []
    for _ in range(steps):
        found.append([group["lr"] for group in used.param_groups])
        for group in used.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.zeros_like(parameter)
        used.step()
        if schedule is not None:
            schedule.step()
    return np.array(found)


def test_constant_stays() -> None:
    np.testing.assert_allclose(rates(FitConfig(epochs=2), 10)[:, 0], 0.5)


def test_constant_after_warm_up() -> None:
    found = rates(FitConfig(epochs=5, warmup=2), 20)[:, 0]  # two of five epochs are 8 of 20 steps
    t = np.arange(20)
    np.testing.assert_allclose(found, 0.5 * np.minimum(1, (t + 1) / 9), rtol=1e-6)


def test_cosine_falls_to_nothing() -> None:
    found = rates(FitConfig(epochs=5, schedule="cosine"), 20)[:, 0]
    np.testing.assert_allclose(found, 0.25 * (1 + np.cos(math.pi * np.arange(20) / 20)), rtol=1e-6)


@pytest.mark.parametrize("warmup", [0.25, 1.5, 2])
def test_cosine_after_warm_up(warmup: float) -> None:
    found = rates(FitConfig(epochs=5, schedule="cosine", warmup=warmup), 20)[:, 0]
    rise, t = round(4 * warmup), np.arange(20)
    fall = 0.25 * (1 + np.cos(math.pi * (t - rise) / (20 - rise)))
    np.testing.assert_allclose(found, np.where(t < rise, 0.5 * (t + 1) / (rise + 1), fall), rtol=1e-6)


def test_a_warm_up_longer_than_the_fit_only_rises() -> None:
    found = rates(FitConfig(epochs=2, schedule="cosine", warmup=9), 6)[:, 0]
    assert (np.diff(found) > 0).all()
    assert found[-1] == pytest.approx(0.5)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_one_cycle_rises_for_three_tenths_and_falls_for_the_rest(name: str) -> None:
    """Cosine from lr / 25 up to lr, then down to lr / 250,000 (Smith & Topin 2018, as PyTorch has it)."""
    steps = 30
    found = rates(FitConfig.model_validate({"schedule": "one_cycle", "optimizer": name}), steps)[:, 0]

    def between(start: float, end: float, share: np.ndarray) -> np.ndarray:
        return end + (start - end) / 2 * (1 + np.cos(math.pi * share))

    t, top = np.arange(steps), 0.3 * steps - 1
    rise, fall = between(0.02, 0.5, t / top), between(0.5, 2e-6, (t - top) / (steps - 1 - top))
    np.testing.assert_allclose(found, np.where(t <= top, rise, fall), rtol=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
def test_the_shortest_fits_have_schedules_too(schedule: str, steps: int) -> None:
    fit = FitConfig.model_validate({"schedule": schedule, "epochs": 1, "warmup": 0.5})
    assert (rates(fit, steps) > 0).all()


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
def test_each_part_keeps_its_own_rate_throughout(schedule: str) -> None:
    fit = FitConfig.model_validate({"schedule": schedule, "epochs": 5, "warmup": 1})
    found = rates(fit, 20, (0.5, 0.05))
    np.testing.assert_allclose(found[:, 1], found[:, 0] / 10, rtol=1e-6)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
def test_the_configured_momentum_is_the_one_used(schedule: str) -> None:
    fit = FitConfig.model_validate({"schedule": schedule, "optimizer": "sgd", "momentum": 0.3})
    made = build_optimizer(fit, [(nn.Linear(2, 2), 0.5), (nn.Linear(2, 2), 0.1)], 10)
    used = made["optimizer"] if isinstance(made, dict) else made
    assert [group["momentum"] for group in used.param_groups] == [0.3, 0.3]


# ---- optimiser steps by hand

W, B = np.array([[1.0, -2.0]]), np.array([3.0])
GRADIENTS = [(np.array([[0.5, 0.25]]), np.array([-1.0])), (np.array([[-1.0, 2.0]]), np.array([0.5]))]


def stepped(steps: int, **words: Any) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias after so many steps with the gradients above and learning rate 0.1."""
    linear = nn.Linear(2, 1).double()
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(W))
        linear.bias.copy_(torch.from_numpy(B))
    used = build_optimizer(FitConfig(**words), [(linear, 0.1)], 10)
    assert isinstance(used, torch.optim.Optimizer)
    for of_weight, of_bias in GRADIENTS[:steps]:
        linear.weight.grad, linear.bias.grad = torch.from_numpy(of_weight), torch.from_numpy(of_bias)
        used.step()
    return linear.weight.detach().numpy(), linear.bias.detach().numpy()


def test_sgd_has_momentum_and_decays_weights_only() -> None:
    weight, bias = stepped(2, optimizer="sgd", momentum=0.8, weight_decay=0.01)
    (w1, b1), (w2, b2) = GRADIENTS
    first = w1 + 0.01 * W
    after = W - 0.1 * first
    np.testing.assert_allclose(weight, after - 0.1 * (0.8 * first + w2 + 0.01 * after), rtol=1e-9)
    np.testing.assert_allclose(bias, B - 0.1 * b1 - 0.1 * (0.8 * b1 + b2), rtol=1e-9)


def test_adamw_decays_the_weights_themselves_and_no_bias() -> None:
    weight, bias = stepped(1, optimizer="adamw", weight_decay=0.01)
    (w1, b1), _ = GRADIENTS
    # In Adam's first step both moments' corrections leave the gradient over its own size.
    np.testing.assert_allclose(weight, W * (1 - 0.1 * 0.01) - 0.1 * w1 / (np.abs(w1) + 1e-8), rtol=1e-9)
    np.testing.assert_allclose(bias, B - 0.1 * b1 / (np.abs(b1) + 1e-8), rtol=1e-9)


def test_adam_adds_the_decay_to_the_weights_gradients_and_to_no_bias() -> None:
    weight, bias = stepped(2, optimizer="adam", weight_decay=0.3)

    def adam(value: np.ndarray, gradients: list[np.ndarray], decay: float) -> np.ndarray:
        m, v = np.zeros_like(value), np.zeros_like(value)
        for t, g in enumerate(gradients, 1):
            g = g + decay * value
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            value = value - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        return value

    np.testing.assert_allclose(weight, adam(W, [w for w, _ in GRADIENTS], 0.3), rtol=1e-9)
    np.testing.assert_allclose(bias, adam(B, [b for _, b in GRADIENTS], 0.0), rtol=1e-9)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_without_decay_a_weight_without_gradient_stays(name: str) -> None:
    linear = nn.Linear(2, 1)
    before = linear.weight.detach().clone()
    used = build_optimizer(FitConfig.model_validate({"optimizer": name}), [(linear, 0.1)], 10)
    assert isinstance(used, torch.optim.Optimizer)
    linear.weight.grad = torch.zeros_like(linear.weight)
    used.step()
    assert torch.equal(linear.weight, before)


def test_every_parameter_is_trained_once_a_tied_one_too_and_a_frozen_one_not() -> None:
    unit = DenseUnit((5,), 3, ACTIVATIONS["relu"], tied=True)
    head = nn.Linear(3, 2)
    head.bias.requires_grad_(False)
    used = build_optimizer(FitConfig(), [(unit, 0.1), (head, 0.2)], 10)
    assert isinstance(used, torch.optim.Optimizer)
    trained = [p for group in used.param_groups for p in group["params"]]
    assert len(trained) == 4
    assert {id(p) for p in trained} == {id(p) for p in [*unit.parameters(), head.weight]}


# ---- tasks

X = torch.rand(8, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(8) % 3


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


def finetune_task(
    *, dropout: float = 0.0, seed: int = 3, weights: Tensor | None = None, **words: Any
) -> FinetuneTask:
    torch.manual_seed(0)
    unit = DenseUnit((6,), 4, ACTIVATIONS["sigmoid"], tied=False)
    classifier = Classifier(Encoder([unit.encoder]), (4,), 3, dropout=dropout, input_dropout=dropout)
    nn.init.normal_(classifier.head.weight)
    settings = FinetuneConfig.model_validate({"lr": 0.5, "schedule": "constant", "epochs": 50} | words)
    rate = 0.5 * settings.encoder_lr_scale
    return FinetuneTask(classifier, settings, encoder_lr=rate, seed=seed, steps=10, weights=weights)


def test_dropout_is_keyed_on_seed_epoch_and_batch_and_on_nothing_else() -> None:
    def loss(seed: int, epoch: int, number: int, drawn: int) -> float:
        task = finetune_task(dropout=0.5, seed=seed)
        torch.manual_seed(drawn)
        batch = Batch(X, Y, epoch, number)
        return task.loss(batch).item()

    first = loss(3, 1, 2, 0)
    assert loss(3, 1, 2, 1) == first
    assert len({first, loss(4, 1, 2, 0), loss(3, 2, 2, 0), loss(3, 1, 3, 0)}) == 4


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_fine_tuning_trains_by_cross_entropy(smoothing: float) -> None:
    task = finetune_task(label_smoothing=smoothing)
    log_p = task.classifier(X).log_softmax(1).detach().double().numpy()
    target = (1 - smoothing) * np.eye(3)[Y.numpy()] + smoothing / 3
    expected = -(target * log_p).sum(1).mean()
    assert task.loss(Batch(X, Y, 0, 0)).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_class_weights_weigh_each_row_whatever_else_is_in_its_batch(smoothing: float) -> None:
    weights = torch.tensor([0.5, 4.0, 1.5])
    task = finetune_task(label_smoothing=smoothing, weights=weights)
    log_p = task.classifier(X).log_softmax(1).detach().double().numpy()
    target = (1 - smoothing) * np.eye(3)[Y.numpy()] + smoothing / 3
    each = weights.numpy()[Y.numpy()] * -(target * log_p).sum(1)
    for rows in (slice(0, 8), slice(1, 2)):
        found = task.loss(Batch(X[rows], Y[rows], 0, 0)).item()
        assert found == pytest.approx(each[rows].mean(), rel=1e-5)
    assert not [name for name in task.state_dict() if "weights" in name]


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 4.0, 1.5])])
def test_a_row_of_weight_n_counts_as_n_rows(smoothing: float, weights: Tensor | None) -> None:
    times = torch.tensor([1, 3, 0, 2, 1, 0, 4, 5])
    task = finetune_task(label_smoothing=smoothing, weights=weights)
    repeated = Batch(X.repeat_interleave(times, 0), Y.repeat_interleave(times), 0, 0)
    weighted = Batch(X, Y, 0, 0, times / times.float().mean())
    gradients = []
    for batch in (weighted, repeated):
        task.zero_grad()
        task.loss(batch).backward()
        gradients.append([parameter.grad for parameter in task.classifier.parameters()])
    torch.testing.assert_close(*gradients)


def test_validation_counts_a_row_of_weight_n_as_n_rows() -> None:
    times = torch.tensor([1, 3, 0, 2, 1, 0, 4, 5])
    task = finetune_task().eval()
    repeated = Batch(X.repeat_interleave(times, 0), Y.repeat_interleave(times), 0, 0)
    task.validation_step(repeated, 0)
    expected = task.take()
    for part in (slice(0, 5), slice(5, 8)):
        task.validation_step(Batch(X[part], Y[part], 0, 0, (times / times.float().mean())[part]), 0)
    assert task.take() == pytest.approx(expected, rel=1e-5)


def test_fine_tuning_is_scored_by_accuracy_and_then_by_likelihood() -> None:
    task = finetune_task(dropout=0.5, label_smoothing=0.3).eval()
    with torch.no_grad():
        for part in (slice(0, 5), slice(5, 8)):
            task.validation_step(Batch(X[part], Y[part], 0, 0), 0)
        log_p = task.classifier(X).log_softmax(1)
    means = task.take()
    assert means["accuracy"] == pytest.approx((log_p.argmax(1) == Y).double().mean().item())
    assert means["nll"] == pytest.approx(-log_p[torch.arange(8), Y].mean().item(), rel=1e-5)

    def score(accuracy: float, nll: float) -> list[float]:
        task.validated({"accuracy": accuracy, "nll": nll})
        return list(task.score)

    assert score(0.9, 5.0) > score(0.8, 0.1) > score(0.8, 0.2)


def test_the_encoder_learns_at_its_own_rate() -> None:
    task = finetune_task(optimizer="sgd", momentum=0.0, encoder_lr_scale=0.25)
    used = task.configure_optimizers()
    assert isinstance(used, torch.optim.Optimizer)
    named = dict(task.classifier.named_parameters())
    before = {name: p.detach().clone() for name, p in named.items()}
    task.loss(Batch(X, Y, 0, 0)).backward()
    used.step()
    for name, parameter in named.items():
        rate = 0.5 if name.startswith("head") else 0.125
        assert parameter.grad is not None
        assert parameter.grad.any()
        torch.testing.assert_close(parameter.detach(), before[name] - rate * parameter.grad)


# ---- folds

FOLD = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])


def folds_task(
    *, seed: int = 3, dropout: float = 0.0, weights: Tensor | None = None, **words: Any
) -> FinetuneTask:
    torch.manual_seed(0)
    members = []
    for _ in range(3):
        unit = DenseUnit((6,), 4, ACTIVATIONS["sigmoid"], tied=False)
        members.append(Classifier(Encoder([unit.encoder]), (4,), 3, dropout=dropout, input_dropout=dropout))
        nn.init.normal_(members[-1].head.weight)
    settings = FinetuneConfig.model_validate({"lr": 0.1, "schedule": "constant", "epochs": 50} | words)
    rate = 0.1 * settings.encoder_lr_scale
    return FinetuneTask(Committee(members), settings, encoder_lr=rate, seed=seed, steps=20, weights=weights)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True], ids=["alike", "weighted"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_the_networks_of_the_folds_end_as_if_each_had_been_trained_alone(
    optimizer: str, weighted: bool, smoothing: float
) -> None:
    weights = torch.tensor([0.5, 4.0, 1.5]) if weighted else None
    task = folds_task(
        weights=weights,
        optimizer=optimizer,
        label_smoothing=smoothing,
        weight_decay=0.1,
        encoder_lr_scale=0.5,
        momentum=0.5,
    )
    alone = copy.deepcopy(list(task.classifier.members))
    batches = [slice(0, 5), slice(5, 8)]  # of the second, network 2 learns from none but two rows
    used = task.configure_optimizers()
    assert isinstance(used, torch.optim.Optimizer)
    for epoch in range(5):
        for number, part in enumerate(batches):
            used.zero_grad()
            task.loss(Batch(X[part], Y[part], epoch, number, fold=FOLD[part])).backward()
            used.step()

    for own, network in enumerate(alone):
        groups = [
            {"params": [p], "lr": lr, "weight_decay": 0.1 if p.ndim > 1 else 0.0}
            for module, lr in ((network.encoder, 0.05), (network.head, 0.1))
            for p in module.parameters()
        ]
        lonely = torch.optim.AdamW(groups) if optimizer == "adamw" else torch.optim.SGD(groups, momentum=0.5)
        for _ in range(5):
            for part in batches:
                rows = FOLD[part] != own
                x, y = X[part][rows], Y[part][rows]
                target = (1 - smoothing) * nn.functional.one_hot(y, 3) + smoothing / 3
                losses = -(target * network(x).log_softmax(1)).sum(1)
                lonely.zero_grad()
                (losses if weights is None else weights[y] * losses).mean().backward()
                lonely.step()
        for name, parameter in task.classifier.members[own].named_parameters():
            expected = network.get_parameter(name)
            torch.testing.assert_close(parameter, expected, rtol=1e-4, atol=1e-5)


def test_rows_of_a_networks_own_fold_have_no_part_in_its_statistics() -> None:
    gradients = []
    for shift in (0.0, 5.0):
        task = folds_task()
        for member in task.classifier.members:
            assert isinstance(member, Classifier)
            condition(member, X, batch_norm=True, noise=0.0, input_noise=0.0, scale=None, pretrained=True)
        x = X + shift * (FOLD == 1)[:, None]
        task.loss(Batch(x, Y, 0, 0, fold=FOLD)).backward()
        gradients.append([[p.grad for p in member.parameters()] for member in task.classifier.members])
    still, moved = gradients
    for one, other in zip(still[1], moved[1], strict=True):
        assert (one is None and other is None) or torch.equal(one, other)
    assert not torch.equal(still[0][0], moved[0][0])


def test_rows_of_folds_count_by_their_weights() -> None:
    weight = torch.tensor([0.5, 2.0, 1.0, 0.25, 3.0, 0.25, 0.5, 0.5])
    task = folds_task()
    task.loss(Batch(X, Y, 0, 0, weight, FOLD))
    losses = []
    for own, member in enumerate(task.classifier.members):
        rows = own != FOLD
        each = nn.functional.cross_entropy(member(X[rows]), Y[rows], reduction="none")
        losses.append((weight[rows] * each).mean().item())
    assert task.take()["loss"] == pytest.approx(np.mean(losses), rel=1e-5)


def test_a_network_learns_nothing_from_a_batch_of_its_own_fold_alone() -> None:
    task = folds_task()
    rows = FOLD == 1
    loss = task.loss(Batch(X[rows], Y[rows], 0, 0, fold=FOLD[rows]))
    loss.backward()
    assert loss.isfinite()
    gradients = [[p.grad for p in member.parameters()] for member in task.classifier.members]
    assert all(grad is None or not grad.any() for grad in gradients[1])
    assert all(grad is not None and grad.any() for number in (0, 2) for grad in gradients[number])


def test_the_loss_of_folds_is_the_mean_over_the_networks() -> None:
    task = folds_task()
    task.loss(Batch(X, Y, 0, 0, fold=FOLD))
    losses = [
        nn.functional.cross_entropy(member(X[own != FOLD]), Y[own != FOLD])
        for own, member in enumerate(task.classifier.members)
    ]
    assert task.take()["loss"] == pytest.approx(torch.stack(losses).mean().item(), rel=1e-5)


def test_dropout_in_folds_is_keyed_on_seed_epoch_and_batch_and_on_nothing_else() -> None:
    def loss(seed: int, epoch: int, number: int, drawn: int) -> float:
        task = folds_task(dropout=0.5, seed=seed)
        torch.manual_seed(drawn)
        batch = Batch(X, Y, epoch, number, fold=FOLD)
        return task.loss(batch).item()

    first = loss(3, 1, 2, 0)
    assert loss(3, 1, 2, 1) == first
    assert len({first, loss(4, 1, 2, 0), loss(3, 2, 2, 0), loss(3, 1, 3, 0)}) == 4


def test_a_frozen_encoder_of_folds_stays() -> None:
    task = folds_task(dropout=0.5)
    for member in task.classifier.members:
        member.encoder.requires_grad_(False)
    used = task.configure_optimizers()
    assert isinstance(used, torch.optim.Optimizer)
    trained = {id(p) for group in used.param_groups for p in group["params"]}
    assert trained == {id(p) for member in task.classifier.members for p in member.head.parameters()}


# ---- rows without labels


class _Free(nn.Module):
    """What costs nothing, whatever the rows."""

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(())


@pytest.mark.parametrize("ladder", [True, False])
def test_labelled_rows_share_their_statistics_with_those_beside_them_but_in_a_ladder(ladder: bool) -> None:
    torch.manual_seed(0)
    x, beside = torch.randn(6, 4), torch.randn(9, 4)
    network = Classifier(
        Encoder([DenseUnit((4,), 5, ACTIVATIONS["relu"]).encoder]), (5,), 3, dropout=0.0, input_dropout=0.0
    )
    given: dict[str, Any] = {"noise": 0.0, "input_noise": 0.0, "scale": None, "pretrained": False}
    condition(network, x, batch_norm=True, top=ladder, **given)
    nn.init.normal_(network.head.weight)
    task = FinetuneTask(
        network.train(), FinetuneConfig(epochs=1), encoder_lr=0.1, seed=0, steps=1, joint=[_Free()]
    )
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    with torch.no_grad():
        found = [task.loss(Batch(x, y, 0, 0, beside=rows)).item() for rows in (beside, 5 + 3 * beside)]
        own = network(x) if ladder else network(torch.cat([x, beside]))[:6]
    assert found[0] == pytest.approx(nn.functional.cross_entropy(own, y).item(), rel=1e-5)
    assert (found[0] == pytest.approx(found[1], rel=1e-6)) == ladder
