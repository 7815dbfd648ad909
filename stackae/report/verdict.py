"""Whether pretraining helped: the paired comparison with the network trained from scratch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Verdict:
    """`gain` in accuracy over scratch on the same test rows, its 95 % interval, and the p-value.

    These are of one repetition, over its test rows, or over several repetitions, of their mean gain.
    """

    gain: float
    ci95: tuple[float, float]
    p: float
    text: str


def verdict(pretrained: Sequence[np.ndarray], scratch: Sequence[np.ndarray]) -> Verdict:
    """Compare two classifiers by which test rows each got right: boolean arrays (rows,), one per repetition.

    With one repetition they are compared over the rows, by `paired`; with several over the repetitions, by
    `repeated`.
    """
    before, after = (float(np.mean([right.mean() for right in each])) for each in (scratch, pretrained))
    rows = len(pretrained[0])
    compared: Comparison
    if len(pretrained) == 1:
        compared = paired(pretrained[0], scratch[0])
    else:
        gains = [own.mean() - other.mean() for own, other in zip(pretrained, scratch, strict=True)]
        compared = repeated(gains, rows)
    change = f"from {1 - before:.2%} to {1 - after:.2%}".replace("%", " %")
    evidence = f"({compared.evidence(rows)})"
    if compared.p < 0.05 and compared.gain > 0:
        text = f"Pretraining lowered the test error {change} {evidence}."
    elif compared.p < 0.05 and compared.gain < 0:
        text = f"Pretraining raised the test error {change} {evidence}: train from scratch here."
    else:
        text = f"Pretraining made no clear difference: test error {change} {evidence}."
    return Verdict(compared.gain, compared.ci95, compared.p, text)


class Comparison(Protocol):
    """How much more often one classifier is right than another, and how sure that is."""

    @property
    def gain(self) -> float: ...

    @property
    def ci95(self) -> tuple[float, float]: ...

    @property
    def p(self) -> float: ...

    def evidence(self, rows: int) -> str:
        """Return gain, interval and p-value in words."""


@dataclass(frozen=True)
class Paired:
    """How much more often one classifier is right than another on the same rows, and how sure that is."""

    gain: float
    ci95: tuple[float, float]
    p: float

    def evidence(self, rows: int) -> str:
        """Return gain, interval and p-value in words."""
        return f"{_figures(self)}, McNemar p = {self.p:.2g}, {rows:,} test rows"


def paired(first: np.ndarray, second: np.ndarray) -> Paired:
    """Compare which rows a first and a second classifier got right: boolean arrays (rows,).

    The interval is the adjusted Wald interval for paired proportions (Bonett & Price 2012, equation
    5), the p-value that of McNemar's exact test: two-sided binomial on the rows that exactly one of
    the two got right.
    """
    from scipy.stats import binomtest

    rows = len(first)
    won, lost = int((first & ~second).sum()), int((~first & second).sum())
    share_won, share_lost = (won + 1) / (rows + 2), (lost + 1) / (rows + 2)
    centre = share_won - share_lost
    half = 1.959964 * math.sqrt((share_won + share_lost - centre**2) / (rows + 2))
    p = float(binomtest(won, won + lost).pvalue) if won + lost else 1.0
    return Paired((won - lost) / rows, (max(-1.0, centre - half), min(1.0, centre + half)), p)


@dataclass(frozen=True)
class Repeated:
    """How much more often one classifier is right than another on average over repetitions."""

    gain: float
    ci95: tuple[float, float]
    p: float
    repetitions: int

    def evidence(self, rows: int) -> str:
        """Return gain, interval and p-value in words."""
        over = f"over {self.repetitions} repetitions on the same {rows:,} test rows"
        return f"{_figures(self)} {over}, paired t-test p = {self.p:.2g}"


def repeated(gains: Sequence[float], rows: int) -> Repeated:
    """Compare two classifiers by what the first gained in accuracy in each of several repetitions.

    Interval and p-value are Student's, of the mean of the paired differences; what they hold for is repeating
    with the same test rows, of which there are `rows`. Accuracies are shares of whole rows: where all gains
    are the same, their spread is taken to be that of rounding, since none would make any gain certain.
    """
    from scipy.stats import t

    count, gain = len(gains), float(np.mean(gains))
    same = np.allclose(gains, gain, rtol=0, atol=1e-12)
    spread = 1 / (rows * math.sqrt(12)) if same else float(np.std(gains, ddof=1))
    error = spread / math.sqrt(count)
    half = float(t.ppf(0.975, count - 1)) * error
    p = float(2 * t.sf(abs(gain) / error, count - 1))
    return Repeated(gain, (max(-1.0, gain - half), min(1.0, gain + half)), p, count)


def _figures(compared: Comparison) -> str:
    low, high = compared.ci95
    return f"gain {100 * compared.gain:+.2f} points, 95 % interval {100 * low:+.2f} to {100 * high:+.2f}"
