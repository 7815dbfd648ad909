"""Networks side by side end as they do one after the other, and see nothing of each other."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stackae.committee import Committee
from stackae.conditioning import condition
from stackae.config import FinetuneConfig
from stackae.data.batches import Batch
from stackae.shallow.activations import ACTIVATIONS, top_k
from stackae.shallow.units import DenseUnit
from stackae.side_by_side import SideBySide
from stackae.stack import Classifier, Encoder
from stackae.tasks import FinetuneTask

ROWS, CLASSES = 24, 3
X = torch.randn(ROWS, 2, 3, generator=torch.Generator().manual_seed(1))
Y = torch.randint(CLASSES, (ROWS,), generator=torch.Generator().manual_seed(2))
WEIGHT = torch.rand(ROWS, generator=torch.Generator().manual_seed(3)) + 0.5
# Uneven folds: of the first batch networks learn from 12, 13 and 13 rows, of the second from 2, 3 and 3.
FOLD = torch.tensor([0, 1, 2] * 6 + [0] + [1, 2, 0, 0, 2])
BATCHES = (slice(0, 19), slice(19, 24))


def members(noise: float = 0.0, *, batch_norm: bool = True, k: int | None = None) -> list[Classifier]:
    """Three classifiers of two layers, ready for training, each with weights and a scale of its own."""
    torch.manual_seed(0)
    made = []
    for _ in range(3):
        middle = top_k(k) if k else ACTIVATIONS["leaky_relu"]
        units = [
            DenseUnit((2, 3), 8, ACTIVATIONS["tanh"], tied=False),
            DenseUnit((8,), 5, middle, tied=False),
        ]
        classifier = Classifier(
            Encoder([unit.encoder for unit in units]),
            (5,),
            CLASSES,
            dropout=0.0,
            input_dropout=0.0,
            inputs=6,
        )
        nn.init.normal_(classifier.head.weight)
        condition(
            classifier,
            X,
            batch_norm=batch_norm,
            noise=noise,
            input_noise=noise,
            scale=torch.rand(6) + 0.5,
            pretrained=True,
        )
        made.append(classifier)
    return made


def trained(network: Committee | SideBySide, weights: Tensor | None, weight: Tensor | None) -> FinetuneTask:
    fit = {"optimizer": "adamw", "weight_decay": 0.1, "lr": 0.05, "schedule": "cosine", "epochs": 4}
    settings = FinetuneConfig.model_validate({**fit, "label_smoothing": 0.1})
    task = FinetuneTask(network, settings, encoder_lr=0.02, seed=0, steps=8, weights=weights)
    made = task.configure_optimizers()
    assert isinstance(made, dict)
    for epoch in range(4):
        for number, rows in enumerate(BATCHES):
            made["optimizer"].zero_grad()
            own = None if weight is None else weight[rows]
            task.loss(Batch(X[rows], Y[rows], epoch, number, own, FOLD[rows])).backward()
            made["optimizer"].step()
            made["lr_scheduler"]["scheduler"].step()  # type: ignore[typeddict-item]
    return task


@pytest.mark.parametrize(
    "given",
    [{}, {"batch_norm": False}, {"k": 2}, {"weights": torch.tensor([0.5, 2.0, 1.0]), "weight": WEIGHT}],
    ids=["plain", "not normalised", "top k", "weighted"],
)
def test_they_end_where_networks_one_after_the_other_end(given: dict[str, Any]) -> None:
    weights, weight = given.pop("weights", None), given.pop("weight", None)
    one_by_one = members(**given)
    at_once = copy.deepcopy(one_by_one)
    before = copy.deepcopy(one_by_one)
    expected = trained(Committee(one_by_one), weights, weight)
    side_by_side = SideBySide(at_once)
    found = trained(side_by_side, weights, weight)
    assert found.take()["loss"] == pytest.approx(expected.take()["loss"], rel=1e-5)
    side_by_side.hand_back()
    for network, other, start in zip(at_once, one_by_one, before, strict=True):
        for name, parameter in network.named_parameters():
            torch.testing.assert_close(parameter, other.get_parameter(name), rtol=1e-3, atol=1e-5)
            learnt = parameter.requires_grad
            assert torch.equal(parameter, start.get_parameter(name)) != learnt, name


def gradients(x: Tensor) -> Sequence[Tensor]:
    network = SideBySide(members())
    settings = FinetuneConfig(epochs=1)
    task = FinetuneTask(network, settings, encoder_lr=0.1, seed=0, steps=1)
    task.loss(Batch(x, Y, 0, 0, fold=FOLD)).backward()
    first = network.layers[0].linear.weight.grad
    assert isinstance(first, Tensor)
    return list(first)


def test_a_network_sees_nothing_of_the_rows_it_leaves_out() -> None:
    still, moved = gradients(X), gradients(X + 5.0 * (FOLD == 1)[:, None, None])
    torch.testing.assert_close(moved[1], still[1])
    assert not torch.allclose(moved[0], still[0], rtol=1e-2)


def test_the_noise_of_each_network_is_its_own_and_of_the_size_that_was_asked_for() -> None:
    made = members(noise=0.5)
    network = SideBySide(made)
    x = torch.randn(1, 4000, 2, 3).expand(3, -1, -1, -1)
    present = torch.ones(3, 4000, dtype=torch.bool)
    share = torch.full((3, 4000, 1), 1 / 4000)
    layer = network.layers[0]
    layer.activation = nn.Identity()
    torch.manual_seed(0)
    inputs = (x.flatten(2) * network.scale).detach()
    noises = layer(inputs, share) - members(noise=0.5)[0].encoder.layers[0][2].bias
    gain = torch.stack([member.encoder.layers[0][2].gain for member in made])
    # What is normalised has a deviation of 1, and noise is added to it before the gain.
    torch.testing.assert_close(noises.std(1) / gain, torch.full((3, 8), 1.25**0.5), rtol=0.05, atol=0)
    first, second = network(x, present), network(x, present)
    assert not torch.allclose(first, second)
    assert not torch.allclose(first[0], first[1])
