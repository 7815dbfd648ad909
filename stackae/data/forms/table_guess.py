"""Guesses the settings for a table that nobody has described."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stackae.config import DataConfig
from stackae.data.forms.form import Guess
from stackae.data.tables.columns import common_names
from stackae.data.tables.missing_signs import is_sign
from stackae.errors import DataError

TARGETS = (
    *("target", "label", "labels", "class", "classes", "y", "income", "outcome", "category", "species"),
    *("diagnosis", "survived", "churn", "default", "attack_type"),
)
"""Names of columns that are likely to have the labels."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_DECIMAL_COMMA = r"^[+-]?(0|\d{4,}|\d{1,3}(\.\d{3})+)?,\d+$|^[+-]?\d*,(\d{1,2}|\d{4,})$"
_COMMENTS = "#|%"
_AMBIGUOUS = r"^[+-]?[1-9]\d{0,2},\d{3}$"
_MOSTLY = 0.9
_DISTINCT = 1000  # as many as a column of categories may have
_STRAYS = 20  # odd cells that differ, of which there may be so many before a column is one of categories
_COUNTED = 20  # rows; in fewer a column may count by chance


def guess(paths: Sequence[Path], settings: dict[str, Any]) -> Guess:
    """Guess header, comment, decimal sign, signs of missing values, and what types columns have.

    The first of several files says how all are written.
    """
    from stackae.data.tables.partitions import open_tables
    from stackae.data.tables.table_file import has_names_in_it

    why: dict[str, str] = {}
    target = settings.get("target")
    first = next((path for path in paths if path.stat().st_size), paths[0])
    if not has_names_in_it(first):
        _guess_layout(first, target, settings, why)
    config = DataConfig.model_validate(settings)
    files = open_tables(paths, config)
    all_names = common_names([(file.path, file.names) for file in files])
    unsupported = {name: type_ for file in files for name, type_ in file.unsupported().items()}
    names = [name for name in all_names if name not in unsupported]
    cells = _read_cells(files, names, target, config)
    if unsupported or cells.counters:
        settings["drop"] = [*cells.counters, *unsupported]
        why["drop"] = "; ".join(
            [f"'{name}' numbers the rows" for name in cells.counters]
            + [f"'{name}' has cells of type {type_}" for name, type_ in unsupported.items()]
        )
    if cells.signs or cells.strays:
        strays = sorted({stray for found in cells.strays.values() for stray in found})
        added = sorted({*cells.signs, *strays})
        settings["missing"] = [*DataConfig.model_fields["missing"].default, *added]
        occurs = f"{', '.join(map(repr, sorted(cells.signs)))} occurs in the file" if cells.signs else ""
        odd = [
            f"'{name}' has numbers, but also {_listed(found)}"
            if cells.types[name] == "numeric"
            else f"'{name}' has times, but also {_listed(found)}"
            for name, found in cells.strays.items()
        ]
        why["missing"] = "; ".join(filter(None, [occurs, *odd]))
    if cells.mixed:
        settings["types"] = dict.fromkeys(cells.mixed, "categorical")
        why["types"] = "; ".join(
            f"'{name}' has numbers, but also '{cell}'" for name, cell in cells.mixed.items()
        )
    likely = None
    if target is None:
        by_lower = {name.lower(): name for name in all_names}
        likely = next((by_lower[name] for name in TARGETS if name in by_lower), None)
    return Guess(settings, why, likely)


def _guess_layout(path: Path, target: str | None, settings: dict[str, Any], why: dict[str, str]) -> None:
    """Guess comment, header and decimal sign of a file of text, and set them."""
    from stackae.data.tables.csv_file import Delimited

    comment = _comment(path)
    if comment is not None:
        settings["comment"] = comment
    file = Delimited(path, comment=comment)
    # A column that is asked for by its name has one.
    if target not in file.names and not _is_header(path, file, comment):
        settings["columns"] = [f"c{number}" for number in range(1, len(file.names) + 1)]
        why["columns"] = "the file has no header; give its columns better names"
        file = Delimited(path, [settings["columns"]], comment=comment)
    setting, reason = _commas(file)
    if setting:
        settings[setting], why[setting] = ",", reason


def _comment(path: Path) -> str | None:
    """Return the sign before a first line that is not a row, by its number of cells, or None."""
    from stackae.data.tables.csv_file import Delimited
    from stackae.data.tables.text_blocks import Lines

    first = next(iter(Lines(path, None)), b"").decode().lstrip().partition("\n")[0]
    if not first or first[0] not in _COMMENTS:
        return None
    below = Delimited(path, comment=first[0])
    return first[0] if first.count(below.separator) + 1 != len(below.names) else None


def _is_header(path: Path, file: Any, comment: str | None) -> bool:
    """Tell whether the first line, taken for a header by `file`, is one: not a row of numbers or values."""
    import pyarrow.compute as pc

    from stackae.data.tables.cells import Reading, as_numbers
    from stackae.data.tables.csv_file import Delimited

    numeric = [name for name in file.names if _NUMBER.fullmatch(name)]
    if numeric:
        # A table of pixels, say, has its columns numbered.
        numberings = [[str(start + offset) for offset in range(len(numeric))] for start in (0, 1)]
        return len(numeric) > 2 and numeric in numberings
    if "?" in file.names:
        return False
    columns = [f"c{number}" for number in range(1, len(file.names) + 1)]
    try:
        batch = next(iter(Delimited(path, [columns], comment=comment).batches(columns)))
    except DataError:
        # Whoever reads the file next finds the same fault, and counts its row without the header.
        return True
    for name, column in zip(file.names, columns, strict=True):
        below = as_numbers(batch.column(column)[1:], Reading())
        if not is_sign(name) and below.null_count < len(below) and not pc.any(pc.is_nan(below)).as_py():
            return True
    if len(set(file.names)) < len(file.names):
        return False
    repeated = sum(
        name in {str(cell).strip() for cell in batch.column(column)[1:].to_pylist()}
        for name, column in zip(file.names, columns, strict=True)
    )
    return repeated <= len(columns) / 2


def _commas(file: Any) -> tuple[str, str]:
    """Return the setting that says what commas are in the numbers of the first rows, if any does, and why.

    They are the decimal mark where some cannot separate thousands, and there are no points. Where all may
    separate thousands, they do: a column of which all numbers have three decimals is rare.
    """
    import pyarrow.compute as pc

    from stackae.data.tables.cells import Reading, as_strings

    if len(set(file.names)) < len(file.names):
        return "", ""
    batch = next(iter(file.batches(file.names)))
    commas, thousands, points = 0, "", False
    for name in file.names:
        strings = as_strings(batch.column(name), Reading()).drop_null()
        points |= bool(pc.any(pc.match_substring_regex(strings, r"^[+-]?\d*\.\d+$")).as_py())
        # Other strings may have commas between digits too, but not all of them.
        like_numbers = pc.match_substring_regex(strings, r"^[+-]?[\d.]*(,\d+)*(\.\d+)?([eE][+-]?\d+)?$")
        if len(strings) and pc.mean(like_numbers).as_py() >= _MOSTLY:
            commas += int(pc.sum(pc.match_substring_regex(strings, _DECIMAL_COMMA)).as_py())
            first = pc.index(pc.match_substring_regex(strings, _AMBIGUOUS), True).as_py()
            thousands = thousands or (strings[first].as_py() if first >= 0 else "")
    if commas and not points:
        return "decimal", "numbers are written with a decimal comma"
    if thousands:
        value = thousands.replace(",", "")
        return (
            "thousands",
            f"'{thousands}' is read as {value}; if its comma is the decimal one, set decimal: ','",
        )
    return "", ""


@dataclass
class _Cells:
    """What is found in a table's cells."""

    signs: set[str] = field(default_factory=set)
    """Signs of a missing value between numbers."""
    strays: dict[str, dict[str, int]] = field(default_factory=dict)
    """By column, the few cells that are no numbers or times, and how often each is there."""
    types: dict[str, str] = field(default_factory=dict)
    mixed: dict[str, str] = field(default_factory=dict)
    """Columns of numbers with other cells that may not stand for missing values, and one of these."""
    counters: list[str] = field(default_factory=list)
    """Columns of numbers that grow by 1 from row to row: of a row each says where it stands, and where rows
    are sorted by class it gives the class away."""


def _read_cells(files: Sequence[Any], names: Sequence[str], target: str | None, config: DataConfig) -> _Cells:
    """Read all cells of columns for what is not as the others of its column."""
    import pyarrow as pa

    from stackae.data.tables.cells import Reading, as_strings, plain_batch, worth
    from stackae.data.tables.text_cells import Kind

    reading = Reading.of(config)
    counts = {name: np.zeros(len(Kind), np.int64) for name in names}
    odd: dict[str, Counter[str]] = {name: Counter() for name in names}
    counters, first, rows = dict[str, float](), dict[str, float](), 0
    for new_file, encoded in (
        (not at, batch) for file in files for at, batch in enumerate(file.batches(names))
    ):
        batch = plain_batch(encoded)
        for name in names:
            cells = batch.column(name)
            found = worth(cells, reading)
            if not rows or name in counters:
                filled = found.values.fill_null(np.nan).to_numpy(zero_copy_only=False)
                start = counters.pop(name, filled[0] - 1)
                # Each file may count its own rows.
                restarts = new_file and filled[0] == first.setdefault(name, float(filled[0]))
                steps = np.diff(filled, prepend=filled[0] - 1 if restarts else start)
                if (steps == 1).all() and (found.kinds == Kind.NUMBER).all():
                    counters[name] = float(filled[-1])
            there = found.values.is_valid().to_numpy(zero_copy_only=False)
            counts[name] += np.bincount(found.kinds[there], minlength=len(Kind))
            strange = there & (found.kinds == Kind.NONE)
            if strange.any() and len(odd[name]) <= _DISTINCT:
                for entry in as_strings(cells.filter(pa.array(strange)), reading).value_counts().to_pylist():
                    odd[name][entry["values"]] += entry["counts"]
        rows += len(batch)
    result = _Cells(counters=[name for name in counters if name != target] if rows >= _COUNTED else [])
    words = {name: set(strings) for name, strings in odd.items()}
    for name in names:
        if name == target:
            continue
        kinds, strings = counts[name], odd[name]
        valid = int(kinds[Kind.NUMBER] or kinds[Kind.TIME] or kinds[Kind.DURATION])
        result.types[name] = "numeric" if kinds[Kind.NUMBER] or kinds[Kind.DURATION] else "time"
        signs = {string for string in strings if is_sign(string)} if valid else {"?"} & set(strings)
        result.signs |= signs
        faults = {string: count for string, count in strings.items() if string not in signs}
        count = sum(faults.values())
        if not count or not valid or valid / (valid + count) < _MOSTLY:
            continue
        # Where it is a category of another column, or a class, it must not stand for a missing value.
        elsewhere = any(
            set(faults) & words[other] for other in names if other != name and _is_words(other, counts)
        )
        if elsewhere or len(faults) > _STRAYS:
            result.mixed[name] = max(faults, key=lambda string: faults[string])
        else:
            result.strays[name] = faults
    return result


def _is_words(name: str, counts: Mapping[str, Any]) -> bool:
    """Tell whether most cells of a column are strings, by the number of each kind."""
    return bool(counts[name][0] * 2 > counts[name].sum())


def _listed(found: Mapping[str, int]) -> str:
    return ", ".join(
        f"'{cell}'" + (f" {count:,} times" if count > 1 else "") for cell, count in found.items()
    )
