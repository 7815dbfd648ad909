"""Rows of a table after all that there is to decide about a cell is decided: numbers and strings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stackae.data.tables.cells import Reading, as_numbers, as_objects, as_strings, is_cell
from stackae.data.tables.columns import Column
from stackae.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Normalised:
    """Rows whose columns are numbers, times in seconds, or strings.

    `batch` has numbers and times in float64, NaN where one is missing, and strings, null where one is.
    """

    batch: pa.RecordBatch

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    def __getitem__(self, rows: slice) -> Normalised:
        start, stop, _ = rows.indices(len(self))
        return Normalised(self.batch.slice(start, max(0, stop - start)))

    def numbers(self, name: str) -> npt.NDArray[np.float64]:
        """Return the numbers of a column, NaN where one is missing."""
        values: npt.NDArray[np.float64] = self.batch.column(name).to_numpy(zero_copy_only=False)
        return values

    def strings(self, name: str) -> pa.StringArray:
        """Return the strings of a column, null where one is missing."""
        return self.batch.column(name)

    def frame(self) -> pd.DataFrame:
        """Return the rows as a DataFrame: float64, and strings as objects, None where one is missing."""
        import pandas as pd

        columns: dict[str, Any] = {}
        for field in self.batch.schema:
            if pa.types.is_floating(field.type):
                columns[field.name] = self.numbers(field.name)
            else:
                columns[field.name] = pd.Series(as_objects(self.strings(field.name)), dtype=object)
        return pd.DataFrame(columns)


def normalise(batch: pa.RecordBatch, columns: Sequence[Column], reading: Reading) -> Normalised:
    """Read the cells of columns as they are typed; DataError at one that is not as its column."""
    arrays = []
    for column in columns:
        cells = batch.column(column.name)
        if not is_cell(cells.type):
            raise DataError(
                f"column '{column.name}' has cells of type {cells.type}, which are neither strings nor "
                "numbers nor times; give it as it was in training"
            )
        if column.type == "categorical":
            arrays.append(as_strings(cells, reading))
            continue
        values = as_numbers(cells, reading)
        odd = pc.index(pc.is_nan(values), True).as_py()
        if odd >= 0:
            cell = as_strings(cells[odd : odd + 1], Reading(()))[0]
            what = "a time" if column.type == "time" else "a finite number"
            raise DataError(
                f"column '{column.name}', row {odd + 1:,} of those given: '{cell}' is not {what}; "
                "correct it, or leave it empty"
            )
        arrays.append(values.fill_null(np.nan))
    names = [column.name for column in columns]
    if not names:
        return Normalised(pa.record_batch({"": pa.nulls(batch.num_rows)}))
    return Normalised(pa.RecordBatch.from_arrays(arrays, names))


def joined(parts: Sequence[Normalised]) -> Normalised:
    """Put rows of the same columns one after the other."""
    return Normalised(pa.concat_batches([part.batch for part in parts]))
