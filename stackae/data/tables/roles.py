"""The columns of a table that are no features: labels, groups and times."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stackae.data.tables.cells import Reading, as_labels, as_strings, as_times
from stackae.data.tables.type_inference import place
from stackae.errors import DataError

Role = Literal["target", "group", "order"]


class RoleScan:
    """A column of labels, groups or times, collected from its cells, added in their order.

    Where it is `needed`, `add` raises `DataError` at a row without group, and at one whose order is neither a
    number nor a time.
    """

    def __init__(self, role: Role, name: str, reading: Reading, *, needed: bool) -> None:
        self.role, self.name, self._reading, self._needed = role, name, reading, needed
        self._parts: list[npt.NDArray[Any]] = []
        self._times = False

    def add(self, cells: pa.Array, path: Path, before: int) -> None:
        """Add cells of a file, of which `before` rows were added already."""
        if self.role != "order":
            part = as_labels(cells, self._reading)
            absent = np.array([label is None for label in part], bool)
        else:
            part, are_times = as_times(cells, self._reading)
            absent = np.isnan(part)
            if self._needed and self._parts and are_times != self._times:
                where = place(path, before, self.name)
                raise DataError(f"{where}: numbers and times are mixed; write either in all rows")
            self._times = are_times
        if self._needed and self.role != "target" and absent.any():
            row = int(np.argmax(absent))
            raise DataError(f"{place(path, before + row, self.name)}: {self._explain(cells[row : row + 1])}")
        self._parts.append(part)

    def values(self) -> npt.NDArray[Any]:
        """Return each row's label or group as a string, None where it has none, or its order as float64."""
        return np.concatenate(self._parts)

    def _explain(self, cell: pa.Array) -> str:
        string = as_strings(cell, self._reading)[0].as_py()
        if string is None:
            return f"there is no value, but data.{self.role} needs one in each row"
        expected = "not a time" if self._times else "neither a number nor a time"
        return f"'{string}' is {expected} such as 2024-03-02 or 2024-03-02 10:00:00"
