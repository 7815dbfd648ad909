"""Whether pretraining helped: the paired comparison with the network trained from scratch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Verdict:
    """`gain` in accuracy over scratch on the same test rows, its 95 % interval, and McNemar's exact p."""

    gain: float
    ci95: tuple[float, float]
    p: float
    text: str


def verdict(pretrained: np.ndarray, scratch: np.ndarray) -> Verdict:
    """Compare two classifiers by which test rows each got right: boolean arrays (rows,).

    The interval is the adjusted Wald interval for paired proportions (Bonett & Price 2012, equation
    5), the p-value that of McNemar's exact test: two-sided binomial on the rows that exactly one of
    the two got right.
    """
    comparison = paired(pretrained, scratch)
    change = f"from {1 - scratch.mean():.2%} to {1 - pretrained.mean():.2%}".replace("%", " %")
    evidence = f"({comparison.evidence(len(pretrained))})"
    if comparison.p < 0.05 and comparison.gain > 0:
        text = f"Pretraining lowered the test error {change} {evidence}."
    elif comparison.p < 0.05 and comparison.gain < 0:
        text = f"Pretraining raised the test error {change} {evidence}: train from scratch here."
    else:
        text = f"Pretraining made no clear difference: test error {change} {evidence}."
    return Verdict(comparison.gain, comparison.ci95, comparison.p, text)


@dataclass(frozen=True)
class Paired:
    """How much more often one classifier is right than another on the same rows, and how sure that is."""

    gain: float
    ci95: tuple[float, float]
    p: float

    def evidence(self, rows: int) -> str:
        """Return gain, interval and p-value in words."""
        low, high = self.ci95
        figures = f"gain {100 * self.gain:+.2f} points, 95 % interval {100 * low:+.2f} to {100 * high:+.2f}"
        return f"{figures}, McNemar p = {self.p:.2g}, {rows:,} test rows"


def paired(first: np.ndarray, second: np.ndarray) -> Paired:
    """Compare which rows a first and a second classifier got right: boolean arrays (rows,)."""
    from scipy.stats import binomtest

    rows = len(first)
    won, lost = int((first & ~second).sum()), int((~first & second).sum())
    share_won, share_lost = (won + 1) / (rows + 2), (lost + 1) / (rows + 2)
    centre = share_won - share_lost
    half = 1.959964 * math.sqrt((share_won + share_lost - centre**2) / (rows + 2))
    p = float(binomtest(won, won + lost).pvalue) if won + lost else 1.0
    return Paired((won - lost) / rows, (max(-1.0, centre - half), min(1.0, centre + half)), p)
