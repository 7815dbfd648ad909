"""Tables in delimited text files, as .csv, read some rows at a time."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from stackae.data.tables.text_blocks import Lines, Stream
from stackae.errors import DataError

if TYPE_CHECKING:
    from hashlib import _Hash

_SEPARATORS = (",", ";", "\t", "|")
_LOOKED_AT = 100  # lines by which the separator is detected
_BLOCK = 1 << 22  # bytes that are parsed at once, and so those of the longest row
_WITH_COMMA = r"^\s*[+-]?(\d+|\d{1,3}(\.\d{3})+)?(,\d+)?([eE][+-]?\d+)?\s*$"
_HEADER = re.compile(rb"[ \r\n]*[^\r\n]*\r?\n?")


class Delimited:
    """A text file of cells, with the columns' `names` in its first line, unless they are given.

    Of several choices of names it takes the one with as many as the first row has cells. Blank lines and
    those that start with `comment` are skipped; `separator` is detected where it is not given. With a comma
    as `decimal`, cells such as `1.234,5` become `1234.5`.
    Raises `DataError` where the file is not text, has no rows, or not as many cells in a row as names.
    """

    def __init__(
        self,
        path: Path,
        names: Sequence[Sequence[str]] = (),
        separator: str | None = None,
        comment: str | None = None,
        decimal: str = ".",
    ) -> None:
        self.path = path
        self._comment, self._has_header, self._decimal = comment, not names, decimal
        if separator is not None and (separator in '"\r\n' or not separator.isascii()):
            raise DataError(
                f"data.separator: {separator!r} cannot stand between cells; use an ASCII character"
            )
        lines = _first_lines(path, comment)
        if not lines:
            raise DataError(f"{path}: the file is empty")
        self.separator = separator or self._detect_separator(lines)
        try:
            cells = self._split(lines[:1])[0]
        except csv.Error as fault:
            raise DataError(f"{path}: the first line cannot be split into cells ({fault})") from None
        if not names:
            if self._is_open(lines[0]):
                raise DataError(f"{path}: a name in the header goes on in the next line; write it in one")
            names = [[name.strip() or f"column {number}" for number, name in enumerate(cells, 1)]]
            if len(lines) == 1:
                raise DataError(f"{path}: there is a header, but no row below it")
        fitting = [tuple(choice) for choice in names if len(choice) == len(cells)]
        if not fitting:
            is_row = comment or lines[0].lstrip()[0] not in "#|%"
            remedy = "name every column, also those that data.drop leaves out"
            raise DataError(
                f"{path}: data row 1 has {len(cells):,} cells, but data.columns {len(names[0]):,} names: "
                f"'{_short(lines[0])}'; {remedy if is_row else 'if that is not a row, set data.comment'}"
            )
        self.names = fitting[0]

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
        included = list(dict.fromkeys([*columns, self.names[-1]]))
        try:
            for batch in pa.csv.open_csv(
                pa.PythonFile(io.BufferedReader(Stream(self._blocks(lines))), mode="r"),
                pa.csv.ReadOptions(use_threads=False, block_size=_BLOCK, column_names=self.names),
                pa.csv.ParseOptions(
                    delimiter=self.separator, newlines_in_values=True, invalid_row_handler=refuse
                ),
                pa.csv.ConvertOptions(
                    column_types=dict.fromkeys(self.names, pa.string()),
                    include_columns=included,
                    strings_can_be_null=False,
                    check_utf8=False,  # the lines are checked
                ),
            ):
                if len(batch):
                    rows, last = rows + len(batch), batch.column(self.names[-1])[-1].as_py()
                    yield _with_points(batch) if self._decimal == "," else batch
        except pa.ArrowInvalid as fault:
            raise DataError(f"{self.path}: {self._explain(fault, ragged, rows)}") from None
        if "\n" in last and lines.end != b'"':
            raise DataError(
                f"{self.path}: data row {rows:,} opens a quote that is never closed, before "
                f"'{_short(last)}'; close it"
            )

    def _blocks(self, lines: Lines) -> Iterator[bytes]:
        """Yield the rows, whole lines at a time, without header."""
        # A quote behind a space would be taken for a part of its cell; two of them are one within quotes.
        separator = self.separator.encode()
        quote = re.compile(re.escape(separator) + b' "(?!")')
        header = self._has_header
        for block in lines:
            if header:
                block, header = _HEADER.sub(b"", block, count=1), False
            if separator + b' "' in block and separator != b" ":
                block = quote.sub(separator + b'"', block)
            yield block

    def _explain(self, fault: pa.ArrowInvalid, ragged: Sequence[pa.csv.InvalidRow], rows: int) -> str:
        if ragged:
            row = ragged[0]
            remedy = f"correct it, quote cells that have {self.separator!r} in them, or set data.separator"
            if "\n" in row.text:
                remedy = "close the quote that is opened in it"
            return (
                f"data row {row.number:,} has {row.actual_columns:,} cells, but there are "
                f"{row.expected_columns:,} columns: '{_short(row.text)}'; {remedy}"
            )
        if "straddl" in str(fault):
            return f"data row {rows + 1:,} or one soon after it opens a quote that is not closed; close it"
        return f"cannot be read after data row {rows:,} ({str(fault).partition(chr(10))[0]})"

    def _split(self, lines: Sequence[str]) -> list[list[str]]:
        return list(csv.reader(lines, delimiter=self.separator, skipinitialspace=self.separator != " "))

    def _is_open(self, line: str) -> bool:
        """Tell whether a quote in a line is not closed in it."""
        try:
            list(csv.reader([line], delimiter=self.separator, skipinitialspace=True, strict=True))
        except csv.Error as fault:
            return "unexpected end" in str(fault)
        return False

    def _detect_separator(self, lines: Sequence[str]) -> str:
        """Find what separates most lines into as many cells as the first, preferring more cells."""
        if ".tsv" in map(str.lower, self.path.suffixes):
            return "\t"
        scores = {}
        for separator in _SEPARATORS:
            self.separator = separator
            try:
                sizes = [len(row) for row in self._split(lines) if row]
            except csv.Error:
                continue
            if sizes[0] > 1:
                scores[separator] = Counter(sizes)[sizes[0]] / len(sizes), sizes[0]
        return max(scores, key=lambda separator: scores[separator], default=",")


def _first_lines(path: Path, comment: str | None) -> list[str]:
    """Read the first lines of a file that are not blank, two at least if it has as many."""
    lines: list[str] = []
    for block in Lines(path, comment):
        lines += [line for line in re.split(r"\r\n|\r|\n", block.decode()) if line.strip(" ")]
        if len(lines) > 1:
            break
    return lines[:_LOOKED_AT]


def _with_points(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Replace decimal commas in cells that are numbers by points, and take out points between thousands."""
    columns = []
    for cells in batch.columns:
        with_point = pc.replace_substring(pc.replace_substring(cells, ".", ""), ",", ".")
        columns.append(pc.if_else(pc.match_substring_regex(cells, _WITH_COMMA), with_point, cells))
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:60]}…"
