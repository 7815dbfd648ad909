"""Results for each row, written to a file a chunk of rows at a time, whole or not at all."""

from __future__ import annotations

import csv
import glob
import io
import os
import sys
import tempfile
import zipfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import numpy as np
from numpy.lib.format import open_memmap

from stackae.errors import DataError
from stackae.machine.disk import replacing
from stackae.pictures import grid, is_image

if TYPE_CHECKING:
    import pyarrow as pa

RowArrays: TypeAlias = Mapping[str, Union[np.ndarray, "pa.Array"]]
"""Arrays (rows, …) by name, of the same rows; a column of the rows' own file is an Arrow array (rows,)."""
ColumnNames = Mapping[str, Sequence[str]]
"""The names of each array's columns where it is written as columns."""

STANDARD_OUTPUT = Path("-")
_VALUES = 1 << 22
"""Values of a row group of a Parquet file."""


def apart(names: Iterable[str], taken: Collection[str], ending: str) -> list[str]:
    """Return names of columns, with an ending behind those that are taken or stand twice."""
    used, found = set(taken), []
    for name in names:
        while name in used:
            name += ending
        used.add(name)
        found.append(name)
    return found


def check_output(path: Path, formats: Sequence[str], data: Sequence[str] = ()) -> None:
    """Raise DataError where no file of this name can be written in one of the formats.

    `-` is CSV to the standard output. `data` is what is read, which must not be overwritten, and of which
    what is written would be a part the next time.
    """
    if path == STANDARD_OUTPUT and ".csv" in formats:
        return
    if path.is_dir():
        raise DataError(f"{path}: is a folder; name a file")
    if not path.suffix:
        raise DataError(f"{path}: has no ending that says the format; use one of {', '.join(formats)}")
    if path.suffix.lower() not in formats:
        raise DataError(f"{path}: unknown format '{path.suffix}'; use one of {', '.join(formats)}")
    if not path.parent.is_dir():
        raise DataError(f"{path}: there is no folder '{path.parent}'; make it, or name another")
    for name in map(os.path.expanduser, map(os.path.expandvars, data)):
        if path.exists() and Path(name).exists() and path.samefile(name):
            raise DataError(f"{path}: is the file that is read, and would be overwritten; name another")
        within = Path(name).is_dir() and path.resolve().is_relative_to(Path(name).resolve())
        if within or any(path.resolve() == Path(file).resolve() for file in glob.glob(name, recursive=True)):
            raise DataError(f"{path}: is among the files that are read; name one elsewhere")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise DataError(f"{path}: the folder '{path.parent}' is not writable; name another")


def check_cells(path: Path, column: str, type_: pa.DataType) -> None:
    """Raise DataError where a column with cells of this type cannot be written to a file of this name."""
    import pyarrow as pa
    import pyarrow.csv

    try:
        if path == STANDARD_OUTPUT or path.suffix.lower() == ".csv":
            pyarrow.csv.write_csv(pa.table({column: pa.nulls(1, type_)}), io.BytesIO())
        elif path.suffix.lower() == ".npz":
            _as_numpy(pa.nulls(1, type_))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise DataError(
            f"{path}: cannot hold the cells of column '{column}', which are of type {type_}; write .parquet"
        ) from None


def write_row_arrays(path: Path, names: ColumnNames, rows: int, chunks: Iterable[RowArrays]) -> None:
    """Write the arrays of so many rows at most, in their order, in the format of the file's ending.

    `.csv` and `.parquet` get the columns of all arrays side by side, `.npz` the arrays by name, `.npy` the
    one array that there is. Nothing is written if a chunk cannot be had.
    """
    if path == STANDARD_OUTPUT:
        _print_csv(names, chunks)
        return
    with replacing(path) as part:
        match path.suffix.lower():
            case ".csv":
                with part.open("wb") as file:
                    _write_csv(file, names, chunks)
            case ".parquet":
                _write_parquet(part, names, chunks)
            case ".npy":
                assert len(names) == 1
                _write_arrays(dict.fromkeys(names, part), rows, chunks)
            case ".npz":
                _write_npz(part, names, rows, chunks)


def _print_csv(names: ColumnNames, chunks: Iterable[RowArrays]) -> None:
    sys.stdout.flush()
    # A stream of text alone, as where output is captured, has no binary buffer.
    buffer = getattr(sys.stdout, "buffer", None)
    file = buffer or io.BytesIO()
    try:
        _write_csv(file, names, chunks)
        if buffer is None:
            sys.stdout.write(file.getvalue().decode())
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads has enough, as `head` has; Python would complain once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _write_csv(file: Any, names: ColumnNames, chunks: Iterable[RowArrays]) -> None:
    import pyarrow.csv

    header = io.StringIO()
    csv.writer(header, lineterminator="\n").writerow([name for columns in names.values() for name in columns])
    file.write(header.getvalue().encode())
    options = pyarrow.csv.WriteOptions(include_header=False)
    for chunk in chunks:
        pyarrow.csv.write_csv(_table(chunk, names), file, options)


def _write_parquet(path: Path, names: ColumnNames, chunks: Iterable[RowArrays]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    waiting: list[pa.Table] = []
    writer = None
    try:
        for chunk in chunks:
            waiting.append(_table(chunk, names))
            writer = writer or pq.ParquetWriter(path, waiting[0].schema)
            if sum(table.num_rows for table in waiting) * waiting[0].num_columns >= _VALUES:
                writer.write_table(pa.concat_tables(waiting))
                waiting.clear()
        if waiting and writer is not None:
            writer.write_table(pa.concat_tables(waiting))
    finally:
        if writer is not None:
            writer.close()


def _write_npz(path: Path, names: ColumnNames, rows: int, chunks: Iterable[RowArrays]) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{path.name}-") as folder:
        # Columns may have names that no file can have.
        files = {name: Path(folder) / f"{number}.npy" for number, name in enumerate(names)}
        _write_arrays(files, rows, chunks)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, file in files.items():
                archive.write(file, f"{name}.npy")


def _write_arrays(files: Mapping[str, Path], rows: int, chunks: Iterable[RowArrays]) -> None:
    arrays: dict[str, np.memmap] = {}
    start = 0
    for chunk in chunks:
        for name, given in chunk.items():
            values = given if isinstance(given, np.ndarray) else _as_numpy(given)
            if name not in arrays:
                shape = (rows, *values.shape[1:])
                arrays[name] = open_memmap(files[name], mode="w+", dtype=values.dtype, shape=shape)
            dtype = np.promote_types(arrays[name].dtype, values.dtype)
            if dtype != arrays[name].dtype:  # longer strings
                arrays[name] = _rewritten(files[name], arrays[name], rows, dtype)
            arrays[name][start : start + len(values)] = values
        start += len(next(iter(chunk.values())))
    for name, array in arrays.items():
        if start < rows:
            array = _rewritten(files[name], array, start, array.dtype)
        array.flush()


def _rewritten(file: Path, array: np.memmap, rows: int, dtype: np.dtype[Any]) -> np.memmap:
    """Replace an array's file by one with so many of its first rows, of this type, and return that."""
    other = file.with_suffix(".other")
    copy = open_memmap(other, mode="w+", dtype=dtype, shape=(rows, *array.shape[1:]))
    copy[:] = array[:rows]
    other.replace(file)
    return copy


def _as_numpy(cells: pa.Array) -> np.ndarray:
    """Return cells as numbers or booleans where all are, else as strings, empty where one is missing."""
    import pyarrow as pa

    numeric = pa.types.is_integer(cells.type) or pa.types.is_boolean(cells.type)
    if pa.types.is_floating(cells.type) or (numeric and not cells.null_count):
        array: np.ndarray = cells.to_numpy(zero_copy_only=False)
        return array
    return np.array(cells.cast(pa.string()).fill_null("").to_pylist(), np.str_)


def _table(chunk: RowArrays, names: ColumnNames) -> pa.Table:
    import pyarrow as pa

    columns = []
    for name, array in chunk.items():
        if not isinstance(array, np.ndarray):
            columns.append(array)
            continue
        # An empty string is an empty cell.
        empty = array == "" if array.dtype.kind == "U" else None
        columns += [pa.array(column, mask=empty) for column in array.reshape(len(array), len(names[name])).T]
    return pa.table(columns, names=[name for group in names.values() for name in group])


FORMATS = (".png", ".npy", ".npz", ".csv")


def check_examples(path: Path, shape: tuple[int, ...]) -> None:
    """Raise DataError where rows of this shape cannot be written to a file of this name."""
    if path.suffix.lower() not in FORMATS:
        raise DataError(f"{path}: unknown format '{path.suffix}'; use one of {', '.join(FORMATS)}")
    if path.suffix.lower() == ".png" and not is_image(shape):
        raise DataError(f"{path}: rows of shape {shape} are no pictures; write .npy, .npz or .csv")


def write_examples(path: Path, rows: np.ndarray, *, scale: float, columns: int | None = None) -> None:
    """Write rows (rows, *shape), whole or not at all: a grid of pictures to .png, else one row per row.

    `scale` is the value of white. A grid is as square as it can be unless `columns` says otherwise.
    """
    check_examples(path, rows.shape[1:])
    with replacing(path) as part, part.open("wb") as file:
        match path.suffix.lower():
            case ".png":
                from PIL import Image

                Image.fromarray(grid(rows, scale=scale, columns=columns)).save(file, format="PNG")
            case ".npy":
                np.save(file, rows)
            case ".npz":
                np.savez_compressed(file, x=rows)
            case ".csv":
                np.savetxt(file, rows.reshape(len(rows), -1), delimiter=",", fmt="%.6g")
