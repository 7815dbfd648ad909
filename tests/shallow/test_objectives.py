"""Objectives: what is corrupted, when, and what is compared with what."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit

from stackae.shallow.activations import ACTIVATIONS
from stackae.shallow.corruptions import Corruption, Gaussian, Masking
from stackae.shallow.losses import LOSSES
from stackae.shallow.objectives import Emphasis, Reconstruction
from stackae.shallow.units import DenseUnit

CORRUPTIONS = [Masking(0.5), Gaussian(0.7)]


class Seen:
    """What reached a unit's encoder and its decoder in the last pass."""

    def __init__(self, unit: DenseUnit) -> None:
        unit.encoder.register_forward_pre_hook(lambda _, given: setattr(self, "input", given[0].clone()))
        unit.decoder.register_forward_pre_hook(lambda _, given: setattr(self, "code", given[0].clone()))


def make() -> tuple[DenseUnit, torch.Tensor]:
    torch.manual_seed(0)
    unit = DenseUnit((6,), 4, ACTIVATIONS["sigmoid"], tied=False)
    return unit, torch.rand(8, 6)


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def by_hand(unit: DenseUnit, seen: torch.Tensor, target: torch.Tensor) -> float:
    """The squared error of reconstructing `target` from `seen`, per row, in numpy."""
    w, b = (t.detach().double().numpy() for t in (unit.encoder[1].weight, unit.encoder[1].bias))
    v, c = (t.detach().double().numpy() for t in (unit.decoder[0].weight, unit.decoder[0].bias))
    output = expit(seen.double().numpy() @ w.T + b) @ v.T + c
    return float(((output - target.double().numpy()) ** 2).sum(1).mean())


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=repr)
def test_in_training_the_input_is_corrupted_and_the_clean_input_is_the_target(corruption: Corruption) -> None:
    unit, x = make()
    seen = Seen(unit)
    terms = Reconstruction(LOSSES["squared_error"], corruption)(unit, x, seeded(), 0.0)
    corrupted = corruption(x, seeded())
    assert not torch.equal(corrupted, x)
    assert torch.equal(seen.input, corrupted)
    assert terms.keys() == {"reconstruction"}
    assert terms["reconstruction"].item() == pytest.approx(by_hand(unit, corrupted, x), rel=1e-5)


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=repr)
def test_the_code_is_never_corrupted(corruption: Corruption) -> None:
    unit, x = make()
    seen = Seen(unit)
    Reconstruction(LOSSES["squared_error"], corruption)(unit, x, seeded(), 0.0)
    assert torch.equal(seen.code, unit.encoder(seen.input))


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=repr)
def test_nothing_is_corrupted_outside_of_training(corruption: Corruption) -> None:
    unit, x = make()
    seen = Seen(unit.eval())
    objective = Reconstruction(LOSSES["squared_error"], corruption)
    first, second = objective(unit, x, seeded(1), 0.0), objective(unit, x, seeded(2), 0.0)
    assert torch.equal(seen.input, x)
    assert first["reconstruction"] == second["reconstruction"]
    assert first["reconstruction"].item() == pytest.approx(by_hand(unit, x, x), rel=1e-5)


def test_emphasis_weighs_corrupted_inputs_and_others_and_in_training_alone() -> None:
    unit, x = make()
    objective = Reconstruction(LOSSES["squared_error"], Masking(0.5), emphasis=Emphasis(2.0, 0.25))
    seen = Masking(0.5)(x, seeded())
    with torch.no_grad():
        squares = (unit.decoder(unit.encoder(seen)) - x).square().numpy()
    expected = np.where(seen.numpy() != x.numpy(), 2.0, 0.25) * squares
    found = objective(unit, x, seeded(), 0.0)["reconstruction"].item()
    assert found == pytest.approx(expected.sum(1).mean(), rel=1e-5)
    unit.eval()
    assert objective(unit, x, seeded(), 0.0)["reconstruction"].item() == pytest.approx(
        by_hand(unit, x, x), rel=1e-5
    )


def test_without_a_corruption_training_sees_the_input_itself() -> None:
    unit, x = make()
    seen = Seen(unit)
    terms = Reconstruction(LOSSES["squared_error"])(unit, x, seeded(), 0.0)
    assert torch.equal(seen.input, x)
    assert terms["reconstruction"].item() == pytest.approx(by_hand(unit, x, x), rel=1e-5)


def test_the_decoders_output_are_logits_of_the_bernoulli_loss() -> None:
    unit, x = make()
    loss = Reconstruction(LOSSES["bernoulli"])(unit, x, seeded(), 0.0)["reconstruction"]
    guess = expit(unit.decoder(unit.encoder(x)).detach().double().numpy())
    target = x.double().numpy()
    expected = -(target * np.log(guess) + (1 - target) * np.log(1 - guess)).sum(1).mean()
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_every_parameter_gets_a_gradient() -> None:
    unit, x = make()
    Reconstruction(LOSSES["squared_error"], Masking(0.5))(unit, x, seeded(), 0.0)["reconstruction"].backward()
    assert all(p.grad is not None and p.grad.any() for p in unit.parameters())


@pytest.mark.parametrize("name", LOSSES)
def test_in_half_precision_the_loss_is_summed_in_full(name: str) -> None:
    unit, x = make()
    with torch.autocast("cpu", torch.bfloat16):
        output = unit.decoder(unit.encoder(x))
        loss = Reconstruction(LOSSES[name])(unit, x, seeded(), 0.0)["reconstruction"]
    assert output.dtype == torch.bfloat16
    assert loss.dtype == torch.float32
    expected = LOSSES[name](output.detach().double(), x.double()).item()
    assert loss.item() == pytest.approx(expected, rel=1e-6)
