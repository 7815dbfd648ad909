"""How much of the disk a run will still take."""

from __future__ import annotations

from collections.abc import Sequence

from stackae.plan import Plan
from stackae.stages.restore import missing
from stackae.store import Store


def to_write(repetitions: Sequence[Plan], store: Store) -> int:
    """Estimate how many bytes a run will still write: stages to come, and removed features they need."""
    sizes: dict[str, int] = {}
    for plan in repetitions:
        stages = [plan.data, *plan.stages]
        entries = {stage.name: entry for stage in stages if (entry := store.peek(stage.name, stage.key))}
        to_come = [stage for stage in stages if stage.name not in entries]
        # By their keys, as repetitions share stages.
        sizes |= {stage.key: stage.size() for stage in to_come}
        for name in (name for stage in to_come for name in missing(stage.reads, plan, entries)):
            sizes[entries[name].key] = sum(record["size"] for record in entries[name].removed.values())
    return sum(sizes.values())
