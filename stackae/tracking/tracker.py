"""The logging of stages: the protocol, the tracker that logs nothing, and the choice between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from stackae.config import TrackingConfig

if TYPE_CHECKING:
    from stackae.tracking.predicted import Predicted


class StageLog(Protocol):
    """The log of one stage, open while the stage trains."""

    @property
    def logger(self) -> Any:
        """What `Trainer(logger=...)` takes: a Lightning logger, or False for none."""

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
    registry: str | None = None,
) -> Tracker:
    """Make the tracker that the configuration's `tracking.wandb` asks for; nothing is opened yet.

    `group` is the run's name, `folder` the run's folder (W&B writes to `wandb/` in it), `warn` takes
    one line of text. All that is logged carries the `tags` and the `notes`; models go to the `registry`.
    """
    if mode == "disabled":
        return NullTracker()
    from stackae.tracking.wandb import WandbTracker

    return WandbTracker(
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
