"""Losses against torch.distributions, scipy and plain numpy."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch
from scipy.special import expit, log_expit

from stackae.config import LossName
from stackae.shallow.losses import LOSSES

RNG = np.random.default_rng(0)
OUTPUT = RNG.normal(scale=3, size=(7, 2, 3))
TARGET = RNG.random((7, 2, 3))


def test_what_the_config_names_is_what_there_is() -> None:
    # `mixed` is made of the blocks of a table.
    assert set(get_args(LossName)) - {"auto", "mixed"} == set(LOSSES)


def test_bernoulli_is_the_negative_log_likelihood_of_binary_targets() -> None:
    output, target = torch.from_numpy(OUTPUT), torch.from_numpy(TARGET).round()
    expected = -torch.distributions.Bernoulli(logits=output).log_prob(target).sum((1, 2)).mean()
    torch.testing.assert_close(LOSSES["bernoulli"](output, target), expected)


def test_bernoulli_is_the_cross_entropy_of_grey_targets() -> None:
    per_value = -(TARGET * log_expit(OUTPUT) + (1 - TARGET) * log_expit(-OUTPUT))
    loss = LOSSES["bernoulli"](torch.from_numpy(OUTPUT), torch.from_numpy(TARGET))
    assert loss.item() == pytest.approx(per_value.reshape(7, -1).sum(1).mean())


def test_squared_error_is_a_sum_over_features_and_a_mean_over_rows() -> None:
    expected = ((OUTPUT - TARGET) ** 2).reshape(7, -1).sum(1).mean()
    loss = LOSSES["squared_error"](torch.from_numpy(OUTPUT), torch.from_numpy(TARGET))
    assert loss.item() == pytest.approx(expected)


def test_bernoulli_stays_finite_for_sure_and_wrong_outputs() -> None:
    output = torch.tensor([[500.0, -500.0]], requires_grad=True)
    loss = LOSSES["bernoulli"](output, torch.tensor([[0.0, 1.0]]))
    loss.backward()
    assert loss.item() == pytest.approx(1000)
    assert output.grad is not None
    assert output.grad.tolist() == [[1.0, -1.0]]


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_least_where_its_activation_gives_the_target(name: str) -> None:
    loss = LOSSES[name]
    output = torch.from_numpy(OUTPUT).requires_grad_()
    target = loss.activation()(output).detach()
    (gradient,) = torch.autograd.grad(loss(output, target), output)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient))
    away = torch.from_numpy(RNG.normal(size=OUTPUT.shape))
    assert loss(output + away, target) > loss(output, target)


def test_activations_turn_outputs_into_the_targets_units() -> None:
    output = torch.from_numpy(OUTPUT)
    np.testing.assert_allclose(LOSSES["bernoulli"].activation()(output), expit(OUTPUT))
    np.testing.assert_array_equal(LOSSES["squared_error"].activation()(output), OUTPUT)


@pytest.mark.parametrize("name", LOSSES)
def test_weights_weigh_each_value(name: str) -> None:
    output, target = torch.from_numpy(OUTPUT), torch.from_numpy(TARGET)
    weight = np.random.default_rng(1).random(OUTPUT.shape)
    each = (
        -(TARGET * log_expit(OUTPUT) + (1 - TARGET) * log_expit(-OUTPUT))
        if name == "bernoulli"
        else (OUTPUT - TARGET) ** 2
    )
    found = LOSSES[name](output, target, torch.from_numpy(weight)).item()
    assert found == pytest.approx((weight * each).reshape(7, -1).sum(1).mean())


@pytest.mark.parametrize("name", LOSSES)
def test_each_row_has_its_own_loss(name: str) -> None:
    each = (
        -(TARGET * log_expit(OUTPUT) + (1 - TARGET) * log_expit(-OUTPUT))
        if name == "bernoulli"
        else (OUTPUT - TARGET) ** 2
    )
    found = LOSSES[name].each(torch.from_numpy(OUTPUT), torch.from_numpy(TARGET))
    np.testing.assert_allclose(found, each.reshape(7, -1).sum(1))


@pytest.mark.parametrize("name", LOSSES)
def test_the_inverse_is_the_output_that_stands_for_a_mean(name: str) -> None:
    loss, mean = LOSSES[name], torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
    torch.testing.assert_close(loss.activation()(loss.inverse(mean)), mean)


def test_the_inverse_of_a_certainty_is_finite() -> None:
    certain = LOSSES["bernoulli"].inverse(torch.tensor([0.0, 1.0]))
    np.testing.assert_allclose(expit(certain.numpy()), [0.01, 0.99], rtol=1e-5)


def test_domains() -> None:
    assert (LOSSES["bernoulli"].low, LOSSES["bernoulli"].high) == (0.0, 1.0)
    assert (LOSSES["squared_error"].low, LOSSES["squared_error"].high) == (-math.inf, math.inf)
