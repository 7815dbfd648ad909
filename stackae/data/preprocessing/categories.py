"""The categories of a table's columns, and the features that stand for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stackae.data.tables.cells import Reading, as_strings


@dataclass(frozen=True, eq=False)
class Categories:
    """A categorical column: its features' names, and which of them represents which category.

    `feature` has the number of each category's feature, by its place in `index`, then that of a missing
    category and that of one that is not in the index; -1 where there is none.
    """

    column: str
    names: list[str]
    index: tuple[str, ...]
    feature: np.ndarray

    @property
    def unseen(self) -> int:
        """The place in `feature` of a category that is not in the index."""
        return len(self.index) + 1

    @cached_property
    def _known(self) -> pa.StringArray:
        # Models of older versions have categories in other forms than cells have now.
        return as_strings(pa.array(self.index, pa.string()), Reading(()))

    def find(self, strings: pa.StringArray) -> np.ndarray:
        """Return the place in `feature` of each row's category."""
        places = pc.index_in(strings, value_set=self._known).fill_null(self.unseen)
        places = pc.if_else(strings.is_valid(), places, len(self.index))
        found: np.ndarray = places.to_numpy(zero_copy_only=False)
        return found


def read_encoder(encoder: Any, columns: Sequence[str]) -> list[Categories]:
    """Read the categories of a fitted OneHotEncoder by column: the common ones, then the rare as one."""
    encoded = []
    for column, categories, rare in zip(
        columns, encoder.categories_, encoder.infrequent_categories_, strict=True
    ):
        pooled = set() if rare is None else set(rare)
        common = [category for category in categories if category not in pooled]
        number = {category: n for n, category in enumerate(common)}
        last = len(common) if pooled else -1
        names = [f"{column} missing" if category is None else f"{column}={category}" for category in common]
        index = tuple(category for category in categories if category is not None)
        feature = [number.get(category, last) for category in [*index, None]]
        names += [f"{column} rare"] if pooled else []
        encoded.append(Categories(column, names, index, np.array([*feature, last])))
    return encoded
