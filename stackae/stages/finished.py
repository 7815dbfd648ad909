"""The networks of finished stages, with their weights."""

from __future__ import annotations

import math
from collections.abc import Mapping

from stackae.baseline import Blend
from stackae.build import AnyUnit, untie
from stackae.committee import Committee, together
from stackae.model import BlendDescription
from stackae.plan import Plan, build_members, mirrored, stacked
from stackae.stack import Classifier
from stackae.store import Entry
from stackae.weights import WEIGHTS, fill


def load_units(plan: Plan, entries: Mapping[str, Entry], *, upto: int | None = None) -> list[AnyUnit]:
    """Load the trained units of the layers, in eval mode; the first `upto` as their own stages left them.

    Of all layers they are those of the unrolled stack, where that is finished.
    """
    layers = plan.layers[:upto]
    units = [layer.unit() for layer in layers]
    for layer, unit in zip(layers, units, strict=True):
        fill(unit, entries[layer.stage.name].file(WEIGHTS))
    if upto is None and plan.unroll and plan.unroll.name in entries:
        if plan.config.unroll.untie:
            for unit in units:
                untie(unit)
        fill(mirrored(plan.layers, units), entries[plan.unroll.name].file(WEIGHTS))
    return [unit.eval() for unit in units]


def load_network(plan: Plan, entry: Entry) -> Classifier | Committee:
    """Load the fine-tuned classifier of a finished stage, or the networks that are averaged."""
    assert plan.config.finetune is not None
    assert plan.labels is not None
    settings, networks = plan.config.finetune, max(1, plan.labels.folds)
    members = build_members(
        plan.layers, settings, len(plan.classes), networks, frozen=settings.freeze_encoder
    )
    classifier = together([member.classifier for member in members])
    fill(classifier, entry.file(WEIGHTS))
    return classifier


def load_classifier(plan: Plan, entries: Mapping[str, Entry]) -> Classifier | Committee | Blend:
    """Load what classifies: the network, averaged with baselines where the run has blended them."""
    network = load_network(plan, entries["finetune"])
    if "blend" not in entries or entries["blend"].metrics["with"] is None:
        return network
    description = BlendDescription.model_validate(entries["blend"].metrics["blend"])
    encoder, _ = stacked(plan.layers, load_units(plan, entries))
    blend = description.build(
        network,
        encoder,
        columns=math.prod(plan.layers[0].shape),
        codes=sum(math.prod(layer.code) for layer in plan.layers),
        classes=len(plan.classes),
    )
    fill(blend.partners, entries["blend"].file(WEIGHTS))
    return blend
