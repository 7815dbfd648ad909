"""Tables in Parquet files, read some rows at a time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from stackae.data.tables.cells import is_cell
from stackae.errors import DataError

if TYPE_CHECKING:
    from hashlib import _Hash

_CELLS = 1 << 20  # read at once
_INDEX = re.compile(r"__index_level_\d+__")


class Parquet:
    """A Parquet file; `names` are those of its columns, without the index of a DataFrame.

    Raises `DataError` where it is damaged or has no rows.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._open() as file:
            self._schema, rows = file.schema_arrow, file.metadata.num_rows
        self.names = tuple(name for name in self._schema.names if not _INDEX.fullmatch(name))
        if not rows:
            raise DataError(f"{path}: there are columns, but no rows")

    def unsupported(self) -> dict[str, str]:
        """Return the types, by name, of the columns whose cells are neither strings nor numbers nor times."""
        types = {name: self._schema.field(name).type for name in self.names}
        return {name: str(type_) for name, type_ in types.items() if not is_cell(type_)}

    def check(self, columns: Sequence[str]) -> None:
        """Check that the cells of columns are strings, numbers or times; DataError where they are not."""
        for name in columns:
            type_ = self._schema.field(name).type
            if not is_cell(type_):
                raise DataError(
                    f"{self.path}: column '{name}' has cells of type {type_}, which are neither strings nor "
                    "numbers nor times; leave it out with data.drop"
                )

    def batches(self, columns: Sequence[str], digest: _Hash | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the cells of columns, at least, some rows at a time; add the content to `digest`.

        Raises `DataError` where the file is damaged.
        """
        if digest is not None:
            with self.path.open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
        size = max(1, min(1 << 15, _CELLS // (len(columns) or 1)))
        with self._open() as file:
            batches = file.iter_batches(size, columns=list(columns), use_threads=False)
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
