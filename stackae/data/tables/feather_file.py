"""Tables in Feather and Arrow files, read some rows at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.ipc

from stackae.data.tables.typed_columns import check_types, column_names, rows_at_once, unsupported_types
from stackae.errors import DataError, NoRowsError, in_a_line

if TYPE_CHECKING:
    from hashlib import _Hash

_FILE, _FIRST_VERSION = b"ARROW1", b"FEA1"


class Feather:
    """An Arrow file or stream, as Feather is one; `names` are those of its columns, without an index.

    Raises `DataError` where it is damaged, `NoRowsError` where it has no rows.
    """

    separator = None

    def __init__(self, path: Path) -> None:
        self.path = path
        self._schema: pa.Schema = None
        # No more is read of a file than it takes to find a row.
        rows = any(len(batch) for batch in self._record_batches(()))
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
        size = rows_at_once(columns)
        for batch in self._record_batches(columns):
            for start in range(0, len(batch), size):
                yield batch.slice(start, size)

    def _record_batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield the columns as they are stored, checked to be what they claim, and set the schema."""
        try:
            with pa.memory_map(str(self.path)) as stored:
                head = stored.read(len(_FILE))
                stored.seek(0)
                if head[: len(_FIRST_VERSION)] == _FIRST_VERSION:
                    raise DataError(
                        f"{self.path}: is a Feather file of version 1; write it anew, in version 2"
                    )
                if head == _FILE:
                    self._schema = pa.ipc.open_file(stored).schema
                    file = pa.ipc.open_file(stored, options=self._only(columns))
                    for number in range(file.num_record_batches):
                        yield _checked(file.get_batch(number), columns)
                else:
                    self._schema = pa.ipc.open_stream(stored).schema
                    stored.seek(0)
                    for batch in pa.ipc.open_stream(stored, options=self._only(columns)):
                        yield _checked(batch, columns)
        except DataError:
            raise
        except FileNotFoundError:
            raise DataError(
                f"{self.path}: there is no such file; paths start at the current folder"
            ) from None
        except Exception as fault:  # whatever a damaged file makes the reader raise
            raise DataError(
                f"{self.path}: is not an Arrow file that can be read ({in_a_line(fault)}); write it anew"
            ) from None

    def _only(self, columns: Sequence[str]) -> pa.ipc.IpcReadOptions:
        """Return options that leave other columns compressed; all are read where none is asked for."""
        fields = sorted({self._schema.names.index(name) for name in columns})
        return pa.ipc.IpcReadOptions(included_fields=fields)


def _checked(batch: pa.RecordBatch, columns: Sequence[str]) -> pa.RecordBatch:
    """Return columns of a batch; ArrowInvalid where offsets or lengths in it point elsewhere."""
    chosen = batch.select(list(dict.fromkeys(columns)))
    # What a file claims of its own memory is believed by all that reads it later.
    chosen.validate(full=True)
    return chosen
