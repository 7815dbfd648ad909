"""`stackae inspect`: what is in data, and what a run would do with it."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from stackae.console import make_console
from stackae.errors import DataError

if TYPE_CHECKING:
    from rich.table import Table

    from stackae.data.autodetect import Guess
    from stackae.data.preprocessing.load import Preprocessing
    from stackae.data.source import Source
    from stackae.data.tables.columns import Column


MOST_CLASSES = 1000
LOOKED_AT = 1000
SHOWN_CLASSES = 20


def inspect(data: str, target: str | None) -> None:
    """Print what is in the data: columns, images or arrays, classes, and what a run would make of them."""
    from stackae.data.files.images import ImageRows

    found, source, fitted = open_described(data, target)
    console = make_console()
    extra = f", {len(source.test):,} for the test" if source.test is not None else ""
    rows = f"{len(source.rows):,} rows{extra}"
    shape = "×".join(map(str, fitted.shape))
    if source.columns is not None:
        console.print(
            f"{data}: a table, {rows}, {len(source.columns)} columns, {shape} features", soft_wrap=True
        )
    elif isinstance(source.rows, ImageRows):
        mode = "grey" if len(fitted.shape) == 2 else "rgb"
        console.print(
            f"{data}: images, {rows}, {fitted.shape[-2]} by {fitted.shape[-1]} pixels (height by width), "
            f"{mode}",
            soft_wrap=True,
        )
    else:
        some = source.rows.take(np.arange(1))
        assert isinstance(some, np.ndarray)
        console.print(f"{data}: arrays, {rows} of {shape}, {some.dtype}, {_range(source)}", soft_wrap=True)
    for name, reason in found.why.items():
        console.print(f"data.{name}: {reason}", soft_wrap=True, markup=False)
    if source.columns is not None:
        console.print(_columns(source, fitted), markup=False)
    _show_classes(source, found)


def open_described(data: str, target: str | None) -> tuple[Guess, Source, Preprocessing]:
    """Read data with the settings that fit them: what was guessed, the source, and its preprocessing."""
    from stackae.data.autodetect import guess
    from stackae.data.files.images import ImageRows
    from stackae.data.read import read_source

    found = guess(data, target)
    source = read_source(found.config())
    if len(source.classes) > min(MOST_CLASSES, len(source.rows) // 2):
        called = target or f"{data}: y"
        raise DataError(
            f"{called}: has {len(source.classes):,} different values in {len(source.rows):,} rows; "
            "name a column of classes"
        )
    if isinstance(source.rows, ImageRows):
        # What is read so far of images are their heads: a run would stop at one that does not decode.
        deque(source.all.chunks(), maxlen=0)
    rows = np.arange(len(source.all), dtype=np.int64)
    return found, source, source.preprocessing(rows)


def _columns(source: Source, fitted: Preprocessing) -> Table:
    from rich.table import Table

    assert source.columns is not None
    some: Any = source.rows.take(np.arange(min(LOOKED_AT, len(source.rows))))
    table = Table(
        "column", "type", "missing", "distinct", "range", "examples", "use", box=None, pad_edge=False
    )
    names = iter(fitted.names())
    features: dict[int, list[str]] = {}
    for block in fitted.blocks or ():
        features.setdefault(block.column, []).extend(next(names) for _ in range(block.size))
    for at, column in enumerate(source.columns):
        given = some[column.name].dropna().unique()[:3] if column.name in some else []
        distinct = f"{column.distinct:,}" if column.distinct <= MOST_CLASSES else f"over {MOST_CLASSES:,}"
        table.add_row(
            column.name,
            column.type,
            f"{column.missing:,}" if column.missing else "",
            "" if column.asked else distinct,
            "" if column.low is None else f"{column.low:.7g} to {column.high:.7g}",
            ", ".join(_short(cell) for cell in given),
            _use(column, features.get(at, [])),
        )
    return table


def _use(column: Column, features: list[str]) -> str:
    """What a run would do with a column that becomes these features."""
    if column.dropped:
        return f"not used: {'data.drop' if column.asked else column.dropped}"
    if column.type == "numeric":
        filled = ", missing ones filled with the median and marked" if len(features) > 1 else ""
        return f"scaled to mean 0 and variance 1{filled}"
    rare = ", the rare ones as one" if f"{column.name} rare" in features else ""
    return f"one-hot, {len(features)} feature{'s' * (len(features) != 1)}{rare}"


def _show_classes(source: Source, found: Guess) -> None:
    console = make_console()
    if not source.classes:
        hint = ""
        if source.columns is not None:
            hint = f"; --target {found.likely_target or 'COLUMN'} names their column"
        console.print(f"no labels{hint}", markup=False, soft_wrap=True)
        return
    y = source.labels
    counts = np.bincount(y[y >= 0], minlength=len(source.classes))
    order = np.argsort(-counts, kind="stable")
    shown = ", ".join(f"{source.classes[at]} {counts[at]:,}" for at in order[:SHOWN_CLASSES])
    more = ", …" if len(order) > SHOWN_CLASSES else ""
    none = f"; {int((y < 0).sum()):,} rows have no label" if (y < 0).any() else ""
    console.print(f"{len(order)} classes: {shown}{more}{none}", markup=False, soft_wrap=True)


def _range(source: Source) -> str:
    low, high = math.inf, -math.inf
    for _, raw in source.rows.chunks():
        assert isinstance(raw, np.ndarray)
        low, high = min(low, float(raw.min())), max(high, float(raw.max()))
    return f"from {low:g} to {high:g}"


def _short(cell: Any) -> str:
    text = f"{cell:g}" if isinstance(cell, float) else " ".join(str(cell).split())
    return text if len(text) <= 20 else f"{text[:19]}…"
