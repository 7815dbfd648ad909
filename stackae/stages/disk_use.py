"""How much of the disk a run will still take."""

from __future__ import annotations

from stackae.plan import Plan
from stackae.stages.restore import missing
from stackae.store import Store


def to_write(plan: Plan, store: Store) -> int:
    """Estimate how many bytes a run will still write: stages to come, and removed features they need."""
    stages = [plan.data, *plan.stages]
    entries = {stage.name: entry for stage in stages if (entry := store.peek(stage.name, stage.key))}
    to_come = [stage for stage in stages if stage.name not in entries]
    to_restore = {name for stage in to_come for name in missing(stage.reads, plan, entries)}
    restored: list[int] = [record["size"] for name in to_restore for record in entries[name].removed.values()]
    return sum(stage.size() for stage in to_come) + sum(restored)
