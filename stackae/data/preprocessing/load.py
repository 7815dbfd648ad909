"""From rows as a source has them to what the network sees, in training and ever after."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from stackae.data.preprocessing.cycles import Cycle
from stackae.data.preprocessing.scaling import FittedScaling, Scaling
from stackae.data.preprocessing.sklearn_file import FITTED, load_fitted
from stackae.data.preprocessing.table import TablePreprocessing
from stackae.data.tables.cells import Reading
from stackae.data.tables.columns import Column
from stackae.errors import ArtifactError
from stackae.shallow.mixed import Block


class Preprocessing(Protocol):
    """Makes rows (rows, *shape) in float32 of raw rows: arrays, or a table's, normalised.

    `blocks` say what a table's features mean, None for arrays; `low` and `high` bound what training sees.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def blocks(self) -> tuple[Block, ...] | None: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def remarks(self) -> Sequence[str]:
        """Lines on what a person should know of what became of the rows."""
        ...

    def __call__(self, raw: Any) -> np.ndarray:
        """Make rows (rows, *shape) in float32 of raw rows."""
        ...

    def inverse(self, x: np.ndarray) -> np.ndarray:
        """Return rows (rows, *shape) in the units of the source; those of a table stay as they are."""
        ...

    def names(self) -> list[str]:
        """Return the features' names, in the order of a flattened row."""
        ...

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the fitted part into `folder`; return the rest for a JSON file."""
        ...


def load_preprocessing(folder: Path, described: dict[str, Any]) -> Preprocessing:
    """Load what `save` wrote and returned; ArtifactError where either is damaged or missing."""
    try:
        low, high = map(float, described["range"])
        match described["type"]:
            case "scaling":
                return Scaling(tuple(described["shape"]), float(described["scale"]), low, high)
            case "fitted":
                return FittedScaling(tuple(described["shape"]), load_fitted(folder / FITTED), low, high)
            case "table":
                columns = [Column(**column) for column in described["columns"]]
                seen = np.array(described["seen"], np.float64).reshape(-1, 2)
                reading = described.get("reading", {})
                return TablePreprocessing(
                    columns,
                    load_fitted(folder / FITTED),
                    seen,
                    low,
                    high,
                    cycles=[Cycle(**cycle) for cycle in described.get("cycles", ())],
                    reading=Reading(**reading | {"missing": tuple(reading["missing"])} if reading else {}),
                )
        raise ValueError(described["type"])
    except (LookupError, TypeError, ValueError, AttributeError) as fault:
        raise ArtifactError(
            f"{folder}: the preprocessing is damaged ({type(fault).__name__}); run the config again"
        ) from None
