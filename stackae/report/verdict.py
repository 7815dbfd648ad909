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
    """Compares two classifiers by which test rows each got right: boolean arrays (rows,).

    The interval is the adjusted Wald interval for paired proportions (Bonett & Price 2012, equation
    5), the p-value that of McNemar's exact test: two-sided binomial on the rows that exactly one of
    the two got right.
    """
    from scipy.stats import binomtest

    rows = len(pretrained)
    won = int((pretrained & ~scratch).sum())
    lost = int((~pretrained & scratch).sum())
    gain = (won - lost) / rows
    share_won, share_lost = (won + 1) / (rows + 2), (lost + 1) / (rows + 2)
    centre = share_won - share_lost
    half = 1.959964 * math.sqrt((share_won + share_lost - centre**2) / (rows + 2))
    low, high = max(-1.0, centre - half), min(1.0, centre + half)
    p = float(binomtest(won, won + lost).pvalue) if won + lost else 1.0
    before, after = 1 - scratch.mean(), 1 - pretrained.mean()
    return Verdict(gain, (low, high), p, _text(before, after, gain, (low, high), p, rows))


def _text(before: float, after: float, gain: float, ci: tuple[float, float], p: float, rows: int) -> str:
    change = f"from {before:.2%} to {after:.2%}".replace("%", " %")
    figures = f"gain {100 * gain:+.2f} points, 95 % interval {100 * ci[0]:+.2f} to {100 * ci[1]:+.2f}"
    evidence = f"({figures}, McNemar p = {p:.2g}, {rows:,} test rows)"
    if p < 0.05 and gain > 0:
        return f"Pretraining lowered the test error {change} {evidence}."
    if p < 0.05 and gain < 0:
        return f"Pretraining raised the test error {change} {evidence}: train from scratch here."
    return f"Pretraining made no clear difference: test error {change} {evidence}."
