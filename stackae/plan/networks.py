"""The networks of a run, put together from the units of its layers; units are shared, not copied."""

from __future__ import annotations

from collections.abc import Sequence

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


def build_classifier(
    layers: Sequence[PlannedLayer], units: Sequence[AnyUnit], settings: FinetuneConfig, classes: int
) -> Classifier:
    """Stack the units' encoders under a fresh softmax head."""
    return Classifier(
        Encoder([unit.encoder for unit in units]),
        layers[-1].code,
        classes,
        dropout=settings.dropout,
        input_dropout=settings.input_dropout,
    )
