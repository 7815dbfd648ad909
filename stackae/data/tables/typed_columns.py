"""The columns of files that say of what type their cells are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from stackae.data.tables.cells import is_cell
from stackae.errors import DataError

CELLS = 1 << 20
"""Cells that are read at once."""
_INDEX = re.compile(r"__index_level_\d+__")


def column_names(schema: pa.Schema) -> tuple[str, ...]:
    """Return the names of the columns, without the index of a DataFrame."""
    return tuple(name for name in schema.names if not _INDEX.fullmatch(name))


def unsupported_types(schema: pa.Schema, names: Sequence[str]) -> dict[str, str]:
    """Return the types, by name, of the columns whose cells are neither strings nor numbers nor times."""
    # A name that is there twice is refused by whoever asks for the columns.
    types = {name: schema.field(schema.names.index(name)).type for name in names}
    return {name: str(type_) for name, type_ in types.items() if not is_cell(type_)}


def check_types(path: Path, schema: pa.Schema, names: Sequence[str]) -> None:
    """Check that the cells of columns are strings, numbers or times; DataError where they are not."""
    for name, type_ in unsupported_types(schema, names).items():
        raise DataError(
            f"{path}: column '{name}' has cells of type {type_}, which are neither strings nor "
            "numbers nor times; leave it out with data.drop"
        )


def rows_at_once(columns: Sequence[str]) -> int:
    """Return how many rows of so many columns are read at once."""
    return max(1, min(1 << 15, CELLS // (len(columns) or 1)))
