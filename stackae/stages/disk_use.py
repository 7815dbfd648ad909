"""How much of the disk stages take, before they are carried out."""

from __future__ import annotations

import math

import torch
from torch import nn

from stackae.plan import Plan, Planned
from stackae.stages.restore import missing
from stackae.stages.weights import build_classifier, mirrored
from stackae.store import Store


def estimate(plan: Plan, stage: Planned) -> int:
    """About how many bytes a stage's files will have: features, weights, labels and logits.

    Checkpoints, which go when the stage is done, and logs of a few KiB are not counted.
    """
    parts = (plan.split.train, plan.split.val, plan.split.test)
    rows, judged = sum(map(len, parts)), sum(map(len, parts[1:]))
    at = next((index for index, layer in enumerate(plan.layers) if layer.stage == stage), None)
    with torch.device("meta"):
        units = [layer.unit() for layer in plan.layers]
        if stage == plan.data:
            return rows * (4 * math.prod(plan.layers[0].shape) + 8)
        if at is not None:
            return _weights(units[at]) + 4 * rows * math.prod(plan.layers[at].code)
        if stage == plan.unroll:
            return _weights(mirrored(plan, units)) + 4 * rows * math.prod(plan.layers[-1].code)
        if stage in (plan.finetune, plan.scratch):
            assert plan.config.finetune is not None
            classifier = build_classifier(plan, units, plan.config.finetune)
            return _weights(classifier) + 4 * judged * len(plan.classes)
    return 0


def to_write(plan: Plan, store: Store) -> int:
    """About how many bytes a run will still write: stages to come, and the removed features they need."""
    stages = [plan.data, *plan.stages]
    found = {stage.name: store.peek(stage.name, stage.key) for stage in stages}
    entries = {name: entry for name, entry in found.items() if entry}
    to_come = [stage for stage in stages if stage.name not in entries]
    again = {name for stage in to_come for name in missing(plan, stage.name, entries)}
    restored: list[int] = [promised["size"] for name in again for promised in entries[name].removed.values()]
    return sum(estimate(plan, stage) for stage in to_come) + sum(restored)


def _weights(module: nn.Module) -> int:
    tensors: list[torch.Tensor] = list(module.state_dict().values())
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
