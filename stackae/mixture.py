"""How the probabilities of two classifiers are mixed, by rows that neither was fitted to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from stackae.temperature import fit_temperature, losses

SHARES = np.linspace(0.0, 1.0, 21)
"""The shares of the first that are weighed against each other."""
TINY = float(np.finfo(np.float32).tiny)


def logarithms(probabilities: np.ndarray) -> np.ndarray:
    """Return the logarithms of probabilities, in double precision; those of 0 are finite."""
    found: np.ndarray = np.log(np.maximum(probabilities.astype(np.float64), TINY))
    return found


@dataclass(frozen=True)
class Mixture:
    """The mean of two classifiers' probabilities, `share` of it the first's.

    Before, the probabilities of each are raised to a power and normalised: the first are often too sure of
    themselves, the others too little.
    """

    share: float = 0.5
    powers: tuple[float, float] = (1.0, 1.0)

    def of(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Mix the probabilities that have these logits, both (rows, classes)."""
        one, other = (
            softmax(power * logits, axis=1)
            for power, logits in zip(self.powers, (first, second), strict=True)
        )
        mixed: np.ndarray = self.share * one + (1.0 - self.share) * other
        return mixed


def fit_mixture(
    first: np.ndarray, second: np.ndarray, y: np.ndarray, weight: np.ndarray | None = None
) -> Mixture:
    """Find the mixture of two classifiers for rows that neither was fitted to.

    Logits (rows, classes) of both, classes y (rows,), and how much each row counts, None: alike. The powers
    are the inverse temperatures with the least NLL. The share is the mean over shares from 0 to 1, each as
    likely as it makes the classes: few rows leave it near a half, many find the best.
    """
    powers = (1.0 / fit_temperature(first, y, weight), 1.0 / fit_temperature(second, y, weight))
    rows = np.arange(len(y))
    one, other = (softmax(p * z, axis=1)[rows, y] for p, z in zip(powers, (first, second), strict=True))
    counts = np.ones(len(y)) if weight is None else weight / weight.mean()
    told = np.array([(counts * logarithms(share * one + (1 - share) * other)).sum() for share in SHARES])
    likely = np.exp(told - told.max())
    return Mixture(float((likely * SHARES).sum() / likely.sum()), powers)


def cross_mixed(
    first: np.ndarray,
    second: np.ndarray,
    y: np.ndarray,
    part: np.ndarray,
    weight: np.ndarray | None = None,
) -> np.ndarray:
    """Mix the probabilities (rows, classes) of each part of the rows as suits the other parts.

    `part` (rows,) numbers them, of which there are two at least.
    """
    mixed = np.empty(first.shape)
    for number in np.unique(part):
        own, others = part == number, part != number
        counts = None if weight is None else weight[others]
        mixed[own] = fit_mixture(first[others], second[others], y[others], counts).of(first[own], second[own])
    return mixed


def log_loss(probabilities: np.ndarray, y: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Compute the mean negative log-likelihood of classes, in nats."""
    nll = losses(logarithms(probabilities), y)
    return float(np.average(nll, weights=weight))
