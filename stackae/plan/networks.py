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
