"""Whether a run measures what each column of a table is worth, by what that would take."""

from __future__ import annotations

import math
from collections.abc import Sequence

from stackae.config import Config
from stackae.data.label_use import LabelUse
from stackae.data.source import Source
from stackae.plan.cost import OPERATION, training_seconds
from stackae.plan.layers import PlannedLayer

ROWS = 2000
"""The most rows among which columns are permuted; of more a sample is taken."""
REPEATS = 5
SHARE = 0.1
"""The most that it may take of the time of the run's training, by the estimate."""
ROW_SECONDS = 1e-5
"""To preprocess a row, on one core."""


def importance_left_out(
    config: Config, source: Source, use: LabelUse, layers: Sequence[PlannedLayer], train: int
) -> str | None:
    """Return why a table's columns are not weighed; None where they are.

    `train` is the number of training rows. The estimate counts rows, columns and epochs, never a clock.
    """
    if not len(use.judged):
        return "no rows validate"
    columns = sum(column.dropped is None for column in source.columns or ())
    network = sum(math.prod(layer.shape) * math.prod(layer.code) for layer in layers)
    row = ROW_SECONDS + 2 * network * max(1, use.folds) * OPERATION
    seconds = REPEATS * columns * min(ROWS, len(use.judged)) * row
    if seconds > SHARE * training_seconds(config, use, layers, train, len(source.classes)):
        return f"permuting {columns:,} columns would take more than a tenth of the run"
    return None
