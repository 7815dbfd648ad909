"""What the values of a table's column are, found out as its cells come by."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from stackae.data.tables.cells import is_text, nearly_numbers, numbers, parse, texts
from stackae.data.tables.columns import MOST_CATEGORIES, Column, Type
from stackae.errors import DataError

_MOSTLY = 0.9
"""Share of numbers above which a column's other cells are taken for faults."""


class Finding:
    """A column whose cells are added in their order; `asked` is the type that it is said to have."""

    def __init__(self, name: str, missing: pa.Array, asked: Type | None = None) -> None:
        self.name, self._missing, self._asked = name, missing, asked
        self._rows = self._empty = self._odd = self._nearly = 0
        self._low, self._high = math.inf, -math.inf
        self._numbers: set[float] = set()
        self._texts: set[str] = set()
        self._odd_texts: set[str] = set()
        self._first_odd = ("", "")

    def add(self, cells: pa.Array, path: Path, before: int) -> None:
        """Adds cells of a file, of which `before` rows were added already.

        Raises `DataError` at a cell that is no number where the column is said to be numeric.
        """
        given = texts(cells, self._missing)
        self._rows += len(given)
        self._empty += given.null_count
        _count(self._texts, given)
        if self._asked == "categorical":
            return
        values = parse(given) if is_text(cells.type) else numbers(cells, self._missing)
        odd = pc.is_nan(values)
        first = pc.index(odd, True).as_py()
        if first >= 0:
            others = given.filter(odd)
            if not self._odd:
                self._first_odd = place(path, before + first, self.name), f"'{others[0]}'"
            if self._asked == "numeric":
                at, cell = self._first_odd
                raise DataError(
                    f"{at}: {cell} is no finite number, but the column is numeric; {_comma(cell)}correct it, "
                    "or add it to data.missing"
                )
            self._odd += len(others)
            self._nearly += nearly_numbers(others)
            _count(self._odd_texts, others)
            values = values.filter(pc.invert(odd))
        _count(self._numbers, values)
        ends = pc.min_max(values)
        if ends["min"].is_valid:
            self._low, self._high = min(self._low, ends["min"].as_py()), max(self._high, ends["max"].as_py())

    def column(self) -> Column:
        """What was found; DataError where most of the cells are numbers, but not all."""
        given = self._rows - self._empty
        type_: Type = self._asked or ("categorical" if self._odd else "numeric")
        if self._asked is None and self._odd:
            self._refuse_mixed(given)
        found: set[Any] = self._numbers if type_ == "numeric" else self._texts
        dropped = None
        if self._asked is None:
            if not given:
                dropped = "all missing"
            elif len(found) == 1 and not self._empty:
                dropped = "constant"
            elif type_ == "categorical" and (len(found) > MOST_CATEGORIES or len(found) == self._rows):
                dropped = "identifier"
        low, high = (self._low, self._high) if type_ == "numeric" and given else (None, None)
        distinct = min(len(found), MOST_CATEGORIES + 1)
        return Column(self.name, type_, self._empty, distinct, low, high, dropped)

    def _refuse_mixed(self, given: int) -> None:
        share = (given - self._odd + self._nearly) / given
        # A sign such as '?' stands for a missing value, however often it does.
        signs = not any(letter.isalnum() for text in self._odd_texts for letter in text)
        if share >= _MOSTLY or (share > 0 and signs):
            at, cell = self._first_odd
            raise DataError(
                f"{at}: {cell} is no finite number, but most of the column are; {_comma(cell)}correct it, "
                "add it to data.missing if it stands for a missing value, or call the column categorical in "
                "data.types"
            )


def _comma(cell: str) -> str:
    """A remedy for numbers with a comma in them."""
    if re.fullmatch(r"'[+-]?[\d.]*,\d+'", cell):
        return "set data.decimal: ',' if its comma is the decimal one, "
    if re.fullmatch(r"'[+-]?[\d,.]+'", cell):
        return "take the commas between thousands out, "
    return ""


def place(path: Path, row: int, column: str) -> str:
    """Where a cell is, to a person, who counts rows from 1; `row` counts from 0."""
    return f"{path}: data row {row + 1:,}, column '{column}'"


def _count(known: set[Any], given: pa.Array) -> None:
    """Adds distinct values until there are more than a column of categories may have."""
    if len(known) <= MOST_CATEGORIES:
        known.update(given.unique().drop_null()[: MOST_CATEGORIES + 1].to_pylist())
