"""Several files that are one table, where folders as `part=3` hold a column of their own."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pyarrow as pa

from stackae.config import DataConfig
from stackae.data.tables.table_file import TableFile, open_table
from stackae.errors import NoRowsError

if TYPE_CHECKING:
    from hashlib import _Hash

_MISSING = "__HIVE_DEFAULT_PARTITION__"


class Partitioned:
    """A file and the cells that all its rows have in common, as the names of its folders say."""

    def __init__(self, file: TableFile, cells: dict[str, str]) -> None:
        self.path, self.separator = file.path, file.separator
        self.names = (*file.names, *cells)
        self._file, self._cells = file, cells

    def unsupported(self) -> dict[str, str]:
        """Return the types, by name, of the columns whose cells are neither strings nor numbers nor times."""
        return self._file.unsupported()

    def check(self, columns: Sequence[str]) -> None:
        """Check that the cells of columns are strings, numbers or times; DataError where they are not."""
        self._file.check([name for name in columns if name not in self._cells])

    def batches(self, columns: Sequence[str], digest: _Hash | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the cells of columns, at least, some rows at a time; add the content to `digest`."""
        if digest is not None:
            digest.update(f"{sorted(self._cells.items())}\n".encode())
        for batch in self._file.batches([name for name in columns if name not in self._cells], digest):
            for name, cell in self._cells.items():
                if name in columns:
                    batch = batch.append_column(name, pa.repeat(cell, len(batch)))
            yield batch


def open_tables(
    paths: Sequence[Path], config: DataConfig, optional: Collection[str] = (), *, like: Collection[str] = ()
) -> list[TableFile]:
    """Open the files of a table, all but those without rows, with the columns that folders' names give.

    Those are the ones in which files differ, and those that target, group and order or `like`, the columns
    of another table, name: what else stands in a path says nothing of rows.
    Raises `DataError` where a file is missing or damaged, or none has rows.
    """
    files, empty = list[TableFile](), list[NoRowsError]()
    for path in paths:
        try:
            files.append(open_table(path, config, optional))
        except NoRowsError as fault:
            empty.append(fault)
    if not files:
        raise empty[0]
    found = [_folders_cells(file.path) for file in files]
    asked = {*like, config.target, config.group, config.order}
    partitions = dict.fromkeys(name for cells in found for name in cells)
    used = [name for name in partitions if name in asked or len({cells.get(name) for cells in found}) > 1]
    opened = list[TableFile]()
    for file, cells in zip(files, found, strict=True):
        own = {name: cells[name] for name in used if name in cells and name not in file.names}
        opened.append(Partitioned(file, own) if own else file)
    return opened


def _folders_cells(path: Path) -> dict[str, str]:
    """Return the names and values of the folders of a path that are called as `part=3`."""
    cells = {}
    for part in path.parts[:-1]:
        name, equals, value = part.partition("=")
        if equals and name:
            cells[unquote(name)] = "" if value == _MISSING else unquote(value)
    return cells
