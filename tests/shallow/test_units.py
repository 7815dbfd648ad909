"""Units: forward and backward against plain numpy, initial weights, and ties that hold."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from stackae.shallow.activations import ACTIVATIONS
from stackae.shallow.units import DenseUnit, TiedLinear

SHAPE, FEATURES, WIDTH = (2, 3), 6, 4


def make(tied: bool, activation: str = "sigmoid") -> DenseUnit:
    """A unit in double precision whose biases are not zero, so that none can be forgotten."""
    torch.manual_seed(0)
    unit = DenseUnit(SHAPE, WIDTH, ACTIVATIONS[activation], tied=tied).double()
    with torch.no_grad():
        for parameter in unit.parameters():
            if parameter.ndim == 1:
                parameter.normal_()
    return unit


def arrays(unit: DenseUnit) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """W (width, features), b, V (features, width), c."""
    w, b = unit.encoder[1].weight, unit.encoder[1].bias
    decoder = unit.decoder[0]
    v = decoder.linear.weight.t() if isinstance(decoder, TiedLinear) else decoder.weight
    return tuple(t.detach().numpy().copy() for t in (w, b, v, decoder.bias))


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_forward_and_backward_are_those_of_the_formula(tied: bool, activation: str) -> None:
    unit = make(tied, activation)
    w, b, v, c = arrays(unit)
    rng = np.random.default_rng(1)
    x, target = rng.normal(size=(5, *SHAPE)), rng.normal(size=(5, *SHAPE))

    rows, wanted = x.reshape(5, -1), target.reshape(5, -1)
    before = rows @ w.T + b
    if activation == "sigmoid":
        code = 1 / (1 + np.exp(-before))
        slope = code * (1 - code)
    else:
        code, slope = np.maximum(before, 0), (before > 0).astype(float)
    output = code @ v.T + c
    d_output = 2 * (output - wanted)
    d_v, d_c = d_output.T @ code, d_output.sum(0)
    d_before = (d_output @ v) * slope
    d_w, d_b = d_before.T @ rows, d_before.sum(0)
    if tied:
        d_w = d_w + d_v.T

    trace = unit.trace(torch.from_numpy(x), torch.Generator())
    coded = trace.code
    made = unit.decoder(coded)
    (made - torch.from_numpy(target)).square().sum().backward()

    assert made.shape == (5, *SHAPE)
    assert trace.mean is coded
    assert trace.log_variance is None
    assert torch.equal(unit.encoder(torch.from_numpy(x)), coded)
    np.testing.assert_allclose(coded.detach(), code, rtol=1e-12)
    np.testing.assert_allclose(made.detach().reshape(5, -1), output, rtol=1e-12)
    np.testing.assert_allclose(unit.encoder[1].weight.grad, d_w, rtol=1e-10)
    np.testing.assert_allclose(unit.encoder[1].bias.grad, d_b, rtol=1e-10)
    np.testing.assert_allclose(unit.decoder[0].bias.grad, d_c, rtol=1e-10)
    if not tied:
        np.testing.assert_allclose(unit.decoder[0].weight.grad, d_v, rtol=1e-10)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_encoder_starts_with_the_weights_that_fit_its_activation(activation: str) -> None:
    torch.manual_seed(0)
    weight = DenseUnit((20, 15), 200, ACTIVATIONS[activation], tied=False).encoder[1].weight
    torch.manual_seed(1)
    drawn = ACTIVATIONS[activation].init(torch.empty(200, 300))
    assert weight.shape == (200, 300)
    assert weight.var().item() == pytest.approx(drawn.var().item(), rel=0.03)


def test_the_decoder_starts_with_glorot_weights_whatever_the_encoders_activation() -> None:
    torch.manual_seed(0)
    unit = DenseUnit((300,), 200, ACTIVATIONS["sigmoid"], tied=False)
    weight = unit.decoder[0].weight
    assert weight.shape == (300, 200)
    assert weight.var().item() == pytest.approx(2 / (300 + 200), rel=0.03)
    assert weight.abs().max().item() <= math.sqrt(6 / (300 + 200))


@pytest.mark.parametrize("tied", [False, True])
def test_biases_start_at_zero(tied: bool) -> None:
    unit = DenseUnit(SHAPE, WIDTH, ACTIVATIONS["relu"], tied=tied)
    biases = [p for p in unit.parameters() if p.ndim == 1]
    assert sorted(len(b) for b in biases) == [WIDTH, FEATURES]
    assert not any(b.any() for b in biases)


def test_a_tied_unit_has_one_weight_and_two_biases() -> None:
    assert sum(p.numel() for p in make(tied=True).parameters()) == WIDTH * FEATURES + WIDTH + FEATURES
    assert sum(p.numel() for p in make(tied=False).parameters()) == 2 * WIDTH * FEATURES + WIDTH + FEATURES


def _assert_tied(unit: DenseUnit) -> None:
    """Doubling the encoder's weight doubles what the decoder makes of a code, its bias aside."""
    code = torch.ones(1, WIDTH, dtype=torch.float64)
    bias = unit.decoder[0].bias.detach().reshape(SHAPE)
    with torch.no_grad():
        before = unit.decoder(code) - bias
        unit.encoder[1].weight *= 2
        after = unit.decoder(code) - bias
    assert before.abs().min() > 0
    torch.testing.assert_close(after, 2 * before)


def test_tied_weights_stay_tied_through_a_copy_and_leave_the_original_alone() -> None:
    unit = make(tied=True)
    original = arrays(unit)
    twin = copy.deepcopy(unit)
    _assert_tied(twin)
    for kept, now in zip(original, arrays(unit), strict=True):
        np.testing.assert_array_equal(kept, now)


def test_tied_weights_stay_tied_through_a_state_dict() -> None:
    unit, other = make(tied=True), DenseUnit(SHAPE, WIDTH, ACTIVATIONS["sigmoid"], tied=True).double()
    other.load_state_dict({name: tensor.clone() for name, tensor in unit.state_dict().items()})
    for mine, theirs in zip(arrays(unit), arrays(other), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    _assert_tied(other)


def test_tied_weights_stay_tied_through_a_change_of_precision() -> None:
    _assert_tied(make(tied=True).float().double())


@pytest.mark.parametrize("connectivity", [1.0, 0.5])
def test_an_untied_decoder_does_the_same_with_weights_of_its_own(connectivity: float) -> None:
    unit = DenseUnit(SHAPE, WIDTH, ACTIVATIONS["tanh"], tied=True, connectivity=connectivity)
    tied = unit.decoder[0]
    assert isinstance(tied, TiedLinear)
    with torch.no_grad():
        tied.bias.normal_()
    own, code = tied.untied(), torch.randn(7, WIDTH)
    expected = tied(code)
    torch.testing.assert_close(own(code), expected)
    with torch.no_grad():
        unit.linear.weight.zero_()
        tied.bias.zero_()
    torch.testing.assert_close(own(code), expected)
