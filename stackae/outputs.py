"""Results for each row, written to a file a chunk of rows at a time, whole or not at all."""

from __future__ import annotations

import csv
import io
import os
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.format import open_memmap

from stackae.errors import DataError
from stackae.machine.disk import replacing
from stackae.pictures import grid, is_image

if TYPE_CHECKING:
    import pyarrow as pa

Found = Mapping[str, np.ndarray]
"""The results for some rows: arrays (rows, …) by name."""
Names = Mapping[str, Sequence[str]]
"""The names of each array's columns where it is written as columns."""

STANDARD_OUTPUT = Path("-")
_VALUES = 1 << 22
"""Values of a row group of a Parquet file."""


def check_output(path: Path, formats: Sequence[str], data: str | None = None) -> None:
    """Raise DataError where no file of this name can be written in one of the formats.

    `-` is CSV to the standard output. `data` is what is read, which must not be overwritten.
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
    if data is not None and path.exists() and Path(data).exists() and path.samefile(data):
        raise DataError(f"{path}: is the file that is read, and would be overwritten; name another")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise DataError(f"{path}: the folder '{path.parent}' is not writable; name another")


def write_found(path: Path, names: Names, rows: int, chunks: Iterable[Found]) -> None:
    """Write the results for so many rows, in their order, in the format of the file's ending.

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


def _print_csv(names: Names, chunks: Iterable[Found]) -> None:
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


def _write_csv(file: Any, names: Names, chunks: Iterable[Found]) -> None:
    import pyarrow.csv

    header = io.StringIO()
    csv.writer(header, lineterminator="\n").writerow([name for columns in names.values() for name in columns])
    file.write(header.getvalue().encode())
    options = pyarrow.csv.WriteOptions(include_header=False)
    for chunk in chunks:
        pyarrow.csv.write_csv(_table(chunk, names), file, options)


def _write_parquet(path: Path, names: Names, chunks: Iterable[Found]) -> None:
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


def _write_npz(path: Path, names: Names, rows: int, chunks: Iterable[Found]) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{path.name}-") as folder:
        files = {name: Path(folder) / f"{name}.npy" for name in names}
        _write_arrays(files, rows, chunks)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files.values():
                archive.write(file, file.name)


def _write_arrays(files: Mapping[str, Path], rows: int, chunks: Iterable[Found]) -> None:
    arrays: dict[str, np.memmap] = {}
    start = 0
    for chunk in chunks:
        for name, values in chunk.items():
            if name not in arrays:
                shape = (rows, *values.shape[1:])
                arrays[name] = open_memmap(files[name], mode="w+", dtype=values.dtype, shape=shape)
            arrays[name][start : start + len(values)] = values
        start += len(next(iter(chunk.values())))
    assert start == rows, (start, rows)
    for array in arrays.values():
        array.flush()


def _table(chunk: Found, names: Names) -> pa.Table:
    import pyarrow as pa

    columns = []
    for array in chunk.values():
        # An empty string is an empty cell.
        empty = array == "" if array.dtype.kind == "U" else None
        columns += [pa.array(column, mask=empty) for column in array.reshape(len(array), -1).T]
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
