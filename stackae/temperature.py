"""The number by which logits are divided, so that probabilities can be believed (Guo et al. 2017)."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.special import softmax

LEAST, MOST = 0.05, 20.0
"""The bounds of a temperature."""


def fit_temperature(logits: np.ndarray, y: np.ndarray) -> float:
    """Find the temperature T, between 0.05 and 20, with the least mean NLL of softmax(logits / T).

    Logits (rows, classes) are of rows that were not learnt from, y (rows,) are their classes. Of n rows each
    label counts for n / (n + 1), the rest for all classes alike: a few rows that are all classified correctly
    do not make every row certain (as the targets of Platt 1999). The NLL is convex in 1 / T, so its
    derivative has one root.
    """
    z = logits.astype(np.float64)
    z -= z.max(1, keepdims=True)
    rest = 1.0 / (len(z) + 1)
    wanted = (1.0 - rest) * z[np.arange(len(z)), y] + rest * z.mean(1)

    def slope(inverse: float) -> float:
        return float(((softmax(inverse * z, axis=1) * z).sum(1) - wanted).mean())

    low, high = 1.0 / MOST, 1.0 / LEAST
    if slope(low) >= 0:
        return MOST
    if slope(high) <= 0:
        return LEAST
    return 1.0 / float(brentq(slope, low, high, xtol=1e-12))


def cross_fitted(logits: np.ndarray, y: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Divide the logits of each part of the rows by the temperature that the other parts have.

    `part` (rows,) numbers them, of which there are two at least.
    """
    tempered = logits.astype(np.float64)
    for number in np.unique(part):
        tempered[part == number] /= fit_temperature(logits[part != number], y[part != number])
    return tempered
