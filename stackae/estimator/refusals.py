"""Rows and labels of which a part would be lost without a word, seen to before anything else."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np


def check_given(x: Any) -> Any:
    """Return what is given as X; ValueError where values are masked, or a frame is empty or ambiguous."""
    refuse_masked(x, "X")
    if not hasattr(x, "columns") or not hasattr(x, "dtypes"):
        return x
    rows, columns = x.shape
    if not rows or not columns:
        raise ValueError(f"X has no {'columns' if rows else 'rows'} (shape {x.shape}); give at least one")
    name, times = Counter(x.columns).most_common(1)[0]
    if times > 1:
        raise ValueError(f"X: several columns are called '{name}'; give each a name of its own")
    return x


def refuse_masked(values: Any, name: str) -> None:
    """Raise ValueError where values, of an argument of this name, are masked."""
    if np.ma.isMaskedArray(values) and (masked := int(np.ma.getmaskarray(values).sum())):
        raise ValueError(
            f"{name} has {masked:,} values that are masked; fill them, as {name}.filled(0)"
            + (", or give a DataFrame, in which missing cells are NaN" if name == "X" else "")
        )


def without_mask(y: Any) -> Any:
    """Return labels as given, with None for those that are masked."""
    if not np.ma.isMaskedArray(y):
        return y
    labels = np.array(y.data, object)
    labels[np.ma.getmaskarray(y)] = None
    return labels
