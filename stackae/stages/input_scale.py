"""Which inputs matter, by trees that are fitted to the labelled rows."""

from __future__ import annotations

import hashlib
import threading

import numpy as np
import torch

from stackae.data.batches import Indexed
from stackae.data.features import flat

TREES, MOST_ROWS, LARGEST = 300, 10_000, 5.0
"""Trees, the most rows that they are fitted to, and the greatest scale of an input."""
FOUND = 32
"""How many of the last answers are kept: the control asks what was asked for the stack before it."""

_found: dict[bytes, torch.Tensor] = {}
_keeping = threading.Lock()


def importances(
    x: Indexed, y: np.ndarray, rows: np.ndarray, seed: int, *, weight: np.ndarray | None
) -> torch.Tensor:
    """Return the importance of each input over their mean, at most 5, (features,).

    Extra trees (Geurts et al. 2006) are fitted to `rows`, ascending numbers of rows of x (rows, *shape) and
    of their classes y, each counting by its `weight` (rows,) where there is one. An input that no tree has
    used gets 0. Mean decrease in impurity, Breiman et al. 1984,
    section 5.3.4.
    """
    if len(rows) > MOST_ROWS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MOST_ROWS, replace=False))
    given, classes = flat(x.take(rows, axis=0)), y[rows]
    weights = None if weight is None else weight[rows]
    key = _digest(seed, given, classes, weights)
    scale = _found.get(key)
    if scale is None:
        scale = _fitted(given, classes, seed, weights)
        # Estimators may be fitted in threads.
        with _keeping:
            while len(_found) >= FOUND:
                _found.pop(next(iter(_found)))
            _found[key] = scale
    return scale.clone()


def _digest(seed: int, *arrays: np.ndarray | None) -> bytes:
    digest = hashlib.sha256(str(seed).encode())
    for array in arrays:
        if array is not None:
            digest.update(f"{array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.digest()


def _fitted(x: np.ndarray, y: np.ndarray, seed: int, weight: np.ndarray | None) -> torch.Tensor:
    from sklearn.ensemble import ExtraTreesClassifier

    trees = ExtraTreesClassifier(TREES, random_state=seed % 2**32)
    trees.fit(x, y, weight)
    importance = trees.feature_importances_
    # Where all rows are of one class, no tree has a split.
    mean = importance.mean()
    scale = np.minimum(importance / mean, LARGEST) if mean > 0 else np.ones_like(importance)
    return torch.from_numpy(scale.astype(np.float32))
