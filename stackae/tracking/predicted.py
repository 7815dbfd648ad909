"""What a run's model predicts for the test rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Predicted:
    """The test rows by their numbers in the source, their classes, and probabilities (rows, classes)."""

    rows: npt.NDArray[np.int64]
    y: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    probabilities: np.ndarray
