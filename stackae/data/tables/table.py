"""Tables: files of rows and named columns, read and checked, and then given out a chunk of rows at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stackae.config import DataConfig
from stackae.data.rows import chunk_rows
from stackae.data.tables.cells import Reading, plain_batch
from stackae.data.tables.columns import (
    Column,
    Type,
    check_alike,
    check_roles,
    check_settings,
    common_names,
)
from stackae.data.tables.missing_signs import SignCount, remarks_on
from stackae.data.tables.normalised import Normalised, joined, normalise
from stackae.data.tables.partitions import open_tables
from stackae.data.tables.roles import Role, RoleScan
from stackae.data.tables.table_file import TableFile
from stackae.data.tables.type_inference import ColumnScan
from stackae.errors import DataError

Objects = npt.NDArray[np.object_]
Floats = npt.NDArray[np.float64]

_SETTINGS = {"target", "group", "order", "comment", "types", "decimal", "thousands"}
"""What else of a config changes how a table is read."""
_CELLS = 2
"""Raised when cells come to mean something else, or columns become other features."""


class TableRows:
    """The rows of files that have these columns, one file after the other.

    Chunks are normalised, as rows of a frame are for a finished model.
    """

    def __init__(
        self,
        files: Sequence[TableFile],
        digests: Sequence[str],
        rows: int,
        columns: Sequence[Column],
        reading: Reading,
    ) -> None:
        self.columns = tuple(columns)
        self._files, self._digests, self._rows, self._reading = tuple(files), tuple(digests), rows, reading

    def __len__(self) -> int:
        return self._rows

    @property
    def paths(self) -> list[Path]:
        """The files that have rows, in their order."""
        return [file.path for file in self._files]

    def chunks(self) -> Iterator[tuple[int, Normalised]]:
        """Yield all rows in their order; DataError where a file is another one than was checked."""
        size = chunk_rows((len(self.columns),))
        for first, batch in self._batches():
            rows = normalise(batch, self.columns, self._reading)
            for start in range(0, len(rows), size):
                yield first + start, rows[start : start + size]

    def take(self, rows: np.ndarray) -> Normalised:
        """Return rows by their numbers, which ascend, in memory."""
        parts = []
        for first, batch in self._batches():
            start, stop = np.searchsorted(rows, [first, first + len(batch)])
            if start < stop or not len(rows):
                chosen = batch.take(pa.array(rows[start:stop] - first, pa.int64()))
                parts.append(normalise(chosen, self.columns, self._reading))
            if stop == len(rows):
                break
        return joined(parts)

    def _batches(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield rows of all files, with the number of the first of them."""
        rows = 0
        for file, digest in zip(self._files, self._digests, strict=True):
            content = hashlib.sha256()
            for batch in file.batches([column.name for column in self.columns], content):
                yield rows, plain_batch(batch)
                rows += len(batch)
            if content.hexdigest() != digest:
                raise DataError(f"{file.path}: the file was changed while it was read; start again")


@dataclass(frozen=True, eq=False)
class Table:
    """The rows of a table, what is known of its columns, and the columns that are no features."""

    rows: TableRows
    """The used columns alone."""
    columns: tuple[Column, ...]
    """All columns but target, group and order."""
    target: Objects | None
    """Each row's label as a string, None where it has none; None where there is no such column."""
    group: Objects | None
    """The name of each row's group."""
    order: Floats | None
    """The time of each row: a number, or seconds."""
    digest: str
    """sha256 of the files' uncompressed content and of how it is read."""
    sizes: tuple[int, ...]
    """The number of each file's rows."""
    remarks: tuple[str, ...] = ()
    """What a person should know of cells that `data.missing` takes."""


def read_table(
    paths: Sequence[Path],
    config: DataConfig,
    *,
    like: Sequence[Column] | None = None,
    need_target: bool = True,
) -> Table:
    """Read a table once, all of it, for its columns' types, its labels, groups and order.

    A column is numeric where every cell is a number, of times where every one is a time, else categorical.
    One that is constant, without values, or of too many different strings is not used, unless `config.types`
    names it. `like` are the columns of the table that was read to learn from: the files must have those that
    are used, in any order, and no others. Without `need_target` the columns for target, group and order may
    be absent.
    Raises `DataError` where a file is missing, damaged, empty or not a table, its columns are not as asked
    for, or a cell is not as its column; with file, data row (counted from 1, without the header) and column.
    """
    roles: dict[Role, str | None] = {"target": config.target, "group": config.group, "order": config.order}
    role_names = {name for name in roles.values() if name is not None}
    # Test rows that lack the target get an error of their own.
    optional = role_names if like is not None or not need_target else ()
    known = [column.name for column in like or ()]
    files = open_tables(paths, config, optional, like=known)
    names = common_names([(file.path, file.names) for file in files])
    if need_target:
        check_roles(config, names, paths[0], test=like is not None)
    features = [name for name in names if name not in role_names]
    types: dict[str, Type] = {}
    if like is None:
        check_settings(config, names, paths[0])
        used = [name for name in features if name not in config.drop]
        for name, type_ in config.types.items():
            types[name] = type_ if type_ in ("categorical", "time") else "numeric"
    else:
        check_alike(features, like, config.drop, paths[0])
        used = [column.name for column in like if column.dropped is None]
        types = {column.name: column.type for column in like}
    reading = Reading.of(config)
    column_scans = {name: ColumnScan(name, reading, types.get(name)) for name in used}
    role_scans = {
        role: RoleScan(role, name, reading, needed=need_target)
        for role, name in roles.items()
        if name in names
    }
    sizes: list[int] = []
    taken = [SignCount(name, reading) for name in used]
    no_label = None
    if config.target in names:
        no_label = SignCount(str(config.target), reading, labels=True)
    counts = [*taken, *([no_label] if no_label else [])]
    digests: list[str] = []
    for file in files:
        scans: list[ColumnScan | RoleScan] = [*column_scans.values(), *role_scans.values()]
        file.check([scan.name for scan in scans])
        before, content = 0, hashlib.sha256()
        for encoded in file.batches([scan.name for scan in scans], content):
            batch = plain_batch(encoded)
            for scan in scans:
                scan.add(batch.column(scan.name), file.path, before)
            for count in counts:
                count.add(batch.column(count.name))
            before += len(batch)
        sizes.append(before)
        digests.append(content.hexdigest())
    if like is None:
        like = [_column(name, column_scans.get(name)) for name in features]
    columns = tuple(like)
    used_columns = [column for column in columns if column.dropped is None]
    values = {role: scan.values() for role, scan in role_scans.items()}
    return Table(
        TableRows(files, digests, sum(sizes), used_columns, reading),
        columns,
        values.get("target"),
        values.get("group"),
        values.get("order"),
        _digest(files, digests, config),
        tuple(sizes),
        tuple(remarks_on(taken, no_label)),
    )


def _column(name: str, scan: ColumnScan | None) -> Column:
    return scan.column() if scan else Column(name, "categorical", 0, 0, None, None, "asked")


def _digest(files: Sequence[TableFile], digests: Sequence[str], config: DataConfig) -> str:
    """Return the sha256 of content and way of reading; the order of dropped columns does not matter."""
    settings = config.model_dump(mode="json", include=_SETTINGS)
    how = settings | {
        "columns": [file.names for file in files],
        "separator": [file.separator for file in files if file.separator is not None],
        "drop": sorted(config.drop),
        "missing": sorted(config.missing),
        "cells": _CELLS,
    }
    return hashlib.sha256(json.dumps([how, digests], sort_keys=True).encode()).hexdigest()
