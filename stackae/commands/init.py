"""Starts from data that nobody has described: shows what is in them, and writes a config that fits them."""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stackae.console import make_console
from stackae.errors import ConfigError, DataError

if TYPE_CHECKING:
    from rich.table import Table

    from stackae.data.autodetect import Guess
    from stackae.data.preprocessing.load import Preprocessing
    from stackae.data.source import Source
    from stackae.data.tables.columns import Column

WIDTHS = (128, 500)
"""Least and greatest width of the first layer, which has twice as many units as a row has features."""
BATCHES = ((10_000, 100), (50_000, 200), (math.inf, 500))
"""Up to how many rows: rows of a batch."""
PRETRAIN_EPOCHS = 30
MASKING, SWAP = "{type: masking, rate: 0.5}", "{type: swap, rate: 0.15}"
"""What is done to the input of the first layer; categories are swapped, since no category is no row's."""
ACTIVATION = "activation: leaky_relu"
"""Of plain rectifiers about half die where one layer feeds another; errors are the same."""
FINETUNE = "dropout: 0.3, input_dropout: 0.0, weight_decay: 0.5, label_smoothing: 0.1"
"""Against overfitting to few labels; docs/isolet.md says on which rows it was chosen."""
MOST_CLASSES = 1000
LOOKED_AT = 1000
WIDTH = 100
SHOWN_CLASSES = 20
_PLAIN = re.compile(r"[A-Za-z_./~][\w./~+ -]*(?<! )")
_WORDS = {"null", "true", "false", "yes", "no", "on", "off", "y", "n", "~", "nan", "."}


def init(data: str, target: str | None, out: Path | None) -> None:
    """Writes a config that fits the data and runs as it is, and prints how to run it."""
    out = out or Path(f"{_name(data)}.yaml")
    if out.exists():
        raise ConfigError(f"{out}: is there already; name another file with -o, or remove it")
    if not out.parent.is_dir():
        raise ConfigError(f"{out}: there is no folder '{out.parent}'; make it, or name another")
    from stackae.data.splits import make_split

    found, source, fitted = _read(data, target)
    make_split(source, found.config(), seed=0)
    text = "\n".join(_lines(found, source, fitted)) + "\n"
    with out.open("x") as file:
        file.write(text)
    make_console().print(f"{out} is written. To run it: stackae run {out}", markup=False, soft_wrap=True)


def inspect(data: str, target: str | None) -> None:
    """Prints what is in the data: columns, images or arrays, classes, and what a run would make of them."""
    from stackae.data.files.images import ImageRows

    found, source, fitted = _read(data, target)
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


def _read(data: str, target: str | None) -> tuple[Guess, Source, Preprocessing]:
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


# ---- init


def _lines(found: Guess, source: Source, fitted: Preprocessing) -> Iterator[str]:
    """The config, line by line."""
    features, rows = math.prod(fitted.shape), len(source.rows)
    yield f"# {rows:,} rows, {features:,} features" + (
        f", {len(source.classes)} classes" if source.classes else ", no labels"
    )
    yield "data:"
    for name, value in found.settings.items():
        why = found.why.get(name)
        if why:
            yield f"  # {why}"
        if name == "types":
            yield "  types:"
            yield from (f"    {_yaml(column)}: {kind}" for column, kind in value.items())
            continue
        words = f"{name}: {json.dumps(value) if name == 'missing' else _yaml(value)}"
        # Words that are quoted have no blanks, so that any blank may become the end of a line.
        yield textwrap.fill(
            words,
            WIDTH,
            initial_indent="  ",
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        if name == "source" and "target" not in found.settings and source.columns is not None:
            yield f"  # target: {_yaml(found.likely_target or 'COLUMN')}  # {_target_hint(found)}"
    unused = {
        column.name: column.dropped
        for column in source.columns or ()
        if column.dropped and not column.asked  # those are in `drop` above
    }
    if unused:
        shown = "; ".join(f"{name}: {why}" for name, why in list(unused.items())[:10])
        yield f"  # not used: {shown}" + ("; …" if len(unused) > 10 else "")
    if "test" not in found.settings and source.test is None:
        yield "  # test: PATH  # rows to test on; a fifth of the source's rows without it"
        yield "  split: {val: 0.1}  # share of the others that validates"
    first = max(WIDTHS[0], min(2 * features, WIDTHS[1]))
    categories = any(block.kind == "categorical" for block in fitted.blocks or ())
    batch = next(batch for most, batch in BATCHES if rows <= most)
    yield ""
    yield "layers:  # from the input upwards"
    yield f"  - {{width: {first}, {ACTIVATION}, corruption: {SWAP if categories else MASKING}}}"
    yield f"  - {{width: {first // 2}, {ACTIVATION}}}"
    yield ""
    yield f"pretrain: {{epochs: {PRETRAIN_EPOCHS}, batch_size: {batch}}}"
    if source.classes:
        yield "# epochs: as many as make 3,000 steps, from 30 to 500, where they are not set"
        yield f"finetune: {{batch_size: {batch}, {FINETUNE}}}"
    else:
        yield "finetune: null  # no labels, no classifier" + (
            "; remove this line when data.target is set" if source.columns is not None else ""
        )


def _target_hint(found: Guess) -> str:
    if found.likely_target:
        return "is this the column with the labels? Then remove '# ' here, and 'finetune: null' below"
    return "the column with the labels, if there is one; remove 'finetune: null' below then"


def _yaml(value: Any) -> str:
    """A value on one line of YAML."""
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
        return value if plain else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)


def _name(data: str) -> str:
    path = Path(data)
    return (
        re.sub(r"\W+", "_", (path.resolve().name if path.is_dir() else path.name).split(".")[0]) or "config"
    )


# ---- inspect


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
