"""The logging of stages: the protocol, the tracker that logs nothing, and the choice between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from stackae.config import TrackingConfig

if TYPE_CHECKING:
    from stackae.tracking.predicted import Predicted


class StageLog(Protocol):
    """The log of one stage, open while the stage trains."""

    @property
    def logger(self) -> Any:
        """What `Trainer(logger=...)` takes: a Lightning logger, several, or False for none."""

    def finish(self, manifest: Mapping[str, Any], folder: Path) -> None:
        """Add what is known once the stage is committed: its manifest, and the weights in its folder.

        `manifest` is JSON-like; `manifest["key"]` is the stage's key and `manifest["metrics"]`, if there,
        its final metrics. `folder` holds `weights.safetensors` if the stage has weights.
        """


class Tracker(Protocol):
    """Logs the stages of one run; its failures are warnings, never errors."""

    def stage(
        self, name: str, config: Mapping[str, Any], parents: Sequence[str], key: str = ""
    ) -> AbstractContextManager[StageLog]:
        """Open the log of the stage `name` with its JSON-like `config`; `parents` are its parents' keys.

        Where `key` is given, the stage's own, the log of a stage that was stopped goes on where it can.
        """

    def conclude(
        self,
        config: Mapping[str, Any],
        results: Mapping[str, Any],
        report: Path | None,
        predicted: Predicted | None = None,
        *,
        anew: bool,
    ) -> None:
        """Log the run as a whole: its JSON-like config, the figures of `results.json`, its report's page, its
        model, and what that predicts for the test rows.

        Unless something was trained `anew` that was done before, and is needed again by a sweep alone.
        """

    def curve(self, config: Mapping[str, Any], errors: Mapping[str, Mapping[int, float]]) -> None:
        """Log a label curve with its JSON-like config: each line's mean test error by number of labels."""


class NullStageLog:
    """A log that keeps nothing."""

    logger: bool = False

    def finish(self, manifest: Mapping[str, Any], folder: Path) -> None:
        """Keep nothing."""


class NullTracker:
    """A tracker that logs nothing and needs nothing."""

    def stage(
        self, name: str, config: Mapping[str, Any], parents: Sequence[str], key: str = ""
    ) -> AbstractContextManager[StageLog]:
        """Open a log that keeps nothing."""
        return nullcontext(NullStageLog())

    def conclude(
        self,
        config: Mapping[str, Any],
        results: Mapping[str, Any],
        report: Path | None,
        predicted: Predicted | None = None,
        *,
        anew: bool,
    ) -> None:
        """Keep nothing."""

    def curve(self, config: Mapping[str, Any], errors: Mapping[str, Mapping[int, float]]) -> None:
        """Keep nothing."""


class SeveralStageLogs:
    """The logs of one stage in several trackers."""

    def __init__(self, logs: Sequence[StageLog]) -> None:
        self._logs = logs
        self.logger = [log.logger for log in logs if log.logger]

    def finish(self, manifest: Mapping[str, Any], folder: Path) -> None:
        """Add to each what is known once the stage is committed."""
        for log in self._logs:
            log.finish(manifest, folder)


class Trackers:
    """Several trackers, each of which logs all."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = trackers

    @contextmanager
    def stage(
        self, name: str, config: Mapping[str, Any], parents: Sequence[str], key: str = ""
    ) -> Iterator[SeveralStageLogs]:
        """Open a log in each."""
        with ExitStack() as stack:
            logs = [stack.enter_context(each.stage(name, config, parents, key)) for each in self._trackers]
            yield SeveralStageLogs(logs)

    def conclude(
        self,
        config: Mapping[str, Any],
        results: Mapping[str, Any],
        report: Path | None,
        predicted: Predicted | None = None,
        *,
        anew: bool,
    ) -> None:
        """Log the run as a whole in each."""
        for each in self._trackers:
            each.conclude(config, results, report, predicted, anew=anew)

    def curve(self, config: Mapping[str, Any], errors: Mapping[str, Mapping[int, float]]) -> None:
        """Log a label curve in each."""
        for each in self._trackers:
            each.curve(config, errors)


def open_tracker(settings: TrackingConfig, name: str, folder: Path, warn: Callable[[str], None]) -> Tracker:
    """Make the tracker that a config asks for; `name` is the run's, `folder` its folder."""
    return make_tracker(
        settings.wandb,
        project=settings.project,
        entity=settings.entity,
        group=name,
        folder=folder,
        warn=warn,
        tags=settings.tags,
        notes=settings.notes,
        loggers=(settings.logger,) if isinstance(settings.logger, str) else settings.logger,
        registry=settings.registry,
    )


def make_tracker(
    mode: Literal["auto", "online", "offline", "disabled"],
    *,
    project: str,
    entity: str | None,
    group: str,
    folder: Path,
    warn: Callable[[str], None],
    tags: Sequence[str] = (),
    notes: str | None = None,
    loggers: Sequence[Literal["wandb", "mlflow", "tensorboard", "csv"]] = ("wandb",),
    registry: str | None = None,
) -> Tracker:
    """Make the tracker of all `loggers`, of W&B in this mode; nothing is opened yet.

    `group` is the run's name, `folder` the run's folder, `warn` takes
    one line of text. All that is logged in W&B carries the `tags` and the `notes`, and its `registry` has
    the models.
    """
    from stackae.tracking.lightning_loggers import LoggerTracker

    trackers: list[Tracker] = [
        LoggerTracker(name, project=project, group=group, folder=folder, warn=warn)
        for name in dict.fromkeys(loggers)
        if name != "wandb"
    ]
    if "wandb" not in loggers or mode == "disabled":
        return Trackers(trackers) if trackers else NullTracker()
    from stackae.tracking.wandb import WandbTracker

    wandb = WandbTracker(
        mode=mode,
        project=project,
        entity=entity,
        group=group,
        folder=folder,
        warn=warn,
        tags=tags,
        notes=notes,
        registry=registry,
    )
    return Trackers([wandb, *trackers]) if trackers else wandb
