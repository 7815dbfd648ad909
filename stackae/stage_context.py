"""What a stage is given to work with, and what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stackae.machine.hardware import Hardware
from stackae.progress import Progress
from stackae.ranks.team import ALONE, Team


def called(stage: str, repeat: int | None) -> str:
    """Name a stage so that it is told apart from the same stage of the run's first repetition."""
    return stage if repeat is None else f"{stage}-repeat-{repeat}"


@dataclass(frozen=True)
class StageContext:
    """Where a stage works and whom it tells: its name, its folder, what Lightning takes for loggers."""

    stage: str
    section: str
    """Where in the config the stage's settings are, as `layers.1`."""
    folder: Path
    seed: int
    hardware: Hardware
    logger: Any
    progress: Progress
    autosave: float
    """Seconds between two checkpoints, at the least; 0: one after every batch."""
    repeat: int | None = None
    """Which repetition the stage is of; None of the run's first."""
    callbacks: Sequence[Any] = ()
    """Lightning callbacks of the person's own, for what is trained."""
    team: Team = ALONE
    """The processes that carry the stage out, of which the leader alone has a folder to write into, but for
    what all of them write together."""

    @property
    def called(self) -> str:
        """What people are told that the stage is called."""
        return called(self.stage, self.repeat)

    def setting(self, name: str) -> str:
        """Return the full name of one of the stage's settings in the config, as `layers.1.lr`."""
        return f"{self.section}.{name}"


@dataclass(frozen=True)
class StageOutput:
    """What a stage returns: metrics for the manifest, and the names of its files."""

    metrics: dict[str, Any]
    files: list[str]


NOTHING = StageOutput({}, [])
"""What those return who have helped the leader, whose the rest is."""
