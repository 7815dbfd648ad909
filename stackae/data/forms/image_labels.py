"""Labels of images from a table of text that has a row for each file."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stackae.config import DataConfig
from stackae.data.files.paths import as_paths, quoted
from stackae.data.labels import unlabelled_test
from stackae.data.tables.cells import Reading, as_labels, as_objects
from stackae.data.tables.columns import common_names, configured_names
from stackae.data.tables.csv_file import Delimited
from stackae.errors import DataError

Files = Sequence[tuple[Path, Path]]
"""Images, each behind the folder that `data` names."""
Numbers = dict[str, int]
"""The number of the file that a cell stands for."""

_LABEL = "label"
_SEVERAL = -1
"""The number of a name that several files have."""


def read_labels(config: DataConfig, source: Sequence[Path], test: Sequence[Path]) -> npt.NDArray[np.object_]:
    """Read the labels of the images of `data.source`, then of those of `data.test`, from `data.target`.

    The files are in the column whose cells are their paths, below the images' folder, the table's or the
    current one, or their names alone, all with or without the ending. The labels are in the only other
    column, or in that called `label`: strings, None where a cell is empty. Raises `DataError` where a file
    has no row or several, a row no file, or no test image has a row.
    """
    path, table = _open(config)
    folders = [*as_paths(config.source), *as_paths(config.test)]
    files = [(folder, file) for folder, part in zip(folders, (source, test), strict=False) for file in part]
    column, numbers = _find_files(path, table, files)
    label_column = _find_labels(path, table, column)
    labels, rows, before = np.full(len(files), None, object), [0] * len(files), 0
    strays: list[tuple[int, str]] = []
    reading = Reading.of(config)
    for batch in table.batches([column, label_column]):
        cells, found = _cells(batch.column(column)), as_labels(batch.column(label_column), reading)
        for row, (cell, label) in enumerate(zip(cells, found, strict=True), before + 1):
            number = numbers.get(cell, _SEVERAL)
            if number == _SEVERAL:
                strays.append((row, cell))
                continue
            if rows[number]:
                raise DataError(
                    f"{path}: data rows {rows[number]:,} and {row:,} are both of '{files[number][1]}'; "
                    "leave one out"
                )
            rows[number], labels[number] = row, label
        before += len(batch)
    if strays:
        raise DataError(f"{path}: {_explain(strays, numbers, folders)}")
    if test and not any(rows[len(source) :]):
        raise unlabelled_test(f"data.test: {quoted(config.test or '')}", f"no row in '{path}'")
    if absent := [file for (_, file), row in zip(files, rows, strict=True) if not row]:
        others = f" and {len(absent) - 1:,} more" if len(absent) > 1 else ""
        raise DataError(
            f"{path}: has no row for '{absent[0]}'{others}; add one, with an empty label if it has none"
        )
    return labels


def _open(config: DataConfig) -> tuple[Path, Delimited]:
    (path,) = as_paths(config.target)
    if not path.is_file():
        raise DataError(
            f"data.target: there is no file '{path}'; for images it is the path of a .csv with a column of "
            "their files and one of their labels"
        )
    names = configured_names(config)
    table = Delimited(path, [names] if names else (), config.separator, config.comment)
    common_names([(path, table.names)])
    return path, table


def _find_files(path: Path, table: Delimited, files: Files) -> tuple[str, Numbers]:
    """Find the column of files by the first rows, and the way in which they are named."""
    batch = next(table.batches(table.names))
    columns = {name: list(_cells(batch.column(name))) for name in table.names}
    best, found = 0, None
    for call in _ways(path.parent):
        numbers: Numbers = {}
        for number, (folder, file) in enumerate(files):
            name = call(folder, file)
            numbers[name] = _SEVERAL if name in numbers else number
        for column, cells in columns.items():
            hits = sum(cell in numbers for cell in cells)
            if hits > best:
                best, found = hits, (column, numbers)
        if best == len(batch):
            break
    if found is None:
        folder, file = files[0]
        raise DataError(
            f"{path}: no column has the names of the images in '{folder}', such as "
            f"'{file.relative_to(folder).as_posix()}'; name a table that has them in data.target"
        )
    if found[0] in found[1]:
        raise DataError(
            f"{path}: the first line is of '{found[0]}' and no header; add one, such as file,{_LABEL}, or "
            "name the columns in data.columns"
        )
    return found


def _ways(beside: Path) -> Iterator[Callable[[Path, Path], str]]:
    """Yield the ways in which a table in the folder `beside` may call a file."""
    whole: list[Callable[[Path, Path], str]] = [
        lambda folder, file: file.relative_to(folder).as_posix(),
        lambda _, file: Path(os.path.relpath(file, beside)).as_posix(),
        lambda _, file: posixpath.normpath(file.as_posix()),
        lambda _, file: file.name,
    ]
    yield from whole
    for call in whole:
        yield lambda folder, file, call=call: posixpath.splitext(call(folder, file))[0]  # type: ignore[misc]


def _find_labels(path: Path, table: Delimited, files: str) -> str:
    others = [name for name in table.names if name != files]
    called = [name for name in others if name.lower() == _LABEL] if len(others) > 1 else others
    if len(called) == 1:
        return called[0]
    if not others:
        raise DataError(f"{path}: has no column beside '{files}'; add one with the labels")
    shown = ", ".join(f"'{name}'" for name in others[:8]) + ", …" * (len(others) > 8)
    raise DataError(f"{path}: any of the columns {shown} may be the labels; call theirs '{_LABEL}'")


def _cells(cells: pa.Array) -> Iterator[str]:
    """Yield cells of files as they are compared: with slashes, and without `./` in front."""
    for cell in as_objects(pc.utf8_trim_whitespace(cells)):
        yield posixpath.normpath(str(cell).replace("\\", "/"))


def _explain(strays: Sequence[tuple[int, str]], numbers: Numbers, folders: Sequence[Path]) -> str:
    """Say what is wrong with rows that are of no file, or of one of several."""
    row, cell = strays[0]
    if cell in numbers:
        return (
            f"data row {row:,} is of '{cell}', which several images are called; write the folder in front of "
            "the name, in all rows"
        )
    where = " and ".join(f"'{folder}'" for folder in folders)
    others = f" (and {len(strays) - 1:,} more rows like it)" if len(strays) > 1 else ""
    return f"data row {row:,} is of '{cell}', which is no image in {where}{others}; leave such rows out"
