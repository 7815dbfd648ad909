"""Optimiser steps and schedules against those by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from stackae.config import FitConfig
from stackae.optimizer import build_optimizer
from stackae.shallow.activations import ACTIVATIONS
from stackae.shallow.units import DenseUnit

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
