"""Tables of JSON lines, with an object for each row, read some rows at a time."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from stackae.data.tables.text_blocks import Lines
from stackae.data.tables.typed_columns import check_types, rows_at_once, unsupported_types
from stackae.errors import DataError, NoRowsError, in_a_line

if TYPE_CHECKING:
    from hashlib import _Hash

_INTEGER = range(-(1 << 63), 1 << 63)


class JsonLines:
    """A text file with a JSON object in each line; `names` are the keys of all of them.

    It is read once for the names and types: a key that an object lacks is a missing cell, and a column of
    strings and numbers, or of booleans and others, is one of strings. Blank lines and those that start with
    `comment` are skipped.
    Raises `DataError` where a line is no object, `NoRowsError` where there is none.
    """

    separator = None

    def __init__(self, path: Path, comment: str | None = None) -> None:
        self.path, self._comment = path, comment
        kinds: dict[str, set[str]] = {}
        for objects in self._objects(Lines(path, comment)):
            for row in objects:
                for name, cell in row.items():
                    kinds.setdefault(name, set()).add(_kind(cell))
        if not kinds:
            raise NoRowsError(f"{path}: the file has no rows with keys")
        self.names = tuple(kinds)
        self._schema = pa.schema([(name, _type(kinds[name] - {"null"})) for name in self.names])

    def unsupported(self) -> dict[str, str]:
        """Return the types, by name, of the columns that have lists or objects for cells."""
        return unsupported_types(self._schema, self.names)

    def check(self, columns: Sequence[str]) -> None:
        """Check that no cells of columns are lists or objects; DataError where some are."""
        check_types(self.path, self._schema, columns)

    def batches(self, columns: Sequence[str], digest: _Hash | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the cells of columns, some rows at a time; add the content to `digest`.

        Raises `DataError`, with the row's number, where one is no object.
        """
        schema = pa.schema([self._schema.field(name) for name in dict.fromkeys(columns)])
        size = rows_at_once(columns)
        for objects in self._objects(Lines(self.path, self._comment, digest)):
            for start in range(0, len(objects), size):
                rows = objects[start : start + size]
                cells = [_cells([row.get(field.name) for row in rows], field.type) for field in schema]
                # Without any column a batch would have no length.
                yield (
                    pa.RecordBatch.from_arrays(cells, schema=schema)
                    if cells
                    else pa.RecordBatch.from_arrays([pa.nulls(len(rows))], [""])
                )

    def _objects(self, lines: Lines) -> Iterator[list[dict[str, Any]]]:
        """Yield the objects of some lines."""
        number = 0
        for block in lines:
            objects = []
            for line in filter(bytes.strip, block.split(b"\n")):
                number += 1
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError) as fault:
                    raise self._refusal(number, line, f"no JSON ({in_a_line(fault)})") from None
                if not isinstance(row, dict):
                    raise self._refusal(number, line, "no object with a key for each column")
                objects.append(row)
            if objects:
                yield objects

    def _refusal(self, number: int, line: bytes, what: str) -> DataError:
        text = " ".join(line.decode().split())
        shown = text if len(text) <= 60 else f"{text[:60]}…"
        return DataError(
            f"{self.path}: data row {number:,} is {what}: '{shown}'; write one object in each line"
        )


def _kind(cell: Any) -> str:
    if cell is None:
        return "null"
    if isinstance(cell, bool):
        return "boolean"
    if isinstance(cell, int):
        return "integer" if cell in _INTEGER else "number"
    if isinstance(cell, float):
        return "number"
    return "string" if isinstance(cell, str) else "nested"


def _type(kinds: set[str]) -> pa.DataType:
    """Return the type of a column whose cells are of these kinds."""
    if "nested" in kinds:
        return pa.list_(pa.null())
    if not kinds:
        return pa.null()
    if kinds == {"boolean"}:
        return pa.bool_()
    if kinds == {"integer"}:
        return pa.int64()
    return pa.float64() if kinds <= {"integer", "number"} else pa.string()


def _cells(values: list[Any], type_: pa.DataType) -> pa.Array:
    if type_ == pa.string():
        values = [value if value is None or isinstance(value, str) else _text(value) for value in values]
    elif type_ == pa.float64():
        values = [value if value is None else _float(value) for value in values]
    return pa.array(values, type_)


def _text(value: Any) -> str:
    """Return a number or boolean as JSON has it; whole numbers have no point."""
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
    return json.dumps(int(value) if whole else value)


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer of more than 308 digits
        return math.copysign(math.inf, value)
