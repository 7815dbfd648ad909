"""The main path of a run, from config to results. Read it from top to bottom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stackae.config import Config
from stackae.data.read import read_source
from stackae.jobs import Crew
from stackae.machine.disk import storage_faults
from stackae.plan import Plan, make_plans
from stackae.progress import Progress
from stackae.report import PAGE, is_drawn, write_report
from stackae.results import Results, assemble_results, predict_test_rows, write_run
from stackae.stage_runner import StageRunner
from stackae.stages.judged import Repetition
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
    callbacks: Sequence[Any] = (),
) -> Results:
    """Carry out one config: reuse what the store has, train the rest, write the run's folder `out`.

    `fresh` forgets the run's stages in the store first. Running again after a kill goes on. With a `crew`
    stages that do not need each other are carried out side by side. `callbacks` are the person's own, of
    Lightning, and take part in each stage that trains; not with a crew, whose processes do not have them.
    """
    names = [callback.state_key for callback in callbacks]
    plans = make_plans(config, read_source(config.data), callbacks=names)
    for remark in plans[0].remarks:
        progress.warn(remark)
    return run_plans(plans, store, tracker, progress, out=out, fresh=fresh, crew=crew, callbacks=callbacks)


def run_plans(
    plans: Sequence[Plan],
    store: Store,
    tracker: Tracker,
    progress: Progress,
    *,
    out: Path,
    fresh: bool = False,
    crew: Crew | None = None,
    callbacks: Sequence[Any] = (),
) -> Results:
    """Carry out plans that are made already, one for each repetition; all else is as in `run`."""
    assert crew is None or not callbacks
    plan, config = plans[0], plans[0].config
    runner = StageRunner(plan, store, tracker, progress, fresh=fresh, elsewhere=crew, callbacks=callbacks)
    if crew is not None:
        crew.expect(plans, out)
    with store.claim((stage.name, stage.key) for each in plans for stage in (each.data, *each.stages)):
        runner.obtain(plan.data)
        for layer in plan.layers:
            # Trained on the features of the layer below; then it writes its own for the next.
            runner.obtain(layer.stage)
        if plan.unroll:
            runner.obtain(plan.unroll)
        runners = [runner, *map(runner.repeated, plans[1:])]
        for each in runners:
            # The stack under a softmax head; the same from scratch, as its control; a probe of each depth.
            for stage in each.plan.labelled.in_order:
                each.obtain(stage)

        results = assemble_results([Repetition(each.plan, each.outcomes) for each in runners])
        with storage_faults(out):
            write_run(out, plan, runner.entries, results)
            if config.report and not is_drawn(out, runner.entries):
                runner.restore(plan.reported)
                write_report(out, plan, runner.entries)
    report = out / PAGE if config.report else None
    anew = not all(outcome.reused for each in runners for outcome in each.outcomes)
    predicted = predict_test_rows(plan, runner.entries, results.temperature)
    whole = config.model_dump(mode="json", by_alias=True)
    tracker.conclude(whole, asdict(results), report, predicted, anew=anew)
    return results
