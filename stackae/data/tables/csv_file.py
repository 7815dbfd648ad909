"""Tables in delimited text files, as .csv, read some rows at a time."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from stackae.data.tables.csv_layout import (
    BLANKS,
    Layout,
    Line,
    declared_separator,
    find_layout,
    is_open,
    read_head,
    single_blanks,
)
from stackae.data.tables.text_blocks import Lines, Stream
from stackae.errors import DataError, NoRowsError

if TYPE_CHECKING:
    from hashlib import _Hash

_BLOCK = 1 << 22  # bytes that are parsed at once, and so those of the longest row
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")
_BEHIND = "\0"  # what is behind the separator that ends a row; no name has a zero byte


class Delimited:
    """A text file of cells, with the columns' `names` in its first line, unless they are given.

    Of several choices of names it takes the one with as many as the first row has cells. Blank lines and
    those that start with `comment` are skipped, so are titles above the header; `separator` is detected where
    it is not given, and a blank stands for runs of them.
    Raises `DataError` where the file is not text, has no rows, or not as many cells in a row as names.
    """

    def __init__(
        self,
        path: Path,
        names: Sequence[Sequence[str]] = (),
        separator: str | None = None,
        comment: str | None = None,
    ) -> None:
        self.path = path
        self._comment, self._has_header = comment, not names
        if separator is not None and (separator in '"\r\n' or not separator.isascii()):
            raise DataError(
                f"data.separator: {separator!r} cannot stand between cells; use an ASCII character"
            )
        lines = read_head(path, comment)
        if lines and (declared := declared_separator(lines[0])):
            separator, lines = separator or declared, lines[1:]
        if not lines:
            raise NoRowsError(f"{path}: the file is empty")
        try:
            layout = find_layout(path, lines, separator, header=not names)
        except csv.Error as fault:
            raise DataError(f"{path}: the first line cannot be split into cells ({fault})") from None
        self.separator = layout.separator
        self._above = layout.before if names else layout.end
        self.names = self._named(layout, lines) if not names else self._fitting(layout, names, lines[0])
        ends = layout.extra == "end" and len(self.names) == layout.width - 1
        self._cells = (*self.names, _BEHIND) if ends else self.names

    def _named(self, layout: Layout, lines: Sequence[Line]) -> tuple[str, ...]:
        """Return the names that the header gives; a column without one is called by its place."""
        header = [line.text for line in lines if layout.before < line.number <= layout.end]
        if is_open("\n".join(header), self.separator):
            raise DataError(f"{self.path}: the header opens a quote that is never closed; close it")
        if lines[-1].number == layout.end:
            raise NoRowsError(f"{self.path}: there is a header, but no row below it")
        names = ("", *layout.header) if layout.extra == "start" else layout.header
        return tuple(name.strip() or f"column {number}" for number, name in enumerate(names, 1))

    def _fitting(self, layout: Layout, names: Sequence[Sequence[str]], line: Line) -> tuple[str, ...]:
        """Return those of the given names that are as many as a row has cells."""
        widths = {layout.width, layout.width - 1} if layout.extra == "end" else {layout.width}
        fitting = [tuple(choice) for choice in names if len(choice) in widths]
        if not fitting:
            remedy = "name every column, also those that data.drop leaves out"
            if not self._comment and line.text.lstrip()[0] in "#|%":
                remedy = "if that is not a row, set data.comment"
            raise DataError(
                f"{self.path}: data row 1 has {layout.width:,} cells, but data.columns {len(names[0]):,} "
                f"names: '{_short(line.text)}'; {remedy}"
            )
        return max(fitting, key=len)

    def unsupported(self) -> dict[str, str]:
        """Return no column's type, as all have cells of text."""
        return {}

    def check(self, columns: Sequence[str]) -> None:
        """Accept any columns, as all have cells of text."""

    def batches(self, columns: Sequence[str], digest: _Hash | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the cells of columns, at least, as strings, some rows at a time; add the content to `digest`.

        Raises `DataError`, with the row's number, where a row has more or fewer cells than there are names.
        """
        lines = Lines(self.path, self._comment, digest)
        ragged: list[pa.csv.InvalidRow] = []

        def refuse(row: pa.csv.InvalidRow) -> str:
            ragged.append(row)
            return "error"

        rows, last = 0, ""
        # In the last cell of all it shows whether a quote was left open.
        included = list(dict.fromkeys([*columns, self._cells[-1]]))
        try:
            for batch in pa.csv.open_csv(
                pa.PythonFile(io.BufferedReader(Stream(self._blocks(lines))), mode="r"),
                pa.csv.ReadOptions(use_threads=False, block_size=_BLOCK, column_names=self._cells),
                pa.csv.ParseOptions(
                    delimiter=self.separator, newlines_in_values=True, invalid_row_handler=refuse
                ),
                pa.csv.ConvertOptions(
                    column_types=dict.fromkeys(self._cells, pa.string()),
                    include_columns=included,
                    strings_can_be_null=False,
                    check_utf8=False,  # the lines are checked
                ),
            ):
                if len(batch):
                    last = batch.column(self._cells[-1])[-1].as_py()
                    if self._cells != self.names:
                        self._check_ends(batch.column(_BEHIND), rows)
                        batch = batch.drop_columns([_BEHIND])
                    rows += len(batch)
                    yield batch
        except pa.ArrowInvalid as fault:
            raise DataError(f"{self.path}: {self._explain(fault, ragged, rows)}") from None
        if "\n" in last and lines.end != b'"':
            raise DataError(
                f"{self.path}: data row {rows:,} opens a quote that is never closed, before "
                f"'{_short(last)}'; close it"
            )

    def _check_ends(self, cells: pa.Array, before: int) -> None:
        """Raise `DataError` where something is behind the separator that ends the other rows."""
        wrong = pc.index(pc.equal(pc.utf8_trim_whitespace(cells), ""), False).as_py()
        if wrong >= 0:
            raise DataError(
                f"{self.path}: data row {before + wrong + 1:,} has '{_short(cells[wrong].as_py())}' behind "
                f"the {self.separator!r} that ends other rows; remove it, or name its column in the header"
            )

    def _blocks(self, lines: Lines) -> Iterator[bytes]:
        """Yield the rows, whole lines at a time, without what is above them."""
        # A quote behind a space would be taken for a part of its cell; two of them are one within quotes.
        separator = self.separator.encode()
        quote = re.compile(re.escape(separator) + b' "(?!")')
        above = self._above
        for block in lines:
            if above:
                start = 0
                for line in islice(_LINE.finditer(block), above):
                    start, above = line.end(), above - 1
                block = block[start:]
            if self.separator == BLANKS:
                block = single_blanks(block)
            elif separator + b' "' in block:
                block = quote.sub(separator + b'"', block)
            yield block

    def _explain(self, fault: pa.ArrowInvalid, ragged: Sequence[pa.csv.InvalidRow], rows: int) -> str:
        if ragged:
            row = ragged[0]
            more = row.actual_columns - row.expected_columns
            remedy = f"correct it, quote cells that have {self.separator!r} in them, or set data.separator"
            if "\n" in row.text:
                remedy = "close the quote that is opened in it"
            elif more == 1 and row.text.rstrip().endswith(self.separator):
                remedy = f"remove the {self.separator!r} at its end, or end every row with one"
            elif row.number == 1 and self._has_header:
                header = _short(self.separator.join(self.names))
                remedy = (
                    f"give the header '{header}' a name for each cell, delete "
                    f"that line if it is a title, or quote cells that have {self.separator!r} in them"
                )
            return (
                f"data row {row.number:,} has {row.actual_columns:,} cells, but there are "
                f"{row.expected_columns:,} columns: '{_short(row.text)}'; {remedy}"
            )
        if "straddl" in str(fault):
            return f"data row {rows + 1:,} or one soon after it opens a quote that is not closed; close it"
        return f"cannot be read after data row {rows:,} ({str(fault).partition(chr(10))[0]})"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:60]}…"
