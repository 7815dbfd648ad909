"""The ladder's cost, against the equations of Rasmus et al. 2015 written out in numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import nn

from stackae.conditioning import condition
from stackae.joint.ladder import Ladder
from stackae.shallow.activations import ACTIVATIONS
from stackae.shallow.normalisation import VARIANCE, Normalisation
from stackae.shallow.units import DenseUnit
from stackae.stack import Classifier, Encoder

WIDTHS = [6, 5, 4, 3]
X = torch.from_numpy(np.random.default_rng(0).normal(1.0, 2.0, size=(40, 6)).astype(np.float32))


def made(weights: Sequence[float], noise: float = 0.0) -> tuple[Classifier, Ladder]:
    """A classifier of two layers and three classes with numbers of all kinds in it, and its ladder."""
    torch.manual_seed(0)
    units = [DenseUnit((6,), 5, ACTIVATIONS["relu"]), DenseUnit((5,), 4, ACTIVATIONS["relu"])]
    classifier = Classifier(
        Encoder([unit.encoder for unit in units]), (4,), 3, dropout=0.0, input_dropout=0.0
    )
    condition(
        classifier,
        X,
        batch_norm=True,
        noise=noise,
        input_noise=noise,
        scale=torch.linspace(0.5, 2.0, 6),
        pretrained=False,
        top=True,
    )
    decoders = [torch.randn(6, 5), torch.randn(5, 4)]
    ladder = Ladder(classifier, decoders, weights)
    for kept, given in zip(ladder.decoders, decoders, strict=False):
        assert torch.equal(kept.weight, given)
    with torch.no_grad():
        for parameter in (*classifier.parameters(), *ladder.parameters()):
            parameter.add_(0.3 * torch.randn_like(parameter))
    return classifier.train(), ladder.train()


def standardised(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(0)) / np.sqrt(x.var(0) + VARIANCE)


def costs(classifier: Classifier, ladder: Ladder) -> list[float]:
    """Each level's mean squared error without noise, the input's first."""
    linears = [module for module in classifier.modules() if isinstance(module, nn.Linear)]
    norms = [module for module in classifier.modules() if isinstance(module, Normalisation)]
    code = X.double().numpy() * np.linspace(0.5, 2.0, 6)
    raws, levels = [code], [code]
    for number, (linear, norm) in enumerate(zip(linears, norms, strict=True)):
        assert linear.bias is not None
        raw = code @ linear.weight.detach().double().numpy().T + linear.bias.detach().double().numpy()
        raws.append(raw)
        levels.append(standardised(raw))
        code = levels[-1] * norm.gain.detach().double().numpy() + norm.bias.detach().double().numpy()
        code = np.maximum(code, 0) if number < 2 else code
    above = np.exp(code) / np.exp(code).sum(1, keepdims=True)
    errors = []
    for level in (3, 2, 1, 0):
        u = standardised(above)
        a = ladder.combinators[level].numbers.detach().double().numpy().reshape(10, -1)
        mean = a[0] / (1 + np.exp(-(a[1] * u + a[2]))) + a[3] * u + a[4]
        share = a[5] / (1 + np.exp(-(a[6] * u + a[7]))) + a[8] * u + a[9]
        estimate = (levels[level] - mean) * share + mean
        target = estimate
        if level:
            above = estimate @ ladder.decoders[level - 1].weight.detach().double().numpy().T
            target = (estimate - raws[level].mean(0)) / np.sqrt(raws[level].var(0) + VARIANCE)
        errors.insert(0, float(np.square(target - levels[level]).mean()))
    return errors


@pytest.mark.parametrize("weights", [[5.0], [5.0, 2.0], [0.0, 0.0, 3.0], [5.0, 2.0, 3.0, 0.5]])
def test_without_noise_it_is_what_the_equations_say(weights: list[float]) -> None:
    classifier, ladder = made(weights)
    expected = sum(weight * cost for weight, cost in zip(weights, costs(classifier, ladder), strict=False))
    assert ladder(X).item() == pytest.approx(expected, rel=1e-4)


def test_noise_is_on_every_level_and_not_on_what_is_aimed_at() -> None:
    classifier, ladder = made([1.0, 1.0, 1.0, 1.0], noise=0.3)
    seen: dict[int, torch.Tensor] = {}
    for number, combinator in enumerate(ladder.combinators):
        combinator.register_forward_hook(lambda _, given, __, n=number: seen.__setitem__(n, given[0]))
    ladder(X)
    noisy, quiet = dict(seen), made([1.0])
    for number, combinator in enumerate(quiet[1].combinators):
        combinator.register_forward_hook(lambda _, given, __, n=number: seen.__setitem__(n, given[0]))
    quiet[1](X)
    for number in range(4):
        assert (noisy[number] - seen[number]).std() > 0.1
    # With estimates of nothing what is left is the clean values themselves, of variance 1.
    with torch.no_grad():
        for combinator in ladder.combinators:
            combinator.numbers.zero_()
        ladder._weights = (0.0, 1.0, 1.0, 1.0)
        of_nothing = [module for module in classifier.modules() if isinstance(module, Normalisation)]
        assert ladder(X) > len(of_nothing)


def test_everything_below_learns_from_the_inputs_cost_alone() -> None:
    classifier, ladder = made([1.0], noise=0.3)
    ladder(X).backward()
    trained = [*classifier.encoder.parameters(), classifier.head.weight, *ladder.parameters()]
    for parameter in trained:
        if parameter.requires_grad:
            assert parameter.grad is not None
            assert parameter.grad.abs().max() > 0
    # The network is not the ladder's own: it would be trained, and saved, twice.
    owned = {id(parameter) for parameter in ladder.parameters()}
    assert not owned & {id(parameter) for parameter in classifier.parameters()}
