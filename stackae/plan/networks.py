"""The networks of a run, put together from the units of its layers."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from stackae.build import AnyUnit
from stackae.config import FinetuneConfig
from stackae.plan.layers import PlannedLayer
from stackae.stack import Classifier, Decoder, Encoder, Unrolled


def mirrored(layers: Sequence[PlannedLayer], units: Sequence[AnyUnit]) -> Unrolled:
    """Mirror the units into one deep autoencoder, which shares their parameters."""
    return Unrolled(units, [layer.output() for layer in layers[1 : len(units)]])


def stacked(layers: Sequence[PlannedLayer], units: Sequence[AnyUnit]) -> tuple[Encoder, Decoder]:
    """Stack the units' encoders, and their decoders with the output activations."""
    decoders = [
        nn.Sequential(unit.decoder, layer.output()) for unit, layer in zip(units, layers, strict=False)
    ]
    return Encoder([unit.encoder for unit in units]), Decoder(decoders)


MOST_WEIGHTS = 200_000
"""Weights of a layer up to which networks side by side take less time than one after the other."""


def learn_side_by_side(layers: Sequence[PlannedLayer], settings: FinetuneConfig, networks: int) -> bool:
    """Say whether the networks of folds learn as one: small dense ones, whose steps are spent on calls."""
    dense = all(layer.config.unit == "dense" and layer.config.connectivity == 1.0 for layer in layers)
    weights = max(math.prod(layer.shape) * math.prod(layer.code) for layer in layers)
    return networks > 1 and dense and weights <= MOST_WEIGHTS and settings.semi_supervised is None


class Member(NamedTuple):
    """A classifier, and the units whose encoders it has."""

    classifier: Classifier
    units: Sequence[AnyUnit]


def build_members(
    layers: Sequence[PlannedLayer],
    settings: FinetuneConfig,
    classes: int,
    networks: int,
    pretrained: Sequence[AnyUnit] | None = None,
    *,
    frozen: bool,
) -> list[Member]:
    """Build networks of the layers' encoders, each under a softmax head of its own.

    Their layers start from copies of the `pretrained` units or, without these, are drawn anew for each. Where
    they stay `frozen`, there is no shortcut around them.
    """
    inputs = math.prod(layers[0].shape) if settings.shortcut is True and not frozen else 0
    members = []
    for _ in range(networks):
        units = copy.deepcopy(pretrained) if pretrained else [layer.unit() for layer in layers]
        classifier = Classifier(
            Encoder([unit.encoder for unit in units]),
            layers[-1].code,
            classes,
            dropout=settings.dropout,
            input_dropout=settings.input_dropout,
            inputs=inputs,
        )
        members.append(Member(classifier, units))
    return members
