"""Labels that spread to unlabelled rows over a graph of near neighbours."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import scipy.sparse as sparse

from stackae.data.features import Together
from stackae.plan.cost import GRAPH_ROWS
from stackae.stages.input_scale import importances

NEIGHBOURS = 10
"""To how many others a row is tied, at least."""
SURE = 0.99
"""How much of what a neighbour says is believed; the rest is spread over all classes."""
ROUNDS = 100


def rows_beside(x: Together, labelled: np.ndarray, train: int, seed: int) -> np.ndarray:
    """Return training rows (rows, columns) that are not among the labelled ones, at most for a whole graph.

    `train` is the number of training rows, which come first in x.
    """
    others = np.setdiff1d(np.arange(train), labelled)
    most = max(0, GRAPH_ROWS - len(labelled))
    if len(others) > most:
        others = np.sort(np.random.default_rng(seed).choice(others, most, replace=False))
    return x.take(others).reshape(len(others), math.prod(x.shape[1:]))


class Spreading:
    """scikit-learn's `LabelSpreading` on the columns that matter, over labelled and other rows.

    Columns are multiplied by the root of their importance to extra trees that are fitted to the labelled
    rows. Each row is tied to its ten nearest, by a Gaussian kernel as wide as the distances to the tenth of
    both (Zelnik-Manor & Perona 2004). Labels spread with a share of `alpha` from neighbours in each round
    (Zhou et al. 2003). A new row is as its ten nearest are.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, others: np.ndarray, seed: int) -> None:
        """Build the graph of the rows x (rows, columns), with classes y (rows,), and of `others`."""
        from sklearn.neighbors import NearestNeighbors

        self.scale = np.sqrt(importances(x, y, np.arange(len(x)), seed, weight=None).numpy())
        self.rows = np.concatenate([x, others]) * self.scale
        self.classes_, known = np.unique(y, return_inverse=True)
        self._y = np.concatenate([known, np.full(len(others), -1)])
        self.nearest = min(NEIGHBOURS, len(self.rows) - 1)
        self._tree = NearestNeighbors(n_neighbors=self.nearest).fit(self.rows)
        self._graph = self._ties()
        self.shares = np.empty((0, 0))

    def spread(self, alpha: float) -> Spreading:
        """Spread the labels; then it knows the classes' shares of every row."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.semi_supervised import LabelSpreading

        spreading = LabelSpreading(kernel=lambda one, other: self._graph, alpha=alpha, max_iter=ROUNDS)
        with warnings.catch_warnings():
            # So many rounds are enough for what is read from them.
            warnings.simplefilter("ignore", ConvergenceWarning)
            # Rows that no label reaches are divided by nothing.
            warnings.simplefilter("ignore", RuntimeWarning)
            spreading.fit(self.rows, self._y)
        shares = np.nan_to_num(spreading.label_distributions_)
        self.shares = SURE * shares + (1 - SURE) / shares.shape[1]
        return self

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Return the probabilities (rows, classes) of rows."""
        distance, near = self._tree.kneighbors(x * self.scale)
        weight = _kernel(distance, distance[:, -1:])
        mean: np.ndarray = (weight[:, :, None] * self.shares[near]).sum(1) / weight.sum(1, keepdims=True)
        shares: np.ndarray = mean / mean.sum(1, keepdims=True)
        return shares

    def _ties(self) -> Any:
        """Return the weights of the graph's edges, a symmetric sparse matrix (rows, rows)."""
        distance, near = self._tree.kneighbors()
        reach = distance[:, -1]
        weight = _kernel(distance, np.sqrt(reach[:, None] * reach[near]))
        starts = np.arange(0, near.size + 1, near.shape[1])
        ties = sparse.csr_matrix((weight.ravel(), near.ravel(), starts), shape=(len(near), len(near)))
        return ties.maximum(ties.T)


def _kernel(distance: np.ndarray, width: np.ndarray) -> np.ndarray:
    # Of rows that lie in one place none is nearer than others.
    weight: np.ndarray = np.exp(-np.square(distance / np.maximum(width, 1e-12)))
    return weight
