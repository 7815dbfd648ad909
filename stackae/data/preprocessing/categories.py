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
    """A categorical column: its features' names, and which of them stands for which category.

    `feature` has the number of each category's feature, by its place in `index`, then that of a missing
    category and that of one that is not in the index; -1 where there is none.
    """

    column: str
    names: list[str]
    index: pd.Index
    feature: np.ndarray

    @property
    def unseen(self) -> int:
        """The place in `feature` of what is not in the index."""
        return len(self.index) + 1

    @cached_property
    def _places(self) -> dict[Any, int]:
        return {None: len(self.index), **{category: place for place, category in enumerate(self.index)}}

    def find(self, column: pd.Series) -> np.ndarray:
        """The place in `feature` of each row's category; DataError at a cell that can be none."""
        import pandas as pd

        cells = column.to_numpy(object)
        try:
            # A dict, as pandas spends more on each chunk than on the cells in it.
            found = np.fromiter(map(self._places.get, cells, repeat(-1)), np.intp, len(cells))
        except TypeError:
            row = next(at for at, cell in enumerate(cells) if not _can_be_looked_up(cell))
            raise DataError(
                f"column '{self.column}', row {row + 1:,} of those given: "
                f"a {type(cells[row]).__name__} is no category; give a text or a number"
            ) from None
        others = np.flatnonzero(found < 0)
        if len(others):
            codes, distinct = pd.factorize(cells[others])
            texts = [_text(cell) for cell in distinct]
            places = np.array([self._places.get(text, -1) for text in texts], np.intp)
            # A column of whole numbers is written with points as soon as one of its cells is empty.
            unknown = np.flatnonzero(places < 0)
            if len(unknown):
                known = {_without_point(str(one)): place for place, one in enumerate(self.index)}
                places[unknown] = [known.get(_without_point(texts[at]), -1) for at in unknown]
            # A missing cell has the code -1, and so gets what is last.
            found[others] = np.append(np.where(places < 0, self.unseen, places), len(self.index))[codes]
        return found


def read_encoder(encoder: Any, columns: Sequence[str]) -> list[Categories]:
    """What a fitted OneHotEncoder does, column by column: the common categories, then the rare as one."""
    import pandas as pd

    made = []
    for column, categories, rare in zip(
        columns, encoder.categories_, encoder.infrequent_categories_, strict=True
    ):
        pooled = set() if rare is None else set(rare)
        common = [category for category in categories if category not in pooled]
        number = {category: at for at, category in enumerate(common)}
        last = len(common) if pooled else -1
        names = [f"{column} missing" if one is None else f"{column}={one}" for one in common]
        index = pd.Index([category for category in categories if category is not None], dtype=object)
        feature = [number.get(category, last) for category in [*index, None]]
        names += [f"{column} rare"] if pooled else []
        made.append(Categories(column, names, index, np.array([*feature, last])))
    return made


def _can_be_looked_up(cell: object) -> bool:
    try:
        hash(cell)
    except TypeError:
        return False
    return True


def _without_point(text: str) -> str:
    return re.sub(r"^([+-]?\d+)\.0*$", r"\1", text)


def _text(cell: Any) -> str:
    """A category as a file would have it: whole numbers without a point."""
    return str(int(cell)) if isinstance(cell, float | np.floating) and cell.is_integer() else str(cell)
