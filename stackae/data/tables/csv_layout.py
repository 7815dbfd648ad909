"""How a text file of cells is laid out: what parts the cells, what is above the rows, how wide rows are."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stackae.data.tables.text_blocks import Lines

SEPARATORS = (",", ";", "\t", "|")
BLANKS = " "
"""The separator that stands for runs of blanks and tabs."""
_LINES, _BYTES = 100, 1 << 20  # looked at
_TITLES = 10  # lines above the header, at most
_LEAST = 3  # columns below which a short first line may be a header that lacks names as well as a title
_MOSTLY = 0.9
_DECLARED = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
_RUN = re.compile(rb'(?<![^ \t\r\n])"(?:[^"\r\n]|"")*"(?=[ \t\r\n]|\Z)|[ \t]+')
_EDGE = re.compile(rb"^ | (?=\r?$)", re.MULTILINE)
_NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Line:
    """A line that is not blank, and how many lines of the file end with it."""

    text: str
    number: int


@dataclass(frozen=True)
class Layout:
    """What is above the rows, and what rows are like, if cells are parted by `separator`.

    `header` are the cells of the first line that is no title, whose last line is `end`; `before` is the
    number of lines before it. `extra` tells of a cell that rows have and the header has not: at their
    `start`, R's names of rows, or at their `end`, behind a separator that ends each row.
    """

    separator: str
    header: tuple[str, ...]
    before: int
    end: int
    width: int
    share: float
    """The share of lines that are as wide as they should be."""
    extra: str | None = None

    @property
    def plain(self) -> bool:
        """True where the first line of all is as wide as the rows."""
        return self.before == 0 and self.extra is None


def read_head(path: Path, comment: str | None) -> list[Line]:
    """Read the first lines of a file that are not blank, two at least if it has as many."""
    lines: list[Line] = []
    before = size = 0
    for block in Lines(path, comment):
        texts = re.split(r"\r\n|\r|\n", block.decode())
        lines += [Line(text, before + at) for at, text in enumerate(texts, 1) if text.strip(" ")]
        before, size = before + len(texts) - (not texts[-1]), size + len(block)
        if len(lines) >= _LINES or (len(lines) > 1 and size >= _BYTES):
            break
    return lines[:_LINES]


def declared_separator(line: Line) -> str | None:
    """Return the separator that a first line as `sep=;`, which Excel writes and reads, declares, or None."""
    declared = _DECLARED.fullmatch(line.text.strip(" "))
    return declared[1] if declared else None


def find_layout(path: Path, lines: Sequence[Line], separator: str | None, *, header: bool) -> Layout:
    """Find how lines are laid out, with the separator if it is known; `header` tells if they have one.

    A separator parts most lines into as many cells; more cells are better. Blanks part cells only where they
    part all lines alike, and nothing else does. Raises `csv.Error` where the first line cannot be split.
    """
    if separator is None and ".tsv" in map(str.lower, path.suffixes):
        separator = "\t"
    if separator is not None:
        return _layout(lines, separator, header=header)
    found = []
    for candidate in SEPARATORS:
        try:
            found.append(_layout(lines, candidate, header=header))
        except csv.Error:
            continue
    wide = [layout for layout in found if layout.width > 1]
    best = max(wide, key=lambda layout: (layout.share, layout.plain, layout.width), default=None)
    # Columns that are aligned by blanks, and a last one behind a tab, as in files of the UCI.
    aligned = best is not None and best.separator == "\t" and all("  " in line.text for line in lines)
    if best is None or best.share < 1.0 or aligned:
        with suppress(csv.Error):
            blanks = _layout(lines, BLANKS, header=header)
            if blanks.width > 1 and blanks.share == 1.0:
                return blanks
    return best or _layout(lines, SEPARATORS[0], header=header)


def is_open(text: str, separator: str) -> bool:
    """Tell whether a quote is opened in lines and not closed in them."""
    try:
        list(csv.reader([text], delimiter=separator, skipinitialspace=True, strict=True))
    except csv.Error as fault:
        return "unexpected end" in str(fault)
    return False


def single_blanks(block: bytes) -> bytes:
    """Return whole lines with one blank for each run of blanks and tabs, and none at a line's ends.

    What is in quotes within a line stays as it is.
    """
    runs = _RUN.sub(lambda run: run[0] if run[0][:1] == b'"' else b" ", block)
    return _EDGE.sub(b"", runs)


def _layout(lines: Sequence[Line], separator: str, *, header: bool) -> Layout:
    """Find how lines are laid out, given what parts their cells."""
    records = _records(lines, separator)
    sizes = [len(record.cells) for record in records]
    width = Counter(sizes[1:] or sizes).most_common(1)[0][0]
    first = _titles(records, width) if header else 0
    extra = _extra(records[first:], width, header=header)
    fitting = sizes[first:].count(width) + (header and extra is not None)
    share = fitting / len(sizes[first:])
    if sizes[first] != width - (header and extra is not None) or share < _MOSTLY:
        # Whatever is wrong with it, the first line says how many cells there should be.
        first, extra, width, share = 0, None, sizes[0], sizes.count(sizes[0]) / len(sizes)
    top = records[first]
    return Layout(separator, top.cells, top.before, top.end, width, share, extra)


@dataclass(frozen=True)
class _Record:
    """A row of cells, and the numbers of lines before it and up to its end."""

    cells: tuple[str, ...]
    before: int
    end: int


def _records(lines: Sequence[Line], separator: str) -> list[_Record]:
    """Split lines into cells; those that a quote joins are one record."""
    texts = [f"{line.text}\n" for line in lines]
    if separator == BLANKS:
        texts = [single_blanks(text.encode()).decode() for text in texts]
    reader = csv.reader(texts, delimiter=separator, skipinitialspace=separator != BLANKS)
    records, used = list[_Record](), 0
    for cells in reader:
        if cells:
            records.append(_Record(tuple(cells), lines[used].number - 1, lines[reader.line_num - 1].number))
        used = reader.line_num
    if not records:
        raise csv.Error("there are blanks alone")
    return records


def _titles(records: Sequence[_Record], width: int) -> int:
    """Return how many records are titles above the header of so many columns, or one fewer.

    A title has fewer cells than any header has, or is one cell beside empty ones, as Excel writes it.
    """
    if width < _LEAST:
        return 0
    for number, record in enumerate(records[: _TITLES + 1]):
        filled = [cell.strip() for cell in record.cells if cell.strip()]
        if len(record.cells) >= width - 1 and len(filled) > 1:
            # Else it is a row below a header that lacks names.
            below = [cell.strip() for row in records[number + 1 :] for cell in row.cells]
            named = any(map(_NUMBER.fullmatch, below)) and not any(map(_NUMBER.fullmatch, filled))
            return number if named else 0
    return 0


def _extra(records: Sequence[_Record], width: int, *, header: bool) -> str | None:
    """Tell whether rows have names of their own at the `start`, or nothing behind a last separator: `end`."""
    rows = [record.cells for record in records[header:] if len(record.cells) == width]
    if width < _LEAST or not rows or len(records[0].cells) != width - header:
        return None
    if not any(row[-1].strip() for row in rows):
        return "end"
    names = [row[0].strip() for row in rows]
    whole = all(name.isdecimal() or not _NUMBER.fullmatch(name) for name in names)
    numbers = any(_NUMBER.fullmatch(cell.strip()) for row in rows for cell in row[1:])
    return "start" if header and whole and numbers and len(set(names)) == len(names) > 1 else None
