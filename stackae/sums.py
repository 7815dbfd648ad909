"""Sums over an epoch's rows, of which the means are logged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor


class Sums:
    """Sums over an epoch's rows, by name."""

    def __init__(self) -> None:
        self.totals: dict[str, float | Tensor] = {}
        self.rows = 0

    def add(self, rows: int, terms: Mapping[str, Tensor]) -> None:
        """Add a batch's mean terms, without waiting for a device."""
        self.rows += rows
        for name, term in terms.items():
            # A number is cheaper than a tensor where it can be had at once.
            value = term.item() if term.is_cpu else term.detach()
            self.totals[name] = self.totals.get(name, 0.0) + value * rows

    def mean(self, name: str) -> float:
        """Return the mean of a term over the rows."""
        return float(self.totals[name]) / self.rows

    def means(self) -> dict[str, float]:
        """Return the mean of each term over the rows."""
        return {name: self.mean(name) for name in self.totals}

    def state(self) -> dict[str, Any]:
        """Return the sums as plain data, from which `joined` makes them again."""
        return {"sums": {name: float(total) for name, total in self.totals.items()}, "rows": self.rows}

    @classmethod
    def joined(cls, states: Iterable[Mapping[str, Any]]) -> Sums:
        """Return the sums over the rows of all that have such a state."""
        joined = cls()
        for state in states:
            joined.rows += state["rows"]
            for name, total in state["sums"].items():
                joined.totals[name] = joined.totals[name] + total if name in joined.totals else total
        return joined
