"""The rows of a split's parts, preprocessed, in one reading of their source."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stackae.data.preprocessing.load import Preprocessing
from stackae.data.source import Source
from stackae.data.splits import Split


def fill_parts(
    parts: Mapping[str, np.ndarray], source: Source, split: Split, preprocessing: Preprocessing
) -> None:
    """Fill each part's array (rows, *shape); the source is read once, from first row to last."""
    for first, raw in source.all.chunks():
        # Row numbers ascend, so those of a chunk are neighbours in each part.
        places = [
            (np.searchsorted(rows, [first, first + len(raw)]), rows, parts[name])
            for name, rows in split.parts.items()
        ]
        if any(start < end for (start, end), _, _ in places):
            x = preprocessing(raw)
            for (start, end), rows, features in places:
                features[start:end] = x[rows[start:end] - first]
