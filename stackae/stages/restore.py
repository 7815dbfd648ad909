"""Features that `gc` removed, made again: from the data's source, or from weights and the features below."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import nn

from stackae.data.features import encode_parts
from stackae.plan import Plan, stacked
from stackae.progress import Progress
from stackae.stages.finished import load_units
from stackae.stages.prepare import write_parts
from stackae.store import Entry, Store


def restore(
    reads: Iterable[str], plan: Plan, entries: Mapping[str, Entry], store: Store, progress: Progress
) -> None:
    """Make removed features that are to be read again, and those that these are made from.

    `reads` names their stages. Warns where they are not, bit for bit, what they were. StorageError where the
    disk has no room for them.
    """
    for name in missing(reads, plan, entries):
        with store.lock(name, entries[name].key):
            # Another run may have made them while this one waited.
            store.refresh(entries[name])
            if not entries[name].removed:
                continue
            _write(name, plan, entries)
            changed = store.put_back(entries[name])
        progress.restored(name)
        if changed:
            progress.warn(
                f"{name}: {', '.join(changed)} made again, but not to the same bits (another machine, "
                "version or number of threads?); what was trained on the first ones is kept"
            )


def missing(reads: Iterable[str], plan: Plan, entries: Mapping[str, Entry]) -> list[str]:
    """List the stages whose features have to be made again before `reads` can be read, the lowest first."""
    below = {stage.name: stage.below for stage in (plan.data, *plan.stages)}
    names: list[str] = []
    for name in reads:
        if name in entries and entries[name].removed:
            source = below[name]
            lower = [] if source is None else missing([source], plan, entries)
            names += [stage for stage in [*lower, name] if stage not in names]
    return names


def _write(name: str, plan: Plan, entries: Mapping[str, Entry]) -> None:
    folder = entries[name].folder
    if name == plan.data.name:
        write_parts(folder, plan.source, plan.split, plan.preprocessing)
        return
    encoder: nn.Module
    if name in plan.depths:
        number = plan.depths.index(name)
        encoder, below = load_units(plan, entries, upto=number)[-1].encoder, plan.depths[number - 1]
    else:
        (encoder, _), below = stacked(plan.layers, load_units(plan, entries)), plan.data.name
    encode_parts(encoder, entries[below].file, folder, plan.hardware.device)
