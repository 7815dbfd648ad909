"""The description of a table's columns, and of the features that they become."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stackae.data.preprocessing.cycles import PERIODS
from stackae.data.source import Source
from stackae.data.tables.columns import Column

if TYPE_CHECKING:
    from stackae.data.preprocessing.load import Preprocessing

COLUMNS = ("column", "type", "missing", "distinct", "range", "examples", "use")
LOOKED_AT = 1000
MOST_DISTINCT = 1000


def describe_columns(source: Source, preprocessing: Preprocessing) -> list[list[str]]:
    """Describe each column by the cells of COLUMNS."""
    assert source.columns is not None
    first_rows: Any = source.rows.take(np.arange(min(LOOKED_AT, len(source.rows))))
    names = iter(preprocessing.names())
    features: dict[int, list[str]] = {}
    for block in preprocessing.blocks or ():
        features.setdefault(block.column, []).extend(next(names) for _ in range(block.size))
    described = []
    for number, column in enumerate(source.columns):
        distinct = f"{column.distinct:,}" if column.distinct <= MOST_DISTINCT else f"over {MOST_DISTINCT:,}"
        described.append(
            [
                column.name,
                column.type,
                f"{column.missing:,}" if column.missing else "",
                "" if column.asked else distinct,
                _range(column),
                ", ".join(_examples(first_rows, column)) if column.dropped is None else "",
                _use(column, features.get(number, [])),
            ]
        )
    return described


def _use(column: Column, features: list[str]) -> str:
    """Say what a run would do with a column that becomes these features."""
    if column.dropped:
        return f"not used: {'data.drop' if column.asked else column.dropped}"
    if not features:
        return "not used: one value in the training rows"
    if column.type == "categorical":
        rare = ", the rare ones as one" if f"{column.name} rare" in features else ""
        same = ", the same in all rows" if len(features) == 1 else ""
        return f"one-hot, {len(features)} feature{'s' * (len(features) != 1)}{rare}{same}"
    marked = f"{column.name} missing" in features
    if features[0] != column.name:
        return "one value: whether it is missing alone"
    filled = ", missing ones filled with the median and marked" if marked else ""
    if column.type == "numeric":
        return f"scaled to mean 0 and variance 1{filled}"
    parts = [part for part in PERIODS if f"{column.name} {part} sin" in features]
    again = f", sine and cosine of {_and(parts)}" if parts else ""
    return f"time elapsed, scaled{again}{filled}"


def _range(column: Column) -> str:
    if column.low is None or column.high is None:
        return ""
    if column.type == "time":
        return f"{_as_time(column.low)} to {_as_time(column.high)}"
    return f"{column.low:.7g} to {column.high:.7g}"


def _examples(rows: Any, column: Column) -> list[str]:
    if column.type == "categorical":
        return [_short(cell) for cell in rows.strings(column.name).drop_null().unique()[:3].to_pylist()]
    known = dict.fromkeys(value for value in rows.numbers(column.name).tolist() if value == value)
    write = _as_time if column.type == "time" else "{:g}".format
    return [write(value) for value in list(known)[:3]]


def _as_time(seconds: float) -> str:
    text = str(np.datetime64(round(seconds), "s")).replace("T", " ")
    return text.removesuffix(" 00:00:00")


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _short(cell: str) -> str:
    string = " ".join(cell.split())
    return string if len(string) <= 20 else f"{string[:19]}…"
