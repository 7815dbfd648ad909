"""Denoising that goes on while labels are learnt: the ladder network of Rasmus et al. 2015."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from stackae.conditioning import Entry, quiet
from stackae.shallow.combinator import Combinator
from stackae.shallow.normalisation import VARIANCE, Normalisation, standardise
from stackae.stack import Classifier


class Ladder(nn.Module):
    """The denoising cost of rows (rows, *shape) in a classifier whose layers are dense and normalised.

    On every level, from the logits down to the input, clean values are estimated from the noisy ones and from
    the estimate above. `weights` say how much the mean squared errors count, that of the input first and that
    of the logits last; those left out are 0. The way down starts from the `decoders` (inputs, units) of the
    layers.
    """

    def __init__(self, classifier: Classifier, decoders: Sequence[Tensor], weights: Sequence[float]) -> None:
        super().__init__()
        # In a tuple, which hides the network from torch: it is a part of what is trained already.
        self._network = (classifier,)
        assert isinstance(classifier.top, Normalisation)
        widths = [*(len(weight) for weight in decoders), decoders[-1].shape[1], classifier.top.channels]
        self.decoders = nn.ModuleList(
            nn.Linear(above, below, bias=False) for below, above in pairwise(widths)
        )
        with torch.no_grad():
            for decoder, weight in zip(self.decoders, decoders, strict=False):
                decoder.weight.copy_(weight)  # type: ignore[operator]
        self.combinators = nn.ModuleList(map(Combinator, widths))
        self._weights = (*weights, *[0.0] * (len(widths) - len(weights)))

    def forward(self, x: Tensor) -> Tensor:
        (classifier,) = self._network
        assert isinstance(classifier.entry, Entry)
        noisy, logits = _levels(classifier, x)
        input_clean = classifier.entry.scaled(x).flatten(1)
        clean = [_Level(input_clean, None)]
        # The input alone needs no pass without noise.
        if any(self._weights[1:]):
            with quiet(classifier):
                clean += _levels(classifier, x)[0][1:]
        cost = x.new_zeros(())
        above = logits.softmax(1)
        for number in range(len(noisy) - 1, -1, -1):
            estimate = self.combinators[number](noisy[number].value, standardise(above))
            if weight := self._weights[number]:
                cost = cost + weight * _error(estimate, clean[number])
            if number:
                above = self.decoders[number - 1](estimate)
        return cost


class _Level(NamedTuple):
    """The normalised values of a level, with noise or without, and what was normalised; None: the input."""

    value: Tensor
    raw: Tensor | None


def _levels(classifier: Classifier, x: Tensor) -> tuple[list[_Level], Tensor]:
    """Return the levels from the input to the logits, and the logits."""
    code = classifier.input_dropout(classifier.entry(x)).flatten(1)
    levels = [_Level(code, None)]

    def normalised(norm: Normalisation, raw: Tensor) -> Tensor:
        levels.append(_Level(norm.standardised(raw), raw))
        return norm.scaled(levels[-1].value)

    for layer in classifier.encoder.layers:
        assert isinstance(layer, nn.Sequential)
        for module in layer:
            code = normalised(module, code) if isinstance(module, Normalisation) else module(code)
        code = classifier.dropout(code)
    assert isinstance(classifier.top, Normalisation)
    return levels, normalised(classifier.top, classifier.sums(code, levels[0].value))


def _error(estimate: Tensor, clean: _Level) -> Tensor:
    """Return the mean squared error of an estimate, which is first standardised as the clean values were."""
    if clean.raw is not None:
        variance, mean = torch.var_mean(clean.raw.float(), 0, correction=0)
        estimate = (estimate - mean) * torch.rsqrt(variance + VARIANCE)
    return (estimate - clean.value).square().mean()
