"""The type and range of a table's column, inferred as its cells come by."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stackae.data.tables.cells import Reading, as_strings, worth
from stackae.data.tables.columns import MOST_CATEGORIES, Column, Type
from stackae.data.tables.text_cells import Kind, count_nearly_numbers
from stackae.errors import DataError

MOSTLY = 0.9
"""Share of numbers above which a column's other cells are taken for faults."""
_GROUPS: tuple[tuple[Kind, ...], ...] = ((Kind.NUMBER, Kind.TRUTH), (Kind.DURATION,), (Kind.TIME,))
"""The kinds of cells that make one column together."""
_CALLED = ("a finite number", "a duration", "a time")
_CALLED_BY_TYPE = {"numeric": "numeric", "time": "of times"}


class ColumnScan:
    """A column, inferred from its cells, added in their order; `asked` is its type if the config sets it."""

    def __init__(self, name: str, reading: Reading, asked: Type | None = None) -> None:
        self.name, self._reading, self._asked = name, reading, asked
        self._rows = self._empty = self._nearly = 0
        self._low, self._high = math.inf, -math.inf
        self._numbers: set[float] = set()
        self._strings: set[str] = set()
        self._odd_strings: set[str] = set()
        self._counts = dict.fromkeys(Kind, 0)
        self._first: dict[Kind, tuple[str, str]] = {}

    def add(self, cells: pa.Array, path: Path, before: int) -> None:
        """Add cells of a file, of which `before` rows were added already.

        Raises `DataError` at a cell that is not a number where the config makes the column numeric.
        """
        self._rows += len(cells)
        if self._asked == "categorical":
            strings = as_strings(cells, self._reading)
            self._empty += strings.null_count
            _count(self._strings, strings)
            return
        found = worth(cells, self._reading)
        self._empty += found.values.null_count
        filled = found.values.is_valid().to_numpy(zero_copy_only=False)
        counts = np.bincount(found.kinds[filled], minlength=len(Kind))
        for kind in Kind:
            self._counts[kind] += int(counts[kind])
            if counts[kind] and kind not in self._first:
                self._first[kind] = self._place(cells, filled & (found.kinds == kind), path, before)
        if counts[Kind.NONE]:
            if self._asked:
                where, cell = self._first[Kind.NONE]
                what = "a time" if self._asked == "time" else "a finite number"
                raise DataError(
                    f"{where}: {cell} is not {what}, but the column is {_CALLED_BY_TYPE[self._asked]}; "
                    f"{_comma(cell)}correct it, or add it to data.missing"
                )
            odd = as_strings(cells.filter(pa.array(filled & (found.kinds == Kind.NONE))), self._reading)
            self._nearly += count_nearly_numbers(odd)
            _count(self._odd_strings, odd)
        if self._asked is None:
            self._count_strings(cells)
        values = found.values.filter(pc.invert(pc.is_nan(found.values)))
        _count(self._numbers, values)
        extent = pc.min_max(values)
        if extent["min"].is_valid:
            self._low = min(self._low, extent["min"].as_py())
            self._high = max(self._high, extent["max"].as_py())

    def column(self) -> Column:
        """Return the column as inferred; DataError where most of the cells are numbers, but not all."""
        filled = self._rows - self._empty
        type_ = self._asked or self._inferred(filled)
        values: set[Any] = self._strings if type_ == "categorical" else self._numbers
        dropped = None
        if self._asked is None:
            if not filled:
                dropped = "all missing"
            elif len(values) == 1 and not self._empty:
                dropped = "constant"
            elif type_ == "categorical" and (len(values) > MOST_CATEGORIES or len(values) == self._rows):
                dropped = "identifier"
        low, high = (self._low, self._high) if type_ != "categorical" and filled else (None, None)
        distinct = min(len(values), MOST_CATEGORIES + 1)
        return Column(self.name, type_, self._empty, distinct, low, high, dropped)

    def _inferred(self, filled: int) -> Type:
        """Return the type of most cells, if all are of it; DataError where nearly all are."""
        sizes = [sum(self._counts[kind] for kind in group) for group in _GROUPS]
        most = int(np.argmax(sizes))
        if sizes[most] == filled:
            return "time" if _GROUPS[most] == (Kind.TIME,) else "numeric"
        nearly = self._nearly if most == 0 or not sizes[most] else 0
        share = (sizes[most] + nearly) / filled
        # Beside other words true and false are words.
        words = sizes[most] == self._counts[Kind.TRUTH] and not nearly
        # A sign such as '?' stands for a missing value, however often it does.
        signs = not any(letter.isalnum() for string in self._odd_strings for letter in string)
        alone = sizes[most] + self._counts[Kind.NONE] == filled
        if (share >= MOSTLY and not words) or (share > 0 and signs and alone):
            odd = [kind for kind in self._first if kind not in _GROUPS[most]]
            where, cell = self._first[Kind.NONE if Kind.NONE in odd else odd[0]]
            raise DataError(
                f"{where}: {cell} is not {_CALLED[most]}, but most of the column are; "
                f"{_comma(cell)}correct it, add it to data.missing if it stands for a missing value, or call "
                "the column categorical in data.types"
            )
        return "categorical"

    def _count_strings(self, cells: pa.Array) -> None:
        if len(self._strings) <= MOST_CATEGORIES:
            distinct = cells.unique()[: 4 * MOST_CATEGORIES]
            _count(self._strings, as_strings(distinct, self._reading))

    def _place(self, cells: pa.Array, chosen: np.ndarray, path: Path, before: int) -> tuple[str, str]:
        """Say where the first of the chosen cells is, and quote it."""
        first = int(np.argmax(chosen))
        cell = as_strings(cells[first : first + 1], Reading(()))[0]
        return place(path, before + first, self.name), f"'{cell}'"


def place(path: Path, row: int, column: str) -> str:
    """Say where a cell is, to a person, who counts rows from 1; `row` counts from 0."""
    return f"{path}: data row {row + 1:,}, column '{column}'"


def _comma(cell: str) -> str:
    """Return the remedy for numbers with a comma in them, or an empty string."""
    if re.fullmatch(r"'[+-]?[1-9]\d{0,2},\d{3}'", cell):
        return (
            "set data.thousands: ',' if its comma stands between thousands, data.decimal: ',' if it is the "
            "decimal one, "
        )
    if re.fullmatch(r"'[+-]?[\d.]*,\d+'", cell):
        return "set data.decimal: ',' if its comma is the decimal one, "
    if re.fullmatch(r"'[+-]?[\d,.]+'", cell):
        return "take the commas between thousands out, "
    return ""


def _count(distinct: set[Any], values: pa.Array) -> None:
    """Add distinct values until there are more than a column of categories may have."""
    if len(distinct) <= MOST_CATEGORIES:
        distinct.update(values.unique().drop_null()[: MOST_CATEGORIES + 1].to_pylist())
