"""The description of a table's columns, and of the features that they become."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

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
        examples = first_rows[column.name].dropna().unique()[:3] if column.name in first_rows else []
        distinct = f"{column.distinct:,}" if column.distinct <= MOST_DISTINCT else f"over {MOST_DISTINCT:,}"
        described.append(
            [
                column.name,
                column.type,
                f"{column.missing:,}" if column.missing else "",
                "" if column.asked else distinct,
                "" if column.low is None else f"{column.low:.7g} to {column.high:.7g}",
                ", ".join(_short(cell) for cell in examples),
                _use(column, features.get(number, [])),
            ]
        )
    return described


def _use(column: Column, features: list[str]) -> str:
    """Say what a run would do with a column that becomes these features."""
    if column.dropped:
        return f"not used: {'data.drop' if column.asked else column.dropped}"
    if column.type == "numeric":
        filled = ", missing ones filled with the median and marked" if len(features) > 1 else ""
        return f"scaled to mean 0 and variance 1{filled}"
    rare = ", the rare ones as one" if f"{column.name} rare" in features else ""
    return f"one-hot, {len(features)} feature{'s' * (len(features) != 1)}{rare}"


def _short(cell: Any) -> str:
    string = f"{cell:g}" if isinstance(cell, float) else " ".join(str(cell).split())
    return string if len(string) <= 20 else f"{string[:19]}…"
