"""Activations: their functions, their bounds, and initial weights of the variance that the papers ask for."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
import torch
from scipy.special import erf, expit

from stackae.config import ActivationName
from stackae.shallow.activations import ACTIVATIONS

OUTPUTS, INPUTS = 200, 300

FORMULAS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda a: np.maximum(a, 0),
    "sigmoid": expit,
    "tanh": np.tanh,
    "gelu": lambda a: a * (1 + erf(a / math.sqrt(2))) / 2,
    "selu": lambda a: 1.0507009873554805 * np.where(a > 0, a, 1.6732632423543772 * np.expm1(a)),
    "leaky_relu": lambda a: np.where(a > 0, a, 0.01 * a),
    "linear": lambda a: a,
}

VARIANCES = {
    "relu": 2 / INPUTS,
    "sigmoid": 16 * 2 / (INPUTS + OUTPUTS),
    "tanh": 2 / (INPUTS + OUTPUTS),
    "gelu": 2 / INPUTS,
    "selu": 1 / INPUTS,
    "leaky_relu": 2 / ((1 + 0.01**2) * INPUTS),
    "linear": 2 / (INPUTS + OUTPUTS),
}


def test_what_the_config_names_is_what_there_is() -> None:
    # `top_k` is made with its k.
    assert set(get_args(ActivationName)) - {"top_k"} == set(ACTIVATIONS) == set(FORMULAS) == set(VARIANCES)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_function_and_its_bounds(name: str) -> None:
    a = np.linspace(-60, 60, 12_001)
    outputs = ACTIVATIONS[name].make()(torch.from_numpy(a)).numpy()
    np.testing.assert_allclose(outputs, FORMULAS[name](a), rtol=1e-9, atol=1e-12)

    low, high = ACTIVATIONS[name].low, ACTIVATIONS[name].high
    assert low <= outputs.min()
    assert outputs.max() <= high
    # The bounds are tight: they decide which loss fits the layer above.
    assert outputs.min() - low < 1e-3 if math.isfinite(low) else outputs.min() < -0.5
    assert high - outputs.max() < 1e-3 if math.isfinite(high) else outputs.max() > 50


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_initial_weights_have_the_papers_variance(name: str) -> None:
    torch.manual_seed(0)
    weight = torch.empty(OUTPUTS, INPUTS)
    ACTIVATIONS[name].init(weight)
    spread = math.sqrt(VARIANCES[name])
    assert weight.var().item() == pytest.approx(VARIANCES[name], rel=0.03)
    assert abs(weight.mean().item()) < 5 * spread / math.sqrt(weight.numel())
    if name == "selu":  # normal, where the others are uniform
        assert weight.abs().max() > 3 * spread
    else:
        assert weight.abs().max() <= math.sqrt(3) * spread * (1 + 1e-6)
