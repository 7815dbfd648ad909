"""How much each row counts in fine-tuning, as users of scikit-learn give it in `sample_weight`."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Number
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils import check_array

from stackae.estimator.refusals import refuse_masked
from stackae.estimator.validation import Codes

Weights = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Weighted:
    """Labels of which those that count for nothing are left out, and how much each row counts."""

    classes: npt.NDArray[Any]
    """The classes that are left, sorted."""
    codes: Codes
    """The number of each row's class, -1 where it has no label."""
    weights: Weights | None
    """On average 1 over the rows with a label, 0 for others; None where all count alike."""


def weigh(sample_weight: Any, classes: npt.NDArray[Any], codes: Codes) -> Weighted:
    """Apply weights of rows, of which None is 1 for each, to their labels.

    A row of weight 0 loses its label, as fine-tuning is not to see it. Raises `ValueError` where weights are
    not finite, not one for each row, or below 0, or where fewer than two classes have any.
    """
    if sample_weight is None:
        return Weighted(classes, codes, None)
    weights = _checked(sample_weight, len(codes))
    counts = (codes >= 0) & (weights > 0)
    if not counts.any():
        raise ValueError("sample_weight is zero for each row with a label; give some a weight above 0")
    left, numbers = np.unique(codes[counts], return_inverse=True)
    if len(left) < 2:
        raise ValueError(
            f"y has one class only ({classes[left[0]]}) where sample_weight is above 0; a classifier needs "
            "rows of at least two classes"
        )
    renumbered = np.full(len(codes), -1, np.int64)
    renumbered[counts] = numbers
    weights = np.where(counts, weights, 0.0)
    alike = np.ptp(weights[counts]) == 0
    return Weighted(classes[left], renumbered, None if alike else weights / weights[counts].mean())


def _checked(sample_weight: Any, rows: int) -> Weights:
    refuse_masked(sample_weight, "sample_weight")
    if isinstance(sample_weight, Number):
        sample_weight = np.full(rows, sample_weight)
    weights: Weights = check_array(
        sample_weight, dtype=np.float64, ensure_2d=False, ensure_min_samples=0, input_name="sample_weight"
    )
    if weights.shape != (rows,):
        raise ValueError(
            f"sample_weight has shape {weights.shape}, but X has {rows:,} rows; give one for each"
        )
    if (weights < 0).any():
        row = int(np.argmax(weights < 0))
        raise ValueError(f"sample_weight has {weights[row]:g} in row {row:,}; give no weight below 0")
    return weights
