"""The main path of a run, from config to results. Read it from top to bottom."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TypeVarTuple

import torch

from stackae import stages
from stackae.config import Config
from stackae.config_file import dump_config
from stackae.data.read import read_source
from stackae.data.source import Source
from stackae.data.tables.columns import with_names
from stackae.machine import signals
from stackae.machine.disk import storage_faults
from stackae.model import save
from stackae.plan import Plan, Planned, make_plan
from stackae.progress import Progress
from stackae.report import PAGE, is_drawn, write_report
from stackae.report.card import card
from stackae.results import Outcome, Results, gather, versions, write_evidence
from stackae.stage_context import Done, Job
from stackae.stages.weights import load_classifier, load_units, stacked
from stackae.store import Entry, Store
from stackae.tracking.tracker import Tracker


def run(
    config: Config, store: Store, tracker: Tracker, progress: Progress, *, out: Path, fresh: bool = False
) -> Results:
    """Carries out one config: reuses what the store has, trains the rest, writes the run's folder `out`.

    `fresh` forgets the run's stages in the store first. Running again after a kill goes on.
    """
    source = read_source(config.data)
    plan = make_plan(config, source)
    return carry_out(plan, source, store, tracker, progress, out=out, fresh=fresh)


def carry_out(
    plan: Plan,
    source: Source,
    store: Store,
    tracker: Tracker,
    progress: Progress,
    *,
    out: Path,
    fresh: bool = False,
) -> Results:
    """Carries out a plan that was made of this source; all else as in `run`."""
    config = plan.config
    crew = Crew(plan, source, store, tracker, progress, fresh)

    with store.claim((stage.name, stage.key) for stage in (plan.data, *plan.stages)):
        data = crew.obtain(plan.data, stages.prepare, source, plan.split, plan.preprocessing)
        depths = [data]
        for layer in plan.layers:
            depths.append(crew.obtain(layer.stage, stages.pretrain, plan, tuple(depths)))
        unrolled = crew.obtain(plan.unroll, stages.unroll, plan, depths) if plan.unroll else None
        if plan.finetune:
            crew.obtain(plan.finetune, stages.finetune, plan, data, depths[1:], unrolled)
        if plan.scratch:
            crew.obtain(plan.scratch, stages.finetune, plan, data, None, None)
        if plan.probe:
            # Unrolling changes every layer; only the deepest features are kept of what it makes of them.
            crew.obtain(plan.probe, stages.probe, plan, [*depths[:-1], unrolled] if unrolled else depths)

        results = gather(plan, crew.outcomes)
        with storage_faults(out):
            write_run(out, plan, crew.entries, results)
            if config.report and not is_drawn(out, crew.entries):
                crew.restore(stages.REPORT)
                write_report(out, plan, crew.entries)
    report = out / PAGE if config.report else None
    anew = not all(outcome.reused for outcome in crew.outcomes)
    tracker.conclude(config.model_dump(mode="json", by_alias=True), asdict(results), report, anew=anew)
    return results


Given = TypeVarTuple("Given")


class Crew:
    """What every stage of one run needs to be obtained, and how the stages obtained so far ended."""

    def __init__(
        self, plan: Plan, source: Source, store: Store, tracker: Tracker, progress: Progress, fresh: bool
    ) -> None:
        self._plan, self._source, self._store = plan, source, store
        self._tracker, self._progress, self._fresh = tracker, progress, fresh
        self.outcomes: list[Outcome] = []

    @property
    def entries(self) -> dict[str, Entry]:
        """The finished stages by name."""
        return {outcome.planned.name: outcome.entry for outcome in self.outcomes}

    def obtain(self, planned: Planned, work: Callable[[Job, *Given], Done], *given: *Given) -> Entry:
        """The finished stage: from the store if it is there, else worked out and committed."""
        signals.check()
        with self._store.lock(planned.name, planned.key) as folder:
            if self._fresh:
                self._store.discard(planned.name, planned.key)
            entry = self._store.open(planned.name, planned.key)
            reused = entry is not None
            if entry is None:
                entry = self._carry_out(planned, folder, lambda job: work(job, *given))
            else:
                self._progress.reused(planned.name)
                signals.keep(planned.name)
        self.outcomes.append(Outcome(planned, entry, reused))
        return entry

    def restore(self, reader: str) -> None:
        """Makes again what `gc` removed of the features that a stage, or the report, reads."""
        stages.restore(reader, self._plan, self._source, self.entries, self._store, self._progress)

    def _carry_out(self, planned: Planned, folder: Path, work: Callable[[Job], Done]) -> Entry:
        plan, parents = self._plan, [planned.parent] if planned.parent else []
        self._store.clear(planned.name, planned.key)
        with (
            storage_faults(folder),
            self._tracker.stage(planned.name, planned.settings, parents) as log,
            # A stage seeds the global generator; whoever called gets his own back.
            torch.random.fork_rng(),
        ):
            self.restore(planned.name)
            started = time.monotonic()
            job = Job(
                planned.name,
                folder,
                plan.config.seed,
                plan.hardware,
                log.logger,
                self._progress,
                plan.config.trainer.autosave,
            )
            done = work(job)
            entry = self._store.commit(
                planned.name,
                planned.key,
                parent=planned.parent,
                settings=planned.settings,
                metrics={"seconds": time.monotonic() - started} | done.metrics,
                versions=versions(),
                files=done.files,
            )
            signals.keep(planned.name)
            log.finish(entry.manifest, entry.folder)
        return entry


def write_run(out: Path, plan: Plan, entries: dict[str, Entry], results: Results) -> None:
    """Writes the run's folder: the resolved config, the model with its card, and last the results."""
    out.mkdir(parents=True, exist_ok=True)
    # What a run needs to read other rows must not lie in a file elsewhere.
    lasting = plan.config.model_copy(update={"data": with_names(plan.config.data)})
    (out / "config.yaml").write_text(dump_config(lasting))
    layers = [entries[layer.stage.name] for layer in plan.layers]
    encoder, decoder = stacked(plan, load_units(plan, layers, entries.get("unroll")))
    classifier = load_classifier(plan, entries["finetune"]) if plan.finetune else None
    last = entries.get("unroll", layers[-1])
    save(
        out / "model",
        [layer.settled for layer in plan.layers],
        encoder,
        decoder,
        classifier,
        preprocessing=plan.preprocessing,
        classes=plan.classes,
        novelty=last.metrics["novelty"],
    )
    described = json.loads((out / "model" / "config.json").read_text())
    text = card(plan.config, asdict(results), described, f"runs/{plan.config.name}")
    (out / "model" / "README.md").write_text(text, encoding="utf-8")
    write_evidence(out, plan, entries)
    results.write(out / "results.json")
