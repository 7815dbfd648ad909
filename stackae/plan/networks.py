"""The networks of a run, put together from the units of its layers; units are shared, not copied."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from stackae.build import AnyUnit
from stackae.config import FinetuneConfig
from stackae.plan.layers import PlannedLayer
from stackae.stack import Classifier, Decoder, Encoder, Unrolled


def mirrored(layers: Sequence[PlannedLayer], units: Sequence[AnyUnit]) -> Unrolled:
    """Put the units together as one deep autoencoder."""
    return Unrolled(units, [layer.output() for layer in layers[1 : len(units)]])


def stacked(layers: Sequence[PlannedLayer], units: Sequence[AnyUnit]) -> tuple[Encoder, Decoder]:
    """Stack the units' encoders and decoders; the decoders with their output activations."""
    outputs = [
        nn.Sequential(unit.decoder, layer.output()) for unit, layer in zip(units, layers, strict=False)
    ]
    return Encoder([unit.encoder for unit in units]), Decoder(outputs)


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
