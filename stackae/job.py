"""What a stage is given to work with, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stackae.hardware import Hardware
from stackae.progress import Progress


@dataclass(frozen=True)
class Job:
    """Where a stage works and whom it tells: its folder, its name, a Lightning logger or False."""

    stage: str
    folder: Path
    seed: int
    hardware: Hardware
    logger: Any
    progress: Progress


@dataclass(frozen=True)
class Done:
    """What a stage returns: metrics for the manifest, and the names of its files."""

    metrics: dict[str, Any]
    files: list[str]
