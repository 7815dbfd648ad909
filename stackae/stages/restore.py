"""Features that `gc` removed, made again: from the data's source, or from weights and the features below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from stackae.data.features import encode_parts
from stackae.data.source import Source
from stackae.plan import Plan
from stackae.progress import Progress
from stackae.stages.prepare import write_parts
from stackae.stages.weights import load_units, stacked
from stackae.store import Entry, Store

REPORT = "report"
"""Reads features as a stage does, and is none."""


def restore(
    stage: str, plan: Plan, source: Source, entries: Mapping[str, Entry], store: Store, progress: Progress
) -> None:
    """Makes again what was removed of the features that a stage reads, and what these are made from.

    Warns where they are not, bit for bit, what they were. StorageError where the disk has no room for them.
    """
    for name in missing(plan, stage, entries):
        with store.lock(name, entries[name].key):
            # Another run may have made them while this one waited.
            store.refresh(entries[name])
            if not entries[name].removed:
                continue
            _write(name, plan, source, entries)
            changed = store.put_back(entries[name])
        progress.restored(name)
        if changed:
            progress.warn(
                f"{name}: {', '.join(changed)} made again, but not to the same bits (another machine, "
                "version or number of threads?); what was trained on the first ones is kept"
            )


def missing(plan: Plan, stage: str, entries: Mapping[str, Entry]) -> list[str]:
    """The stages whose features have to be made again before `stage` is carried out, the lowest first."""
    return _removed(plan, _reads(plan, stage), entries)


def _removed(plan: Plan, stages: Sequence[str], entries: Mapping[str, Entry]) -> list[str]:
    found: list[str] = []
    for stage in stages:
        if stage in entries and entries[stage].removed:
            lower = _removed(plan, _below(plan, stage), entries)
            found += [name for name in [*lower, stage] if name not in found]
    return found


def _reads(plan: Plan, stage: str) -> list[str]:
    """The stages whose features a stage reads."""
    depths = _depths(plan)
    if stage == REPORT:
        return [*depths, *([plan.unroll.name] if plan.unroll else [])]
    if plan.probe and stage == plan.probe.name:
        return [*depths[:-1], plan.unroll.name if plan.unroll else depths[-1]]
    # Each stage says how well the data come back.
    return [*depths[:1], *_below(plan, stage)] if stage != depths[0] else []


def _below(plan: Plan, stage: str) -> list[str]:
    """The one stage from whose features a stage's own are made; none for the data."""
    depths = _depths(plan)
    at = depths.index(stage) if stage in depths else 1
    return depths[:at][-1:]


def _depths(plan: Plan) -> list[str]:
    return [plan.data.name, *(layer.stage.name for layer in plan.layers)]


def _write(stage: str, plan: Plan, source: Source, entries: Mapping[str, Entry]) -> None:
    folder = entries[stage].folder
    if stage == plan.data.name:
        write_parts(folder, source, plan.split, plan.preprocessing)
        return
    (below,) = _below(plan, stage)
    depths = _depths(plan)
    layers = [entries[name] for name in depths[1:] if name in entries]
    encoder: nn.Module
    if stage in depths:
        encoder = load_units(plan, layers[: depths.index(stage)])[-1].encoder
    else:
        encoder, _ = stacked(plan, load_units(plan, layers, entries[stage]))
    encode_parts(encoder, entries[below].file, folder, plan.hardware.device)
