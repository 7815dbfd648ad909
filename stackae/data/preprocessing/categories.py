"""The categories of a table's columns, and the features that stand for them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np

from stackae.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Categories:
    """A categorical column: its features' names, and which of them represents which category.

    `feature` has the number of each category's feature, by its place in `index`, then that of a missing
    category and that of one that is not in the index; -1 where there is none.
    """

    column: str
    names: list[str]
    index: pd.Index
    feature: np.ndarray

    @property
    def unseen(self) -> int:
        """The place in `feature` of a category that is not in the index."""
        return len(self.index) + 1

    @cached_property
    def _places(self) -> dict[Any, int]:
        return {None: len(self.index), **{category: place for place, category in enumerate(self.index)}}

    def find(self, column: pd.Series) -> np.ndarray:
        """Return the place in `feature` of each row's category; DataError at a cell that can be none."""
        import pandas as pd

        cells = column.to_numpy(object)
        try:
            # A dict, as pandas spends more on each chunk than on the cells in it.
            positions = np.fromiter(map(self._places.get, cells, repeat(-1)), np.intp, len(cells))
        except TypeError:
            row = next(row for row, cell in enumerate(cells) if not _is_hashable(cell))
            raise DataError(
                f"column '{self.column}', row {row + 1:,} of those given: "
                f"a {type(cells[row]).__name__} is not a category; give a string or a number"
            ) from None
        unmatched = np.flatnonzero(positions < 0)
        if len(unmatched):
            codes, distinct = pd.factorize(cells[unmatched])
            strings = [_as_string(cell) for cell in distinct]
            places = np.array([self._places.get(string, -1) for string in strings], np.intp)
            # A column of whole numbers is written with points as soon as one of its cells is empty.
            unknown = np.flatnonzero(places < 0)
            if len(unknown):
                by_string = {
                    _without_point(str(category)): place for place, category in enumerate(self.index)
                }
                places[unknown] = [by_string.get(_without_point(strings[number]), -1) for number in unknown]
            # A missing cell has the code -1, and so gets the last place.
            positions[unmatched] = np.append(np.where(places < 0, self.unseen, places), len(self.index))[
                codes
            ]
        return positions


def read_encoder(encoder: Any, columns: Sequence[str]) -> list[Categories]:
    """Read the categories of a fitted OneHotEncoder by column: the common ones, then the rare as one."""
    import pandas as pd

    encoded = []
    for column, categories, rare in zip(
        columns, encoder.categories_, encoder.infrequent_categories_, strict=True
    ):
        pooled = set() if rare is None else set(rare)
        common = [category for category in categories if category not in pooled]
        number = {category: n for n, category in enumerate(common)}
        last = len(common) if pooled else -1
        names = [f"{column} missing" if category is None else f"{column}={category}" for category in common]
        index = pd.Index([category for category in categories if category is not None], dtype=object)
        feature = [number.get(category, last) for category in [*index, None]]
        names += [f"{column} rare"] if pooled else []
        encoded.append(Categories(column, names, index, np.array([*feature, last])))
    return encoded


def _is_hashable(cell: object) -> bool:
    try:
        hash(cell)
    except TypeError:
        return False
    return True


def _without_point(string: str) -> str:
    return re.sub(r"^([+-]?\d+)\.0*$", r"\1", string)


def _as_string(cell: Any) -> str:
    """Write a category as a file would have it: whole numbers without a point."""
    return str(int(cell)) if isinstance(cell, float | np.floating) and cell.is_integer() else str(cell)
