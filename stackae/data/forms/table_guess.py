"""Guesses the settings for a table that nobody has described."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stackae.config import DataConfig
from stackae.data.forms.form import Guess
from stackae.data.tables.columns import common_names
from stackae.errors import DataError

TARGETS = (
    *("target", "label", "labels", "class", "classes", "y", "income", "outcome", "category", "species"),
    *("diagnosis", "survived", "churn", "default", "attack_type"),
)
"""Names of columns that are likely to have the labels."""
_ABSENT = {
    *("na", "n/a", "n.a.", "#n/a", "nan", "nil", "none", "null", "missing", "unknown", "undefined"),
    *("inf", "-inf", "infinity", "-infinity"),
}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_DECIMAL_COMMA = r"^[+-]?(0|\d{4,}|\d{1,3}(\.\d{3})+)?,\d+$|^[+-]?\d*,(\d{1,2}|\d{4,})$"
_COMMENTS = "#|%"
_MOSTLY = 0.9
_DISTINCT = 100
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
    files = open_tables(paths, DataConfig.model_validate(settings))
    all_names = common_names([(file.path, file.names) for file in files])
    unsupported = {name: type_ for file in files for name, type_ in file.unsupported().items()}
    names = [name for name in all_names if name != target and name not in unsupported]
    missing, odd, counters = _read_cells(files, names)
    if unsupported or counters:
        settings["drop"] = [*counters, *unsupported]
        why["drop"] = "; ".join(
            [f"'{name}' numbers the rows" for name in counters]
            + [f"'{name}' has cells of type {type_}" for name, type_ in unsupported.items()]
        )
    if missing:
        settings["missing"] = [*DataConfig.model_fields["missing"].default, *sorted(missing)]
        why["missing"] = f"{', '.join(map(repr, sorted(missing)))} occurs in the file"
    if odd:
        settings["types"] = dict.fromkeys(odd, "categorical")
        why["types"] = "; ".join(f"'{name}' has numbers, but also '{cell}'" for name, cell in odd.items())
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
    if _has_decimal_commas(file):
        settings["decimal"] = ","
        why["decimal"] = "numbers are written with a decimal comma"


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

    from stackae.data.tables.cells import as_numbers
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
        below = as_numbers(batch.column(column)[1:], _default_signs())
        if not _is_sign(name) and below.null_count < len(below) and not pc.any(pc.is_nan(below)).as_py():
            return True
    if len(set(file.names)) < len(file.names):
        return False
    repeated = sum(
        name in {str(cell).strip() for cell in batch.column(column)[1:].to_pylist()}
        for name, column in zip(file.names, columns, strict=True)
    )
    return repeated <= len(columns) / 2


def _has_decimal_commas(file: Any) -> bool:
    """Tell whether numbers in the first rows have commas that cannot separate thousands, and no points."""
    import pyarrow.compute as pc

    from stackae.data.tables.cells import as_strings

    if len(set(file.names)) < len(file.names):
        return False
    batch = next(iter(file.batches(file.names)))
    commas = 0
    for name in file.names:
        strings = as_strings(batch.column(name), _default_signs()).drop_null()
        if pc.any(pc.match_substring_regex(strings, r"^[+-]?\d*\.\d+$")).as_py():
            return False
        # Other strings may have commas between digits too, but not all of them.
        like_numbers = pc.match_substring_regex(strings, r"^[+-]?[\d.]*(,\d+)?([eE][+-]?\d+)?$")
        if len(strings) and pc.mean(like_numbers).as_py() >= _MOSTLY:
            commas += int(pc.sum(pc.match_substring_regex(strings, _DECIMAL_COMMA)).as_py())
    return commas > 0


def _read_cells(files: Sequence[Any], names: Sequence[str]) -> tuple[set[str], dict[str, str], list[str]]:
    """Find the signs of missing values between numbers, columns of numbers with other cells, and counters.

    A counter is a column of numbers that grow by 1 from row to row: of a row it says where it stands, and
    where rows are sorted by class it gives the class away.
    """
    import pyarrow.compute as pc

    from stackae.data.tables.cells import as_numbers, as_strings

    default_signs = _default_signs()
    valid: Counter[str] = Counter()
    odd: dict[str, Counter[str]] = {name: Counter() for name in names}
    counters, first, rows = dict[str, float](), dict[str, float](), 0
    for new_file, batch in (
        (not at, batch) for file in files for at, batch in enumerate(file.batches(names))
    ):
        for name in names:
            cells = batch.column(name)
            values = as_numbers(cells, default_signs)
            if not rows or name in counters:
                filled = values.fill_null(np.nan).to_numpy(zero_copy_only=False)
                start = counters.pop(name, filled[0] - 1)
                # Each file may count its own rows.
                restarts = new_file and filled[0] == first.setdefault(name, float(filled[0]))
                if (np.diff(filled, prepend=filled[0] - 1 if restarts else start) == 1).all():
                    counters[name] = float(filled[-1])
            not_numbers = pc.is_nan(values)
            odd_cells = as_strings(cells, default_signs).filter(not_numbers)
            valid[name] += len(values) - values.null_count - len(odd_cells)
            if len(odd[name]) <= _DISTINCT:
                for entry in odd_cells.value_counts().to_pylist():
                    odd[name][entry["values"]] += entry["counts"]
        rows += len(batch)
    missing, mixed = set[str](), dict[str, str]()
    for name, strings in odd.items():
        signs = {string for string in strings if _is_sign(string)} if valid[name] else {"?"} & set(strings)
        missing |= signs
        faults = {string: count for string, count in strings.items() if string not in signs}
        count = sum(faults.values())
        if count and valid[name] / (valid[name] + count) >= _MOSTLY:
            mixed[name] = max(faults, key=lambda string: faults[string])
    return missing, mixed, list(counters) if rows >= _COUNTED else []


def _default_signs() -> Any:
    """Return the signs of a missing value by default."""
    import pyarrow as pa

    return pa.array(DataConfig.model_fields["missing"].default, pa.string())


def _is_sign(string: str) -> bool:
    return string.lower() in _ABSENT or not any(letter.isalnum() for letter in string)
