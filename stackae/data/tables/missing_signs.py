"""The cells that a config's signs of a missing value take, counted where a person may not expect it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from stackae.data.tables.cells import DEFAULT_SIGNS, Reading, as_strings

ABSENT = {
    *("na", "n/a", "n.a.", "#n/a", "nan", "nil", "none", "null", "missing", "unknown", "undefined"),
    *("inf", "-inf", "infinity", "-infinity"),
}
"""Words for a missing value, in lower case."""
_SHOWN = 8


def is_sign(string: str) -> bool:
    """Tell whether a string stands for a missing value wherever it occurs between numbers."""
    return string.lower() in ABSENT or not any(letter.isalnum() for letter in string)


class SignCount:
    """Counts a column's cells that are signs of a missing value and might be something else.

    Among features these are the signs that a config adds, unless anyone would take them for signs; among
    `labels` all that are words.
    """

    def __init__(self, name: str, reading: Reading, *, labels: bool = False) -> None:
        self.name = name
        self.found = Counter[str]()
        words = [sign for sign in reading.signs.to_pylist() if any(letter.isalnum() for letter in sign)]
        if not labels:
            words = [sign for sign in words if sign not in DEFAULT_SIGNS and not is_sign(sign)]
        self._signs = pa.array(words, pa.string())
        self._unsigned = Reading((), reading.commas)

    def add(self, cells: pa.Array) -> None:
        """Add cells; without signs to look for this costs nothing."""
        if len(self._signs):
            strings = as_strings(cells, self._unsigned)
            taken = strings.filter(pc.is_in(strings, value_set=self._signs))
            for entry in taken.value_counts().to_pylist():
                self.found[entry["values"]] += entry["counts"]


def remarks_on(features: Sequence[SignCount], target: SignCount | None) -> Iterator[str]:
    """Yield a line on the cells of features that signs have taken, and one on labels."""
    cells = [(sign, count.name, number) for count in features for sign, number in count.found.items()]
    if cells:
        total = sum(number for *_, number in cells)
        shown = ", ".join(f"'{sign}' in '{name}' ({number:,})" for sign, name, number in cells[:_SHOWN])
        more = f" and {len(cells) - _SHOWN:,} more" if len(cells) > _SHOWN else ""
        takes = "cell is" if total == 1 else "cells are"
        yield f"{total:,} {takes} taken for missing, as data.missing says: {shown}{more}"
    if target is not None and target.found:
        total = sum(target.found.values())
        signs = ", ".join(f"'{sign}'" for sign in target.found)
        rows = "row has" if total == 1 else "rows have"
        yield (
            f"data.target '{target.name}': {total:,} {rows} no label, since {signs} stands for a missing "
            "value; if it is a class, take it out of data.missing"
        )
