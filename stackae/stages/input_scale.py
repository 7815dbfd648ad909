"""Which inputs matter, by trees that are fitted to the labelled rows."""

from __future__ import annotations

import numpy as np
import torch

from stackae.data.batches import Indexed
from stackae.data.features import flat

TREES, MOST_ROWS, LARGEST = 300, 10_000, 5.0
"""Trees, the most rows that they are fitted to, and the greatest scale of an input."""


def importances(
    x: Indexed, y: np.ndarray, rows: np.ndarray, seed: int, *, weight: np.ndarray | None
) -> torch.Tensor:
    """Return the importance of each input over their mean, at most 5, (features,).

    Extra trees (Geurts et al. 2006) are fitted to `rows`, ascending numbers of rows of x (rows, *shape) and
    of their classes y, each counting by its `weight` (rows,) where there is one. An input that no tree has
    used gets 0. Mean decrease in impurity, Breiman et al. 1984,
    section 5.3.4.
    """
    from sklearn.ensemble import ExtraTreesClassifier

    if len(rows) > MOST_ROWS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MOST_ROWS, replace=False))
    trees = ExtraTreesClassifier(TREES, random_state=seed % 2**32)
    trees.fit(flat(x.take(rows, axis=0)), y[rows], None if weight is None else weight[rows])
    importance = trees.feature_importances_
    # Where all rows are of one class, no tree has a split.
    mean = importance.mean()
    scale = np.minimum(importance / mean, LARGEST) if mean > 0 else np.ones_like(importance)
    return torch.from_numpy(scale.astype(np.float32))
