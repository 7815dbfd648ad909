"""Stacks: encoders upwards, decoders downwards, mirrored as one unit, dropout in training only."""

from __future__ import annotations

import copy

import numpy as np
import torch
from scipy.special import expit
from scipy.stats import binom
from torch import nn

from stackae.shallow.activations import ACTIVATIONS
from stackae.shallow.gaussian import GaussianUnit
from stackae.shallow.losses import LOSSES
from stackae.shallow.units import DenseUnit
from stackae.stack import Classifier, Decoder, Encoder, Unrolled

# All widths alike, so that layers in the wrong order would still fit together.
WIDTH = 6
ACTIVATED = {"sigmoid": expit, "tanh": np.tanh, "relu": lambda a: np.maximum(a, 0)}


def make_units(*, tied: bool = False) -> list[DenseUnit]:
    torch.manual_seed(0)
    units = [DenseUnit((WIDTH,), WIDTH, ACTIVATIONS[name], tied=tied).double() for name in ACTIVATED]
    with torch.no_grad():
        for unit in units:
            for parameter in unit.parameters():
                if parameter.ndim == 1:
                    parameter.normal_()
    return units


def numbers(*tensors: torch.Tensor) -> list[np.ndarray]:
    return [t.detach().numpy() for t in tensors]


def codes_by_hand(units: list[DenseUnit], x: np.ndarray) -> list[np.ndarray]:
    codes = []
    for unit, function in zip(units, ACTIVATED.values(), strict=True):
        w, b = numbers(unit.encoder[1].weight, unit.encoder[1].bias)
        x = function(x @ w.T + b)
        codes.append(x)
    return codes


def rows(count: int = 5) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, WIDTH))


def test_the_encoder_applies_the_units_encoders_from_the_first_to_the_last() -> None:
    units, x = make_units(), rows()
    encoder = Encoder([unit.encoder for unit in units])
    expected = codes_by_hand(units, x)
    np.testing.assert_allclose(encoder(torch.from_numpy(x)).detach(), expected[-1], rtol=1e-10)
    for depth, wanted in zip(encoder.depths(torch.from_numpy(x)), expected, strict=True):
        np.testing.assert_allclose(depth.detach(), wanted, rtol=1e-10)


def test_the_encoder_shares_the_units_parameters_and_has_no_others() -> None:
    units = make_units()
    encoder = Encoder([unit.encoder for unit in units])
    mine = {id(p) for p in encoder.parameters()}
    assert mine == {id(p) for unit in units for p in unit.encoder.parameters()}
    encoder(torch.from_numpy(rows())).sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())


def test_the_decoder_applies_the_units_decoders_from_the_last_to_the_first() -> None:
    units, code = make_units(), rows()
    losses = ["bernoulli", "squared_error", "bernoulli"]
    outputs = [nn.Sequential(u.decoder, LOSSES[n].activation()) for u, n in zip(units, losses, strict=True)]
    expected = code
    for unit, loss in reversed(list(zip(units, losses, strict=True))):
        v, c = numbers(unit.decoder[0].weight, unit.decoder[0].bias)
        expected = expected @ v.T + c
        if loss == "bernoulli":
            expected = expit(expected)
    np.testing.assert_allclose(Decoder(outputs)(torch.from_numpy(code)).detach(), expected, rtol=1e-10)


def make_unrolled() -> tuple[Unrolled, list[DenseUnit]]:
    units = make_units()
    return Unrolled(units, [nn.Sigmoid(), nn.Hardtanh(-1, 1)]), units


def test_an_unrolled_stack_decodes_from_the_last_unit_to_the_first_and_ends_in_what_the_loss_takes() -> None:
    deep, units = make_unrolled()
    expected = codes_by_hand(units, rows())[-1]
    for unit, between in zip(reversed(units), (lambda a: np.clip(a, -1, 1), expit, lambda a: a), strict=True):
        v, c = numbers(unit.decoder[0].weight, unit.decoder[0].bias)
        expected = between(expected @ v.T + c)
    code = deep.encoder(torch.from_numpy(rows()))
    np.testing.assert_allclose(deep.decoder(code).detach(), expected, rtol=1e-10, atol=1e-12)


def test_an_unrolled_stack_traces_its_own_input_and_the_last_units_code() -> None:
    *lower, _ = make_units()
    torch.manual_seed(0)
    last = GaussianUnit((WIDTH,), 4, ACTIVATIONS["linear"]).double()
    deep, x = Unrolled([*lower, last], [nn.Identity()] * 2), torch.from_numpy(rows())
    trace = deep.trace(x, torch.Generator().manual_seed(1))
    below = lower[1].encoder(lower[0].encoder(x))
    alone = last.trace(below, torch.Generator().manual_seed(1))
    assert trace.x is x
    for mine, theirs in zip(trace[1:], alone[1:], strict=True):
        assert torch.equal(mine, theirs)
    assert not torch.equal(trace.code, trace.mean)
    still = deep.eval().trace(x, torch.Generator())
    assert torch.equal(still.code, trace.mean)
    assert torch.equal(still.mean, deep.encoder(x))


def test_an_unrolled_stack_shares_the_units_parameters_and_trains_them_all() -> None:
    deep, units = make_unrolled()
    assert {id(p) for p in deep.parameters()} == {id(p) for unit in units for p in unit.parameters()}
    deep.decoder(deep.trace(torch.from_numpy(rows()), torch.Generator()).code).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for unit in units for p in unit.parameters())


def test_stacked_tied_weights_stay_tied_through_a_copy() -> None:
    units = make_units(tied=True)
    stack = nn.ModuleList([Encoder([u.encoder for u in units]), Decoder([u.decoder for u in units])])
    encoder, decoder = copy.deepcopy(stack)
    code = torch.from_numpy(rows())
    before = decoder(code)
    with torch.no_grad():
        encoder.layers[0][1].weight.mul_(2)
    bias = units[0].decoder[0].bias
    torch.testing.assert_close(decoder(code) - bias, 2 * (before - bias))


def make_classifier(
    *, dropout: float = 0.5, input_dropout: float = 0.2
) -> tuple[Classifier, list[DenseUnit]]:
    units = make_units()
    encoder = Encoder([unit.encoder for unit in units])
    made = Classifier(encoder, (WIDTH,), 3, dropout=dropout, input_dropout=input_dropout)
    return made.double(), units


def test_a_new_classifier_finds_every_class_equally_likely() -> None:
    classifier, _ = make_classifier()
    assert not classifier(torch.from_numpy(rows())).any()


def test_the_classifiers_logits_are_linear_in_the_last_code_and_undisturbed_in_eval_mode() -> None:
    classifier, units = make_classifier()
    torch.nn.init.normal_(classifier.head.weight)
    torch.nn.init.normal_(classifier.head.bias)
    w, b = numbers(classifier.head.weight, classifier.head.bias)
    expected = codes_by_hand(units, rows())[-1] @ w.T + b
    np.testing.assert_allclose(
        classifier.eval()(torch.from_numpy(rows())).detach(), expected, rtol=1e-10, atol=1e-12
    )


def test_dropout_acts_on_the_input_and_after_every_layer_each_at_its_rate() -> None:
    classifier, _ = make_classifier(dropout=0.5, input_dropout=0.2)
    given: list[torch.Tensor] = []
    made: list[torch.Tensor] = []

    def record(_: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        given.append(inputs[0])
        made.append(output)

    for module in [*classifier.encoder.layers, classifier.head]:
        module.register_forward_hook(record)
    torch.manual_seed(0)
    x = torch.from_numpy(rows(2000)) + 10
    classifier.train()(x)

    for seen, clean, rate in zip(given, [x, *made[:-1]], [0.2, 0.5, 0.5, 0.5], strict=True):
        alive = clean != 0
        dropped = (seen == 0) & alive
        low, high = binom.ppf([5e-9, 1 - 5e-9], int(alive.sum()), rate)
        assert low <= int(dropped.sum()) <= high
        # What is left is scaled up, so that the sum keeps its expectation.
        torch.testing.assert_close(seen[~dropped], clean[~dropped] / (1 - rate))


def test_a_dropout_of_zero_drops_nothing() -> None:
    classifier, _ = make_classifier(dropout=0.0, input_dropout=0.0)
    torch.nn.init.normal_(classifier.head.weight)
    x = torch.from_numpy(rows())
    assert torch.equal(classifier.train()(x), classifier.eval()(x))
