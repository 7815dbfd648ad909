"""What stands around a classifier while it learns leaves a plain classifier that says the same."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from stackae.conditioning import condition, quiet, unconditioned
from stackae.shallow.activations import ACTIVATIONS
from stackae.shallow.units import DenseUnit
from stackae.stack import Classifier, Encoder

X = torch.from_numpy(np.random.default_rng(0).normal(1.0, 2.0, size=(50, 6)).astype(np.float32))
SCALE = torch.tensor([0.0, 0.5, 1.0, 2.0, 3.0, 5.0])


def classifier(inputs: int = 6) -> Classifier:
    torch.manual_seed(0)
    units = [DenseUnit((6,), 5, ACTIVATIONS["relu"]), DenseUnit((5,), 4, ACTIVATIONS["tanh"])]
    encoder = Encoder([unit.encoder for unit in units])
    made = Classifier(encoder, (4,), 3, dropout=0.0, input_dropout=0.0, inputs=inputs)
    for parameter in made.parameters():
        nn.init.normal_(parameter)
    return made


def test_a_pretrained_network_starts_as_it_was() -> None:
    made = classifier()
    before = copy.deepcopy(made).eval()(X)
    condition(made, X, batch_norm=True, noise=0.0, input_noise=0.0, scale=None, pretrained=True)
    torch.testing.assert_close(made.train()(X), before, rtol=1e-3, atol=1e-4)


def test_a_control_starts_normalised() -> None:
    made = classifier()
    condition(made, X, batch_norm=True, noise=0.0, input_noise=0.0, scale=None, pretrained=False)
    codes: list[torch.Tensor] = []
    for layer in made.encoder.layers:
        assert isinstance(layer, nn.Sequential)
        layer[2].register_forward_hook(lambda _, __, output: codes.append(output))
    made.train()(X)
    for code in codes:
        assert code.mean(0).abs().max() < 1e-5
        torch.testing.assert_close(code.var(0, correction=0), torch.ones(code.shape[1]), rtol=1e-3, atol=0)


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("scale", [None, SCALE])
@pytest.mark.parametrize("inputs", [0, 6])
@pytest.mark.parametrize("top", [True, False])
def test_the_plain_classifier_says_what_the_conditioned_one_did(
    batch_norm: bool, scale: torch.Tensor | None, inputs: int, top: bool
) -> None:
    made = classifier(inputs)
    plain = list(made.state_dict())
    noises = {"noise": 0.3, "input_noise": 0.3}
    condition(made, X, batch_norm=batch_norm, **noises, scale=scale, pretrained=True, top=top)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    learnt = X[:30]
    changed = copy.deepcopy(made)
    unconditioned(made, learnt)

    assert list(made.state_dict()) == plain
    assert all(parameter.requires_grad for parameter in made.parameters())
    if batch_norm or top:
        # On the learnt rows the statistics are the batch's own, with which it had been trained.
        for module in changed.modules():
            if hasattr(module, "noise"):
                module.noise = 0.0
        expected = changed.train()(learnt)
    else:
        expected = changed.eval()(learnt)
    torch.testing.assert_close(made.eval()(learnt), expected, rtol=1e-3, atol=1e-4)


def test_noise_on_the_input_is_in_units_of_the_inputs_own_deviation() -> None:
    made = classifier()
    condition(made, X, batch_norm=False, noise=0.5, input_noise=0.5, scale=SCALE, pretrained=True)
    rows = torch.zeros(4000, 6)
    torch.manual_seed(0)
    noise = made.entry.train()(rows)
    deviation = math.sqrt(X.numpy().var(0).mean())
    np.testing.assert_allclose(noise.numpy().std(0), 0.5 * deviation, rtol=0.05)
    assert torch.equal(made.entry.eval()(X), X * SCALE)


def test_quiet_leaves_all_noise_away_and_brings_it_back() -> None:
    made = classifier()
    condition(made, X, batch_norm=True, noise=0.3, input_noise=0.5, scale=None, pretrained=False, top=True)
    made.train()
    with quiet(made):
        first, second = made(X), made(X)
    assert torch.equal(first, second)
    assert not torch.equal(made(X), first)
    noises = [module.noise for module in made.modules() if hasattr(module, "noise")]
    deviation = math.sqrt(X.numpy().var(0).mean())
    assert sorted(noises) == pytest.approx([0.3, 0.3, 0.3, 0.5 * deviation])


def test_normalised_logits_start_with_all_rows_apart() -> None:
    made = classifier()
    nn.init.zeros_(made.head.weight)
    condition(made, X, batch_norm=True, noise=0.0, input_noise=0.0, scale=None, pretrained=False, top=True)
    torch.testing.assert_close(made.train()(X).var(0, correction=0), torch.ones(3), rtol=1e-3, atol=0)


def test_a_shortcut_adds_a_linear_map_of_the_input() -> None:
    made, without = classifier(), classifier(0)
    without.load_state_dict({name: made.state_dict()[name] for name in without.state_dict()})
    assert made.shortcut is not None
    expected = without.eval()(X).detach().numpy() + X.numpy() @ made.shortcut.weight.detach().numpy().T
    np.testing.assert_allclose(made.eval()(X).detach(), expected, rtol=1e-4, atol=1e-5)
    assert {id(each) for each in made.outer.parameters()} == {
        id(each) for each in (made.head.weight, made.head.bias, made.shortcut.weight)
    }
