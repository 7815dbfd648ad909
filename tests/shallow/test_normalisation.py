"""Batch normalisation: its arithmetic against NumPy, and that folding it away changes no output."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from stackae.shallow.activations import ACTIVATIONS
from stackae.shallow.conv import ConvUnit
from stackae.shallow.normalisation import VARIANCE, Normalisation, adopt, fold, measure, normalise
from stackae.shallow.units import DenseUnit

X = torch.from_numpy(np.random.default_rng(0).normal(2.0, 3.0, size=(40, 3, 4)))


def unit(name: str) -> Any:
    torch.manual_seed(1)
    made: nn.Module
    if name == "conv":
        made = ConvUnit(
            (3, 4), (3, 4), 5, ACTIVATIONS["tanh"], kernel=3, stride=1, padding=None, pool=2, tied=False
        )
    else:
        made = DenseUnit(
            (3, 4), 5, ACTIVATIONS["tanh"], connectivity=0.5 if name == "sparsely connected" else 1.0
        )
    for parameter in made.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter)
    return made.double()


UNITS = ["dense", "sparsely connected", "conv"]


def test_in_training_it_is_the_formula() -> None:
    module = Normalisation(3).double()
    nn.init.normal_(module.gain)
    nn.init.normal_(module.bias)
    gain, bias = (each.detach().numpy()[:, None] for each in (module.gain, module.bias))
    x = X.numpy().astype(np.float32)
    mean, variance = x.mean((0, 2), keepdims=True), x.var((0, 2), keepdims=True)
    expected = (x - mean) / np.sqrt(variance + VARIANCE) * gain + bias
    np.testing.assert_allclose(module.float()(X).detach(), expected, rtol=1e-4, atol=1e-5)


def test_noise_is_added_before_the_gain_and_only_while_training() -> None:
    module = Normalisation(1, noise=0.5)
    with torch.no_grad():
        module.gain.fill_(3.0)
        module.bias.fill_(7.0)
    torch.manual_seed(0)
    x = torch.zeros(20_000, 1)
    noisy = module(x)
    # Of inputs that are all alike nothing else is left.
    assert noisy.mean().item() == pytest.approx(7.0, abs=0.05)
    assert noisy.std().item() == pytest.approx(1.5, rel=0.03)
    module.eval()
    assert (module(x) == 7.0).all()


@pytest.mark.parametrize("name", UNITS)
def test_a_folded_encoder_computes_what_it_did_and_is_plain_again(name: str) -> None:
    made = unit(name)
    plain = list(made.state_dict())
    normalise(made.encoder, noise=0.3)
    with torch.no_grad():
        for module in made.modules():
            if isinstance(module, Normalisation):
                module.gain.normal_()
                module.bias.normal_()
    encoder = made.encoder.float()
    measure(encoder, X.float())
    before = encoder.eval()(X.float())

    fold(encoder)

    torch.testing.assert_close(encoder(X.float()), before, rtol=1e-4, atol=1e-5)
    assert list(made.state_dict()) == plain
    assert all(parameter.requires_grad for parameter in made.parameters())


@pytest.mark.parametrize("name", UNITS)
def test_what_is_adopted_changes_no_output(name: str) -> None:
    torch.manual_seed(3)
    lower = unit(name).float()
    code = lower.encoder(X.float())
    upper = DenseUnit(tuple(code.shape[1:]), 4, ACTIVATIONS["relu"])
    stack = nn.Sequential(lower.encoder, upper.encoder)
    before = copy.deepcopy(stack)(X.float())
    for encoder in stack:
        assert isinstance(encoder, nn.Sequential)
        normalise(encoder)

    adopt(stack, X.float())

    # In training too, where the batch is the rows that it was adopted from.
    torch.testing.assert_close(stack.train()(X.float()), before, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(stack.eval()(X.float()), before, rtol=1e-4, atol=1e-5)


def test_statistics_are_measured_from_below_each_on_what_the_layer_will_see() -> None:
    stack = nn.Sequential(
        nn.Sequential(nn.Linear(4, 3), nn.ReLU()), nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    )
    for encoder in stack:
        assert isinstance(encoder, nn.Sequential)
        normalise(encoder, noise=10.0)
    rows = X[:, 0].float()

    measure(stack.train(), rows)

    assert stack.training
    first, second = (module for module in stack.modules() if isinstance(module, Normalisation))
    w, b = (each.detach().numpy() for each in stack[0][0].parameters())
    before = rows.numpy() @ w.T + b
    np.testing.assert_allclose(first.mean, before.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(first.variance, before.var(0), rtol=1e-4)
    code = np.maximum((before - before.mean(0)) / np.sqrt(before.var(0) + VARIANCE), 0)
    w, b = (each.detach().numpy() for each in stack[1][0].parameters())
    np.testing.assert_allclose(second.mean, (code @ w.T + b).mean(0), rtol=1e-4, atol=1e-5)


def test_batches_are_normalised_in_single_precision_whatever_the_products_were_made_in() -> None:
    module = Normalisation(3)
    x = (X + 100).bfloat16()
    assert module(x).dtype == torch.float32


@pytest.mark.parametrize("rows", [0, 1])
def test_a_batch_without_a_variance_is_normalised_by_what_was_measured(rows: int) -> None:
    module = Normalisation(4, noise=1.0)
    measure(module, X[:, 0].float())
    few = X[:rows, 0].float()
    assert torch.equal(module.train()(few), module.eval()(few))
