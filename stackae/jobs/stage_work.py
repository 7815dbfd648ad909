"""One stage of a run carried out by a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from stackae.config import Config, DataConfig
from stackae.data.read import read_source
from stackae.data.source import Source
from stackae.errors import DataError
from stackae.plan import Plan, make_plans
from stackae.progress import Progress
from stackae.stage_runner import StageRunner
from stackae.store import Store
from stackae.tracking.tracker import Tracker, open_tracker

BUDGET = {"labels", "labels_for_validation"}
"""What of the data's config does not concern the source."""


@dataclass(frozen=True)
class Order:
    """A stage to be obtained, by name and key; the run's config as JSON, its folder, and the store."""

    stage: str
    key: str
    config: str
    out: Path
    store: Path
    fresh: bool


def obtain(order: Order, progress: Progress) -> bool:
    """Obtain a stage whose lower stages are finished; return whether the store had it."""
    plans = _plans(order.config)
    found = ((plan, stage) for plan in plans for stage in (plan.data, *plan.stages) if stage.key == order.key)
    plan, stage = next(found, (None, None))
    if plan is None or stage is None:
        raise DataError(f"{order.stage}: the data changed while the run was going on; start it again")
    tracker = _tracker(order.config, order.out, progress.warn)
    runner = StageRunner(plans[0], Store(order.store, progress.warn), tracker, progress, fresh=order.fresh)
    if plan is not plans[0]:
        runner = runner.repeated(plan)
    for lower in plan.below(stage):
        runner.recall(lower)
    runner.obtain(stage)
    return runner.outcomes[-1].reused


@lru_cache(maxsize=4)
def _plans(given: str) -> list[Plan]:
    config = Config.model_validate_json(given)
    # Which rows keep their labels is for the plan to say: a curve's runs share their source.
    return make_plans(config, _source(config.data.model_dump_json(exclude=BUDGET)))


@lru_cache(maxsize=4)
def _tracker(given: str, out: Path, warn: Callable[[str], None]) -> Tracker:
    # Kept, so that a tracker that fails is waited for once, not in every stage.
    config = Config.model_validate_json(given)
    return open_tracker(config.tracking, config.name, out, warn)


@lru_cache(maxsize=1)
def _source(data: str) -> Source:
    return read_source(DataConfig.model_validate_json(data))
