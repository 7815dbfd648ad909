"""Columns of a table as they stand in its files, read beside the rows that a model is given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from stackae.config import DataConfig
from stackae.data.tables.cells import is_string
from stackae.data.tables.columns import check_kept, common_names
from stackae.data.tables.partitions import open_tables
from stackae.errors import DataError


class KeptColumns:
    """Columns of tables, whatever training makes of them, given out once from the first row to the last.

    Cells of text are strings as they stand in the file, null where one is empty; others have the types that
    they have there. Raises `DataError` where there is no such column.
    """

    def __init__(self, paths: Sequence[Path], config: DataConfig, names: Sequence[str]) -> None:
        # Columns that training knows alone may be absent; a decimal comma stays one.
        roles = {name for name in (config.target, config.group, config.order) if name is not None}
        plain = config.model_copy(update={"decimal": "."})
        self._files = open_tables(paths, plain, roles, like=names)
        self.names = tuple(dict.fromkeys(names))
        check_kept(self.names, common_names([(file.path, file.names) for file in self._files]), paths[0])
        self._batches = self._read()
        self._left = next(self._batches)

    @property
    def types(self) -> dict[str, pa.DataType]:
        """The type of each column's cells."""
        return {name: self._left.schema.field(name).type for name in self.names}

    def next(self, rows: int) -> dict[str, pa.Array]:
        """Return the columns of so many rows that follow on those returned before."""
        while len(self._left) < rows:
            more = next(self._batches, None)
            if more is None:
                raise DataError(f"{self._files[0].path}: the file was changed while it was read; start again")
            self._left = pa.concat_tables([self._left, more])
        taken, self._left = self._left.slice(0, rows), self._left.slice(rows)
        return {name: pa.concat_arrays(taken.column(name).chunks) for name in self.names}

    def _read(self) -> Iterator[pa.Table]:
        schema = None
        for file in self._files:
            for batch in file.batches(self.names):
                table = pa.table({name: _plain(batch.column(name)) for name in self.names})
                schema = schema or table.schema
                try:
                    yield table.cast(schema)
                except pa.ArrowInvalid:
                    raise DataError(
                        f"{file.path}: the cells of {', '.join(self.names)} are of other types than in "
                        f"{self._files[0].path}; keep others, or make them alike"
                    ) from None


def _plain(cells: pa.Array) -> pa.Array:
    """Return cells without the dictionary that they may be in, and strings as the one type of strings."""
    if pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    if not is_string(cells.type):
        return cells
    strings = cells.cast(pa.string())
    return pc.if_else(pc.equal(strings, ""), None, strings)
