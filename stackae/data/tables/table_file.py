"""A file with a table in it, of whatever format."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from stackae.config import DataConfig
from stackae.data.files.endings import JSON_LINES, TEXT_TABLES, TYPED_TABLES, uncompressed_path
from stackae.data.tables.columns import configured_names
from stackae.data.tables.csv_file import Delimited
from stackae.data.tables.feather_file import Feather
from stackae.data.tables.json_lines_file import JsonLines
from stackae.data.tables.parquet_file import Parquet
from stackae.errors import DataError

if TYPE_CHECKING:
    from hashlib import _Hash


class TableFile(Protocol):
    """A file with rows of named columns, of which it gives out some rows at a time."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its columns."""

    @property
    def separator(self) -> str | None:
        """What parts its cells; None in files that are no delimited text."""

    def unsupported(self) -> dict[str, str]:
        """Return the types, by name, of the columns whose cells are neither strings nor numbers nor times."""

    def check(self, columns: Sequence[str]) -> None:
        """Check that the cells of columns are strings, numbers or times; DataError where they are not."""

    def batches(self, columns: Sequence[str], digest: _Hash | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the cells of columns, at least, some rows at a time; add the content to `digest`."""


def has_names_in_it(path: Path) -> bool:
    """Tell whether a file is of a format in which columns always have names."""
    return uncompressed_path(path).suffix.lower() not in TEXT_TABLES


def open_table(path: Path, config: DataConfig, optional: Collection[str] = ()) -> TableFile:
    """Open a file; one without header may lack the optional columns, together with those that are dropped.

    Raises `DataError` where it is missing, damaged, not of the format that its ending names, or has no rows.
    """
    ending = uncompressed_path(path).suffix.lower()
    if has_names_in_it(path) and config.columns is not None:
        raise DataError(f"{path}: its columns have names in it; remove data.columns")
    if ending in TYPED_TABLES:
        if path.suffix.lower() != ending:
            raise DataError(f"{path}: such a file is compressed in itself and read as it is; unpack it")
        return Parquet(path) if ending == ".parquet" else Feather(path)
    if ending in JSON_LINES:
        return JsonLines(path, config.comment)
    names = configured_names(config)
    choices = [names]
    if optional:
        for absent in ({config.target}, {*optional}, {*optional, *config.drop}):
            choices.append([name for name in names if name not in absent])
    return Delimited(path, choices if names else (), config.separator, config.comment)
