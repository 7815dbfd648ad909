"""The main path of a run, from config to results. Read it from top to bottom."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from stackae.config import Config
from stackae.data.read import read_source
from stackae.jobs import Crew
from stackae.machine.disk import storage_faults
from stackae.plan import Plan, make_plan
from stackae.progress import Progress
from stackae.report import PAGE, is_drawn, write_report
from stackae.results import Results, assemble_results, write_run
from stackae.stage_runner import StageRunner
from stackae.store import Store
from stackae.tracking.tracker import Tracker


def run(
    config: Config,
    store: Store,
    tracker: Tracker,
    progress: Progress,
    *,
    out: Path,
    fresh: bool = False,
    crew: Crew | None = None,
) -> Results:
    """Carry out one config: reuse what the store has, train the rest, write the run's folder `out`.

    `fresh` forgets the run's stages in the store first. Running again after a kill goes on. With a `crew`
    stages that do not need each other are carried out side by side.
    """
    plan = make_plan(config, read_source(config.data))
    for remark in plan.remarks:
        progress.warn(remark)
    return run_plan(plan, store, tracker, progress, out=out, fresh=fresh, crew=crew)


def run_plan(
    plan: Plan,
    store: Store,
    tracker: Tracker,
    progress: Progress,
    *,
    out: Path,
    fresh: bool = False,
    crew: Crew | None = None,
) -> Results:
    """Carry out a plan that is made already; all else is as in `run`."""
    config = plan.config
    runner = StageRunner(plan, store, tracker, progress, fresh=fresh, elsewhere=crew)
    if crew is not None:
        crew.expect(plan, out)
    with store.claim((stage.name, stage.key) for stage in (plan.data, *plan.stages)):
        runner.obtain(plan.data)
        for layer in plan.layers:
            # Trained on the features of the layer below; then it writes its own for the next.
            runner.obtain(layer.stage)
        if plan.unroll:
            runner.obtain(plan.unroll)
        for stage in plan.labelled.in_order:
            # The stack under a softmax head; the same from scratch, as its control; a probe of each depth.
            runner.obtain(stage)

        results = assemble_results(plan, runner.outcomes)
        with storage_faults(out):
            write_run(out, plan, runner.entries, results)
            if config.report and not is_drawn(out, runner.entries):
                runner.restore(plan.reported)
                write_report(out, plan, runner.entries)
    report = out / PAGE if config.report else None
    anew = not all(outcome.reused for outcome in runner.outcomes)
    tracker.conclude(config.model_dump(mode="json", by_alias=True), asdict(results), report, anew=anew)
    return results
