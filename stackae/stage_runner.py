"""One stage obtained: from the store, or carried out, tracked and committed."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from stackae.config import Config
from stackae.data.read import read_source
from stackae.errors import DataError, StorageError
from stackae.machine import signals
from stackae.machine.disk import storage_faults
from stackae.machine.hardware import resolve
from stackae.machine.threads import threads
from stackae.plan import Plan, Stage, make_plans
from stackae.progress import NoProgress, Progress
from stackae.ranks.start import team_of
from stackae.results import Results, versions
from stackae.stage_context import StageContext, called
from stackae.stages import TRAINED, WORK
from stackae.stages.judged import Outcome
from stackae.stages.restore import restore
from stackae.store import Entry, Store
from stackae.tracking.tracker import NullTracker, Tracker


class Elsewhere(Protocol):
    """Others who carry out stages."""

    def wait(self, stage: Stage) -> bool:
        """Wait until a stage is finished; return whether the store had it."""
        ...


class StageRunner:
    """Obtains the stages of one run, one after the other, and knows how those obtained so far ended.

    With `elsewhere` they are carried out by others, and waited for. On several devices the leader of their
    team obtains them, and the others help where something is trained: see `assist`.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        tracker: Tracker,
        progress: Progress,
        *,
        fresh: bool,
        elsewhere: Elsewhere | None = None,
        callbacks: Sequence[Any] = (),
    ) -> None:
        self._team = team_of(plan.hardware)
        self.plan, self._store, self._tracker = plan, store, tracker
        self._progress, self._fresh, self._elsewhere = progress, fresh, elsewhere
        self._repeat: int | None = None
        self._callbacks = callbacks
        self._initial = [copy.deepcopy(each.state_dict()) for each in callbacks]
        self.outcomes: list[Outcome] = []
        self._check_alike()

    def _check_alike(self) -> None:
        """Check that all of the team are about to do the same; DataError where they are not."""
        if self._team.leads:
            # The others have waited to read what this one has read.
            self._team.meet()
        keys = [stage.key for stage in (self.plan.data, *self.plan.stages)]
        if any(other != keys for other in self._team.gather(keys)):
            raise DataError(
                "the processes of trainer.devices do not plan the same stages: their data differ, or their "
                "machines; put the data where all of them see it, and set trainer.precision"
            )

    def repeated(self, plan: Plan) -> StageRunner:
        """Make the runner of another repetition, which has what this one obtained of shared stages."""
        other = copy.copy(self)
        other.plan, other._repeat = plan, plan.config.repeat
        shared = {stage.key for stage in (plan.data, *plan.stages)}
        other.outcomes = [outcome for outcome in self.outcomes if outcome.stage.key in shared]
        return other

    @property
    def entries(self) -> dict[str, Entry]:
        """The finished stages by name."""
        return {outcome.stage.name: outcome.entry for outcome in self.outcomes}

    def obtain(self, stage: Stage) -> None:
        """Take a stage from the store if it is there, else carry it out and commit it."""
        signals.check()
        if self._elsewhere is not None:
            self.recall(stage, reused=self._elsewhere.wait(stage))
            return
        with self._store.lock(stage.name, stage.key) as folder:
            if self._fresh:
                self._store.discard(stage.name, stage.key)
            entry = self._store.open(stage.name, stage.key)
            reused = entry is not None
            if entry is None:
                entry = self._carry_out(stage, folder)
            else:
                self._progress.reused(called(stage.name, self._repeat))
                signals.keep(called(stage.name, self._repeat))
        self.outcomes.append(Outcome(stage, entry, reused))

    def recall(self, stage: Stage, *, reused: bool = True) -> None:
        """Take a stage that is known to be finished."""
        entry = self._store.peek(stage.name, stage.key)
        if entry is None:
            raise StorageError(f"{self._store.folder(stage.name, stage.key)}: has gone; start the run again")
        self.outcomes.append(Outcome(stage, entry, reused))

    def restore(self, reads: Iterable[str]) -> None:
        """Make again what `gc` removed of the features of these stages."""
        restore(reads, self.plan, self.entries, self._store, self._progress)

    def _carry_out(self, stage: Stage, folder: Path) -> Entry:
        plan, parents = self.plan, [stage.parent] if stage.parent else []
        name = called(stage.name, self._repeat)
        self._store.clear(stage.name, stage.key)
        with (
            storage_faults(folder),
            # What is done anew is another log than what is done already.
            self._tracker.stage(name, stage.settings, parents, "" if self._fresh else stage.key) as log,
            # A stage seeds the global generator; whoever called gets his own back.
            torch.random.fork_rng(),
            threads(plan.hardware.threads),
        ):
            self.restore(stage.reads)
            started = time.monotonic()
            context = self._context(stage, folder, log.logger)
            if stage.kind in TRAINED:
                self._team.tell({"stage": stage.key})
            output = WORK[stage.kind](context, plan, self.entries)
            entry = self._store.commit(
                stage.name,
                stage.key,
                parent=stage.parent,
                settings=stage.settings,
                metrics={"seconds": time.monotonic() - started} | output.metrics,
                versions=versions(),
                files=output.files,
            )
            signals.keep(name)
            log.finish(entry.manifest, entry.folder)
        return entry

    def _context(self, stage: Stage, folder: Path, logger: Any) -> StageContext:
        # The best score of one stage says nothing of the next one's.
        for callback, state in zip(self._callbacks, self._initial, strict=True):
            callback.load_state_dict(copy.deepcopy(state))
        return StageContext(
            stage.name,
            stage.section,
            folder,
            self.plan.config.seed,
            self.plan.hardware,
            logger,
            self._progress,
            self.plan.config.trainer.autosave,
            self._repeat,
            self._callbacks,
            self._team,
        )

    def help_with(self, stage: Stage) -> None:
        """Do the part of a stage that is not the leader's."""
        for lower in self.plan.below(stage):
            self.recall(lower)
        context = self._context(stage, self._store.folder(stage.name, stage.key), False)
        with torch.random.fork_rng(), threads(self.plan.hardware.threads):
            WORK[stage.kind](context, self.plan, self.entries)


def assist(config: Config, store: Store, callbacks: Sequence[Any] = ()) -> Results:
    """Help the leader of a config's team with all that it trains, until it tells the results of the run."""
    team = team_of(resolve(config.trainer))
    # What the leader has read and checked is on this machine's disk, or an error that ends all.
    team.meet()
    plans = make_plans(config, read_source(config.data), callbacks=[each.state_key for each in callbacks])
    silent = NoProgress(warns=False)
    first = StageRunner(plans[0], store, NullTracker(), silent, fresh=False, callbacks=callbacks)
    while True:
        signals.check()
        told = team.tell(None)
        if "results" in told:
            return Results(**told["results"])
        plan, stage = next(
            (plan, stage) for plan in plans for stage in plan.stages if stage.key == told["stage"]
        )
        helper = first if plan is plans[0] else first.repeated(plan)
        helper.outcomes = []
        helper.help_with(stage)
