"""The type and range of a table's column, inferred as its cells come by."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from stackae.data.tables.cells import (
    as_numbers,
    as_strings,
    count_nearly_numbers,
    is_string,
    strings_as_numbers,
)
from stackae.data.tables.columns import MOST_CATEGORIES, Column, Type
from stackae.errors import DataError

_MOSTLY = 0.9
"""Share of numbers above which a column's other cells are taken for faults."""


class ColumnScan:
    """A column, inferred from its cells, added in their order; `asked` is its type if the config sets it."""

    def __init__(self, name: str, missing: pa.Array, asked: Type | None = None) -> None:
        self.name, self._missing, self._asked = name, missing, asked
        self._rows = self._empty = self._odd = self._nearly = 0
        self._low, self._high = math.inf, -math.inf
        self._numbers: set[float] = set()
        self._strings: set[str] = set()
        self._odd_strings: set[str] = set()
        self._first_odd = ("", "")

    def add(self, cells: pa.Array, path: Path, before: int) -> None:
        """Add cells of a file, of which `before` rows were added already.

        Raises `DataError` at a cell that is not a number where the config makes the column numeric.
        """
        strings = as_strings(cells, self._missing)
        self._rows += len(strings)
        self._empty += strings.null_count
        _count(self._strings, strings)
        if self._asked == "categorical":
            return
        values = strings_as_numbers(strings) if is_string(cells.type) else as_numbers(cells, self._missing)
        odd = pc.is_nan(values)
        first = pc.index(odd, True).as_py()
        if first >= 0:
            odd_strings = strings.filter(odd)
            if not self._odd:
                self._first_odd = place(path, before + first, self.name), f"'{odd_strings[0]}'"
            if self._asked == "numeric":
                where, cell = self._first_odd
                raise DataError(
                    f"{where}: {cell} is not a finite number, but the column is numeric; "
                    f"{_comma(cell)}correct it, or add it to data.missing"
                )
            self._odd += len(odd_strings)
            self._nearly += count_nearly_numbers(odd_strings)
            _count(self._odd_strings, odd_strings)
            values = values.filter(pc.invert(odd))
        _count(self._numbers, values)
        extent = pc.min_max(values)
        if extent["min"].is_valid:
            self._low, self._high = (
                min(self._low, extent["min"].as_py()),
                max(self._high, extent["max"].as_py()),
            )

    def column(self) -> Column:
        """Return the column as inferred; DataError where most of the cells are numbers, but not all."""
        filled = self._rows - self._empty
        type_: Type = self._asked or ("categorical" if self._odd else "numeric")
        if self._asked is None and self._odd:
            self._refuse_mixed(filled)
        values: set[Any] = self._numbers if type_ == "numeric" else self._strings
        dropped = None
        if self._asked is None:
            if not filled:
                dropped = "all missing"
            elif len(values) == 1 and not self._empty:
                dropped = "constant"
            elif type_ == "categorical" and (len(values) > MOST_CATEGORIES or len(values) == self._rows):
                dropped = "identifier"
        low, high = (self._low, self._high) if type_ == "numeric" and filled else (None, None)
        distinct = min(len(values), MOST_CATEGORIES + 1)
        return Column(self.name, type_, self._empty, distinct, low, high, dropped)

    def _refuse_mixed(self, filled: int) -> None:
        share = (filled - self._odd + self._nearly) / filled
        # A sign such as '?' stands for a missing value, however often it does.
        signs = not any(letter.isalnum() for string in self._odd_strings for letter in string)
        if share >= _MOSTLY or (share > 0 and signs):
            where, cell = self._first_odd
            raise DataError(
                f"{where}: {cell} is not a finite number, but most of the column are; "
                f"{_comma(cell)}correct it, add it to data.missing if it stands for a missing value, or call "
                "the column categorical in data.types"
            )


def _comma(cell: str) -> str:
    """Return the remedy for numbers with a comma in them, or an empty string."""
    if re.fullmatch(r"'[+-]?[\d.]*,\d+'", cell):
        return "set data.decimal: ',' if its comma is the decimal one, "
    if re.fullmatch(r"'[+-]?[\d,.]+'", cell):
        return "take the commas between thousands out, "
    return ""


def place(path: Path, row: int, column: str) -> str:
    """Say where a cell is, to a person, who counts rows from 1; `row` counts from 0."""
    return f"{path}: data row {row + 1:,}, column '{column}'"


def _count(distinct: set[Any], values: pa.Array) -> None:
    """Add distinct values until there are more than a column of categories may have."""
    if len(distinct) <= MOST_CATEGORIES:
        distinct.update(values.unique().drop_null()[: MOST_CATEGORIES + 1].to_pylist())
