"""The stages of runs, carried out side by side as soon as what they build on is finished."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from stackae.jobs.stage_work import Order, obtain
from stackae.jobs.workers import Workers
from stackae.plan import Plan, Stage
from stackae.progress import Progress
from stackae.store import Store


@dataclass(frozen=True)
class _Task:
    order: Order
    needs: frozenset[str]
    """The keys of the stages that it builds on."""


class Crew:
    """Obtains the stages of runs in several processes, each stage once, whichever runs it belongs to.

    Of those that can begin, the one that was expected first does.
    """

    def __init__(self, jobs: int, store: Path, progress: Progress, *, fresh: bool = False) -> None:
        self._root, self._fresh = store, fresh
        self._store = Store(store, progress.warn)
        self._workers = Workers(jobs, obtain, progress)
        self._tasks: dict[str, _Task] = {}
        self._begun: set[str] = set()
        self._reused: dict[str, bool] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Crew:
        self._stack.enter_context(self._workers)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, fault, trace)

    def expect(self, plans: Sequence[Plan], out: Path) -> None:
        """Begin with the stages of a run whose folder is `out`, but for those that are known already.

        The run's repetitions have a plan each, as `make_plans` makes them.
        """
        config = plans[0].given.model_dump_json(by_alias=True)
        stages: dict[str, _Task] = {}
        for plan in plans:
            for stage in (plan.data, *plan.stages):
                if stage.key not in self._tasks | stages:
                    order = Order(stage.name, stage.key, config, out, self._root, self._fresh)
                    stages[stage.key] = _Task(order, frozenset(lower.key for lower in plan.below(stage)))
        orders = [task.order for task in stages.values()]
        self._stack.enter_context(self._store.claim((order.stage, order.key) for order in orders))
        self._tasks |= stages
        self._begin()

    def wait(self, stage: Stage) -> bool:
        """Wait until a stage is finished; return whether the store had it."""
        while stage.key not in self._reused:
            self._begin()
            order, reused = self._workers.next()
            self._reused[order.key] = reused
        self._begin()
        return self._reused[stage.key]

    def _begin(self) -> None:
        for key, task in self._tasks.items():
            if not self._workers.free:
                return
            if key not in self._begun and task.needs <= self._reused.keys():
                self._begun.add(key)
                self._workers.give(task.order)
