"""Tables in Parquet files, read some rows at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from stackae.data.tables.typed_columns import check_types, column_names, rows_at_once, unsupported_types
from stackae.errors import DataError, NoRowsError

if TYPE_CHECKING:
    from hashlib import _Hash


class Parquet:
    """A Parquet file; `names` are those of its columns, without the index of a DataFrame.

    Raises `DataError` where it is damaged, `NoRowsError` where it has no rows.
    """

    separator = None

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._open() as file:
            self._schema, rows = file.schema_arrow, file.metadata.num_rows
        self.names = column_names(self._schema)
        if not rows:
            raise NoRowsError(f"{path}: there are columns, but no rows")

    def unsupported(self) -> dict[str, str]:
        """Return the types, by name, of the columns whose cells are neither strings nor numbers nor times."""
        return unsupported_types(self._schema, self.names)

    def check(self, columns: Sequence[str]) -> None:
        """Check that the cells of columns are strings, numbers or times; DataError where they are not."""
        check_types(self.path, self._schema, columns)

    def batches(self, columns: Sequence[str], digest: _Hash | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the cells of columns, at least, some rows at a time; add the content to `digest`.

        Raises `DataError` where the file is damaged.
        """
        if digest is not None:
            with self.path.open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
        with self._open() as file:
            batches = file.iter_batches(rows_at_once(columns), columns=list(columns), use_threads=False)
            while True:
                try:
                    batch = next(batches, None)
                except (pa.ArrowException, OSError) as fault:
                    raise DataError(f"{self.path}: {_damaged(fault)}") from None
                if batch is None:
                    return
                yield batch

    def _open(self) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(self.path)
        except (pa.ArrowException, OSError) as fault:
            raise DataError(f"{self.path}: {_damaged(fault)}") from None


def _damaged(fault: Exception) -> str:
    return f"is not a Parquet file that can be read ({str(fault).partition(chr(10))[0]}); write it anew"
