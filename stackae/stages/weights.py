"""The weights of finished stages, as modules again."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from stackae.build import AnyUnit
from stackae.config import FinetuneConfig
from stackae.model import fill
from stackae.plan import Plan, PlannedLayer
from stackae.stack import Classifier, Decoder, Encoder, Unrolled
from stackae.store import Entry
from stackae.weights import WEIGHTS


def load_units(plan: Plan, layers: Sequence[Entry], unrolled: Entry | None = None) -> list[AnyUnit]:
    """The trained units of the finished layers, from the unrolled stack if there is one, in eval mode."""
    units = [_load_unit(entry, layer) for entry, layer in zip(layers, plan.layers, strict=False)]
    if unrolled is not None:
        fill(mirrored(plan, units), unrolled.file(WEIGHTS))
    return [unit.eval() for unit in units]


def mirrored(plan: Plan, units: Sequence[AnyUnit]) -> Unrolled:
    """The units as one deep autoencoder; they are shared, not copied."""
    return Unrolled(units, [layer.output() for layer in plan.layers[1 : len(units)]])


def stacked(plan: Plan, units: Sequence[AnyUnit]) -> tuple[Encoder, Decoder]:
    """The units' encoders and decoders, stacked; the decoders with their output activations."""
    outputs = [
        nn.Sequential(unit.decoder, layer.output()) for unit, layer in zip(units, plan.layers, strict=False)
    ]
    return Encoder([unit.encoder for unit in units]), Decoder(outputs)


def build_classifier(plan: Plan, units: Sequence[AnyUnit], settings: FinetuneConfig) -> Classifier:
    """The units' encoders, stacked, under a fresh softmax head."""
    return Classifier(
        Encoder([unit.encoder for unit in units]),
        plan.layers[-1].code,
        len(plan.classes),
        dropout=settings.dropout,
        input_dropout=settings.input_dropout,
    )


def load_classifier(plan: Plan, entry: Entry) -> Classifier:
    """The fine-tuned classifier of a finished stage."""
    assert plan.config.finetune is not None
    classifier = build_classifier(plan, [layer.unit() for layer in plan.layers], plan.config.finetune)
    fill(classifier, entry.file(WEIGHTS))
    return classifier


def _load_unit(entry: Entry, layer: PlannedLayer) -> AnyUnit:
    unit = layer.unit()
    fill(unit, entry.file(WEIGHTS))
    return unit
