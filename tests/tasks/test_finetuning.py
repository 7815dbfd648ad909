"""The task of fine-tuning against its loss by hand: weighted rows, folds, rows beside the labelled ones."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stackae.committee import Committee
from stackae.conditioning import condition
from stackae.config import FinetuneConfig
from stackae.data.batches import Batch
from stackae.shallow.activations import ACTIVATIONS
from stackae.shallow.units import DenseUnit
from stackae.stack import Classifier, Encoder
from stackae.tasks import FinetuneTask

X = torch.rand(8, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(8) % 3


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
