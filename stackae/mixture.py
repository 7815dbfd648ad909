"""How the probabilities of several classifiers are mixed, by rows that none was fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from stackae.temperature import fit_temperature

PRIOR = 5.0
"""How many rows the shares are worth that are taken for granted, as many for each classifier."""
LEAST = 0.05
"""A smaller share is none, where there is a choice; docs/recipe.md has the figures."""
ROUNDS, CLOSE = 1000, 1e-9
"""Rounds in which shares are found, at most, and the change in one that is none."""
TINY = float(np.finfo(np.float32).tiny)


def logarithms(probabilities: np.ndarray) -> np.ndarray:
    """Return the logarithms of probabilities, in double precision; those of 0 are finite."""
    found: np.ndarray = np.log(np.maximum(probabilities.astype(np.float64), TINY))
    return found


@dataclass(frozen=True)
class Mixture:
    """The mean of several classifiers' probabilities, of which each has one of the `shares`, 1 in all.

    Before, the probabilities of each are raised to a power and normalised: some are too sure of themselves,
    others too little.
    """

    shares: tuple[float, ...]
    powers: tuple[float, ...]

    def of(self, logits: Sequence[np.ndarray]) -> np.ndarray:
        """Mix the probabilities that have these logits, each (rows, classes)."""
        mixed: np.ndarray = sum(
            share * softmax(power * each, axis=1)
            for share, power, each in zip(self.shares, self.powers, logits, strict=True)
        )
        return mixed

    @property
    def parts(self) -> list[int]:
        """The numbers of the classifiers that have a share."""
        return [number for number, share in enumerate(self.shares) if share > 0]

    def without_the_others(self) -> Mixture:
        """Return the mixture of those alone that have a share."""
        return Mixture(*(tuple(each[number] for number in self.parts) for each in (self.shares, self.powers)))


def alike(classifiers: int) -> Mixture:
    """Return the plain mean of so many classifiers."""
    return Mixture((1.0 / classifiers,) * classifiers, (1.0,) * classifiers)


def fit_mixture(
    logits: Sequence[np.ndarray], y: np.ndarray, weight: np.ndarray | None = None, *, least: float = 0.0
) -> Mixture:
    """Find the mixture of classifiers for rows that none was fitted to.

    Logits (rows, classes) of each, classes y (rows,), and how much each row counts, None: alike. The powers
    are the inverse temperatures with the least NLL. The shares are the likeliest under a prior that is worth
    PRIOR rows, spread evenly: few rows leave them nearly equal, many find the best. A share below `least` is
    none, but that of the first.
    """
    powers = tuple(1.0 / fit_temperature(each, y, weight) for each in logits)
    rows = np.arange(len(y))
    told = np.stack([softmax(p * z, axis=1)[rows, y] for p, z in zip(powers, logits, strict=True)], axis=1)
    counts = np.ones(len(y)) if weight is None else weight / weight.mean()
    shares = _shares(np.maximum(told, TINY), counts)
    kept = (shares >= least) | (np.arange(len(shares)) == 0)
    shares = np.where(kept, shares, 0.0)
    return Mixture(tuple((shares / shares.sum()).tolist()), powers)


def _shares(told: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Find shares by expectation and maximisation, from the classes' probabilities (rows, classifiers)."""
    prior = np.full(told.shape[1], PRIOR / told.shape[1])
    shares = prior / PRIOR
    for _ in range(ROUNDS):
        before, likely = shares, told * shares
        likely /= likely.sum(1, keepdims=True)
        shares = (counts @ likely + prior) / (counts.sum() + PRIOR)
        if np.abs(shares - before).max() < CLOSE:
            break
    return shares


def cross_mixed(
    logits: Sequence[np.ndarray],
    y: np.ndarray,
    part: np.ndarray,
    weight: np.ndarray | None = None,
    *,
    least: float = 0.0,
) -> np.ndarray:
    """Mix the probabilities (rows, classes) of each part of the rows as suits the other parts.

    `part` (rows,) numbers them, of which there are two at least; the rest is as for `fit_mixture`.
    """
    mixed = np.empty(logits[0].shape)
    for number in np.unique(part):
        own, others = part == number, part != number
        counts = None if weight is None else weight[others]
        mixture = fit_mixture([each[others] for each in logits], y[others], counts, least=least)
        mixed[own] = mixture.of([each[own] for each in logits])
    return mixed
