"""The number by which logits are divided, so that probabilities can be believed (Guo et al. 2017)."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.special import logsumexp, softmax

LEAST, MOST = 0.05, 20.0
"""The bounds of a temperature."""


def fit_temperature(logits: np.ndarray, y: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Find the temperature T, between 0.05 and 20, with the least mean NLL of softmax(logits / T).

    Logits (rows, classes) are of rows that were not learnt from, y (rows,) are their classes. Of n rows each
    label counts for n / (n + 1), the rest for all classes alike: a few rows that are all classified correctly
    do not make every row certain (as the targets of Platt 1999). The NLL is convex in 1 / T, so its
    derivative has one root. `weight` (rows,) says how much each row counts in the mean; None: alike.
    """
    z = logits.astype(np.float64)
    z -= z.max(1, keepdims=True)
    rest = 1.0 / (len(z) + 1)
    wanted = (1.0 - rest) * z[np.arange(len(z)), y] + rest * z.mean(1)

    def slope(inverse: float) -> float:
        slopes = (softmax(inverse * z, axis=1) * z).sum(1) - wanted
        return float(np.average(slopes, weights=weight))

    low, high = 1.0 / MOST, 1.0 / LEAST
    if slope(low) >= 0:
        return MOST
    if slope(high) <= 0:
        return LEAST
    return 1.0 / float(brentq(slope, low, high, xtol=1e-12))


def cross_fitted(
    logits: np.ndarray, y: np.ndarray, part: np.ndarray, weight: np.ndarray | None = None
) -> np.ndarray:
    """Divide the logits of each part of the rows by the temperature that the other parts have.

    `part` (rows,) numbers them, of which there are two at least.
    """
    tempered = logits.astype(np.float64)
    for number in np.unique(part):
        others = part != number
        own = None if weight is None else weight[others]
        tempered[~others] /= fit_temperature(logits[others], y[others], own)
    return tempered


def losses(logits: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Compute the negative log-likelihood of each row's class, (rows,), in nats."""
    logits = logits.astype(np.float64)
    nll: np.ndarray = logsumexp(logits, axis=1) - logits[np.arange(len(y)), y]
    return nll
