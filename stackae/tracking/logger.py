"""The Lightning logger of a tracked stage; imports Lightning, so import it late."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only


class StageLogger(Logger):
    """Passes Lightning's metrics on to `record`, and pictures to `record_pictures`; neither may raise.

    It stands before every tracker, so that none of them can stop or stall a fit; for W&B in the place of
    Lightning's WandbLogger: that one calls W&B directly in half a dozen places, each of which could
    stop a fit, saves a module's hyperparameters over the stage's own config, and counts in optimiser
    steps, while stages are compared epoch by epoch.
    """

    def __init__(
        self,
        name: str,
        record: Callable[[dict[str, float]], None],
        record_pictures: Callable[[Mapping[str, Any], int], None] | None = None,
    ) -> None:
        super().__init__()
        self._name = name
        self._record = record
        self._record_pictures = record_pictures

    @property
    def name(self) -> str:
        """The stage's name."""
        return self._name

    @property
    def version(self) -> None:
        """None: a stage is logged once, under its name."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Record metrics; Lightning has put their `epoch` among them."""
        self._record(dict(metrics))

    @property
    def takes_pictures(self) -> bool:
        """Whether pictures are recorded."""
        return self._record_pictures is not None

    @rank_zero_only
    def log_pictures(self, pictures: Mapping[str, Any], epoch: int) -> None:
        """Record pictures by name: bytes (height, width) or (height, width, 3), with the epoch they show."""
        assert self._record_pictures is not None
        self._record_pictures(pictures, epoch)

    def log_hyperparams(self, params: dict[str, Any] | Namespace) -> None:
        """Do nothing: the stage's config is in the run already."""
