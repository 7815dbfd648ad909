"""Where in the day, the week and the year times are, as the points of a circle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Part = Literal["hour", "weekday", "month"]
Floats = npt.NDArray[np.float64]

_DAY = 86_400.0
PERIODS: dict[Part, tuple[float, float]] = {
    "hour": (_DAY, 0.0),
    "weekday": (7 * _DAY, 3 * _DAY),
    "month": (365.2425 * _DAY, 0.0),
}
"""How many seconds each takes until it comes again, and how many had passed of it when 1970 began.

Weeks begin on Monday; the year is the mean one of the calendar, so that a month is a twelfth of it.
"""
LEAST_PERIODS = 2
"""Times of a shorter span say nothing of what comes again."""


@dataclass(frozen=True)
class Cycle:
    """A part of a column's times: two features, sine and cosine, from -1 to 1, or from 0 to 1 as a `unit`.

    Both are in the middle where the time is missing.
    """

    column: str
    part: Part
    unit: bool

    def names(self) -> list[str]:
        """Return the names of the features, as 'when hour sin' and 'when hour cos'."""
        return [f"{self.column} {self.part} {function}" for function in ("sin", "cos")]

    def features(self, seconds: Floats) -> Floats:
        """Return the features (rows, 2) of times in seconds since 1970, NaN where one is missing."""
        angle = 2 * np.pi * phase(seconds, self.part)
        point = np.nan_to_num(np.column_stack([np.sin(angle), np.cos(angle)]))
        features: Floats = (point + 1) / 2 if self.unit else point
        return features


def phase(seconds: Floats, part: Part) -> Floats:
    """Return how much of the day, the week or the year has passed at each time, from 0 to 1."""
    period, before = PERIODS[part]
    periods = (seconds + before) / period
    passed: Floats = periods - np.floor(periods)
    return passed


def cycles_of(column: str, seconds: Floats, *, unit: bool) -> Iterator[Cycle]:
    """Yield the parts that training times have: of two periods at least, and not always the same."""
    known = seconds[~np.isnan(seconds)]
    for part, (period, _) in PERIODS.items():
        if np.ptp(known) >= LEAST_PERIODS * period and np.ptp(phase(known, part)) > 0:
            yield Cycle(column, part, unit)
