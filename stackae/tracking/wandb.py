"""Weights & Biases: one run per stage. Only this file and its neighbours `wandb_…` import wandb."""

from __future__ import annotations

import hashlib
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stackae.errors import ConfigError, TrackingError
from stackae.tracking.predicted import Predicted
from stackae.tracking.summary import headline
from stackae.tracking.wandb_service import end_service, forget_service, in_words, service_is_gone
from stackae.tracking.wandb_stage import WandbStageLog

if TYPE_CHECKING:
    import wandb

# A server that answers does so in about a second; a dead one costs this much, once.
INIT_SECONDS = 10.0
# For the upload of what is left when a stage ends, weights included; what is not uploaded stays on disk.
FINISH_SECONDS = 60.0
# What was logged longer ago is on disk, whatever becomes of W&B's process.
FLUSH_SECONDS = 0.5

Level = Literal["online", "offline", "off"]

# The job type of the W&B run that stands for a whole run of ours.
WHOLE = "run"
CURVE = "curve"
# What a sweep's agent tells the process it starts: its one run is the run as a whole, not each stage.
SWEEP = ("WANDB_SWEEP_ID", "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH")


class WandbTracker:
    """Opens one W&B run per stage, grouped under the run's name, and never fails or stops a stage.

    `auto` is online where an API key is configured and the environment (`WANDB_MODE`) does not say
    otherwise, else offline. Nobody is ever asked for a key. What goes wrong in W&B costs one line to
    `warn` and one level for good, from online to offline, from offline to off, so there are at most two
    lines however many stages follow.
    """

    def __init__(
        self,
        *,
        mode: Literal["auto", "online", "offline"],
        project: str,
        entity: str | None,
        group: str,
        folder: Path,
        warn: Callable[[str], None],
        tags: Sequence[str] = (),
        notes: str | None = None,
        registry: str | None = None,
    ) -> None:
        self._registry = registry
        self._tags, self._notes = tags, notes
        self._sweep = {name: os.environ.get(name) for name in SWEEP}
        self._mode = mode
        self._project = project
        self._entity = entity
        self._group = group
        self._folder = folder
        self._warn = warn
        self._level: Level | None = None

    @contextmanager
    def stage(
        self, name: str, config: Mapping[str, Any], parents: Sequence[str], key: str = ""
    ) -> Iterator[WandbStageLog]:
        """Open a W&B run for the stage `name`; it is finished on exit, as failed if an exception passes.

        Online, a `key` gives the run its id, so that the stage's run of a job that was stopped goes on.
        """
        from pytorch_lightning.utilities import rank_zero_only

        # Of several processes that train together one logs; the others get a log that is off.
        level: Level = "off" if getattr(rank_zero_only, "rank", 0) else self._choose_level()
        run = None
        while run is None and level != "off":
            try:
                run = self._open(name, {**config, "parents": list(parents)}, level, key)
            except Exception as error:
                level = self._step_down(level, f"opening a run for {name}", error)
            except BaseException:
                end_service()
                raise
        log = WandbStageLog(run, name, parents, failed=partial(self._step_down, level))
        try:
            if level == "online":
                log.use_parents()
            yield log
        except BaseException as error:
            log.close(exit_code=1, hurried=not isinstance(error, Exception))
            raise
        log.close(exit_code=0)

    def conclude(
        self,
        config: Mapping[str, Any],
        results: Mapping[str, Any],
        report: Path | None,
        predicted: Predicted | None = None,
        *,
        anew: bool,
    ) -> None:
        """Log the run as a whole, in a W&B run of its own; under a sweep's agent, that is the sweep's run."""
        if not (anew or self._sweep["WANDB_SWEEP_ID"]):
            return
        keys = {stage["stage"]: stage.get("key") for stage in results["stages"]}
        trained = [name for name in keys if name == "finetune" or name.startswith(("pretrain-", "unroll"))]
        parent = keys[trained[-1]] if trained else None
        with self.stage(WHOLE, config, [parent] if parent else []) as log:
            log.conclude(headline(results), results["verdict"], report, predicted, results.get("importance"))
            log.keep_model(self._group, self._folder / "model", headline(results), parent)
            if self._registry is not None and (why := log.link_model(self._group, self._registry)):
                self._warn(f"W&B: '{self._group}' is not linked to the registry '{self._registry}' ({why})")

    def curve(self, config: Mapping[str, Any], errors: Mapping[str, Mapping[int, float]]) -> None:
        """Log a label curve as a plot of W&B's own, in a W&B run of the job type `curve`."""
        with self.stage(CURVE, config, []) as log:
            log.record_curve(errors)

    def _choose_level(self) -> Level:
        if self._level is None:
            self._level = "off"
            try:
                level = self._configured_level()
                if level != "off":
                    self._make_folder()
                self._level = level
            except Exception as error:
                self._warn(f"W&B could not start ({in_words(error)}); the run goes on without W&B")
        return self._level

    def _make_folder(self) -> None:
        # W&B itself would fall back to the system's temporary folder without a word.
        folder = self._folder / "wandb"
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(f"cannot write to '{folder}'")

    def _configured_level(self) -> Level:
        # Read by W&B as soon as it is set up, and every stage would join the sweep's one run.
        for name in SWEEP:
            os.environ.pop(name, None)
        # W&B reports its own use to its server, offline runs included; offline should mean offline.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")

        import wandb

        # Silent for the whole process: reading a key or a settings file prints whatever a run's own
        # settings say. What matters reaches the user through `warn`.
        mode = wandb.setup(wandb.Settings(silent=True)).settings.mode
        if self._mode == "offline" or (self._mode == "auto" and mode in ("offline", "dryrun")):
            return "offline"
        if self._mode == "auto" and mode == "disabled":
            return "off"
        return self._level_by_key()

    def _level_by_key(self) -> Level:
        import wandb

        try:
            # Reads WANDB_API_KEY, the settings files and the netrc file; neither asks nor connects.
            if wandb.login(prompt=False, verify=False):
                return "online"
            fault = "no API key is configured" if self._mode == "online" else None
        except Exception as error:
            fault = in_words(error)
        if fault:
            self._warn(f"W&B: {fault}; logging offline (run 'wandb login' to log online)")
        return "offline"

    def _open(
        self, name: str, config: Mapping[str, Any], mode: Literal["online", "offline"], key: str
    ) -> wandb.Run:
        import wandb

        # Offline nothing can go on: a second log of one id would, when uploaded, replace the first.
        continued = self._run_id(key) if key and mode == "online" else None
        whole = name == WHOLE
        run = wandb.init(
            project=self._project,
            entity=self._entity,
            group=self._group,
            job_type=name,
            name=f"{self._group}-{name}",
            id=(whole and self._sweep["WANDB_RUN_ID"]) or continued or secrets.token_hex(8),
            resume="allow" if continued else None,
            tags=[*self._tags],
            notes=self._notes,
            dir=str(self._folder.absolute()),
            config=dict(config),
            mode=mode,
            reinit="create_new",  # else a second run in one process silently joins the first
            settings=wandb.Settings(
                silent=True,
                console="off",
                sweep_id=self._sweep["WANDB_SWEEP_ID"] if whole else None,
                init_timeout=INIT_SECONDS,
                finish_timeout=FINISH_SECONDS,
                finish_timeout_raises=True,
                # The finish timeout starts only after these retries, by default several minutes of them.
                x_graphql_retry_max=2,
                x_graphql_retry_wait_max_seconds=3,
                x_graphql_timeout_seconds=10,
                x_transaction_log_flush_interval=FLUSH_SECONDS,
                use_dot_wandb=False,
                # The manifest names the versions; listing every package takes most of opening a run.
                x_save_requirements=False,
                save_code=False,
                disable_code=True,
                disable_git=True,
            ),
        )
        run.define_metric("epoch")
        run.define_metric("*", step_metric="epoch")
        return run

    def _run_id(self, key: str) -> str:
        """Derive a run's id from its stage's key, and from where the run is: others may train the same."""
        place = f"{self._group} {self._folder.absolute()} {key}"
        return hashlib.sha256(place.encode()).hexdigest()[:16]

    def _step_down(self, level: Level, doing: str, error: Exception) -> Level:
        """Warn and go one level down, unless a failure at this level has done so before."""
        if service_is_gone(error):
            forget_service()
        if level == self._level:
            self._level = "offline" if level == "online" else "off"
            then = (
                f"logging offline under '{self._folder / 'wandb'}' from now on, upload it with 'wandb sync'"
                if self._level == "offline"
                else "the run goes on without W&B"
            )
            self._warn(f"W&B: {doing} failed ({in_words(error)}); {then}")
        assert self._level is not None
        return self._level


def upload(folder: Path) -> int:
    """Upload the offline runs in a run's `wandb` folder with W&B's own command, and return how many.

    ConfigError where no key is configured; TrackingError where W&B does not take them.
    """
    import wandb

    runs = sorted(folder.glob("offline-run-*"))
    if not runs:
        return 0
    if not wandb.login(prompt=False, verify=False):
        raise ConfigError("sync: no W&B key is configured; run 'wandb login', or set WANDB_API_KEY")
    done = subprocess.run(
        [sys.executable, "-m", "wandb", "sync", *map(str, runs)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        raise TrackingError(
            f"sync: W&B did not take the runs ({lines[-1]}); what is offline stays in '{folder}'"
        )
    return len(runs)
