"""Tables in memory as Arrow batches: of pandas, of Arrow, and of all that speak Arrow's stream interface."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from stackae.data.tables.cells import is_cell
from stackae.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_CONTAINERS = (list, tuple, set, dict, bytes, bytearray, np.ndarray)


def is_frame(x: Any) -> bool:
    """Tell whether `x` has named columns: a DataFrame, a table of Arrow, or what gives an Arrow stream."""
    return isinstance(x, pa.RecordBatch | pa.Table) or hasattr(x, "__arrow_c_stream__") or _is_pandas(x)


def frame_names(frame: Any) -> list[str]:
    """Return the names of a frame's columns as strings without whitespace around them."""
    names = frame.columns if _is_pandas(frame) else _table(frame).column_names
    return [str(name).strip() for name in names]


def as_batch(frame: Any, names: Sequence[str] | None = None) -> pa.RecordBatch:
    """Return columns of a frame by their names as one batch; without names all of them.

    Cells of different types in one column become strings. Raises `DataError` where a column is absent, or a
    name is there twice.
    """
    if not _is_pandas(frame):
        frame = _table(frame)
    found = frame_names(frame)
    absent = [name for name in names or () if name not in found]
    if absent:
        raise DataError(f"there is no column '{absent[0]}', which training had; add it, or name it so")
    chosen = found if names is None else list(names)
    twice = [name for name, count in Counter(found).items() if count > 1 and name in chosen]
    if twice:
        raise DataError(f"several columns are called '{twice[0]}'; give each a name of its own")
    arrays = [_cells(frame, found.index(name), name) for name in chosen]
    if not arrays:
        return pa.record_batch({"": pa.nulls(len(frame))})
    return pa.RecordBatch.from_arrays(arrays, chosen)


def unsupported(batch: pa.RecordBatch) -> dict[str, str]:
    """Return the types, by name, of the columns whose cells are neither strings nor numbers nor times."""
    return {field.name: str(field.type) for field in batch.schema if not is_cell(field.type)}


def _is_pandas(x: Any) -> bool:
    return hasattr(x, "iloc") and hasattr(x, "columns")


def _table(frame: Any) -> pa.Table:
    return pa.Table.from_batches([frame]) if isinstance(frame, pa.RecordBatch) else pa.table(frame)


def _cells(frame: Any, number: int, name: str) -> pa.Array:
    if not _is_pandas(frame):
        return _whole(frame.column(number))
    return _of_series(frame.iloc[:, number], name)


def _whole(cells: Any) -> pa.Array:
    return cells.combine_chunks() if isinstance(cells, pa.ChunkedArray) else cells


def _of_series(series: pd.Series, name: str) -> pa.Array:
    import pandas as pd

    if isinstance(series.dtype, pd.PeriodDtype):
        series = series.dt.to_timestamp()
    elif isinstance(series.dtype, pd.SparseDtype):
        series = series.sparse.to_dense()
    try:
        cells = _whole(pa.array(series, from_pandas=True))
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        # Cells of several types, or of one that Arrow does not have.
        return _as_texts(series, name)
    if is_cell(cells.type) or not (series.dtype == "category" or isinstance(series.dtype, pd.IntervalDtype)):
        return cells
    return _as_texts(series, name)


def _as_texts(series: pd.Series, name: str) -> pa.StringArray:
    """Return cells as a file would have them; DataError at one that holds several."""
    there = series.notna().to_numpy()
    cells, texts = series.to_numpy(object), np.full(len(series), None, object)
    for row in np.flatnonzero(there):
        cell = cells[row]
        if isinstance(cell, _CONTAINERS):
            raise DataError(
                f"column '{name}', row {row + 1:,} of those given: a {type(cell).__name__} is not a "
                "category; give a string or a number"
            )
        texts[row] = _as_text(cell)
    return pa.array(texts, pa.string())


def _as_text(cell: Any) -> str:
    if isinstance(cell, float | np.floating):
        value = float(cell)
        return str(int(value)) if math.isfinite(value) and value.is_integer() else repr(value)
    return str(cell)
